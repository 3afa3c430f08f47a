using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A group of three servers moves back and forth under traffic, with real processes: each move is clean, and the one after it finds nothing
/// of it. Twenty of one server, twenty of ten, and what memory they take: <c>./build.sh bench moves</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class MoveTests(ITestOutputHelper output)
{
    [RootFact]
    public async Task Six_moves_of_a_group_of_three_lose_nothing_and_leave_nothing()
    {
        await using MoveRig rig = await MoveRig.StartAsync(LabFiles.Figure1, servers: 3);
        using EchoTraffic traffic = await rig.TrafficAsync(GroupLab.Group, perSecond: 50);
        var sites = new List<string>();
        for (int i = 0; i < 6; i++)
        {
            MoveResult move = await rig.MoveAsync(GroupLab.Group, traffic, copyMs: 20);
            output.WriteLine(FormattableString.Invariant(
                $"{move.Id} to {move.To}: {move.State}, blackout {move.BlackoutMs:F0} ms, network {move.NetworkMs:F0} ms, {move.Echo}"));
            Assert.Empty(move.Wrong);
            Assert.True(move.Echo.Sent > 0);
            sites.Add(move.To);
        }

        Assert.Equal(["dc-b", "dc-a", "dc-b", "dc-a", "dc-b", "dc-a"], sites);
    }
}
