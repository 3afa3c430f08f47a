using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// What the servers' own answers to ARP and ND prove. Behind a switch: the packets that were to go to them have left this PE, and an answer
/// to a request behind them says that they have arrived. Before a release: a server that answers here runs here. Runs on the control loop.
/// </summary>
internal sealed class ServerProof(PeState state, SlowPathDriver slowPath, MigrationActions actions, ControlLoop loop) : ITimed
{
    /// <summary>How long the servers' answers are waited for.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(1);

    // So often servers are asked that may begin to run at any moment: all together a thousand times a second at most. Their MAC addresses
    // are not known here, so that each question goes to everybody on the link.
    private static readonly TimeSpan s_askEvery = TimeSpan.FromMilliseconds(4), s_askEach = TimeSpan.FromMilliseconds(1);

    // More servers than this are not asked.
    private const int MaxAsked = 1024;

    private readonly List<Asking> _asking = [];

    // Migrations whose servers somebody waits for: those that are being asked (null), and when those that have all answered did so.
    private readonly Dictionary<string, long?> _awaited = [];

    public long NextDeadline => _asking.Count == 0 ? long.MaxValue : _asking.Min(a => a.Deadline);

    /// <summary>
    /// Asks the servers of a migration's group. Tells true when all have answered, false when not all did in time or could be asked, null
    /// when there is nobody to ask.
    /// </summary>
    public void Begin(string migration, Action<bool?> tell)
    {
        List<(PortEntry Port, IpAddress Address)> servers = actions.Neighbors(migration, unasked: false, MaxAsked);
        if (servers.Count is 0 or > MaxAsked)
        {
            tell(servers.Count == 0 ? null : false);
            return;
        }

        Ask(migration, servers, tell, every: null);
    }

    /// <summary>Who of a migration's servers has not answered here since this was asked first; null: all have, or nobody can be asked.
    /// They are asked from the first call on, for as long as it is asked again at least every <see cref="Timeout"/>.</summary>
    public string? WhoIsSilent(string migration)
    {
        if (_awaited.TryGetValue(migration, out long? answered))
        {
            if (answered is null) return Silent(_asking.First(a => a.Every is not null && a.Migration == migration));
            _awaited.Remove(migration);

            // Who asked went away before the answer was there: it says nothing of now.
            if (loop.Now - answered <= (long)Timeout.TotalNanoseconds) return null;
        }

        List<(PortEntry Port, IpAddress Address)> servers = actions.Neighbors(migration, unasked: true, MaxAsked);
        if (servers.Count is 0 or > MaxAsked) return null;
        _awaited[migration] = null;
        TimeSpan each = s_askEach * (servers.Count + _asking.Where(a => a.Every is not null).Sum(a => a.Silent.Count));
        Ask(migration, servers, proved =>
        {
            // Nobody asks any more, or not yet again.
            if (proved is true) _awaited[migration] = loop.Now;
            else _awaited.Remove(migration);
        }, each > s_askEvery ? each : s_askEvery);
        return _awaited.TryGetValue(migration, out answered) && answered is null
            ? Silent(_asking.First(a => a.Every is not null && a.Migration == migration)) : null;
    }

    private static string Silent(Asking asking)
        => $"no answer has come from {string.Join(", ", asking.Silent.Keys.Select(s => $"{s.Address} on port {s.Port.Name}"))}";

    private void Ask(string migration, List<(PortEntry Port, IpAddress Address)> servers, Action<bool?> tell, TimeSpan? every)
    {
        var asking = new Asking(migration, loop.Now + (long)Timeout.TotalNanoseconds, tell, every);
        _asking.Add(asking);
        foreach ((PortEntry port, IpAddress address) server in servers)
        {
            void Answered()
            {
                asking.Silent.Remove(server);
                if (asking.Silent.Count == 0) End(asking, true);
            }

            asking.Silent.Add(server, Answered);
        }

        foreach (((PortEntry port, IpAddress address), Action answered) in asking.Silent.ToArray())
        {
            if (slowPath.Prove(port, address, answered, every)) continue;
            End(asking, false);
            return;
        }
    }

    public void Poll(long now)
    {
        foreach (Asking asking in _asking.Where(a => a.Deadline <= now).ToArray()) End(asking, false);
    }

    private void End(Asking asking, bool proved)
    {
        if (!_asking.Remove(asking)) return;
        if (!proved && asking.Every is null)
        {
            state.Events.Add(loop.Now, "migration", asking.Migration, "not-proved-empty", "no answer behind the last packet from "
                + string.Join(", ", asking.Silent.Keys.Select(s => $"{s.Address} on port {s.Port.Name}")));
        }

        foreach (((PortEntry port, IpAddress address), Action answered) in asking.Silent) slowPath.EndProof(port, address, answered);
        asking.Tell(proved);
    }

    private sealed record Asking(string Migration, long Deadline, Action<bool?> Tell, TimeSpan? Every)
    {
        /// <summary>Servers that have not answered yet, and what is called when they do.</summary>
        public Dictionary<(PortEntry Port, IpAddress Address), Action> Silent { get; } = [];
    }
}
