using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Everything the workers share: ports, VRFs, tunnels, holds. One writer (the control loop); each table is replaced as a
/// whole by one store and read once a batch, so readers never wait. What is taken out may be disposed of only after a grace
/// period: every worker has passed a batch boundary since.
/// </summary>
public sealed class DataPlane
{
    private readonly PerWorkerCounters _drops;
    private volatile PortEntry?[] _ports = [];
    private volatile Vrf?[] _vrfs = [];
    private volatile Hold[] _holds = [];
    private volatile Tunnel[] _tunnels = [];
    private volatile TunnelTable _tunnelTable = new([]);

    /// <summary>Makes an empty data plane for a number of workers.</summary>
    public DataPlane(int workers)
    {
        Workers = workers;
        _drops = new PerWorkerCounters(workers, Enum.GetValues<DropReason>().Length);
        Flow = new PerWorkerCounters(workers, (int)FlowField.Count);
    }

    /// <summary>Workers.</summary>
    public int Workers { get; }

    /// <summary>Ports by index; null where one was removed.</summary>
    public IReadOnlyList<PortEntry?> Ports => _ports;

    /// <summary>VRFs by index; null where one was removed.</summary>
    public IReadOnlyList<Vrf?> Vrfs => _vrfs;

    /// <summary>Tunnels.</summary>
    public IReadOnlyList<Tunnel> Tunnels => _tunnels;

    /// <summary>Holds.</summary>
    public IReadOnlyList<Hold> Holds => _holds;

    /// <summary>Identifier of the ICMP echo requests that tunnel probes send; replies to it are punted as
    /// <see cref="PuntReason.TunnelProbeReply"/>.</summary>
    public ushort ProbeIdentifier { get; set; } = 0x5DE6;

    /// <summary>
    /// The router's own kernel is a neighbour on a host port: what is for a local address of that port's VRF (of a host port with a
    /// <see cref="PortOptions.Link"/>: for the link-local address of that port) and is not for the data plane or the control loop goes
    /// there. Without one nobody listens.
    /// </summary>
    public static void SetHost(Adjacency kernel)
    {
        if (kernel.Port.Options.Link is { } link) link.Host = kernel;
        else kernel.Port.Vrf.Host = kernel;
    }

    internal PortEntry?[] PortArray => _ports;

    internal Hold[] HoldArray => _holds;

    internal TunnelTable TunnelTable => _tunnelTable;

    internal PerWorkerCounters DropCounters => _drops;

    internal PerWorkerCounters Flow { get; }

    /// <summary>Packets dropped for a reason, all workers.</summary>
    public long Drops(DropReason reason) => _drops.Total((int)reason);

    /// <summary>Packets dropped for any reason.</summary>
    public long DropsTotal
    {
        get
        {
            long sum = 0;
            for (int reason = 1; reason < _drops.Fields; reason++) sum += _drops.Total(reason);
            return sum;
        }
    }

    /// <summary>The ledger of all packets.</summary>
    public PacketLedger Ledger => new(
        Flow.Total((int)FlowField.Received), Flow.Total((int)FlowField.Originated), Flow.Total((int)FlowField.Split),
        Flow.Total((int)FlowField.Transmitted), DropsTotal, Flow.Total((int)FlowField.Punted),
        Flow.Total((int)FlowField.IntoHold), Flow.Total((int)FlowField.OutOfHold),
        Flow.Total((int)FlowField.IntoWait), Flow.Total((int)FlowField.OutOfWait));

    /// <summary>Adds a port; its index is the first that is free.</summary>
    public PortEntry AddPort(PortOptions options, IPort device, Vrf vrf)
    {
        PortEntry?[] ports = _ports;
        int index = Array.IndexOf(ports, null);
        if (index < 0) index = ports.Length;
        PortEntry entry = new(index, options, device, vrf, Workers);
        PortEntry?[] next = new PortEntry?[Math.Max(ports.Length, index + 1)];
        ports.CopyTo(next, 0);
        next[index] = entry;
        _ports = next;
        return entry;
    }

    /// <summary>Takes a port out. Frames towards it are dropped (<see cref="DropReason.PortDown"/>).</summary>
    public void RemovePort(PortEntry port)
    {
        port.Up = false;
        PortEntry?[] next = [.. _ports];
        next[port.Index] = null;
        _ports = next;
        if (ReferenceEquals(port.Vrf.Host?.Port, port)) port.Vrf.Host = null;
        if (port.Options.Link is { } link && ReferenceEquals(link.Host?.Port, port)) link.Host = null;
        if (port.Options.Parent?.SubInterfaces is { } siblings) Volatile.Write(ref siblings[port.Options.Vlan], null);
    }

    /// <summary>Adds a VRF.</summary>
    public Vrf AddVrf(string name, uint? key = null)
    {
        Vrf?[] vrfs = _vrfs;
        int index = Array.IndexOf(vrfs, null);
        if (index < 0) index = vrfs.Length;
        Vrf vrf = new(index, name, key);
        Vrf?[] next = new Vrf?[Math.Max(vrfs.Length, index + 1)];
        vrfs.CopyTo(next, 0);
        next[index] = vrf;
        _vrfs = next;
        return vrf;
    }

    /// <summary>Takes a VRF out; dispose of it after a grace period.</summary>
    public void RemoveVrf(Vrf vrf)
    {
        Vrf?[] next = [.. _vrfs];
        next[vrf.Index] = null;
        _vrfs = next;
    }

    /// <summary>Adds a tunnel: from now on its packets are accepted.</summary>
    /// <exception cref="ArgumentException">There is one with the same local and remote address, key and encapsulation.</exception>
    public Tunnel AddTunnel(TunnelOptions options, Vrf vrf, Vrf underlay)
    {
        foreach (Tunnel other in _tunnels)
        {
            TunnelOptions o = other.Options;
            if (o.IsSameOnTheWire(options))
            {
                throw new ArgumentException(
                    $"Tunnel {options.Name}: {o.Name} already runs from {o.Local} to {o.Remote} with key "
                    + $"{o.Key?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "none"}; give one of them another key.",
                    nameof(options));
            }
        }

        Tunnel tunnel = new(options, vrf, underlay, Workers);
        _tunnels = [.. _tunnels, tunnel];
        _tunnelTable = new TunnelTable(_tunnels);
        return tunnel;
    }

    /// <summary>Takes a tunnel out: its packets are no longer accepted.</summary>
    public void RemoveTunnel(Tunnel tunnel)
    {
        _tunnels = [.. _tunnels.Where(t => !ReferenceEquals(t, tunnel))];
        _tunnelTable = new TunnelTable(_tunnels);
    }

    /// <summary>Adds a hold: its drain worker looks after its deadlines.</summary>
    public void AddHold(Hold hold) => _holds = [.. _holds, hold];

    /// <summary>Takes a hold out; dispose of it after a grace period.</summary>
    public void RemoveHold(Hold hold) => _holds = [.. _holds.Where(h => !ReferenceEquals(h, hold))];
}

internal enum FlowField
{
    Received,
    Originated,
    Split,
    Transmitted,
    Punted,
    IntoHold,
    OutOfHold,
    IntoWait,
    OutOfWait,
    Notices,
    NoticesLost,
    Count,
}

/// <summary>
/// Where every packet went. Between batches the books balance:
/// <c>Received + Originated + Split = Transmitted + Dropped + Punted + (IntoHold - OutOfHold) + (IntoWait - OutOfWait)</c>.
/// </summary>
/// <param name="Received">Frames that came in on ports.</param>
/// <param name="Originated">Frames and packets that the control loop gave to send.</param>
/// <param name="Split">Frames added by segmentation and fragmentation, beyond the one that was split.</param>
/// <param name="Transmitted">Frames that devices took.</param>
/// <param name="Dropped">Packets dropped, any reason.</param>
/// <param name="Punted">Packets handed to the control loop.</param>
/// <param name="IntoHold">Packets put into holds.</param>
/// <param name="OutOfHold">Packets that left holds, also those dropped there.</param>
/// <param name="IntoWait">Packets that had to wait for a neighbour.</param>
/// <param name="OutOfWait">Packets that no longer wait, also those dropped there.</param>
public sealed record PacketLedger(
    long Received, long Originated, long Split, long Transmitted, long Dropped, long Punted,
    long IntoHold, long OutOfHold, long IntoWait, long OutOfWait)
{
    /// <summary>Zero when every packet is accounted for.</summary>
    public long Imbalance => Received + Originated
        + Split - Transmitted - Dropped - Punted - (IntoHold - OutOfHold) - (IntoWait - OutOfWait);
}
