using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms.Config;

/// <summary>A configuration, or everything that is wrong with it.</summary>
/// <param name="Config">The configuration; null when there is any error.</param>
/// <param name="Errors">All errors by place in the file.</param>
public sealed record MmsConfigResult(MmsConfig? Config, IReadOnlyList<ConfigError> Errors);

/// <summary>
/// Reads the manager's configuration: daemons first, then the sites that name them, then the groups that name all of these, so that each
/// reference is resolved where it is read. All errors are collected; a configuration is returned only when there is none.
/// </summary>
public static class MmsConfigLoader
{
    /// <summary>Reads <paramref name="text"/>. Relative paths begin at <paramref name="file"/>, which is not opened.</summary>
    public static MmsConfigResult Load(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (tree is null) return new MmsConfigResult(null, errors.List);
        if (tree is not YamlMap map)
        {
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: mms");
            return new MmsConfigResult(null, errors.List);
        }

        MmsConfig config = Read(new MapReader(map, "", errors), Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/");
        return new MmsConfigResult(errors.Count == 0 ? config : null, errors.List);
    }

    private static MmsConfig Read(MapReader root, string folder)
    {
        string name = root.Name("name", "mms");
        Defined<DaemonConfig> pes = ReadDaemons(root, "pes", "PE", "pe-a"), hosts = ReadDaemons(root, "hosts", "host", "host-a");
        Defined<SiteConfig> sites = ReadSites(root, hosts);
        EtcdConfig? etcd = root.Node["journal"] is YamlMap ? EtcdConfigReader.Read(root.Map("journal")!) : null;
        DaemonConfig? witness = root.Map("witness") is { } third ? ReadDaemon(third, "witness", []) : null;
        string? https = pes.All.Concat(hosts.All).Append(witness).FirstOrDefault(d => d?.IsHttps ?? false)?.Name ?? (etcd is { IsHttps: true } ? "etcd" : null);
        var config = new MmsConfig
        {
            Name = name,
            Journal = etcd is null ? ReadJournal(root, name.Length > 0 ? name : "mms") : $"etcd {etcd.Prefix}",
            Etcd = etcd,
            Api = ApiConfigReader.Read(root),
            Identity = ReadIdentity(root, folder, https),
            Limits = ReadLimits(root),
            Pes = pes.All,
            Hosts = hosts.All,
            Witness = witness,
            Sites = sites.All,
            Groups = new GroupReader(pes, hosts, sites).Read(root),
        };
        root.Finish();
        return config;
    }

    private static string ReadJournal(MapReader root, string name)
    {
        string usual = $"/var/lib/sdnedge/{name}.db";
        string text = root.Text("journal", example: usual) ?? usual;
        if (!text.StartsWith('/')) root.Error("journal", $"'{text}' is not an absolute path; write it as {usual}");
        return text;
    }

    private static IdentityConfig? ReadIdentity(MapReader root, string folder, string? https)
    {
        if (root.Map("identity") is not { } identity)
        {
            if (https is not null && !root.Has("identity"))
            {
                root.Errors.Add(root.Node, "identity",
                    $"is missing: '{https}' is reached by https, which needs the manager's certificate; "
                    + "write identity: { certificate: mms.crt, key: mms.key, authority: ca.crt }");
            }

            return null;
        }

        var config = new IdentityConfig(ReadPath("certificate", "mms.crt"), ReadPath("key", "mms.key"), ReadPath("authority", "ca.crt"));
        identity.Finish();
        return config;

        string ReadPath(string field, string example)
        {
            string? path = identity.Text(field, required: true, example);
            if (path is { Length: 0 }) identity.Error(field, $"is empty; write {field}: {example}");
            return path is null ? "" : Path.GetFullPath(Path.Combine(folder, path));
        }
    }

    private static LimitsConfig ReadLimits(MapReader root)
    {
        var usual = new LimitsConfig();
        if (root.Map("limits") is not { } limits) return usual;
        var config = new LimitsConfig(
            (int)limits.Number("migrations", 1, 1000, usual.Migrations), (int)limits.Number("servers", 1, 10_000, usual.Servers));
        limits.Finish();
        return config;
    }

    private static Defined<DaemonConfig> ReadDaemons(MapReader root, string key, string what, string example)
    {
        var defined = new Defined<DaemonConfig>(what, key);
        var addresses = new Dictionary<string, string>();
        foreach (MapReader item in root.Maps(key))
        {
            DaemonConfig daemon = ReadDaemon(item, example, addresses);
            defined.Add(item, daemon.Name, daemon);
        }

        return defined;
    }

    private static DaemonConfig ReadDaemon(MapReader item, string example, Dictionary<string, string> addresses)
    {
        string name = item.Name("name", example);
        string? api = item.Text("api", required: true, "\"https://10.254.0.1:8443/\", or unix:/run/sdnedge/pe-a.sock");
        if (api is not null && ApiConfigReader.WhyNotApi(api) is { } why) item.Error("api", why);
        else if (api is not null && !addresses.TryAdd(api, name))
            item.Error("api", $"'{api}' is {addresses[api]}'s; each daemon has an address of its own");
        item.Finish();
        return new DaemonConfig(name, api ?? "");
    }

    private static Defined<SiteConfig> ReadSites(MapReader root, Defined<DaemonConfig> hosts)
    {
        var sites = new Defined<SiteConfig>("site", "sites");
        var siteOf = new Dictionary<DaemonConfig, string>();
        foreach (MapReader item in root.Maps("sites"))
        {
            string name = item.Name("name", "dc-a");
            var there = new List<DaemonConfig>();
            foreach ((YamlText text, string path) in item.Texts("hosts"))
            {
                if (hosts.Find(text, path, item.Errors) is not { } host) continue;
                if (siteOf.TryAdd(host, name)) there.Add(host);
                else item.Errors.Add(text, path, $"host '{host.Name}' is at site '{siteOf[host]}' already; a host is at one site");
            }

            item.Finish();
            sites.Add(item, name, new SiteConfig(name, there));
        }

        return sites;
    }
}
