namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const nuint SIOCBRDELIF = 0x89a3, SIOCDEVPRIVATE = 0x89f0;
    public const uint BRCTL_GET_PORT_LIST = 7;
}

/// <summary>Ports of a kernel bridge of the calling thread's namespace.</summary>
public static partial class NetDevice
{
    private const int MaxBridgePorts = 1024;

    /// <summary>Makes a device a port of a bridge.</summary>
    public static void AddToBridge(string bridge, string device) => ChangePort(bridge, device, Libc.SIOCBRADDIF, "add", "to");

    /// <summary>Takes a device out of a bridge.</summary>
    public static void RemoveFromBridge(string bridge, string device) => ChangePort(bridge, device, Libc.SIOCBRDELIF, "take", "out of");

    /// <summary>Whether a device is a port of a bridge.</summary>
    public static unsafe bool IsPortOf(string device, string bridge)
    {
        int* indexes = stackalloc int[MaxBridgePorts];
        new Span<int>(indexes, MaxBridgePorts).Clear();
        nuint* arguments = stackalloc nuint[] { Libc.BRCTL_GET_PORT_LIST, (nuint)indexes, MaxBridgePorts, 0 };
        var request = new Libc.IfReq(bridge) { Pointer = arguments };
        int error = TryControl(Libc.SIOCDEVPRIVATE, &request);
        if (error != 0) throw new LinuxException($"list the ports of bridge {bridge}", error);
        return new ReadOnlySpan<int>(indexes, MaxBridgePorts).Contains(Index(device));
    }

    private static unsafe void ChangePort(string bridge, string device, nuint code, string verb, string preposition)
    {
        var request = new Libc.IfReq(bridge) { Value = Index(device) };
        int error = TryControl(code, &request);
        if (error != 0) throw new LinuxException($"{verb} device {device} {preposition} bridge {bridge}", error);
    }
}
