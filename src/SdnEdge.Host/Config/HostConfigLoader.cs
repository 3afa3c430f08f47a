using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Host.Config;

/// <summary>
/// Reads the configuration of a server host's agent. All errors are collected; a configuration comes out only when there is none.
/// </summary>
public static class HostConfigLoader
{
    /// <summary>Default, least and longest deadline of a step of the exec driver, milliseconds.</summary>
    public const int DefaultDeadlineMs = 30_000, MinDeadlineMs = 10, MaxDeadlineMs = 3_600_000;

    /// <summary>Reads <paramref name="text"/>; <paramref name="file"/> is only named in errors.</summary>
    public static HostConfigResult Load(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (tree is null) return new HostConfigResult(null, errors.List);
        if (tree is not YamlMap map)
        {
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: host-a");
            return new HostConfigResult(null, errors.List);
        }

        HostAgentConfig config = Read(new MapReader(map, "", errors));
        return new HostConfigResult(errors.Count == 0 ? config : null, errors.List);
    }

    private static HostAgentConfig Read(MapReader root)
    {
        string name = ReadName(root, "name", "host-a");
        string site = ReadName(root, "site", "dc-a");
        ApiConfig api = ApiConfigReader.Read(root);
        if (api.Unix is null && api.Tcp is null) root.Error("api", "is missing or empty; write api: { unix: /run/sdnedge/host-a.sock }");
        string folder = "";
        if (root.Map("state") is { } state)
        {
            folder = state.Text("folder", required: true, "/var/lib/sdnedge/host-a") ?? "";
            if (folder.Length > 0 && !folder.StartsWith('/'))
                state.Error("folder", $"'{folder}' is not an absolute path; write it as /var/lib/sdnedge/host-a");
            state.Finish();
        }
        else if (!root.Has("state"))
        {
            root.Error("state", "is missing; write state: { folder: /var/lib/sdnedge/host-a }, where the agent keeps what it promises");
        }

        SiteStoreConfig? store = root.Map("store") is { } siteStore ? ReadStore(siteStore) : null;
        List<ServerConfig> servers = ReadServers(root, store);
        MigrationLinkConfig? migration = root.Map("migration") is { } link ? ReadMigration(link) : null;
        if (!root.Has("migration") && servers.FirstOrDefault(s => s.Driver is QemuConfig) is { } guest)
            root.Error("migration", $"is missing: {guest.Name} is a guest of QEMU, whose memory is carried to other hosts; write "
                + "migration: { listen: \"192.0.2.1:7810\", certificate: ..., key: ..., clientCa: ..., peers: [...] }");
        IReadOnlyList<BfdConfig> bfd = BfdConfigReader.ReadOfHost(root);
        WitnessLinkConfig? witness = root.Map("witness") is { } guard ? ReadWitness(guard) : null;
        root.Finish();
        return new HostAgentConfig(name, site, api, folder, servers, migration, store, bfd.Count > 0 ? bfd : null, witness);
    }

    private static WitnessLinkConfig ReadWitness(MapReader witness)
    {
        string name = ReadName(witness, "name", "witness");
        string? api = witness.Text("api", required: true, "\"https://10.254.0.200:8443/\", or unix:/run/sdnedge/witness.sock");
        string? why = api is null ? null : ApiConfigReader.WhyNotApi(api);
        if (why is not null) witness.Error("api", why);
        bool isHttps = api is not null && api.StartsWith("https://", StringComparison.OrdinalIgnoreCase);
        string? certificate = PemFile("certificate", "host-a.crt"), key = PemFile("key", "host-a.key"),
            authority = PemFile("authority", "ca.crt");
        witness.Finish();
        return new WitnessLinkConfig(name, api ?? "", certificate, key, authority);

        string? PemFile(string field, string example)
        {
            string? path = witness.Text(field, example: $"/etc/sdnedge/{example}");
            if (isHttps && path is null)
                witness.Error(field, $"is missing: by https the witness knows a host by its certificate; write {field}: "
                    + $"/etc/sdnedge/{example}");
            else if (!isHttps && path is not null && api is not null && why is null)
                witness.Error(field, "has no effect on a unix socket, where the kernel says who calls; take it out");
            else if (path is not null && !path.StartsWith('/'))
                witness.Error(field, $"'{path}' is not an absolute path; write it as /etc/sdnedge/{example}");
            return path;
        }
    }

    private static SiteStoreConfig ReadStore(MapReader map)
    {
        string api = Socket("api", "/run/sdnedge/store-a.sock"), nbd = Socket("nbd", "/run/sdnedge/store-a.nbd");
        map.Finish();
        return new SiteStoreConfig(api, nbd);

        string Socket(string key, string example)
        {
            string path = map.Text(key, required: true, example) ?? "";
            if (path.Length > 0 && !path.StartsWith('/')) map.Error(key,
                $"'{path}' is not an absolute path; write the store's socket, as {example}");
            return path;
        }
    }

    private static MigrationLinkConfig? ReadMigration(MapReader link)
    {
        var peers = new List<MigrationPeer>();
        foreach (MapReader item in link.Maps("peers"))
        {
            string name = ReadName(item, "name", "host-b");
            if (name.Length > 0 && peers.Exists(p => p.Name == name)) item.Error("name",
                $"'{name}' is there twice; each host is named once");
            if (item.Text("address", required: true, "\"192.0.2.2:7810\"") is { } text)
            {
                (IpAddress address, int port) = ApiConfigReader.ReadEndPoint(item, "address", text);
                peers.Add(new MigrationPeer(name, address, port));
            }

            item.Finish();
        }

        if (!link.Has("peers")) link.Error("peers",
            "is missing; write peers: [{ name: host-b, address: \"192.0.2.2:7810\" }], the hosts that guests go to and come from");
        long bandwidth = link.Number("bandwidth", 1, 1_000_000, 0) * 125_000;
        bool compress = link.Choice("compress", false, ("none", false), ("zstd", true));
        return ApiConfigReader.ReadTcp(link, "a guest's memory is not carried", "leave migration: out where no guest moves") is { } listen
            ? new MigrationLinkConfig(listen, peers, bandwidth, compress) : null;
    }

    private static List<ServerConfig> ReadServers(MapReader root, SiteStoreConfig? store)
    {
        var list = new List<ServerConfig>();
        foreach (MapReader item in root.Maps("servers"))
        {
            string name = ReadName(item, "name", "vs");
            if (name.Length > 0 && list.Exists(s => s.Name == name)) item.Error("name",
                $"'{name}' is there twice; each server is named once");
            if (!item.Has("runs"))
                item.Error("runs", "is missing; write runs: true at the one host where the server runs before its first move, runs: "
                    + "false at all others");
            bool runs = item.Flag("runs", false);
            MapReader? standIn = item.Map("standIn"), exec = item.Map("exec"), qemu = item.Map("qemu");
            ServerDriverConfig? driver = null;
            string[] said = [.. ((string[])["standIn", "exec", "qemu"]).Where(item.Has)];
            if (said.Length != 1)
                item.Error(said.Length > 1 ? said[^1] : "name",
                    "exactly one of standIn:, exec: and qemu: says how the server is driven; write one of them");
            else driver = standIn is not null ? ReadStandIn(standIn)
                : exec is not null ? ReadExec(exec)
                : qemu is not null ? QemuConfigReader.Read(qemu, store)
                : null;
            List<string> volumes = ReadVolumes(item, driver, store);
            item.Finish();
            if (driver is not null) list.Add(new ServerConfig(name, runs, driver, volumes.Count > 0 ? volumes : null));
        }

        if (!root.Has("servers")) root.Error("servers", "is missing; write servers: and one '- name: ...' a server that this host may run");
        return list;
    }

    // Those that are a guest's disks are known by them.
    private static List<string> ReadVolumes(MapReader item, ServerDriverConfig? driver, SiteStoreConfig? store)
    {
        List<string> volumes = [.. (driver as QemuConfig)?.Volumes ?? []];
        if (!item.Has("volumes")) return volumes;
        if (store is null) item.Error("volumes", "need the site's store; write store: { api: /run/sdnedge/store-a.sock, nbd: "
            + "/run/sdnedge/store-a.nbd } at the top of the file");
        if (driver is ExecConfig { Undoable: false }) item.Error("volumes",
            "need a server whose hand-over can be undone: nobody could seal them in time; write exec.undoable: true, or leave volumes: "
                + "out");
        foreach ((YamlText text, string path) in item.Texts("volumes"))
        {
            if (volumes.Contains(text.Text)) item.Errors.Add(text, path, $"'{text.Text}' is there twice; name each volume once");
            else volumes.Add(text.Text);
        }

        return volumes;
    }

    private static StandInConfig ReadStandIn(MapReader map)
    {
        string space = ReadName(map, "namespace", "clab-figure1-vs");
        string leg = map.Text("leg", required: true, "leg-a") ?? "";
        if (leg.Length > 0 && (leg.Length > NodeConfigLoader.MaxDeviceName || leg is "." or ".."
            || leg.Any(c => c is '/' or ':' || char.IsWhiteSpace(c))))
        {
            map.Error("leg", $"'{leg}' is not a device name; write 1 to {NodeConfigLoader.MaxDeviceName} characters without '/', ':' or "
                + "spaces, such as leg-a");
        }

        MacAddress mac = default;
        if (map.Text("mac", required: true, "\"02:00:00:00:01:10\"") is { } text
            && (!MacAddress.TryParse(text, null, out mac) || mac.IsMulticast || mac.Value == 0))
        {
            map.Error("mac", $"'{text}' is not the MAC address of a station; write six hex octets in quotes, \"02:00:00:00:01:10\"");
        }

        var addresses = new List<IpAddress>();
        foreach ((YamlText item, string path) in map.Texts("addresses"))
        {
            if (!IpAddress.TryParse(item.Text, out IpAddress address) || address.IsMulticast || address.Bits == 0)
                map.Errors.Add(item, path, $"'{item.Text}' is not the address of a server; write it without a length, as 10.1.1.10 or "
                    + "\"fd00:1:1::10\"");
            else if (addresses.Contains(address)) map.Errors.Add(item, path, $"'{address}' is there twice; keep one");
            else addresses.Add(address);
        }

        if (!map.Has("addresses")) map.Error("addresses",
            "is missing; write addresses: [10.1.1.10], which are announced when the server comes to run here");
        map.Finish();
        return new StandInConfig(space, leg, mac, addresses);
    }

    private static ExecConfig? ReadExec(MapReader map)
    {
        if (!map.Has("undoable"))
            map.Error("undoable", "is missing; write undoable: true when a server that was handed over can still be resumed at the "
                + "source, else false");
        bool undoable = map.Flag("undoable", true);
        int deadline = (int)map.Number("deadlineMs", MinDeadlineMs, MaxDeadlineMs, DefaultDeadlineMs);
        ExecStep? look = Step("look"), prepare = Step("prepare"), stop = Step("stop"), handOver = Step("handOver", needed: !undoable),
            activate = Step("activate"),
            resume = Step("resume"), cancel = Step("cancel"), kill = Step("kill"), mirror = Step("mirror", needed: false);
        map.Finish();
        return look is null || prepare is null || stop is null || activate is null || resume is null || cancel is null || kill is null
            ? null
            : new ExecConfig(undoable, look, prepare, stop, handOver, activate, resume, cancel, kill, mirror);

        ExecStep? Step(string key, bool needed = true)
        {
            if (map.Map(key) is not { } step)
            {
                if (needed && !map.Has(key)) map.Error(key, $"is missing; write {key}: {{ run: [/usr/local/lib/vs/{key}] }}");
                return null;
            }

            List<string> words = [.. step.Texts("run").Select(t => t.Item.Text)];
            if (words.Count == 0) step.Error("run",
                $"is missing or empty; write run: [/usr/local/lib/vs/{key}], the program and its arguments");
            else if (!words[0].StartsWith('/')) step.Error("run",
                $"'{words[0]}' is not an absolute path; commands are not searched for in PATH");
            int own = (int)step.Number("deadlineMs", MinDeadlineMs, MaxDeadlineMs, deadline);
            step.Finish();
            return words.Count == 0 ? null : new ExecStep(words, TimeSpan.FromMilliseconds(own));
        }
    }

    // A name is part of a file's name and of a URL.
    private static string ReadName(MapReader item, string key, string example)
    {
        string? text = item.Text(key, required: true, example);
        if (text is null) return "";
        if (text.Length is > 0 and <= 63 && text[0] != '.'
            && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')) return text;
        item.Error(key, $"'{text}' is not a name; write 1 to 63 letters, digits, dashes, dots or underscores, such as {example}");
        return "";
    }
}
