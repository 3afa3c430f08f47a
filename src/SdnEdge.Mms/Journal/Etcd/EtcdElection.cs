using System.Diagnostics;
using System.Text.Json;

namespace SdnEdge.Mms.Journal.Etcd;

/// <summary>What a manager that does not lead has seen.</summary>
/// <param name="Leader">Who leads; null: nobody, or it cannot be read.</param>
/// <param name="Fault">Why nothing can be seen; null: it can.</param>
internal sealed record ElectionView(LeaderInfo? Leader, string? Fault);

/// <summary>
/// Chooses which manager leads: the one whose key is there. The key goes with a lease, so it is gone when its manager does not keep the
/// lease any more, and then the next one makes its own. The lease chooses who may try; what makes it safe is the term in every append, and
/// the epochs at PEs, hosts and stores.
/// </summary>
internal sealed class EtcdElection(EtcdClient etcd, string prefix, int leaseSeconds)
{
    /// <summary>How often a manager that does not lead looks whether somebody does.</summary>
    public static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(150);

    private readonly byte[] _key = EtcdJournal.Key(prefix, "leader");

    /// <summary>Waits until this manager leads.</summary>
    /// <param name="me">Who this is.</param>
    /// <param name="saw">Called after each look while it does not lead: the next look waits for it.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<EtcdTerm> CampaignAsync(LeaderInfo me, Func<ElectionView, Task> saw, CancellationToken cancel)
    {
        while (true)
        {
            ElectionView view;
            try
            {
                RangeReply reply = await etcd.RangeAsync(new RangeRequest(_key), cancel);
                if (reply.Keys.Count == 0 && await TryAsync(me, cancel) is { } term) return term;
                view = new ElectionView(EtcdJournal.Leader(reply.First), null);
            }
            catch (EtcdException e)
            {
                view = new ElectionView(null, e.Message);
            }

            await saw(view);
            await Task.Delay(Pace, cancel);
        }
    }

    /// <summary>Who leads now; null: nobody.</summary>
    /// <exception cref="EtcdException">That cannot be read.</exception>
    public async Task<LeaderInfo?> LeaderAsync(CancellationToken cancel)
        => EtcdJournal.Leader((await etcd.RangeAsync(new RangeRequest(_key), cancel)).First);

    private async Task<EtcdTerm?> TryAsync(LeaderInfo me, CancellationToken cancel)
    {
        long sent = Stopwatch.GetTimestamp();
        LeaseReply lease = await etcd.GrantAsync(leaseSeconds, cancel);
        TxnReply reply = await etcd.TxnAsync(
            new TxnRequest(
                [EtcdCompare.Created(_key, 0)],
                [
                    new EtcdOperation
                    {
                        RequestPut = new PutRequest(_key, JsonSerializer.SerializeToUtf8Bytes(me, EtcdJournalTypes.Default.LeaderInfo))
                        {
                            Lease = lease.Id,
                        },
                    },
                ],
                [new EtcdOperation { RequestRange = new RangeRequest(_key) }]), cancel);
        if (reply.Succeeded) return new EtcdTerm(etcd, lease, reply.Header.Revision, sent);

        // A member may have made the key and not said so.
        if (reply.Read(0) is { } there && there.Lease == lease.Id) return new EtcdTerm(etcd, lease, there.CreateRevision, sent);
        await etcd.RevokeAsync(lease.Id, cancel);
        return null;
    }
}

/// <summary>The time for which one manager leads. Its lease is kept until it is lost, or given back.</summary>
internal sealed class EtcdTerm : IAsyncDisposable
{
    private readonly EtcdClient _etcd;
    private readonly long _lease;
    private readonly TimeSpan _time;
    private readonly CancellationTokenSource _lost = new(), _stop = new();
    private readonly Task _keeping;
    private long _sent;
    private int _disposed;

    internal EtcdTerm(EtcdClient etcd, LeaseReply lease, long revision, long sent)
    {
        (_etcd, _lease, _time, Revision, _sent) = (etcd, lease.Id, TimeSpan.FromSeconds(lease.Seconds), revision, sent);
        Lost = _lost.Token;
        _keeping = Task.Run(KeepAsync);
    }

    /// <summary>The fencing token: etcd's revision at which the leader's key was made. Terms that begin later have higher ones.</summary>
    public long Revision { get; }

    /// <summary>Cancelled when the lease has run out, or may have.</summary>
    public CancellationToken Lost { get; }

    /// <summary>
    /// True while nobody else can lead: a lease's time has not passed since the last renewal that etcd confirmed was sent. It is asked anew
    /// each time, since whoever asks may have stood still.
    /// </summary>
    public bool IsValid => Left > TimeSpan.Zero && !Lost.IsCancellationRequested;

    private TimeSpan Left => _time - Stopwatch.GetElapsedTime(Interlocked.Read(ref _sent));

    /// <summary>Gives the lease back, so that another manager leads at once.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        await _stop.CancelAsync();
        await _keeping;
        await _lost.CancelAsync();
        using var limit = new CancellationTokenSource(_etcd.Patience);
        try
        {
            await _etcd.RevokeAsync(_lease, limit.Token);
        }
        catch (Exception e) when (e is EtcdException or OperationCanceledException)
        {
            // It runs out by itself.
        }

        _stop.Dispose();
        _lost.Dispose();
    }

    private async Task KeepAsync()
    {
        try
        {
            while (Left > TimeSpan.Zero)
            {
                long sent = Stopwatch.GetTimestamp();
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                limit.CancelAfter(Left);
                try
                {
                    await _etcd.KeepAliveAsync(_lease, limit.Token);
                    Interlocked.Exchange(ref _sent, sent);
                }
                catch (EtcdException e) when (e.Fault == EtcdFault.NoLease)
                {
                    break;
                }
                catch (Exception e) when (e is EtcdException or OperationCanceledException)
                {
                    // Asked again, as long as there is time.
                }

                TimeSpan pause = _time / 4, left = Left;
                await Task.Delay(pause < left ? pause : left > TimeSpan.Zero ? left : TimeSpan.Zero, _stop.Token);
            }

            await _lost.CancelAsync();
        }
        catch (OperationCanceledException)
        {
            // Given back.
        }
    }
}
