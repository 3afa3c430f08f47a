using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>A device in memory whose calls can fail, wait and be counted.</summary>
internal sealed class MemoryDevice(int size, int block = 1) : IBlockDevice
{
    private readonly List<(string Call, TaskCompletionSource<BlockResult> Done, Func<BlockResult> Act)> _waiting = [];
    private readonly Lock _lock = new();

    public byte[] Bytes { get; } = new byte[size];

    public long Size { get; init; } = size;

    public int MinimumBlock => block;

    public BlockFeatures Features { get; init; } = BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.Trim
        | BlockFeatures.WriteZeroes | BlockFeatures.FastZero | BlockFeatures.MultiConnection | BlockFeatures.Cache;

    /// <summary>The result of each call; null: done.</summary>
    public Func<string, long, BlockResult?>? Fails { get; set; }

    /// <summary>Which calls wait until <see cref="Release"/>.</summary>
    public Func<string, bool>? Waits { get; set; }

    /// <summary>Calls in the order in which they came, with their flags.</summary>
    public List<string> Calls { get; } = [];

    public int Waiting
    {
        get
        {
            lock (_lock) return _waiting.Count;
        }
    }

    /// <summary>Lets the waiting calls go, the last one first if told.</summary>
    public int Release(bool reversed = false)
    {
        List<(string, TaskCompletionSource<BlockResult> Done, Func<BlockResult> Act)> all;
        lock (_lock)
        {
            all = [.. _waiting];
            _waiting.Clear();
        }

        if (reversed) all.Reverse();
        foreach ((_, TaskCompletionSource<BlockResult> done, Func<BlockResult> act) in all) done.TrySetResult(act());
        return all.Count;
    }

    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
        => Do("read", offset, into.Length, BlockFlags.None, () => Bytes.AsMemory((int)offset, into.Length).CopyTo(into), cancel);

    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
        => Do("write", offset, bytes.Length, flags, () => bytes.CopyTo(Bytes.AsMemory((int)offset)), cancel);

    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => Do("flush", 0, 0, BlockFlags.None, () => { }, cancel);

    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => Do("trim", offset, length, flags, () => { }, cancel);

    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => Do("zero", offset, length, flags, () => Bytes.AsSpan((int)offset, (int)length).Clear(), cancel);

    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel)
        => Do("cache", offset, length, BlockFlags.None, () => { }, cancel);

    /// <summary>What <see cref="Extents"/> answers; null: all is data.</summary>
    public List<BlockExtent>? Map { get; set; }

    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into)
    {
        if (Fails?.Invoke("extents", offset) is { } failure) return failure;
        if (Map is null) into.Add(new BlockExtent(length, false, false));
        else into.AddRange(Map.Take(limit));
        return BlockResult.Ok;
    }

    private ValueTask<BlockResult> Do(string call, long offset, long length, BlockFlags flags, Action act, CancellationToken cancel)
    {
        lock (_lock) Calls.Add($"{call} {offset}+{length}{(flags == BlockFlags.None ? "" : $" {flags}")}");
        if (Fails?.Invoke(call, offset) is { } failure) return new(failure);
        BlockResult Act()
        {
            act();
            return BlockResult.Ok;
        }

        if (Waits?.Invoke(call) != true) return new(Act());
        var done = new TaskCompletionSource<BlockResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _waiting.Add((call, done, Act));
        cancel.Register(() => done.TrySetCanceled(cancel));
        return new(done.Task);
    }
}

/// <summary>A server without sockets, and sessions whose bytes are known beforehand.</summary>
internal sealed class NbdRig : IDisposable
{
    public NbdRig(IBlockDevice device, Func<SdnEdge.Storage.Nbd.NbdServerOptions, SdnEdge.Storage.Nbd.NbdServerOptions>? with = null)
    {
        var options = new SdnEdge.Storage.Nbd.NbdServerOptions
        {
            Listen = [new SdnEdge.Storage.Nbd.NbdUnixListen("/nowhere")],
            Report = sentence =>
            {
                lock (Reports) Reports.Add(sentence);
            },
        };
        Server = new SdnEdge.Storage.Nbd.NbdServer(with?.Invoke(options) ?? options,
            new SdnEdge.Storage.Nbd.NbdExport("vol", device) { Description = "a volume" });
    }

    public SdnEdge.Storage.Nbd.NbdServer Server { get; }

    public List<string> Reports { get; } = [];

    /// <summary>Serves a whole session; what the server said.</summary>
    public byte[] Serve(byte[] input, Func<int>? cuts = null)
    {
        var transport = new ScriptedTransport(input, cuts);
        Serve(transport);
        return transport.Output;
    }

    public void Serve(ScriptedTransport transport)
        => Server.Serve(transport, new SdnEdge.Storage.Nbd.NbdClient(SdnEdge.Storage.Nbd.NbdTransportKind.Unix), Server.Policy(false));

    public void Dispose() => Server.Dispose();
}
