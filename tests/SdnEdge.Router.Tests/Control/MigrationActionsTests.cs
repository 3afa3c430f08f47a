using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
using SdnEdge.Router.Tests.Pe;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

/// <summary>
/// What costs as much as there are prefixes is done in parts, each of them published: between two parts the tables are as far as the parts
/// have come. A store is whole.
/// </summary>
public sealed class MigrationActionsTests
{
    private const int Part = MigrationActions.PrefixesAPart;
    private const int Count = (2 * Part) + 7;

    private static readonly PrefixSet Set = new(Enumerable.Range(0, Count)
        .Select(i => new MovedPrefix(new IpPrefix(IpAddress.FromV4(0x64400000u + (uint)i), 32), "dc")));

    private static readonly AdvertisePrefixes Advertise = new("m", "default", Set, 200, 1, Tag: 5);
    private static readonly WithdrawPrefixes Withdraw = new("default", Set);

    [Fact]
    public void Prefixes_are_advertised_and_withdrawn_in_parts_and_each_part_is_in_the_tables_behind_it()
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()));
        Assert.Equal([(Part, Part, true), (2 * Part, 2 * Part, true), (Count, Count, false)],
            world.Watch(Advertise, () => (world.Here, world.Moved.Count)));
        Assert.Equal([(Count - Part, Count - Part, true), (Count - (2 * Part), Count - (2 * Part), true), (0, 0, false)],
            world.Watch(Withdraw, () => (world.Here, world.Moved.Count)));
        Assert.All(Set, p => Assert.True(world.State.IsSuppressed("default", p.Prefix)));
        world.Do(new RestorePrefixes("default", Set));
        Assert.All(Set, p => Assert.False(world.State.IsSuppressed("default", p.Prefix)));
    }

    [Fact]
    public void A_group_goes_in_parts_and_is_forgotten_behind_the_last_of_its_prefixes()
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmGroup("m", "default", Set, "t"), new SwitchToTunnel("m"));
        Assert.Equal(Count, world.Grouped);
        Assert.Equal([(Count - Part, 1, true), (Count - (2 * Part), 1, true)],
            world.Watch(new RemoveGroup("m", "default", Set), () => (world.Grouped, world.State.Groups.Count)));
        Assert.Equal((0, 0), (world.Grouped, world.State.Groups.Count));
        Assert.Null(world.Actions.GroupInfo("m"));
    }

    [Fact]
    public void The_mark_for_flush_markers_is_taken_off_in_parts_before_the_group_goes()
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()), Advertise);
        int tagged() => world.Moved.Values.Count(m => m.Tag is not null);
        Assert.Equal(Count, tagged());
        Assert.Equal([(Count - Part, Count), (Count - (2 * Part), Count), (0, Count), (0, Count - Part), (0, Count - (2 * Part))],
            world.Watch(new RemoveGroup("m", "default", Set), () => (tagged(), world.Grouped)).Select(s => (s.Item1, s.Item2)));
        Assert.Equal(0, world.Grouped);
        Assert.Equal(Count, world.Here);
    }

    [Fact]
    public void A_store_is_whole_and_does_not_wait_for_the_prefixes()
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmGroup("m", "default", Set, "t"));
        Assert.Equal([("tunnel", 0, false)], world.Watch(new SwitchToTunnel("m"), () => (world.Active, 0)));
        Assert.Equal([(Part, 0, true), (2 * Part, 0, true), (Count, 0, false)],
            world.Watch(new TellWith("default", Set, 150), () => (world.Moved.Count, 0)));
        Assert.Equal([("native", 0, false)], world.Watch(new SwitchBack("m"), () => (world.Active, 0)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void What_was_left_in_the_middle_may_be_begun_again_or_undone(int parts)
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()));
        Assert.Equal(parts, world.Actions.Carry(Advertise).Take(parts).Count());
        Assert.Equal(Math.Min(Count, parts * Part), world.Here);
        world.Do(Advertise);
        Assert.Equal(Count, world.Here);
        _ = world.Actions.Carry(Withdraw).Take(parts).Count();
        world.Do(Withdraw);
        Assert.Equal(0, world.Here);
        world.Do(Advertise);
        var remove = new RemoveGroup("m", "default", Set);
        _ = world.Actions.Carry(remove).Take(3 + parts).Count();
        Assert.Equal(Count - (parts * Part), world.Grouped);
        world.Do(remove);
        Assert.Equal((0, 0), (world.Grouped, world.State.Groups.Count));
        Assert.Equal(Count, world.Here);
    }

    [Fact]
    public void The_last_prefix_without_another_route_is_where_the_next_search_begins_and_none_is_left_out()
    {
        using var world = new World();
        world.Do(new CreateTunnel("t", "default", World.Peer, 7), new ArmGroup("m", "default", Set, "t"));
        var migration = new PeMigration("m", MigrationRole.Source, PeMigrationState.Withdrawn, 1, "default", Set, World.Peer, 7,
            new HoldOptions(), null, true, true, 0);
        foreach (MovedPrefix p in Set) world.Offer(p.Prefix);
        Assert.Null(world.Actions.Unrouted(migration));
        foreach (int gone in (int[])[Count - 1, 5])
        {
            IpPrefix prefix = Set[gone].Prefix;
            world.Rib.Withdraw(World.Static, prefix, 0);
            Assert.Equal(prefix, world.Actions.Unrouted(migration));
            world.Offer(prefix);
            Assert.Null(world.Actions.Unrouted(migration));
        }
    }

    /// <summary>The tables of a PE with two ports, its loop not running: a test carries out each part itself.</summary>
    private sealed class World : IPeSteps, IDisposable
    {
        public static readonly IpAddress Peer = IpAddress.Parse("10.255.0.2");
        public static readonly RouteOrigin Static = new(RouteSource.Static, "test");

        private readonly ControlLoop _loop = new(TimeProvider.System);

        public World()
        {
            NodeConfig config = TwoPes.Config("""
                name: pe
                routerId: 10.255.0.1
                as: 65000
                loopbacks: [10.255.0.1]
                ports:
                  - { name: core, device: c, mtu: 1600, addresses: [172.16.0.1/24] }
                  - { name: dc, device: d, addresses: [10.1.1.1/24] }
                static:
                  - { prefix: 10.255.0.2/32, via: 172.16.0.2 }
                """);
            var devices = new PortDevices(p => LinkedPort.Pair(p.Name, "peer").One, null);
            State = new PeState(config, _loop, new EventLog(), devices, this);
            var tunnels = new TunnelKeeper(State, _loop);
            var slowPath = new SlowPathDriver(State, _loop, tunnels.OnReply, tunnels.OnPathMtu);
            Actions = new MigrationActions(State, tunnels, slowPath.Resolve, SetMoved, new MarkerDriver(State, _loop), slowPath.Stretched,
                new MigrationChanges(), _loop) { AtOnce = true };
            foreach (VrfConfig vrf in config.Vrfs) State.AddVrf(vrf);
            foreach (PortConfig port in config.Ports) State.AddPort(port, devices.Open(port));
            foreach (StaticRouteConfig route in config.Static) State.OfferStatic(route);
            State.Publish(0);
            State.Workers.Start();
        }

        public PeState State { get; }

        public MigrationActions Actions { get; }

        public LocRib Rib => State.Default.Rib;

        /// <summary>How BGP tells moved prefixes.</summary>
        public Dictionary<IpPrefix, MovedRoute> Moved { get; } = [];

        /// <summary>Prefixes of the move that the FIB has on the port.</summary>
        public int Here => Set.Count(p => State.Default.Publisher.LeafOf(p.Prefix)?.Hop.Current.Kind == ForwardingKind.Connected);

        /// <summary>Prefixes of the move whose leaf points at a group.</summary>
        public int Grouped => Set.Count(p => State.Default.Publisher.LeafOf(p.Prefix)?.Group is not null);

        public string Active => Actions.GroupInfo("m")!.Active;

        public void Offer(IpPrefix prefix) => Rib.Offer(Static, prefix, HopSpec.Via(IpAddress.Parse("172.16.0.2"), "core"), null, 0);

        public void Do(params PeCommand[] commands)
        {
            foreach (PeCommand command in commands)
            {
                foreach (CommandPart _ in Actions.Carry(command))
                {
                }
            }
        }

        /// <summary>What is so behind each part, and whether there are more.</summary>
        public List<(T1, T2, bool More)> Watch<T1, T2>(PeCommand command, Func<(T1, T2)> look)
        {
            var seen = new List<(T1, T2, bool)>();
            foreach (CommandPart part in Actions.Carry(command))
            {
                (T1 one, T2 two) = look();
                seen.Add((one, two, part.More));
            }

            return seen;
        }

        public void Publish(long now) => State.Default.Publisher.Apply(Rib.TakeChanges());

        public void Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now)
        {
        }

        public void MarkerCame(ReadOnlySpan<byte> packet, Tunnel? tunnel, long now)
        {
        }

        public void PortGoes(PortEntry port)
        {
        }

        public bool NextHopWanted(Adjacency neighbor) => false;

        public void NextHopUnwanted(Adjacency neighbor)
        {
        }

        public void RouterHeard(string port, IpAddress address, long now)
        {
        }

        public void Reconfigured(string vrf, IpPrefix prefix)
        {
        }

        public void TunnelHealthChanged(string tunnel, bool up)
        {
        }

        public void FullyArmed(string group)
        {
        }

        public void TakenBack()
        {
        }

        public void Dispose()
        {
            _loop.Dispose();
            State.Dispose();
        }

        private void SetMoved(string vrf, IpPrefix prefix, MovedRoute? moved)
        {
            if (moved is { } value) Moved[prefix] = value;
            else Moved.Remove(prefix);
        }
    }
}
