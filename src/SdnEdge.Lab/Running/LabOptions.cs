namespace SdnEdge.Lab.Running;

/// <summary>How a lab is deployed.</summary>
public sealed record LabOptions
{
    /// <summary>Name instead of the file's, so that two labs of one file can run at once; null = the file's.</summary>
    public string? Name { get; init; }

    /// <summary>Round-trip time between two PEs in milliseconds, shared evenly by the WAN links; null = as the file says.</summary>
    public double? RttMs { get; init; }

    /// <summary>Destroys the lab of that name first, if it is there.</summary>
    public bool Reconfigure { get; init; }

    /// <summary>Folder with one folder for each lab: state, configurations, sockets, logs.</summary>
    public string StateRoot { get; init; } = LabState.DefaultRoot;

    /// <summary>False: virtual machines are left for somebody else to start.</summary>
    public bool StartGuests { get; init; } = true;

    /// <summary>Longest time from the first process to the last one ready.</summary>
    public TimeSpan ReadyTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Told what is being done, one short line at a time.</summary>
    public Action<string>? Progress { get; init; }

    /// <summary>
    /// How to start this program again, for the nodes' processes; null = found by itself, or named by the variable SDNEDGE_BIN.
    /// </summary>
    public IReadOnlyList<string>? Self { get; init; }

    internal IReadOnlyList<string> FindSelf()
    {
        if (Self is not null) return Self;
        if (Environment.GetEnvironmentVariable("SDNEDGE_BIN") is { Length: > 0 } named)
        {
            return File.Exists(named) ? [named] : throw new LabException(
                $"the program '{named}', named by the variable SDNEDGE_BIN, is not there: run ./build.sh build, or unset SDNEDGE_BIN.");
        }

        if (Environment.ProcessPath is { } path && Path.GetFileName(path) == "sdnedge") return [path];
        string beside = Path.Combine(AppContext.BaseDirectory, "sdnedge");
        if (File.Exists(beside)) return [beside];
        return File.Exists(beside + ".dll") ? ["dotnet", beside + ".dll"]
            : throw new LabException($"the program 'sdnedge' is not in {AppContext.BaseDirectory}; the lab's nodes run it.");
    }

    internal string Folder(string lab) => Path.Combine(StateRoot, lab);

    /// <summary>What this machine lacks for a lab; null when all is there.</summary>
    public static string? WhyNot { get; } =
        !Environment.IsPrivilegedProcess ? "a lab needs root: it makes network namespaces and TAP devices; run it with sudo."
        : !File.Exists("/dev/net/tun") ? "a lab needs /dev/net/tun, which is not there; load the tun module (modprobe tun)."
        : !((string[])["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]).Any(File.Exists)
            ? "a lab needs the command 'ip'; install the package iproute2."
        : null;
}
