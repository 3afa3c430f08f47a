using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

/// <summary>An ingress PE with two ways to each prefix: when a PE fails, all its prefixes go by their backups, by one store for each
/// pair.</summary>
public sealed class BackupPathTests
{
    private static readonly RouteOrigin Connected = new(RouteSource.Connected, "connected");
    private static readonly RouteOrigin Static = new(RouteSource.Static, "static");
    private static readonly RouteOrigin Redirect = new(RouteSource.Redirect, "migration m");

    [Theory]
    [InlineData(1)]
    [InlineData(10_000)]
    public void A_failure_is_one_store_for_each_pair_whatever_the_number_of_prefixes(int prefixes)
    {
        using var world = new World();
        for (int i = 0; i < prefixes; i++)
        {
            world.Offer(1, Prefix(i), 200);
            world.Offer(2, Prefix(i), 100);
        }

        world.Publish();
        FibLeaf leaf = world.Publisher.LeafOf(Prefix(0))!;
        Assert.Equal(1, world.Publisher.Pairs);
        Assert.All(Enumerable.Range(0, prefixes), i => Assert.Same(leaf, world.Publisher.LeafOf(Prefix(i))));
        Assert.Equal(World.Pe(1), world.RemoteOf(Prefix(0)));

        // The store: no prefix and no leaf is touched, and every prefix goes the other way.
        IndirectNextHop shared = leaf.Hop;
        Assert.Single(world.Fail(1));
        Assert.Same(leaf, world.Publisher.LeafOf(Prefix(prefixes - 1)));
        Assert.Same(shared, leaf.Hop);
        Assert.Equal(World.Pe(2), world.RemoteOf(Prefix(prefixes - 1)));

        // BGP behind it: another best route, the same way.
        ForwardingDecision before = leaf.Hop.Current;
        world.Converge();
        Assert.Same(before, world.Publisher.LeafOf(Prefix(0))!.Hop.Current);
        Assert.Equal(World.Peers[2], world.Rib.Best(Prefix(0))!.Value.Origin);
        Assert.Contains(world.Rib.Explain(Prefix(0)), r => r.WhyNot == RejectReason.NextHopFailed);
        world.Rib.WithdrawAll(World.Peers[1], 1);
        world.Publish();
        Assert.Same(before, world.Publisher.LeafOf(Prefix(0))!.Hop.Current);
        Assert.Equal(0, world.Publisher.Pairs);
    }

    [Fact]
    public void When_the_pe_is_back_nothing_of_the_mark_is_left()
    {
        using var world = new World();
        world.Offer(1, Prefix(0), 200);
        world.Offer(2, Prefix(0), 100);
        world.Publish();
        FibLeaf before = world.Publisher.LeafOf(Prefix(0))!;
        ForwardingDecision way = before.Hop.Current;
        world.Fail(1);
        world.Converge();
        world.Fail(1, failed: false);
        world.Converge();
        Assert.Same(way, world.Publisher.LeafOf(Prefix(0))!.Hop.Current);
        Assert.All(world.Rib.NextHops, hop => Assert.False(hop.Failed));
        Assert.Equal(1, world.Publisher.Pairs);
    }

    [Fact]
    public void A_failure_that_is_taken_back_before_bgp_has_converged_is_a_store_back()
    {
        using var world = new World();
        world.Offer(1, Prefix(0), 200);
        world.Offer(2, Prefix(0), 100);
        world.Publish();
        FibLeaf leaf = world.Publisher.LeafOf(Prefix(0))!;
        ForwardingDecision way = leaf.Hop.Current;
        world.Fail(1);
        Assert.NotSame(way, leaf.Hop.Current);
        world.Fail(1, failed: false);
        Assert.Same(way, leaf.Hop.Current);
    }

    [Fact]
    public void Without_a_backup_a_pe_that_was_given_up_is_the_last_resort()
    {
        using var world = new World();
        world.Offer(1, Prefix(0), 200);
        world.Publish();
        world.Fail(1);
        world.Converge();
        Assert.Equal(World.Pe(1), world.RemoteOf(Prefix(0)));

        // One that comes later, as a backup of PE 2's.
        world.Offer(2, Prefix(0), 100);
        world.Publish();
        Assert.Equal(World.Pe(2), world.RemoteOf(Prefix(0)));
        Assert.Equal(0, world.Publisher.Pairs);
    }

    [Fact]
    public void A_lost_route_to_the_pe_is_one_store_too()
    {
        using var world = new World();
        world.Offer(1, Prefix(0), 200);
        world.Offer(2, Prefix(0), 100);
        world.Publish();
        FibLeaf leaf = world.Publisher.LeafOf(Prefix(0))!;
        world.Rib.Withdraw(Static, new IpPrefix(World.Pe(1), 32), 1);
        foreach (RibChange change in world.Rib.TakeChanges().ToArray().Where(c => c.ChangedHop is not null)) world.Publisher.Apply(change);
        Assert.Same(leaf, world.Publisher.LeafOf(Prefix(0)));
        Assert.Equal(World.Pe(2), leaf.Hop.Current.RemotePe);
    }

    [Fact]
    public void Prefixes_under_a_redirect_flip_underneath_it()
    {
        using var world = new World();
        world.Offer(1, Prefix(0), 200);
        world.Offer(2, Prefix(0), 100);
        world.Rib.Offer(Redirect, Prefix(0), HopSpec.Group("m"), null, 0);
        world.Publish();
        FibLeaf leaf = world.Publisher.LeafOf(Prefix(0))!;
        Assert.Same(world.Group, leaf.Group);
        world.Fail(1);
        Assert.Same(leaf, world.Publisher.LeafOf(Prefix(0)));
        Assert.Equal(World.Pe(2), leaf.Hop.Current.RemotePe);
        Assert.Equal(1, Assert.Single(world.Publisher.NativesOf(world.Group)).Prefixes(IpFamily.V4));
    }

    [Fact]
    public void A_mirror_is_told_one_hop_for_each_pair()
    {
        var sink = new HopsOnly();
        using var world = new World(sink);
        for (int i = 0; i < 100; i++)
        {
            world.Offer(1, Prefix(i), 200);
            world.Offer(2, Prefix(i), 100);
        }

        world.Publish();
        int told = sink.Told.Count;
        world.Fail(1);
        (int id, MirrorHop hop) = Assert.Single(sink.Told.Skip(told));
        Assert.Equal(World.Pe(2), hop.RemotePe);
        Assert.Contains(id, sink.LeafHops);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void After_any_series_each_prefix_goes_where_the_slow_way_says(int seed)
    {
        using var world = new World();
        var random = new Random(seed);
        bool[] failed = new bool[World.Count + 1], reached = [.. Enumerable.Repeat(true, World.Count + 1)];
        var prefs = new Dictionary<(int Prefix, int Pe), uint>();
        int flips = 0;
        for (int step = 0; step < 3000; step++)
        {
            int pe = random.Next(1, World.Count + 1), i = random.Next(12);
            switch (random.Next(10))
            {
                case 0:
                    bool fails = failed[pe] = !failed[pe];
                    FibLeaf?[] leaves = [.. Enumerable.Range(0, 12).Select(p => world.Publisher.LeafOf(Prefix(p)))];
                    ForwardingDecision?[] ways = [.. leaves.Select(l => l?.Hop.Current)];
                    world.Fail(pe, fails);

                    // No leaf is touched; after a failure each prefix goes right at once.
                    for (int p = 0; p < 12; p++)
                    {
                        Assert.Same(leaves[p], world.Publisher.LeafOf(Prefix(p)));
                        if (leaves[p]?.Hop.Current != ways[p]) flips++;
                    }

                    if (fails) Check(flipped: true);
                    break;
                case 1:
                    reached[pe] = !reached[pe];
                    if (reached[pe]) world.Reach(pe);
                    else world.Rib.Withdraw(Static, new IpPrefix(World.Pe(pe), 32), step);
                    break;
                case 2 or 3:
                    world.Rib.Withdraw(World.Peers[pe], Prefix(i), step);
                    prefs.Remove((i, pe));
                    break;
                case 4 when random.Next(4) == 0:
                    world.Rib.WithdrawAll(World.Peers[pe], step);
                    foreach ((int Prefix, int Pe) key in prefs.Keys.Where(k => k.Pe == pe).ToArray()) prefs.Remove(key);
                    break;
                default:
                    // No two alike: the tie-breaks have an oracle of their own.
                    uint pref = (uint)(100 + (random.Next(5) * 10) + pe);
                    world.Offer(pe, Prefix(i), pref);
                    prefs[(i, pe)] = pref;
                    break;
            }

            world.Converge();
            Check();
        }

        Assert.True(flips > 50, $"{flips} flips");
        for (int pe = 1; pe <= World.Count; pe++) world.Rib.WithdrawAll(World.Peers[pe], 9999);
        world.Publish();
        Assert.Equal(0, world.Publisher.Pairs);

        void Check(bool flipped = false)
        {
            for (int p = 0; p < 12; p++)
            {
                int[] able = [.. Enumerable.Range(1, World.Count).Where(pe => reached[pe] && prefs.ContainsKey((p, pe)))];
                int best = able.OrderBy(pe => failed[pe]).ThenByDescending(pe => prefs[(p, pe)]).FirstOrDefault();

                // Where all have failed nothing is right, and the choice among them waits for the convergence.
                if (flipped && failed[best]) continue;
                Assert.Equal(best == 0 ? default : World.Pe(best), world.RemoteOf(Prefix(p)));
            }
        }
    }

    [Fact]
    public void A_pe_of_the_core_has_failed_for_customers_tunnels_too_and_for_vrfs_that_come_later()
    {
        using var world = new PeTables("""
            vrfs:
              - { name: default }
              - { name: red, key: 7 }
            """);
        LocRib red = world.State.Vrfs["red"].Rib;
        red.Reaches = _ => true;
        var peers = new RouteOrigin[] { new(World.Pe(1), 65000, false), new(World.Pe(2), 65000, false) };
        for (int pe = 0; pe < 2; pe++)
        {
            red.Offer(peers[pe], Prefix(0), HopSpec.Remote($"tunnel:vpn-{pe}", World.Pe(pe + 1), 8), null, 0);
            world.Rib.Offer(peers[pe], Prefix(0), HopSpec.Via(World.Pe(pe + 1)), null, 0);
        }

        world.State.SetFailed("default", World.Pe(1), failed: true, "test");
        Assert.All(world.Rib.NextHops.Concat(red.NextHops).Where(h => h.Spec.Address == World.Pe(1)), h => Assert.True(h.Failed));
        red.Converge(1);
        Assert.Equal(World.Pe(2), red.Best(Prefix(0))!.Value.Hop.Spec.Address);
        world.State.AddVrf(new Core.Config.VrfConfig("blue", null));
        world.State.Vrfs["blue"].Rib.Offer(peers[0], Prefix(0), HopSpec.Remote("tunnel:vpn-0", World.Pe(1), 8), null, 0);
        Assert.True(Assert.Single(world.State.Vrfs["blue"].Rib.NextHops, h => h.Spec.Kind == HopKind.Remote).Failed);

        // A customer's router at the same address is another one.
        red.Offer(new RouteOrigin(World.Pe(3), 65001, true), Prefix(1), HopSpec.Via(World.Pe(1)), null, 0);
        Assert.False(Assert.Single(red.NextHops, h => h.Spec.Kind == HopKind.Via).Failed);
        world.State.SetFailed("red", World.Pe(1), failed: true, "test");
        Assert.True(Assert.Single(red.NextHops, h => h.Spec.Kind == HopKind.Via).Failed);
        world.State.SetFailed("default", World.Pe(1), failed: false, "test");
        Assert.False(world.State.IsFailed("default", World.Pe(1)));
        Assert.All(red.NextHops.Where(h => h.Spec.Kind == HopKind.Remote), h => Assert.False(h.Failed));
    }

    private static IpPrefix Prefix(int i) => new(IpAddress.FromV4(0x0A010000u + (uint)i), 32);

    private sealed class World : IFibNames, IDisposable
    {
        /// <summary>PEs, numbered from 1.</summary>
        public const int Count = 4;

        public static readonly RouteOrigin[] Peers = [.. Enumerable.Range(0, Count + 1).Select(i => new RouteOrigin(Pe(i), 65000, false))];

        private readonly DataPlane _plane = new(1);
        private readonly PortEntry _core;
        private readonly AttributeTable _table = new();
        private readonly AttributeBuilder _builder = new();

        public World(IMirrorSink? sink = null)
        {
            Vrf = _plane.AddVrf("default");
            _core = _plane.AddPort(new PortOptions("core", MacAddress.Parse("02:00:00:00:00:01"), 1500),
                LinkedPort.Pair("core", "x").One, Vrf);
            MirrorSource? mirror = sink is null ? null : new MirrorSource(sink);
            Publisher = new FibPublisher(Vrf, this) { Mirror = mirror };
            mirror?.Full(_plane, [], () => { });
            Rib.Offer(Connected, IpPrefix.Parse("172.16.0.0/24"), HopSpec.Connected("core"), null, 0);
            for (int pe = 1; pe <= Count; pe++) Reach(pe);
        }

        public Vrf Vrf { get; }

        public RedirectGroup Group { get; } = new("m", "default", 1);

        public LocRib Rib { get; } = new("default");

        public FibPublisher Publisher { get; }

        public static IpAddress Pe(int i) => IpAddress.FromV4(0x0AFF0000u + (uint)i);

        public PortEntry? Port(string name) => name == "core" ? _core : null;

        public Tunnel? Tunnel(string name) => null;

        RedirectGroup? IFibNames.Group(string name) => name == "m" ? Group : null;

        public void Reach(int pe)
            => Rib.Offer(Static, new IpPrefix(Pe(pe), 32), HopSpec.Via(IpAddress.FromV4(0xAC100000u + (uint)pe + 10), "core"), null, 0);

        public void Offer(int pe, IpPrefix prefix, uint localPref) => Rib.Offer(Peers[pe], prefix, HopSpec.Via(Pe(pe)),
            _table.Intern(_builder.Clear().Origin(BgpOrigin.Igp).Path().LocalPref(localPref).Build()), 0);

        /// <summary>What PeState does, before the round ends.</summary>
        public IReadOnlyList<NextHop> Fail(int pe, bool failed = true)
        {
            IReadOnlyList<NextHop> hops = Rib.SetFailed(HopKind.Via, Pe(pe), failed);
            Publisher.Flip(hops);
            return hops;
        }

        public void Converge()
        {
            Rib.Converge(0);
            Publish();
        }

        public void Publish() => Publisher.Apply(Rib.TakeChanges());

        /// <summary>The PE that a prefix's packets go to; none: no route.</summary>
        public IpAddress RemoteOf(IpPrefix prefix) => Publisher.LeafOf(prefix)?.Hop.Current.RemotePe ?? default;

        public void Dispose() => Vrf.Dispose();
    }

    private sealed class HopsOnly : IMirrorSink
    {
        public List<(int Id, MirrorHop Hop)> Told { get; } = [];

        public List<int> LeafHops { get; } = [];

        public void Hop(int id, MirrorHop decision) => Told.Add((id, decision));

        public void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached) => LeafHops.Add(hop);

        public void Begin()
        {
        }

        public void End()
        {
        }

        public void Loopbacks(IReadOnlyList<IpAddress> addresses)
        {
        }

        public void Vrf(int index, string name, uint? key)
        {
        }

        public void VrfGone(int index)
        {
        }

        public void Port(MirrorPort port)
        {
        }

        public void PortGone(int index)
        {
        }

        public void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state)
        {
        }

        public void NeighborGone(int port, IpAddress address)
        {
        }

        public void Host(int port, IpAddress address)
        {
        }

        public void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up)
        {
        }

        public void TunnelState(int id, bool up, int pathMtu)
        {
        }

        public void TunnelGone(int id)
        {
        }

        public void Group(MirrorGroup group)
        {
        }

        public void GroupGone(int id)
        {
        }

        public void HopGone(int id)
        {
        }

        public void LeafGone(int vrf, uint index)
        {
        }

        public void Prefix(int vrf, IpPrefix prefix, uint leaf)
        {
        }

        public void PrefixGone(int vrf, IpPrefix prefix)
        {
        }
    }
}
