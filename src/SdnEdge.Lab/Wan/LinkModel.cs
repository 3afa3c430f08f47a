using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Wan;

/// <summary>
/// When a frame that enters one direction of a link leaves it, or that it is lost. Pure: the same seed and the same frames
/// give the same fates. A frame first waits for the line (rate), then travels (delay, jitter).
/// </summary>
internal sealed class LinkModel(Impairment impairment, ulong seed)
{
    private ulong _random = Mix(seed);
    private long _lineFreeAt;
    private long _lastDue;

    /// <summary>Seed of one direction of one link of a WAN node, so that links do not share their fate.</summary>
    public static ulong SeedOf(ulong node, int link, bool toWan) => Mix(node ^ Mix(((ulong)link << 1) | (toWan ? 1UL : 0)));

    /// <summary>The frame's fate.</summary>
    /// <param name="at">When it enters, nanoseconds.</param>
    /// <param name="bytes">Its length on the wire.</param>
    /// <param name="due">When it leaves, nanoseconds.</param>
    /// <returns>False when it is lost.</returns>
    public bool Admit(long at, int bytes, out long due)
    {
        bool lost = impairment.Loss > 0 && NextShare() < impairment.Loss;
        long departs = at;
        if (impairment.RateBitsPerSecond > 0)
        {
            // A lost frame was sent all the same.
            departs = Math.Max(at, _lineFreeAt) + (long)(bytes * 8e9 / impairment.RateBitsPerSecond);
            _lineFreeAt = departs;
        }

        due = departs + impairment.DelayNs;
        if (impairment.JitterNs > 0) due = Math.Max(departs, due + (long)(((2 * NextShare()) - 1) * impairment.JitterNs));
        if (lost) return false;
        if (impairment.KeepOrder) due = Math.Max(due, _lastDue);
        _lastDue = due;
        return true;
    }

    // xorshift64* (Vigna, 2016): small, and good enough to decide about frames.
    private double NextShare()
    {
        _random ^= _random >> 12;
        _random ^= _random << 25;
        _random ^= _random >> 27;
        return ((_random * 0x2545_F491_4F6C_DD1DUL) >> 11) * (1.0 / (1UL << 53));
    }

    // The finaliser of SplitMix64: neighbouring seeds give unlike streams; never 0.
    private static ulong Mix(ulong seed)
    {
        seed += 0x9E37_79B9_7F4A_7C15UL;
        seed = (seed ^ (seed >> 30)) * 0xBF58_476D_1CE4_E5B9UL;
        seed = (seed ^ (seed >> 27)) * 0x94D0_49BB_1331_11EBUL;
        seed ^= seed >> 31;
        return seed == 0 ? 1 : seed;
    }
}
