using System.Diagnostics;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Makes the kernel of the PE's namespace a host behind the data plane: the host TAP carries the loopbacks and the addresses of
/// ports, and what the kernel sends from them goes out through it. Done with iproute2's <c>ip</c>, so what is there can be seen and undone
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

    /// <summary>Configures the device: its MTU and the loopbacks, and default routes of the lowest rank from the first of each
    /// family. <paramref name="gateway"/> is the MAC address that the data plane uses on the link.</summary>
    /// <exception cref="IOException">A command failed; the message has it and its answer.</exception>
    public static void Configure(string device, int mtu, MacAddress gateway, IReadOnlyList<IpAddress> loopbacks)
    {
        WriteSetting($"/proc/sys/net/ipv4/conf/{device}/rp_filter", "0");
        WriteSetting($"/proc/sys/net/ipv4/conf/{device}/accept_local", "1");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_ra", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_dad", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/router_solicitations", "0");
        Ip("link", "set", "dev", device, "mtu", $"{mtu}", "up");
        SetAddresses(device, gateway, loopbacks);
        foreach (IpAddress first in loopbacks.DistinctBy(l => l.Family))
        {
            Ip(Family(first), "route", "replace", "default", "via", Gateway(first), "dev", device, "onlink", "src", first.ToString(),
                "metric", LowestRank);
        }
    }

    /// <summary>Configures a device that stands for one link: our link-local address there, and no other.</summary>
    /// <exception cref="IOException">A command failed; the message has it and its answer.</exception>
    public static void ConfigureLink(string device, int mtu, IpAddress linkLocal)
    {
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_ra", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/accept_dad", "0");
        WriteSetting($"/proc/sys/net/ipv6/conf/{device}/router_solicitations", "0");
        Ip("link", "set", "dev", device, "mtu", $"{mtu}", "addrgenmode", "none", "up");
        List<string> commands = [.. Words(IpFamily.V6, "-o", "address", "show", "dev", device).Select(w => AfterWord(w, "inet6"))
            .Where(a => !a.IsNone && a != linkLocal).Select(a => $"address del {a}/64 dev {device}"),
            $"address replace {linkLocal}/64 dev {device} nodad"];
        Batch(IpFamily.V6, commands);
    }

    /// <summary>
    /// Gives the kernel these addresses of the PE on the device, and no others: loopbacks and those of ports. What the kernel sends from
    /// one goes to the data plane, which forwards it without counting a hop. What is there already is left as it is.
    /// </summary>
    /// <exception cref="IOException">A command failed; the message has it and its answer.</exception>
    public static void SetAddresses(string device, MacAddress gateway, IReadOnlyCollection<IpAddress> addresses)
    {
        // Else the kernel answers ARP for them on every other device of the namespace, such as the bridge that a port's TAP is in.
        WriteSetting("/proc/sys/net/ipv4/conf/all/arp_ignore", "1");
        foreach (IpFamily family in (ReadOnlySpan<IpFamily>)[IpFamily.V4, IpFamily.V6])
        {
            HashSet<IpAddress> wanted = [.. addresses.Where(a => a.Family == family)];
            HashSet<IpAddress> held = [.. Words(family, "-o", "address", "show", "dev", device).Select(w => AfterWord(w, "inet", "inet6"))];
            HashSet<IpAddress> ruled = [.. Words(family, "rule", "show").Where(w => w.Contains(Table)).Select(w => AfterWord(w, "from"))];

            // Not the link-local address of the kernel's own.
            held.RemoveWhere(a => a.IsNone || (a.IsV6 && a.IsLinkLocal));
            ruled.Remove(default);
            List<string> commands = [.. held.Except(wanted).Select(a => $"address del {a}/{a.BitLength} dev {device}"),
                .. ruled.Except(wanted).Select(a => $"rule del from {a} table {Table}")];
            if (wanted.Count > 0)
            {
                IpAddress first = addresses.First(a => a.Family == family);
                string nodad = family == IpFamily.V6 ? " nodad" : "";
                commands.AddRange(wanted.Except(held).Select(a => $"address replace {a}/{a.BitLength} dev {device}{nodad}"));
                commands.Add($"neigh replace {Gateway(first)} lladdr {gateway} dev {device} nud permanent");
                commands.Add($"route replace default via {Gateway(first)} dev {device} onlink src {first} table {Table}");
                commands.AddRange(wanted.Except(ruled).Select(a => $"rule add from {a} table {Table}"));
            }

            if (commands.Count > 0) Batch(family, commands);
        }
    }

    /// <summary>Takes the rules away; addresses and routes go with the device.</summary>
    public static void Undo()
    {
        foreach (IpFamily family in (ReadOnlySpan<IpFamily>)[IpFamily.V4, IpFamily.V6])
        {
            try
            {
                string[] commands = [.. Words(family, "rule", "show").Where(w => w.Contains(Table)).Select(w => AfterWord(w, "from"))
                    .Where(a => !a.IsNone).Select(a => $"rule del from {a} table {Table}")];
                if (commands.Length > 0) Batch(family, commands);
            }
            catch (IOException)
            {
                // The namespace goes, or somebody else has done it.
            }
        }
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

    private static string Family(IpAddress address) => address.IsV4 ? "-4" : "-6";

    private static string Gateway(IpAddress address) => (address.IsV4 ? GatewayV4 : GatewayV6).ToString();

    // Each line of what a command shows, in words; none where the kernel has not this family.
    private static IEnumerable<string[]> Words(IpFamily family, params string[] arguments)
    {
        int code = Run([family == IpFamily.V4 ? "-4" : "-6", .. arguments], null, out string output, out _);
        return code != 0 ? [] : output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries));
    }

    // The address behind a word, without its length; none where there is none.
    private static IpAddress AfterWord(string[] words, params string[] marks)
    {
        int at = Array.FindIndex(words, w => marks.Contains(w));
        return at >= 0 && at + 1 < words.Length
            && IpAddress.TryParse(words[at + 1].Split('/')[0], out IpAddress address) ? address : default;
    }

    private static void Batch(IpFamily family, IReadOnlyList<string> commands)
    {
        int code = Run([family == IpFamily.V4 ? "-4" : "-6", "-batch", "-"], string.Join('\n', commands) + "\n", out _, out string error);
        if (code != 0) throw new IOException($"'ip -batch' of '{string.Join("; ", commands)}' failed ({code}): {error.Trim()}");
    }

    private static string Ip(params string[] arguments)
    {
        int code = Run(arguments, null, out string output, out string error);
        return code == 0 ? output : throw new IOException($"'ip {string.Join(' ', arguments)}' failed ({code}): {error.Trim()}");
    }

    private static int Run(string[] arguments, string? input, out string output, out string error)
    {
        var start = new ProcessStartInfo("ip")
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
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
            try
            {
                if (input is not null) process.StandardInput.Write(input);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It has ended before it read all: its answer says why.
            }

            output = process.StandardOutput.ReadToEnd();
            error = errors.Result;
            process.WaitForExit();
            return process.ExitCode;
        }
    }
}
