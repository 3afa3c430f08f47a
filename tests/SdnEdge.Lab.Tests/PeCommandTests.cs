using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary><c>sdnedge pe</c> and <c>sdnedge show</c> as programs: what they print, how they end.</summary>
[Trait("needs", "executable")]
public sealed class PeCommandTests
{
    private const string Good = """
        name: pe-t
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1, "fd00:ff::1"]
        host: { device: host0 }
        ports:
          - { name: a, device: tap-a, addresses: [10.1.0.1/24, "fd00:a::1/64"] }
        static:
          - { prefix: 10.9.0.0/16, via: 10.1.0.9 }
        api: { unix: SOCKET }

        """;

    [Fact]
    public async Task A_wrong_file_gives_every_error_with_its_line_and_nothing_is_started()
    {
        using var files = new Files(
            "name: pe-t\nrouterId: x\nas: 65000\nloopbacks: [10.255.0.1]\nports:\n  - { name: a, device: tap-a, mtu: 1 }\nstatik: []\n");
        foreach (string[] words in (string[][])[["--check"], []])
        {
            (int code, string output, string errors) = await RunAsync(["pe", "--config", files.Config, .. words]);
            Assert.Equal(2, code);
            Assert.Equal("", output);
            Assert.Contains($"{files.Config}:2:11: routerId: ", errors, StringComparison.Ordinal);
            Assert.Contains(":6:36: ports[0].mtu: ", errors, StringComparison.Ordinal);
            Assert.Contains(":7:1: statik: is not a known field; did you mean 'static'?", errors, StringComparison.Ordinal);
            Assert.Contains("3 errors; nothing was started", errors, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_good_file_is_said_to_be_good_and_a_missing_one_to_be_missing()
    {
        using var files = new Files(Good);
        (int code, string output, _) = await RunAsync(["pe", "--config", files.Config, "--check"]);
        Assert.Equal(0, code);
        Assert.Contains("good", output, StringComparison.Ordinal);
        (int missing, _, string errors) = await RunAsync(["pe", "--config", files.Config + ".no"]);
        Assert.Equal(2, missing);
        Assert.StartsWith($"{files.Config}.no: cannot be read: there is no such file\n", errors, StringComparison.Ordinal);
        (missing, _, errors) = await RunAsync(["pe", "--config", Path.GetDirectoryName(files.Config)!]);
        Assert.Equal(2, missing);
        Assert.Contains("cannot be read: it is a folder; name the file in it", errors, StringComparison.Ordinal);
    }

    // The words of the parser are those of its types, above a page of help.
    [Theory]
    [InlineData("nosuch", "sdnedge: there is no 'nosuch'; there is pe, host, ")]
    [InlineData("migrat", "sdnedge: there is no 'migrat'; did you mean 'migrate'?")]
    [InlineData("lab deploi", "sdnedge lab: there is no 'deploi'; did you mean 'deploy'?")]
    [InlineData("lab deploy x.yml", "sdnedge lab deploy: 'x.yml' belongs to no option; a file is named with --topo x.yml")]
    [InlineData("lab deploy -t x.yml --rtt abc", "sdnedge lab deploy: 'abc' is no value for --rtt; it takes a number")]
    [InlineData("lab deploy --rtz 4", "sdnedge lab deploy: there is no option '--rtz'; did you mean '--rtt'?")]
    [InlineData("probe send --target 1=::1 --port 99999", "'99999' is no value for --port; it takes a whole number, 0 to 65535")]
    [InlineData("probe receive --duration -5", "--duration -5: seconds from 0 on")]
    [InlineData("demo --vm box", "sdnedge demo: Argument 'box' not recognized. Must be one of: 'stand-in' 'qemu'")]
    [InlineData("migrate run --to dc-b", "sdnedge migrate run: Option '--group' is required")]
    [InlineData("lab deploy -t x.yml -n a/b", "there is no file x.yml")]
    [InlineData("store list --api=", "sdnedge store list: Required argument missing for option: '--api'")]
    public async Task A_wrong_command_line_is_told_in_words(string words, string told)
    {
        ArgumentNullException.ThrowIfNull(words);
        (int code, string output, string errors) = await RunAsync(words.Split(' '));
        Assert.InRange(code, 1, 2);
        Assert.Contains(told, errors, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", errors, StringComparison.Ordinal);
        Assert.InRange(errors.TrimEnd('\n').Split('\n').Length, 1, 3);
        Assert.Equal("", output);
    }

    [Fact]
    public async Task Help_is_there_where_a_command_is_missing_and_where_it_is_asked_for()
    {
        foreach (string[] words in (string[][])[["lab"], ["lab", "--help"], ["migrate", "run", "-h"], ["store", "create", "--help"]])
        {
            (_, string output, string errors) = await RunAsync(words);
            Assert.Contains("Usage:", output + errors, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Show_says_what_it_needs()
    {
        (int code, _, string errors) = await RunAsync(["show", "ports", "--state-dir", "/nonexistent"]);
        Assert.Equal(2, code);
        Assert.Contains("--api", errors, StringComparison.Ordinal);
        (int dead, _, string noPe) = await RunAsync(["show", "ports", "--api", "/nonexistent/pe.sock"]);
        Assert.Equal(1, dead);
        Assert.Contains("/nonexistent/pe.sock", noPe, StringComparison.Ordinal);
    }

    [RootFact]
    public async Task A_pe_says_when_it_is_ready_reloads_on_hup_and_stops_cleanly_on_term()
    {
        using var files = new Files(Good);
        using var space = new Namespace();
        for (int life = 1; life <= 2; life++)
        {
            IReadOnlyList<string> self = RunningLab.Self;
            using Process pe = Start("ip", ["netns", "exec", space.Name, .. self, "pe", "--config", files.Config]);
            try
            {
                Task<string> errors = pe.StandardError.ReadToEndAsync();
                Assert.Contains("pe-t: ready", await LineAsync(pe), StringComparison.Ordinal);

                (int code, string json, _) = await RunAsync(["show", "ports", "--api", files.Socket, "-o", "json"]);
                Assert.Equal(0, code);
                using JsonDocument ports = JsonDocument.Parse(json);
                Assert.Equal(["a", "host"], ports.RootElement.EnumerateArray().Select(p => p.GetProperty("name").GetString()));
                (_, string table, _) = await RunAsync(["show", "routes", "--api", files.Socket, "--prefix", "10.9.0.0/16"]);
                Assert.Contains("10.1.0.9", table, StringComparison.Ordinal);

                // The kernel is a host behind the data plane: through the host TAP it hears that there is no route.
                using Process ping =
                    Start("ip", ["netns", "exec", space.Name, "ping", "-c", "1", "-W", "30", "-I", "10.1.0.1", "203.0.113.9"]);
                Assert.Contains("Destination Net Unreachable", await ping.StandardOutput.ReadToEndAsync(), StringComparison.Ordinal);
                await ping.WaitForExitAsync();

                File.WriteAllText(files.Config, files.Text.Replace("10.9.0.0/16", "10.8.0.0/16", StringComparison.Ordinal));
                Signals.Send(pe.Id, ProcessSignal.HangUp);
                Assert.Contains("reloaded", await LineAsync(pe), StringComparison.Ordinal);
                Assert.Contains("- static default 10.9.0.0/16", await LineAsync(pe), StringComparison.Ordinal);
                Assert.Contains("+ static default 10.8.0.0/16", await LineAsync(pe), StringComparison.Ordinal);
                File.WriteAllText(files.Config, files.Text);

                Signals.Send(pe.Id, ProcessSignal.Terminate);
                Assert.Contains("stopped", await LineAsync(pe), StringComparison.Ordinal);
                await pe.WaitForExitAsync();
                Assert.Equal(0, pe.ExitCode);
                Assert.Equal("", await errors);
                Assert.False(File.Exists(files.Socket));
            }
            finally
            {
                if (!pe.HasExited) pe.Kill(entireProcessTree: true);
            }
        }

        // Nothing is left in the namespace: no device, no rule.
        (int ruled, string rules, string ruleErrors) = await RunAsync(["-n", space.Name, "rule"], "ip");
        Assert.True(ruled == 0, ruleErrors);
        Assert.DoesNotContain("10.255.0.1", rules, StringComparison.Ordinal);
        (int linked, string links, string linkErrors) = await RunAsync(["-n", space.Name, "-br", "link"], "ip");
        Assert.True(linked == 0, linkErrors);
        Assert.DoesNotContain("host0", links, StringComparison.Ordinal);
    }

    [RootFact]
    public async Task A_reload_on_hup_that_fails_is_told_and_the_pe_goes_on()
    {
        using var files = new Files(Good);
        using var space = new Namespace();
        using Process pe = Start("ip", ["netns", "exec", space.Name, .. RunningLab.Self, "pe", "--config", files.Config]);
        try
        {
            Assert.Contains("pe-t: ready", await LineAsync(pe), StringComparison.Ordinal);

            // lo is no TAP: it cannot be opened as one.
            string wanted = files.Text.Replace("static:", "  - { name: b, device: lo, addresses: [10.2.0.1/24] }\nstatic:",
                StringComparison.Ordinal);
            File.WriteAllText(files.Config, wanted);
            Signals.Send(pe.Id, ProcessSignal.HangUp);
            Assert.Contains("nothing was applied", await pe.StandardError.ReadLineAsync().WaitAsync(Patience.Long),
                StringComparison.Ordinal);
            Assert.Contains("ports.b.device: ", await pe.StandardError.ReadLineAsync().WaitAsync(Patience.Long),
                StringComparison.Ordinal);

            File.WriteAllText(files.Config, wanted.Replace("device: lo", "device: tap-b", StringComparison.Ordinal));
            Signals.Send(pe.Id, ProcessSignal.HangUp);
            Assert.Contains("reloaded", await LineAsync(pe), StringComparison.Ordinal);
            Assert.Contains("+ port b", await LineAsync(pe), StringComparison.Ordinal);

            // Slips of the pen are told in words, with an example of their own family.
            foreach ((string text, string told) in (IEnumerable<(string, string)>)
                [("", "'' is not an IP address; write it as 10.1.1.10"),
                    ("fd00::zz", "'fd00::zz' is not an IP address; write it as 2001:db8::"),
                    ("fd00:1::10/64", "'fd00:1::10/64' is not a prefix; write it as 2001:db8::"),
                    ("10.1.1.1/24", "write it as 10.0.0.0/8")])
            {
                (int wrong, _, string slip) = await RunAsync(["show", "route", text, "--api", files.Socket]);
                Assert.Equal(1, wrong);
                Assert.Contains(told, slip, StringComparison.Ordinal);
            }

            // A PE is no manager, though it knows migrations, too.
            (int stranger, _, string no) = await RunAsync(["migrate", "list", "--api", files.Socket]);
            Assert.Equal(2, stranger);
            Assert.Contains("is the API of 'pe-t', which is a PE; give that of the manager", no, StringComparison.Ordinal);
            (int empty, _, string which) = await RunAsync(["migrate", "status", "", "--api", files.Socket]);
            Assert.NotEqual(0, empty);
            Assert.Contains("'' is no id of a migration", which, StringComparison.Ordinal);
            (_, string table, _) = await RunAsync(["show", "routes", "--api", files.Socket, "--prefix", "10.2.0.0/24"]);
            Assert.Contains("connected", table, StringComparison.Ordinal);
            Signals.Send(pe.Id, ProcessSignal.Terminate);
            await pe.WaitForExitAsync().WaitAsync(Patience.Long);
            Assert.Equal(0, pe.ExitCode);
        }
        finally
        {
            if (!pe.HasExited) pe.Kill(entireProcessTree: true);
        }
    }

    // Guards: GCgen0size in SdnEdge.Cli.csproj. The runtime's own choice is as much as the processor's last cache holds.
    [RootFact]
    public async Task A_pe_collects_garbage_after_a_few_megabytes_of_it()
    {
        const long Megabyte = 1 << 20;
        using var files = new Files(Good);
        using var space = new Namespace();
        using Process pe = Start("ip", ["netns", "exec", space.Name, .. RunningLab.Self, "pe", "--config", files.Config]);
        try
        {
            Assert.Contains("pe-t: ready", await LineAsync(pe), StringComparison.Ordinal);
            using PeClient client = PeClient.ForUnixSocket(files.Socket, "pe-t");
            (long allocated, long collections) = await GarbageAsync(client);
            long until = allocated + (96 * Megabyte), before = collections;

            // Answering makes the garbage. What survives the start has the runtime wait once for some 30 MB, and then no more.
            for (int i = 0; i < 20_000 && allocated < until; i++) (allocated, collections) = await GarbageAsync(client);
            Assert.True(allocated >= until, $"{allocated} bytes were allocated, not {until}");
            Assert.InRange(collections - before, 8, long.MaxValue);
        }
        finally
        {
            if (!pe.HasExited) pe.Kill(entireProcessTree: true);
        }
    }

    private static async Task<(long Allocated, long Collections)> GarbageAsync(PeClient client)
    {
        string[] metrics = (await client.TextAsync("metrics")).Split('\n');
        return (Value("sdnedge_process_allocated_bytes_total "),
            Value("sdnedge_process_garbage_collections_total{generation=\"0\"} "));

        long Value(string name) => (long)double.Parse(
            metrics.Single(l => l.StartsWith(name, StringComparison.Ordinal))[name.Length..], CultureInfo.InvariantCulture);
    }

    private static async Task<string> LineAsync(Process process)
        => await process.StandardOutput.ReadLineAsync().WaitAsync(Patience.Long) ?? "";

    private static async Task<(int Code, string Output, string Errors)> RunAsync(string[] words, string? program = null)
    {
        IReadOnlyList<string> self = program is null ? RunningLab.Self : [program];
        using Process process = Start(self[0], [.. self.Skip(1), .. words]);
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output, await errors);
    }

    private static Process Start(string program, IReadOnlyList<string> words)
        => Process.Start(new ProcessStartInfo(program, words) { UseShellExecute = false, RedirectStandardOutput = true,
            RedirectStandardError = true })!;

    private sealed class Files : IDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-pe-").FullName;

        public Files(string text)
        {
            Text = text.Replace("SOCKET", Socket, StringComparison.Ordinal);
            File.WriteAllText(Config, Text);
        }

        public string Text { get; }

        public string Config => Path.Combine(_folder, "pe.yaml");

        public string Socket => Path.Combine(_folder, "pe.sock");

        public void Dispose() => Directory.Delete(_folder, recursive: true);
    }

    private sealed class Namespace : IDisposable
    {
        public Namespace()
        {
            Name = string.Create(CultureInfo.InvariantCulture, $"sdnedge-pe-{Environment.ProcessId}");
            Ip("add");
        }

        public string Name { get; }

        public void Dispose() => Ip("del");

        private void Ip(string verb)
        {
            using Process process = Start("ip", ["netns", verb, Name]);
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
        }
    }
}
