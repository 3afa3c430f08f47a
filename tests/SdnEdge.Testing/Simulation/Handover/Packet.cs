using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>A packet that the simulation follows: the last one of an ingress PE on the old path, its first one on the direct path, or a
/// flush marker.</summary>
internal sealed class Packet(Party from, IpAddress loopback, IpPrefix to, bool direct, FlushMarker? marker = null)
{
    private readonly int _life = from.Lives;

    /// <summary>The ingress PE by which it came in.</summary>
    public Party From { get; } = from;

    /// <summary>Its loopback.</summary>
    public IpAddress Loopback { get; } = loopback;

    /// <summary>The moving prefix.</summary>
    public IpPrefix To { get; } = to;

    /// <summary>True: it was sent on the direct path.</summary>
    public bool Direct { get; } = direct;

    /// <summary>What it says, if it is a marker.</summary>
    public FlushMarker? Marker { get; } = marker;

    /// <summary>The packet that was sent before it, and must not come after it.</summary>
    public Packet? Before { get; init; }

    /// <summary>Where it is on its way to; null: it is not on a wire.</summary>
    public PeParty? Towards { get; set; }

    /// <summary>It was delivered, or lost.</summary>
    public bool IsOver { get; set; }

    /// <summary>PEs that have sent it on.</summary>
    public int Hops { get; set; }

    /// <summary>Its ingress PE has died since: order over a restart is promised by nobody.</summary>
    public bool IsOrphan => From.Lives != _life;
}
