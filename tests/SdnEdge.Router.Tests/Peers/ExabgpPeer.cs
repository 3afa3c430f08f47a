using System.Globalization;
using System.Text.Json;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// ExaBGP: it speaks BGP and tells a program of ours, as JSON, each message it decodes; it keeps no Loc-RIB and selects nothing.
/// Its table here is what those messages say: the last announcement of each neighbour that nothing has taken back.
/// It does not connect by itself: where its own connection fails in the moment in which it accepts ours, ExaBGP 4.2.21 forgets
/// the accepted one without closing it, and the session waits for the OPEN hold timer of 4 minutes (RFC 4271, 8.2.2).
/// </summary>
internal sealed class ExabgpPeer(PeerRig rig, PeerOptions options) : PeerDaemon(rig, options)
{
    private const string Attributes =
        "origin igp med 50 local-preference 100 community [65000:100 65000:200] large-community [65000:1:2] extended-community "
            + "[target:65000:7]";

    // One route with every attribute that a speaker must know, and one (200) that it does not.
    private const string Rich =
        "route 10.2.4.0/24 next-hop 10.255.0.3 " + Attributes
            + " as-path [ 4200000001 65010 ] aggregator ( 65010:10.255.0.9 ) atomic-aggregate "
        + "originator-id 10.255.0.9 cluster-list [ 10.255.0.8 10.255.0.7 ] attribute [ 0xC8 0xC0 0x0102030405 ];";

    public override void Start()
    {
        PeerRig.Run("mkfifo", At("commands"));
        Write("tell.sh", $"""
            #!/bin/sh
            exec 3<>{At("commands")} 4<&0
            cat <&4 >>{At("told.json")} &
            exec cat <&3
            """);
        Write("exabgp.conf", Configuration());
        StartExabgp();
    }

    private void StartExabgp()
    {
        File.Delete(At("told.json"));
        Main = Rig.StartDaemon(
            "env", "exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.log.destination=stderr", "exabgp.api.cli=false",
            "exabgp.tcp.bind=10.255.0.3", "exabgp.tcp.port=179", "exabgp", At("exabgp.conf"));
        PeerRig.Await(() => File.Exists(At("told.json")) ? "up" : Rig.Said, t => t == "up", "ExaBGP is up");
    }

    public override IReadOnlyList<PeerPath> Paths(IpPrefix prefix)
    {
        var table = new Dictionary<string, PeerPath>();
        string family = prefix.Address.IsV4 ? "ipv4 unicast" : "ipv6 unicast";
        foreach (JsonElement told in Told())
        {
            JsonElement neighbor = told.GetProperty("neighbor");
            string from = neighbor.GetProperty("address").GetProperty("peer").GetString()!;
            if (neighbor.TryGetProperty("state", out JsonElement state) && state.GetString() == "down") table.Remove(from);
            if (!neighbor.TryGetProperty("message", out JsonElement message) || !message.TryGetProperty("update", out JsonElement update))
                continue;
            if (Names(update, "withdraw", family).Any(n => Nlri(n) == prefix.ToString())) table.Remove(from);
            if (!update.TryGetProperty("announce", out JsonElement announce) || !announce.TryGetProperty(family, out JsonElement hops))
                continue;
            foreach (JsonProperty hop in hops.EnumerateObject())
            {
                if (hop.Value.EnumerateArray().All(n => Nlri(n) != prefix.ToString())) continue;
                JsonElement attributes = update.GetProperty("attribute");
                uint? localPref = attributes.TryGetProperty("local-preference", out JsonElement value) ? value.GetUInt32() : null;
                table[from] = new PeerPath(from, localPref, Best: false, AsPath(attributes), hop.Name);
            }
        }

        return [.. table.Values];
    }

    public override void WithdrawOwn()
    {
        Command($"withdraw route {Own4} next-hop 10.255.0.3 {Attributes}");
        Command($"withdraw route {Own6} next-hop fd00:ff::3 {Attributes}");
    }

    public override void AskRefresh(int i) => Command($"neighbor 10.255.0.{i} announce route-refresh ipv4 unicast");

    public override void Cease(int i) => Command($"neighbor 10.255.0.{i} teardown 2");

    /// <summary>Its helper programs go with it: nothing else runs in its namespace.</summary>
    public override void Kill()
    {
        base.Kill();
        foreach (string id in PeerRig.TryRun("ip", "netns", "pids", Rig.Theirs).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            PeerRig.TryRun("kill", "-KILL", id);
    }

    public override void StartAgain()
    {
        StartExabgp();
    }

    public override void Reset(int i) => throw new NotSupportedException("ExaBGP has no limit of prefixes.");

    /// <summary>A command of its API.</summary>
    public void Command(string command) => File.AppendAllText(At("commands"), command + "\n");

    /// <summary>
    /// The messages it has told so far. Lines that are no JSON are left out: ExaBGP 4.2.21 quotes twice in those about ROUTE-REFRESH.
    /// </summary>
    public IEnumerable<JsonElement> Told()
    {
        foreach (string line in File.ReadAllLines(At("told.json")))
        {
            if (line.StartsWith('{') && Json(line) is { } told) yield return told;
        }
    }

    private static IEnumerable<JsonElement> Names(JsonElement update, string kind, string family) =>
        update.TryGetProperty(kind, out JsonElement all) && all.TryGetProperty(family, out JsonElement names) ? names.EnumerateArray() : [];

    private static string Nlri(JsonElement name) => name.GetProperty("nlri").GetString()!;

    private static string AsPath(JsonElement attributes)
    {
        if (!attributes.TryGetProperty("as-path", out JsonElement path)) return string.Empty;
        IEnumerable<JsonElement> numbers = path.ValueKind == JsonValueKind.Array
            ? path.EnumerateArray()
            : path.EnumerateObject().SelectMany(s => s.Value.GetProperty("value").EnumerateArray());
        return string.Join(' ', numbers.Select(n => n.GetUInt32().ToString(CultureInfo.InvariantCulture)));
    }

    private string Configuration()
    {
        string Neighbor(int i) => $$"""
            neighbor 10.255.0.{{i}} {
              router-id 10.255.0.3;
              local-address 10.255.0.3;
              local-as 65000;
              peer-as {{(i == 5 ? OtherAs : 65000)}};
              hold-time 30;
              passive true;
              adj-rib-in true;
              adj-rib-out true;
              {{(i == 1 && Options.Md5 is { } secret ? $"md5-password \"{secret}\";" : string.Empty)}}
              {{(i == 2 && Options.Gtsm ? "outgoing-ttl 255; incoming-ttl 255;" : string.Empty)}}
              family { ipv4 unicast; ipv6 unicast; }
              capability { asn4 enable; route-refresh enable; extended-message enable; {{(Options.GracefulRestart ? "graceful-restart 20;" : string.Empty)}} }
              api { processes [ told ]; neighbor-changes; receive { parsed; open; update; notification; refresh; } }
              static {
                route {{Own4}} next-hop 10.255.0.3 {{Attributes}};
                route {{Own6}} next-hop fd00:ff::3 {{Attributes}};
                {{(i < 3 ? Rich : string.Empty)}}
              }
            }
            """;
        return $$"""
            process told { run /bin/sh {{At("tell.sh")}}; encoder json; }
            {{string.Join('\n', Internal.Append(5).Select(Neighbor))}}
            """;
    }
}
