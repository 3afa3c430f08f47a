namespace SdnEdge.Demo.Run;

/// <summary>What fails without a farewell.</summary>
internal enum FailedPart
{
    /// <summary>The virtual machine: its QEMU is killed.</summary>
    Guest,

    /// <summary>The server host: QEMU and the host's agent are killed. The agent is started again after a while, and says then what is
    /// dead.</summary>
    Host,
}

/// <summary>What the demo of an outage is to do.</summary>
internal sealed record OutageOptions
{
    public required string Topology { get; init; }
    public required DirectoryInfo Out { get; init; }
    public required FailedPart Failed { get; init; }
    public required string Policy { get; init; }

    /// <summary>The manager begins the fail-over by itself. False: as its configuration says; if that does not either, the demo begins it,
    /// as an operator.</summary>
    public bool Automatic { get; init; }

    /// <summary>How long a fail-over stays suspected before the agent is started again.</summary>
    public TimeSpan AgentAfter { get; init; }

    /// <summary>Name of the lab; null = the topology's.</summary>
    public string? LabName { get; init; }

    /// <summary>Packets per second over all ingresses; the virtual machine sends each back.</summary>
    public long Rate { get; init; } = 300;

    /// <summary>Bytes per second of the TCP transfer.</summary>
    public int TcpBytesPerSecond { get; init; } = 20_000;

    /// <summary>Round-trip time between two PEs; null = as the topology says.</summary>
    public double? RttMs { get; init; }

    /// <summary>Way home: longest time in which packets of an ingress wait for its flush marker, milliseconds.</summary>
    public int OrderBoundMs { get; init; } = 1000;

    /// <summary>Way home: longest time that a packet may be on its way in the tunnel, milliseconds, where no marker says that it is
    /// through.</summary>
    public int QuietMs { get; init; } = 500;

    /// <summary>Leaves the lab running.</summary>
    public bool Keep { get; init; }
}
