using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;

namespace SdnEdge.Router.Control;

/// <summary>
/// What the servers of a migration send first at its target, kept back at their ports: from the first packet on for the time by which the
/// way from the source is longer, or until the release says that it is over. Runs on the control loop.
/// </summary>
internal sealed class KeptBackServers
{
    private const long MaxBytes = 64L << 20;
    private const int MaxPackets = 131_072;

    private readonly PeState _state;
    private readonly string _group;
    private readonly KeptBack _kept;
    private readonly PortEntry[] _ports;
    private readonly long _forNs;
    private long _untilNs = long.MaxValue;

    public KeptBackServers(PeState state, string group, string vrf, PrefixSet prefixes, int milliseconds)
    {
        (_state, _group, _forNs) = (state, group, milliseconds * 1_000_000L);
        var options = new HoldOptions(MaxBytes, MaxPackets, int.MaxValue / 2);
        _kept = new KeptBack(new Hold($"{group}/servers", state.Vrfs[vrf].Table, options), prefixes.Select(p => p.Prefix));
        state.Plane.AddHold(_kept.Hold);
        _ports = [.. prefixes.Select(p => state.Ports[p.Port].Entry).Distinct()];
        foreach (PortEntry port in _ports) port.KeptBack = [.. port.KeptBack, _kept];
    }

    /// <summary>The servers run: what is left of the time.</summary>
    public void LetGoAfter(int milliseconds, long now) => _untilNs = now + (milliseconds * 1_000_000L);

    /// <summary>Lets go what has waited long enough.</summary>
    public void Poll(long now)
    {
        if (_kept.Hold.State != HoldState.Armed) return;
        if (now < _untilNs && (_kept.Hold.OldestNs is not { } first || now - first < _forNs)) return;
        LetGo();
        long held = _kept.Hold.Info.PacketsHeldTotal;
        _state.Events.Add(now, "migration", _group, "kept-back",
            $"{held} packets of the servers waited for what they had sent from the source");
    }

    /// <summary>Lets go what it has, and what comes from now on behind it.</summary>
    public void LetGo()
    {
        _kept.Hold.BeginRelease(DrainPath.Attached);
        _state.Workers.PollAll();
    }

    /// <summary>After <see cref="LetGo"/>: true when all is out, and nothing of it is left.</summary>
    public bool TryEnd()
    {
        if (_kept.Hold.State != HoldState.Released) return false;
        foreach (PortEntry port in _ports) port.KeptBack = [.. port.KeptBack.Where(k => k != _kept)];
        _state.Plane.RemoveHold(_kept.Hold);
        _state.Workers.Grace();
        _kept.Hold.Dispose();
        return true;
    }
}
