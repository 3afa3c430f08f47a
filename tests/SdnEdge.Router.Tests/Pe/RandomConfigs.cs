using System.Globalization;
using System.Text;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>What is wrong with a configuration that a PE is to refuse.</summary>
internal enum ConfigFault
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>It is no YAML.</summary>
    Syntax,
    /// <summary>A value out of its range.</summary>
    Value,
    /// <summary>A route by a port that there is not.</summary>
    Name,
    /// <summary>Something that takes effect at start only.</summary>
    Restart,
    /// <summary>A port more, whose device cannot be opened.</summary>
    NewDevice,
    /// <summary>A port that there may be already, with such a device.</summary>
    OtherDevice,
    /// <summary>Two of them.</summary>
    TwoDevices,
}

/// <summary>Configurations of a PE made by chance from a seed: each is the one before it with some changes.</summary>
internal sealed class RandomConfigs(int seed, int bgpPort = 0)
{
    /// <summary>Devices whose names begin so cannot be opened.</summary>
    public const string Broken = "bad";

    private readonly Random _random = new(seed);
    private readonly SortedDictionary<int, Port> _ports = new() { [0] = new Port("v0", 1500, 1, "default", null) };
    private readonly SortedDictionary<int, (string Vrf, string To)> _static = [];
    private readonly SortedDictionary<int, (int Remote, uint Key)> _tunnels = [];
    private readonly SortedSet<int> _peers = [];
    private readonly SortedSet<string> _vrfs = [];
    private string _advertise = "connected";

    private sealed record Port(string Device, int Mtu, int Subnet, string Vrf, int? Mac);

    /// <summary>Changes some of it.</summary>
    public void Next()
    {
        for (int changes = _random.Next(1, 6); changes > 0; changes--) Change();

        // What names something that has gone goes, too.
        foreach ((int key, Port port) in _ports.Where(p => p.Value.Vrf != "default" && !_vrfs.Contains(p.Value.Vrf)).ToArray())
            _ports[key] = port with { Vrf = "default" };
        foreach ((int key, (string vrf, string to)) in _static.ToArray())
        {
            bool fits = (vrf == "default" || _vrfs.Contains(vrf)) && (to == "discard: true"
                || (to.StartsWith("port: p", StringComparison.Ordinal)
                    ? _ports.Any(p => to == $"port: p{p.Key}" && p.Value.Vrf == vrf)
                    : _tunnels.Keys.Any(t => to == $"tunnel: t{t}")));
            if (!fits) _static.Remove(key);
        }
    }

    /// <summary>The configuration, with a fault.</summary>
    public string Text(ConfigFault fault)
    {
        var text = new StringBuilder($"""
            name: pe-r
            routerId: {(fault == ConfigFault.Restart ? "10.255.0.9" : "10.255.0.1")}
            as: 65000
            loopbacks: [127.0.0.1]
            {(bgpPort > 0 ? "host: { device: host0 }" : "")}
            vrfs:
              - {"{ name: default }"}

            """);
        foreach (string vrf in _vrfs) Line($"  - {{ name: {vrf}, key: {(vrf == "red" ? 7 : 8)} }}");
        Line("ports:");
        string[] broken = [.. _ports.Keys.Where(_ => _random.Next(2) == 0).Take(1).Select(k => $"p{k}")];
        foreach ((int key, Port port) in _ports)
        {
            string device = fault == ConfigFault.OtherDevice && (broken.Length == 0 ? key == _ports.First().Key : broken[0] == $"p{key}")
                ? Broken + "0" : port.Device;
            int mtu = fault == ConfigFault.Value && key == _ports.First().Key ? 100 : port.Mtu;
            string mac = port.Mac is { } last ? $", mac: \"02:00:00:00:00:{last:x2}\"" : "";
            Line($"  - {{ name: p{key}, device: {device}, mtu: {mtu}, addresses: [10.{key}.{port.Subnet}.1/24], vrf: {port.Vrf}{mac} }}");
        }

        for (int i = 0; i < (fault switch { ConfigFault.NewDevice => 1, ConfigFault.TwoDevices => 2, _ => 0 }); i++)
            Line($"  - {{ name: more{i}, device: {Broken}{i + 1}, addresses: [10.9{i}.1.1/24] }}");
        if (_static.Count > 0 || fault == ConfigFault.Name) Line("static:");
        foreach ((int key, (string vrf, string to)) in _static) Line($"  - {{ prefix: 10.{100 + key}.0.0/16, vrf: {vrf}, {to} }}");
        if (fault == ConfigFault.Name) Line("  - { prefix: 10.99.0.0/16, port: nowhere }");
        if (_tunnels.Count > 0) Line("tunnels:");
        foreach ((int key, (int remote, uint gre)) in _tunnels) Line($"  - {{ name: t{key}, remote: 10.77.0.{remote}, key: {gre} }}");
        Line($"bgp:\n  advertise: [{_advertise}]");
        if (bgpPort > 0) Line($"  port: {bgpPort}");
        if (_peers.Count > 0 && bgpPort > 0) Line("  peers:");
        foreach (int peer in _peers.Where(_ => bgpPort > 0)) Line($"    - {{ address: 10.200.0.{peer}, as: 65000, passive: true }}");
        if (fault == ConfigFault.Syntax) text.Insert(_random.Next(text.Length / 2, text.Length), "\n}{ [\n");
        return text.ToString();

        void Line(string line) => text.Append(CultureInfo.InvariantCulture, $"{line}\n");
    }

    /// <summary>The devices that it names.</summary>
    public IReadOnlyList<string> Devices => [.. _ports.Values.Select(p => p.Device)];

    private void Change()
    {
        int key = _random.Next(6);
        switch (_random.Next(9))
        {
            case 0:
                _ports.TryAdd(key, new Port(FreeDevice(), 1500, 1, "default", null));
                break;
            case 1 when _ports.Count > 1:
                _ports.Remove(_ports.Keys.ElementAt(_random.Next(_ports.Count)));
                break;
            case 2:
                // Two ports swap their devices, or one takes another.
                int one = Any(), other = Any();
                if (one == other) _ports[one] = _ports[one] with { Device = FreeDevice() };
                else (_ports[one], _ports[other]) = (_ports[one] with { Device = _ports[other].Device },
                    _ports[other] with { Device = _ports[one].Device });
                break;
            case 3:
                int which = Any();
                _ports[which] = _ports[which] with { Mtu = _random.Next(1280, 9000), Subnet = _random.Next(1, 9) };
                break;
            case 4:
                int its = Any();
                _ports[its] = _ports[its] with
                {
                    Mac = _random.Next(3) == 0 ? null : _random.Next(2, 200),
                    Vrf = _vrfs.Count > 0 && _random.Next(2) == 0 ? _vrfs.ElementAt(_random.Next(_vrfs.Count)) : "default",
                };
                break;
            case 5:
                string vrf = _random.Next(2) == 0 ? "red" : "blue";
                if (!_vrfs.Remove(vrf)) _vrfs.Add(vrf);
                break;
            case 6:
                int port = Any();
                if (_static.Remove(key)) break;
                _static[key] = _random.Next(3) switch
                {
                    0 => ("default", "discard: true"),
                    1 when _tunnels.Count > 0 => ("default", $"tunnel: t{_tunnels.Keys.First()}"),
                    _ => (_ports[port].Vrf, $"port: p{port}"),
                };
                break;
            case 7:
                if (!_tunnels.Remove(key)) _tunnels[key] = (key + 1, (uint)_random.Next(1, 1000));
                break;
            default:
                _advertise = _advertise == "connected" ? "connected, static" : "connected";
                if (!_peers.Remove(key + 1)) _peers.Add(key + 1);
                break;
        }
    }

    private int Any() => _ports.Keys.ElementAt(_random.Next(_ports.Count));

    private string FreeDevice() => Enumerable.Range(0, 16).Select(i => $"v{i}").First(d => _ports.Values.All(p => p.Device != d));
}
