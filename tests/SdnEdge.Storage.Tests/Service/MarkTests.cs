using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Tests.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>Marks of a store's volumes, by its API and by its NBD socket, while a client writes.</summary>
public sealed class MarkTests : IDisposable
{
    private const int Size = 16 << 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-marks-").FullName;

    private string NbdPath => Path.Combine(_folder, "s.nbd");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_mark_reads_as_the_volume_was_by_real_clients_while_the_volume_is_overwritten()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient store = Client();
        await store.CreateAsync(new VolumeRequest("vs", Size));
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -P 0x11 0 4M", "-c", "write -P 0x22 9M 300k", "-c",
            "write -z 1M 64k", "-c", "flush");
        string before = Path.Combine(_folder, "before"), after = Path.Combine(_folder, "after");
        NbdClientTests.Tool("nbdcopy", Uri("vs"), before);
        MarkInfo mark = Assert.Single(await store.MarkAsync("vs", new MarkRequest("m1")));
        Assert.Equal(("vs", "m1", "vs@m1", null), (mark.Volume, mark.Name, mark.Export, mark.Group));

        using var stop = new CancellationTokenSource();
        Task<int> writes = OverwriteAsync("vs", stop.Token);
        string list = NbdClientTests.Tool("nbdinfo", "--list", $"nbd+unix:///?socket={NbdPath}");
        Assert.Contains("export=\"vs@m1\"", list, StringComparison.Ordinal);
        Assert.Equal($"{Size}", NbdClientTests.Tool("nbdinfo", "--size", Uri("vs@m1")).Trim());
        NbdClientTests.Tool("nbdinfo", "--is", "read-only", Uri("vs@m1"));
        NbdClientTests.Tool("qemu-img", "compare", "-f", "raw", "-F", "raw", before, Uri("vs@m1"));
        NbdClientTests.Tool("nbdcopy", Uri("vs@m1"), after);
        await stop.CancelAsync();
        Assert.True(await writes > 0);
        Assert.Equal(Sum(before), Sum(after));

        // Nobody writes it; the empty name still is the volume, which is the only one.
        Assert.ThrowsAny<Exception>(() => NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs@m1"), "-c", "write 0 4k"));
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri(""), "-c", "write -P 0x77 0 16M", "-c", "read -P 0x77 0 16M", "-c", "flush");
        Assert.True((await store.CheckMarkAsync("vs", "m1")).Good);
        MarkInfo kept = Assert.Single(await store.MarksAsync("vs"));
        Assert.Equal((mark.ContentRoot, mark.Point), (kept.ContentRoot, kept.Point));
        Assert.True((await store.CheckAsync("vs")).Good);
        Assert.True(Assert.Single(await store.MarksAsync("vs")).Bytes >= 4 << 20, $"{kept.Bytes} bytes are kept");

        // The reader here, with holes where there were zeros.
        string clone = Path.Combine(_folder, "clone");
        VolumeInfo volume = await store.VolumeAsync("vs");
        using (NbdReader reader = NbdReader.Connect($"nbd+unix:///?socket={NbdPath}", "vs@m1"))
        {
            Assert.Equal((Size, true), (reader.Size, reader.IsReadOnly));
            MarkCopyProgress last = default;
            ulong expected = ulong.Parse(mark.ContentRoot, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            Assert.NotEqual(expected + 1, MarkCopy.ToFile(reader, volume.Id, clone, expected + 1, _ => { }, default));
            Assert.False(File.Exists(clone), "what is not as it was is not left");
            Assert.Equal(expected, MarkCopy.ToFile(reader, volume.Id, clone, expected, p => last = p, default));
            Assert.Equal((Size, (4L << 20) - (64 << 10) + (300 << 10)), (last.Done, last.Data));
            var conflict = await Assert.ThrowsAsync<ApiProblemException>(() => store.UnmarkAsync("vs", "m1"));
            Assert.StartsWith("mark m1 of volume vs is read by ", conflict.Problem.Detail, StringComparison.Ordinal);
        }

        Assert.Equal(Sum(before), Sum(clone));
        await Patience.UntilAsync(async () => (await store.NodeAsync()).Connections == 0, () => "the store still counts the reader");
        await store.UnmarkAsync("vs", "m1");
        Assert.Empty(await store.MarksAsync("vs"));
        list = NbdClientTests.Tool("nbdinfo", "--list", $"nbd+unix:///?socket={NbdPath}");
        Assert.DoesNotContain("vs@m1", list, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "state", "vs", "points")));
    }

    // Each value goes to the first volume and then, when that is answered, to the second: at one barrier the first is at most one ahead.
    [Fact]
    public async Task The_marks_of_a_group_are_at_one_barrier_over_its_volumes()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient store = Client();
        await store.CreateAsync(new VolumeRequest("data", 1 << 20));
        await store.CreateAsync(new VolumeRequest("log", 1 << 20));
        using var stop = new CancellationTokenSource();
        Task<ulong> writer = Task.Run(() => CountAsync("data", "log", stop.Token));
        var seen = new HashSet<ulong>();
        for (int i = 0; i < 12; i++)
        {
            IReadOnlyList<MarkInfo> marks = await store.MarkAsync("log", new MarkRequest($"g{i}", ["data"], i % 2 == 0 ? "db" : null));
            Assert.Equal(["data", "log"], marks.Select(m => m.Volume));
            Assert.All(marks, m => Assert.Equal(i % 2 == 0 ? "db" : $"g{i}", m.Group));
            ulong data = First($"data@g{i}"), log = First($"log@g{i}");
            Assert.True(data == log || data == log + 1, $"mark {i}: data has {data}, log has {log}");
            seen.Add(data);
            await Patience.UntilAsync(() => First("data") > data, () => $"the writer stands at {data}");
        }

        await stop.CancelAsync();
        Assert.True(await writer >= 12);
        Assert.Equal(12, seen.Count);
        Assert.Equal(12, (await store.MarksAsync("data")).Count);
    }

    [Fact]
    public async Task What_is_wrong_with_a_mark_is_said_and_none_of_the_volumes_is_marked()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient store = Client();
        await store.CreateAsync(new VolumeRequest("a", 1 << 20));
        await store.CreateAsync(new VolumeRequest("b", 1 << 20));
        var wrong = await Assert.ThrowsAsync<ApiProblemException>(
            () => store.MarkAsync("a", new MarkRequest("x@y", ["b", "a"], "-g")));
        Assert.Equal((400, "/name /group /with"), (wrong.Problem.Status, string.Join(' ', wrong.Problem.Errors!.Select(e => e.Pointer))));
        Assert.Equal(404, (await Assert.ThrowsAsync<ApiProblemException>(
            () => store.MarkAsync("a", new MarkRequest("m", ["c"])))).Problem.Status);
        await store.MarkAsync("b", new MarkRequest("m"));
        var twice = await Assert.ThrowsAsync<ApiProblemException>(() => store.MarkAsync("a", new MarkRequest("m", ["b"])));
        Assert.Equal((409, "volume b has a mark m already; take another name, or delete that one first"),
            (twice.Problem.Status, twice.Problem.Detail));
        Assert.Empty(await store.MarksAsync("a"));
        var unknown = await Assert.ThrowsAsync<ApiProblemException>(() => store.UnmarkAsync("b", "n"));
        Assert.Equal((404, "volume b has no mark 'n'; it has m"), (unknown.Problem.Status, unknown.Problem.Detail));
        Assert.Equal(404, (await Assert.ThrowsAsync<ApiProblemException>(() => store.CheckMarkAsync("a", "m"))).Problem.Status);
    }

    [Fact]
    public async Task Marks_are_there_after_a_restart_and_go_with_their_volume()
    {
        string before = Path.Combine(_folder, "before"), after = Path.Combine(_folder, "after");
        MarkInfo mark;
        await using (StoreAgent agent = await StartAsync())
        {
            using StoreClient store = Client();
            await store.CreateAsync(new VolumeRequest("vs", Size));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -P 0x31 2M 1M");
            NbdClientTests.Tool("nbdcopy", Uri("vs"), before);
            mark = Assert.Single(await store.MarkAsync("vs", new MarkRequest("m1", Group: "g")));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -P 0x32 1M 4M");
        }

        await using StoreAgent again = await StartAsync();
        using StoreClient asked = Client();
        MarkInfo kept = Assert.Single(await asked.MarksAsync("vs"));
        Assert.Equal(mark with { Bytes = kept.Bytes }, kept);
        NbdClientTests.Tool("nbdcopy", Uri("vs@m1"), after);
        Assert.Equal(Sum(before), Sum(after));
        await asked.DeleteVolumeAsync("vs");
        Assert.DoesNotContain("vs", NbdClientTests.Tool("nbdinfo", "--list", $"nbd+unix:///?socket={NbdPath}"), StringComparison.Ordinal);
        await asked.CreateAsync(new VolumeRequest("vs", Size));
        Assert.Empty(await asked.MarksAsync("vs"));
    }

    [Fact]
    public async Task The_oldest_marks_go_when_they_are_too_old_or_keep_too_much_and_each_is_told()
    {
        var byBytes = new VolumeConfig("vs", Size, null, true, null, ReplicationMode.Async, new ReplicationPolicy(),
            new MarkRetention(default, 3 << 20));
        var other = byBytes with { Name = "other", Marks = null };
        await using StoreAgent agent = await StartAsync([byBytes, other], new MarkRetention(TimeSpan.FromSeconds(1), 0));
        using StoreClient store = Client();
        for (int i = 1; i <= 3; i++)
        {
            await store.MarkAsync("vs", new MarkRequest($"m{i}"));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", $"write -P {i} {i * 4}M 1M", "-c", $"write -P {i} 0 1M",
                "-c", "flush");
            await store.CheckAsync("vs");
        }

        // Each keeps the 2 MiB that were overwritten before the next.
        await Patience.UntilAsync(async () => (await store.MarksAsync("vs")).Count == 1, () => Told(agent));
        Assert.Equal(["m3"], (await store.MarksAsync("vs")).Select(m => m.Name));
        await store.MarkAsync("other", new MarkRequest("short"));
        string[] told = [];
        await Patience.UntilAsync(() => (told = Expired(agent)).Length >= 3, () => Told(agent));
        Assert.Empty(await store.MarksAsync("other"));
        Assert.Equal(3, told.Length);
        Assert.StartsWith("vs: mark m1 of ", told[0], StringComparison.Ordinal);
        Assert.Contains("keepBytes allows 3145728", told[0], StringComparison.Ordinal);
        Assert.StartsWith("vs: mark m2 of ", told[1], StringComparison.Ordinal);
        Assert.Contains("it is older than keepFor, 00:00:01", told[2], StringComparison.Ordinal);
    }

    private static string[] Expired(StoreAgent agent)
        => [.. agent.Events.After(0, out _).Where(e => e.Change == "mark-expired").Select(e => $"{e.Subject}: {e.Detail}")];

    // A real file system, mounted and written while it is marked: what a mark has is what a crash would leave, no worse.
    [RootFact]
    public async Task A_file_system_in_a_mark_is_sound_after_its_journal_is_replayed_on_a_copy()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient store = Client();
        await store.CreateAsync(new VolumeRequest("vs", 64 << 20));
        string mount = Directory.CreateDirectory(Path.Combine(_folder, "fuse")).FullName;
        string inside = Directory.CreateDirectory(Path.Combine(_folder, "fs")).FullName;
        using var fuse = System.Diagnostics.Process.Start("nbdfuse", [mount, Uri("vs")]);
        var synced = new Dictionary<string, List<string>>();
        try
        {
            string file = Path.Combine(mount, "nbd");
            await Patience.UntilAsync(() => File.Exists(file), () => $"nbdfuse has no {file}");
            NbdClientTests.Tool("mkfs.ext4", "-q", "-F", file);
            string loop = NbdClientTests.Tool("losetup", "--find", "--show", file).Trim();
            try
            {
                NbdClientTests.Tool("mount", loop, inside);
                try
                {
                    using var stop = new CancellationTokenSource();
                    var done = new List<string>();
                    Task writing = Task.Run(() => WriteFiles(inside, done, stop.Token));
                    for (int i = 0; i < 3; i++)
                    {
                        int had = Count(done);
                        await Patience.UntilAsync(() => writing.IsCompleted || Count(done) > had + 5, () => $"{had} files are written");
                        List<string> there;
                        lock (done) there = [.. done];
                        await store.MarkAsync("vs", new MarkRequest($"m{i}"));
                        synced[$"m{i}"] = there;
                    }

                    await stop.CancelAsync();
                    await writing;
                }
                finally
                {
                    NbdClientTests.Tool("umount", inside);
                }
            }
            finally
            {
                NbdClientTests.Tool("losetup", "-d", loop);
            }
        }
        finally
        {
            await NbdClientTests.UnmountAsync(mount);
            await fuse.WaitForExitAsync().WaitAsync(Patience.Time);
        }

        foreach ((string mark, List<string> files) in synced)
        {
            string copy = Path.Combine(_folder, mark);
            NbdClientTests.Tool("nbdcopy", Uri($"vs@{mark}"), copy);

            // The first run replays the journal, and finds nothing else to do.
            string said = NbdClientTests.Tool("sh", "-c", $"e2fsck -p '{copy}' || test $? = 1");
            Assert.DoesNotContain("UNEXPECTED", said, StringComparison.Ordinal);
            NbdClientTests.Tool("e2fsck", "-f", "-n", copy);
            Assert.NotEmpty(files);
            string listed = NbdClientTests.Tool("debugfs", "-R", "ls -p /", copy);
            foreach (string name in files) Assert.Contains($"/{name}/", listed, StringComparison.Ordinal);
            string dump = Path.Combine(_folder, "dump");
            NbdClientTests.Tool("debugfs", "-R", $"dump /{files[^1]} {dump}", copy);
            Assert.Equal(Contents(files[^1]), await File.ReadAllBytesAsync(dump));
        }
    }

    private static int Count(List<string> files)
    {
        lock (files) return files.Count;
    }

    private static void WriteFiles(string folder, List<string> done, CancellationToken stop)
    {
        for (int i = 0; i < 2500 && !stop.IsCancellationRequested; i++)
        {
            string name = $"f{i}";
            using (var stream = new FileStream(Path.Combine(folder, name), FileMode.Create))
            {
                stream.Write(Contents(name));
                stream.Flush(flushToDisk: true);
            }

            lock (done) done.Add(name);
        }
    }

    private static byte[] Contents(string name)
    {
        byte[] bytes = new byte[4100 + (name.Length * 100)];
        byte[] seed = SHA256.HashData(Encoding.UTF8.GetBytes(name));
        for (int i = 0; i < bytes.Length; i++) bytes[i] = seed[i % seed.Length];
        return bytes;
    }

    private async Task<ulong> CountAsync(string first, string second, CancellationToken stop)
    {
        using NbdTestClient a = await NbdTestClient.ConnectAsync(NbdPath, first), b = await NbdTestClient.ConnectAsync(NbdPath, second);
        ulong n = 0;
        while (!stop.IsCancellationRequested)
        {
            byte[] bytes = new byte[512];
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, ++n);
            Assert.Equal(0u, await a.WriteAsync(0, bytes));
            Assert.Equal(0u, await b.WriteAsync(0, bytes));
        }

        return n;
    }

    private ulong First(string export)
    {
        using NbdReader reader = NbdReader.Connect($"nbd+unix:///?socket={NbdPath}", export);
        byte[] bytes = new byte[512];
        reader.Read(0, bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    private async Task<int> OverwriteAsync(string export, CancellationToken stop)
    {
        using NbdTestClient client = await NbdTestClient.ConnectAsync(NbdPath, export);
        var random = new Random(7);
        byte[] bytes = new byte[64 << 10];
        int count = 0;
        for (; !stop.IsCancellationRequested; count++)
        {
            random.NextBytes(bytes);
            Assert.Equal(0u, await client.WriteAsync(random.Next(Size / bytes.Length) * bytes.Length, bytes, fua: count % 8 == 0));
        }

        return count;
    }

    private static string Told(StoreAgent agent)
        => string.Join("\n", agent.Events.After(0, out _).Select(e => $"{e.Subject} {e.Change}: {e.Detail}"));

    private static string Sum(string file) => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)));

    private string Uri(string export) => $"nbd+unix:///{export}?socket={NbdPath}";

    private Task<StoreAgent> StartAsync(IReadOnlyList<VolumeConfig>? volumes = null, MarkRetention? marks = null)
        => StoreAgent.StartAsync(new StoreConfig("store-a", "dc-a", new ApiConfig(Path.Combine(_folder, "s.sock")),
            Path.Combine(_folder, "state"), new ExportConfig(NbdPath, null), null, volumes ?? [], marks));

    private StoreClient Client() => new(new ApiEndpoint("store-a", Path.Combine(_folder, "s.sock"))) { RequestTimeout = Patience.Time };
}
