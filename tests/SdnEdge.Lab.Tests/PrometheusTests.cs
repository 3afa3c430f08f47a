using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Debian's Prometheus, with the example's files as they are, scrapes every daemon of the Figure 1 lab.</summary>
[Trait("needs", "executable")]
public sealed class PrometheusTests
{
    private static readonly string s_example = Path.Combine(Path.GetDirectoryName(LabFiles.Figure1)!, "..", "examples", "prometheus");

    [RootFact]
    public async Task An_unchanged_prometheus_scrapes_every_daemon_by_the_example()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(LabFiles.Figure1, instance.Options with { Name = instance.Name },
            CancellationToken.None);
        string folder = Path.Combine(instance.Root, "prometheus");
        Directory.CreateDirectory(folder);
        foreach (string file in (string[])["prometheus.yml", "alerts.yml"])
            File.Copy(Path.Combine(s_example, file), Path.Combine(folder, file));
        await LabInstance.RunAsync(lab, "mms", Path.Combine(s_example, "certificate"), lab.Folder, Path.Combine(folder, "certs"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite,
            File.GetUnixFileMode(Path.Combine(folder, "certs", "prometheus.key")));
        await LabInstance.RunAsync(lab, "mms", "promtool", "check", "config", Path.Combine(folder, "prometheus.yml"));

        using Process prometheus = lab.Start("mms", ["prometheus", $"--config.file={folder}/prometheus.yml",
            $"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090"], redirect: true);
        prometheus.StandardInput.Close();
        Task<string> log = prometheus.StandardError.ReadToEndAsync();
        try
        {
            string seen = "";
            await Patience.UntilAsync(async () => prometheus.HasExited || (seen = await TryQueryAsync(lab, "up == 1"))
                .Split("\"daemon\":").Length == 1 + 8, () => "eight daemons are not all up: " + seen, Patience.Long);
            Assert.False(prometheus.HasExited, prometheus.HasExited ? await log : "");

            // Each daemon's own series, with its labels.
            Assert.Equal(["10.254.0.100:8443"], await InstancesAsync(lab, "sdnedge_mms_journal_up == 1"));
            Assert.Equal(["10.254.0.11:8443"], await InstancesAsync(lab, "sdnedge_host_server_running == 1"));
            Assert.Equal(5, (await InstancesAsync(lab, "sum by (instance) (sdnedge_port_receive_packets_total) > 0")).Count);
            Assert.Empty(await InstancesAsync(lab, "ALERTS"));

            // What it takes is also said by the book: promtool's linter has nothing to add.
            foreach (string node in (string[])["pe-a", "host-a", "mms"])
            {
                string lint = await LabInstance.RunAsync(lab, node, "sh", "-c",
                    $"curl -s --unix-socket {lab.ApiSocket(node)} http://localhost/metrics | promtool check metrics 2>&1");
                Assert.Equal("", lint);
            }
        }
        finally
        {
            if (!prometheus.HasExited) prometheus.Kill();
            await prometheus.WaitForExitAsync();
        }
    }

    private static async Task<IReadOnlyList<string>> InstancesAsync(RunningLab lab, string query)
    {
        JsonNode answer = JsonNode.Parse(await TryQueryAsync(lab, query))!;
        Assert.Equal("success", (string)answer["status"]!);
        return [.. answer["data"]!["result"]!.AsArray().Select(r => (string)r!["metric"]!["instance"]!).Order(StringComparer.Ordinal)];
    }

    // Empty while it does not listen yet.
    private static Task<string> TryQueryAsync(RunningLab lab, string query) => LabInstance.RunAsync(lab, "mms", "sh", "-c",
        string.Create(CultureInfo.InvariantCulture,
            $"curl -sG http://127.0.0.1:9090/api/v1/query --data-urlencode 'query={query}' || :"));
}
