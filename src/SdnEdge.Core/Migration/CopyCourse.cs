using System.Globalization;

namespace SdnEdge.Core.Migration;

/// <summary>What is asked of a copy of a running server's memory.</summary>
/// <param name="MaxStopMs">Longest time for which nobody may run, milliseconds: from the source's stop to the target's start.</param>
/// <param name="RoundTripMs">Round trip between the two hosts, milliseconds.</param>
/// <param name="OnePass">True: the memory is copied once while the server runs, and what has changed meanwhile after its stop.</param>
/// <param name="AutoConverge">True: the hypervisor slows the server down when it changes its memory faster than the way takes it.</param>
public sealed record CopyLimits(double MaxStopMs, double RoundTripMs = 0, bool OnePass = false, bool AutoConverge = false);

/// <summary>What was seen of a copy.</summary>
/// <param name="AtNs">When, nanoseconds.</param>
/// <param name="Pass">The pass over the memory, from 1.</param>
/// <param name="RemainingBytes">What is left of it.</param>
/// <param name="CarriedBytes">What was carried since the copy began.</param>
public readonly record struct CopyLook(long AtNs, int Pass, long RemainingBytes, long CarriedBytes);

/// <summary>What to do with a copy.</summary>
public enum CopyStep
{
    /// <summary>Carry it as fast as it goes.</summary>
    Hurry,
    /// <summary>Near the end of a pass: slowly, so that the hypervisor does not finish by itself.</summary>
    Approach,
    /// <summary>The convenient point is here: keep the rest back until the server has been stopped.</summary>
    Shut,
    /// <summary>It has passed: nobody stopped the server in time. Go on with the pass.</summary>
    Open,
    /// <summary>It cannot be used any more: begin it anew.</summary>
    Restart,
}

/// <summary>
/// The course of one copy, and when its convenient point is there (the paper's words): the server can be stopped so that nobody runs for no
/// longer than allowed, and another pass would not make that much shorter. Pure.
/// <code>
/// bandwidth    what was carried in a while of hurry, smoothed
/// dirty rate   what is to be copied when a pass begins, over the time that the pass before took
/// predicted    (rest of this pass + dirty rate x (time since the pass began + lead)) / bandwidth + round trip + device state
/// gain         what one more pass would take off it: time of a pass x r x (1 - r), with r = dirty rate / bandwidth
/// </code>
/// It will not converge when passes get no shorter and what is predicted is more than allowed: said at once, with the numbers.
/// </summary>
public sealed record CopyCourse
{
    /// <summary>From the word that it is ready to the server's stop, milliseconds: a look of the manager, and the switch of the
    /// network.</summary>
    public const double LeadMs = 250;

    /// <summary>To send the state of the devices and to start with it, milliseconds.</summary>
    public const double DeviceMs = 20;

    /// <summary>Most passes: then the point that is there is taken, when it is one.</summary>
    public const int MostPasses = 30;

    // Another pass that takes off less is not worth its time and bandwidth.
    private const double LeastGainMs = 10;

    // So much is carried within one look: less of a pass is its end.
    private const double EndOfPassMs = 60, LookMs = 20;
    private const long LeastEnd = 512 << 10;

    // A figure of bandwidth is taken over so long at least.
    private const double WindowMs = 100;

    // A pass is shorter than the one before when it has so much less to copy.
    private const double Shorter = 0.9;

    // So often in a row passes may not get shorter; more with auto-converge, which acts slowly.
    private const int Patience = 2, ConvergePatience = 12;

    // A point that has passed is given up no sooner: the dirty rate of a short pass is a rough figure.
    private const double LeastShutMs = 2_000;

    private long _passAtNs, _windowAtNs, _windowBytes, _shutAtNs, _passRemaining;
    private int _notShorter;
    private bool _hurried = true;

    /// <summary>A copy that has just begun.</summary>
    public CopyCourse(CopyLimits limits) => Limits = limits;

    /// <summary>What is asked of it.</summary>
    public CopyLimits Limits { get; }

    /// <summary>The last look; null = none yet.</summary>
    public CopyLook? Last { get; private init; }

    /// <summary>Rate at which it is carried, bytes/s; 0 = not known yet.</summary>
    public double Bandwidth { get; private init; }

    /// <summary>Rate at which the server changes its memory, bytes/s; 0 = not known yet.</summary>
    public double DirtyRate { get; private init; }

    /// <summary>What was decided last.</summary>
    public CopyStep Step { get; private init; }

    /// <summary>True while the rest is kept back.</summary>
    public bool IsShut => Step == CopyStep.Shut;

    /// <summary>Why it cannot come to an end, with its numbers; null = it may.</summary>
    public string? NotConverging { get; private init; }

    /// <summary>Rate for the approach to the end of a pass, bytes/s: what is left takes a tenth of a second.</summary>
    public long ApproachBytesPerSecond => Math.Max(2 << 20, (Last?.RemainingBytes ?? 0) * 10);

    /// <summary>
    /// How much may be carried before the next look, bytes; <see cref="long.MaxValue"/> = as much as goes. In a pass that is to be the
    /// last, not its end: a hypervisor that has sent all of a pass finishes by itself, however late the next look comes.
    /// </summary>
    public long AllowanceBytes => Step == CopyStep.Shut ? 0
        : Last is not { } at ? (Limits.OnePass ? LeastEnd : long.MaxValue)
        : IsLast(at) ? Math.Max(1, at.RemainingBytes - LeastEnd) : long.MaxValue;

    /// <summary>How long nobody would run, milliseconds, if the server were stopped <see cref="LeadMs"/> from now.</summary>
    public double PredictedMs => Last is { } at ? Predicted(at) : 0;

    /// <summary>Takes what was seen, and decides.</summary>
    public CopyCourse Look(CopyLook at)
    {
        CopyCourse next = Measure(at);
        CopyStep step = next.Decide(at);
        return next with
        {
            NotConverging = step is CopyStep.Shut ? null : next.WhyNot(), Step = step, _hurried = step is CopyStep.Hurry,
            _shutAtNs = step == CopyStep.Shut && !IsShut ? at.AtNs : next._shutAtNs,
        };
    }

    private CopyCourse Measure(CopyLook at)
    {
        if (Last is not { } last)
            return this with { Last = at, _passAtNs = at.AtNs, _windowAtNs = at.AtNs, _windowBytes = at.CarriedBytes };
        CopyCourse next = this with { Last = at };
        double windowMs = (at.AtNs - _windowAtNs) / 1e6;
        if (!_hurried)
        {
            next = next with { _windowAtNs = at.AtNs, _windowBytes = at.CarriedBytes };
        }
        else if (windowMs >= WindowMs)
        {
            double rate = (at.CarriedBytes - _windowBytes) / windowMs * 1000;
            next = next with
            {
                Bandwidth = Bandwidth == 0 ? rate : (0.6 * Bandwidth) + (0.4 * rate), _windowAtNs = at.AtNs, _windowBytes = at.CarriedBytes,
            };
        }

        // Better a rough figure than none.
        if (next.Bandwidth == 0 && at.CarriedBytes > 0 && windowMs >= LookMs)
            next = next with { Bandwidth = (at.CarriedBytes - _windowBytes) / windowMs * 1000 };
        if (at.Pass <= last.Pass) return next;

        // A pass has begun: what it has to copy was changed during the one before, or while that was kept back.
        double passMs = Math.Max(1, (at.AtNs - _passAtNs) / 1e6);
        bool shorter = last.Pass == 1 || at.RemainingBytes < Shorter * _passRemaining;
        return next with
        {
            DirtyRate = at.RemainingBytes / passMs * 1000, _passAtNs = at.AtNs, _passRemaining = at.RemainingBytes,
            _notShorter = shorter ? 0 : _notShorter + 1,
        };
    }

    private CopyStep Decide(CopyLook at)
    {
        // QEMU has begun a second pass: under an emulation that loses what was changed in it nothing is to be used of this copy.
        if (Limits.OnePass && at.Pass > 1) return CopyStep.Restart;
        double predicted = Predicted(at);
        if (IsShut)
            return predicted > Limits.MaxStopMs && (at.AtNs - _shutAtNs) / 1e6 >= LeastShutMs && !Limits.OnePass ? CopyStep.Open
                : CopyStep.Shut;
        long end = Math.Max(LeastEnd, (long)(Bandwidth * EndOfPassMs / 1000));
        long rest = Math.Max(2 * LeastEnd, (long)(Bandwidth * LookMs / 1000));
        if (at.RemainingBytes <= rest && IsLast(at)) return CopyStep.Shut;
        return at.RemainingBytes <= end ? CopyStep.Approach : CopyStep.Hurry;
    }

    private bool IsLast(CopyLook at) => Limits.OnePass || (at.Pass >= 2 && IsConvenient(at, Predicted(at)));

    private bool IsConvenient(CopyLook at, double predicted)
    {
        if (predicted > Limits.MaxStopMs) return false;
        double share = Bandwidth <= 0 ? 0 : Math.Min(1, DirtyRate / Bandwidth);
        double gain = (at.AtNs - _passAtNs) / 1e6 * share * (1 - share);
        return gain < LeastGainMs || _notShorter >= Patience || at.Pass >= MostPasses;
    }

    private double Predicted(CopyLook at)
    {
        if (Bandwidth <= 0) return Limits.RoundTripMs + DeviceMs;
        double sinceMs = (at.AtNs - _passAtNs) / 1e6;
        double changed = at.Pass < 2 ? 0 : DirtyRate * (sinceMs + LeadMs) / 1000;
        return ((at.RemainingBytes + changed) / Bandwidth * 1000) + Limits.RoundTripMs + DeviceMs;
    }

    private string? WhyNot()
    {
        if (Bandwidth <= 0 || _notShorter < (Limits.AutoConverge ? ConvergePatience : Patience)) return null;

        // At the end of the pass that goes on: what was changed during it, and until the stop.
        double passMs = _passRemaining / Bandwidth * 1000;
        double stopMs = (DirtyRate * (passMs + LeadMs) / Bandwidth) + Limits.RoundTripMs + DeviceMs;
        if (stopMs <= Limits.MaxStopMs) return null;
        string copied = $"after {Last!.Value.Pass - 1} passes {Mega(_passRemaining)} MB are to be copied again and again";
        string stop = string.Create(CultureInfo.InvariantCulture, $"nobody would run for {stopMs:0} ms, {Limits.MaxStopMs:0} are allowed");
        string help = Limits.AutoConverge ? "" : ", or let it be slowed down (autoConverge)";
        return $"it changes {Mega(DirtyRate)} MB of its memory a second and {Mega(Bandwidth)} MB/s are carried: {copied}; {stop}. Allow "
            + $"more, make it quieter, widen the way{help}";
    }

    private static string Mega(double bytes) => (bytes / 1e6).ToString(bytes < 9.95e6 ? "0.0" : "0", CultureInfo.InvariantCulture);
}
