using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A startup-config becomes a configuration of this lab: variables filled in, sections set, lines where they were.</summary>
public sealed class DaemonFileTests
{
    private static readonly LabTopology s_lab = new("x", "/x.yml",
        [
            Node("pe", NodeKind.SdnEdgePe, null), Node("host", NodeKind.SdnEdgeHost, "10.254.0.1/24"),
            Node("mms", NodeKind.SdnEdgeMms, "fd00::9/64"), Node("store", NodeKind.SdnEdgeStore, null),
        ],
        []);

    [Theory]
    [InlineData("name: x\napi:\n  unix: /run/a.sock\n", "name: x\napi: { unix: \"/lab/pe.sock\" }\n\n")]
    [InlineData("api:   # comment\n\n  # more\n  tcp: { port: 1 }\n  unix: /run/a.sock # here\nname: x\n",
        "api: { unix: \"/lab/pe.sock\", \"tcp\": { \"port\": \"1\" } }\n\n  # more\n\n\nname: x\n")]
    [InlineData("api: { unix: /a.sock, access: [ { user: 7, role: read } ] }\nname: x",
        "api: { unix: \"/lab/pe.sock\", access: [ { \"user\": \"7\", \"role\": \"read\" } ] }\nname: x")]
    [InlineData("name: unix\n# unix: no\n", "name: unix\n# unix: no\napi: { unix: \"/lab/pe.sock\" }\n")]
    [InlineData("", "api: { unix: \"/lab/pe.sock\" }\n")]
    public void Without_a_management_network_only_socket_and_state_move(string text, string expected)
        => Assert.Equal(expected.TrimEnd() + "\nstate: { folder: \"/lab/pe.state\" }\n", Complete("pe", text));

    [Fact]
    public void On_a_management_network_the_api_is_served_with_mutual_tls_and_the_manager_may_use_it()
    {
        const string Tcp = """
            tcp: { listen: "10.254.0.1:8443", certificate: "/lab/host.crt", key: "/lab/host.key", clientCa: "/lab/ca.crt" }
            """;
        const string Access = """
            access: [ { certificate: "mms", role: migrate }, { "certificate": "op", "role": "read" } ]
            """;
        Assert.Equal($"api: {{ unix: \"/lab/host.sock\", {Tcp}, {Access} }}\nname: host\nstate: {{ folder: \"/lab/host.state\" }}\n",
            Complete("host", "api: { tcp: { listen: elsewhere }, access: [ { certificate: op, role: read } ] }\nname: host\n"));
        Assert.Contains("access: [ { \"certificate\": \"mms\", \"role\": \"admin\" } ]",
            Complete("host", "api: { access: [ { certificate: mms, role: admin } ] }\n"), StringComparison.Ordinal);
    }

    /// <summary>What a store serves by TCP stays as it is; its socket, its state and its API are the lab's.</summary>
    [Theory]
    [InlineData("name: s\n", "name: s\napi: { unix: \"/lab/store.sock\" }\nstate: { folder: \"/lab/store.state\" }\n"
        + "nbd: { unix: \"/lab/store.nbd\" }\n")]
    [InlineData("nbd: { unix: /run/x, tcp: { listen: \"10.0.0.1:10809\", insecure: true } }\nstate: { folder: /x }\napi: { unix: /y }\n",
        "nbd: { unix: \"/lab/store.nbd\", \"tcp\": { \"listen\": \"10.0.0.1:10809\", \"insecure\": \"true\" } }\n"
        + "state: { folder: \"/lab/store.state\" }\napi: { unix: \"/lab/store.sock\" }\n")]
    public void A_stores_socket_for_its_clients_is_the_labs_too(string text, string expected)
        => Assert.Equal(expected, Complete("store", text));

    [Fact]
    public void Variables_are_filled_in_and_others_are_left_alone()
    {
        string text = Complete("mms", """
            journal: /elsewhere.db
            a: "${lab.name} ${lab.node} ${lab.folder}/x"
            b: "${lab.namespace:pe}"
            c: ["${lab.api:pe}", "${lab.api:host}", "${lab.api:mms}"]
            d: "${HOME}"
            """);
        Assert.StartsWith("""
            journal: "/lab/mms.db"
            a: "x mms /lab/x"
            b: "clab-x-pe"
            c: ["unix:/lab/pe.sock", "https://10.254.0.1:8443/", "https://[fd00::9]:8443/"]
            d: "${HOME}"
            api: { unix: "/lab/mms.sock", tcp: { listen: "[fd00::9]:8443",
            """, text, StringComparison.Ordinal);
        Assert.DoesNotContain("access", text, StringComparison.Ordinal);
    }

    [Fact]
    public void All_variables_that_are_not_there_are_told_at_once_each_with_its_line()
    {
        const string Wrong = "a: ${lab.folder}\nb: ${lab.api:pe-z} ${lab.api}\nc: ${lab.colour:pe}\n";
        string[] lines = Assert.Throws<LabException>(() => Complete("mms", Wrong)).Message.Split('\n');
        Assert.Equal("/f.yaml:2:4: ${lab.api:pe-z}: there is no node 'pe-z' in this lab; nodes are pe, host, mms, store", lines[0]);
        Assert.StartsWith("/f.yaml:2:20: ${lab.api} is no variable", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("/f.yaml:3:4: ${lab.colour:pe} is no variable of a lab; there are", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{ name: x, api: { } }", "first column")]
    [InlineData("- a\n", "first column")]
    [InlineData("a: [", "/f.yaml:")]
    public void A_file_that_cannot_be_completed_is_refused_with_its_place(string text, string says)
        => Assert.Contains(says, Assert.Throws<LabException>(() => Complete("pe", text)).Message, StringComparison.Ordinal);

    private static string Complete(string node, string text)
        => new DaemonFile(s_lab, s_lab.Find(node)!, "/lab").Complete(text, "/f.yaml");

    private static LabNode Node(string name, NodeKind kind, string? management)
    {
        var node = new LabNode(name, kind, "/f.yaml", [], new Dictionary<string, string>(), new Dictionary<string, string>());
        if (!IpPrefix.TryParseInterface(management, out IpAddress address, out int length)) return node;
        return node with { Management = new InterfaceAddress(address, length) };
    }
}
