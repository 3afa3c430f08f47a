using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>A route of a PE to a moving prefix.</summary>
/// <param name="Pe">Whose.</param>
/// <param name="LocalPref">LOCAL_PREF; the highest is the best.</param>
/// <param name="Move">Number of the move: among equal ones the highest is the best.</param>
/// <param name="Tag">Tag of the move; null: no marker is wanted.</param>
internal sealed record Route(PeParty Pe, uint LocalPref, long Move, uint? Tag);

/// <summary>
/// All parties of one run, the wires between them, the faults, and who watches:
/// <list type="number">
/// <item>a message is carried by <see cref="Ask"/>: lost, delayed, doubled, out of order, until <see cref="Calm"/>;</item>
/// <item>with a message somebody may be killed, or a manager stand still while another one takes over;</item>
/// <item>each change of a guest, of a right to run on disk and of the journal is checked when it happens;</item>
/// <item>when all faults are over, everything must come to its end, and then <see cref="CheckEnd"/> finds all as it should be.</item>
/// </list>
/// </summary>
internal sealed partial class HandoverWorld
{
    public const string Vrf = "blue", Group = "shop";

    /// <summary>So long the hold of a target is waited for before it advertises; a little less than the plans say: clocks differ.</summary>
    public const long DrainBoundNs = 450 * Ms;

    private const long Ms = 1_000_000, Second = 1_000 * Ms;

    /// <summary>When faults end, and the longest time after that for all to come to its end: every bound of every stage, several
    /// times.</summary>
    private const long CalmAt = 40 * Second, EndBy = CalmAt + (600 * Second);

    private readonly HashSet<(string Server, string Site, long Epoch)> _granted = [];
    private readonly List<ManagerParty> _managers = [];
    private readonly bool _tracing;
    private readonly int _loss, _double, _late, _fault, _failing, _pairs, _wanted;
    private readonly bool _oneByOne, _undoable;

    // One by one: so many at once.
    private readonly int _atOnce;
    private readonly MoveOptions _options;
    private readonly string[] _servers;
    private readonly bool _ordered, _slowDrain;
    private readonly int _markerLoss;

    // The longest way of a packet of a client from one PE to the next, and through the tunnel.
    private readonly long _way, _tunnelWay;
    private readonly Dictionary<string, long> _legs = new(StringComparer.Ordinal);
    private readonly Dictionary<(PeParty Pe, IpPrefix Prefix), Route> _routes = [];
    private readonly HashSet<Packet> _underWay = [];

    // Prefixes whose target has died after its release: its gates are gone, and an advertisement that it had not on disk, too. Ingress PEs
    // may go back to the old path; nothing is lost, and nobody promises order.
    private readonly HashSet<IpPrefix> _unordered = [], _flushedTwice = [];
    private readonly bool _loses;
    private readonly List<int> _copies = [0];
    private bool _lost;
    private int _asked, _ended, _aborts;
    private long _doneAt = long.MaxValue;

    public HandoverWorld(ulong seed, Mutant mutant, bool tracing)
    {
        Sim = new SimWorld(seed);
        _volumesRandom = new Random((int)(seed * 2_654_435_761 % int.MaxValue));
        (Mutant, _tracing) = (mutant, tracing);
        (_loss, _double, _late) = Sim.Next(5) switch { 0 => (0, 0, 0), 1 => (20, 20, 20), 2 => (60, 60, 60), 3 => (0, 100, 150), _
            => (20, 150, 300) };
        _fault = Sim.Next(3) switch { 0 => 2, 1 => 10, _ => 30 };
        _failing = Sim.Next(3) switch { 0 => 0, 1 => 1, _ => 4 };
        _servers = [.. Enumerable.Range(1, 1 + Sim.Next(3)).Select(i => "s" + i.ToString(CultureInfo.InvariantCulture))];
        _pairs = Math.Min(_servers.Length, 1 + Sim.Next(2));
        _oneByOne = Sim.Chance(300);
        _undoable = !Sim.Chance(200);
        _wanted = 1 + Sim.Next(3);
        foreach (string site in new[] { "a", "b" })
        {
            Hosts["host-" + site] = new HostParty(this, site, _servers, site == "a", _undoable);
            for (int pair = 1; pair <= _pairs; pair++) Pes[$"pe-{site}{pair}"] = new PeParty(this, $"pe-{site}{pair}", site);
        }

        _ordered = !Sim.Chance(280);
        _markerLoss = Sim.Next(3) switch { 0 => 0, 1 => 100, _ => 500 };
        _slowDrain = Sim.Chance(250);
        _loses = Sim.Chance(300);

        // Where nothing but the quiet time proves that the tunnel is empty, the way through it is shorter than that.
        int quiet = Sim.Chance(500) ? 50 : 200;
        _way = quiet * Ms * 4 / 5;
        _tunnelWay = _ordered && Sim.Chance(500) ? 700 * Ms : _way;
        _options = new MoveOptions(QuietMs: quiet, StepMs: Sim.Chance(500) ? 2_000 : 15_000, StopMs: Sim.Chance(500) ? 3_000 : 30_000,
            MirrorMs: 30_000, HoldDrainMs: 500);
        Prefixes = [.. _servers.Select(PrefixOf)];
        int ingress = 1 + Sim.Next(3);
        for (int i = 1; i <= ingress; i++)
            Ingress[$"pe-i{i}"] = new IngressParty(this, $"pe-i{i}", IpAddress.Parse($"10.255.3.{i}"));
        for (int pair = 1; pair <= _pairs; pair++)
            (Pes[$"pe-a{pair}"].Peer, Pes[$"pe-b{pair}"].Peer) = (Pes[$"pe-b{pair}"], Pes[$"pe-a{pair}"]);
        foreach (PeParty pe in Pes.Values)
        {
            foreach (string server in _servers.Where(s => PairOf(s) == pe.Name[4..]))
                _routes[(pe, PrefixOf(server))] = new Route(pe, 100, 0, null);
        }

        foreach (IngressParty pe in Ingress.Values) pe.Begin();
        foreach (PeParty pe in Pes.Values) pe.Learn(Prefixes);

        // What those two mutants do to the one move on the way they cannot do to several.
        _atOnce = mutant is Mutant.MoveReusesEpoch or Mutant.UndoWithSameEpoch ? 1 : 1 + (int)(seed / 7 % 3);
        BeginVolumes();
        Journal = new JournalStore(this);
        StartManager();
        Sim.In(10 * Ms, AskForMove);
        Sim.At(CalmAt, CalmDown);
    }

    public SimWorld Sim { get; }

    public Mutant Mutant { get; }

    public JournalStore Journal { get; }

    public Dictionary<string, HostParty> Hosts { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, PeParty> Pes { get; } = new(StringComparer.Ordinal);

    /// <summary>Ingress PEs.</summary>
    public Dictionary<string, IngressParty> Ingress { get; } = new(StringComparer.Ordinal);

    /// <summary>The moving prefixes.</summary>
    public IReadOnlyList<IpPrefix> Prefixes { get; }

    /// <summary>True when no more faults happen.</summary>
    public bool Calm { get; private set; }

    /// <summary>What was wrong, first thing first; null: nothing.</summary>
    public string? Wrong { get; private set; }

    public List<string> Trace { get; } = [];

    public List<MigrationOutcome> Outcomes { get; } = [];

    private Party[] All => [.. Hosts.Values, .. Pes.Values, .. Ingress.Values];

    /// <summary>Lets the run go to its end.</summary>
    public void Run()
    {
        try
        {
            while (Wrong is null && Sim.Step(Math.Min(EndBy, _doneAt)))
            {
                if (Sim.Events > 300_000) Fail("it goes round in circles");
            }

            if (Wrong is not null) return;
            if (_doneAt == long.MaxValue) Fail($"it does not end: {Stuck()}");
            else CheckEnd();
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or KeyNotFoundException)
        {
            Fail($"a party made a mistake: {e.GetType().Name}: {e.Message} {(_tracing ? e.StackTrace : "")}");
        }
    }

    /// <summary>Notes something for the trace.</summary>
    public void Log(string who, string what)
    {
        if (_tracing) Trace.Add($"{Sim.Now / 1e9,10:0.0000} {who,-8} {what}");
    }

    /// <summary>Something is wrong. The first such thing counts.</summary>
    public void Fail(string what)
    {
        Log("WRONG", what);
        Wrong ??= what;
    }

    /// <summary>True in so many of a thousand cases of a run in which disks and drivers fail at times; never when it is calm.</summary>
    public bool Fails(int perMille) => !Calm && _failing > 0 && Sim.Chance(perMille * _failing / 2);

    /// <summary>True when a connection breaks while an answer is waited for: the question may come all the same, late.</summary>
    public bool BreaksOff() => !Calm && Sim.Chance(_late);

    /// <summary>
    /// Asks a party. It may get the question twice, late, or never; so may the asker the answer. To a process that is down nothing comes.
    /// </summary>
    public void Ask<T>(Party party, string? who, string what, Action<Action<T>> handle, Action<T> answer)
    {
        if (who is not null) Log(who, $"asks {party.Name}: {what}");
        MaybeFault();
        Carry(() =>
        {
            if (party.Up) handle(reply => Carry(() => answer(reply)));
        });
    }

    private void Carry(Action arrive)
    {
        if (Calm)
        {
            Sim.In(Sim.Between(1 * Ms, 10 * Ms), arrive);
            return;
        }

        int copies = Sim.Chance(_loss) ? 0 : Sim.Chance(_double) ? 2 : 1;
        for (int i = 0; i < copies; i++) Sim.In(Sim.Chance(_late) ? Sim.Between(50 * Ms, Sim.Chance(500) ? 2 * Second : 40 * Second)
            : Sim.Between(1 * Ms, 25 * Ms), arrive);
    }
}
