using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Testing.Simulation;

/// <summary>
/// The migration management system: the real machine of one move, driven over a network that loses requests and answers,
/// repeats requests and delivers the repetitions late. It may die and come back with its journal; what was under way is
/// unknown to it then. The server's driver is beside it.
/// </summary>
public sealed class SimMms
{
    private readonly SimNet _net;
    private readonly SimClock _clock;
    private readonly MovePlan _plan;
    private readonly int _lossPerMille;
    private readonly Dictionary<int, Func<MoveInput>> _open = [];
    private readonly MoveFsm _move;
    private int _asked;
    private bool _up = true;
    private long _tickAt = long.MaxValue;
    private long _serverTakes;
    private int _crashes;

    /// <summary>Makes the manager of one move.</summary>
    public SimMms(SimNet net, MovePlan plan, SimClock clock, int lossPerMille)
    {
        _net = net;
        _plan = plan;
        _clock = clock;
        _lossPerMille = lossPerMille;
        _move = new MoveFsm(plan);
    }

    /// <summary>The move.</summary>
    public MoveFsm Move => _move;

    /// <summary>Site where the server is live; -1: nowhere.</summary>
    public int ServerAt
    {
        get;
        set
        {
            field = value;
            _net.World.Changed = true;
        }
    }

    /// <summary>Begins.</summary>
    public void Begin()
    {
        if (_up) Input(new Begin());
        else _net.World.In(100 * SimWorld.Ms, Begin);
    }

    /// <summary>The operator wants it given up.</summary>
    public void GiveUp() => Input(new GiveUp("the operator says so"));

    /// <summary>It dies, and comes back after a while: the answers under way are lost, and it asks again.</summary>
    public void Crash(long forNanoseconds)
    {
        int crash = ++_crashes;
        _up = false;
        _tickAt = long.MaxValue;
        _net.World.In(forNanoseconds, () =>
        {
            if (crash != _crashes) return;
            _up = true;
            foreach (int number in _open.Keys.Order().ToList())
            {
                if (_open.Remove(number, out Func<MoveInput>? lost)) Input(lost());
            }

            Schedule();
        });
    }

    /// <summary>A PE by the name it has here.</summary>
    public static string NameOf(int pe) => $"pe{pe}";

    private static int PeOf(string name) => int.Parse(name.AsSpan(2), System.Globalization.CultureInfo.InvariantCulture);

    private static int SiteOf(string name) => int.Parse(name.AsSpan(4), System.Globalization.CultureInfo.InvariantCulture);

    private long Way => _net.World.Between(SimWorld.Ms, 40 * SimWorld.Ms);

    private void Input(MoveInput input)
    {
        if (!_up) return;
        foreach (MoveCommand command in _move.Step(input, _clock.Local(_net.World.Now))) Carry(command);
        Schedule();
    }

    private void Schedule()
    {
        long due = _clock.True(_move.NextDeadline);
        if (due == long.MaxValue || due == _tickAt) return;
        _tickAt = due;
        _net.World.At(due, () =>
        {
            if (due != _tickAt || !_up) return;
            _tickAt = long.MaxValue;
            Input(new DeadlineReached());
        });
    }

    private void Carry(MoveCommand command)
    {
        switch (command)
        {
            case SendSignal c:
                Ask(() => new SignalLost(c.Pe, c.Signal, "no answer"), number => Signal(number, c));
                break;
            case LookAtMigration c:
                Ask(() => new MigrationSeen(c.Pe, null), number => At(number, c.Pe, pe => new MigrationSeen(c.Pe, Info(pe))));
                break;
            case LookAtIngress c:
                Ask(() => new IngressSeen(c.Pe, false, "no answer"), number => At(number, c.Pe, pe => new IngressSeen(c.Pe, pe.Route == PeOf(_plan.Target.Pe))));
                break;
            case PauseServer:
                Ask(() => new ServerFailed("no answer"), number => Server(number, -1, () => new ServerPaused()));
                break;
            case ResumeServer c:
                Ask(() => new ServerFailed("no answer"), number => Server(number, SiteOf(c.Site), () => new ServerResumed(c.Site)));
                break;
            case LocateServer:
                Ask(() => new ServerFailed("no answer"), number => AtServer(() =>
                    {
                        string? site = ServerAt < 0 ? null : $"site{ServerAt}";
                        _net.World.In(Way, () => Answer(number, new ServerLocated(site)));
                    }));
                break;
            default:
                throw new InvalidOperationException($"unknown command {command}");
        }
    }

    /// <summary>Every question has exactly one answer; when none comes in time, that is the answer.</summary>
    private void Ask(Func<MoveInput> lost, Action<int> send)
    {
        int number = _asked++;
        _open.Add(number, lost);
        send(number);
        _net.World.In(400 * SimWorld.Ms, () =>
        {
            if (_up && _open.Remove(number)) Input(lost());
        });
    }

    private void Answer(int number, MoveInput answer)
    {
        if (_up && !_net.World.Chance(_lossPerMille) && _open.Remove(number)) Input(answer);
    }

    private void Signal(int number, SendSignal c)
    {
        SimPe pe = _net.Pes[PeOf(c.Pe)];
        if (!_net.World.Chance(_lossPerMille))
        {
            _net.World.In(Way, () =>
            {
                if (!pe.Up) return;
                PeStep step = pe.Signal(_plan.Migration, c.Signal, c.Request);
                MoveInput answer = step.Refusal is { } refusal
                    ? new SignalRefused(c.Pe, c.Signal, refusal.Type, refusal.Detail)
                    : new SignalTaken(c.Pe,
                        new SignalReply(_plan.Migration, c.Signal, step.Migration?.State ?? step.Earlier!.State, step.Migration?.Epoch
                        ?? step.Earlier!.Epoch, step.Repeated, 0, 0));
                _net.World.In(Way, () => Answer(number, answer));
            });
        }

        // A copy that a proxy or an impatient client sends, and that comes when everything has gone on.
        if (!_net.World.Chance(100)) return;
        _net.World.In(_net.World.Between(0, 3_000 * SimWorld.Ms), () =>
        {
            if (pe.Up) pe.Signal(_plan.Migration, c.Signal, c.Request);
        });
    }

    private void At(int number, string name, Func<SimPe, MoveInput> look)
    {
        SimPe pe = _net.Pes[PeOf(name)];
        if (_net.World.Chance(_lossPerMille)) return;
        _net.World.In(Way, () =>
        {
            if (!pe.Up) return;
            MoveInput answer = look(pe);
            _net.World.In(Way, () => Answer(number, answer));
        });
    }

    private void Server(int number, int site, Func<MoveInput> done)
    {
        if (_net.World.Chance(5)) return;
        AtServer(() =>
        {
            ServerAt = site;
            _net.World.In(Way, () => Answer(number, done()));
        });
    }

    /// <summary>The server's host takes one order after another, in the order they were given.</summary>
    private void AtServer(Action what)
    {
        _serverTakes = Math.Max(_serverTakes, _net.World.Now + Way);
        _net.World.At(_serverTakes, what);
    }

    private MigrationInfo? Info(SimPe pe)
    {
        if (pe.Migrations.Find(_plan.Migration) is not { } m) return null;
        HoldInfo? hold = m.Role == MigrationRole.Target
            ? new HoldInfo(m.Drained ? "released" : "armed", 0, m.Drained ? 0 : pe.Held.Count, 0, 0, 0, 0, 0, 0, 0) : null;
        RedirectGroupInfo? group = !(m.Finished && m.Drained) ? new RedirectGroupInfo(m.Id, m.Vrf, 1, $"{pe.Group}", 0, pe.TunnelPackets, 0, null) : null;
        return new MigrationInfo(m.Id, m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes.Texts, m.Peer.ToString(), m.Tunnel, m.TunnelUp, hold,
            group);
    }
}
