using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Testing.Simulation;

/// <summary>What a run has seen.</summary>
/// <param name="Wrong">The invariant that did not hold, and when; null: all is well.</param>
/// <param name="Text">What the run was, in a line.</param>
public sealed record SimResult(string? Wrong, string Text)
{
    /// <summary>How the moves ended.</summary>
    public List<MoveOutcome> Outcomes { get; } = [];

    /// <summary>Probe packets that reached the server, and those dropped while faults excused it.</summary>
    public (long Delivered, long Excused) Probes { get; init; }

    /// <summary>Events simulated.</summary>
    public long Events { get; init; }
}

/// <summary>
/// A seeded run: PEs in a full iBGP mesh or around a route reflector, a server that moves once to three times between them, and what the seed brings of
/// loss, delay, cut sessions, PEs and managers that die, repeated and late signals, operators who give up, and clocks that
/// disagree. After every event a packet from each ingress is followed through the tables as they are, and other packets travel
/// with real delays. Invariants:
/// 1. No loop, ever. 2. A packet reaches an attachment only where the server is live, so that one place delivers at a time, and
/// after the release only the target. 3. No packet is dropped while source, target and ingress run and have each other's
/// routes. 4. In the end every ingress has the direct path.
/// A PE that dies with a server, a hold or a tunnel takes them along: from then on 2 and 3 are not asked for any more, but
/// 5. once all sessions are back, all ingresses agree on one owner: who told the latest move, and nobody else beside it.
/// Behind a reflector a route passes two sessions: 3 is asked for when both have been up for some seconds.
/// </summary>
public sealed class MoveSimulation
{
    private const long Ms = SimWorld.Ms;

    // A segment lost again and again is two seconds late, and there are two sessions behind one another.
    private const long Settled = 6_000 * Ms;

    private readonly SimWorld _world;
    private readonly SimNet _net;
    private readonly SimMms?[] _managers = new SimMms?[3];
    private readonly HashSet<int> _endpoints = [];
    private readonly string _text;
    private readonly ulong _seed;
    private readonly Action _probeNext;
    private long _probeUntil;
    private readonly long[] _steadySince;
    private SimMms? _manager;
    private int _serverAt;
    private int _source;
    private int _target;
    private int _faults;
    private bool _tainted;
    private bool _crashed;
    private long _delivered;
    private long _excused;
    private string? _wrong;

    private MoveSimulation(ulong seed)
    {
        _seed = seed;
        _world = new SimWorld(seed);
        int size = _world.Chance(100) ? 3 + _world.Next(6) : 3 + _world.Next(2);
        int delay = 2 + _world.Next(_world.Chance(300) ? 75 : 20), loss = _world.Chance(500) ? 0 : _world.Next(60);
        int jitter = _world.Next(300);
        bool reflected = size > 3 && _world.Chance(400);
        _net = new SimNet(_world, size, delay, jitter, loss) { Reflector = reflected ? size - 1 : null };
        _steadySince = new long[size];
        _text = string.Create(CultureInfo.InvariantCulture, $"{size} PEs{(reflected ? ", the last a reflector" : "")}, {delay} ms, {loss / 10.0:0.0} % loss");
        _probeNext = Probe;
        _net.Arrived = Arrived;
        _net.Lost = Lost;
    }

    /// <summary>Runs one seed.</summary>
    public static SimResult Run(ulong seed)
    {
        MoveSimulation? run = null;
        try
        {
            run = new MoveSimulation(seed);
            return run.Run();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return new SimResult($"threw {e.GetType().Name}: {e.Message} {e.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}", run?._text ?? "");
        }
    }

    private SimResult Run()
    {
        for (int a = 0; a < _net.Size; a++) Sessions(_net.Pes[a], a);
        _net.Pes[0].Configure(100);
        for (long until = 20_000 * Ms; _wrong is null && !Converged(0) && _world.Step(until);) { }
        if (!Converged(0)) Fail("the sessions did not come up");
        int moves = _world.Chance(300) ? 2 + _world.Next(2) : 1;
        var outcomes = new List<MoveOutcome>();
        for (int n = 0; n < moves && _wrong is null && !_tainted; n++)
        {
            _source = _serverAt;
            do _target = _world.Next(_net.Size - (_net.Reflector is null ? 0 : 1));
            while (_target == _source);
            _endpoints.Add(_source);
            _endpoints.Add(_target);
            outcomes.Add(Move(n));
        }

        var result = new SimResult(_wrong is null ? null : $"at {_world.Now / 1e6:0.000} ms: {_wrong}", $"{_text}, {_faults} faults: {string.Join(", ", outcomes)}")
        { Probes = (_delivered, _excused), Events = _world.Events };
        result.Outcomes.AddRange(outcomes);
        return result;
    }

    private MoveOutcome Move(int number)
    {
        var plan = new MovePlan($"m{number}", number + 1, "vs", "default", End(_source), End(_target),
            [.. Enumerable.Range(0, _net.Size).Where(i => i != _source && i != _target).Select(SimMms.NameOf)],
            7, (uint)(200 + (100 * number)), new HoldOptions(), 20 + _world.Next(200),
            new MoveTimeouts(Signal: 5000, TunnelUp: 5000, Server: 5000, DirectPath: 20_000, Quiet: 500, Drain: 5000, Forward: 20_000));
        _manager = new SimMms(_net, plan, new SimClock(_world.Between(0, 1_000_000_000_000), 1 + ((_world.NextDouble() - 0.5) * 0.0004)), _world.Chance(500) ? 0 : _world.Next(100)) { ServerAt = _serverAt };
        _managers[number] = _manager;
        _world.In(_world.Between(0, 500 * Ms), _manager.Begin);
        Faults();
        long end = _world.Now + (120_000 * Ms);
        _world.Changed = true;
        _probeUntil = end;
        Probe();
        while (_wrong is null && _manager.Move.Outcome is null && _world.Step(end)) Look();
        if (_wrong is null && _manager.Move.Outcome is null) Fail("the move never ended");
        MoveOutcome outcome = _manager.Move.Outcome ?? MoveOutcome.Incomplete;
        if (_wrong is not null) return outcome;

        // 4. In the end. A move left half done keeps its tunnel; then only being reachable is asked for.
        _serverAt = _manager.ServerAt;
        bool direct = outcome is MoveOutcome.Moved or MoveOutcome.RolledBack;
        if (outcome == MoveOutcome.Moved && _serverAt != _target) Fail($"moved, but the server is at {_serverAt}");
        if (outcome == MoveOutcome.RolledBack && _serverAt != _source) Fail($"rolled back, but the server is at {_serverAt}");
        if (!direct) _tainted = true;
        end = _world.Now + (60_000 * Ms);
        long quiet = _world.Now + (4_000 * Ms);
        while (_wrong is null && _world.Step(end))
        {
            Look();

            // Long enough for late copies of signals and packets under way.
            if (_world.Now > quiet && Array.TrueForAll(_net.Pes, p => p.Up) && (!direct || Converged(_serverAt))) break;
        }

        if (_wrong is null && direct && !_tainted && !Converged(_serverAt)) Fail("not every ingress has the direct path in the end: " + Routes());
        if (_wrong is null && _crashed) Agree();
        return outcome;
    }

    /// <summary>5. After the crash of an end.</summary>
    private void Agree()
    {
        for (long until = _world.Now + (60_000 * Ms); _wrong is null && _world.Step(until);) Look();

        // One that tells the prefix itself goes by its own route, also where the server has left it and its file still has it.
        SimPe[] others = [.. _net.Pes.Where(p => p.Told < 0)];
        if (!Array.TrueForAll(_net.Pes, p => p.Up) || !others.All(p => _net.Pes.All(o => o == p || p.Knows(o.Index)))) return;
        int owner = _net.Pes.MaxBy(p => p.Told) is { Told: >= 0 } latest ? latest.Index : -1;
        foreach (SimPe other in others)
        {
            if (other.Route != owner) Fail($"after a crash {other.Index} goes to {other.Route}, and the owner is {owner}; {Routes()}");
        }
    }

    private static MoveEnd End(int pe) => new(
        SimMms.NameOf(pe), string.Create(CultureInfo.InvariantCulture, $"site{pe}"), SimNetAddress(pe), [new MovingPrefix(SimNet.Server.ToString(), "dc")]);

    private static string SimNetAddress(int pe) => string.Create(CultureInfo.InvariantCulture, $"10.255.0.{pe + 1}");

    private void Sessions(SimPe pe, int index)
    {
        for (int other = 0; other < _net.Size; other++)
        {
            if (other != index && (_net.Reflector is not { } reflector || index == reflector || other == reflector)) pe.AddPeer(other, passive: other < index && (_seed & 1) == 0);
        }
    }

    /// <summary>What the seed brings during a move.</summary>
    private void Faults()
    {
        if (_world.Chance(350)) return;
        for (int n = 1 + _world.Next(3); n > 0; n--)
        {
            long at = _world.Now + _world.Between(0, 4_000 * Ms);
            int pe = _world.Next(_net.Size), other = _world.Next(_net.Size);
            switch (_world.Next(10))
            {
                case < 4:
                    _world.At(at, () =>
                    {
                        _faults++;
                        if (pe != other) _net.Cut(_net.Pes[pe], _net.Pes[other]);
                    });
                    break;
                case < 6:
                    long down = _world.Between(10 * Ms, 3_000 * Ms);
                    _world.At(at, () => Crash(_net.Pes[pe], down));
                    break;
                case < 9:
                    long away = _world.Between(10 * Ms, 3_000 * Ms);
                    SimMms manager = _manager!;
                    _world.At(at, () => manager.Crash(away));
                    break;
                default:
                    SimMms current = _manager!;
                    _world.At(at, current.GiveUp);
                    break;
            }
        }
    }

    private void Crash(SimPe pe, long down)
    {
        if (!pe.Up) return;
        _faults++;

        // The state of a move, the tunnel and the hold are in the PE's memory; and what was withdrawn is configured there still.
        if (_endpoints.Contains(pe.Index) || pe.Configured) _tainted = _crashed = true;
        pe.Crash();
        _world.In(down, () => pe.Restart(again =>
        {
            Sessions(again, again.Index);
            if (again.Configured) again.Configure(100);
        }));
    }

    /// <summary>Packets with real delays, one in about 40 ms, from anywhere.</summary>
    private void Probe()
    {
        if (_world.Now > _probeUntil || _manager?.Move.Outcome is not null) return;
        int ingress = _world.Next(_net.Size);
        _net.Forward(new SimProbe(ingress, _world.Now, 0, false, Excused(ingress) ? -1 : _faults), _net.Pes[ingress]);
        _world.In(_world.Between(0, 80 * Ms), _probeNext);
    }

    private bool Excused(int ingress) => _tainted || !KnowsBoth(ingress) || (_net.Reflector is not null && _world.Now - _steadySince[ingress] < Settled);

    /// <summary>The ingress has the routes of both ends, or is one and has the other's.</summary>
    private bool KnowsBoth(int ingress) =>
        (ingress == _source || _net.Pes[ingress].Knows(_source)) && (ingress == _target || _net.Pes[ingress].Knows(_target))
        && _net.Pes[_source].Knows(_target) && _net.Pes[_target].Knows(_source);

    private void Arrived(SimProbe probe, SimPe at)
    {
        _delivered++;
        if (!_tainted && at.Index != ServerAt) Fail($"a packet from {probe.Ingress} reached the attachment of {at.Index}, and the server is at {ServerAt}; {Routes()}");
    }

    private void Lost(SimProbe probe, string why)
    {
        if (probe.Faults == _faults && !Excused(probe.Ingress)) Fail($"a packet from {probe.Ingress} was dropped after {probe.Hops} hops: {why}; {Routes()}");
        else _excused++;
    }

    private int ServerAt => _manager?.ServerAt ?? _serverAt;

    private void Fail(string what) => _wrong ??= what;

    /// <summary>A packet from each ingress, followed through the tables as they are now; not again while they are as they were.</summary>
    private void Look()
    {
        if (!_world.Changed) return;
        _world.Changed = false;
        for (int ingress = 0; ingress < _net.Size; ingress++)
        {
            if (!KnowsBoth(ingress)) _steadySince[ingress] = _world.Now;
        }

        for (int ingress = 0; ingress < _net.Size && _wrong is null; ingress++)
        {
            SimPe at = _net.Pes[ingress];
            bool tunnel = false;
            for (int hops = 0; ; hops++)
            {
                if (hops > 4)
                {
                    Fail($"a loop from {ingress}: {Routes()}");
                    break;
                }

                (int to, bool into, string why) = SimNet.Decide(at, tunnel);
                if (to == -1)
                {
                    if (at.Up && !Excused(ingress)) Fail($"no way from {ingress}, at {at.Index}: {why}; {Routes()}");
                    break;
                }

                if (to == at.Index)
                {
                    if (!_tainted && to != ServerAt) Fail($"{to} delivers for {ingress}, and the server is at {ServerAt}; {Routes()}");
                    break;
                }

                if (to == -2) break;
                at = _net.Pes[to];
                tunnel = into;
            }
        }
    }

    private bool Converged(int owner) => Array.TrueForAll(_net.Pes, p => p.Route == owner && (p.Group == SimGroup.None || p.Index == owner))
        && _net.Pes.Where(p => p.Index != owner).All(p => p.Knows(owner));

    private string Routes() => string.Join(", ", _net.Pes.Select(p => $"{p.Index}->{(p.Up ? p.Route : -9)}{(p.Group == SimGroup.None ? "" : $" {p.Group}")}"))
        + $"; move {_source} to {_target} in {_manager?.Move.Stage}";
}
