using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Behind a switch: the packets that were to go to the servers have left this PE, and the servers' answers to a request behind them say
/// that they have arrived (<see cref="SlowPath.Prove"/>). Runs on the control loop.
/// </summary>
internal sealed class SwitchProof(PeState state, SlowPathDriver slowPath, MigrationActions actions, ControlLoop loop) : ITimed
{
    /// <summary>How long the servers' answers are waited for.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(1);

    // More servers than this are not asked.
    private const int MaxAsked = 1024;

    private readonly List<Asking> _asking = [];

    public long NextDeadline => _asking.Count == 0 ? long.MaxValue : _asking.Min(a => a.Deadline);

    /// <summary>
    /// Asks the servers of a migration's group. Tells true when all have answered, false when not all did in time or could be asked, null
    /// when there is nobody to ask.
    /// </summary>
    public void Begin(string migration, Action<bool?> tell)
    {
        List<(PortEntry Port, IpAddress Address)> servers = actions.Neighbors(migration);
        if (servers.Count is 0 or > MaxAsked)
        {
            tell(servers.Count == 0 ? null : false);
            return;
        }

        var asking = new Asking(migration, loop.Now + (long)Timeout.TotalNanoseconds, tell);
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
            if (slowPath.Prove(port, address, answered)) continue;
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
        if (!proved)
        {
            state.Events.Add(loop.Now, "migration", asking.Migration, "not-proved-empty", "no answer behind the last packet from "
                + string.Join(", ", asking.Silent.Keys.Select(s => $"{s.Address} on port {s.Port.Name}")));
        }

        foreach (((PortEntry port, IpAddress address), Action answered) in asking.Silent) slowPath.EndProof(port, address, answered);
        asking.Tell(proved);
    }

    private sealed record Asking(string Migration, long Deadline, Action<bool?> Tell)
    {
        /// <summary>Servers that have not answered yet, and what is called when they do.</summary>
        public Dictionary<(PortEntry Port, IpAddress Address), Action> Silent { get; } = [];
    }
}
