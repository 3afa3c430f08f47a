using SdnEdge.Core.Leases;

namespace SdnEdge.Core.Tests.Leases;

/// <summary>A rule that is left out of the world, to see that the property finds it.</summary>
public enum LeaseFault
{
    /// <summary>None: as it is.</summary>
    None,
    /// <summary>A lease counts from when its answer came.</summary>
    CountsFromTheAnswer,
    /// <summary>The answer that comes last counts, whichever renewal it belongs to, from when the last renewal was sent.</summary>
    CountsFromTheLastSent,
    /// <summary>Clocks are taken to run alike.</summary>
    NoDrift,
    /// <summary>The effect is taken to come with the check.</summary>
    NoStandstill,
    /// <summary>A witness that is started takes nothing to be granted.</summary>
    RestartForgets,
    /// <summary>A witness that is started does not know that it has revoked.</summary>
    RevokedIsNotDurable,
    /// <summary>A shorter TTL is taken to hold for leases that were granted before, too.</summary>
    ForgetsTheLongestTtl,
}

/// <summary>What happens next.</summary>
/// <param name="What">Which of the cases.</param>
/// <param name="Arg">What it does it with.</param>
public readonly record struct LeaseEvent(int What, int Arg);

/// <summary>
/// A witness, three parties and the ways between them, on which anything may be late or lost. Each clock has a start and a rate of its
/// own. True time is in nanoseconds. After each event, no party may have a lease, and nothing may run that a lease allowed, at a time at
/// which the witness has said, after a revocation of its epoch, that all have run out by then.
/// </summary>
internal sealed class LeaseWorld
{
    private const int Parties = 3, StandstillMs = 500;
    private const long Ms = 1_000_000;

    // Of rates within 0.49 % the quotient is within 1 %.
    private static readonly int[] s_rates = [-4_900, 4_900, 0, -2_500, 3_100];

    private readonly LeaseFault _fault;
    private readonly List<(int Party, long Epoch, long SentAt)> _requests = [];
    private readonly List<(int Party, long Epoch, long SentAt, int TtlMs)> _answers = [];
    private readonly Dictionary<(int Party, long Epoch), LeaseClock> _clocks = [];

    // Up to this epoch, by the witness's clock nothing runs from this time on.
    private readonly List<(long Epoch, long Since)> _said = [];
    private readonly int[] _rates;
    private LeaseRules _rules;
    private WitnessLeases _leases;
    private LeaseRecord? _disk;
    private long _true = 1_000_000 * Ms, _epoch;

    public LeaseWorld(LeaseFault fault, int clocks)
    {
        _fault = fault;
        _rates = [.. Enumerable.Range(0, Parties + 1).Select(i => s_rates[(int)(((uint)clocks >> (3 * i)) % (uint)s_rates.Length)])];
        _rules = new LeaseRules(3_000, fault == LeaseFault.NoDrift ? 0 : 10_000, fault == LeaseFault.NoStandstill ? 0 : StandstillMs);
        _leases = WitnessMachine.Unknown("vs", "dc-a", Clock(0));
    }

    /// <summary>What went wrong; null = nothing.</summary>
    public string? Wrong { get; private set; }

    /// <summary>How often a lease was granted, and how often it was said that none is left.</summary>
    public (int Grants, int Ends) Count { get; private set; }

    public void Take(LeaseEvent next)
    {
        int arg = Math.Abs(next.Arg % 4_096);
        switch (next.What % 12)
        {
            case 0 or 1:
                _true += arg % 2 == 0 ? arg * Ms : arg * 1_000L;
                break;
            case 2 or 3:
                Send(arg % Parties, _epoch);
                break;
            case 4 or 5 when _requests.Count > 0:
                Serve(arg % _requests.Count);
                break;
            case 6 or 7 when _answers.Count > 0:
                Answer(arg % _answers.Count);
                break;
            case 8:
                if (arg % 2 == 0 && _requests.Count > 0) _requests.RemoveAt(arg % _requests.Count);
                else if (_answers.Count > 0) _answers.RemoveAt(arg % _answers.Count);
                break;
            case 9:
                Restart(arg);
                break;
            case 10:
                if (Step(new OpenLeases(_epoch + 1)) is null) _epoch++;
                break;
            case 11:
                if (_epoch == 0) break;
                Step(new RevokeLeases(_epoch));
                _said.Add((_epoch, Clock(0) + (WitnessMachine.Show(_leases, _rules, Clock(0)).RunsOutInMs * Ms)));
                Count = Count with { Ends = Count.Ends + 1 };
                break;
        }

        Check();
    }

    private void Send(int party, long epoch)
    {
        if (epoch == 0) return;
        _clocks[(party, epoch)] = _clocks.GetValueOrDefault((party, epoch)).Sent(Clock(party + 1));
        _requests.Add((party, epoch, Clock(party + 1)));
    }

    private void Serve(int request)
    {
        (int party, long epoch, long sent) = _requests[request];
        _requests.RemoveAt(request);
        if (Step(new RenewLease($"host-{party}", epoch)) is not null) return;
        _answers.Add((party, epoch, sent, _rules.TtlMs));
        Count = Count with { Grants = Count.Grants + 1 };
    }

    private void Answer(int answer)
    {
        (int party, long epoch, long sent, int ttl) = _answers[answer];
        _answers.RemoveAt(answer);
        LeaseClock clock = _clocks[(party, epoch)];
        long from = _fault switch
        {
            LeaseFault.CountsFromTheAnswer => Clock(party + 1),
            LeaseFault.CountsFromTheLastSent => clock.SentAtNs!.Value,
            _ => sent,
        };
        _clocks[(party, epoch)] = clock.Granted(from, ttl);
    }

    private void Restart(int arg)
    {
        _rules = _rules with { TtlMs = arg % 3 == 0 ? 1_500 : 3_000 };
        if (_disk is not { } disk) return;
        if (_fault == LeaseFault.ForgetsTheLongestTtl) disk = disk with { MaxTtlMs = _rules.TtlMs };
        if (_fault == LeaseFault.RevokedIsNotDurable) disk = disk with { Revoked = false };
        _leases = WitnessMachine.Start(disk, _fault == LeaseFault.RestartForgets ? Clock(0) - (3_600_000 * Ms) : Clock(0));
    }

    private string? Step(WitnessInput input)
    {
        WitnessStep step = WitnessMachine.Step(_leases, input, _rules, Clock(0));
        _leases = step.Leases;
        _disk = step.Write ?? _disk;
        return step.Refusal;
    }

    private void Check()
    {
        long now = Clock(0);
        foreach (((int party, long epoch), LeaseClock clock) in _clocks)
        {
            if (clock.ValidUntilNs == 0) continue;

            // When its effect ends, by the witness's clock: the rest of its time by the party's clock, and the longest standstill. What
            // begins only now lasts longer than what was said, if it lasts longer than now.
            long end = now + (long)((clock.ValidUntilNs - Clock(party + 1)) * Rate(0) / Rate(party + 1)) + (StandstillMs * Ms);
            foreach ((long upTo, long since) in _said)
            {
                // Rounding to whole nanoseconds and milliseconds is no rule's.
                if (epoch <= upTo && end > Math.Max(since, now) + 1_000)
                    Wrong ??= $"host-{party} runs under epoch {epoch} for {(end - since) / Ms} ms after all had run out";
            }
        }
    }

    private double Rate(int clock) => 1 + (_rates[clock] / 1e6);

    // By the clock of the witness (0) or of a party.
    private long Clock(int clock) => ((clock + 7) * 1_000_000_000_000) + _true + (_true / 1_000_000 * _rates[clock]);
}
