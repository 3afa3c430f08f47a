using SdnEdge.Core.Config;
using SdnEdge.Core.Leases;

namespace SdnEdge.Witness.Config;

/// <summary>The configuration of a witness.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Api">Where its API listens, and who may do what.</param>
/// <param name="StateFolder">Where it keeps what it promises.</param>
/// <param name="Rules">What it grants.</param>
public sealed record WitnessConfig(string Name, ApiConfig Api, string StateFolder, LeaseRules Rules);

/// <summary>A configuration, or everything that is wrong with it.</summary>
/// <param name="Config">The configuration; null when there is any error.</param>
/// <param name="Errors">All errors by place in the file.</param>
public sealed record WitnessConfigResult(WitnessConfig? Config, IReadOnlyList<ConfigError> Errors);

/// <summary>Reads the configuration of a witness. All errors are collected; a configuration comes out only when there is none.</summary>
public static class WitnessConfigLoader
{
    /// <summary>Shortest and longest TTL of a lease, milliseconds.</summary>
    public const int MinTtlMs = 300, MaxTtlMs = 60_000;

    /// <summary>Smallest and largest bound of the drift, parts per million.</summary>
    public const int MinDriftPpm = 100, MaxDriftPpm = 100_000;

    /// <summary>Shortest and longest standstill, milliseconds.</summary>
    public const int MinStandstillMs = 50, MaxStandstillMs = 60_000;

    /// <summary>Reads <paramref name="text"/>; <paramref name="file"/> is only named in errors.</summary>
    public static WitnessConfigResult Load(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (tree is null) return new WitnessConfigResult(null, errors.List);
        if (tree is not YamlMap map)
        {
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: witness");
            return new WitnessConfigResult(null, errors.List);
        }

        WitnessConfig config = Read(new MapReader(map, "", errors));
        return new WitnessConfigResult(errors.Count == 0 ? config : null, errors.List);
    }

    private static WitnessConfig Read(MapReader root)
    {
        string name = root.Name("name", "witness");
        ApiConfig api = ApiConfigReader.Read(root);
        if (api.Unix is null && api.Tcp is null)
            root.Error("api", "is missing or empty; write api: { tcp: { listen: \"10.254.0.200:8443\", certificate: ..., key: ..., "
                + "clientCa: ... } }");
        string folder = "";
        if (root.Map("state") is { } state)
        {
            folder = state.Text("folder", required: true, "/var/lib/sdnedge/witness") ?? "";
            if (folder.Length > 0 && !folder.StartsWith('/'))
                state.Error("folder", $"'{folder}' is not an absolute path; write it as /var/lib/sdnedge/witness");
            state.Finish();
        }
        else if (!root.Has("state"))
        {
            root.Error("state", "is missing; write state: { folder: /var/lib/sdnedge/witness }, where it keeps what it promises");
        }

        var rules = new LeaseRules();
        if (root.Map("leases") is { } leases)
        {
            rules = new LeaseRules((int)leases.Number("ttlMs", MinTtlMs, MaxTtlMs, rules.TtlMs),
                (int)leases.Number("driftPpm", MinDriftPpm, MaxDriftPpm, rules.DriftPpm),
                (int)leases.Number("standstillMs", MinStandstillMs, MaxStandstillMs, rules.StandstillMs));
            leases.Finish();
        }

        root.Finish();
        return new WitnessConfig(name, api, folder, rules);
    }
}
