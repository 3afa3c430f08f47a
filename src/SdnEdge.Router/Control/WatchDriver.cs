using SdnEdge.Core.Api;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Bfd;

namespace SdnEdge.Router.Control;

/// <summary>
/// Looks at what armed backups watch, and tells their <see cref="ArmedWatch"/> how it is: BFD sessions and carriers when they change,
/// hosts by asking them every <see cref="s_askEvery"/>; one that is silent for <see cref="SilentNs"/> is down, the time not counted for
/// which this process itself stood still. Runs on the control loop.
/// </summary>
internal sealed class WatchDriver(PeState state, BfdDriver bfd, SlowPathDriver slowPath, ControlLoop loop) : ITimed
{
    /// <summary>A host that has not answered for so long is down, nanoseconds: three questions.</summary>
    public const long SilentNs = 150_000_000;

    private static readonly TimeSpan s_askEvery = TimeSpan.FromMilliseconds(50);

    private readonly Dictionary<string, List<Watched>> _watched = [];

    public long NextDeadline
    {
        get
        {
            long next = long.MaxValue;
            foreach (List<Watched> all in _watched.Values)
            {
                foreach (Watched watched in all) next = Math.Min(next, watched.Host?.NextNs ?? long.MaxValue);
            }

            return next;
        }
    }

    /// <summary>Begins to look, for a migration.</summary>
    public void Begin(string id, string vrf, IReadOnlyList<WatchedPart> parts, ArmedWatch tell)
    {
        End(id);
        List<Watched> all = [];
        _watched[id] = all;
        for (int i = 0; i < parts.Count; i++)
        {
            var watched = new Watched(vrf, parts[i], i, tell);
            all.Add(watched);
            if (parts[i].Bfd is { } peer) Look(watched, bfd.Find(vrf, IpAddress.Parse(peer)));
            else if (parts[i].Carrier is not null) LookAtCarrier(watched);
            else watched.Host = new Host(IpAddress.Parse(parts[i].Neighbor!)) { NextNs = loop.Now };
        }
    }

    /// <summary>Looks no more, for a migration.</summary>
    public void End(string id)
    {
        if (!_watched.Remove(id, out List<Watched>? all)) return;
        foreach (Watched watched in all)
        {
            if (watched.Host is { } host) StopAsking(host);
        }
    }

    /// <summary>A BFD session was told about.</summary>
    public void BfdHeard(BfdConfig session, in BfdStatus status, in BfdStatus before)
    {
        bool news = false;
        foreach (Watched watched in Of(session))
        {
            // It may have gone down and come up again since it was told about last.
            if (status.PathFailedSince(before)) news |= watched.Tell(WatchState.Down, status.ChangedAt, Why(status));
            news |= Look(watched, (session, status));
        }

        if (news) state.Steps.WatchChanged();
    }

    /// <summary>A BFD session is configured no more.</summary>
    public void BfdGone(BfdConfig session)
    {
        foreach (Watched watched in Of(session)) watched.Tell(WatchState.Unknown, loop.Now, "the BFD session is configured no more");
    }

    /// <summary>Network devices have changed.</summary>
    public void DevicesChanged()
    {
        bool news = false;
        foreach (List<Watched> all in _watched.Values)
        {
            foreach (Watched watched in all)
            {
                if (watched.Part.Carrier is not null) news |= LookAtCarrier(watched);
            }
        }

        if (news) state.Steps.WatchChanged();
    }

    public void Poll(long now)
    {
        bool news = false;
        foreach (List<Watched> all in _watched.Values)
        {
            foreach (Watched watched in all)
            {
                if (watched.Host is { } host && host.NextNs <= now) news |= Ask(watched, host, now);
            }
        }

        if (news) state.Steps.WatchChanged();
    }

    private IEnumerable<Watched> Of(BfdConfig session)
    {
        foreach (List<Watched> all in _watched.Values)
        {
            foreach (Watched watched in all)
            {
                if (watched.Part.Bfd is { } peer && session.Address == IpAddress.Parse(peer)
                    && bfd.Find(watched.Vrf, session.Address)?.Config.Key == session.Key) yield return watched;
            }
        }
    }

    private static string Why(in BfdStatus status) => $"{PeView.Kebab(status.State)}, {PeView.Kebab(status.Diagnostic)}";

    private static bool Look(Watched watched, (BfdConfig Config, BfdStatus? Status)? session)
    {
        if (session is not { } there) return watched.Tell(WatchState.Unknown, 0, $"there is no BFD session with {watched.Part.Bfd}");
        if (there.Status is not { } status) return watched.Tell(WatchState.Unknown, 0, "the BFD session is starting");
        return status.State switch
        {
            BfdState.Up => watched.Tell(WatchState.Up, status.ChangedAt, "up"),
            BfdState.AdminDown => watched.Tell(WatchState.Unknown, status.ChangedAt, "an operator took the BFD session down"),
            _ when status.RemoteState == BfdState.AdminDown => watched.Tell(WatchState.Unknown, status.ChangedAt,
                "an operator took the BFD session down at the other end"),
            _ => false,
        };
    }

    private bool LookAtCarrier(Watched watched)
    {
        string device = watched.Part.Carrier!;
        try
        {
            return NetDevice.HasCarrier(device) ? watched.Tell(WatchState.Up, loop.Now, "carrier")
                : watched.Tell(WatchState.Down, loop.Now, "no carrier");
        }
        catch (LinuxException e)
        {
            return watched.Tell(WatchState.Down, loop.Now, e.Message); // it is gone
        }
    }

    // Asked until it answers; when it has, asked again a while later.
    private bool Ask(Watched watched, Host host, long now)
    {
        // This process was held up, and its questions and their answers with it: the host is given that time.
        long late = now - host.NextNs;
        if (host.IsAsked && late > s_askEvery.TotalNanoseconds) host.AskedNs += late;
        host.NextNs = now + (long)s_askEvery.TotalNanoseconds;
        if (host.Port is null)
        {
            host.Port = PortOf(watched.Vrf, host.Address);
            if (host.Port is null)
                return watched.Tell(WatchState.Unknown, now, $"no port of VRF '{watched.Vrf}' has {host.Address} on its subnet");
            host.Proved = () => Answered(watched, host);
        }

        if (!host.IsAsked)
        {
            host.IsAsked = slowPath.Prove(host.Port, host.Address, host.Proved!, s_askEvery);
            if (host.IsAsked && host.AskedNs == 0) host.AskedNs = now;
        }

        return host.IsAsked && now - host.AskedNs >= SilentNs && watched.Tell(WatchState.Down, now, "it does not answer");
    }

    private void Answered(Watched watched, Host host)
    {
        (host.IsAsked, host.AskedNs) = (false, 0);
        if (watched.Tell(WatchState.Up, loop.Now, "it answers")) state.Steps.WatchChanged();
    }

    private void StopAsking(Host host)
    {
        if (host is { IsAsked: true, Port: { } port, Proved: { } proved }) slowPath.EndProof(port, host.Address, proved);
    }

    private PortEntry? PortOf(string vrf, IpAddress address)
    {
        foreach (PortState port in state.Ports.Values)
        {
            if (port.Config.Vrf == vrf && port.Config.Addresses.Any(a => a.Address.Family == address.Family && a.Subnet.Contains(address)))
                return port.Entry;
        }

        return null;
    }

    /// <summary>A part that is watched for a migration.</summary>
    private sealed class Watched(string vrf, WatchedPart part, int number, ArmedWatch tell)
    {
        public string Vrf { get; } = vrf;

        public WatchedPart Part { get; } = part;

        /// <summary>The host that is asked; null: it is no host.</summary>
        public Host? Host { get; set; }

        public bool Tell(WatchState how, long sinceNs, string why) => tell.Report(number, how, sinceNs, why);
    }

    /// <summary>A host that is asked by ARP or ND.</summary>
    private sealed class Host(IpAddress address)
    {
        public IpAddress Address { get; } = address;

        /// <summary>Where it is; null: not known yet.</summary>
        public PortEntry? Port { get; set; }

        public Action? Proved { get; set; }

        public bool IsAsked { get; set; }

        /// <summary>When it was asked first without an answer since; 0: it has answered.</summary>
        public long AskedNs { get; set; }

        public long NextNs { get; set; }
    }
}
