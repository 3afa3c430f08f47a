using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Core.Tests.Rib;

[Collection("alone")]
public sealed class RibMemoryTests(ITestOutputHelper output)
{
    [Fact]
    public void Routes_of_two_peers_cost_less_than_200_bytes_each_attributes_included()
    {
        const int Prefixes = 250_000;
        const int PrefixesPerAttributes = 8;
        var table = new AttributeTable();
        var builder = new AttributeBuilder();
        long before = GC.GetTotalMemory(forceFullCollection: true);
        var rib = new LocRib("default");
        rib.Offer(new RouteOrigin(RouteSource.Connected, "connected"), IpPrefix.Parse("10.0.0.0/8"), HopSpec.Connected("core"), null, 0);
        RouteOrigin[] peers =
            [.. Enumerable.Range(1, 2)
                .Select(i => new RouteOrigin(IpAddress.FromV4(0x0A000000u + (uint)i), 65000, external: false) { PeerRouterId = (uint)i })];
        foreach (RouteOrigin peer in peers)
        {
            for (int i = 0; i < Prefixes; i++)
            {
                uint group = (uint)(i / PrefixesPerAttributes);
                PathAttributes attributes = table.Intern(builder.Clear().Origin(BgpOrigin.Igp)
                    .Path(65001, 65002 + (group % 1000), 64000 + (group / 1000), peer.PeerRouterId).LocalPref(100)
                    .Communities(group + 1).Build());
                rib.Offer(peer, new IpPrefix(IpAddress.FromV4((20u << 24) + ((uint)i << 8)), 24), HopSpec.Via(peer.Peer), attributes, i);
                if (i % 1000 == 0) rib.TakeChanges();
            }
        }

        long bytes = GC.GetTotalMemory(forceFullCollection: true) - before;
        output.WriteLine($"{bytes / 1e6:F1} MB for {2 * Prefixes} routes: {(double)bytes / (2 * Prefixes):F0} bytes a route, {table.Count} "
            + $"sets of attributes");
        Assert.Equal(Prefixes + 1, rib.PrefixesV4);
        Assert.InRange(bytes, 1, 200L * 2 * Prefixes);
        GC.KeepAlive(table);
    }
}
