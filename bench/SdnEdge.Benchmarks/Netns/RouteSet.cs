using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>Routes like those of a full table, from a seed, and frames towards them.</summary>
internal static class RouteSet
{
    /// <summary>Bytes of each frame, without the check sequence: the smallest Ethernet has.</summary>
    public const int FrameBytes = 60;

    /// <summary>The router's address on the port where the frames come in.</summary>
    public static readonly MacAddress RouterMac = MacAddress.Parse("02:00:00:00:00:11");

    // Share of each length in a thousand, after what global tables look like: most are /24, then /22 and /23.
    private static readonly (int Length, int Share)[] Shares =
        [(24, 600), (23, 100), (22, 110), (21, 50), (20, 45), (19, 30), (18, 15), (17, 10), (16, 15), (15, 5), (14, 5), (13, 5), (12, 5),
            (32, 5)];

    /// <summary>Makes <paramref name="count"/> different IPv4 prefixes of unicast space.</summary>
    public static IpPrefix[] Make(int count, int seed = 1)
    {
        var random = new Random(seed);
        var seen = new HashSet<ulong>(count);
        var routes = new IpPrefix[count];
        for (int i = 0; i < count;)
        {
            int pick = random.Next(1000), length = 24;
            foreach ((int candidate, int share) in Shares)
            {
                length = candidate;
                pick -= share;
                if (pick < 0) break;
            }

            uint address = RandomAddress(random) & (uint.MaxValue << (32 - length));
            if (!seen.Add(((ulong)address << 6) | (uint)length)) continue;
            routes[i++] = new IpPrefix(IpAddress.FromV4(address), length);
        }

        return routes;
    }

    /// <summary>Frames of UDP, one after the other, each to an address that one of <paramref name="routes"/> covers (a random one for each
    /// frame).</summary>
    public static byte[] Frames(IpPrefix[] routes, int count, int seed = 2)
    {
        var random = new Random(seed);
        byte[] all = new byte[count * FrameBytes];
        for (int i = 0; i < count; i++)
        {
            IpPrefix route = routes[random.Next(routes.Length)];
            uint host = route.Length == 32 ? 0 : (uint)random.NextInt64(1L << (32 - route.Length));
            Span<byte> frame = all.AsSpan(i * FrameBytes, FrameBytes);
            RouterMac.Write(frame);
            MacAddress.Parse("02:00:00:00:00:01").Write(frame[6..]);
            BinaryPrimitives.WriteUInt16BigEndian(frame[12..], 0x0800);
            Span<byte> ip = frame[14..];
            ip[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], FrameBytes - 14);
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)i);
            ip[8] = 64;
            ip[9] = 17;
            BinaryPrimitives.WriteUInt32BigEndian(ip[12..], 0xC6336401); // 198.51.100.1 (RFC 5737)
            BinaryPrimitives.WriteUInt32BigEndian(ip[16..], route.Address.V4 | host);
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Compute(ip[..20]));
            BinaryPrimitives.WriteUInt16BigEndian(ip[20..], (ushort)(1024 + (i % 4096)));
            BinaryPrimitives.WriteUInt16BigEndian(ip[22..], 7);
            BinaryPrimitives.WriteUInt16BigEndian(ip[24..], FrameBytes - 34);
        }

        return all;
    }

    // 1.0.0.0 to 223.255.255.255 without what must not be forwarded.
    private static uint RandomAddress(Random random)
    {
        while (true)
        {
            uint address = (uint)random.NextInt64(0x0100_0000, 0xE000_0000);
            if (address >> 24 is not (0 or 10 or 127) && address >> 16 is not 0xA9FE) return address;
        }
    }
}
