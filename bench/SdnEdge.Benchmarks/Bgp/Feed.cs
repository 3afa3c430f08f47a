using System.Buffers.Binary;
using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Bgp;

/// <summary>
/// What a feeder says, encoded before the clock starts: UPDATEs of a table with prefix lengths as on the Internet, three
/// distinct sets of attributes for each hundred prefixes, some large and most small, and a last prefix of the feeder's own
/// by which the receiver knows that all before it has been worked off.
/// </summary>
internal sealed class Feed
{
    private const int MaxMessage = 4096, Header = 19;

    public Feed(IpPrefix[] table, int feeder, IpAddress nextHop, uint ownAs)
    {
        Sentinel = new IpPrefix(IpAddress.FromV4(0xC633_6400u + (uint)feeder), 32);
        var random = new Random(feeder + 1);
        IpPrefix[] prefixes = [.. table];
        random.Shuffle(prefixes);
        int sets = Math.Max(1, table.Length * 3 / 100);
        var announce = new MemoryStream();
        var withdraw = new MemoryStream();
        double mean = (double)table.Length / sets;
        for (int at = 0; at < prefixes.Length;)
        {
            // Exponential: half of the sets have few prefixes, some have hundreds.
            int size = Math.Clamp((int)Math.Ceiling(-Math.Log(1 - random.NextDouble()) * mean), 1, prefixes.Length - at);
            Write(announce, Attributes(random, nextHop, ownAs), prefixes.AsSpan(at, size));
            Sets++;
            at += size;
        }

        Write(withdraw, null, prefixes);
        var one = new MemoryStream();
        Write(one, Attributes(random, nextHop, ownAs), [Sentinel]);
        AnnounceOne = one.ToArray();
        one.SetLength(0);
        Write(one, null, [Sentinel]);
        WithdrawOne = one.ToArray();
        announce.Write(AnnounceOne);
        withdraw.Write(WithdrawOne);
        (Announce, Withdraw) = (announce.ToArray(), withdraw.ToArray());
    }

    public byte[] Announce { get; }

    public byte[] Withdraw { get; }

    /// <summary>The sentinel alone.</summary>
    public byte[] AnnounceOne { get; }

    /// <inheritdoc cref="AnnounceOne"/>
    public byte[] WithdrawOne { get; }

    public int Sets { get; }

    public IpPrefix Sentinel { get; }

    private static byte[] Attributes(Random random, IpAddress nextHop, uint ownAs)
    {
        var bytes = new List<byte> { 0x40, 1, 1, (byte)(random.Next(10) == 0 ? 2 : 0) };
        int hops = random.Next(1, 6);
        bytes.AddRange([0x40, 2, (byte)(2 + (4 * (hops + 1))), 2, (byte)(hops + 1)]);
        Add32(bytes, ownAs);
        for (int i = 0; i < hops; i++) Add32(bytes, (uint)random.Next(1000, 64000));
        bytes.AddRange([0x40, 3, 4]);
        Add32(bytes, nextHop.V4);
        if (random.Next(10) < 3)
        {
            bytes.AddRange([0x80, 4, 4]);
            Add32(bytes, (uint)random.Next(500));
        }

        int communities = random.Next(7);
        if (communities == 0) return [.. bytes];
        bytes.AddRange([0xC0, 8, (byte)(4 * communities)]);
        for (int i = 0; i < communities; i++) Add32(bytes, ((uint)random.Next(1000, 64000) << 16) | (uint)random.Next(1000));
        return [.. bytes];
    }

    // attributes null: withdrawals.
    private static void Write(MemoryStream to, byte[]? attributes, ReadOnlySpan<IpPrefix> prefixes)
    {
        Span<byte> message = stackalloc byte[MaxMessage];
        message[..16].Fill(0xFF);
        message[18] = 2;
        int start = Header + 4 + (attributes?.Length ?? 0);
        while (!prefixes.IsEmpty)
        {
            int at = attributes is null ? Header + 2 : start, taken = 0, limit = attributes is null ? MaxMessage - 2 : MaxMessage;
            foreach (IpPrefix prefix in prefixes)
            {
                int bytes = (prefix.Length + 7) / 8;
                if (at + 1 + bytes > limit) break;
                message[at++] = (byte)prefix.Length;
                for (int i = 0; i < bytes; i++) message[at++] = (byte)(prefix.Address.V4 >> (24 - (8 * i)));
                taken++;
            }

            if (attributes is null)
            {
                BinaryPrimitives.WriteUInt16BigEndian(message[Header..], (ushort)(at - Header - 2));
                BinaryPrimitives.WriteUInt16BigEndian(message[at..], 0);
                at += 2;
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(message[Header..], 0);
                BinaryPrimitives.WriteUInt16BigEndian(message[(Header + 2)..], (ushort)attributes.Length);
                attributes.CopyTo(message[(Header + 4)..]);
            }

            BinaryPrimitives.WriteUInt16BigEndian(message[16..], (ushort)at);
            to.Write(message[..at]);
            prefixes = prefixes[taken..];
        }
    }

    private static void Add32(List<byte> bytes, uint value)
        => bytes.AddRange([(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value]);
}
