using System.Globalization;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Replication;

namespace SdnEdge.Storage.Config;

/// <summary>Reads the configuration of a block store. All errors are collected; a configuration comes out only when there is
/// none.</summary>
public static partial class StoreConfigLoader
{
    /// <summary>NBD's port.</summary>
    public const int NbdPort = 10809;

    /// <summary>A volume's size is a multiple of this, bytes.</summary>
    public const int SizeUnit = 4096;

    private const string Unprotected = "go-on needs a manager that has it on record that the replica is stale, before the first write "
        + "without it is answered; name it (manager: { api: ... }), or write ";

    // Suffixes of sizes: of 1024, as fdisk and qemu-img read them.
    private static readonly (string Suffix, long Bytes)[] s_units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("K", 1L << 10), ("M", 1L << 20), ("G", 1L << 30),
        ("T", 1L << 40), ("B", 1),
    ];

    /// <summary>Reads <paramref name="text"/>; <paramref name="file"/> is only named in errors.</summary>
    public static StoreConfigResult Load(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (tree is null) return new StoreConfigResult(null, errors.List);
        if (tree is not YamlMap map)
        {
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: store-a");
            return new StoreConfigResult(null, errors.List);
        }

        StoreConfig config = Read(new MapReader(map, "", errors));
        return new StoreConfigResult(errors.Count == 0 ? config : null, errors.List);
    }

    /// <summary>Reads a size: a number of bytes, or one with KiB, MiB, GiB or TiB. Null = it is none.</summary>
    public static long? ReadSize(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        (string suffix, long unit) = s_units.FirstOrDefault(u => text.EndsWith(u.Suffix, StringComparison.OrdinalIgnoreCase), ("", 1));
        return long.TryParse(text.AsSpan(0, text.Length - suffix.Length).Trim(), NumberStyles.None, CultureInfo.InvariantCulture,
            out long n)
            && n <= long.MaxValue / unit ? n * unit : null;
    }

    private static StoreConfig Read(MapReader root)
    {
        string name = root.Name("name", "store-a"), site = root.Name("site", "dc-a");
        ApiConfig api = ApiConfigReader.Read(root);
        if (api.Unix is null && api.Tcp is null) root.Error("api", "is missing or empty; write api: { unix: /run/sdnedge/store-a.sock }");
        string folder = "";
        if (root.Map("state") is { } state)
        {
            folder = AbsolutePath(state, "folder", "/var/lib/sdnedge/store-a", required: true) ?? "";
            state.Finish();
        }
        else if (!root.Has("state"))
        {
            root.Error("state", "is missing; write state: { folder: /var/lib/sdnedge/store-a }, where the volumes are");
        }

        ExportConfig exports = ReadExports(root);
        ReplicationLinkConfig? replication = root.Map("replication") is { } link ? ReadReplication(link) : null;
        StoreManagerConfig? manager = root.Map("manager") is { } at ? ReadManager(at) : null;
        List<VolumeConfig> volumes = ReadVolumes(root, replication, known: !root.Has("replication") || replication is not null,
            hasManager: root.Has("manager"));
        MarkRetention? marks = ReadMarks(root);
        root.Finish();
        return new StoreConfig(name, site, api, folder, exports, replication, volumes, marks) { Manager = manager };
    }

    private static ExportConfig ReadExports(MapReader root)
    {
        if (root.Map("nbd") is not { } nbd)
        {
            if (!root.Has("nbd")) root.Error("nbd",
                "is missing; write nbd: { unix: /run/sdnedge/store-a.nbd }, where clients find the volumes");
            return new ExportConfig(null, null);
        }

        string? unix = AbsolutePath(nbd, "unix", "/run/sdnedge/store-a.nbd", required: false);
        ExportTcpConfig? tcp = nbd.Map("tcp") is { } map ? ReadTcp(map) : null;
        if (!nbd.Has("unix") && !nbd.Has("tcp")) nbd.Error("unix", "is missing, and so is tcp; write at least one of them");
        nbd.Finish();
        return new ExportConfig(unix, tcp);
    }

    private static ExportTcpConfig? ReadTcp(MapReader map)
    {
        if (map.Flag("insecure", false))
        {
            foreach (string key in (string[])["certificate", "key", "clientCa"])
            {
                if (map.Has(key)) map.Error(key, "has no effect at an address that is named insecure; take one of the two out");
            }

            (IpAddress Address, int Port) at = map.Text("listen", required: true, "\"127.0.0.1:10809\"") is { } text
                ? ApiConfigReader.ReadEndPoint(map, "listen", text) : default;
            map.Finish();
            return new ExportTcpConfig(at.Address, at.Port, null);
        }

        ApiTcpConfig? tls = ApiConfigReader.ReadTcp(map, "volumes are not exported by TCP",
            "write insecure: true, when nobody but friends can reach the address");
        return tls is null ? null : new ExportTcpConfig(tls.Address, tls.Port, tls);
    }

    private static StoreManagerConfig ReadManager(MapReader manager)
    {
        string? api = ReadManagerApi(manager);
        bool isHttps = api is not null && IsHttps(api);
        string? certificate = File("certificate", "store-a.crt"), key = File("key", "store-a.key"), authority = File("authority", "ca.crt");
        manager.Finish();
        return new StoreManagerConfig(api ?? "", certificate, key, authority);

        string? File(string name, string example)
        {
            string? path = AbsolutePath(manager, name, $"/etc/sdnedge/{example}", required: false);
            if (isHttps && string.IsNullOrEmpty(path) && !manager.Has(name))
                manager.Error(name,
                    $"is missing: by https the manager knows a store by its certificate; write {name}: /etc/sdnedge/{example}");
            else if (!isHttps && path is not null && api is not null)
                manager.Error(name, "has no effect on a unix socket, where the kernel says who calls; take it out");
            return path;
        }
    }

    // One address; of several managers, of which one leads, a list of them.
    private static string? ReadManagerApi(MapReader manager)
    {
        const string Example = "\"https://10.254.0.100:8443/\", or unix:/run/sdnedge/mms.sock";
        if (manager.Node["api"] is not YamlList)
        {
            string? api = manager.Text("api", required: true, Example);
            if (api is not null && ApiConfigReader.WhyNotApi(api) is { } why) manager.Error("api", why);
            return api;
        }

        var all = new List<string>();
        foreach ((YamlText text, string path) in manager.Texts("api"))
        {
            if (ApiConfigReader.WhyNotApi(text.Text) is { } why) manager.Errors.Add(text, path, why);
            else if (all.Count > 0 && IsHttps(text.Text) != IsHttps(all[0]))
                manager.Errors.Add(text, path, "all managers are reached by https, or all by their unix sockets");
            else all.Add(text.Text);
        }

        if (all.Count == 0) manager.Error("api", $"names no manager; write api: [ {Example} ]");
        return string.Join(',', all);
    }

    private static bool IsHttps(string api) => api.StartsWith("https://", StringComparison.OrdinalIgnoreCase);

    private static ReplicationLinkConfig? ReadReplication(MapReader link)
    {
        var peers = new List<StorePeer>();
        foreach (MapReader item in link.Maps("peers"))
        {
            string name = item.Name("name", "store-b");
            if (name.Length > 0 && peers.Exists(p => p.Name == name)) item.Error("name",
                $"'{name}' is there twice; each store is named once");
            if (item.Text("address", required: true, "\"192.0.2.2:7820\"") is { } text)
            {
                (IpAddress address, int port) = ApiConfigReader.ReadEndPoint(item, "address", text);
                peers.Add(new StorePeer(name, address, port));
            }

            item.Finish();
        }

        if (!link.Has("peers")) link.Error("peers",
            "is missing; write peers: [{ name: store-b, address: \"192.0.2.2:7820\" }], the stores with this one's replicas");
        long bandwidth = link.Number("bandwidth", 1, 1_000_000, 0) * 125_000;
        LinkCompression compress = link.Choice("compress", LinkCompression.None, ("none", LinkCompression.None),
            ("zstd", LinkCompression.Zstd), ("lz4", LinkCompression.Lz4));
        return ApiConfigReader.ReadTcp(link, "volumes are not replicated",
            "leave replication: out where no volume has a replica") is { } listen
            ? new ReplicationLinkConfig(listen, peers, bandwidth, compress) : null;
    }

    private static List<VolumeConfig> ReadVolumes(
        MapReader root, ReplicationLinkConfig? replication, bool known, bool hasManager)
    {
        var list = new List<VolumeConfig>();
        foreach (MapReader item in root.Maps("volumes"))
        {
            string name = item.Name("name", "vs-disk");
            if (name.Length > 0 && list.Exists(v => v.Name == name)) item.Error("name",
                $"'{name}' is there twice; each volume is named once");
            long size = 0;
            if (item.Text("size", required: true, "8GiB") is { } text)
            {
                size = ReadSize(text) ?? 0;
                if (size <= 0 || size % SizeUnit != 0) item.Error("size",
                    $"'{text}' is not a size; write a multiple of {SizeUnit} bytes, as 8GiB or 512MiB");
            }

            string? image = AbsolutePath(item, "image", "/dev/vg0/vs-disk", required: false);
            string? replica = item.Has("replica") ? item.Name("replica", "store-b") : null;
            if (replica is { Length: > 0 } && known && !(replication?.Peers ?? []).Any(p => p.Name == replica))
                item.Error("replica", $"'{replica}' is not among replication.peers; add it there, or name one of "
                    + $"{string.Join(", ", (replication?.Peers ?? []).Select(p => p.Name).DefaultIfEmpty("(none)"))}");
            Guid? identity = null;
            if (item.Text("id", required: false, "f9d5ee75-3aef-4407-893f-c8ee51c9f404") is { Length: > 0 } id)
            {
                if (Guid.TryParse(id, out Guid read)) identity = read;
                else item.Error("id", $"'{id}' is not an identity; write it as 'sdnedge store list' shows it");
                if (replica is null) item.Error("id", "has no effect without replica:; take it out");
            }

            if (replica is not null && !item.Has("owner"))
                item.Error("owner", "is missing; write owner: true at the one store that the guest writes to before its first move, "
                    + "owner: false "
                    + "at the other");
            bool owner = item.Flag("owner", replica is null);
            if (replica is null)
            {
                foreach (string key in (string[])["mode", "lag", "peerGone"])
                    if (item.Has(key)) item.Error(key, "has no effect without replica:; name the store with its replica, or take it out");
            }

            ReplicationMode mode = item.Choice("mode", ReplicationMode.Async, ("async", ReplicationMode.Async),
                ("semantic", ReplicationMode.Semantic), ("sync", ReplicationMode.Sync));
            ReplicationPolicy policy = ReadPolicy(item, hasManager);
            MarkRetention? marks = ReadMarks(item);
            item.Finish();
            list.Add(new VolumeConfig(name, size, image, owner, replica, mode, policy, marks) { Identity = identity });
        }

        return list;
    }

    private static ReplicationPolicy ReadPolicy(MapReader item, bool hasManager)
    {
        var policy = new ReplicationPolicy();
        if (item.Map("lag") is { } lag)
        {
            long bytes = 0;
            if (lag.Text("bytes") is { } text && (bytes = ReadSize(text) ?? 0) <= 0)
                lag.Error("bytes", $"'{text}' is not a size; write it as 256MiB");
            policy = policy with
            {
                LagBytes = bytes, LagTime = lag.Number("seconds", 1, 86_400, 0) * 1_000_000_000,
                AtLagBound = lag.Choice("atBound", LagAction.Slow, ("slow", LagAction.Slow), ("go-on", LagAction.GoOn)),
            };
            if (policy.AtLagBound == LagAction.GoOn && !hasManager) lag.Error("atBound", Unprotected + "slow");
            lag.Finish();
        }

        if (item.Map("peerGone") is { } gone)
        {
            policy = policy with
            {
                PeerGone = gone.Choice("then", PeerGoneAction.Stop, ("stop", PeerGoneAction.Stop), ("go-on", PeerGoneAction.GoOn)),
                PeerGoneAfter = gone.Number("afterMs", 100, 3_600_000, 5_000) * 1_000_000,
            };
            if (policy.PeerGone == PeerGoneAction.GoOn && !hasManager) gone.Error("then", Unprotected + "stop");
            gone.Finish();
        }

        return policy;
    }

    private static string? AbsolutePath(MapReader map, string key, string example, bool required)
    {
        string? path = map.Text(key, required, example);
        if (path is not { Length: > 0 } || path.StartsWith('/')) return path;
        map.Error(key, $"'{path}' is not an absolute path; write it as {example}");
        return null;
    }
}
