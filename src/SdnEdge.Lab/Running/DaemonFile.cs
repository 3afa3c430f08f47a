using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Lab.Topologies;
using InterfaceAddress = SdnEdge.Lab.Topologies.InterfaceAddress;

namespace SdnEdge.Lab.Running;

/// <summary>
/// The configuration with which a lab starts one of our daemons (PE, server host, store, manager), made from the node's startup-config:
/// 1 the lab's variables are filled in; 2 what belongs to this lab alone is set: where the API listens, with which certificate, that the
/// lab's managers may use it, where a store's clients find its volumes (<c>NODE.nbd</c>), and where state is kept. So two labs of one file
/// share nothing. Lines keep their numbers.
/// Variables: <c>${lab.name}</c>, <c>${lab.folder}</c> (state, sockets, certificates), <c>${lab.node}</c> (this node's name),
/// <c>${lab.namespace:NODE}</c>, <c>${lab.api:NODE}</c> (https on the management network, else the unix socket), <c>${lab.guest}</c> (the
/// folder with QEMU and the lab's guest, <see cref="GuestFolder"/>), <c>${lab.etcd:NODE}</c> (the client address of a node that has a
/// member of etcd). Written in quotes they leave the file YAML as it stands. Any
/// other <c>${...}</c> is left alone.
/// </summary>
internal sealed partial class DaemonFile(LabTopology lab, LabNode node, string folder)
{
    /// <summary>TCP port of every API on a management network.</summary>
    public const int ApiPort = 8443;

    /// <summary>What a store's socket for NBD is called, behind the node's name.</summary>
    public const string NbdSuffix = ".nbd";

    private const string Variables
        = "${lab.name}, ${lab.folder}, ${lab.node}, ${lab.guest}, ${lab.namespace:NODE}, ${lab.api:NODE} and ${lab.etcd:NODE}";

    /// <summary>Where a node's API is: <c>https://ADDRESS:8443/</c> when it is on a management network, else <c>unix:PATH</c>.</summary>
    public static string ApiAddress(LabNode node, string folder)
        => node.Management is { } management ? $"https://{Listen(management)}/" : "unix:" + Path.Combine(folder, node.Name + ".sock");

    /// <summary>The text.</summary>
    /// <exception cref="LabException">Not YAML, or variables that are not there: each with its line.</exception>
    public string Text() => Complete(node.ReadConfig(), node.ConfigName);

    /// <summary>Completes the text of a startup-config; <paramref name="file"/> is only named in errors.</summary>
    internal string Complete(string text, string file)
    {
        text = WithSection(Fill(text, file), file, "api", Api);
        return node.Kind switch
        {
            NodeKind.SdnEdgeHost or NodeKind.SdnEdgePe => WithState(text, file),
            NodeKind.SdnEdgeStore => WithSection(WithState(text, file), file, "nbd", Nbd),
            NodeKind.SdnEdgeMms => WithSection(text, file, "journal", old => old is YamlMap etcd ? Flow(etcd) : Quote(Of(".db"))),
            _ => text,
        };
    }

    /// <summary>
    /// Replaces the value of a key of the document's root, or adds the key at the end. The new value stands in the key's line; the lines of
    /// the old one stay, empty.
    /// </summary>
    internal static string WithSection(string text, string file, string key, Func<YamlValue?, string> value)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (errors.Count > 0) throw new LabException(string.Join('\n', errors.List));
        if (tree is not YamlMap map || map.Written.Any(e => e.Key.Column != 1))
            throw new LabException(
                $"{file}:1: the lab sets '{key}' here and needs the file's keys one a line, each from the first column.");
        int at = 0;
        while (at < map.Written.Count && map.Written[at].Key.Text != key) at++;
        if (at == map.Written.Count) return $"{text.TrimEnd()}\n{key}: {value(map[key])}\n".TrimStart('\n');   // a merged one is overridden
        string[] lines = text.Split('\n');
        int first = map.Written[at].Key.Line - 1;
        int end = at + 1 < map.Written.Count ? map.Written[at + 1].Key.Line - 1 : lines.Length;
        lines[first] = $"{key}: {value(map.Written[at].Value)}";
        for (int i = first + 1; i < end; i++)
        {
            if (!lines[i].TrimStart().StartsWith('#')) lines[i] = "";
        }

        return string.Join('\n', lines);
    }

    private string Of(string suffix) => Path.Combine(folder, node.Name + suffix);

    private string WithState(string text, string file) => WithSection(text, file, "state", _ => $"{{ folder: {Quote(Of(".state"))} }}");

    // What the file says of TCP stays.
    private string Nbd(YamlValue? old)
    {
        IEnumerable<string> rest = ((old as YamlMap)?.Entries ?? []).Where(e => e.Key.Text != "unix")
            .Select(e => $"{Quote(e.Key.Text)}: {Flow(e.Value)}");
        return $"{{ {string.Join(", ", rest.Prepend($"unix: {Quote(Of(NbdSuffix))}"))} }}";
    }

    // What the file says of the API stays, but for what the lab sets: the socket and, on a management network, TCP. Managers come first.
    private string Api(YamlValue? old)
    {
        var parts = new List<string> { $"unix: {Quote(Of(".sock"))}" };
        if (node.Management is { } management)
        {
            string certificate = LabCertificates.CertificateOf(folder, node.Name), key = LabCertificates.KeyOf(folder, node.Name);
            parts.Add($"tcp: {{ listen: {Quote(Listen(management))}, certificate: {Quote(certificate)}, key: {Quote(key)}, " +
                $"clientCa: {Quote(LabCertificates.AuthorityOf(folder))} }}");
        }

        YamlMap map = old as YamlMap ?? new YamlMap([], 1, 1);
        var access = new List<string>();
        if (node.Management is not null && node.Kind != NodeKind.SdnEdgeMms)
        {
            access.AddRange(lab.Nodes.Where(n => n.Kind == NodeKind.SdnEdgeMms && n.Management is not null && !HasRule(map, n.Name))
                .Select(n => $"{{ certificate: {Quote(n.Name)}, role: migrate }}"));
        }

        if (map["access"] is YamlList rules) access.AddRange(rules.Items.Select(Flow));
        if (access.Count > 0) parts.Add($"access: [ {string.Join(", ", access)} ]");
        string[] ours = node.Management is null ? ["unix", "access"] : ["unix", "tcp", "access"];
        parts.AddRange(map.Entries.Where(e => !ours.Contains(e.Key.Text)).Select(e => $"{Quote(e.Key.Text)}: {Flow(e.Value)}"));
        return $"{{ {string.Join(", ", parts)} }}";
    }

    private static bool HasRule(YamlMap api, string certificate)
        => api["access"] is YamlList rules && rules.Items.OfType<YamlMap>().Any(r => (r["certificate"] as YamlText)?.Text == certificate);

    private static string Listen(InterfaceAddress address)
        => address.Address.IsV4 ? $"{address.Address}:{ApiPort}" : $"[{address.Address}]:{ApiPort}";

    private string Fill(string text, string file)
    {
        var errors = new ConfigErrors(file);
        string noGuest = "";
        string filled = Variable().Replace(text, match =>
        {
            string name = match.Groups["name"].Value;
            Group of = match.Groups["node"];
            LabNode? named = of.Success ? lab.Find(of.Value) : null;
            string? value = (name, of.Success) switch
            {
                ("name", false) => lab.Name,
                ("folder", false) => folder,
                ("node", false) => node.Name,
                ("guest", false) => GuestFolder.Find(lab.File, out noGuest),
                ("namespace", true) when named is not null => lab.NamespaceOf(named.Name),
                ("api", true) when named is not null => ApiAddress(named, folder),
                ("etcd", true) when named is { HasEtcd: true } => EtcdMember.Client(named),
                _ => null,
            };
            if (value is not null) return value;
            int line = text.AsSpan(0, match.Index).Count('\n') + 1, column = match.Index - text.LastIndexOf('\n', match.Index);
            errors.Add(line, column, "", of.Success && named is null && name is "namespace" or "api" or "etcd"
                ? $"{match.Value}: there is no node '{of.Value}' in this lab; nodes are {string.Join(", ", lab.Nodes.Select(n => n.Name))}"
                : name == "etcd" && named is not null ? $"{match.Value}: node '{named.Name}' has no member of etcd; give it the label "
                    + "sdnedge.etcd: member"
                : name == "guest" && !of.Success ? $"{match.Value}: {noGuest}"
                : $"{match.Value} is no variable of a lab; there are {Variables}");
            return match.Value;
        });
        return errors.Count == 0 ? filled : throw new LabException(string.Join('\n', errors.List));
    }

    private static string Flow(YamlValue value) => value switch
    {
        YamlText { IsNull: true } => "null",
        YamlText text => Quote(text.Text),
        YamlList list => $"[ {string.Join(", ", list.Items.Select(Flow))} ]",
        YamlMap map => $"{{ {string.Join(", ", map.Entries.Select(e => $"{Quote(e.Key.Text)}: {Flow(e.Value)}"))} }}",
        _ => throw new ArgumentOutOfRangeException(nameof(value), value, "is neither text, list nor mapping"),
    };

    // A string of JSON is one of YAML (YAML 1.2 section 5.7).
    private static string Quote(string text) => $"\"{JsonEncodedText.Encode(text)}\"";

    [GeneratedRegex(@"\$\{lab\.(?<name>[^}:\s]*)(:(?<node>[^}\s]*))?\}", RegexOptions.ExplicitCapture)]
    private static partial Regex Variable();
}
