using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

/// <summary>The FIB follows the RIB: after any series of changes each does with every prefix what the other says.</summary>
public sealed class FibPublisherTests
{
    private static readonly RouteOrigin Connected = new(RouteSource.Connected, "connected");
    private static readonly RouteOrigin Static = new(RouteSource.Static, "static");
    private static readonly RouteOrigin Peer = new(IpAddress.Parse("10.255.0.9"), 65000, external: false);
    private static readonly RouteOrigin Redirect = new(RouteSource.Redirect, "migration m");

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void After_any_series_of_changes_the_fib_says_what_the_rib_says(int seed)
    {
        using var world = new World();
        var random = new Random(seed);
        for (int i = 0; i < 3000; i++)
        {
            IpPrefix prefix = random.Next(4) == 0
                ? new IpPrefix(IpAddress.FromV6(((UInt128)0xfd00 << 112) | ((UInt128)random.Next(40) << 64)), 64)
                : new IpPrefix(IpAddress.FromV4(0x0A000000u | ((uint)random.Next(60) << 8)), random.Next(3) == 0 ? 24 : 25);
            RouteOrigin origin = random.Next(4) switch { 0 => Static, 1 => Peer, 2 => Redirect, _ => Connected };
            if (random.Next(3) == 0) world.Rib.Withdraw(origin, prefix, i);
            else world.Rib.Offer(origin, prefix, world.Hop(origin, prefix.Family, random), null, i);

            // The way to the BGP next hop comes, changes and goes too.
            if (random.Next(40) == 0) world.Rib.Withdraw(Static, World.NextHopV4, i);
            if (random.Next(20) == 0)
                world.Rib.Offer(Static, World.NextHopV4, HopSpec.Via(IpAddress.Parse($"172.16.0.{random.Next(2, 5)}"), "core"), null, i);
            if (random.Next(3) == 0) world.Publish();
            if (i % 200 == 199) world.CheckAll();
        }

        world.Publish();
        world.CheckAll();
    }

    [Fact]
    public void Taking_everything_away_leaves_no_leaf()
    {
        using var world = new World();
        for (int i = 0; i < 100; i++)
            world.Rib.Offer(Static, IpPrefix.Parse($"10.0.{i}.0/24"), HopSpec.Via(IpAddress.Parse("172.16.0.2"), "core"), null, i);
        world.Publish();
        Assert.Equal(2, world.Vrf.LeafCount); // one for the hundred, one for the subnet
        world.Rib.WithdrawAll(Static, 1000);
        world.Rib.WithdrawAll(Connected, 1000);
        world.Publish();
        Assert.True(world.Publisher.HasRetired);
        world.Publisher.Reclaim();
        Assert.Equal(0, world.Vrf.LeafCount);
        Assert.Equal(0, world.Vrf.V4.Count);
    }

    [Fact]
    public void A_redirect_lies_over_the_route_and_gives_it_back()
    {
        using var world = new World();
        IpPrefix server = IpPrefix.Parse("10.1.1.10/32");
        world.Rib.Offer(Static, server, HopSpec.Connected("dc"), null, 1);
        world.Publish();
        FibLeaf before = world.Publisher.LeafOf(server)!;
        ForwardingDecision attached = world.Publisher.Connected(world.Dc);
        world.Publisher.Attach(server, attached);
        world.Rib.Offer(Redirect, server, HopSpec.Group("m"), null, 2);
        world.Publish();
        FibLeaf under = world.Publisher.LeafOf(server)!;
        Assert.Same(world.Group, under.Group);
        Assert.Same(attached, under.AttachedHop);
        Assert.Same(before.Hop, under.Hop);

        // The route under it goes: the group stays in force.
        world.Rib.Withdraw(Static, server, 3);
        world.Publish();
        Assert.Same(world.Group, world.Publisher.LeafOf(server)!.Group);
        world.Rib.Offer(Static, server, HopSpec.Connected("dc"), null, 4);
        world.Rib.WithdrawAll(Redirect, 5);
        world.Publish();
        Assert.Null(world.Publisher.LeafOf(server)!.Group);
        Assert.Equal(ForwardingKind.Connected, world.Publisher.LeafOf(server)!.Hop.Current.Kind);
    }

    private sealed class World : IFibNames, IDisposable
    {
        public static readonly IpPrefix NextHopV4 = IpPrefix.Parse("10.255.0.9/32");

        private readonly DataPlane _plane = new(1);
        private readonly PortEntry _core;

        public World()
        {
            Vrf = _plane.AddVrf("default");
            _core = _plane.AddPort(new PortOptions("core", MacAddress.Parse("02:00:00:00:00:01"), 1500),
                LinkedPort.Pair("core", "x").One, Vrf);
            Dc = _plane.AddPort(new PortOptions("dc", MacAddress.Parse("02:00:00:00:00:02"), 1500), LinkedPort.Pair("dc", "x").One, Vrf);
            Publisher = new FibPublisher(Vrf, this);
            Rib.Offer(Connected, IpPrefix.Parse("172.16.0.0/24"), HopSpec.Connected("core"), null, 0);
        }

        public Vrf Vrf { get; }

        public PortEntry Dc { get; }

        public RedirectGroup Group { get; } = new("m", "default", 1);

        public LocRib Rib { get; } = new("default");

        public FibPublisher Publisher { get; }

        public PortEntry? Port(string name) => name == "core" ? _core : name == "dc" ? Dc : null;

        public Tunnel? Tunnel(string name) => null;

        RedirectGroup? IFibNames.Group(string name) => name == "m" ? Group : null;

        public HopSpec Hop(RouteOrigin origin, IpFamily family, Random random)
        {
            if (ReferenceEquals(origin, Redirect)) return HopSpec.Group("m");
            if (ReferenceEquals(origin, Peer))
                return HopSpec.Via(family == IpFamily.V4 ? NextHopV4.Address : IpAddress.Parse("fd00:ff::9"));
            return random.Next(4) switch
            {
                0 => HopSpec.Connected("dc"),
                1 => HopSpec.Blackhole,
                2 => HopSpec.Local,
                _ => HopSpec.Via(IpAddress.Parse(family == IpFamily.V4 ? "172.16.0.7" : "fe80::7"), "core"),
            };
        }

        public void Publish()
        {
            foreach (ref readonly RibChange change in Rib.TakeChanges()) Publisher.Apply(change);
        }

        /// <summary>The slow, obvious way: every prefix that has a route is asked for, in RIB and FIB.</summary>
        public void CheckAll()
        {
            Publish();
            int prefixes = 0;
            foreach (IGrouping<IpPrefix, RouteView> routes in Rib.All().GroupBy(r => r.Prefix))
            {
                RouteView? native = Rib.Best(routes.Key);
                bool redirected = routes.Any(r => r.Origin.Source == RouteSource.Redirect);
                FibLeaf? leaf = Publisher.LeafOf(routes.Key);
                if (native is null && !redirected)
                {
                    Assert.Null(leaf);
                    continue;
                }

                prefixes++;
                Assert.NotNull(leaf);
                Assert.Equal(redirected, leaf.Group is not null);
                ResolvedHop hop = native?.Hop.Resolved ?? default;
                ForwardingDecision decision = leaf.Hop.Current;
                Assert.Equal(
                    hop.Kind switch
                    {
                        HopKind.Connected => ForwardingKind.Connected,
                        HopKind.Via => ForwardingKind.Via,
                        HopKind.Local => ForwardingKind.Local,
                        HopKind.Blackhole => ForwardingKind.Drop,
                        _ => ForwardingKind.Unreachable,
                    },
                    decision.Kind);
                if (hop.Kind is HopKind.Connected or HopKind.Via) Assert.Equal(hop.Port, decision.Port!.Name);
                if (hop.Kind == HopKind.Via) Assert.Equal(hop.Address, decision.Adjacency!.Address);
            }

            Assert.Equal(prefixes, Vrf.V4.Count + Vrf.V6.Count);
            Publisher.Reclaim();
        }

        public void Dispose() => Vrf.Dispose();
    }
}
