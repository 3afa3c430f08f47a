using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Leases;
using SdnEdge.Linux;

namespace SdnEdge.Host.Leases;

/// <summary>One lease, renewed every third of its TTL (<see cref="LeaseClock"/>). A refusal ends nothing: it runs out.</summary>
/// <param name="group">The group.</param>
/// <param name="site">The site.</param>
/// <param name="epoch">The epoch.</param>
/// <param name="party">Who has it.</param>
/// <param name="witness">Where it is asked for.</param>
/// <param name="stop">Ends it.</param>
internal sealed class RenewedLease(string group, string site, long epoch, string party, WitnessClient witness, CancellationToken stop)
{
    private static readonly TimeSpan s_least = TimeSpan.FromMilliseconds(100), s_first = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _end = CancellationTokenSource.CreateLinkedTokenSource(stop);
    private LeaseClock _clock;
    private volatile string? _fault;
    private volatile WitnessClient _witness = witness;
    private bool _begun;

    /// <summary>As it is now.</summary>
    public LeaseClock Clock
    {
        get
        {
            lock (_gate) return _clock;
        }
    }

    /// <summary>Why the last renewal was not granted; null = it was.</summary>
    public string? Fault => _fault;

    /// <summary>Where it is asked for from the next renewal on.</summary>
    public WitnessClient Witness
    {
        set => _witness = value;
    }

    /// <summary>Whether it is valid.</summary>
    public bool IsValidAt(long now) => Clock.IsValidAt(now);

    /// <summary>Somebody else on this machine has renewed it.</summary>
    /// <param name="untilNs">Until when it is valid.</param>
    /// <param name="ttlMs">How long one is good for, milliseconds; 0 = not known.</param>
    public void IsKnownToBeValid(long untilNs, int ttlMs)
    {
        if (untilNs == 0 || ttlMs == 0) return;
        lock (_gate) _clock = _clock.Granted(untilNs - (ttlMs * 1_000_000L), ttlMs);
    }

    /// <summary>Begins to renew it, once.</summary>
    public void Begin()
    {
        if (_begun) return;
        _begun = true;
        _ = Task.Run(RunAsync, CancellationToken.None);
    }

    /// <summary>Renews it no more.</summary>
    public void End() => _end.Cancel();

    /// <summary>Asks once. Returns the lease then, and why it was not granted.</summary>
    /// <param name="witness">The witness.</param>
    /// <param name="group">The group.</param>
    /// <param name="site">The site.</param>
    /// <param name="call">Who asks, and under which epoch.</param>
    /// <param name="before">The lease before.</param>
    /// <param name="within">How long the answer is waited for.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task<(LeaseClock Clock, string? Fault, string? Problem)> AskAsync(WitnessClient witness, string group, string site,
        LeaseRenewCall call, LeaseClock before, TimeSpan within, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(within);
        long sent = BootTime.Now;
        LeaseClock clock = before.Sent(sent);
        try
        {
            LeaseRenewReply reply = await witness.RenewAsync(group, site, call, limit.Token);
            return (clock.Granted(sent, reply.TtlMs), null, null);
        }
        catch (ApiProblemException e)
        {
            return (clock, $"{e.Peer}: {e.Problem.Detail}", e.Problem.Type);
        }
        catch (ApiUnreachableException e)
        {
            return (clock, e.Message, null);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return (clock, $"the witness did not answer within {within.TotalSeconds:0.0} s", null);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // A mistake of ours must not be the end of all renewals.
            return (clock, $"{e.GetType().Name}: {e.Message}", null);
        }
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
            {
                LeaseClock before = Clock;
                TimeSpan third = before.TtlNs > 0 ? TimeSpan.FromMicroseconds(before.TtlNs / LeaseClock.RenewalsInTtl / 1_000) : s_first;
                (LeaseClock after, string? fault, _) = await AskAsync(_witness, group, site, new LeaseRenewCall(party, epoch), before,
                    third > s_least ? third : s_least, _end.Token);
                lock (_gate) _clock = after with { ValidUntilNs = Math.Max(after.ValidUntilNs, _clock.ValidUntilNs) };
                _fault = fault;
                double pause = (after.NextRenewalNs - BootTime.Now) / 1e6;
                await Task.Delay(TimeSpan.FromMilliseconds(Math.Max(pause, fault is null ? 1 : s_least.TotalMilliseconds)), _end.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // It is wanted no more.
        }
    }
}
