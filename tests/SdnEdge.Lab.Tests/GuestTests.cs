using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A real virtual machine moves over the WAN by the manager, while a client uses it. Twenty moves under more traffic, and memory:
/// <c>./build.sh bench guests moves</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class GuestTests
{
    [RootFact]
    public async Task A_virtual_machine_moves_there_and_back_with_its_memory_no_ping_is_lost_and_its_connections_live_on()
    {
        await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Guest);
        using LabAccount account = await LabAccount.OpenAsync(rig.Lab);
        using var pings = new Pings(rig.Lab, GuestRig.Client, GuestRig.Address);
        await using TcpLines tcp = await TcpLines.StartAsync(rig.Lab, GuestRig.Client, GuestRig.Address);
        await pings.AnswersAsync(1);
        MmsClient mms = rig.Daemons.Mms;
        (long ticks, _) = await rig.CountsAsync();
        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            MigrationStatus status = await MoveRig.EndedAsync(mms, (await mms.StartAsync(new MigrationCall(GuestRig.Server, to))).Id);
            Assert.True(status.State == "moved", $"{status.State}: {status.Failure}");
            Assert.Empty(await rig.InspectAsync(to, status.Epoch));
            LineCount lines = await tcp.SettleAsync();
            Assert.True(lines is { Failure: null, Lines: > 0 }, $"{lines}\n{await account.TellAsync()}");
            (long now, long bad) = await rig.CountsAsync();
            Assert.True(now >= ticks && bad == 0, $"the guest's clock was {ticks} and is {now}, {bad} words of its memory are wrong");
            ticks = now;
        }

        await Pings.NothingLostAsync([pings], account);
    }
}
