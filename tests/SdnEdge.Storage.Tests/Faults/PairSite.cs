using System.Collections.Concurrent;
using System.Net.Sockets;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>One store's copy of a volume, on a <see cref="CrashDisk"/>: it ends in the middle of any of its writes and syncs, and begins
/// again with what was left.</summary>
internal sealed class PairSite(string name, string peer, bool isOwner, string folder, ReplicationPolicy? policy = null) : IAsyncDisposable
{
    public const int Size = 512 << 10;

    public static readonly Guid Identity = new("7d6f3f0e-2a9d-4c43-b0dd-c77c0a5a5a02");

    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly CancellationTokenSource _end = new();
    private CrashDisk _disk = new(0);
    private AnswerGate _gate = new();
    private Task _following = Task.CompletedTask;

    public CrashDisk Disk => _disk;

    public Volume Volume { get; private set; } = null!;

    public ReplicatedVolume? Replicated { get; private set; }

    public ConcurrentQueue<string> Told { get; } = [];

    private static VolumeMetadata Metadata => new() { Name = "v", Identity = Identity, Size = Size };

    private VolumeOptions Options => new()
    {
        ApplyEvery = TimeSpan.FromMilliseconds(5),
        ApplyAtBytes = 32 << 10,
        CheckpointBytes = 128 << 10,
        MaxPendingBlocks = 4096,
        Log = new VolumeLogOptions { SegmentSize = 256 << 10, MaxSegments = 16 },
        Gate = _gate,
        HoldsBack = true,
    };

    public void Create(int seed)
    {
        _disk = new CrashDisk(seed);
        Volume = Volume.Create(_disk, new Volume.Parts(_disk.Open("image", Size, out _)!), Metadata, Options, out int error)
            ?? throw new InvalidOperationException($"{name}: not made, error {error}");
    }

    /// <summary>The disk ends now, if it has not; and everything of the process with it.</summary>
    public async Task EndAsync()
    {
        _disk.Off();
        foreach (Socket socket in _sockets) socket.Dispose();
        _sockets.Clear();
        if (Replicated is not null) await Replicated.DisposeAsync();
        Replicated = null;
        Volume.Dispose();
    }

    /// <summary>What was left is opened: all that was written (a kill), or of what was not synced each sector in any of its versions (a
    /// power cut). Nothing runs yet.</summary>
    public void Reopen(bool power, int seed)
    {
        _disk = power ? _disk.Survivor(seed) : _disk.Copy(seed);
        _gate = new AnswerGate();
        Volume = Volume.Open(_disk, new Volume.Parts(_disk.Open("image", -1, out _)!), Metadata, Options, out LogRecovery? recovery,
            out int error)
            ?? throw new InvalidOperationException($"{name}: not opened, error {error}: {string.Join("; ", recovery?.Damage ?? [])}");
    }

    /// <summary>It takes orders, and follows or is followed.</summary>
    public void Start(Func<CancellationToken, Task<Stream>> connect)
    {
        var around = new VolumeSurroundings(peer, connect, _ => { }, (what, detail) => Told.Enqueue($"{name} {what}: {detail}"));
        var link = new LinkOptions { RetryAfter = TimeSpan.FromMilliseconds(5), BatchBytes = 32 << 10 };
        Replicated = new ReplicatedVolume(Volume, _gate, new Files(folder, Metadata.Identity, _disk), isOwner, ReplicationMode.Async,
            policy ?? new ReplicationPolicy { PeerGoneAfter = 60_000_000_000 }, link, around);
    }

    /// <summary>The other store connects: its end of the way.</summary>
    public async Task<Stream> AcceptAsync(PairSite from, CancellationToken cancel)
    {
        if (Replicated is not { } replicated || _disk.IsOff) throw new IOException($"{name} does not run");
        string path = Path.Combine(folder, $"{Guid.NewGuid():N}.sock");
        (Socket near, Socket far) = await UnixPair.ConnectAsync(path, cancel);
        _sockets.Add(far);
        from._sockets.Add(near);
        _following = ServeAsync(replicated, far, _end.Token);
        return new NetworkStream(near, ownsSocket: true);
    }

    /// <summary>Completes when nobody is followed any more.</summary>
    public Task QuietAsync() => _following;

    public async Task<byte[]> ReadAsync()
    {
        byte[] bytes = new byte[Volume.LastSize];
        BlockResult result = await Volume.ReadAsync(0, bytes, default);
        return result == BlockResult.Ok ? bytes : throw new InvalidOperationException($"{name} cannot be read: {result}");
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await EndAsync();
        _end.Dispose();
    }

    private static async Task ServeAsync(ReplicatedVolume replicated, Socket far, CancellationToken cancel)
    {
        await using var stream = new NetworkStream(far, ownsSocket: true);
        try
        {
            await replicated.FollowAsync(stream, cancel);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // It has ended meanwhile.
        }
    }

    // Records beside the volume, which end with its disk.
    private sealed class Files(string folder, Guid identity, CrashDisk disk) : VolumeFiles(folder, identity)
    {
        protected override void Replace(string file, byte[] bytes)
        {
            int error = disk.Atomically(() =>
            {
                File.WriteAllBytes(file + ".new", bytes);
                File.Move(file + ".new", file, overwrite: true);
            });
            if (error != 0) throw new IOException($"{file}: error {error}");
        }
    }
}
