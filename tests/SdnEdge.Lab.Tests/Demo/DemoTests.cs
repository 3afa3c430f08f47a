using System.Text.Json.Nodes;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.Demo;

/// <summary>The demo as a user runs it, in a lab of its own name, at a rate that leaves room for the other tests' processes.</summary>
[Trait("needs", "executable")]
public sealed class DemoTests : IDisposable
{
    private const int Rate = 3000;

    // The longer the way, the longer the time in which direct packets and those in the tunnel are under way together; a machine that stands
    // still for less hides nothing of it.
    private static readonly string[] LongWay = ["--rtt", "400"];
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120), GuestLimit = TimeSpan.FromSeconds(330);

    private readonly DemoProcess demo = new();


    [RootFact]
    public void The_switchover_loses_nothing_and_exits_0()
    {
        // A machine that stands still for longer than the bound reorders; that is not what is tried here.
        (int code, string output, JsonNode report) = Run([.. LongWay, "--order-bound", "20000", "--quiet", "5000"]);
        Assert.True(code == 0, output);
        Assert.True((bool)report["passed"]!);
        foreach (string way in new[] { "ingress", "reverse" })
        {
            Assert.Equal(3, report[way]!.AsArray().Count);
            foreach (JsonNode? s in report[way]!.AsArray())
            {
                Assert.Equal((0, 0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!, (long)s["reordered"]!));
                Assert.True((bool)s["orderKept"]!);
                Assert.Equal((long)s["sent"]!, (long)s["received"]!);
                Assert.True((long)s["sent"]! > Rate / 3 / (way == "ingress" ? 1 : 4), "each stream sent for more than a second");
                Assert.NotNull(s["directPathAfterMs"]);
            }
        }

        Assert.True((long)report["hold"]!["packetsHeld"]! > 0);
        Assert.Equal((long)report["hold"]!["packetsHeld"]!, (long)report["hold"]!["released"]!);
        Assert.True((long)report["tunnel"]!["packets"]! > 0);
        Assert.Equal("markers", (string)report["tunnel"]!["proof"]!);
        Assert.Equal(0, (long)report["order"]!["unordered"]!);

        // How many packets a gate had to keep is a matter of pace: an ingress that stands still meanwhile sends none.
        Assert.NotEmpty(report["order"]!["gates"]!.AsArray());
        foreach (JsonNode? gate in report["order"]!["gates"]!.AsArray()) Assert.Equal("marker", (string)gate!["openedBy"]!);
        Assert.Empty(report["residue"]!.AsArray());
        Assert.Equal("moved", (string)report["migration"]!["state"]!);
        Assert.True((long)report["migration"]!["epoch"]! > 0);
        Assert.NotEmpty((string)report["migration"]!["by"]!);
        Assert.Contains("activate", report["migration"]!["calls"]!.AsArray().Select(c => (string)c!["what"]!));
        Assert.Equal(0, (int)report["tcp"]!["resets"]!);
        Assert.True((long)report["tcp"]!["bytes"]! > 0);
        Assert.Contains("packets lost", File.ReadAllText(Path.Combine(demo.Folder.FullName, "report.html")), StringComparison.Ordinal);
        Assert.False(Namespaces.Exists($"clab-{demo.Lab}-pe-a"), "the lab is gone");
    }

    /// <summary>The probe can see loss: without the hold, what comes while the server is at neither site is lost.</summary>
    [RootFact]
    public void Without_the_hold_it_loses_about_rate_times_blackout_and_exits_1()
    {
        (int code, string output, JsonNode report) = Run("--no-hold", "--blackout", "2500");
        Assert.True(code == 1, output);
        long lost = report["ingress"]!.AsArray().Sum(s => (long)s!["lost"]!);

        // By what was sent then: on a busy machine the senders stand still too, and it may be long from the switch to the stop. What
        // a router that stands still has not forwarded before the end of the blackout is not lost.
        Assert.InRange(lost, SentIn("stop") * 0.5, SentIn("switch", "stop", "hand-over", "activate", "release") * 1.3);
        Assert.True(SentIn("stop") > Rate, "sent for more than a second of the blackout");
        Assert.Equal(0, report["reverse"]!.AsArray().Sum(s => (long)s!["lost"]!));
        Assert.Equal(0, (long)report["hold"]!["packetsHeld"]!);
        Assert.Contains("packets lost", output, StringComparison.Ordinal);

        long SentIn(params string[] stages)
            => report["ledger"]!.AsArray().Where(r => stages.Contains((string)r!["stage"]!)).Sum(r => (long)r!["forward"]!["sent"]!);
    }

    /// <summary>The probe can see reordering: without flush markers, direct packets overtake those in the tunnel.</summary>
    [RootFact]
    public void Without_flush_markers_packets_are_reordered_at_the_step_to_the_direct_path()
    {
        (_, string output, JsonNode report) = Run(["--no-order", "--quiet", "3000", .. LongWay]);
        Assert.True(report["ingress"]!.AsArray().Sum(s => (long)s!["reordered"]!) > 0, output);
        Assert.All(report["ingress"]!.AsArray(), s => Assert.False((bool)s!["orderKept"]!));
        Assert.Equal(0, report["ingress"]!.AsArray().Sum(s => (long)s!["lost"]!));
        Assert.NotEqual("markers", (string)report["tunnel"]!["proof"]!);
    }

    /// <summary>
    /// PE_a is 60 ms from every ingress, PE_b 5 ms, and the server stands still for little more than the round trips to a manager next
    /// door: what it sends from its new place would overtake what it sent from the old one.
    /// </summary>
    [RootFact]
    public void What_the_server_sends_stays_in_order_where_the_old_way_is_longer()
    {
        string topologies = Path.Combine(LabFiles.Root(), "topologies"), copy = Path.Combine(demo.Folder.FullName, "topologies");
        Directory.CreateDirectory(Path.Combine(copy, "figure1"));
        foreach (string file in Directory.GetFiles(Path.Combine(topologies, "figure1")))
            File.Copy(file, Path.Combine(copy, "figure1", Path.GetFileName(file)));
        string topology = Path.Combine(copy, "near.clab.yml");
        string text = File.ReadAllText(LabFiles.Figure1);
        foreach ((string from, string to) in new[]
        {
            ("\"wan:eth1\"], mtu: 1600, vars: { delay: 10ms", "\"wan:eth1\"], mtu: 1600, vars: { delay: 58ms"),
            ("delay: 10ms, jitter", "delay: 2ms, jitter"),
            ("\"mgmt:eth1\"], vars: { delay: 10ms }", "\"mgmt:eth1\"], vars: { delay: 0ms }"),
        })
        {
            Assert.Contains(from, text, StringComparison.Ordinal);
            text = text.Replace(from, to, StringComparison.Ordinal);
        }

        File.WriteAllText(topology, text);
        // More than usual: what the server sends is a quarter of it, and shared out over many flows.
        (int code, string output, JsonNode report) = Run(
            "-t", topology, "--blackout", "1", "--rate", $"{4 * Rate}", "--order-bound", "20000", "--quiet", "5000");
        Assert.True(code == 0, output);
        Assert.All(report["reverse"]!.AsArray().Concat(report["ingress"]!.AsArray()),
            s => Assert.Equal((0, 0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!, (long)s["reordered"]!)));
    }

    /// <summary>Core and ingress PEs are FRR and BIRD: nobody sends flush markers there, so order is not kept at the last step, but nothing
    /// is lost.</summary>
    [RootFact]
    public void In_a_provider_network_of_FRR_and_BIRD_it_loses_nothing_and_the_tunnel_goes_when_it_is_quiet()
    {
        (int code, string output, JsonNode report) = Run("-t", LabFiles.ProviderFrr, "--quiet", "3000");
        Assert.True(code == 0, output);
        foreach (JsonNode? s in report["ingress"]!.AsArray().Concat(report["reverse"]!.AsArray()))
        {
            Assert.Equal((0, 0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!, (long)s["reorderedSwitchToRelease"]!));
            Assert.NotNull(s["directPathAfterMs"]);
        }

        Assert.Equal(["pe-c", "pe-d", "pe-e"], report["ingress"]!.AsArray().Select(s => (string)s!["name"]!));
        Assert.All(report["ingress"]!.AsArray(), s => Assert.False((bool)s!["orderKept"]!));
        Assert.True((long)report["order"]!["unordered"]! > 0, "their packets passed the gates and were counted");
        Assert.Equal("quiet", (string)report["tunnel"]!["proof"]!);
        Assert.Empty(report["residue"]!.AsArray());
    }

    /// <summary>The provider's routers are of other makes and know nothing; they take the new place by the policy of the customer's
    /// routers: MED at one provider, communities and a longer AS_PATH at two.</summary>
    [RootTheory]
    [InlineData("ce-switchover", "pe-c pe-d pe-e")]
    [InlineData("ce-two-providers", "pe-c pe-d")]
    public void Between_routers_of_a_customer_it_loses_nothing_and_no_provider_helps(string topology, string ingress)
    {
        (int code, string output, JsonNode report) = Run("--topology", topology, "--vm", "stand-in", "--quiet", "3000");
        Assert.True(code == 0, output);
        foreach (JsonNode? s in report["ingress"]!.AsArray().Concat(report["reverse"]!.AsArray()))
        {
            Assert.Equal((0, 0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!, (long)s["reorderedSwitchToRelease"]!));
            Assert.NotNull(s["directPathAfterMs"]);
        }

        Assert.Equal(ingress.Split(' '), report["ingress"]!.AsArray().Select(s => (string)s!["name"]!));
        Assert.Equal("quiet", (string)report["tunnel"]!["proof"]!);
        Assert.Empty(report["residue"]!.AsArray());
    }

    /// <summary>With a virtual machine the name of a topology is that of the one that has it.</summary>
    [RootFact]
    public void A_virtual_machine_with_its_disk_moves_between_routers_of_a_customer_and_no_provider_helps()
    {
        (int code, string output, JsonNode report) = Run("--topology", "ce-switchover", "--vm", "qemu", "--rate", "600", "--quiet", "5000");
        Assert.True(code == 0, output);
        Assert.All(report["ingress"]!.AsArray(), s => Assert.Equal((0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!)));
        Assert.Equal("qemu", (string)report["server"]!["kind"]!);
        Assert.Empty(report["residue"]!.AsArray());
        Assert.Equal((0, true), ((long)report["storage"]!["lost"]!, (bool)report["storage"]!["rootEqual"]!));
    }

    /// <summary>At a rate that an emulated machine answers beside other tests; what it does not answer at rest is not asked of
    /// it.</summary>
    [RootFact]
    public void A_virtual_machine_moves_with_its_memory_and_its_disk_there_and_back_and_nothing_is_lost()
    {
        (int code, string output, JsonNode report) = Run("--vm", "qemu", "--rate", "600", "--order-bound", "20000", "--quiet", "5000");
        Assert.True(code == 0, output);
        Assert.Equal(3, report["ingress"]!.AsArray().Count);
        Assert.Empty(report["reverse"]!.AsArray());
        Assert.All(report["ingress"]!.AsArray(),
            s => Assert.Equal((0, 0, 0), ((long)s!["lost"]!, (long)s["duplicated"]!, (long)s["reordered"]!)));
        JsonNode server = report["server"]!;
        Assert.Equal(("qemu", true, true, 0),
            ((string)server["kind"]!, (bool)server["counterContinuous"]!, (bool)server["patternIntact"]!, (long)server["badWords"]!));
        Assert.True((double)server["downtimeMs"]! > 0);
        Assert.Equal((double)server["downtimeMs"]!, (double)report["goals"]!["stopToRunMs"]!);
        Assert.True((bool)report["probe"]!["echo"]!);
        Assert.Equal(0, (long)report["probe"]!["trials"]!.AsArray()[^1]!["lost"]!);
        Assert.True((long)report["hold"]!["packetsHeld"]! > 0);
        Assert.Equal(0, (int)report["tcp"]!["resets"]!);
        Assert.Empty(report["residue"]!.AsArray());
        Disk(report["storage"]!, ["store-a async", "store-a sync", "store-b async"], "store-b");

        // And back: the same report of its own, of the same disks.
        JsonNode back = JsonNode.Parse(File.ReadAllText(Path.Combine(demo.Folder.FullName, "back", "report.json")))!;
        Assert.Equal((true, "dc-b", "dc-a"),
            ((bool)report["back"]!["passed"]!, (string)back["parameters"]!["from"]!, (string)back["parameters"]!["to"]!));
        Assert.Equal(0, (long)report["back"]!["lost"]!);
        Assert.True((long)report["back"]!["sent"]! > 0);
        Disk(back["storage"]!, ["store-b async", "store-b sync", "store-a async"], "store-a");
        Assert.Contains("records lost", File.ReadAllText(Path.Combine(demo.Folder.FullName, "report.html")), StringComparison.Ordinal);

        // Each record that was acknowledged is on both disks, and these are equal; it was synchronous before it moved.
        static void Disk(JsonNode disk, string[] modes, string owner)
        {
            Assert.Equal(modes, disk["modeChanges"]!.AsArray().Select(m => $"{m!["store"]} {m["mode"]}"));
            Assert.Equal((0, true, 0, 0), ((long)disk["lost"]!, (bool)disk["rootEqual"]!, (long)disk["readBackWrong"]!,
                (long)disk["writeErrors"]!));
            long acknowledged = (long)disk["writesAcknowledged"]!;
            Assert.InRange((long)disk["writesAfterMove"]!, 1, acknowledged - 1);
            Assert.Equal(["store-a", "store-b"], disk["disks"]!.AsArray().Select(d => (string)d!["store"]!));
            Assert.All(disk["disks"]!.AsArray(), d => Assert.Equal((Math.Min(acknowledged, (64 << 20) / 4096), 64 << 20),
                ((long)d!["recordsExpected"]!, (long)d["sizeBytes"]!)));
            Assert.NotNull(disk["lagBytesAtSignal"]);
            Assert.True((double)disk["drainMs"]! > 0);
            Assert.True((double)disk["asyncLatencyMs"]!["p50"]! > 0);
            Assert.Equal((owner, true), ((string)disk["reverse"]!["from"]!, (bool)disk["reverse"]!["connected"]!));
        }
    }

    private (int Code, string Output, JsonNode Report) Run(params string[] more)
    {
        string[] rate = more.Contains("--rate") ? [] : ["--rate", $"{Rate}"];
        string[] vm = more.Contains("--vm") || more.Contains("-t") ? [] : ["--vm", "stand-in"];
        (int code, string text) = DemoProcess.Run(["demo", "--name", demo.Lab, "--out", demo.Folder.FullName, .. vm, .. rate, .. more],
            more.Contains("--vm") ? GuestLimit : Limit);
        return (code, text, demo.Report("report.json", text));
    }

    public void Dispose() => demo.Dispose();
}
