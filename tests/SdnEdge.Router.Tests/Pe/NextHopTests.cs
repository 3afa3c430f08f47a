using SdnEdge.Core.Api;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>Next hops are known before the first packet needs them.</summary>
public sealed class NextHopTests
{
    [Fact]
    public async Task The_next_hop_of_a_route_is_resolved_without_any_traffic()
    {
        // An IPv6 next hop, over which nothing but this route goes: no session, no probe.
        await using TwoPes two = await StartAsync(edit: a => a.Replace(
            "  - { prefix: 10.1.1.10/32, port: dc }",
            "  - { prefix: 10.1.1.10/32, port: dc }\n  - { prefix: \"fd00:77::/64\", via: \"fd00:16::2\" }",
            StringComparison.Ordinal));
        await UntilAsync("pe-a knows fd00:16::2", async () =>
            (await GetAsync<NeighborInfo[]>(two.ApiA, "v1/neighbors")).Any(n => n.Address == "fd00:16::2" && n.Mac == "02:00:00:00:b0:01"));
    }

    [Fact]
    public async Task A_next_hop_that_is_not_there_is_asked_for_again_and_again_and_stops_nothing()
    {
        await using TwoPes two = await StartAsync(edit: a => a.Replace(
            "  - { prefix: 10.1.1.10/32, port: dc }",
            "  - { prefix: 10.1.1.10/32, port: dc }\n  - { prefix: 10.77.0.0/16, via: 172.16.0.77 }", StringComparison.Ordinal));
        await UntilAsync("pe-a knows pe-b", async () =>
            (await GetAsync<NeighborInfo[]>(two.ApiA, "v1/neighbors")).Any(n => n.Address == "172.16.0.2" && n.Mac is not null));
        NeighborInfo absent = Assert.Single(await GetAsync<NeighborInfo[]>(two.ApiA, "v1/neighbors"), n => n.Address == "172.16.0.77");
        Assert.Equal("incomplete", absent.State);
    }
}
