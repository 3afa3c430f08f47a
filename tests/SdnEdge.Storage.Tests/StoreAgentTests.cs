using System.Buffers.Binary;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Tests.Nbd;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests;

/// <summary>The agent as its users see it: by its API and by its NBD socket, with clients as Debian has them.</summary>
public sealed class StoreAgentTests : IDisposable
{
    private const int Size = 8 << 20;

    // NBD_INFO_BLOCK_SIZE: a client that does not ask for it is refused where blocks are larger than a byte.
    private const ushort BlockSize = 3;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-store-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string State => Path.Combine(_folder, "state");

    [Fact]
    public async Task A_volume_is_made_found_written_read_and_deleted()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        VolumeInfo made = await client.CreateAsync(new VolumeRequest("vs", Size));
        Assert.Equal(("vs", (long)Size, OwnerRole.Owner), (made.Name, made.SizeBytes, made.Role));
        Assert.NotEqual(Guid.Empty, made.Id);
        await client.CreateAsync(new VolumeRequest("a", Size / 2));
        Assert.Equal(["a", "vs"], (await client.VolumesAsync()).Select(v => v.Name));
        Assert.Equal(made.Id, (await client.VolumeAsync("vs")).Id);
        StoreNodeInfo node = await client.NodeAsync();
        Assert.Equal(("store-a", "dc-a", true, null), (node.Name, node.Site, node.Ready, node.Fault));
        Assert.Equal([$"nbd+unix:///?socket={Nbd()}"], node.Exports);

        // A client finds it at what the store says of itself.
        string uri = node.Exports[0].Replace("///", "///vs", StringComparison.Ordinal);
        Assert.Equal($"{Size}", NbdClientTests.Tool("nbdinfo", "--size", uri).Trim());
        NbdClientTests.Tool("qemu-io", "-f", "raw", uri, "-c", "read -P 0 0 8M", "-c", "write -P 0x5a 1M 64k", "-c", "read -P 0x5a 1M 64k");
        await client.DeleteVolumeAsync("a");
        Assert.Equal(["vs"], (await client.VolumesAsync()).Select(v => v.Name));
        Assert.False(Directory.Exists(Path.Combine(State, "a")));
        string list = NbdClientTests.Tool("nbdinfo", "--list", $"nbd+unix:///?socket={Nbd()}");
        Assert.Contains("export=\"vs\"", list, StringComparison.Ordinal);
        Assert.DoesNotContain("export=\"a\"", list, StringComparison.Ordinal);
        var gone = await Assert.ThrowsAsync<ApiProblemException>(() => client.VolumeAsync("a"));
        Assert.Equal((404, "there is no volume 'a' at store-a; it has vs"), (gone.Problem.Status, gone.Problem.Detail));
    }

    // A host's default is to watch every file below the working directory: with images there, each write to one is told to the store too.
    [Fact]
    public async Task A_store_watches_no_files()
    {
        await using StoreAgent agent = await StartAsync();
        Assert.DoesNotContain(new DirectoryInfo("/proc/self/fd").EnumerateFiles().Select(f => f.LinkTarget),
            target => target?.Contains("inotify", StringComparison.Ordinal) == true);
    }

    [Fact]
    public async Task An_imported_image_has_its_contents_is_used_where_it_is_and_stays_after_the_volume()
    {
        string image = Path.Combine(_folder, "disk.img");
        byte[] contents = TestBytes.Bytes(Size, 1);
        await File.WriteAllBytesAsync(image, contents);
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        VolumeInfo made = await client.CreateAsync(new VolumeRequest("vs", 0, Image: image));
        Assert.Equal(Size, made.SizeBytes);
        Assert.Equal(contents, Copy("vs"));
        Assert.Equal(contents, await File.ReadAllBytesAsync(image));
        VolumeCheckInfo check = await client.CheckAsync("vs");
        Assert.Equal((true, Size / 4096L, 0L), (check.Good, check.BlocksRead, check.BadBlockCount));

        // It is this volume's now: nothing else writes it.
        var twice = await Assert.ThrowsAsync<ApiProblemException>(() => client.CreateAsync(new VolumeRequest("twice", 0, Image: image)));
        Assert.Contains("another volume or process has it open for writing", twice.Problem.Detail, StringComparison.Ordinal);

        // What is written is in the image once it is applied; a check applies all of it.
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -P 0x5a 1M 64k", "-c", "flush");
        Assert.True((await client.CheckAsync("vs")).Good);
        contents.AsSpan(1 << 20, 64 << 10).Fill(0x5a);
        await client.DeleteVolumeAsync("vs");
        Assert.Equal(contents, await File.ReadAllBytesAsync(image));
        Assert.Empty(await client.VolumesAsync());
    }

    [Fact]
    public async Task A_volume_that_a_client_uses_is_not_deleted_and_the_refusal_names_the_client()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        await client.CreateAsync(new VolumeRequest("vs", Size));
        await client.CreateAsync(new VolumeRequest("other", Size));
        using (Socket user = Use("vs"))
        {
            var refused = await Assert.ThrowsAsync<ApiProblemException>(() => client.DeleteVolumeAsync("vs"));
            Assert.Equal(409, refused.Problem.Status);
            Assert.StartsWith("volume vs is in use by ", refused.Problem.Detail, StringComparison.Ordinal);
            Assert.Equal(1, (await client.NodeAsync()).Connections);

            // It still answers, and a volume that nobody uses is not kept by it.
            user.Send(new NbdScript().Request(NbdCommand.Flush, 0, 0).ToArray());
            Assert.Equal(NbdError.None, Answer(user, 16).Reply().Error);
            await client.DeleteVolumeAsync("other");
        }

        await Patience.UntilAsync(async () => (await client.NodeAsync()).Connections == 0, () => "the store still counts the client");
        await client.DeleteVolumeAsync("vs");
        Assert.Empty(await client.VolumesAsync());
    }

    [Fact]
    public async Task What_was_answered_is_there_after_a_restart()
    {
        VolumeInfo made;
        string before;
        await using (StoreAgent agent = await StartAsync())
        {
            using StoreClient client = Client();
            made = await client.CreateAsync(new VolumeRequest("vs", Size));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -f -P 0x11 0 64k", "-c", "write -f -P 0x22 4M 1M",
                "-c", "write -z 64k 64k", "-c", "write -P 0x33 7M 512");
            before = (await client.NodeAsync()).Incarnation;
        }

        await using StoreAgent again = await StartAsync();
        using StoreClient asked = Client();
        Assert.NotEqual(before, (await asked.NodeAsync()).Incarnation);
        VolumeInfo there = await asked.VolumeAsync("vs");
        Assert.Equal((made.Id, made.SizeBytes), (there.Id, there.SizeBytes));
        byte[] expected = new byte[Size];
        expected.AsSpan(0, 64 << 10).Fill(0x11);
        expected.AsSpan(4 << 20, 1 << 20).Fill(0x22);
        expected.AsSpan(7 << 20, 512).Fill(0x33);
        Assert.Equal(expected, Copy("vs"));
        Assert.True((await asked.CheckAsync("vs")).Good);
    }

    [Fact]
    public async Task A_byte_that_changed_while_the_store_was_stopped_is_found_and_its_block_is_named()
    {
        const int Changed = (5 << 20) + 4096 + 17;
        await using (StoreAgent agent = await StartAsync())
        {
            using StoreClient client = Client();
            await client.CreateAsync(new VolumeRequest("vs", Size));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -P 0x44 5M 64k", "-c", "flush");

            // All of it is in the image, so that nothing is written over it at the start.
            Assert.True((await client.CheckAsync("vs")).Good);
        }

        using (FileStream image = File.Open(Path.Combine(State, "vs", "image"), FileMode.Open))
        {
            image.Position = Changed;
            Assert.Equal(0x44, image.ReadByte());
            image.Position = Changed;
            image.WriteByte(0x45);
        }

        await using StoreAgent again = await StartAsync();
        using StoreClient asked = Client();
        VolumeCheckInfo found = await asked.CheckAsync("vs");
        Assert.False(found.Good);
        Assert.Equal(1, found.BadBlockCount);
        Assert.Equal([Changed / 4096L], found.BadBlocks);
        Assert.NotEqual(found.ContentRoot, found.ReadRoot);
        Assert.Null(found.LogDamage);
        Assert.Null(found.DiskError);

        // Writing the block anew mends it.
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", $"write -P 0x46 {Changed / 4096 * 4096} 4096", "-c", "flush");
        Assert.True((await asked.CheckAsync("vs")).Good);
    }

    [Theory]
    [InlineData("../vs", 1000, null, true, "/name /sizeBytes /replica")]
    [InlineData("", 0, null, false, "/name /sizeBytes")]
    [InlineData("-vs", -4096, null, false, "/name /sizeBytes")]
    [InlineData("a b", 4096, "disk.img", false, "/name /image /sizeBytes")]
    public async Task All_that_is_wrong_with_a_request_is_said_at_once(string name, long size, string? image, bool replica, string wrong)
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        var refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => client.CreateAsync(new VolumeRequest(name, size, Replica: replica, Image: image)));
        Assert.Equal(400, refused.Problem.Status);
        Assert.Equal(wrong, string.Join(' ', refused.Problem.Errors!.Select(e => e.Pointer)));
        Assert.Empty(await client.VolumesAsync());
        Assert.Empty(Directory.EnumerateDirectories(State));
    }

    [Fact]
    public async Task What_cannot_be_made_is_refused_with_the_reason_and_leaves_nothing()
    {
        string odd = Path.Combine(_folder, "odd.img"), missing = Path.Combine(_folder, "missing.img");
        await File.WriteAllBytesAsync(odd, new byte[1000]);
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        VolumeInfo made = await client.CreateAsync(new VolumeRequest("vs", Size));
        foreach ((VolumeRequest request, int status, string reason) in new (VolumeRequest, int, string)[]
            {
                (new("vs", Size), 409, "volume vs is there already"),
                (new("new", 0, Image: missing), 400, missing),
                (new("new", 0, Image: odd), 400, "1000 bytes; a multiple of 512"),
            })
        {
            var refused = await Assert.ThrowsAsync<ApiProblemException>(() => client.CreateAsync(request));
            Assert.Equal(status, refused.Problem.Status);
            Assert.Contains(reason, refused.Problem.Detail, StringComparison.Ordinal);
        }

        Assert.Equal(made.Id, Assert.Single(await client.VolumesAsync()).Id);
        Assert.False(Directory.Exists(Path.Combine(State, "new")));
        Func<Task>[] unknown = [() => client.CheckAsync("new"), () => client.DeleteVolumeAsync("new"), () => client.VolumeAsync("../vs")];
        foreach (Func<Task> ask in unknown)
            Assert.Equal(404, (await Assert.ThrowsAsync<ApiProblemException>(ask)).Problem.Status);
    }

    // What breaks one volume is no reason to stop the guests of the others.
    [Theory]
    [InlineData("image", "image")]
    [InlineData("superblock", "superblock")]
    [InlineData("volume.json", "volume.json")]
    public async Task A_volume_whose_files_are_damaged_is_said_so_and_does_not_keep_the_others_from_being_served(
        string file, string named)
    {
        await using (StoreAgent agent = await StartAsync())
        {
            using StoreClient client = Client();
            await client.CreateAsync(new VolumeRequest("bad", Size));
            await client.CreateAsync(new VolumeRequest("good", Size));
            foreach (string name in (string[])["bad", "good"])
                NbdClientTests.Tool("qemu-io", "-f", "raw", Uri(name), "-c", "write -f -P 0x55 0 64k");
        }

        string damaged = Path.Combine(State, "bad", file);
        if (file == "image") File.Delete(damaged);
        else await File.WriteAllBytesAsync(damaged, new byte[new FileInfo(damaged).Length]);
        await using StoreAgent again = await StartAsync();
        using StoreClient asked = Client();
        StoreNodeInfo node = await asked.NodeAsync();
        Assert.False(node.Ready);
        Assert.StartsWith("volume bad", node.Fault, StringComparison.Ordinal);
        Assert.Contains(named, node.Fault, StringComparison.Ordinal);
        Assert.Equal("good", Assert.Single(await asked.VolumesAsync()).Name);
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("good"), "-c", "read -P 0x55 0 64k");
        var refused = await Assert.ThrowsAsync<ApiProblemException>(() => asked.VolumeAsync("bad"));
        Assert.Equal(503, refused.Problem.Status);
        Assert.Contains(node.Fault!, refused.Problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_store_of_one_folder_does_not_start_and_the_first_goes_on()
    {
        await using StoreAgent first = await StartAsync();
        using StoreClient client = Client();
        await client.CreateAsync(new VolumeRequest("vs", Size));
        foreach (string name in (string[])["store-b", "store-a"])
        {
            string said = (await Assert.ThrowsAnyAsync<IOException>(() => StartAsync(name))).Message;
            Assert.Contains($"another store has {State}", said, StringComparison.Ordinal);
        }

        Assert.True((await client.NodeAsync()).Ready);
        NbdClientTests.Tool("qemu-io", "-f", "raw", Uri("vs"), "-c", "write -f -P 0x66 0 64k", "-c", "read -P 0x66 0 64k");
        Assert.True((await client.CheckAsync("vs")).Good);
    }

    [Fact]
    public async Task Volumes_of_the_configuration_are_made_once_and_one_whose_size_differs_is_served_as_it_is_and_said_so()
    {
        Guid id;
        await using (StoreAgent agent = await StartAsync(volumes: [Named("vs", Size)]))
        {
            using StoreClient client = Client();
            id = Assert.Single(await client.VolumesAsync()).Id;
            Assert.True((await client.NodeAsync()).Ready);
        }

        await using StoreAgent again = await StartAsync(volumes: [Named("vs", 2 * Size)]);
        using StoreClient asked = Client();
        VolumeInfo there = Assert.Single(await asked.VolumesAsync());
        Assert.Equal((id, (long)Size), (there.Id, there.SizeBytes));
        StoreNodeInfo node = await asked.NodeAsync();
        Assert.False(node.Ready);
        Assert.Contains($"has {Size} bytes, and its configuration says {2 * Size}", node.Fault, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Metrics_count_what_clients_did()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        await client.CreateAsync(new VolumeRequest("vs", Size));
        NbdClientTests.Tool("/usr/bin/nbdsh", "-u", Uri("vs"), "-c", """
            for i in range(3): h.pwrite(b'x' * 4096, i * 4096)
            h.flush()
            assert h.pread(8192, 0) == b'x' * 8192
            h.shutdown()
            """);
        await Patience.UntilAsync(async () => (await client.NodeAsync()).Connections == 0, () => "the store still counts the client");
        string text = await TextAsync("metrics");
        foreach (string line in (string[])
            [
                $"sdnedge_store_volume_bytes{{volume=\"vs\"}} {Size}", "sdnedge_store_faults{volume=\"vs\"} 0",
                "sdnedge_nbd_requests_total{request=\"write\"} 3", "sdnedge_nbd_requests_total{request=\"flush\"} 1",
                "sdnedge_nbd_requests_total{request=\"read\"} 1", "sdnedge_nbd_requests_total{request=\"trim\"} 0",
                "sdnedge_nbd_written_bytes_total 12288", "sdnedge_nbd_read_bytes_total 8192", "sdnedge_nbd_errors_total 0",
                "sdnedge_nbd_connections 0", "sdnedge_nbd_connections_total 1", "sdnedge_nbd_connections_refused_total 0",
                "sdnedge_nbd_protocol_errors_total 0", "sdnedge_nbd_device_faults_total 0", "sdnedge_store_parked_total{volume=\"vs\"} 0",
            ])
        {
            Assert.Contains(line + "\n", text, StringComparison.Ordinal);
        }

        foreach (string family in (string[])
            [
                "sdnedge_store_log_bytes{", "sdnedge_store_log_last_sequence{", "sdnedge_store_log_durable_sequence{",
                "sdnedge_store_applied_sequence{", "sdnedge_store_commits_total{", "sdnedge_process_",
            ])
        {
            Assert.Contains("\n" + family, text, StringComparison.Ordinal);
        }

        Assert.True(Value("sdnedge_store_log_durable_sequence{volume=\"vs\"} ") >= 3, text);

        double Value(string name)
        {
            string line = text.Split('\n').Single(l => l.StartsWith(name, StringComparison.Ordinal));
            return double.Parse(line.AsSpan(name.Length), System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    private static VolumeConfig Named(string name, long size)
        => new(name, size, null, true, null, ReplicationMode.Async, new ReplicationPolicy());

    private string Api(string store = "store-a") => Path.Combine(_folder, store + ".sock");

    private string Nbd(string store = "store-a") => Path.Combine(_folder, store + ".nbd");

    private string Uri(string volume) => $"nbd+unix:///{volume}?socket={Nbd()}";

    private Task<StoreAgent> StartAsync(string store = "store-a", IReadOnlyList<VolumeConfig>? volumes = null)
        => StoreAgent.StartAsync(
            new StoreConfig(store, "dc-a", new ApiConfig(Api(store)), State, new ExportConfig(Nbd(store), null), null, volumes ?? []));

    private StoreClient Client(string store = "store-a") => new(new ApiEndpoint(store, Api(store))) { RequestTimeout = Patience.Time };

    private byte[] Copy(string volume)
    {
        string copy = Path.Combine(_folder, "copy");
        NbdClientTests.Tool("nbdcopy", Uri(volume), copy);
        byte[] bytes = File.ReadAllBytes(copy);
        File.Delete(copy);
        return bytes;
    }

    // A client that stays.
    private Socket Use(string volume)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.ReceiveTimeout = Patience.Seconds * 1000;
        socket.Connect(new UnixDomainSocketEndPoint(Nbd()));
        socket.Send(new NbdScript().Flags().Go(volume, BlockSize).ToArray());
        Answer(socket, 18).Greeting();
        while (true)
        {
            byte[] header = Bytes(socket, 20);
            var type = (NbdOptionReply)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            Bytes(socket, BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16)));
            if (type == NbdOptionReply.Ack) return socket;
            Assert.Equal(NbdOptionReply.Info, type);
        }
    }

    private static NbdAnswers Answer(Socket socket, int count) => new(Bytes(socket, count));

    private static byte[] Bytes(Socket socket, int count)
    {
        byte[] bytes = new byte[count];
        for (int got = 0; got < count;)
        {
            int n = socket.Receive(bytes, got, count - got, SocketFlags.None);
            Assert.True(n > 0, $"the store closed the connection after {got} of {count} bytes");
            got += n;
        }

        return bytes;
    }

    private async Task<string> TextAsync(string path)
    {
        using var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Api()), cancel);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        using var http = new HttpClient(handler) { BaseAddress = new Uri("http://store/"), Timeout = Patience.Time };
        return await http.GetStringAsync(path);
    }
}
