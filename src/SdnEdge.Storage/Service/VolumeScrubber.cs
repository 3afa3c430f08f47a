using SdnEdge.Linux;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>
/// Reads a volume's image slowly, from its beginning to its end and again, and compares it with the hashes that were kept when it was
/// written: a disk that has lost or changed a block is found before the block is needed. A bad one is repaired from the other site, whose
/// block counts when it has the very hash; else it is said, once.
/// </summary>
/// <param name="volume">The volume.</param>
/// <param name="replicated">Its replication; null = it has no replica.</param>
/// <param name="pause">Between two parts of 2 MiB.</param>
/// <param name="tell">Tells the operator: one word, and a sentence.</param>
internal sealed class VolumeScrubber(Volume volume, ReplicatedVolume? replicated, TimeSpan pause, Action<string, string> tell)
{
    private static readonly TimeSpan s_answer = TimeSpan.FromSeconds(10);

    private readonly HashSet<long> _said = [];
    private bool _failed;

    /// <summary>Blocks that were read.</summary>
    public long Read { get; private set; }

    /// <summary>Blocks that were bad when they were read.</summary>
    public long Bad { get; private set; }

    /// <summary>Of these, those that were repaired.</summary>
    public long Repaired { get; private set; }

    /// <summary>How often the whole image was read.</summary>
    public long Rounds { get; private set; }

    /// <summary>Blocks that are bad and could not be repaired, by the newest reading.</summary>
    public int Open => _said.Count;

    /// <summary>Goes on until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        List<(long Block, ulong Hash)> bad = [];
        for (long at = 0; !cancel.IsCancellationRequested;)
        {
            await Task.Delay(pause, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancel.IsCancellationRequested) return;
            long from = at;
            Read += volume.VerifySome(at, bad, out at, out int error);
            if (error != 0 && !_failed) tell("unreadable", $"the image cannot be read: {RawFile.Describe(error)}");
            _failed = error != 0;
            if (from > at) Rounds++;
            if (error == 0) _said.RemoveWhere(b => b >= from && (at == 0 || b < at) && bad.TrueForAll(now => now.Block != b));
            foreach ((long block, ulong hash) in bad) await FoundAsync(block, hash, cancel).ConfigureAwait(false);
        }
    }

    private async Task FoundAsync(long block, ulong hash, CancellationToken cancel)
    {
        if (_said.Contains(block) && replicated is null) return;
        Bad++;
        byte[]? right = null;
        try
        {
            if (replicated is not null)
                right = await replicated.AskBlockAsync(block, hash, cancel).WaitAsync(s_answer, cancel).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // It is asked again in the next round.
        }

        if (right is not null && volume.PutRight(block, hash, right, out int error))
        {
            Repaired++;
            _said.Remove(block);
            tell("repaired", $"block {block} of 4096 bytes was not what was written, and was put right from {replicated!.Peer}");
        }
        else if (_said.Add(block) && !cancel.IsCancellationRequested)
        {
            tell("bad-block", $"block {block} of 4096 bytes is not what was written, and "
                + (replicated is null ? "there is no other copy" : $"{replicated.Peer} has not given the right one; it is asked again")
                + "; check the disk, and see 'sdnedge store check'");
        }
    }
}
