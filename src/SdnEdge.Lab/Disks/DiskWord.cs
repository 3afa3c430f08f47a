using System.Globalization;
using System.Text;

namespace SdnEdge.Lab.Disks;

/// <summary>A record that the guest has written.</summary>
/// <param name="Number">Its number.</param>
/// <param name="BeganNs">When its write began, by this machine's clock, nanoseconds; known to half of the round trip to the guest, and
/// where the guest stood still until it was told (<see cref="Over"/>), not counting that time.</param>
/// <param name="LatencyNs">Until it was durable, by the guest's clock, which stands still while the guest does.</param>
/// <param name="ToldNs">When the guest told of it.</param>
public readonly record struct DiskWrite(long Number, long BeganNs, long LatencyNs, long ToldNs)
{
    /// <summary>The same, of a guest that stood still for a time: what was begun before that and told after it began longer ago than the
    /// guest's clock says.</summary>
    public DiskWrite Over(long pausedNs, long resumedNs)
        => ToldNs >= resumedNs && BeganNs < resumedNs ? this with { BeganNs = BeganNs - (resumedNs - pausedNs) } : this;
}

/// <summary>The lab's guest about its disk: the answer to <c>disk FROM</c>, see guest/disk.c.</summary>
/// <param name="Boot">The boot.</param>
/// <param name="Acknowledged">The last record acknowledged.</param>
/// <param name="ReadBack">Records read back.</param>
/// <param name="Bad">Of these: not as written.</param>
/// <param name="Errors">Requests that failed.</param>
/// <param name="Stopped">It has been told to stop, and writes nothing any more.</param>
/// <param name="Writes">Records told, in order.</param>
public sealed record DiskWord(
    ulong Boot, long Acknowledged, long ReadBack, long Bad, long Errors, bool Stopped, IReadOnlyList<DiskWrite> Writes)
{
    private const int Head = 8;

    /// <summary>Reads an answer; null = it is none, or the guest has no disk.</summary>
    /// <param name="answer">The datagram.</param>
    /// <param name="heardNs">When the guest said it, by this machine's clock.</param>
    public static DiskWord? Parse(ReadOnlySpan<byte> answer, long heardNs)
    {
        string[] words = Encoding.ASCII.GetString(answer).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        long[] said = new long[words.Length];
        for (int i = 0; i < words.Length; i++)
        {
            if (!long.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out said[i])) return null;
        }

        if (said.Length < Head || (said.Length - Head) % 2 != 0) return null;
        var writes = new List<DiskWrite>();
        for (int i = Head; i < said.Length; i += 2)
            writes.Add(new DiskWrite(said[7] + writes.Count, heardNs - (said[i] * 1000), said[i + 1] * 1000, heardNs));
        return new DiskWord((ulong)said[0], said[1], said[2], said[3], said[4], said[5] != 0, writes);
    }
}
