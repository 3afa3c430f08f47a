using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Tests.Nbd;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests;

/// <summary>A volume gets larger, as its users see it: by the API, and with the tools of NBD.</summary>
public sealed class StoreResizeTests : IDisposable
{
    private const int Size = 8 << 20, Mebibyte = 1 << 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-store-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Socket => Path.Combine(_folder, "store.nbd");

    private string Uri(string export = "vs") => $"nbd+unix:///{export}?socket={Socket}";

    [Fact]
    public async Task The_tools_of_nbd_see_the_new_part_as_a_hole_of_zeros_write_and_copy_it()
    {
        byte[] contents = TestBytes.Bytes(Size, 1), more = TestBytes.Bytes(4 * Mebibyte, 2);
        string file = Path.Combine(_folder, "in"), copy = Path.Combine(_folder, "copy");
        await using (StoreAgent agent = await StartAsync())
        {
            using StoreClient client = Client();
            await client.CreateAsync(new VolumeRequest("vs", Size));
            await File.WriteAllBytesAsync(file, contents);
            NbdClientTests.Tool("nbdcopy", "--flush", file, Uri());
            await client.MarkAsync("vs", new MarkRequest("before"));
            VolumeInfo grown = await client.ResizeAsync("vs", new VolumeResizeRequest(3 * Size));
            Assert.Equal(3 * Size, grown.SizeBytes);
            Assert.Equal($"{3 * Size}", NbdClientTests.Tool("nbdinfo", "--size", Uri()).Trim());
            Assert.Equal($"{Size}", NbdClientTests.Tool("nbdinfo", "--size", Uri("vs@before")).Trim());
            string map = NbdClientTests.Tool("nbdinfo", "--map", Uri());
            Assert.Matches($@"(?m)^\s*{Size}\s+{2 * Size}\s+3\s", map);
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri(), "-c", "read -P 0 8M 16M", "-c", "write -f -P 0x77 20M 64k");
            Assert.Contains($"sdnedge_store_volume_bytes{{volume=\"vs\"}} {3 * Size}\n", await client.TextAsync("metrics"),
                StringComparison.Ordinal);
            Assert.True((await client.CheckAsync("vs")).Good);
            Assert.Equal(3 * Size, new FileInfo(Path.Combine(_folder, "state", "vs", "image")).Length);
            Assert.True(Blocks(Path.Combine(_folder, "state", "vs", "image")) < 2 * Size / 512, "the new part takes room");

            // The same once more changes nothing.
            Assert.Equal(3 * Size, (await client.ResizeAsync("vs", new VolumeResizeRequest(3 * Size))).SizeBytes);
        }

        await using (StoreAgent again = await StartAsync())
        {
            byte[] expected = [.. contents, .. new byte[2 * Size]];
            expected.AsSpan(20 * Mebibyte, 64 << 10).Fill(0x77);
            NbdClientTests.Tool("nbdcopy", Uri(), copy);
            Assert.Equal(expected, await File.ReadAllBytesAsync(copy));

            // An image of the new size, in: what was there is replaced.
            more.CopyTo(expected, 9 * Mebibyte);
            await File.WriteAllBytesAsync(file, expected);
            NbdClientTests.Tool("nbdcopy", "--flush", file, Uri());
            NbdClientTests.Tool("nbdcopy", Uri(), copy);
            Assert.Equal(expected, await File.ReadAllBytesAsync(copy));
            using StoreClient client = Client();
            VolumeCheckInfo check = await client.CheckAsync("vs");
            Assert.True(check.Good, $"{check}");
            Assert.True((await client.CheckMarkAsync("vs", "before")).Good);
        }
    }

    [Fact]
    public async Task What_cannot_be_is_refused_with_what_would_be_right_and_nothing_has_changed()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        await client.CreateAsync(new VolumeRequest("vs", Size));
        foreach ((long size, int status, string why) in ((long, int, string)[])
            [
                (Size + 512, 400, $"{Size + 512} is not a size; write a multiple of 4096, more than 0"),
                (0, 400, "0 is not a size"), (-4096, 400, "-4096 is not a size"),
                (Size / 2, 409, $"volume vs has {Size} bytes, and is not made smaller: make a volume of {Size / 2} bytes, copy "
                    + "what you need into it, and delete this one"),
            ])
        {
            var refused = await Assert.ThrowsAsync<ApiProblemException>(() => client.ResizeAsync("vs", new VolumeResizeRequest(size)));
            Assert.Equal(status, refused.Problem.Status);
            Assert.Contains(why, refused.Problem.Detail + string.Concat(refused.Problem.Errors?.Select(e => e.Detail) ?? []),
                StringComparison.Ordinal);
        }

        var unknown = await Assert.ThrowsAsync<ApiProblemException>(() => client.ResizeAsync("other", new VolumeResizeRequest(Size)));
        Assert.Equal(404, unknown.Problem.Status);
        Assert.Equal($"{Size}", NbdClientTests.Tool("nbdinfo", "--size", Uri()).Trim());
    }

    [Fact]
    public async Task A_configuration_that_asks_for_more_says_which_command_makes_it_larger_and_is_content_when_it_was_given()
    {
        await using (StoreAgent agent = await StartAsync(Size))
        {
        }

        using StoreClient client = Client();
        await using (StoreAgent larger = await StartAsync(2 * Size))
        {
            StoreNodeInfo node = await client.NodeAsync();
            Assert.False(node.Ready);
            Assert.Contains($"make it larger with 'sdnedge store resize vs {2 * Size}', at the store that owns it, or correct the ",
                node.Fault, StringComparison.Ordinal);
            await client.ResizeAsync("vs", new VolumeResizeRequest(2 * Size));
            Assert.True((await client.NodeAsync()).Ready);
        }

        await using StoreAgent smaller = await StartAsync(Size);
        Assert.Contains($"correct the configuration to size: {2 * Size}", (await client.NodeAsync()).Fault, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Clients_that_are_to_connect_again_are_disconnected_when_the_volume_is_larger_and_those_of_others_are_not()
    {
        await using StoreAgent agent = await StartAsync();
        using StoreClient client = Client();
        await client.CreateAsync(new VolumeRequest("vs", Size));
        await client.CreateAsync(new VolumeRequest("other", Size));
        using NbdTestClient old = await NbdTestClient.ConnectAsync(Socket, "vs"), other = await NbdTestClient.ConnectAsync(Socket, "other");
        Assert.Equal(0u, await old.WriteAsync(0, TestBytes.Bytes(4096, 1)));
        await client.ResizeAsync("vs", new VolumeResizeRequest(2 * Size, Reconnect: true));
        Exception? ended = await Record.ExceptionAsync(() => old.WriteAsync(4096, TestBytes.Bytes(4096, 2)).WaitAsync(Patience.Time));
        Assert.True(ended is IOException or System.Net.Sockets.SocketException, $"{ended}");
        Assert.Equal(0u, await other.WriteAsync(0, TestBytes.Bytes(4096, 3)));
        using NbdTestClient again = await NbdTestClient.ConnectAsync(Socket, "vs");
        Assert.Equal(0u, await again.WriteAsync((2 * Size) - 4096, TestBytes.Bytes(4096, 4)));
        Assert.Equal(TestBytes.Bytes(4096, 1), await again.ReadAsync(0, 4096));
    }

    [RootFact]
    public async Task A_device_is_used_as_far_as_it_goes_and_what_it_had_there_is_zeroed()
    {
        string backing = Path.Combine(_folder, "device");
        await File.WriteAllBytesAsync(backing, TestBytes.Bytes(Size, 3));
        string loop = NbdClientTests.Tool("losetup", "--show", "-f", backing).Trim();
        try
        {
            await using StoreAgent agent = await StartAsync();
            using StoreClient client = Client();
            await client.CreateAsync(new VolumeRequest("vs", 0, Image: loop));
            var refused = await Assert.ThrowsAsync<ApiProblemException>(() => client.ResizeAsync("vs", new VolumeResizeRequest(2 * Size)));
            Assert.Equal((507, $"volume vs cannot have {2 * Size} bytes: {loop} has {Size}, and is no file that grows by itself; make the "
                + "device larger first; nothing has changed"), (refused.Problem.Status, refused.Problem.Detail));
            await using (FileStream file = File.Open(backing, FileMode.Append)) file.Write(TestBytes.Bytes(2 * Size, 4));
            NbdClientTests.Tool("losetup", "-c", loop);
            await client.ResizeAsync("vs", new VolumeResizeRequest(2 * Size));
            NbdClientTests.Tool("qemu-io", "-f", "raw", Uri(), "-c", "read -P 0 8M 8M");
            Assert.True((await client.CheckAsync("vs")).Good);
        }
        finally
        {
            NbdClientTests.Tool("losetup", "-d", loop);
        }
    }

    private static long Blocks(string file)
        => long.Parse(NbdClientTests.Tool("stat", "-c", "%b", file).Trim(), System.Globalization.CultureInfo.InvariantCulture);

    private Task<StoreAgent> StartAsync(long? named = null) => StoreAgent.StartAsync(new StoreConfig(
        "store-a", "dc-a", new ApiConfig(Path.Combine(_folder, "store.sock")), Path.Combine(_folder, "state"),
        new ExportConfig(Socket, null), null,
        named is { } size ? [new VolumeConfig("vs", size, null, true, null, ReplicationMode.Async, new ReplicationPolicy())] : []));

    private StoreClient Client() => new(new ApiEndpoint("store-a", Path.Combine(_folder, "store.sock"))) { RequestTimeout = Patience.Time };
}
