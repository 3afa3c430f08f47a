using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Linux;
using SdnEdge.Testing;
using SdnEdge.Witness;
using SdnEdge.Witness.Config;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A group with a real guest and its volume is protected, and comes up at the other site
/// (topologies/figure1-qemu.clab.yml).</summary>
[Trait("needs", "executable")]
public sealed class OutageTests
{
    // Longer than any machine stands still: a lease that is not revoked lasts.
    private const int LeaseMs = 20_000;

    [RootFact]
    public async Task A_guest_that_dies_is_noticed_by_the_network_comes_up_at_the_other_site_and_goes_home_by_a_planned_move()
    {
        await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Figure1Qemu);
        LabDaemons daemons = rig.Daemons;
        SiteWatch watch = new("dc-a", new WatchedPart(Neighbor: GuestRig.Address));
        await daemons.Mms.ProtectAsync(GuestRig.Server, new ProtectCall("dc-b", Watch: [watch]));
        ProtectionInfo armed = await ProtectedAsync(daemons, "armed");
        Assert.Equal(("dc-a", "dc-b"), (armed.From, armed.To));

        // The network notices it by itself. Nobody starts anything for that.
        Signals.Send(rig.QemuAt("host-a")!.Value, ProcessSignal.Kill);
        ProtectionInfo flipped = await ProtectedAsync(daemons, "flipped");
        Assert.True(Assert.Single(flipped.Paths).Flipped);
        Assert.Null((await rig.ServerAsync("host-b")).MayRun);

        // An operator has it come up at the other site: host-a says from its disk that it never runs the epoch.
        FailoverInfo fence = await daemons.Mms.FailoverAsync(GuestRig.Server, new FailoverCall("dc-b", DryRun: true));
        Assert.Equal((0, null), (fence.Obstacles.Count, fence.Migration));
        FailoverInfo begun = await daemons.Mms.FailoverAsync(GuestRig.Server, new FailoverCall("dc-b"));
        await EndsAsync(daemons, begun.Migration!.Id, "moved");
        await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);
        ServerInfo a = await rig.ServerAsync("host-a"), b = await rig.ServerAsync("host-b");
        Assert.Equal((ServerState.Absent, null, ServerState.Running), (a.State, a.MayRun, b.State));
        Assert.NotNull(b.MayRun);
        Assert.Null(rig.QemuAt("host-a"));

        // Nothing is named to be watched there; it says so. Moved home it is protected again, by itself.
        ProtectionInfo there = await ProtectedAsync(daemons, "unprotected");
        Assert.Contains("nothing is named to be watched at dc-b", Assert.Single(there.Reasons), StringComparison.Ordinal);
        await EndsAsync(daemons, (await daemons.Mms.StartAsync(new MigrationCall(GuestRig.Server, "dc-a", QuietMs: 100))).Id, "moved");
        await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);
        await ProtectedAsync(daemons, "armed");
        await daemons.Mms.UnprotectAsync(GuestRig.Server);
        await daemons.UntilAsync("the protection to go", daemons.Mms.GroupsAsync, all => all.All(g => g.Protection is null));
        Assert.Empty(await daemons.LeftOverAsync());
    }

    // Its agent is dead, nobody hears the guest, and it runs: what would be two of them without the lease.
    [RootFact]
    public async Task A_guest_that_runs_where_nobody_can_be_asked_is_killed_by_its_watchdog_before_the_other_one_is_started()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdnedge-witness-");
        try
        {
            string api = Path.Combine(folder.FullName, "api");
            await using WitnessAgent witness = await WitnessAgent.StartAsync(WitnessConfigLoader.Load($$"""
                name: witness
                api: { unix: "{{api}}" }
                state: { folder: "{{folder.FullName}}/state" }
                leases: { ttlMs: {{LeaseMs}} }
                """, "witness.yaml").Config!);
            string told = $"witness: {{ name: witness, api: \"unix:{api}\" }}\n";
            await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Figure1Qemu,
                edit: (name, text) => name is "mms.yaml" or "host-a.yaml" or "host-b.yaml" ? told + text : text);
            LabDaemons daemons = rig.Daemons;
            SiteWatch watch = new("dc-a", new WatchedPart(Neighbor: GuestRig.Address));
            await daemons.Mms.ProtectAsync(GuestRig.Server, new ProtectCall("dc-b", Watch: [watch]));
            await daemons.UntilAsync("the group to be armed, with its guest under a lease",
                c => daemons.Mms.ProtectionAsync(GuestRig.Server, c), p => p is { State: "armed", Witness: "witness" });
            Assert.NotNull((await rig.ServerAsync("host-a")).Lease?.ValidForMs);

            int guest = rig.QemuAt("host-a")!.Value;
            await LabInstance.RunAsync(rig.Lab, "host-a", "ip", "link", "set", "vs0", "down");
            await daemons.EndAsync("host-a");
            await ProtectedAsync(daemons, "flipped");
            FailoverInfo begun = await daemons.Mms.FailoverAsync(GuestRig.Server, new FailoverCall("dc-b"));
            Assert.Contains("when its last lease there", Assert.Single(begun.Fence), StringComparison.Ordinal);

            // At no time do two of them run. The new one is looked at first: what is seen alive after that was alive then, too.
            await Patience.UntilAsync(
                () =>
                {
                    bool next = rig.QemuAt("host-b") is not null, old = ProcessStat.Read(guest) is { IsAlive: true };
                    Assert.False(old && next, "the guest runs at both sites");
                    return next;
                },
                () => "it is not started at host-b", Patience.Long);
            Assert.False(ProcessStat.Read(guest) is { IsAlive: true });
            Assert.True(Assert.Single(witness.Leases(), l => l.Site == "dc-a").Revoked);
            await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);

            // The old site returns, is told that it has lost, and can have it again.
            await LabInstance.RunAsync(rig.Lab, "host-a", "ip", "link", "set", "vs0", "up");
            await daemons.BeginAgainAsync("host-a");
            await EndsAsync(daemons, begun.Migration!.Id, "moved");
            ServerInfo a = await rig.ServerAsync("host-a"), b = await rig.ServerAsync("host-b");
            Assert.Equal((ServerState.Absent, null, ServerState.Running), (a.State, a.MayRun, b.State));

            // Its store follows the other one by itself; the plan waits for that.
            var call = new MigrationCall(GuestRig.Server, "dc-a", QuietMs: 100);
            await daemons.UntilAsync("nothing to be in the way home", c => daemons.Mms.PlanAsync(call, c), p => p.Obstacles.Count == 0);
            MigrationStatus home = await daemons.Mms.StartAsync(call);
            await EndsAsync(daemons, home.Id, "moved");
            await daemons.UntilAsync("the group to be armed again, with its guest under a lease",
                c => daemons.Mms.ProtectionAsync(GuestRig.Server, c), p => p is { State: "armed", Witness: "witness" });
            await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);
            await daemons.Mms.UnprotectAsync(GuestRig.Server);
            await daemons.UntilAsync("the protection to go", daemons.Mms.GroupsAsync, all => all.All(g => g.Protection is null));
            Assert.Null((await rig.ServerAsync("host-a")).Lease);
            Assert.NotNull(rig.QemuAt("host-a"));
            Assert.Empty(await daemons.LeftOverAsync());
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static Task<ProtectionInfo> ProtectedAsync(LabDaemons daemons, string state) => daemons.UntilAsync(
        $"the group to be {state}", c => daemons.Mms.ProtectionAsync(GuestRig.Server, c), p => p.State == state);

    private static async Task EndsAsync(LabDaemons daemons, string id, string how)
    {
        MigrationStatus end = await daemons.UntilAsync($"{id} to end", c => daemons.Mms.MigrationAsync(id, c),
            m => m.State is not ("running" or "suspected" or "undoing"));
        Assert.Equal(how, end.State);
    }
}
