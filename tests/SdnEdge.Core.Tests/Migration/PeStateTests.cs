using System.Text;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Migration.PeExecutionTests;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>What outlives a restart: the machine that comes back answers as the one that went, and says what to put into the
/// tables.</summary>
public sealed class PeStateTests
{
    private const string Id = "m1";

    [Fact]
    public void A_source_comes_back_with_all_that_it_had_executed()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare);
        Assert.Equal<PeCommand>([new CreateTunnel("mig-m1", "default", Peer, 77), new ArmGroup(Id, "default", Set, "mig-m1")], ToDo(fsm));
        fsm.Do(Id, SignalKind.Switch, new SignalRequest(1, LocalPref: 150), 1);
        PeCommand[] switched =
            [new CreateTunnel("mig-m1", "default", Peer, 77, Proven: true), new ArmGroup(Id, "default", Set, "mig-m1"),
                new SwitchToTunnel(Id), new TellWith("default", Set, 150)];
        Assert.Equal<PeCommand>(switched, ToDo(fsm));
        fsm.Do(Id, SignalKind.Withdraw, new SignalRequest(1), 1);
        Assert.Equal<PeCommand>([new WithdrawPrefixes("default", Away), .. switched, new WithdrawPrefixes("default", Set)], ToDo(fsm));
        fsm.Do(Id, SignalKind.Teardown, new SignalRequest(1), 1);
        Assert.Equal<PeCommand>([new WithdrawPrefixes("default", Away)], ToDo(fsm));
    }

    [Fact]
    public void A_target_comes_back_with_an_empty_hold_or_none()
    {
        var hold = new HoldOptions(MaxPackets: 7);
        var fsm = new PeMigrationFsm();
        fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare) with { Hold = hold }, 1);
        Assert.Equal<PeCommand>([new CreateTunnel("mig-m1", "default", Peer, 77), new ArmHold(Id, "default", Set, "mig-m1", hold)],
            ToDo(fsm));
        fsm.Do(Id, SignalKind.Release, new SignalRequest(1), 1);
        PeCommand[] released =
            [new CreateTunnel("mig-m1", "default", Peer, 77), new ArmHold(Id, "default", Set, "mig-m1", hold with { Disabled = true })];
        Assert.Equal<PeCommand>(released, ToDo(fsm));
        fsm.Do(Id, SignalKind.Advertise, new SignalRequest(1, LocalPref: 250), 1);
        PeMigrationFsm back = Again(fsm, out IReadOnlyList<Restoration> toDo);
        Assert.Equal<PeCommand>([new AdvertisePrefixes("", "default", Set, 250, 1), .. released,
            new AdvertisePrefixes(Id, "default", Set, 250, 1)], [.. toDo.SelectMany(t => t.Commands)]);

        // The hold's packets went with the process: there is nothing to wait for.
        Assert.Null(back.Do(Id, SignalKind.Teardown, new SignalRequest(1), 2).Refusal);
        Assert.Equal<PeCommand>([new AdvertisePrefixes("", "default", Set, 250, 1)], ToDo(back));
    }

    [Fact]
    public void A_targets_backup_advertisement_is_there_until_another_takes_its_place_and_comes_back_with_a_restart()
    {
        var fsm = new PeMigrationFsm();
        SignalRequest prepare = new(5, MigrationRole.Target, "default", [new MovingPrefix("10.1.1.10/32", "dc")], "10.255.0.1", 77)
        {
            BackupLocalPref = 50,
        };
        PrefixSet prefixes = PrefixSet.Parse(prepare.Prefixes!);
        AdvertiseBackup there = new("default", prefixes, 50), gone = there with { LocalPref = null };
        Assert.Equal(there, fsm.Do("b", SignalKind.Prepare, prepare, 1).Commands[^1]);
        Assert.Contains(there, ToDo(fsm));
        Assert.Equal(PeRefusalReason.Conflict, fsm.Do("b", SignalKind.Prepare, prepare with { BackupLocalPref = 51 }, 2).Refusal!.Reason);
        fsm = Again(fsm, out _);

        // Given up: it is told no more before the hold gives its packets back.
        PeMigrationFsm other = Again(fsm, out _);
        Assert.Equal<PeCommand>([gone, new ReturnHold("b")], other.Do("b", SignalKind.Abort, new SignalRequest(5), 3).Commands);
        Assert.DoesNotContain(there, ToDo(other));

        // Or the servers come: first the advertisement, then the backup goes.
        fsm.Do("b", SignalKind.Release, new SignalRequest(5), 4);
        fsm.Result("b", new HoldDrained(), 5);
        Assert.Contains(there, ToDo(fsm));
        IReadOnlyList<PeCommand> advertised = fsm.Do("b", SignalKind.Advertise, new SignalRequest(5, LocalPref: 300), 6).Commands;
        Assert.Equal<PeCommand>([new AdvertisePrefixes("b", "default", prefixes, 300, 5), gone], advertised);
        Assert.DoesNotContain(there, ToDo(fsm));
        Assert.True(fsm.Do("b", SignalKind.Prepare, prepare, 7).Repeated);
    }

    [Fact]
    public void Prefixes_that_are_no_backup_are_remembered_and_named_rightly()
    {
        var fsm = new PeMigrationFsm();
        SignalRequest prepare = new(5, MigrationRole.Target, "default",
            [new MovingPrefix("10.1.1.10/32", "dc"), new MovingPrefix("10.1.1.11/32", "dc")], "10.255.0.1", 77)
        {
            BackupLocalPref = 50, BackupExcept = ["10.1.1.11/32"],
        };
        Assert.Equal("10.1.1.11/32", $"{Except(fsm.Do("b", SignalKind.Prepare, prepare, 1).Commands)}");
        fsm = Again(fsm, out _);
        Assert.Equal("10.1.1.11/32", $"{Except(ToDo(fsm))}");
        Assert.True(fsm.Do("b", SignalKind.Prepare, prepare, 2).Repeated);
        Assert.Equal(PeRefusalReason.Conflict,
            fsm.Do("b", SignalKind.Prepare, prepare with { BackupExcept = ["10.1.1.10/32"] }, 2).Refusal!.Reason);
        Assert.Equal("/backupExcept/1", Assert.Single(SignalChecks.Check(
            "b", SignalKind.Prepare, prepare with { BackupExcept = ["10.1.1.11/32", "10.1.1.0/24"] })).Pointer);
        Assert.Equal("/backupExcept", Assert.Single(SignalChecks.Check(
            "b", SignalKind.Prepare, prepare with { BackupLocalPref = null })).Pointer);

        static IpPrefix Except(IEnumerable<PeCommand> commands) => Assert.Single(commands.OfType<AdvertiseBackup>().Single().Except!);
    }

    [Theory]
    [InlineData(SignalKind.Prepare, MigrationRole.Target, 50u, 0)]
    [InlineData(SignalKind.Prepare, MigrationRole.Target, 0u, 1)]
    [InlineData(SignalKind.Prepare, MigrationRole.Source, 50u, 1)]
    [InlineData(SignalKind.Release, null, 50u, 1)]
    public void A_backup_is_for_prepare_at_the_target(SignalKind kind, MigrationRole? role, uint localPref, int errors)
    {
        SignalRequest request = kind == SignalKind.Prepare
            ? new SignalRequest(5, role, "default", [new MovingPrefix("10.1.1.10/32", "dc")], "10.255.0.1", 77) : new SignalRequest(5);
        Assert.Equal(errors, SignalChecks.Check("b", kind, request with { BackupLocalPref = localPref }).Count);
    }

    [Fact]
    public void A_signal_is_in_a_snapshot_as_soon_as_it_is_accepted_and_not_any_more_when_it_has_failed()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare);
        fsm.Signal(Id, SignalKind.Switch, new SignalRequest(1), 1);
        PeMigrationFsm back = Again(fsm, out _);
        Assert.Equal(PeMigrationState.Switched, back.Find(Id)!.State);
        Assert.True(back.Signal(Id, SignalKind.Switch, new SignalRequest(1), 2).Repeated);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Switch), 2);
        Assert.Equal(PeMigrationState.Prepared, Again(fsm, out _).Find(Id)!.State);
    }

    [Fact]
    public void A_prepare_is_kept_when_its_parts_are_there_and_before_that_its_epoch_alone()
    {
        var fsm = new PeMigrationFsm();
        fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 3), 1);
        PeMigrationFsm back = Again(fsm, out IReadOnlyList<Restoration> toDo);
        Assert.Null(back.Find(Id));
        Assert.DoesNotContain(toDo, t => t.Commands.Count > 0);
        Assert.Equal(3, back.EpochOf("default", Set[0].Prefix));
        fsm.Result(Id, new PartsReady(), 2);
        Assert.Equal(PeMigrationState.Prepared, Again(fsm, out _).Find(Id)!.State);
        Assert.Equal(PeMigrationState.Idle, fsm.Find(Id)!.State);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Prepare), 3);
        Assert.Null(Again(fsm, out _).Find(Id));
    }

    [Fact]
    public void A_restored_target_that_was_giving_its_packets_back_has_nothing_left()
    {
        var fsm = new PeMigrationFsm();
        fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare), 1);
        fsm.Do(Id, SignalKind.Abort, new SignalRequest(2), 2);
        Assert.False(fsm.Find(Id)!.IsOver);
        PeMigrationFsm back = Again(fsm, out IReadOnlyList<Restoration> toDo);
        Assert.True(back.Find(Id)!.IsOver);
        Assert.DoesNotContain(toDo, t => t.Commands.Count > 0);
        Assert.Null(back.Signal("m2", SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 2), 3).Refusal);
    }

    [Fact]
    public void A_route_that_is_configured_anew_is_not_withdrawn_after_a_restart()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare, SignalKind.Switch, SignalKind.Withdraw, SignalKind.Teardown);
        long before = fsm.Version;
        foreach (MovedPrefix moved in Set) fsm.Reconfigured("default", moved.Prefix);
        Assert.True(fsm.Version > before);
        Assert.Empty(ToDo(fsm));
    }

    [Fact]
    public void A_file_has_every_prefix_with_what_is_known_of_it_also_in_a_buffer_that_had_a_larger_one()
    {
        IpAddress hop = IpAddress.Parse("10.1.1.7");
        var moving = new PrefixSet([
            new(IpPrefix.Parse("10.1.1.10/32"), "dc"), new(IpPrefix.Parse("2001:db8:0:1::/64"), "dc", IpAddress.Parse("fe80::1")),
            new(IpPrefix.Parse("0.0.0.0/0"), "other", hop), new(IpPrefix.Parse("255.255.255.255/32"), ""),
            new(IpPrefix.Parse("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128"), "dc")]);
        var migration = new PeMigration("m", MigrationRole.Target, PeMigrationState.Advertised, 3, "default", moving,
            IpAddress.Parse("10.255.0.1"), 7, new HoldOptions(), 200, TunnelUp: false, Drained: true, 5);
        var here = new PrefixPlace(true, "dc", hop.ToString(), 200, 3);
        var records = moving.Select((p, i) => new PrefixRecord("default", p.Prefix, i % 2, "m", Place: i < 3 ? here : null)).ToArray();
        var snapshot = new PeSnapshot([new KeptMigration(migration, [])], records, []);
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        PeStateFile.Write(new PeSnapshot(snapshot.Migrations, [.. records, .. records.Select(r => r with { Vrf = "red" })], ["x"]), "pe-a",
            buffer);
        byte[] bytes = PeStateFile.Write(snapshot, "pe-a", buffer).ToArray();
        Assert.Equal(PeStateFile.Write(snapshot, "pe-a"), bytes);
        PeSnapshot read = PeStateFile.Read(bytes, "pe-a", out string why)!;
        Assert.Equal("", why);
        Assert.Equal(records.OrderBy(r => r.Prefix), read.Prefixes.OrderBy(r => r.Prefix));
        Assert.Equal(migration with { Hold = Assert.Single(read.Migrations).Migration.Hold }, read.Migrations[0].Migration);
        Assert.Equal(moving.Texts, read.Migrations[0].Migration.Prefixes.Texts);
        Assert.Equal(new MovingPrefix("0.0.0.0/0", "other", "10.1.1.7"), moving.Texts[2]);

        // As every version has written it.
        string text = Encoding.UTF8.GetString(bytes);
        Assert.Contains("""{"prefix":"2001:db8:0:1::/64","port":"dc","nextHop":"fe80::1"}""", text, StringComparison.Ordinal);
        Assert.Contains("""{"prefix":"255.255.255.255/32","port":""}""", text, StringComparison.Ordinal);
        Assert.Contains("""
            "prefixes":["10.1.1.10/32","0.0.0.0/0"]
            """, text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_cannot_be_trusted_is_not_read_in_part()
    {
        byte[] good = PeStateFile.Write(Source(SignalKind.Prepare).Save(), "pe-a");
        Assert.NotNull(PeStateFile.Read(good, "pe-a", out string why));
        Assert.Equal("", why);
        Refused([], "not the state file");
        Refused(Encoding.ASCII.GetBytes("hello\n"), "not the state file");
        Refused(good[..^1], "cut short");
        for (int i = 0; i < good.Length; i++)
        {
            byte[] flipped = [.. good];
            flipped[i] ^= 4;
            Assert.Null(PeStateFile.Read(flipped, "pe-a", out _));
        }

        Refused([.. Encoding.ASCII.GetBytes("sdnedge-pe-state 2 ab\n"), .. good], "newer program");
        Assert.Null(PeStateFile.Read(good, "pe-b", out why));
        Assert.Contains("belongs to PE 'pe-a'", why, StringComparison.Ordinal);

        static void Refused(byte[] bytes, string reason)
        {
            Assert.Null(PeStateFile.Read(bytes, "pe-a", out string why));
            Assert.Contains(reason, why, StringComparison.Ordinal);
        }
    }

    [Property(MaxTest = 500)]
    public void A_machine_that_is_restarted_at_any_time_answers_as_one_that_was_not(byte[] script) => AnswersAlike(script);

    [Theory]
    [InlineData(84, 81, 168, 136, 83, 128)]     // a target ends between two aborts of a source
    public void A_machine_that_is_restarted_answers_as_one_that_was_not_where_once_it_did_not(params int[] script)
        => AnswersAlike([.. script.Select(b => (byte)b)]);

    [Fact]
    public void What_is_remembered_of_migrations_that_are_over_is_the_same_with_a_restart_as_without()
    {
        var goesOn = new PeMigrationFsm();
        var restarts = new PeMigrationFsm();
        int[] numbers = [.. Enumerable.Range(0, PeMigrationFsm.MaxFinished + 50)];
        foreach (int n in numbers) Both(n, SignalKind.Prepare);
        foreach (int n in numbers.Reverse()) Both(n, SignalKind.Abort);
        Both(1000, SignalKind.Prepare);
        Both(1000, SignalKind.Abort);
        Assert.Equal(PeMigrationFsm.MaxFinished, goesOn.Migrations.Count());
        Assert.Null(goesOn.Find($"m{numbers[^1]}"));
        Assert.Null(goesOn.Find($"m{PeMigrationFsm.MaxFinished - 1}"));
        Assert.NotNull(goesOn.Find($"m{PeMigrationFsm.MaxFinished - 2}"));
        Assert.Equal(goesOn.Migrations, restarts.Migrations);

        void Both(int n, SignalKind kind)
        {
            SignalRequest request = kind == SignalKind.Abort ? new SignalRequest(2) : Request(MigrationRole.Source, kind, 1) with
            {
                TunnelKey = (uint)n,
                Prefixes = [new MovingPrefix($"10.{n / 256}.{n % 256}.0/24", "port-1")],
            };
            PeStep one = goesOn.Do($"m{n}", kind, request, n), other = restarts.Do($"m{n}", kind, request, n);
            Assert.Equal((one.Refusal, one.Repeated), (other.Refusal, other.Repeated));
            Assert.Null(one.Refusal);
            if (n % 10 == 0) restarts = Again(restarts, out _);
        }
    }

    [Fact]
    public void A_route_that_is_configured_anew_before_the_teardown_is_in_use_after_a_restart()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare, SignalKind.Switch, SignalKind.Withdraw);
        Assert.Contains(ToDo(fsm), c => c is WithdrawPrefixes);
        foreach (MovedPrefix moved in Set) fsm.Reconfigured("default", moved.Prefix);
        Assert.DoesNotContain(ToDo(fsm), c => c is WithdrawPrefixes);
    }

    [Property(MaxTest = 300)]
    public void What_is_put_back_is_what_was_there(byte[] script)
    {
        ArgumentNullException.ThrowIfNull(script);
        var fsm = new PeMigrationFsm();
        var there = new HashSet<string>();
        foreach (byte b in script)
        {
            SignalKind[] all = Enum.GetValues<SignalKind>();
            SignalKind kind = all[(b >> 2) % all.Length];
            MigrationRole role = (b & 0x40) != 0 ? MigrationRole.Source : MigrationRole.Target;
            var commands = new List<PeCommand>(fsm.Do($"{role}", kind, Request(role, kind, 1 + (b % 3)), 1).Commands);
            fsm.Result($"{role}", new TunnelHealth(true), 2);
            commands.AddRange(fsm.Result($"{role}", new HoldDrained(), 2).Commands);
            foreach (PeCommand command in commands) Follow(command, there);
            var back = new HashSet<string>();
            foreach (PeCommand command in ToDo(fsm)) Follow(command, back);
            Assert.Equal(there.Order(), back.Order());
        }
    }

    // One machine goes on, one restarts with what was written when a signal was accepted, and one with what it had executed.
    private static void AnswersAlike(byte[] script)
    {
        ArgumentNullException.ThrowIfNull(script);
        PeMigrationFsm[] machines = [new(), new(), new()];
        foreach (byte b in script)
        {
            SignalKind[] all = Enum.GetValues<SignalKind>();
            SignalKind kind = all[(b >> 2) % all.Length];
            MigrationRole role = (b & 0x40) != 0 ? MigrationRole.Source : MigrationRole.Target;
            string id = role + "-" + ((b >> 3) % 2);
            SignalRequest request = Request(role, kind, 1 + (b % 3));
            bool restart = (b & 0x80) != 0;
            PeMigrationFsm? atAccept = null;
            if (restart)
            {
                PeMigrationFsm early = Again(machines[1], out _);
                early.Tested();
                early.Signal(id, kind, request, 1);
                atAccept = Again(early, out _);
            }

            PeStep[] steps = [.. machines.Select(m => m.Do(id, kind, request, 1))];
            Assert.All(steps, step =>
            {
                Assert.Equal((steps[0].Repeated, steps[0].Refusal?.Reason, steps[0].Migration?.State),
                    (step.Repeated, step.Refusal?.Reason, step.Migration?.State));
                Assert.Equal(steps[0].Commands, step.Commands);
            });
            if (restart)
            {
                // A prepare that was not carried out is not kept.
                machines[1] = kind == SignalKind.Prepare ? Again(machines[1], out _) : atAccept!;
                machines[2] = Again(machines[2], out _);
            }

            foreach (PeMigrationFsm fsm in machines) fsm.Tested();
        }

        Assert.All(machines, m =>
        {
            Assert.Equal(machines[0].Migrations, m.Migrations);
            Assert.Equal(machines[0].Save().Prefixes.OrderBy(p => p.Prefix), m.Save().Prefixes.OrderBy(p => p.Prefix));
            Assert.Equal(machines[0].Save().Ended, m.Save().Ended);
        });
    }

    private static readonly IpAddress Peer = IpAddress.Parse("10.255.0.2");

    // What is known of a prefix that is away is not where it was.
    private static PrefixSet Away { get; } = new(Set.Select(p => p with { Port = "" }));

    private static void Follow(PeCommand command, HashSet<string> there)
    {
        switch (command)
        {
            case CreateTunnel c: there.Add(c.Tunnel); break;
            case ArmGroup c: there.Add("group " + c.Group); break;
            case ArmHold c: there.Add("group " + c.Group); break;
            case RemoveTunnel c: there.Remove(c.Tunnel); break;
            case RemoveGroup c:
                there.Remove("group " + c.Group);
                there.Remove("switched " + c.Group);
                break;
            case SwitchToTunnel c: there.Add("switched " + c.Group); break;
            case SwitchBack c: there.Remove("switched " + c.Group); break;
            case AdvertisePrefixes:
                there.Add("here");
                there.Remove("away");
                break;
            case WithdrawPrefixes:
                there.Add("away");
                there.Remove("here");
                break;
        }
    }

    private static IReadOnlyList<PeCommand> ToDo(PeMigrationFsm fsm)
    {
        Again(fsm, out IReadOnlyList<Restoration> toDo);
        return [.. toDo.SelectMany(t => t.Commands)];
    }

    private static PeMigrationFsm Again(PeMigrationFsm fsm, out IReadOnlyList<Restoration> toDo)
        => PeMigrationFsm.Restore(PeStateFile.Read(PeStateFile.Write(fsm.Save(), "pe-a"), "pe-a", out _)!, out toDo);
}
