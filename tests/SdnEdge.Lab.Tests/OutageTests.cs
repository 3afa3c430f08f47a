using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A group with a real guest and its volume is protected, and comes up at the other site
/// (topologies/figure1-qemu.clab.yml).</summary>
[Trait("needs", "executable")]
public sealed class OutageTests
{
    [RootFact]
    public async Task A_guest_that_dies_is_noticed_by_the_network_comes_up_at_the_other_site_and_goes_home_by_a_planned_move()
    {
        await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Figure1Qemu);
        LabDaemons daemons = rig.Daemons;
        SiteWatch watch = new("dc-a", new WatchedPart(Neighbor: GuestRig.Address));
        await daemons.Mms.ProtectAsync(GuestRig.Server, new ProtectCall("dc-b", Watch: [watch]));
        ProtectionInfo armed = await ProtectedAsync("armed");
        Assert.Equal(("dc-a", "dc-b"), (armed.From, armed.To));

        // The network notices it by itself. Nobody starts anything for that.
        Signals.Send(rig.QemuAt("host-a")!.Value, ProcessSignal.Kill);
        ProtectionInfo flipped = await ProtectedAsync("flipped");
        Assert.True(Assert.Single(flipped.Paths).Flipped);
        Assert.Null((await rig.ServerAsync("host-b")).MayRun);

        // An operator has it come up at the other site: host-a says from its disk that it never runs the epoch.
        FailoverInfo fence = await daemons.Mms.FailoverAsync(GuestRig.Server, new FailoverCall("dc-b", DryRun: true));
        Assert.Equal((0, null), (fence.Obstacles.Count, fence.Migration));
        FailoverInfo begun = await daemons.Mms.FailoverAsync(GuestRig.Server, new FailoverCall("dc-b"));
        await EndsAsync(begun.Migration!.Id, "moved");
        await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);
        ServerInfo a = await rig.ServerAsync("host-a"), b = await rig.ServerAsync("host-b");
        Assert.Equal((ServerState.Absent, null, ServerState.Running), (a.State, a.MayRun, b.State));
        Assert.NotNull(b.MayRun);
        Assert.Null(rig.QemuAt("host-a"));

        // Nothing is named to be watched there; it says so. Moved home it is protected again, by itself.
        ProtectionInfo there = await ProtectedAsync("unprotected");
        Assert.Contains("nothing is named to be watched at dc-b", Assert.Single(there.Reasons), StringComparison.Ordinal);
        await EndsAsync((await daemons.Mms.StartAsync(new MigrationCall(GuestRig.Server, "dc-a", QuietMs: 100))).Id, "moved");
        await daemons.AnswersAsync(GuestRig.Client, GuestRig.Address);
        await ProtectedAsync("armed");
        await daemons.Mms.UnprotectAsync(GuestRig.Server);
        await daemons.UntilAsync("the protection to go", daemons.Mms.GroupsAsync, all => all.All(g => g.Protection is null));
        Assert.Empty(await daemons.LeftOverAsync());

        Task<ProtectionInfo> ProtectedAsync(string state) => daemons.UntilAsync($"the group to be {state}",
            c => daemons.Mms.ProtectionAsync(GuestRig.Server, c), p => p.State == state);

        async Task EndsAsync(string id, string how)
        {
            MigrationStatus end = await daemons.UntilAsync($"{id} to end", c => daemons.Mms.MigrationAsync(id, c),
                m => m.State is not ("running" or "suspected" or "undoing"));
            Assert.Equal(how, end.State);
        }
    }
}
