using System.Diagnostics;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Makes the kernel of the PE's namespace a host behind the data plane: the host TAP carries the loopback addresses, and what
/// the kernel sends from them goes out through it. Done with iproute2's <c>ip</c>, so what is there can be seen and undone
/// with the same tool. Routes sit in a table of their own and, at the lowest rank, in the main table: a default route that
/// the machine has stays in force.
/// </summary>
public static class HostNetwork
{
    /// <summary>The data plane's address on the host link, IPv4.</summary>
    public static readonly IpAddress GatewayV4 = IpAddress.Parse("169.254.255.1");

    /// <summary>The data plane's address on the host link, IPv6.</summary>
    public static readonly IpAddress GatewayV6 = IpAddress.Parse("fe80::5d:ed9e");

    private const string Table = "4754";
    private const string LowestRank = "4294967295";

    /// <summary>Configures the device. <paramref name="gateway"/> is the MAC address the data plane uses on the link.</summary>
    /// <exception cref="IOException">A command failed; the message has it and its answer.</exception>
    public static void Configure(string device, int mtu, MacAddress gateway, IReadOnlyList<IpAddress> loopbacks)
    {
        WriteSetting($"/proc/sys/net/ipv4/conf/{device}/rp_filter", "0");
        WriteSetting($"/proc/sys/net/ipv4/conf/{device}/accept_local", "1");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_ra", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_dad", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/router_solicitations", "0");
        Ip("link", "set", "dev", device, "mtu", $"{mtu}", "up");
        foreach (IpAddress address in loopbacks)
        {
            AddAddress(device, gateway, address);
            string family = address.IsV4 ? "-4" : "-6", gate = (address.IsV4 ? GatewayV4 : GatewayV6).ToString();
            string text = address.ToString();
            if (loopbacks.First(l => l.Family == address.Family) == address)
                Ip(family, "route", "replace", "default", "via", gate, "dev", device, "onlink", "src", text, "metric", LowestRank);
        }
    }

    /// <summary>
    /// Gives the kernel an address of the PE: a loopback, or that of a port from which the PE itself speaks. What the kernel
    /// sends from it goes to the data plane, which forwards it without counting a hop.
    /// </summary>
    /// <exception cref="IOException">A command failed; the message has it and its answer.</exception>
    public static void AddAddress(string device, MacAddress gateway, IpAddress address)
    {
        string family = address.IsV4 ? "-4" : "-6", gate = (address.IsV4 ? GatewayV4 : GatewayV6).ToString();
        string text = address.ToString();
        string[] extra = address.IsV4 ? [] : ["nodad"];
        Ip([family, "address", "replace", $"{text}/{address.BitLength}", "dev", device, .. extra]);
        Ip(family, "neigh", "replace", gate, "lladdr", gateway.ToString(), "dev", device, "nud", "permanent");
        Ip(family, "route", "replace", "default", "via", gate, "dev", device, "onlink", "src", text, "table", Table);
        TryIp(family, "rule", "del", "from", text, "table", Table);
        Ip(family, "rule", "add", "from", text, "table", Table);
    }

    /// <summary>Takes the rules away; addresses and routes go with the device.</summary>
    public static void Undo(IReadOnlyList<IpAddress> loopbacks)
    {
        foreach (IpAddress address in loopbacks)
            TryIp(address.IsV4 ? "-4" : "-6", "rule", "del", "from", address.ToString(), "table", Table);
    }

    /// <summary>MAC address of a device.</summary>
    /// <exception cref="IOException">There is no such device.</exception>
    public static MacAddress MacOf(string device)
    {
        // A process that entered a namespace by setns still sees the sysfs it was mounted from: ask the kernel by netlink.
        string line = Ip("-o", "link", "show", "dev", device);
        string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int at = Array.IndexOf(words, "link/ether");
        return at >= 0 && MacAddress.TryParse(words[at + 1], null, out MacAddress mac) ? mac
            : throw new IOException($"device {device} has no Ethernet address");
    }

    private static void WriteSetting(string path, string value)
    {
        // IPv6 may be switched off in this kernel; what must not fail is checked by the commands that follow.
        if (File.Exists(path)) File.WriteAllText(path, value);
    }

    private static void TryIp(params string[] arguments) => Run(arguments, out _, out _);

    private static string Ip(params string[] arguments)
    {
        int code = Run(arguments, out string output, out string error);
        return code == 0 ? output : throw new IOException($"'ip {string.Join(' ', arguments)}' failed ({code}): {error.Trim()}");
    }

    private static int Run(string[] arguments, out string output, out string error)
    {
        var start = new ProcessStartInfo("ip") { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        Process process;
        try
        {
            process = Process.Start(start) ?? throw new IOException("the command ip did not start");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new IOException("the command ip (package iproute2) is needed for the host port and is not there", e);
        }

        using (process)
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            output = process.StandardOutput.ReadToEnd();
            error = errors.Result;
            process.WaitForExit();
            return process.ExitCode;
        }
    }
}
