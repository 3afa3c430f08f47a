using System.Diagnostics;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Etcd;

/// <summary>Managers as daemons with one journal: who answers, what is refused, and what their clients notice of a change.</summary>
public sealed class EtcdManagersTests(EtcdServer server) : IClassFixture<EtcdServer>, IDisposable
{
    private static int s_prefixes;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-mms-").FullName;
    private readonly string _prefix = $"/managers/{Interlocked.Increment(ref s_prefixes)}";

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task One_answers_the_other_sends_callers_there_and_takes_over_with_what_is_on_record()
    {
        var volume = Guid.NewGuid();
        var first = new Once(await StartAsync("mms-1"));
        await using Once _ = first;
        await BecomesAsync("mms-1", n => n is { Role: "leader", Ready: true, Term: > 0 });
        await using MmsDaemon second = await StartAsync("mms-2");
        await BecomesAsync("mms-2", n => n is { Role: "standby", Ready: false, Leader: "mms-1" });

        using var both = new MmsClient(new ApiEndpoint("mms", $"{Socket("mms-2")},unix:{Socket("mms-1")}"));
        both.RequestTimeout = Patience.Time;
        await both.ReportAsync(new StaleReport(volume, 1, 1, 7, "disk"));
        using (var standby = new MmsClient(new ApiEndpoint("mms-2", Socket("mms-2"))))
        {
            Problem problem = (await Assert.ThrowsAsync<ApiProblemException>(() => standby.VolumesAsync())).Problem;
            Assert.Equal((503, ApiProblems.Standby), (problem.Status, problem.Type));
            Assert.Contains($"mms-1 leads: ask unix:{Socket("mms-1")}", problem.Detail, StringComparison.Ordinal);
        }

        await first.DisposeAsync();
        Assert.Equal(7ul, Assert.Single(await both.VolumesAsync()).StaleFrom);
        await both.ReportAsync(new StaleReport(volume, 1, 2, null, "disk"));
        await BecomesAsync("mms-2", n => n is { Role: "leader", Ready: true });

        // By the manager's file, as an operator reads it.
        string file = Path.Combine(_folder, "mms.yaml");
        await File.WriteAllTextAsync(file, $"name: m\njournal: {{ etcd: [ \"{server.Address}\" ], prefix: {_prefix} }}\n");
        await using JournalReader reader = await JournalReader.OpenAsync(file, check: true, default);
        var text = new StringWriter();
        Assert.Equal(2, await Replay.RunAsync(reader.Journal, text));
        Assert.Contains("the replica of volume disk is stale from sequence 7 on", text.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_read_goes_on_to_the_next_manager_when_the_first_is_frozen()
    {
        // It accepts connections, and never answers.
        using var still = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        still.Bind(new UnixDomainSocketEndPoint(Socket("still")));
        still.Listen();
        await using MmsDaemon daemon = await StartAsync("mms-1");
        await BecomesAsync("mms-1", n => n is { Role: "leader" });
        using var both = new MmsClient(new ApiEndpoint("mms", $"{Socket("still")},{Socket("mms-1")}")) { RequestTimeout = Patience.Time };
        Assert.Empty(await both.VolumesAsync());
        Assert.Equal("leader", (await both.NodeAsync()).Role);
    }

    // Without etcd nobody leads: what was read is answered, what would change it is refused, and the reason is said.
    [Fact]
    public async Task Without_etcd_reading_is_answered_and_writing_is_refused_with_the_reason()
    {
        using var relay = new EtcdRelay(server.Port);
        await using MmsDaemon daemon = await StartAsync("mms-1", relay.Address);
        await BecomesAsync("mms-1", n => n is { Role: "leader" });
        relay.Let(asks: false, answers: false);
        MmsNodeInfo node = await BecomesAsync("mms-1", n => n is { Role: "standby", Leader: null, Fault: { } fault }
            && fault.Contains("no answer within", StringComparison.Ordinal));
        Assert.False(node.Ready);
        using var client = new MmsClient(new ApiEndpoint("mms-1", Socket("mms-1")));
        Assert.Empty(await client.MigrationsAsync());
        Problem problem = (await Assert.ThrowsAsync<ApiProblemException>(
            () => client.ReportAsync(new StaleReport(Guid.NewGuid(), 1, 1, 7, "disk")))).Problem;
        Assert.Equal(ApiProblems.Standby, problem.Type);

        // A stream opened now would miss the events of the next leader.
        problem = (await Assert.ThrowsAsync<ApiProblemException>(
            () => client.EventsAsync(0).GetAsyncEnumerator().MoveNextAsync().AsTask().WaitAsync(Patience.Time))).Problem;
        Assert.Equal(ApiProblems.Standby, problem.Type);
        relay.Let(asks: true, answers: true);
        await BecomesAsync("mms-1", n => n is { Role: "leader", Ready: true });
        await client.ReportAsync(new StaleReport(Guid.NewGuid(), 1, 1, 7, "disk"));
    }

    // The file system, not the quota: etcd exits, and is restarted when there is room.
    [RootFact]
    public async Task When_etcds_disk_is_full_nothing_moves_and_what_was_on_record_is_there_again_once_there_is_room()
    {
        string disk = Directory.CreateDirectory(Path.Combine(_folder, "disk")).FullName, ballast = Path.Combine(disk, "ballast");
        await RunAsync("mount", "-t", "tmpfs", "-o", "size=256m", "none", disk);
        var full = new EtcdServer(new DirectoryInfo(disk));
        try
        {
            await full.InitializeAsync();
            await using MmsDaemon daemon = await StartAsync("mms-1", full.Address);
            await BecomesAsync("mms-1", n => n is { Role: "leader" });
            using var client = new MmsClient(new ApiEndpoint("mms-1", Socket("mms-1")));
            await RunAsync("sh", "-c", $"dd if=/dev/zero of={ballast} bs=64k 2>/dev/null || true");

            // etcd goes on in the space that it has preallocated, then fails.
            var volume = Guid.NewGuid();
            ulong onRecord = 0;
            Exception? refused = null;
            for (ulong n = 1; n < 100_000 && refused is null; n++)
            {
                try
                {
                    await client.ReportAsync(new StaleReport(volume, 1, n, n, new string('d', 60)));
                    onRecord = n;
                }
                catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
                {
                    refused = e;
                }
            }

            Assert.NotNull(refused);
            Assert.NotEqual(0ul, onRecord);
            await full.EndedAsync();
            MmsNodeInfo node = await BecomesAsync("mms-1", n => n is { Role: "standby", Leader: null, Fault: not null });
            Assert.False(node.Ready);

            File.Delete(ballast);
            await full.RestartAsync();
            await BecomesAsync("mms-1", n => n is { Role: "leader", Ready: true });
            VolumeMarkInfo mark = Assert.Single(await client.VolumesAsync());
            Assert.InRange(mark.Generation, onRecord, onRecord + 1);   // whether what was refused last is on record is not known
            await client.ReportAsync(new StaleReport(volume, 1, onRecord + 2, null, "disk"));
        }
        finally
        {
            await full.DisposeAsync();
            await RunAsync("umount", disk);
        }

        static async Task RunAsync(string program, params string[] arguments)
        {
            using Process process = Process.Start(program, arguments);
            await process.WaitForExitAsync();
            Assert.Equal((program, 0), (program, process.ExitCode));
        }
    }

    [Fact]
    public void The_file_names_members_and_everything_that_is_wrong_is_said()
    {
        MmsConfigResult good = MmsConfigLoader.Load("""
            name: mms-1
            journal: { etcd: [ "https://10.0.0.1:2379/", "https://10.0.0.2:2379/" ], prefix: /a/b, leaseSeconds: 5 }
            identity: { certificate: a.crt, key: a.key, authority: ca.crt }
            """, "/etc/mms.yaml");
        Assert.Empty(good.Errors);
        Assert.Equal(("etcd /a/b", "/a/b", 5, 2, true), (good.Config!.Journal, good.Config.Etcd!.Prefix, good.Config.Etcd.LeaseSeconds,
            good.Config.Etcd.Endpoints.Count, good.Config.Etcd.IsHttps));

        MmsConfigResult wrong = MmsConfigLoader.Load("""
            name: mms-1
            journal:
              etcd:
                - http://10.0.0.1:2379/
                - https://10.0.0.2:2379/
                - https://10.0.0.2:2379/
                - https://10.0.0.3:2379/v3
                - etcd-1
              prefix: sdnedge/
              leaseSeconds: 0
              ttl: 5
            """, "mms.yaml");
        string[] says =
        [
            "mms.yaml:4:7: journal.etcd[0]: 'http://10.0.0.1:2379/' is not https", "mms.yaml:6:7: journal.etcd[2]", "is there already",
            "mms.yaml:7:7: journal.etcd[3]", "more than a host and a port", "mms.yaml:8:7: journal.etcd[4]: 'etcd-1' is no client address",
            "journal.prefix: 'sdnedge/' is no prefix", "journal.leaseSeconds", "journal.ttl",
            "'etcd' is reached by https, which needs the manager's certificate",
        ];
        string all = string.Join('\n', wrong.Errors);
        foreach (string one in says) Assert.Contains(one, all, StringComparison.Ordinal);
        Assert.Null(wrong.Config);
        Assert.Contains("has no effect", Assert.Single(MmsConfigLoader.Load("""
            name: mms-1
            journal: { etcd: [ "https://10.0.0.1:2379/" ], insecure: true }
            identity: { certificate: a.crt, key: a.key, authority: ca.crt }
            """, "mms.yaml").Errors).ToString(), StringComparison.Ordinal);
    }

    private string Socket(string name) => Path.Combine(_folder, name + ".sock");

    private async Task<MmsDaemon> StartAsync(string name, string? member = null)
    {
        MmsDaemon daemon = await MmsDaemon.StartAsync(new MmsConfig
        {
            Name = name, Journal = "etcd " + _prefix, Etcd = new EtcdConfig([member ?? server.Address], _prefix, 1),
            Api = new ApiConfig(Socket(name)),
        });
        daemon.Campaign();
        return daemon;
    }

    private async Task<MmsNodeInfo> BecomesAsync(string name, Predicate<MmsNodeInfo> so)
    {
        using var client = new MmsClient(new ApiEndpoint(name, Socket(name))) { RequestTimeout = Patience.Time };
        return await Patience.ReadAsync(() => client.NodeAsync(), n => so(n), $"{name} to become so");
    }

    // A daemon that may be gone before its test is.
    private sealed class Once(MmsDaemon daemon) : IAsyncDisposable
    {
        private bool _gone;

        public async ValueTask DisposeAsync()
        {
            if (_gone) return;
            _gone = true;
            await daemon.DisposeAsync();
        }
    }
}
