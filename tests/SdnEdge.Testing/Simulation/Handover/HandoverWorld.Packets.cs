using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>Routes to the moving prefixes, the packets of clients and flush markers on their ways, and the order in which they arrive.</summary>
internal sealed partial class HandoverWorld
{
    /// <summary>The best route to a prefix; null: nobody offers it. A PE that is down is gone on with for that time (graceful
    /// restart).</summary>
    public Route? BestOf(IpPrefix prefix) => _routes.Where(r => r.Key.Prefix == prefix && r.Key.Pe.Has(prefix)).Select(r => r.Value)
        .OrderByDescending(r => (r.LocalPref, r.Move)).FirstOrDefault();

    /// <summary>True when a PE offers a prefix.</summary>
    public bool Offers(PeParty pe, IpPrefix prefix) => pe.Has(prefix);

    /// <summary>A PE has a route of its own to advertise.</summary>
    public void Advertised(PeParty pe, IpPrefix prefix, Route route) => _routes[(pe, prefix)] = route;

    /// <summary>A PE's own routes have changed: the others come to know it, each at its time, and of each prefix at its time or of all
    /// together.</summary>
    public void Told(PeParty pe, IReadOnlyList<IpPrefix> prefixes)
    {
        long Late() => Sim.Between(1 * Ms, !Calm && Sim.Chance(_late) ? 3 * Second : 20 * Ms);
        IReadOnlyList<IpPrefix>[] told = Sim.Chance(500) ? [prefixes] : [.. prefixes.Select(p => (IpPrefix[])[p])];
        foreach (IReadOnlyList<IpPrefix> some in told)
        {
            foreach (IngressParty ingress in Ingress.Values) Sim.In(Late(), () => ingress.Follow(some));
            Sim.In(Late(), () => pe.Peer.Learn(some));
        }
    }

    /// <summary>How long a hold takes to send what it has.</summary>
    public long DrainTime() => Sim.Between(1 * Ms, !Calm && _slowDrain && Sim.Chance(300) ? 4 * Second : 40 * Ms);

    /// <summary>
    /// Sends a packet to a PE. On one way nothing overtakes; a packet of a client arrives, a marker may be lost, doubled, or late: never
    /// early, that is what it is for.
    /// </summary>
    public void Send(Packet packet, string from, PeParty to, string? tunnel = null)
    {
        string leg = $"{from}>{to.Name} {tunnel}";
        long at = Math.Max(Sim.Now + Sim.Between(1 * Ms, tunnel is null ? _way : _tunnelWay), _legs.GetValueOrDefault(leg) + 1);
        void Arrive()
        {
            _underWay.Remove(packet);
            if (tunnel is null) to.FromCore(packet);
            else to.FromTunnel(tunnel, packet);
        }

        if (packet.Marker is not null && !Calm)
        {
            if (Sim.Chance(_markerLoss)) return;
            if (Sim.Chance(_double)) Sim.At(at + Sim.Between(1 * Ms, Sim.Chance(500) ? 1 * Second : 40 * Second), Arrive);
            if (Sim.Chance(_late))
            {
                Sim.At(at + Sim.Between(1 * Ms, 2 * Second), Arrive);
                return;
            }
        }

        _legs[leg] = at;
        if (packet.Marker is null)
        {
            packet.Towards = to;
            _underWay.Add(packet);
        }

        Sim.At(at, Arrive);
    }

    /// <summary>A target has died after its release.</summary>
    public void LostGates(IEnumerable<IpPrefix> prefixes) => _unordered.UnionWith(prefixes);

    /// <summary>A target has armed its hold for a new move.</summary>
    public void HasGates(IReadOnlyList<IpPrefix> prefixes)
    {
        _unordered.ExceptWith(prefixes);
        _flushedTwice.ExceptWith(prefixes);
    }

    /// <summary>A source's teardown failed behind its last marker. Should it start again now, it sends into the tunnel again, and another
    /// last marker at its next teardown; the first one may have been taken for the last (docs/plan.md).</summary>
    public void FlushedTwice(IReadOnlyList<IpPrefix> prefixes)
    {
        _unordered.UnionWith(prefixes);
        _flushedTwice.UnionWith(prefixes);
    }

    /// <summary>True when that may have happened to a prefix.</summary>
    public bool MayHaveFlushedTwice(IpPrefix prefix) => _flushedTwice.Contains(prefix);

    /// <summary>A packet is lost: with a process, or where nobody has a route.</summary>
    public void Lost(Packet packet)
    {
        packet.IsOver = true;
        _underWay.Remove(packet);
    }

    /// <summary>A packet goes to the server: behind the one that was sent before it, unless what would keep it back is known to be
    /// gone.</summary>
    public void Delivered(Packet packet, PeParty at, bool excused)
    {
        packet.IsOver = true;
        if (packet is { Marker: null, Before: { IsOver: false, IsOrphan: false } } && !excused && !_unordered.Contains(packet.To))
            Fail($"order: a packet of {packet.From.Name} for {packet.To} is delivered by {at.Name} before one that was sent before it");
    }

    /// <summary>A PE withdraws its routes: every ingress that runs has another way.</summary>
    public void Withdraws(PeParty pe, IReadOnlyList<IpPrefix> prefixes, string id)
    {
        foreach (IngressParty ingress in Ingress.Values.Where(i => i.Up))
        {
            foreach (IpPrefix prefix in prefixes.Where(p => ingress.WayTo(p) == pe && !_unordered.Contains(p)))
                Fail($"{pe.Name} withdraws {prefix} for {id}, and {ingress.Name} still sends there");
        }
    }

    /// <summary>A source takes its redirect away for good: nothing of an ingress PE is on its way to it.</summary>
    public void Leaves(PeParty pe, IReadOnlyList<IpPrefix> prefixes)
    {
        foreach (Packet packet in _underWay.Where(p => p.From is IngressParty && !p.IsOrphan && p.Towards == pe
            && prefixes.Contains(p.To) && !_unordered.Contains(p.To)))
            Fail($"{pe.Name} is torn down, and a packet of {packet.From.Name} for {packet.To} is on its way to it");
    }
}
