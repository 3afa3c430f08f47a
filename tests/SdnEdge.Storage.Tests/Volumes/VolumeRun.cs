using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// A seed's run of a volume that is written and cut off from its power. The oracle is slow and obvious: the list of all operations by
/// sequence, and an array they are carried out on.
/// </summary>
internal abstract class VolumeRun(int seed, int size, Guid identity)
{
    private readonly CrashVolume _crash = new(seed, size, identity);
    private readonly Guid _identity = identity;
    private readonly Dictionary<ulong, (int Offset, byte[] Bytes)> _history = [];
    private readonly SortedList<ulong, int> _sizes = new() { [0] = size };

    /// <summary>Power cuts so far.</summary>
    public long Cuts { get; private set; }

    /// <summary>Bytes behind the last record.</summary>
    protected int Size => SizeAfter(Last);

    protected Random Random { get; } = new(seed);

    protected CrashDisk Disk => _crash.Disk;

    protected Volume Volume => _crash.Volume;

    /// <summary>The last record.</summary>
    protected ulong Last { get; set; }

    /// <summary>Runs seeds 1, 2, ...; a failure says which one it was.</summary>
    /// <param name="variable">The environment variable that says how many.</param>
    /// <param name="count">How many, where it does not.</param>
    /// <param name="run">Runs one.</param>
    /// <returns>How many.</returns>
    public static async Task<int> SeedsAsync(string variable, int count, Func<int, Task> run)
    {
        if (Environment.GetEnvironmentVariable(variable) is { } wanted) count = int.Parse(wanted, CultureInfo.InvariantCulture);
        for (int seed = 1; seed <= count; seed++)
        {
            try
            {
                await run(seed);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"seed {seed}: {e.Message}", e);
            }
        }

        return count;
    }

    /// <summary>Opens what a power cut leaves.</summary>
    protected LogRecovery Reopen()
    {
        Cuts++;
        LogRecovery recovery = _crash.Recover(Random.Next());
        Last = Volume.Log.LastSequence;
        return recovery;
    }

    /// <summary>What is behind the last record was lost: it is not part of the history any more.</summary>
    protected void ForgetLost()
    {
        foreach (ulong gone in _history.Keys.Where(sequence => sequence > Last).ToList()) _history.Remove(gone);
        while (_sizes.GetKeyAtIndex(_sizes.Count - 1) > Last) _sizes.RemoveAt(_sizes.Count - 1);
    }

    /// <summary>Makes the volume larger: by some sectors or blocks, sometimes so far that its hashes need one more level.</summary>
    protected async Task<bool> GrowAsync()
    {
        int more = Random.Next(12) == 0 && Size < 2 << 20 ? (2 << 20) + 4096 - Size / 4096 * 4096
            : (Random.Next(4) == 0 ? 512 : 4096) * (1 + Random.Next(24));
        int size = Size + more;
        try
        {
            Volume.PrepareSize(size);
        }
        catch (VolumeException) when (Disk.IsOff)
        {
            return false;
        }

        _sizes[Last + 1] = size;
        return await AnsweredAsync(Volume.GrowAsync(size, default), null);
    }

    /// <summary>Bytes after a record.</summary>
    protected int SizeAfter(ulong sequence) => _sizes.Last(s => s.Key <= sequence).Value;

    /// <summary>Trims or zeroes some sectors; one time in so many, as many as the volume has at most.</summary>
    protected Task<bool> ZerosAsync(int oneInMayBeLong)
    {
        int length = 512 * (1 + Random.Next(Random.Next(oneInMayBeLong) == 0 ? Size / 512 : 40));
        int offset = 512 * Random.Next(((Size - length) / 512) + 1);
        ValueTask<BlockResult> call = Random.Next(2) == 0
            ? Volume.TrimAsync(offset, length, BlockFlags.None, default)
            : Volume.WriteZeroesAsync(offset, length, BlockFlags.NoHole, default);
        return AnsweredAsync(call, (offset, new byte[length]));
    }

    /// <summary>The operation is the next record, if it becomes one.</summary>
    /// <param name="call">The request.</param>
    /// <param name="operation">What it writes; null = nothing.</param>
    /// <returns>Whether it was answered; if not, the power went.</returns>
    protected async Task<bool> AnsweredAsync(ValueTask<BlockResult> call, (int Offset, byte[] Bytes)? operation)
    {
        if (operation is { } write) _history[Last + 1] = write;
        Task<BlockResult> task = call.AsTask();
        for (int i = 0; !task.IsCompleted && !Disk.IsOff && i < 1000; i++) CrashVolume.Pump(Volume);
        if (!Disk.IsOff) Assert.True(task.IsCompleted, "a request that found no room is never answered");
        if (!task.IsCompleted) return false;
        BlockResult result = await task;
        if (Disk.IsOff) return false;
        Assert.Equal(BlockResult.Ok, result);
        Last = Volume.Log.LastSequence;
        return true;
    }

    /// <summary>The contents after a record.</summary>
    protected byte[] StateAfter(ulong sequence)
    {
        byte[] state = new byte[SizeAfter(sequence)];
        for (ulong i = 1; i <= sequence; i++)
        {
            if (_history.TryGetValue(i, out var done)) done.Bytes.CopyTo(state, done.Offset);
        }

        return state;
    }

    /// <summary>The root of contents.</summary>
    protected ulong RootOf(byte[] state)
    {
        ulong key = ContentRoot.KeyOf(_identity), root = 0;
        for (int i = 0; i < state.Length; i += 4096)
            root += ContentRoot.HashOf(key, i / 4096, state.AsSpan(i, Math.Min(4096, state.Length - i)));
        return root;
    }
}
