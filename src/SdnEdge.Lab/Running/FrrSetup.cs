using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Running;

/// <summary>A daemon of FRR that a node runs.</summary>
/// <param name="Name">Its name, as in FRR's file <c>daemons</c>.</param>
/// <param name="Options">What it is given beside its own sockets and files.</param>
internal sealed record FrrDaemon(string Name, IReadOnlyList<string> Options);

/// <summary>
/// What a node of FRR runs. Without a file <c>daemons</c>: zebra, staticd, bgpd, bfdd, and what the configuration uses. With one: those
/// that it starts, with its options, and zebra and staticd, which FRR always starts
/// (https://docs.frrouting.org/en/latest/setup.html#daemons-configuration-file).
/// </summary>
/// <param name="Config">The configuration, one for all daemons; empty where there is none.</param>
/// <param name="Daemons">The daemons, zebra first.</param>
/// <param name="Errors">What of it cannot be done, each with its place.</param>
/// <param name="Warnings">What of the configuration has no effect.</param>
internal sealed partial record FrrSetup(
    string Config, IReadOnlyList<FrrDaemon> Daemons, IReadOnlyList<ConfigError> Errors, IReadOnlyList<string> Warnings)
{
    /// <summary>Where Debian's package frr, and FRR's own, have the daemons.</summary>
    public const string Folder = "/usr/lib/frr";

    private static readonly string[] s_always = ["zebra", "staticd"], s_unasked = ["zebra", "staticd", "bgpd", "bfdd"];

    // Where a daemon's own terminal listens, if nothing else is said.
    private static readonly string[] s_local = ["-A", "127.0.0.1"];

    // Lines of a configuration by which a daemon is needed.
    private static readonly (string Daemon, Regex Line)[] s_uses =
    [
        ("bgpd", Line("router bgp")), ("bfdd", Line("bfd")), ("ospfd", Line("router ospf|ip ospf")),
        ("ospf6d", Line("router ospf6|ipv6 ospf6")), ("isisd", Line("router isis|(ip|ipv6) router isis|isis")),
        ("ripd", Line("router rip")),
        ("ripngd", Line("router ripng")), ("eigrpd", Line("router eigrp")), ("babeld", Line("router babel")), ("ldpd", Line("mpls ldp")),
        ("pimd", Line("router pim|ip pim|ip igmp|ip msdp")), ("pim6d", Line("router pim6|ipv6 pim|ipv6 mld")),
        ("nhrpd", Line("ip nhrp|ipv6 nhrp")), ("pbrd", Line("pbr-map|pbr-policy")), ("vrrpd", Line("vrrp")),
        ("fabricd", Line("router openfabric|(ip|ipv6) router openfabric")), ("pathd", Line("segment-routing\n *traffic-eng")),
    ];

    /// <summary>Every daemon of FRR that a lab may run.</summary>
    private static readonly string[] s_known = [.. s_always.Concat(s_uses.Select(u => u.Daemon)).Append("sharpd")];

    // In a file of daemons, and not what is started here.
    private static readonly string[] s_settings = ["vtysh_enable", "watchfrr_enable", "watchfrr_debug", "valgrind_enable", "valgrind",
        "all_wrap", "MAX_FDS", "FRR_NO_ROOT", "mgmtd", "watchfrr", "frr_profile"];

    // Options with a value that a lab gives every daemon.
    private static readonly string[] s_ours =
        ["-f", "--config_file", "-z", "--socket", "-i", "--pid_file", "--vty_socket", "-N", "--pathspace", "--log"];

    /// <summary>Reads what a node runs.</summary>
    public static FrrSetup Of(LabNode node)
        => Of(node, Directory.Exists(Folder) ? name => File.Exists(Path.Combine(Folder, name)) : _ => false);

    /// <summary>The same on a machine where <paramref name="isInstalled"/> says which daemons there are.</summary>
    internal static FrrSetup Of(LabNode node, Func<string, bool> isInstalled)
    {
        string config = node.HasConfig ? node.ReadConfig() : string.Join("\n!\n", node.Frr?.Configs.Select(File.ReadAllText) ?? []);
        string[] used = [.. s_uses.Where(u => u.Line.IsMatch(config)).Select(u => u.Daemon)];
        var errors = new List<ConfigError>();
        var warnings = new List<string>();
        List<FrrDaemon> daemons;
        if (node.Frr?.Daemons is { } file)
        {
            daemons = Read(File.ReadAllText(file), file, isInstalled, errors);
            foreach (string idle in used.Except(daemons.Select(d => d.Name)))
            {
                warnings.Add($"the configuration of node {node.Name} has lines for {idle}, which {file} does not start: write {idle}=yes "
                    + "there");
            }
        }
        else
        {
            daemons = [.. s_unasked.Union(used).Select(d => new FrrDaemon(d, s_local))];
        }

        string[] lacking = [.. daemons.Select(d => d.Name).Where(d => !isInstalled(d))];
        if (lacking.Length > 0 && errors.Count == 0)
        {
            errors.Add(new ConfigError(node.Frr?.Daemons ?? node.ConfigName, 1, 1, "",
                $"node {node.Name} needs FRR's {string.Join(", ", lacking)}, not there in {Folder}; install a package frr that has "
                + (lacking.Length > 1 ? "them" : "it")));
        }

        return new FrrSetup(config, daemons, errors, warnings);
    }

    // name=yes, name="options": a file of shell assignments.
    private static List<FrrDaemon> Read(string text, string file, Func<string, bool> isInstalled, List<ConfigError> errors)
    {
        var options = new Dictionary<string, string>(StringComparer.Ordinal);
        var start = new List<string>(s_always);
        string[] lines = text.Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            if (lines[i].AsSpan().Trim() is [] or ['#', ..]) continue;
            Match line = Assignment().Match(lines[i]);
            string name = line.Groups["name"].Value, value = line.Groups["value"].Value.Trim('"', '\'', ' ', '\t', '\r');
            if (!line.Success) Wrong($"'{lines[i].Trim()}' is no setting; write ospfd=yes, or ospfd_options=\"-A 127.0.0.1\"");
            else if (name.EndsWith("_options", StringComparison.Ordinal)) options[name[..^"_options".Length]] = value;
            else if (s_settings.Contains(name) || name.EndsWith("_wrap", StringComparison.Ordinal)) continue;
            else if (name.EndsWith("_instances", StringComparison.Ordinal))
            {
                if (value.Length > 0) Wrong($"{name}: a lab starts one instance of a daemon; take the line away");
            }
            else if (value is "" or "no" or "0" or "false") continue;
            else if (!s_known.Contains(name))
            {
                string hint = Spelling.Nearest(name, s_known) is { } near ? $"; did you mean '{near}'?" : "";
                Wrong($"FRR has no daemon '{name}'{hint}; there are {string.Join(", ", s_known)}");
            }
            else if (!isInstalled(name)) Wrong($"this machine's FRR has no {name}: it is not in {Folder}; write {name}=no, or install it");
            else if (!start.Contains(name)) start.Add(name);

            void Wrong(string message) => errors.Add(new ConfigError(file, i + 1, 1, "", message));
        }

        return [.. start.Select(d => new FrrDaemon(d, options.ContainsKey(d) ? [.. OptionsOf(d)] : s_local))];

        // Not those by which a daemon leaves its starter, and those that the lab sets, with their values: a daemon takes an option once.
        IEnumerable<string> OptionsOf(string daemon)
        {
            string[] words = options.GetValueOrDefault(daemon, "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
            for (int i = 0; i < words.Length; i++)
            {
                if (s_ours.Contains(words[i])) i++;
                else if (words[i] is not ("-d" or "--daemon")) yield return words[i];
            }
        }
    }

    private static Regex Line(string words)
        => new($@"^ *((no )?neighbor .*|)({words})(\s|$)", RegexOptions.Multiline | RegexOptions.ExplicitCapture
            | RegexOptions.CultureInvariant);

    [GeneratedRegex(@"^\s*(?<name>[A-Za-z0-9_]+)=(?<value>[^#]*)", RegexOptions.ExplicitCapture)]
    private static partial Regex Assignment();
}
