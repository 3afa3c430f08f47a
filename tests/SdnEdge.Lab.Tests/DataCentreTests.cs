using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Mms.Model;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A small data centre moves as one: 12 servers with 120 prefixes, together there and, three at once, back. A hundred with a thousand, and
/// what they cost: <c>./build.sh bench datacentre</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class DataCentreTests(ITestOutputHelper output)
{
    private const int Servers = 12, Routed = 8;

    [RootFact]
    public async Task Twelve_servers_with_120_prefixes_move_together_and_back_three_at_once_and_nothing_is_lost()
    {
        await using MoveRig rig = await MoveRig.StartAsync(LabFiles.Figure1, Servers, routed: Routed);
        using EchoTraffic traffic = await rig.TrafficAsync(GroupLab.Group, perSecond: 5);
        MoveResult together = await MoveAsync(null), back = await MoveAsync(3);
        Assert.Equal(("dc-b", 1), (together.To, together.MostAtOnce));
        Assert.Equal(("dc-a", 3), (back.To, back.MostAtOnce));
        MigrationState[] ended = [.. (await rig.JournalAsync())[^1].After.Migrations.Values];
        Assert.Equal([1, Servers], ended.Select(m => m.Moves.Count));
        Assert.All(ended, m => Assert.Equal(
            Servers * (2 + Routed), m.Moves.SelectMany(x => x.Plan.Paths).SelectMany(p => p.Target.Prefixes).Distinct().Count()));

        // Each member has its own pivot, and is asked for in the order of the file.
        Assert.Equal(Enumerable.Range(1, Servers).Select(GroupLab.NameOf), ended[1].Moves.Select(m => Assert.Single(m.Plan.Servers).Name));
        Assert.All(ended[1].Moves, m => Assert.Equal((true, MoveOutcome.Moved), (m.TargetOwns, m.Outcome)));
        Assert.Equal(Servers, ended[1].Moves.Select(m => m.Epoch).Distinct().Count());

        async Task<MoveResult> MoveAsync(int? atOnce)
        {
            MoveResult move = await rig.MoveAsync(GroupLab.Group, traffic, copyMs: 20, atOnce);
            output.WriteLine(FormattableString.Invariant(
                $"{move.Id} to {move.To}: {move.State}, {move.TotalMs:F0} ms, blackout {move.BlackoutsMs[0]:F0} to {move.BlackoutMs:F0} ms")
                + $", at once {move.MostAtOnce}, {move.Echo}");
            Assert.Empty(move.Wrong);
            Assert.Equal((0, 0, "moved"), (move.Echo.Lost, move.Echo.Duplicated, move.State));
            Assert.True(move.Echo.Sent > 0);
            return move;
        }
    }
}
