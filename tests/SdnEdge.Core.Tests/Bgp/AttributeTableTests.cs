using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

public sealed class AttributeTableTests
{
    private readonly AttributeTable _table = new();
    private readonly AttributeBuilder _builder = new();

    [Fact]
    public void Sets_that_no_route_uses_are_swept_out_and_used_ones_stay_the_same_object()
    {
        var rib = new LocRib("default");
        var peer = new RouteOrigin(IpAddress.Parse("10.0.0.1"), 65001, external: true);
        PathAttributes used = Set(1);
        rib.Offer(peer, IpPrefix.Parse("10.1.0.0/16"), HopSpec.Blackhole, used, 0);
        for (uint n = 2; n < 50_000; n++) Set(n);
        Assert.InRange(_table.Count, 1, 10_000);
        Assert.Same(used, Set(1));

        rib.Offer(peer, IpPrefix.Parse("10.1.0.0/16"), HopSpec.Blackhole, Set(7), 0);
        for (uint n = 100_000; n < 150_000; n++) Set(n);
        Assert.NotSame(used, Set(1));
        Assert.Equal(used, Set(1));
        Assert.Same(rib.Best(IpPrefix.Parse("10.1.0.0/16"))!.Value.Attributes, Set(7));

        rib.Withdraw(peer, IpPrefix.Parse("10.1.0.0/16"), 0);
        Assert.Equal(0, Set(7).Users);
    }

    [Fact]
    public void A_builder_takes_as_much_as_four_of_the_largest_messages_in_any_steps_and_no_more()
    {
        var value = new byte[BgpLimits.MaxExtended];
        Array.Fill(value, (byte)7);
        for (byte code = 200; code < 203; code++) _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, code, value);
        for (byte code = 100; code < 180; code++) _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, code, [code]);
        PathAttributes set = _table.Intern(_builder.Build());
        Assert.Equal(value, set.Find(201).ToArray());
        Assert.Equal([133], set.Find(133).ToArray());
        Assert.Throws<InvalidOperationException>(() => _builder.Set(AttributeFlags.Optional, 203, value));
    }

    private PathAttributes Set(uint n) => _table.Intern(_builder.Clear().Origin(BgpOrigin.Igp).Path(65001, n).Build());
}
