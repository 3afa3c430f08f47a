using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
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

    private static int Here(PeTables world)
        => Set.Count(p => world.State.Default.Publisher.LeafOf(p.Prefix)?.Hop.Current.Kind == ForwardingKind.Connected);

    private static int Grouped(PeTables world) => Set.Count(p => world.State.Default.Publisher.LeafOf(p.Prefix)?.Group is not null);

    [Fact]
    public void Prefixes_are_advertised_and_withdrawn_in_parts_and_each_part_is_in_the_tables_behind_it()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()));
        Assert.Equal([(Part, Part, true), (2 * Part, 2 * Part, true), (Count, Count, false)],
            world.Watch(Advertise, () => (Here(world), world.Moved.Count)));
        Assert.Equal([(Count - Part, Count - Part, true), (Count - (2 * Part), Count - (2 * Part), true), (0, 0, false)],
            world.Watch(Withdraw, () => (Here(world), world.Moved.Count)));
        Assert.All(Set, p => Assert.True(world.State.IsSuppressed("default", p.Prefix)));
        world.Do(new RestorePrefixes("default", Set));
        Assert.All(Set, p => Assert.False(world.State.IsSuppressed("default", p.Prefix)));
    }

    [Fact]
    public void A_group_goes_in_parts_and_is_forgotten_behind_the_last_of_its_prefixes()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmGroup("m", "default", Set, "t"), new SwitchToTunnel("m"));
        Assert.Equal(Count, Grouped(world));
        Assert.Equal([(Count - Part, 1, true), (Count - (2 * Part), 1, true)],
            world.Watch(new RemoveGroup("m", "default", Set), () => (Grouped(world), world.State.Groups.Count)));
        Assert.Equal((0, 0), (Grouped(world), world.State.Groups.Count));
        Assert.Null(world.Actions.GroupInfo("m"));
    }

    [Fact]
    public void The_mark_for_flush_markers_is_taken_off_in_parts_before_the_group_goes()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()), Advertise);
        int tagged() => world.Moved.Values.Count(m => m.Tag is not null);
        Assert.Equal(Count, tagged());
        Assert.Equal([(Count - Part, Count), (Count - (2 * Part), Count), (0, Count), (0, Count - Part), (0, Count - (2 * Part))],
            world.Watch(new RemoveGroup("m", "default", Set), () => (tagged(), Grouped(world))).Select(s => (s.Item1, s.Item2)));
        Assert.Equal(0, Grouped(world));
        Assert.Equal(Count, Here(world));
    }

    [Fact]
    public void A_store_is_whole_and_does_not_wait_for_the_prefixes()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmGroup("m", "default", Set, "t"));
        Assert.Equal([("tunnel", 0, false)], world.Watch(new SwitchToTunnel("m"), () => (world.Active, 0)));
        Assert.Equal([(Part, 0, true), (2 * Part, 0, true), (Count, 0, false)],
            world.Watch(new TellWith("default", Set, 150), () => (world.Moved.Count, 0)));
        Assert.Equal([("native", 0, false)], world.Watch(new SwitchBack("m"), () => (world.Active, 0)));
    }

    [Fact]
    public void Prefixes_leave_from_the_arming_at_the_source_until_their_group_goes()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmGroup("m", "default", Set, "t"));
        Assert.Equal(Set.Select(p => p.Prefix).Order(), world.Leaving.Order());
        world.Do(new SwitchToTunnel("m"), new SwitchBack("m"));
        Assert.Equal(Count, world.Leaving.Count);
        Assert.Equal([(Count - Part, 0), (Count - (2 * Part), 0)],
            world.Watch(new RemoveGroup("m", "default", Set), () => (world.Leaving.Count, 0)).Select(s => (s.Item1, s.Item2)));
        Assert.Empty(world.Leaving);

        // Where servers come to, they do not leave.
        world.Do(new ArmHold("m", "default", Set, "t", new HoldOptions()), Advertise);
        Assert.Empty(world.Leaving);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void What_was_left_in_the_middle_may_be_begun_again_or_undone(int parts)
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmHold("m", "default", Set, "t", new HoldOptions()));
        Assert.Equal(parts, world.Actions.Carry(Advertise).Take(parts).Count());
        Assert.Equal(Math.Min(Count, parts * Part), Here(world));
        world.Do(Advertise);
        Assert.Equal(Count, Here(world));
        _ = world.Actions.Carry(Withdraw).Take(parts).Count();
        world.Do(Withdraw);
        Assert.Equal(0, Here(world));
        world.Do(Advertise);
        var remove = new RemoveGroup("m", "default", Set);
        _ = world.Actions.Carry(remove).Take(3 + parts).Count();
        Assert.Equal(Count - (parts * Part), Grouped(world));
        world.Do(remove);
        Assert.Equal((0, 0), (Grouped(world), world.State.Groups.Count));
        Assert.Equal(Count, Here(world));
    }

    [Fact]
    public void The_last_prefix_without_another_route_is_where_the_next_search_begins_and_none_is_left_out()
    {
        using var world = new PeTables();
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmGroup("m", "default", Set, "t"));
        var migration = new PeMigration("m", MigrationRole.Source, PeMigrationState.Withdrawn, 1, "default", Set, PeTables.Peer, 7,
            new HoldOptions(), null, true, true, 0);
        foreach (MovedPrefix p in Set) world.Offer(p.Prefix);
        Assert.Null(world.Actions.Unrouted(migration));
        foreach (int gone in (int[])[Count - 1, 5])
        {
            IpPrefix prefix = Set[gone].Prefix;
            world.Rib.Withdraw(PeTables.Static, prefix, 0);
            Assert.Equal(prefix, world.Actions.Unrouted(migration));
            world.Offer(prefix);
            Assert.Null(world.Actions.Unrouted(migration));
        }
    }

    [Fact]
    public void A_backup_holds_what_comes_by_the_direct_path_while_the_source_pe_has_failed()
    {
        using var world = new PeTables();
        PrefixSet set = new([Set[0], Set[1]]);
        var backup = new AdvertiseBackup("default", set, 50);
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmHold("m", "default", set, "t", new HoldOptions()), backup);
        Assert.Equal((2, "hold"), (world.Backups.Count(b => b.Value == 50), world.Active));

        // Another PE's failure says nothing of it; and back again.
        world.State.SetFailed("default", IpAddress.Parse("10.255.0.3"), failed: true, "test");
        Assert.Equal("hold", world.Active);
        FibLeaf leaf = world.State.Default.Publisher.LeafOf(set[0].Prefix)!;
        world.State.SetFailed("default", PeTables.Peer, failed: true, "test");
        Assert.Equal(("hold-all", ForwardingKind.Hold), (world.Active, leaf.ForOthers.Kind));
        Assert.Same(leaf, world.State.Default.Publisher.LeafOf(set[0].Prefix));
        world.State.SetFailed("default", PeTables.Peer, failed: false, "test");
        Assert.Contains(world.Active, (string[])["returning", "hold"]);   // what was held leaves first, by the native way

        // Failed again before that is through: it holds all again.
        world.State.SetFailed("default", PeTables.Peer, failed: true, "test");
        Assert.Equal(("hold-all", ForwardingKind.Hold), (world.Active, leaf.ForOthers.Kind));
        world.State.SetFailed("default", PeTables.Peer, failed: false, "test");

        // Activated while it has failed: all goes to the servers, whatever becomes of the PE then.
        world.State.SetFailed("default", PeTables.Peer, failed: true, "test");
        world.Do(new ReleaseHold("m"));
        string released = world.Active;
        Assert.Contains(released, (string[])["releasing", "deliver"]);
        world.State.SetFailed("default", PeTables.Peer, failed: false, "test");
        Assert.Contains(world.Active, (string[])["releasing", "deliver"]);
        world.Do(new AdvertisePrefixes("m", "default", set, 200, 1), backup with { LocalPref = null });
        Assert.Empty(world.Backups);
    }

    [Fact]
    public void A_target_that_is_no_backup_holds_what_comes_out_of_its_tunnel_only()
    {
        using var world = new PeTables();
        PrefixSet set = new([Set[0]]);
        world.Do(new CreateTunnel("t", "default", PeTables.Peer, 7), new ArmHold("m", "default", set, "t", new HoldOptions()));
        world.State.SetFailed("default", PeTables.Peer, failed: true, "test");
        Assert.Equal("hold", world.Active);
        var backup = new AdvertiseBackup("default", set, 50);
        world.Do(backup);
        Assert.Equal("hold-all", world.Active);
        world.Do(backup with { LocalPref = null });
        Assert.Contains(world.Active, (string[])["returning", "hold"]);

        // What the source does not tell itself is not told as a backup.
        world.Do(backup with { Except = [set[0].Prefix] });
        Assert.Equal(("hold-all", 0), (world.Active, world.Backups.Count));
    }
}
