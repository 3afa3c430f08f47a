using System.Diagnostics;
using System.Security.Cryptography;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>Clients as Debian has them: libnbd's tools, QEMU's, fio, and a file system by nbdfuse. build.sh installs them.</summary>
public sealed class NbdClientTests : IDisposable
{
    private const int Size = 52_428_800;

    private readonly string _folder = Directory.CreateTempSubdirectory("nbdclients").FullName;
    private readonly FileDevice _device;
    private readonly NbdServer _server;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _run;
    private readonly List<string> _reports = [];

    public NbdClientTests()
    {
        using (FileStream file = File.Create(Image)) file.SetLength(Size);
        _device = FileDevice.Open(Image);
        _server = new NbdServer(new NbdServerOptions
        {
            Listen = [new NbdUnixListen(SocketPath)],
            Report = sentence =>
            {
                lock (_reports) _reports.Add(sentence);
            },
        }, new NbdExport("vol", _device) { Description = "a volume" });
        _server.Bind();
        _run = _server.RunAsync(_stop.Token);
    }

    private string Image => Path.Combine(_folder, "image");

    private string SocketPath => Path.Combine(_folder, "s");

    private string Uri => $"nbd+unix:///vol?socket={SocketPath}";

    public void Dispose()
    {
        _stop.Cancel();
        _run.Wait(Patience.Time);
        _server.Dispose();
        _device.Dispose();
        _stop.Dispose();
        Assert.Equal(0, _server.BuffersTaken);
        Assert.Equal(0, _server.Counters().DeviceFaults);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Nbdinfo_finds_the_export_its_size_and_what_it_can()
    {
        Assert.Equal(Size.ToString(), Tool("nbdinfo", "--size", Uri).Trim());
        string list = Tool("nbdinfo", "--list", Uri);
        Assert.Contains("export=\"vol\"", list);
        Assert.Contains("description: a volume", list);
        Assert.Contains("base:allocation", list);
        string json = Tool("nbdinfo", "--json", Uri);
        using var document = System.Text.Json.JsonDocument.Parse(json);
        System.Text.Json.JsonElement export = document.RootElement.GetProperty("exports")[0];
        Assert.Equal(Size, export.GetProperty("export-size").GetInt64());
        Assert.Equal(1, export.GetProperty("block_size_minimum").GetInt32());
        Assert.True(document.RootElement.GetProperty("structured").GetBoolean());
        foreach (string can in new[] { "flush", "fua", "trim", "zero", "fast-zero", "cache", "df", "multi-conn", "write", "read",
            "connect" })
        {
            Assert.Equal(0, Run("nbdinfo", "--can", can, Uri).Code);
        }

        Assert.NotEqual(0, Run("nbdinfo", "--is", "read-only", Uri).Code);
        Assert.NotEqual(0, Run("nbdinfo", $"nbd+unix:///nothing?socket={SocketPath}").Code);
    }

    [Fact]
    public void Nbdinfo_maps_holes_and_data()
    {
        Tool("qemu-io", "-f", "raw", Uri, "-c", "write -P 0x11 1M 2M", "-c", "flush");
        string[] lines = Tool("nbdinfo", "--map", Uri).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.Matches(@"^\s*0\s+1048576\s+3\s+hole,zero", lines[0]);
        Assert.Matches(@"^\s*1048576\s+2097152\s+0\s+data", lines[1]);
        Assert.Matches(@"^\s*3145728\s+49283072\s+3\s+hole,zero", lines[2]);
    }

    [Fact]
    public void Nbdsh_writes_reads_zeroes_trims_and_has_64_requests_in_flight()
    {
        Shell("""
            import os
            buf = os.urandom(65536)
            h.pwrite(buf, 4096, nbd.CMD_FLAG_FUA)
            assert h.pread(65536, 4096) == buf
            chunks = []
            h.pread_structured(65536, 4096, lambda data, offset, status, error: chunks.append((bytes(data), offset)) or 0, nbd.CMD_FLAG_DF)
            assert chunks == [(buf, 4096)]
            h.flush()
            h.zero(4096, 4096)
            h.zero(4096, 8192, nbd.CMD_FLAG_NO_HOLE)
            h.zero(4096, 12288, nbd.CMD_FLAG_FAST_ZERO)
            assert h.pread(12288, 4096) == bytearray(12288)
            h.trim(65536, 0, nbd.CMD_FLAG_FUA)
            h.cache(65536, 0)
            done = []
            bufs = [nbd.Buffer.from_bytearray(bytearray([i]) * 4096) for i in range(64)]
            for i in range(64):
                h.aio_pwrite(bufs[i], i * 4096, completion=lambda e, i=i: done.append((i, e.value)) or 1)
            while len(done) < 64:
                h.poll(-1)
            assert all(e == 0 for i, e in done)
            for i in range(64):
                assert h.pread(4096, i * 4096) == bytearray([i]) * 4096
            whole = h.pread(32 << 20, 0)
            assert len(whole) == 32 << 20
            """);
        Assert.Equal(0, _server.Counters().Errors);
    }

    [Fact]
    public void Nbdsh_sees_the_errors_of_the_protocol_document_and_its_connection_goes_on()
    {
        Shell($$"""
            import errno
            h.set_strict_mode(0)
            def fails(wanted, f, *args, **named):
                try:
                    f(*args, **named)
                except nbd.Error as e:
                    assert e.errnum == wanted, (e.errno, wanted)
                    return
                assert False, 'no error'
            size = h.get_size()
            fails(errno.EINVAL, h.pread, 1, size)
            fails(errno.EINVAL, h.pread, 4096, size - 1)
            fails(errno.ENOSPC, h.pwrite, b'x' * 4096, size - 1)
            fails(errno.ENOSPC, h.pwrite, b'x' * 4096, 1 << 62)
            fails(errno.ENOSPC, h.zero, 4096, size)
            fails(errno.EINVAL, h.trim, 4096, size)
            fails(errno.EINVAL, h.cache, 4096, size)
            fails(errno.EINVAL, h.pread, 0, 0)
            fails(errno.EINVAL, h.zero, 0, 0)
            fails(errno.EINVAL, h.trim, 512, 0, nbd.CMD_FLAG_FAST_ZERO)
            fails(errno.EINVAL, h.block_status, 512, size, lambda *a: 0)
            h.pwrite(b'y' * 10, 0)
            assert h.pread(10, 0) == b'y' * 10
            """);
        Assert.Equal(11, _server.Counters().Errors);
    }

    [Fact]
    public void Nbdsh_chooses_contexts_and_reads_block_status()
    {
        Shell("""
            h.pwrite(b'x' * 65536, 1 << 20)
            got = []
            h.block_status(4 << 20, 0, lambda context, offset, entries, error: got.append((context, list(entries))) or 0)
            assert got[0][0] == 'base:allocation', got
            assert got[0][1][:4] == [1 << 20, 3, 65536, 0], got
            got.clear()
            h.block_status(512, 0, lambda context, offset, entries, error: got.append(list(entries)) or 0, nbd.CMD_FLAG_REQ_ONE)
            assert got == [[512, 3]], got
            """, before: "h.add_meta_context('base:allocation')");
    }

    [Fact]
    public void Clients_of_the_older_kinds_are_served()
    {
        Shell("h.pwrite(b'a' * 512, 0); assert h.pread(512, 0) == b'a' * 512; assert not h.get_structured_replies_negotiated()",
            before: "h.set_request_structured_replies(False)");

        // EXPORT_NAME, with and without zeroes; no fixed newstyle at all.
        foreach (string flags in new[] { "nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE", "nbd.HANDSHAKE_FLAG_NO_ZEROES", "0" })
        {
            Shell("assert h.pread(512, 0) == b'a' * 512", before: $"h.set_handshake_flags({flags})");
        }
    }

    [Fact]
    public void Qemu_io_does_each_kind_of_request()
    {
        string output = Tool("qemu-io", "-f", "raw", Uri, "-c", "write -P 0xaa 0 1M", "-c", "read -P 0xaa 0 1M", "-c", "write -z 0 64k",
            "-c", "read -P 0 0 64k", "-c", "discard 1M 1M", "-c", "write -f -P 0x55 4k 4k", "-c", "flush", "-c", "aio_write -P 3 2M 1M",
            "-c", "aio_flush", "-c", "read -P 3 2M 1M", "-c", "map", "-c", "write -zu 2M 64k", "-c", "read -P 0 2M 64k");
        Assert.DoesNotContain("verification failed", output);
        Assert.DoesNotContain("error", output, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void Qemu_img_compares_benches_and_converts()
    {
        string other = Path.Combine(_folder, "other");
        File.WriteAllBytes(other, TestBytes.Bytes(Size, 6));
        Assert.NotEqual(0, Run("qemu-img", "compare", "-f", "raw", "-F", "raw", other, Uri).Code);
        Tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", other, Uri);
        Assert.Contains("identical", Tool("qemu-img", "compare", "-f", "raw", "-F", "raw", other, Uri));
        Assert.Contains("Run completed", Tool("qemu-img", "bench", "-f", "raw", "-t", "none", "-w", "-c", "5000", "-d", "16",
            "--flush-interval", "32", Uri));
        Assert.True(_server.Counters().Flushes >= 156);
    }

    [Fact]
    public void Nbdcopy_copies_both_ways_over_several_connections()
    {
        string other = Path.Combine(_folder, "other"), back = Path.Combine(_folder, "back");
        byte[] bytes = TestBytes.Bytes(Size, 8);
        bytes.AsSpan(10 << 20, 20 << 20).Clear();
        File.WriteAllBytes(other, bytes);
        Tool("nbdcopy", "--connections=4", "--requests=64", "--flush", other, Uri);
        Assert.True(_server.Counters().WriteZeroes > 0);
        Tool("nbdcopy", "--connections=4", Uri, back);
        Assert.Equal(SHA256.HashData(bytes), SHA256.HashData(File.ReadAllBytes(back)));
        Assert.Equal(SHA256.HashData(bytes), SHA256.HashData(File.ReadAllBytes(Image)));
    }

    [Fact]
    public void Fio_verifies_what_it_wrote()
    {
        string output = Tool("fio", "--name=j", "--ioengine=nbd", $"--uri={Uri}", "--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=48m",
            "--verify=crc32c", "--verify_fatal=1", "--fsync=64", "--randrepeat=0", "--output-format=terse");
        Assert.DoesNotContain("verify:", output);
        Assert.True(_server.Counters().Reads >= 12_288 && _server.Counters().Writes >= 12_288);
        Assert.Equal(0, _server.Counters().Errors);
    }

    [RootFact]
    public async Task A_real_file_system_by_nbdfuse_is_sound_afterwards()
    {
        string mount = Directory.CreateDirectory(Path.Combine(_folder, "fuse")).FullName;
        string inside = Directory.CreateDirectory(Path.Combine(_folder, "ext4")).FullName;
        var sums = new Dictionary<string, string>(StringComparer.Ordinal);
        using Process fuse = Start("nbdfuse", mount, Uri);
        try
        {
            string file = Path.Combine(mount, "nbd");
            await Patience.UntilAsync(() => File.Exists(file), () => $"nbdfuse has no {file}");
            Tool("mkfs.ext4", "-q", "-F", file);
            string loop = Tool("losetup", "--show", "-f", file).Trim();
            try
            {
                Tool("mount", loop, inside);
                try
                {
                    for (int i = 0; i < 60; i++)
                    {
                        string path = Path.Combine(inside, $"f{i}");
                        byte[] bytes = TestBytes.Bytes((i * 7919 % 300_000) + 1, i);
                        await using (var stream = new FileStream(path, FileMode.Create))
                        {
                            stream.Write(bytes);
                            stream.Flush(flushToDisk: i % 5 == 0);
                        }

                        if (i % 3 == 0) File.Delete(path);
                        else sums[path] = Convert.ToHexString(SHA256.HashData(bytes));
                    }
                }
                finally
                {
                    Tool("umount", inside);
                }

                Tool("mount", loop, inside);
                try
                {
                    foreach ((string path, string sum) in sums) Assert.Equal(sum,
                        Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))));
                }
                finally
                {
                    Tool("umount", inside);
                }
            }
            finally
            {
                Tool("losetup", "-d", loop);
            }
        }
        finally
        {
            await UnmountAsync(mount);
            await fuse.WaitForExitAsync().WaitAsync(Patience.Time);
        }

        Assert.Equal(40, sums.Count);
        Assert.True(_server.Counters().Flushes > 0, "fsync in the file system reaches the server as a flush");
        Tool("e2fsck", "-f", "-n", Image);
    }

    [Fact]
    public void Nbdcopy_starts_the_server_by_socket_activation()
        => Tool("nbdcopy", ["--", "[", .. Server(Other()), "]", "null:"]);

    [Fact]
    public void Nbdsh_starts_the_server_on_its_standard_input()
    {
        string command = string.Join(", ", Server([.. Other(), "--stdin"]).Select(word => $"'{word}'"));
        Tool("/usr/bin/nbdsh", "-c", $"h.connect_command([{command}]); h.pwrite(b'q' * 512, 512); assert h.pread(512, 512) == b'q' * 512; "
            + "h.shutdown()");
    }

    [Fact]
    public void Libnbd_speaks_TLS_with_a_certificate_and_is_refused_without()
    {
        using var authority = new TestAuthority("nbd");
        string pki = Directory.CreateDirectory(Path.Combine(_folder, "pki")).FullName;
        (string certificate, string key) = authority.Write(pki, "server", forServer: true);
        (string ownCertificate, string ownKey) = authority.Write(pki, "client", forServer: false, subject: "CN=guest");
        string ca = authority.WriteAuthority(pki);
        File.Copy(ca, Path.Combine(pki, "ca-cert.pem"));
        File.Copy(ownCertificate, Path.Combine(pki, "client-cert.pem"));
        File.Copy(ownKey, Path.Combine(pki, "client-key.pem"));
        int port = TestAuthority.FreePort();
        using Process server = Start(Server([.. Other(), "--tls", certificate, key, ca, "--tcp", port.ToString()]));
        try
        {
            Assert.Equal("ready", server.StandardOutput.ReadLine());
            string uri = $"nbds://127.0.0.1:{port}/?tls-certificates={pki}";
            string shell = "assert h.get_tls_negotiated(); h.pwrite(b'z' * 100000, 0, nbd.CMD_FLAG_FUA); "
                + "assert h.pread(100000, 0) == b'z' * 100000";
            Tool("/usr/bin/nbdsh", "-c", $"h.set_uri_allow_local_file(True)\nh.connect_uri('{uri}')\n{shell}");
            Assert.NotEqual(0, Run("nbdinfo", $"nbd://127.0.0.1:{port}/").Code);
        }
        finally
        {
            server.Kill();
            server.WaitForExit();
        }
    }

    // An image of its own: the one of this test is served, and locked, already.
    private string[] Other()
    {
        string other = Path.Combine(_folder, "own");
        File.WriteAllBytes(other, TestBytes.Bytes(1 << 20, 2));
        return [other];
    }

    private static string[] Server(string[] arguments) => ["dotnet", typeof(NbdProcess).Assembly.Location, "nbd", .. arguments];

    private void Shell(string script, string before = "pass")
        => Tool("/usr/bin/nbdsh", "-c", $"{before}\nh.set_export_name('vol')\nh.connect_unix('{SocketPath}')\n{script}\nh.shutdown()");

    /// <summary>Unmounts what a loop device was on: the kernel lets go of its file a moment after the device was given back.</summary>
    internal static Task UnmountAsync(string mount)
        => Patience.UntilAsync(() => Run("umount", mount).Code == 0, () => $"{mount} is busy");

    internal static string Tool(string command, params string[] arguments)
    {
        (int code, string output) = Run(command, arguments);
        Assert.True(code == 0, $"{command} {string.Join(' ', arguments)}: exit {code}: {output}");
        return output;
    }

    private static (int Code, string Output) Run(string command, params string[] arguments)
    {
        using Process process = Start([command, .. arguments]);
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(10 * 60 * 1000))
        {
            process.Kill();
            throw new TimeoutException($"{command} {string.Join(' ', arguments)} has not ended after 10 minutes: {output}");
        }

        return (process.ExitCode, process.ExitCode == 0 ? output : output + error.Result);
    }

    private static Process Start(params string[] command)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };

        // libnbd's Python module is the system's.
        start.Environment["PATH"] = "/usr/bin:/usr/sbin:" + Environment.GetEnvironmentVariable("PATH");
        foreach (string argument in command.Skip(1)) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }
}
