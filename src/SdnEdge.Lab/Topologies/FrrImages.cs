using System.Text.RegularExpressions;
using SdnEdge.Core.Config;

namespace SdnEdge.Lab.Topologies;

/// <summary>Nodes of FRR's image: this machine's FRR runs in their place, with the files that the topology binds to
/// <c>/etc/frr</c>.</summary>
public static partial class TopologyLoader
{
    private const string FrrFolder = "/etc/frr";

    // A node of kind linux with an image of FRR is one of FRR. Returns its files; null for other kinds, and where nothing is bound to a
    // node of kind frr.
    private static FrrBinds? ReadFrrBinds(MapReader node, string name, ref NodeKind? kind, IReadOnlyList<Layer?> layers, string file,
        Unused unused)
    {
        bool isKind = kind == NodeKind.Frr;
        string? image = layers.LastOrDefault(l => l?.Image is not null)?.Image;
        if (image is not null && IsFrrImage(image) && kind is NodeKind.Linux or NodeKind.Frr)
        {
            kind = NodeKind.Frr;
            unused.AddFrr(image, name);
        }

        if (kind != NodeKind.Frr) return null;
        bool isBound = false;
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);   // by its name in /etc/frr
        foreach ((YamlText bind, string path) in layers.SelectMany(l => l?.Binds ?? []))
        {
            if (FrrFileOf(bind.Text) is not { } to) continue;
            isBound = true;
            string source = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file) ?? "",
                bind.Text.Split(':')[0].Replace("__clabNodeName__", name, StringComparison.Ordinal)));
            if (to.Length == 0 && Directory.Exists(source))
            {
                foreach (string one in Directory.GetFiles(source)) files[Path.GetFileName(one)] = one;
            }
            else if (to.Length > 0 && File.Exists(source)) files[to] = source;
            else node.Errors.Add(bind, path, $"there is no {(to.Length == 0 ? "folder" : "file")} {source}");
        }

        if (isKind && !isBound) return null;
        IEnumerable<string> configs = files.Where(f => f.Key != "frr.conf" && DaemonConfig().IsMatch(f.Key)).Select(f => f.Value);
        if (files.TryGetValue("frr.conf", out string? whole)) configs = configs.Prepend(whole);
        return new FrrBinds(files.GetValueOrDefault("daemons"), [.. configs]);
    }

    // frrouting/frr:9.1.0, quay.io/frrouting/frr, frr-debian: the last word of the path has 'frr' in it, as a word.
    private static bool IsFrrImage(string image) => FrrImage().IsMatch(image);

    // What a bind is in /etc/frr: a file's name, empty for the folder itself, null when it leads elsewhere.
    private static string? FrrFileOf(string bind)
    {
        string[] parts = bind.Split(':');
        if (parts.Length < 2) return null;
        string to = parts[1].TrimEnd('/');
        return to == FrrFolder ? "" : Path.GetDirectoryName(to) == FrrFolder ? Path.GetFileName(to) : null;
    }

    [GeneratedRegex(@"(^|[/_.-])frr([_.-][^/:@]*)?([:@][^/]*)?$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant
        | RegexOptions.ExplicitCapture)]
    private static partial Regex FrrImage();

    [GeneratedRegex("^(zebra|staticd|[a-z0-9]+d)\\.conf$", RegexOptions.ExplicitCapture)]
    private static partial Regex DaemonConfig();
}
