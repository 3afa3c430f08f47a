using SdnEdge.Host.Config;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests;

/// <summary>All errors at once, each with its place.</summary>
public sealed class ConfigTests
{
    [Fact]
    public void The_examples_are_good()
    {
        string? folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder!, "SdnEdge.sln"))) folder = Path.GetDirectoryName(folder);
        foreach ((string file, bool runs) in ((string, bool)[])[("host-a", true), ("host-b", false)])
        {
            // As the lab fills them in.
            string text = File.ReadAllText(Path.Combine(folder!, "topologies", "figure1", file + ".yaml"))
                .Replace("${lab.folder}", "/run/sdnedge/figure1", StringComparison.Ordinal)
                .Replace("${lab.namespace:vs}", "clab-figure1-vs", StringComparison.Ordinal);
            HostConfigResult result = HostConfigLoader.Load(text, file);
            Assert.Empty(result.Errors);
            ServerConfig server = Assert.Single(result.Config!.Servers);
            Assert.Equal((file, "vs", runs), (result.Config.Name, server.Name, server.Runs));
            Assert.Equal(2, Assert.IsType<StandInConfig>(server.Driver).Addresses.Count);
        }
    }

    [Fact]
    public void All_errors_come_at_once_with_their_places()
    {
        HostConfigResult result = HostConfigLoader.Load("""
            name: host a
            sites: dc-a
            api: { unix: run/host.sock }
            state: { folder: var }
            servers:
              - { name: vs, runs: maybe, standIn: { namespace: ns, leg: much-too-long-a-name, mac: x, addresses: [10.1.1.10/24] } }
              - { name: db, standIn: { namespace: ns, leg: l, mac: "02:00:00:00:00:01", addresses: [10.1.1.1] }, exec: {} }
              - name: ex
                runs: false
                exec:
                  undoable: false
                  look: { run: [look] }
                  stop: { run: [/bin/true], deadlineMs: 1 }
                  prepare: { run: [] }
                  activate: { run: [/bin/true] }
            """, "h.yaml");
        Assert.Null(result.Config);
        string all = string.Join('\n', result.Errors);
        foreach (string wanted in (string[])
        [
            "h.yaml:1:7: name: ", "site: is missing", "did you mean 'site'", "h.yaml:3:14: api.unix: ", "h.yaml:4:18: state.folder: ",
                "servers[0].runs: 'maybe'",
            "servers[0].standIn.leg: ", "servers[0].standIn.mac: ", "servers[0].standIn.addresses[0]: ", "servers[1].runs: is missing",
                "servers[1].exec: exactly one",
            "servers[2].exec.look.run: 'look' is not an absolute path", "servers[2].exec.stop.deadlineMs: ",
                "servers[2].exec.prepare.run: is missing",
            "servers[2].exec.handOver: is missing", "servers[2].exec.resume: is missing", "servers[2].exec.cancel: is missing",
                "servers[2].exec.kill: is missing",
        ])
        {
            Assert.Contains(wanted, all, StringComparison.Ordinal);
        }
    }
}
