using System.Text.Json;
using System.Text.Json.Nodes;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Demo.Report;
using SdnEdge.Demo.Run;
using SdnEdge.Lab.Disks;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>What a report says of the server's disk.</summary>
public sealed class StorageReportTests
{
    private const long Ms = SyntheticRun.Ms, Origin = SyntheticRun.Origin, Pause = SyntheticRun.Pause, Resume = SyntheticRun.Resume;

    // Asked for 500 ms before the switch, in force 60 ms later.
    private const long Signal = SyntheticRun.Switch - (500 * Ms), Sync = Signal + (60 * Ms), Grant = Resume - (5 * Ms);

    // A write every 10 ms: 2 ms each, a round trip while it is synchronous; none while the server stands still.
    private static readonly DiskWrite[] s_writes =
    [
        .. Enumerable.Range(0, 400).Select(i => Origin + (10L * i * Ms)).Where(t => t < Pause || t >= Resume)
            .Select((t, i) => new DiskWrite(i + 1, t, t >= Sync && t < Pause ? (42 + (i % 3)) * Ms : 2 * Ms, t + (45 * Ms))),
    ];

    private static StorageFacts Disk() => new("vs-disk",
        [
            new StorageSide("store-a", "dc-a", Volume(OwnerRole.Replica,
                [
                    new ModeChangeInfo(1, ReplicationMode.Async, Origin - (9000 * Ms), 0, Origin - (9000 * Ms), Origin - (9000 * Ms)),
                    new ModeChangeInfo(1, ReplicationMode.Sync, Signal, 81_920, Sync, Sync + (41 * Ms)),
                ], new DrainTimeInfo(Pause + Ms, Pause + (43 * Ms), Proof()))),
            new StorageSide("store-b", "dc-b", Volume(OwnerRole.Owner, [new ModeChangeInfo(2, ReplicationMode.Async, Grant, 0, Grant)],
                null)),
        ],
        new DiskWord(7, s_writes.Length, s_writes.Length - 1, 0, 0, true, []), s_writes,
        [Read("store-a"), Read("store-b")]);

    private static DrainProofInfo Proof() => new("vs-disk", new LogPointInfo(300, 1, "00"), 1, "00");

    private static VolumeInfo Volume(OwnerRole role, ModeChangeInfo[] modes, DrainTimeInfo? drain) => new(
        "vs-disk", Guid.Empty, 64 << 20, role, 2, 2, null, 0, 0, null, null, null, [], modes, drain);

    private static DiskRead Read(string store) => new(store, 64 << 20, "abcdef0123456789abcdef", s_writes.Length, 0, 0, null);

    private static RunAnalysis Analyse(StorageFacts? disk) => ReportBuilder.Analyse(new SyntheticRun().Facts() with
    {
        Storage = disk, Direction = disk is null ? null : new DirectionFacts(Resume + (30 * Ms), 4096),
    });

    private static DemoReport Build(StorageFacts? disk) => ReportBuilder.Build(Analyse(disk));

    [Fact]
    public void Modes_lag_drain_and_latencies_are_those_of_the_move()
    {
        DemoReport report = Build(Disk());
        Assert.Empty(report.Failures);
        StorageReport disk = report.Storage!;
        Assert.Equal([("store-a", "async"), ("store-a", "sync"), ("store-b", "async")], disk.ModeChanges.Select(m => (m.Store, m.Mode)));
        Assert.Equal([-9000, 1560, 2355], disk.ModeChanges.Select(m => m.AtMs));
        Assert.Equal((1500, 1601), (disk.ModeChanges[1].AskedMs, disk.ModeChanges[1].ReachedMs));
        Assert.Equal((81_920, 42), (disk.LagBytesAtSignal!.Value, disk.DrainMs!.Value));
        Assert.Equal((s_writes.Length, 0, true), (disk.WritesAcknowledged!.Value, disk.Lost!.Value, disk.RootEqual!.Value));
        Assert.Equal((50, 43, 44, 44), (disk.SyncLatencyMs!.Writes, disk.SyncLatencyMs.P50, disk.SyncLatencyMs.P99,
            disk.SyncLatencyMs.Max));
        Assert.Equal((156, 2, 2), (disk.AsyncLatencyMs!.Writes, disk.AsyncLatencyMs.P50, disk.AsyncLatencyMs.P99));
        Assert.Equal(s_writes.Count(w => w.BeganNs > Resume), disk.WritesAfterMove);
        Assert.Equal(new ReverseReport("store-b", "store-a", true, 30, 4096), disk.Reverse);
    }

    [Fact]
    public void A_server_that_was_never_made_synchronous_has_no_signal_and_no_such_writes()
    {
        StorageFacts facts = Disk();
        StorageSide source = facts.Sides[0];
        StorageReport disk = Build(facts with
        {
            Sides = [source with { Volume = source.Volume! with { Modes = [.. source.Volume.Modes!.Take(1)], Drain = null } },
                facts.Sides[1]],
        }).Storage!;
        Assert.Equal((null, null, null), (disk.LagBytesAtSignal, disk.DrainMs, disk.SyncLatencyMs));
        Assert.Equal(s_writes.Count(w => w.BeganNs < Pause), disk.AsyncLatencyMs!.Writes);
    }

    /// <summary>Each breaks one thing, and what is said of it.</summary>
    private static readonly Dictionary<string, Func<StorageFacts, StorageFacts>> s_breaks = new(StringComparer.Ordinal)
    {
        ["3 of 370 records that were acknowledged are not on the disk at dc-b (store-b); the first is number 17; 1 of them are damaged"]
            = f => f with { Disks = [f.Disks[0], f.Disks[1] with { Lost = 3, Damaged = 1, FirstLost = 17 }] },
        ["the disks of store-a and store-b differ"] = f => f with { Disks = [f.Disks[0], f.Disks[1] with { Sha256 = "00" }] },
        ["the disk at dc-a (store-a) was not read: no store answers"]
            = f => f with { Disks = [f.Disks[0] with { Fault = "no store answers" }, f.Disks[1]] },
        ["not both sites' disks were read"] = f => f with { Disks = [f.Disks[0]] },
        ["the guest did not say what it has written"] = f => f with { Last = null },
        ["no write of the guest was acknowledged"] = f => f with { Last = f.Last! with { Acknowledged = 0 } },
        ["no write of the guest was acknowledged after the move"] = f => f with { Writes = [.. f.Writes.Where(w => w.BeganNs < Pause)] },
        ["2 of 369 records that the guest read back"] = f => f with { Last = f.Last! with { Bad = 2 } },
        ["5 requests of the guest failed"] = f => f with { Last = f.Last! with { Errors = 5 } },
    };

    public static TheoryData<string> Conditions => [.. s_breaks.Keys];

    [Theory]
    [MemberData(nameof(Conditions))]
    public void What_is_lost_or_differs_fails_the_run_and_is_named_alone(string condition)
    {
        DemoReport report = Build(s_breaks[condition](Disk()));
        string failure = Assert.Single(report.Failures);
        Assert.StartsWith("storage: ", failure, StringComparison.Ordinal);
        Assert.Contains(condition, failure, StringComparison.Ordinal);
        Assert.False(report.Passed);
        if (report.Storage!.Disks.Any(d => d.Fault is not null) || report.Storage.Disks.Count < 2)
            Assert.Equal((null, null), (report.Storage.Lost, report.Storage.RootEqual));
    }

    [Fact]
    public void A_source_that_does_not_follow_after_the_move_fails_the_run()
    {
        RunAnalysis run = Analyse(Disk());
        DemoReport report = ReportBuilder.Build(run with { Facts = run.Facts with { Direction = new DirectionFacts(null, null) } });
        Assert.Equal(["storage: store-a does not follow store-b after the move"], report.Failures);
    }

    [Fact]
    public void The_way_back_is_told_and_fails_the_run_when_it_failed()
    {
        RunAnalysis run = Analyse(Disk());
        var back = new BackReport(false, 1000, 2, 0, 0, 410, 300, 41, 4096, "back/report.html");
        run = run with { Facts = run.Facts with { Back = back, BackFailures = ["client-c to server: 2 of 1000 packets lost"] } };
        DemoReport report = ReportBuilder.Build(run);
        Assert.Equal(["the way back: client-c to server: 2 of 1000 packets lost"], report.Failures);
        Assert.Equal(back, report.Back);
        Assert.Contains("href=\"back/report.html\"", HtmlReport.Render(run, report), StringComparison.Ordinal);
    }

    [Fact]
    public void Json_has_each_field_and_null_for_a_server_without_a_disk()
    {
        JsonObject with = Of(Build(Disk())), without = Of(Build(null));
        Assert.True(without.ContainsKey("storage") && without["storage"] is null);
        JsonObject disk = with["storage"]!.AsObject();
        string[] fields = ["modeChanges", "writesAcknowledged", "lost", "lagBytesAtSignal", "drainMs", "syncLatencyMs", "rootEqual",
            "reverse",
            "disks", "readBack", "readBackWrong", "writeErrors", "writesAfterMove", "asyncLatencyMs", "volume", "sizeBytes"];
        Assert.Equal(fields.Order(), disk.Select(f => f.Key).Order());
        Assert.All(fields, f => Assert.NotNull(disk[f]));
        Assert.Equal(["writes", "p50", "p99", "max"], disk["syncLatencyMs"]!.AsObject().Select(f => f.Key));

        static JsonObject Of(DemoReport report) => JsonNode.Parse(JsonSerializer.Serialize(report, DemoReport.Json))!.AsObject();
    }

    [Fact]
    public void The_page_shows_the_writes_on_bands_of_the_modes_and_the_subsystems_in_one_timeline()
    {
        RunAnalysis run = Analyse(Disk());
        string page = HtmlReport.Render(run, ReportBuilder.Build(run));
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.Contains("class=\"mode-sync\"", page, StringComparison.Ordinal);
        Assert.Contains("class=\"mode-async\"", page, StringComparison.Ordinal);
        Assert.Contains("class=\"span mode-sync\"", page, StringComparison.Ordinal);
        Assert.Contains("the three subsystems", page, StringComparison.Ordinal);
        Assert.Contains("370 records", page, StringComparison.Ordinal);
        Assert.True(Circles(page) >= s_writes.Count(w => w.BeganNs >= Sync && w.BeganNs < Pause), "each write of the time shown is drawn");
        RunAnalysis none = Analyse(null);
        Assert.DoesNotContain("subsystems", HtmlReport.Render(none, ReportBuilder.Build(none)), StringComparison.Ordinal);

        static int Circles(string page) => page.Split("class=\"write\"").Length - 1;
    }

    [Fact]
    public void A_script_moves_the_machine_without_its_disk()
    {
        string[] argv = ["qemu", "-append", "quiet app=dirty=200,pattern=64,disk=/dev/vda,every=10", "-device", "virtio-net-pci,netdev=n0",
            "-blockdev", "driver=nbd,node-name=disk", "-device", "virtio-blk-pci,drive=disk", "-m", "160"];
        Assert.Equal(["qemu", "-append", "quiet app=dirty=200,pattern=64", "-device", "virtio-net-pci,netdev=n0", "-m", "160"],
            ScriptedMove.WithoutDisk(argv));
    }
}
