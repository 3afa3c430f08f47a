using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A guest whose disk fails for a while. One whose store is killed: GuestKillTests.</summary>
[Trait("needs", "executable")]
public sealed class GuestDiskFailsTests
{
    // The store answers EIO; with werror=stop QEMU stops the guest, and its host's agent has it try again.
    [RootFact]
    public async Task A_disk_that_fails_for_a_while_is_not_seen_by_the_guest_and_needs_no_order()
    {
        await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Figure1Qemu);
        LabDaemons daemons = rig.Daemons;
        HostClient host = daemons.Hosts["host-a"];
        using var disk = new DiskCheck(daemons, GuestRig.Client);
        Assert.Empty((await disk.LookAsync("dc-a")).Wrong);
        (long ticks, _) = await rig.CountsAsync();
        int store = daemons.ProcessOf("store-a");
        await StoreFault.BeginAsync(store);
        ServerInfo stopped = await daemons.UntilAsync("the guest to be stopped", c => host.ServerAsync(GuestRig.Server, c),
            s => s.State == ServerState.Paused);
        Assert.Contains("its disk disk has failed: write", stopped.Fault, StringComparison.Ordinal);

        // It is tried again, and fails again.
        string failed = await ErrorsAsync();
        await Patience.UntilAsync(async () => await ErrorsAsync() != failed, () => "nothing is tried again");
        await StoreFault.EndAsync(store);
        ServerInfo runs = await daemons.UntilAsync("the guest to go on", c => host.ServerAsync(GuestRig.Server, c),
            s => s is { State: ServerState.Running, Fault: null });
        Assert.Equal(stopped.MayRun, runs.MayRun);
        Assert.Empty((await disk.LookAsync("dc-a")).Wrong);
        (long now, long bad) = await rig.CountsAsync();
        Assert.True(now > ticks && bad == 0, $"the guest's clock was {ticks} and is {now}, {bad} words of its memory are wrong");
        Assert.Equal(["io-error", "io-error-over"],
            (await ChangesAsync(host)).Where(c => c.StartsWith("io-error", StringComparison.Ordinal)));

        // The line of the store's requests that were answered with an error.
        async Task<string> ErrorsAsync() => (await daemons.Stores["store-a"].TextAsync("metrics")).Split('\n')
            .Single(l => l.StartsWith("sdnedge_nbd_errors_total", StringComparison.Ordinal));
    }

    // What has happened to the guest until now.
    private static async Task<List<string>> ChangesAsync(HostClient host)
    {
        var changes = new List<string>();
        await foreach (EventRecord e in host.EventsAsync(0))
        {
            if (e.Subject == GuestRig.Server) changes.Add(e.Change);
            if (e.Change == "io-error-over") break;
        }

        return changes;
    }
}
