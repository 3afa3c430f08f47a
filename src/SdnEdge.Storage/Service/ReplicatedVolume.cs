using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>How a replicated volume reaches the rest of its store.</summary>
/// <param name="Peer">The store with the other copy.</param>
/// <param name="Connect">Connects to it, for this volume.</param>
/// <param name="Disconnect">Ends the clients of this volume, but those for whom it is true.</param>
/// <param name="Tell">Tells the operator: one word, and a sentence.</param>
internal sealed record VolumeSurroundings(
    string Peer, Func<CancellationToken, Task<Stream>> Connect, Action<Func<ClientIdentity?, bool>> Disconnect, Action<string,
        string> Tell)
{
    /// <summary>Reports to the manager; the answer is null when it has it on record, else why not. Null = there is no manager.</summary>
    public Func<StaleReport, CancellationToken, Task<string?>>? Report { get; init; }
}

/// <summary>
/// One volume with a replica at another store: who may write it (<see cref="OwnershipMachine"/>), when that is answered
/// (<see cref="PrimaryMachine"/>), and whom it follows (<see cref="ReplicaSession"/>). One loop takes all inputs in order and is the only
/// one that steps the machines and writes their records:
/// <code>
/// 1. an input: an order, a word of the link, a commit of the log, time
/// 2. what the log has become since the last one is told first
/// 3. step; each command is carried out in order; a record is on disk before the next
/// 4. answers that may be given are given
/// </code>
/// While it is the owner a second task keeps the link to the replica's store; while it is not, the owner's store comes here.
/// </summary>
internal sealed partial class ReplicatedVolume : IAsyncDisposable
{
    // The loop looks so often at what the log has become, when nothing else happens.
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20), s_room = TimeSpan.FromSeconds(5);

    private static readonly object s_wake = new();

    private readonly VolumeFiles _files;
    private readonly VolumeSurroundings _around;
    private readonly ReplicationPolicy _policy;
    private readonly ReplicationMode _mode;
    private readonly LinkOptions _link;
    private readonly AnswerGate _gate;
    private readonly VolumeLogReader _reader;
    private readonly Channel<object> _inputs = Channel.CreateUnbounded<object>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<long, TaskCompletionSource<OwnershipReply>> _orders = [];
    private readonly Dictionary<long, TaskCompletionSource<DrainProof>> _drains = [];
    private readonly Dictionary<long, TaskCompletionSource> _modes = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _following = new(1);
    private OwnershipState _ownership;
    private PrimaryState? _primary;
    private OwnerSession? _session;
    private CancellationTokenSource? _owning;
    private CancellationTokenSource _followed = new();
    private CancellationTokenSource? _served;
    private ReplicaSession _replica;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task _loop = Task.CompletedTask, _linking = Task.CompletedTask;
    private ClientIdentity? _admitted;
    private int _inside;
    private long _tickets;

    /// <summary>A volume as it is on disk. <paramref name="gate"/> is its options' gate.</summary>
    /// <param name="volume">The volume.</param>
    /// <param name="gate">The gate that its options have.</param>
    /// <param name="files">Its records.</param>
    /// <param name="first">Whether this store owns it before any order was given.</param>
    /// <param name="mode">The mode, while no migration says otherwise.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="link">How the link works.</param>
    /// <param name="around">The rest of the store.</param>
    /// <exception cref="IOException">A record cannot be used.</exception>
    public ReplicatedVolume(
        Volume volume, AnswerGate gate, VolumeFiles files, bool first, ReplicationMode mode, ReplicationPolicy policy, LinkOptions link,
        VolumeSurroundings around)
    {
        (Volume, _gate, _files, _mode, _policy, _link, _around) = (volume, gate, files, mode, policy, link, around);
        Guid id = volume.Metadata.Identity;
        _reader = new VolumeLogReader(volume);
        _ownership = OwnershipMachine.Start(files.Ownership ?? (first ? OwnershipRecord.First(id) : OwnershipRecord.Follower(id)));

        // One that has no record yet, nor a history: whether it follows or is copied, the owner's first words will say.
        ReplicaRecord replica = files.Replica
            ?? new ReplicaRecord(id, IsOwner || volume.Log.LastSequence > 1 ? CopyPhase.Following : CopyPhase.Empty);
        _replica = NewSession(replica);
        if (IsOwner && (Volume.IsCopying || replica.Phase == CopyPhase.Resyncing)) PutBack();
        if (IsOwner) BeginOwning();
        else volume.ApplyLimit = volume.AppliedSequence;
        Publish();
        volume.Log.Committed += OnCommitted;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>The volume.</summary>
    public Volume Volume { get; }

    /// <summary>The other store.</summary>
    public string Peer => _around.Peer;

    /// <summary>Who may write it. Any thread.</summary>
    public OwnershipState Ownership
    {
        get
        {
            lock (_lock) return _ownership;
        }
    }

    /// <summary>The owner's replication; null = this store is not the owner. Any thread.</summary>
    public PrimaryState? Primary
    {
        get
        {
            lock (_lock) return _primary;
        }
    }

    /// <summary>The last durable point.</summary>
    public LogPoint Durable
    {
        get
        {
            lock (_reader) return _reader.Find(Volume.Log.DurableSequence, out _) ?? LogPoint.Start;
        }
    }

    /// <summary>The last changes of mode, and the last drain. Any thread.</summary>
    public ModeHistory Modes { get; } = new();

    /// <summary>The replica's state.</summary>
    public ReplicaState Replica => _replica.State;

    /// <summary>True while it is open who the next owner is.</summary>
    public bool IsSealed
    {
        get
        {
            lock (_lock) return _ownership.Record.Role == OwnerRole.Sealed;
        }
    }

    // A connection on which nothing is heard for so long is made anew.
    private TimeSpan Silence => TimeSpan.FromMilliseconds(_policy.PeerGoneAfter / 1e6);

    private bool IsOwner => _ownership.Record.Role is OwnerRole.Owner or OwnerRole.Sealed;

    /// <summary>Carries out an order; returns when its effect is on disk.</summary>
    /// <exception cref="OwnershipRefusedException">It was refused.</exception>
    public Task<OwnershipReply> OrderAsync(OwnershipOrderKind kind, ulong epoch, ClientIdentity? client, uint generation,
        LogPoint? expected,
        CancellationToken cancel, bool isStale = false)
    {
        long ticket = Interlocked.Increment(ref _tickets);
        var answer = new TaskCompletionSource<OwnershipReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _orders.Add(ticket, answer);
        Post(new OwnershipOrder(ticket, kind, epoch) { Client = client, Generation = generation, Expected = expected, IsStale = isStale });
        return answer.Task.WaitAsync(cancel);
    }

    /// <summary>Asks for a mode; completes when it is reached.</summary>
    /// <exception cref="IOException">It will not be reached by this request, or this store is not the owner.</exception>
    public Task ModeAsync(ReplicationMode mode, CancellationToken cancel)
    {
        long ticket = Interlocked.Increment(ref _tickets);
        var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _modes.Add(ticket, reached);
        Post(new ModeAsked(ticket, mode));
        return reached.Task.WaitAsync(cancel);
    }

    /// <summary>The mode that holds while no migration says otherwise.</summary>
    public Task RestoreModeAsync(CancellationToken cancel) => ModeAsync(_mode, cancel);

    private async Task<DrainProof> ProveAsync(CancellationToken cancel)
    {
        long asked = Monotonic.Now;
        (LogPoint last, ulong root) = await Task.Run(Proof, cancel).ConfigureAwait(false);
        long ticket = Interlocked.Increment(ref _tickets);
        var proved = new TaskCompletionSource<DrainProof>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _drains.Add(ticket, proved);
        Post(new DrainAsked(ticket, last, root));
        DrainProof proof = await proved.Task.WaitAsync(cancel).ConfigureAwait(false);
        Modes.Drained(new DrainTimeInfo(asked, Monotonic.Now, DrainProofInfo.Of(Volume.Metadata.Name, proof)));
        return proof;
    }

    /// <summary>Serves a connection of the store that owns the volume, until it ends.</summary>
    public async Task FollowAsync(Stream stream, CancellationToken cancel)
    {
        // Its owner has left the connection before this one: that ends, and this one begins behind it.
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stop.Token, _followed.Token);
        CancellationTokenSource? before;
        lock (_lock) (before, _served) = (_served, end);
        try
        {
            if (before is not null) await before.CancelAsync().ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            // It has ended.
        }

        await _following.WaitAsync(end.Token).ConfigureAwait(false);
        try
        {
            await using var heard = new HeardStream(stream, Silence);
            ReplicaSession session = _replica;
            await session.RunAsync(heard, end.Token).ConfigureAwait(false);
            string ended = session.LastFault ?? "";
            if (ended != _ended && ended.Length > 0) _around.Tell("link-ended", $"{Peer} does not reach this copy any more: {ended}");
            _ended = ended;
            KeepHeard();

            // A batch may be in the log in part, when its disk failed: what is there counts, not what was taken for done.
            if (ended.Length > 0 && session.RefusedEpoch == 0 && Volume.Log.Commit() == 0 && _replica == session)
                _replica = NewSession(session.State.OnDisk);
        }
        finally
        {
            lock (_lock) _served = _served == end ? null : _served;
            _following.Release();
        }

        await GiveWayAsync(cancel).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _inputs.Writer.TryComplete();
        await _stop.CancelAsync().ConfigureAwait(false);
        if (_owning is not null) await _owning.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _linking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _following.WaitAsync().ConfigureAwait(false);
        await _taking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _gate.End();
        lock (_lock)
        {
            var ends = new IOException("the store is stopping; ask again when it runs");
            foreach (TaskCompletionSource<OwnershipReply> open in _orders.Values) open.TrySetException(ends);
            foreach (TaskCompletionSource<DrainProof> open in _drains.Values) open.TrySetException(ends);
            foreach (TaskCompletionSource open in _modes.Values) open.TrySetException(ends);
            _changed.TrySetResult();
        }

        Volume.Log.Committed -= OnCommitted;
        _reader.Dispose();
        _following.Dispose();
        _followed.Dispose();
        _owning?.Dispose();
        _stop.Dispose();
    }

    // What is durable here may be what an answer waits for.
    private void OnCommitted(int error) => Post(s_wake);

    private void Post(object input) => _inputs.Writer.TryWrite(input);

    private ReplicaSession NewSession(ReplicaRecord record)
    {
        Guid id = Volume.Metadata.Identity;
        ulong Step(ulong previous, in LogRecord next)
            => LogRecordCodec.NextChain(next.Sequence == 1 ? LogRecordCodec.BeginChain(id) : previous, next);
        var sink = new VolumeReplicaSink(Volume, _files, _reader, () => Ownership.Record, _around.Tell);
        return new ReplicaSession(record, _reader.Last, Volume.LastSize, sink, () => Ownership.Record, OwnerSeenAsync, Step)
        {
            OwnerAnswered = Heard(),
        };
    }

    private async Task OwnerSeenAsync(ulong epoch, CancellationToken cancel)
    {
        Post(new OwnerSeen(epoch));
        while (Ownership.Record.OwnerEpoch < epoch)
        {
            Task changed;
            lock (_lock) changed = _changed.Task;
            if (Ownership.Record.OwnerEpoch >= epoch) return;
            await changed.WaitAsync(cancel).ConfigureAwait(false);
        }
    }

    // All that was appended is durable and in the image: the last point, and what the image then is.
    private (LogPoint Last, ulong Root) Proof()
    {
        if (Volume.Drain(ulong.MaxValue, out int error) is not { } proof)
            throw new IOException($"volume {Volume.Metadata.Name} cannot be read to its last record: {RawFile.Describe(error)}");
        return (proof.Sequence == 0 ? LogPoint.Start : new LogPoint(proof.Sequence, proof.Epoch, proof.Chain), proof.Root);
    }
}

/// <summary>An order was refused.</summary>
/// <param name="refusal">Why, and what would be right.</param>
internal sealed class OwnershipRefusedException(OwnershipRefusal refusal) : Exception(refusal.Detail)
{
    /// <summary>Why.</summary>
    public OwnershipRefusal Refusal => refusal;
}
