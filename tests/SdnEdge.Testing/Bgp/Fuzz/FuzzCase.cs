using SdnEdge.Core.Bgp;

namespace SdnEdge.Testing.Bgp.Fuzz;

/// <summary>What one run of the fuzzer feeds to a session.</summary>
/// <param name="External">eBGP.</param>
/// <param name="FourOctetAs">The peer speaks 4-octet AS numbers.</param>
/// <param name="State">State of the session before.</param>
/// <param name="Messages">The messages, one after another.</param>
/// <param name="Cuts">Where the stream of all of them is torn into reads.</param>
public sealed record FuzzCase(bool External, bool FourOctetAs, BgpState State, IReadOnlyList<byte[]> Messages, IReadOnlyList<int> Cuts)
{
    /// <summary>For people, and for <see cref="Parse"/>: "external 4 Established FFFF.. FFFF..".</summary>
    public override string ToString() =>
        $"{(External ? "external" : "internal")} {(FourOctetAs ? 4 : 2)} {State} {string.Join(' ', Messages.Select(Convert.ToHexString))}";

    /// <summary>Reads what <see cref="ToString"/> wrote; reads are not torn.</summary>
    /// <exception cref="FormatException">It is no such text.</exception>
    public static FuzzCase Parse(string text)
    {
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length < 3 || !Enum.TryParse(words[2], out BgpState state))
            throw new FormatException("a case reads: external|internal 4|2 STATE MESSAGE...");
        return new FuzzCase(words[0] == "external", words[1] == "4", state, [.. words[3..].Select(Convert.FromHexString)], []);
    }
}

/// <summary>
/// Makes cases out of a seed and a number, the same ones every time: one to three messages of the corpus, most of them
/// mutated, on one of four kinds of session.
/// </summary>
public sealed class FuzzSource(IReadOnlyList<byte[]> corpus, int seed)
{
    private readonly byte[][] _corpus = [.. corpus];
    private readonly byte[][] _updates = [.. corpus.Where(m => m[18] == 2)];

    // Right ones for each kind of session: a mutation shall be what is wrong with a message, not the session it comes on.
    private readonly byte[][][] _right = [Right(corpus, false, 2), Right(corpus, false, 4), Right(corpus, true, 2), Right(corpus, true, 4)];

    /// <summary>Case of a number.</summary>
    public FuzzCase Make(long number)
    {
        var random = new SplitMix((ulong)seed, (ulong)number);
        bool external = random.Next(2) == 0, fourOctetAs = random.Next(3) > 0;
        byte[][] right = _right[(external ? 2 : 0) + (fourOctetAs ? 1 : 0)];
        BgpState state = random.Next(12) switch { 0 => BgpState.OpenSent, 1 => BgpState.OpenConfirm, _ => BgpState.Established };
        var messages = new List<byte[]>();
        for (int n = 1 + random.Next(3); n > 0; n--)
        {
            byte[] message = state == BgpState.Established && random.Next(10) > 0 ? right[random.Next(right.Length)]
                : _corpus[random.Next(_corpus.Length)];
            messages.Add(random.Next(4) == 0 ? message : Mutator.Mutate(message, _updates, ref random));
        }

        int length = messages.Sum(m => m.Length);
        var cuts = new List<int>();
        if (random.Next(4) == 0)
        {
            for (int n = random.Next(4); n >= 0; n--) cuts.Add(random.Next(length + 1));
            cuts.Sort();
        }

        return new FuzzCase(external, fourOctetAs, state, messages, cuts);
    }

    private static byte[][] Right(IReadOnlyList<byte[]> corpus, bool external, int asSize)
    {
        var oracle = new UpdateOracle(external, asSize, external ? RawSession.ExternalAs : RawSession.OurAs, RawSession.OurAs);
        return [.. corpus.Where(m => m[18] == 2 && oracle.Judge(m[BgpLimits.HeaderSize..]) == UpdateVerdict.Take)];
    }
}

/// <summary>A small generator that starts anywhere at once: a case must not depend on those before it.</summary>
public struct SplitMix(ulong seed, ulong stream)
{
    private ulong _state = (seed * 0x9E3779B97F4A7C15) ^ (stream * 0xD1342543DE82EF95) ^ 0x2545F4914F6CDD1D;

    /// <summary>The next 64 bits.</summary>
    public ulong NextBits()
    {
        ulong z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>0 to <paramref name="below"/> - 1.</summary>
    public int Next(int below) => (int)((NextBits() >> 33) * (ulong)below >> 31);

    /// <summary>From <paramref name="from"/> to <paramref name="below"/> - 1.</summary>
    public long Next(long from, long below) => from + (long)(NextBits() % (ulong)(below - from));

    /// <summary>0 up to, not including, 1.</summary>
    public double NextDouble() => (NextBits() >> 11) * (1.0 / (1UL << 53));
}
