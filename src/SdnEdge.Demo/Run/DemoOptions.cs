namespace SdnEdge.Demo.Run;

/// <summary>What the demo is to do.</summary>
internal sealed record DemoOptions
{
    public required string Topology { get; init; }
    public required DirectoryInfo Out { get; init; }

    /// <summary>Name of the lab; null = the topology's.</summary>
    public string? LabName { get; init; }

    /// <summary>Packets per second towards the server over all ingresses. A virtual machine gets fewer where it loses some at
    /// rest.</summary>
    public long Rate { get; init; } = 20_000;

    /// <summary>
    /// Packets per second from the server to all clients: a constant share. Each packet passes four processes on its way, and
    /// all of them live on the two cores that the lab is made for.
    /// </summary>
    public long ReverseRate => Math.Max(Rate / 4, 1);

    /// <summary>Bytes per second of the TCP transfer. A virtual machine without KVM takes some time for each segment.</summary>
    public int TcpBytesPerSecond { get; init; } = 250_000;

    /// <summary>How long a virtual machine at rest is tried at a rate.</summary>
    public TimeSpan Trial { get; init; } = TimeSpan.FromSeconds(3);

    public int BlackoutMs { get; init; } = 300;

    /// <summary>Round-trip time between two PEs; null = as the topology says.</summary>
    public double? RttMs { get; init; }

    public bool Hold { get; init; } = true;

    /// <summary>Flush markers and gates at the target; needs the hold.</summary>
    public bool Order { get; init; } = true;

    /// <summary>Longest time in which packets of an ingress wait for its flush marker, milliseconds.</summary>
    public int OrderBoundMs { get; init; } = 1000;

    /// <summary>
    /// Longest time that a packet may be on its way in the tunnel, milliseconds, where no marker says that it is through.
    /// </summary>
    public int QuietMs { get; init; } = 500;

    /// <summary>Moves a virtual machine a second time, by a script, in a lab of its own, and reports both.</summary>
    public bool Compare { get; init; }

    /// <summary>Leaves the lab running.</summary>
    public bool Keep { get; init; }
}
