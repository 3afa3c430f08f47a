using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>What a planner finds of volumes, by what the stores of both sites say and by what is on record.</summary>
public sealed class VolumePlanTests
{
    private static readonly Guid s_id = Guid.Parse("6f1d2d1e-7b55-4d6a-9a53-0c5a10b7a001");

    private static readonly ServerVolumeInfo s_owner = new("web-disk", s_id, 8L << 30, "store-a", OwnerRole.Owner, 1,
        ReplicationMode.Async, ReplicationMode.Async, Protection: Protection.Protected, Connected: true, Alarms: [])
    {
        IsReplicated = true, GrantedEpoch = 1, BytesPerSecond = 100_000_000, WriteBytesPerSecond = 1_000_000,
    };

    private static readonly ServerVolumeInfo s_replica = new("web-disk", s_id, 8L << 30, "store-b", OwnerRole.Replica, 1)
    {
        IsReplicated = true, Phase = CopyPhase.Following,
    };

    private readonly PlanLab _lab = new();

    public VolumePlanTests()
    {
        _lab.Set("host-a", "web-1", s => s with { Volumes = [s_owner] });
        _lab.Set("host-b", "web-1", s => s with { Volumes = [s_replica] });
    }

    [Fact]
    public async Task A_volume_whose_replica_follows_moves_with_its_server()
    {
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
        Assert.Equal([new MovedVolume("web-disk", s_id)], plan.Moves[0].Servers[0].Volumes!);
        Assert.Null(plan.Moves[0].Servers[1].Volumes);
    }

    [Fact]
    public Task A_volume_that_the_other_host_does_not_name()
    {
        _lab.Set("host-b", "web-1", s => s with { Volumes = null });
        return FindsAsync("volumes-differ", "web-disk of web-1", "at host-a and not at host-b", "volumes: for it in both");
    }

    [Fact]
    public Task A_volume_that_only_the_other_host_names()
    {
        _lab.Set("host-b", "web-1", s => s with { Volumes = [s_replica, s_replica with { Name = "logs" }] });
        return FindsAsync("volumes-differ", "logs of web-1", "at host-b and not at host-a");
    }

    [Theory]
    [InlineData("host-a")]
    [InlineData("host-b")]
    public Task A_store_that_does_not_answer(string host)
    {
        Set(host, v => new ServerVolumeInfo(v.Name, Fault: "the store has not answered within 2 s"));
        return FindsAsync("volume-fault", $"web-disk of web-1 at {host}", "has not answered within 2 s", "served at both sites");
    }

    [Fact]
    public Task A_store_that_has_no_such_volume()
    {
        Set("host-b", v => new ServerVolumeInfo(v.Name, Fault: "there is no volume 'web-disk' at store-b") { IsMissing = true });
        return FindsAsync("volume-unknown", "web-disk of web-1 at host-b", "there is no volume 'web-disk' at store-b", "make it there");
    }

    [Fact]
    public Task Sizes_that_differ()
    {
        Set("host-b", v => v with { SizeBytes = 4L << 30 });
        return FindsAsync("volume-size", "web-disk of web-1", "8589934592 bytes at store-a and 4294967296 at store-b");
    }

    [Fact]
    public Task Two_volumes_of_the_same_name_that_are_no_copies_of_each_other()
    {
        Set("host-b", v => v with { Id = Guid.Empty });
        return FindsAsync("volume-differs", "web-disk of web-1", $"{s_id} at store-a", $"{Guid.Empty} at store-b");
    }

    [Theory]
    [InlineData("host-a", "no replica by the configuration of store-a", "replica: store-b")]
    [InlineData("host-b", "no replica by the configuration of store-b", "replica: store-a, owner: false")]
    public Task A_volume_without_a_replica(string host, string what, string right)
    {
        Set(host, v => v with { IsReplicated = false });
        return FindsAsync("volume-alone", "web-disk of web-1", what, right);
    }

    [Fact]
    public Task A_store_that_does_not_own_what_runs_there()
    {
        Set("host-a", v => v with { Role = OwnerRole.Replica });
        return FindsAsync("volume-owner", "web-disk of web-1", "web-1 runs at dc-a, and store-a does not own it (replica)");
    }

    [Fact]
    public Task Two_stores_that_own_it()
    {
        Set("host-b", v => v with { Role = OwnerRole.Owner, GrantedEpoch = 4 });
        return FindsAsync("volume-owner", "web-disk of web-1", "store-b owns it (epoch 4)", "so does store-a (epoch 1)", "owner: false");
    }

    [Fact]
    public async Task A_copy_that_is_not_whole_waits_for_a_window_or_for_the_operator()
    {
        Set("host-b", v => v with { Phase = CopyPhase.Copying, CopiedBytes = 1L << 30 });
        await FindsAsync("volume-copying", "web-disk of web-1", "store-b is not whole yet (copying): 1073741824 of 8589934592 bytes");
        var window = new WindowCall(_lab.Now.AddHours(2), _lab.Now.AddHours(4));
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Window = window });
        Assert.Empty(plan.Info.Obstacles);
        Assert.Contains("it has to be before the window", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
        MoveOptions options = plan.Moves[0].Options;
        Assert.Equal(new MoveWindow(window.From, window.To, WindowCall.UsualLeadMs), options.Window);

        // The stage that waits for the window ends with it, not before.
        Assert.True(options.MirrorMs > (window.To - window.From).TotalMilliseconds + WindowCall.UsualLeadMs);
    }

    [Fact]
    public Task A_window_that_is_over()
        => FindsAsync("window-over", "web", c => c with { Window = new WindowCall(_lab.Now.AddHours(-4), _lab.Now.AddHours(-2)) },
            "the window ended at 2026-11-28 10:00:00Z", "it is 2026-11-28 12:00:00Z");

    [Fact]
    public Task A_replica_that_is_not_reached()
    {
        Set("host-a", v => v with { Connected = false });
        return FindsAsync("replica-gone", "web-disk of web-1", "store-a has no link to store-b");
    }

    [Fact]
    public Task Copies_that_say_different_things()
    {
        Set("host-a", v => v with { Alarms = [ReplicationAlarm.CopiesDiffer] });
        return FindsAsync("volume-differs", "web-disk of web-1", "different things of the same point", "store check web-disk");
    }

    [Fact]
    public Task A_guest_that_writes_faster_than_the_link_carries()
    {
        Set("host-a", v => v with { LagBytes = 5_000_000, LagSeconds = 1, WriteBytesPerSecond = 120_000_000 });
        return FindsAsync(
            "volume-not-converging", "web-disk of web-1", "written at 120.0 MB/s", "carries 100.0 MB/s", "5000000 bytes behind");
    }

    // While nothing waits, the link carries what is written, and its rate says nothing of what it could carry.
    [Fact]
    public async Task What_is_on_its_way_to_the_replica_is_no_backlog()
    {
        Set("host-a", v => v with
        {
            LagBytes = 16_896, LagSeconds = 0.04, WriteBytesPerSecond = 400_000, BytesPerSecond = 390_000,
        });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
    }

    [Fact]
    public async Task A_replica_that_is_far_behind_is_worth_a_word()
    {
        Set("host-a", v => v with { LagBytes = 990_000_000, LagSeconds = 30 });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Equal("web-disk of web-1: the replica is 990000000 bytes and 30 s behind, about 10 s of the link: the move waits for it",
            Assert.Single(plan.Info.Warnings));
    }

    [Fact]
    public Task A_copy_that_is_stale_on_record()
    {
        _lab.State = _lab.State with
        {
            Volumes = _lab.State.Volumes.Add(s_id, new VolumeMark(1, 2, 901, "2026-11-28T11:00:00.000Z", "store-a", "web-disk")),
        };
        Set("host-a", v => v with { StaleFrom = 901, Protection = Protection.Unprotected });
        return FindsAsync("volume-stale", "web-disk of web-1", "at dc-b is stale from sequence 901 on", "since 2026-11-28T11:00:00.000Z",
            "by store-a", "wait until it is whole again");
    }

    [Fact]
    public Task A_copy_that_its_store_calls_stale_and_that_is_not_on_record()
    {
        Set("host-a", v => v with { StaleFrom = 901 });
        return FindsAsync("volume-stale", "web-disk of web-1", "store-a says", "sequence 901", "not on record here");
    }

    [Theory]
    [InlineData("host-a", 0)]
    [InlineData("host-b", 59)]
    public Task A_guest_that_sees_a_store_that_is_started_again(string host, int seconds)
    {
        Machines(d => d);
        var disk = new MachineDisk("d0", "nbd", DiskReach.Network, false, "stop", "stop", seconds);
        _lab.Set(host, "web-1", s => s with { Machine = Machine(disk) });
        return FindsAsync("disk-reconnect", $"web-1 at {host}", $"disk d0 waits {seconds} s", "reconnect-delay=60");
    }

    [Fact]
    public async Task A_guest_that_waits_long_enough_and_one_without_volumes_are_not_told_anything()
    {
        Machines(d => d with { ReconnectSeconds = 60 });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Machines(d => d with { ReconnectSeconds = 0 });
        foreach (string host in (string[])["host-a", "host-b"]) _lab.Set(host, "web-1", s => s with { Volumes = null });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
    }

    [Fact]
    public async Task All_of_it_at_once()
    {
        Set("host-a", v => v with { Connected = false, StaleFrom = 7 });
        Set("host-b", v => v with { SizeBytes = 4096, Phase = CopyPhase.Copying });
        Machines(d => d with { WriteError = "report", ReconnectSeconds = 0 });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Equal(["disk-errors", "disk-reconnect", "replica-gone", "volume-copying", "volume-size", "volume-stale"],
            plan.Info.Obstacles.Select(o => o.Reason).Distinct().Order());
        Assert.Empty(plan.Moves);
    }

    // Two servers with a volume each, and a server with two: one move, so one epoch and one pivot for all of them.
    [Fact]
    public async Task All_volumes_of_a_group_are_in_one_move()
    {
        Guid logs = Guid.NewGuid(), other = Guid.NewGuid();
        _lab.Set("host-a", "web-1", s => s with { Volumes = [s_owner, s_owner with { Name = "logs", Id = logs }] });
        _lab.Set("host-b", "web-1", s => s with { Volumes = [s_replica, s_replica with { Name = "logs", Id = logs }] });
        _lab.Set("host-a", "web-2", s => s with { Volumes = [s_owner with { Name = "other", Id = other }] });
        _lab.Set("host-b", "web-2", s => s with { Volumes = [s_replica with { Name = "other", Id = other }] });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        MovePlan move = Assert.Single(plan.Moves);
        Assert.Equal([("web-1", "web-disk"), ("web-1", "logs"), ("web-2", "other")],
            move.Servers.SelectMany(s => s.Volumes!.Select(v => (s.Name, v.Name))));

        // One that is stale keeps all of them where they are.
        _lab.State = _lab.State with { Volumes = _lab.State.Volumes.Add(other, new VolumeMark(1, 1, 5, "t", "store-a", "other")) };
        plan = await _lab.PlanAsync();
        Assert.Equal("volume-stale", Assert.Single(plan.Info.Obstacles).Reason);
        Assert.Empty(plan.Moves);
    }

    private void Machines(Func<MachineDisk, MachineDisk> disk)
    {
        foreach (string host in (string[])["host-a", "host-b"])
        {
            foreach (string server in (string[])["web-1", "web-2"])
                _lab.Set(host, server, s => s with
                {
                    Driver = "qemu", Machine = Machine(disk(new MachineDisk("d0", "nbd", DiskReach.Network, false, "stop", "stop", 60))),
                });
        }
    }

    private static MachineInfo Machine(MachineDisk disk) => new("qemu", "10.0.2", "tcg", "pc-q35-7.2", "qemu64", 1, 128L << 20)
    {
        IsSeen = true, ResolvedType = "pc-q35-7.2", CpuIsKnown = true, HostFreeBytes = 8L << 30, Devices = [], Disks = [disk],
    };

    private void Set(string host, Func<ServerVolumeInfo, ServerVolumeInfo> change)
        => _lab.Set(host, "web-1", s => s with { Volumes = [change(s.Volumes![0])] });

    private Task FindsAsync(string reason, string where, params string[] words) => FindsAsync(reason, where, c => c, words);

    private async Task FindsAsync(string reason, string where, Func<MigrationCall, MigrationCall> with, params string[] words)
    {
        PlanResult plan = await _lab.PlanAsync(with: with);
        Obstacle found = Assert.Single(plan.Info.Obstacles);
        Assert.Equal((reason, where), (found.Reason, found.Where));
        Assert.All(words, w => Assert.Contains(w, found.Detail, StringComparison.Ordinal));
        Assert.Empty(plan.Moves);
    }
}
