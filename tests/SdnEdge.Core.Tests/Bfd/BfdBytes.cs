using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>Sessions and packets for the tests.</summary>
internal static class BfdBytes
{
    public const long Ms = 1_000_000, Second = 1000 * Ms;

    public static readonly IpAddress Here = IpAddress.Parse("192.0.2.1"), There = IpAddress.Parse("198.51.100.2");
    public static readonly BfdKey Key = new(There, Here, Multihop: true);

    public static BfdSession Session(int interval = 50, int multiplier = 3, uint discriminator = 7, ulong seed = 1, BfdKey? key = null)
        => new(key ?? Key, discriminator, BfdParameters.Every(interval, multiplier), seed, 0);

    public static byte[] Bytes(BfdControl control)
    {
        byte[] bytes = new byte[BfdControl.Size];
        control.Emit(bytes);
        return bytes;
    }

    public static BfdView View(byte[] bytes)
    {
        BfdDiscard discard = BfdView.Parse(bytes, out BfdView view);
        return discard == BfdDiscard.None ? view : throw new ArgumentException($"no good packet: {discard}");
    }

    public static BfdDiscard Hear(this BfdSession session, BfdControl control, long now) => session.Receive(View(Bytes(control)), now);

    /// <summary>What the peer says; intervals in milliseconds.</summary>
    public static BfdControl Says(BfdState state, uint yours = 7, int tx = 50, int rx = 50, int multiplier = 3, bool poll = false,
        bool final = false, bool demand = false, uint mine = 9)
        => new(state, mine, yours, (uint)tx * 1000, (uint)rx * 1000, (byte)multiplier, Poll: poll, Final: final, Demand: demand);

    /// <summary>All packets that are due.</summary>
    public static List<BfdControl> Take(this BfdSession session, long now)
    {
        var packets = new List<BfdControl>();
        byte[] buffer = new byte[BfdControl.Size];
        while (session.TryTake(now, buffer))
        {
            packets.Add(View(buffer).Control);
            if (packets.Count > 8) throw new InvalidOperationException("the session never stops sending");
        }

        return packets;
    }

    /// <summary>A session that came up at <paramref name="now"/>, its poll answered.</summary>
    public static BfdSession Up(int interval = 50, int multiplier = 3, long now = 0)
    {
        BfdSession session = Session(interval, multiplier);
        session.Hear(Says(BfdState.Down, yours: 0), now);
        session.Hear(Says(BfdState.Init), now);
        session.Take(now);
        session.Hear(Says(BfdState.Up, final: true), now);
        session.Take(now);
        return session;
    }
}
