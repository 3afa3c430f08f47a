using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A real virtual machine moves over the WAN by the manager, while a client uses it.</summary>
[Trait("needs", "executable")]
public sealed class GuestTests
{
    private const string Address = "10.1.1.10";

    [RootFact]
    public async Task A_virtual_machine_moves_there_and_back_with_its_memory_and_no_ping_is_lost()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(
            LabFiles.Guest, instance.Options with { Name = instance.Name }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        using var host = new HostClient(new ApiEndpoint("host-a", lab.ApiSocket("host-a")));
        using var mms = new MmsClient(new ApiEndpoint("mms", lab.ApiSocket("mms")));
        Assert.Equal(ServerState.Running,
            (await host.OrderAsync("vs", ServerOrder.Resume, new ServerOrderRequest(1, "first-start"))).State);
        Assert.Equal("dc-a", Assert.Single(Assert.Single(await mms.RecoverAsync()).Servers).Site);
        await LabInstance.ReachAsync(lab, "client-c", Address);
        using var pings = new Pings(lab, "client-c", Address);
        await pings.AnswersAsync(1);
        long ticks = await TicksAsync(lab);
        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            MigrationStatus status = await MoveRig.EndedAsync(mms, (await mms.StartAsync(new MigrationCall("vs", to))).Id);
            Assert.True(status.State == "moved", $"{status.State}: {status.Failure}");
            long now = await TicksAsync(lab);
            Assert.True(now >= ticks, $"the guest's clock went back from {ticks} to {now}");
            ticks = now;
        }

        await Pings.NothingLostAsync([pings], account);
    }

    // Of the guest's own clock, ten a second. It checks its memory as it writes to it, and says how many words it found wrong.
    private static async Task<long> TicksAsync(RunningLab lab)
    {
        string said = "";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < LabInstance.Patience && said.Length == 0;)
            said = await LabInstance.RunAsync(lab, "client-c", "sh", "-c", $"echo '?' | timeout 2 socat -T 1 - UDP:{Address}:8 || true");
        string[] words = said.Split(' ', '\n');
        Assert.True(words.Length > 1 && words[1] == "0", $"the guest answers '{said}': ticks, and words of its memory that are wrong");
        return long.Parse(words[0], CultureInfo.InvariantCulture);
    }
}
