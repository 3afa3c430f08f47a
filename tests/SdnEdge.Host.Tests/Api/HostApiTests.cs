using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Api;

/// <summary>The agent by its API, as the manager sees it: orders, queue, roles, problems, what is published.</summary>
public sealed class HostApiTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-host-").FullName;
    private readonly Dictionary<string, FakeDriver> _drivers = [];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_server_moves_by_orders_of_the_api()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        HostNodeInfo node = await client.NodeAsync();
        Assert.Equal(("host-a", "dc-a", true, null), (node.Name, node.Site, node.Ready, node.Fault));
        Assert.Equal(["db", "vs"], (await client.ServersAsync()).Select(s => s.Name));
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        await UntilAsync(async () => (await client.ServerAsync("vs")).Mirror is { Ready: true });
        ServerReply stop = await client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1", CopyMs: 1));
        Assert.Equal((ServerState.Paused, false, 1), (stop.State, stop.Repeated, stop.Epoch));
        Assert.InRange(stop.TookEffectAtNs, 1, Monotonic.Now);
        ServerInfo info = await client.ServerAsync("vs");
        Assert.Equal(("fake", ServerState.Paused, null, "m-1", true, null),
            (info.Driver, info.State, info.MayRun, info.Migration, info.Undoable, info.Fault));
        Assert.True((await client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1"))).Repeated);
        ServerReply resume = await client.OrderAsync("vs", ServerOrder.Resume, new ServerOrderRequest(2, "m-1"));
        Assert.Equal(ServerState.Running, resume.State);
        Assert.Equal(2, (await client.ServerAsync("vs")).MayRun);
        await client.OrderAsync("db", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Target));
        ServerReply verdict = await client.OrderAsync("db", ServerOrder.Void, new ServerOrderRequest(1, "m-1"));
        Assert.Equal(EpochVerdict.Void, verdict.Verdict);
        Assert.All(_drivers.Values, d => Assert.Equal(0, d.Overlaps));
        Assert.Contains("sdnedge_host_orders_total{server=\"vs\",order=\"stop\",result=\"repeated\"} 1\n", await TextAsync("metrics"),
            StringComparison.Ordinal);
    }

    // A manager that takes the copy of the move before for this one's stops the server with nothing copied.
    [Fact]
    public async Task The_copy_of_an_earlier_move_does_not_count_and_before_the_first_look_nothing_is_copied()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        await UntilAsync(async () => (await client.ServerAsync("vs")).Mirror is { Ready: true });
        await client.OrderAsync("vs", ServerOrder.Resume, new ServerOrderRequest(2, "m-1"));
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _drivers["vs"].MirrorGate = gate;
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(3, "m-2", MigrationRole.Source, "host-b"));
        Assert.Equal(new MirrorProgress(false, 0, 0, 0), (await client.ServerAsync("vs")).Mirror);
        gate.SetResult();
        await UntilAsync(async () => (await client.ServerAsync("vs")).Mirror is { Ready: true });
    }

    // What has gone wrong in the copy is mended where it is looked at.
    [Fact]
    public async Task A_server_whose_state_has_no_name_while_it_is_copied_is_not_kept_from_its_copy_by_that()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        await UntilAsync(async () => (await client.ServerAsync("vs")).Mirror is { Ready: true });
        _drivers["vs"].IsNamelessUntilMirrored = true;
        await UntilAsync(async () => !_drivers["vs"].IsNamelessUntilMirrored
            && await client.ServerAsync("vs") is { State: ServerState.Running, Fault: null });
    }

    [Fact]
    public async Task A_server_that_waits_for_its_disk_is_tried_again_while_it_may_run_and_not_once_it_was_stopped()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        FakeDriver driver = _drivers["vs"];
        await UntilAsync(() => Task.FromResult(driver.Looks > 2));
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        Assert.Equal(0, driver.DiskRetries);
        (driver.WaitsForDisk, driver.Does) = (true, ServerState.Paused);
        await UntilAsync(() => Task.FromResult(driver.DiskRetries > 2));

        // A stop takes the right away first.
        await client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1"));
        (int tried, int looked) = (driver.DiskRetries, driver.Looks);
        await UntilAsync(() => Task.FromResult(driver.Looks > looked + 2));
        Assert.Equal(tried, driver.DiskRetries);
    }

    // The manager asks again what has failed, and undoes what is in the wrong state.
    [Fact]
    public async Task A_failure_that_is_final_is_a_wrong_state()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        (_drivers["vs"].Fails, _drivers["vs"].FailsForGood) = ("its copy is gone", true);
        var e = await Assert.ThrowsAsync<ApiProblemException>(
            () => client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1")));
        Assert.Equal(("/problems/wrong-state", "its copy is gone"), (e.Problem.Type, e.Problem.Detail));
        _drivers["vs"].FailsForGood = false;
        e = await Assert.ThrowsAsync<ApiProblemException>(
            () => client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1")));
        Assert.Equal("/problems/driver-failed", e.Problem.Type);
    }

    // A deadline within the driver is a failure, not the agent's own breaking off of a look.
    [Fact]
    public async Task A_look_that_a_deadline_ends_is_told_and_the_server_is_looked_at_again()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await UntilAsync(async () => (await client.ServerAsync("vs")).State == ServerState.Running);
        _drivers["vs"].LooksThatEndByADeadline = int.MaxValue;
        await UntilAsync(async () => await client.ServerAsync("vs") is { State: ServerState.Unknown, Fault: { } fault }
            && fault.Contains("a deadline", StringComparison.Ordinal));
        _drivers["vs"].LooksThatEndByADeadline = 0;
        await UntilAsync(async () => (await client.ServerAsync("vs")).State == ServerState.Running);
    }

    [Fact]
    public async Task The_machine_is_asked_for_when_the_server_has_been_seen_and_again_when_it_has_changed_and_not_while_it_moves()
    {
        _drivers["vs"] = new FakeDriver(true);
        int version = 1;
        _drivers["vs"].Machine = _ => Task.FromResult<MachineInfo?>(new MachineInfo("qemu", $"{version++}", "tcg", "q35", "", 1, 1)
        {
            Devices = [new MachineDevice("e1000", "", "", "")], Disks = [new MachineDisk("d", "/x", DiskReach.Shared, true, null, "stop")],
        });
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await UntilAsync(async () => (await client.ServerAsync("vs")).Machine is not null);
        MachineInfo machine = (await client.ServerAsync("vs")).Machine!;
        Assert.Equal(DiskReach.Shared, Assert.Single(machine.Disks).Reach);
        Assert.Equal("e1000", Assert.Single(machine.Devices).Kind);
        Assert.Null((await client.ServerAsync("db")).Machine);

        // The move there and back: what was known stays, nobody is asked before it has ended.
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        int asked = _drivers["vs"].MachineAsked;
        await UntilAsync(async () => (await client.ServerAsync("vs")).Mirror is { Ready: true });
        await client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m-1"));
        await UntilAsync(async () => (await client.ServerAsync("vs")) is { State: ServerState.Paused, Machine: not null });
        Assert.Equal(asked, _drivers["vs"].MachineAsked);
        await client.OrderAsync("vs", ServerOrder.Retire, new ServerOrderRequest(1, "m-1"));
        await UntilAsync(async () => (await client.ServerAsync("vs")).Machine!.Version == $"{asked + 1}");
    }

    [Fact]
    public async Task A_driver_that_cannot_say_what_machine_it_is_is_in_nobody_s_way()
    {
        _drivers["vs"] = new FakeDriver(true);
        var hangs = new TaskCompletionSource();
        _drivers["vs"].Machine = async cancel =>
        {
            hangs.TrySetResult();
            await Task.Delay(Timeout.Infinite, cancel);
            return null;
        };
        _drivers["db"] = new FakeDriver(false) { Machine = _ => throw new IOException("no such program") };
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await hangs.Task.WaitAsync(Patience.Time);
        Assert.Equal(ServerState.Running, (await client.ServerAsync("vs")).State);
        ServerReply reply = await client.OrderAsync("vs", ServerOrder.Prepare,
            new ServerOrderRequest(1, "m-1", MigrationRole.Source, "host-b"));
        Assert.Equal(ServerState.Running, reply.State);
        await UntilAsync(() => Task.FromResult(agent.Events.After(0, out _).Any(e => e.Change == "machine")));
        Assert.Equal((ServerState.Absent, null, null), ((await client.ServerAsync("db")).State, (await client.ServerAsync("db")).Machine,
            (await client.ServerAsync("db")).Fault));
        Assert.Contains(agent.Events.After(0, out _), e => e.Detail?.Contains("no such program", StringComparison.Ordinal) == true);
    }

    [Fact]
    public async Task While_an_order_runs_the_next_waits_reads_are_answered_and_what_nobody_waits_for_is_done_all_the_same()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await client.OrderAsync("vs", ServerOrder.Prepare, new ServerOrderRequest(1, "m", MigrationRole.Source));
        FakeDriver driver = _drivers["vs"];
        driver.Gate = new TaskCompletionSource();
        using var impatient = new CancellationTokenSource();
        Task<ServerReply> stop = client.OrderAsync("vs", ServerOrder.Stop, new ServerOrderRequest(1, "m"), impatient.Token);
        await UntilAsync(() => Task.FromResult(driver.Calls.Contains(DriverCall.Stop)));
        Task<ServerReply> resume = client.OrderAsync("vs", ServerOrder.Resume, new ServerOrderRequest(2, "m"));
        Assert.Null((await client.ServerAsync("vs")).MayRun);   // R4, and it is read at once
        await client.OrderAsync("db", ServerOrder.Prepare, new ServerOrderRequest(1, "m", MigrationRole.Target));   // its own queue
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stop);
        Assert.False(resume.IsCompleted);
        driver.Gate.SetResult();
        Assert.Equal(ServerState.Running, (await resume).State);
        Assert.Equal([DriverCall.Stop, DriverCall.HandOver, DriverCall.Resume], driver.Calls);
        Assert.Equal(0, driver.Overlaps);
    }

    [Fact]
    public async Task What_is_refused_is_a_problem_that_says_what_would_be_right()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        Assert.Equal((404, "there is no server 'nobody' at host-a; it has db, vs, by its configuration"),
            await ProblemAsync("nobody", ServerOrder.Stop, new(1, "m")));
        Assert.Equal(409, (await ProblemAsync("vs", ServerOrder.Stop, new(5, "m"))).Status);
        (int status, string detail) = await ProblemAsync("vs", ServerOrder.Stop, new(4, "m"));
        Assert.Equal(409, status);
        Assert.Contains("older than 5", detail, StringComparison.Ordinal);
        await client.OrderAsync("db", ServerOrder.Prepare, new(1, "m", MigrationRole.Target));
        _drivers["db"].Fails = "no such guest";
        (status, detail) = await ProblemAsync("db", ServerOrder.Activate, new(1, "m"));
        Assert.Equal((502, "no such guest (not done: the same order again tries again)"), (status, detail));
        ApiProblemException bad = await Assert.ThrowsAsync<ApiProblemException>(()
            => client.OrderAsync("vs", ServerOrder.Stop, new(0, "a b", MigrationRole.Source, "x", -1)));
        Assert.Equal(["/epoch", "/migration", "/role", "/peerHost", "/copyMs"], bad.Problem.Errors!.Select(e => e.Pointer));
        Assert.Equal("/problems/bad-request", bad.Problem.Type);

        async Task<(int Status, string Detail)> ProblemAsync(string server, ServerOrder order, ServerOrderRequest request)
        {
            Problem problem = (await Assert.ThrowsAsync<ApiProblemException>(() => client.OrderAsync(server, order, request))).Problem;
            return (problem.Status, problem.Detail);
        }
    }

    [Fact]
    public async Task A_damaged_record_stops_the_orders_of_its_server_alone_and_names_the_file()
    {
        await using (HostAgent first = await StartAsync())
        {
            using HostClient client = Client();
            await client.OrderAsync("vs", ServerOrder.Prepare, new(1, "m", MigrationRole.Source));
            await client.OrderAsync("db", ServerOrder.Prepare, new(1, "m", MigrationRole.Target));
        }

        string file = Path.Combine(_folder, "state", "vs.server.json");
        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file))[..40]);
        await using HostAgent agent = await StartAsync();
        using HostClient again = Client();
        ServerInfo info = await again.ServerAsync("vs");
        Assert.Null(info.MayRun);
        Assert.Contains(file, info.Fault, StringComparison.Ordinal);
        Problem problem = (await Assert.ThrowsAsync<ApiProblemException>(()
            => again.OrderAsync("vs", ServerOrder.Stop, new(1, "m")))).Problem;
        Assert.Equal(("/problems/state-unusable", 503), (problem.Type, problem.Status));
        Assert.Contains("1 of 2", (await again.NodeAsync()).Fault, StringComparison.Ordinal);
        Assert.True((await again.OrderAsync("db", ServerOrder.Prepare, new(1, "m", MigrationRole.Target))).Repeated);
    }

    [Fact]
    public async Task A_restart_resumes_nothing_and_says_what_it_finds()
    {
        await using (HostAgent first = await StartAsync())
        {
            using HostClient client = Client();
            await client.OrderAsync("vs", ServerOrder.Prepare, new(1, "m", MigrationRole.Source));
            await client.OrderAsync("vs", ServerOrder.Stop, new(1, "m"));
        }

        _drivers["vs"].Calls.Clear();
        await using HostAgent agent = await StartAsync();
        using HostClient again = Client();
        await UntilAsync(async () => (await again.ServerAsync("vs")).State == ServerState.Paused);
        Assert.Null((await again.ServerAsync("vs")).Fault);
        Assert.True((await again.OrderAsync("vs", ServerOrder.Stop, new(1, "m"))).Repeated);
        _drivers["vs"].Does = ServerState.Running;
        await UntilAsync(async () => (await again.ServerAsync("vs")).Fault?.Contains("may not", StringComparison.Ordinal) == true);
        Assert.Empty(_drivers["vs"].Calls);   // and it is not touched
    }

    [Fact]
    public async Task The_openapi_document_names_every_resource_with_its_answers()
    {
        await using HostAgent agent = await StartAsync();
        using JsonDocument document = JsonDocument.Parse(await TextAsync("openapi/v1.json"));
        JsonElement root = document.RootElement;
        JsonElement paths = root.GetProperty("paths");
        string[] expected =
        [
            "/v1/node", "/v1/servers", "/v1/servers/{name}", "/v1/servers/{name}/copy", "/v1/servers/{name}/lease", "/v1/bfd", "/v1/events",
            "/metrics",
            .. Enum.GetValues<ServerOrder>().Select(o => $"/v1/servers/{{name}}/{HostFsm.Word(o)}"),
        ];
        Assert.Equal(expected.Order(StringComparer.Ordinal), paths.EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal));
        foreach (JsonProperty path in paths.EnumerateObject())
        {
            foreach (JsonProperty operation in path.Value.EnumerateObject())
            {
                Assert.False(string.IsNullOrEmpty(operation.Value.GetProperty("summary").GetString()), path.Name);
                JsonElement responses = operation.Value.GetProperty("responses");
                foreach (string status in operation.Name == "post" ? (string[])["200", "400", "404", "409", "502", "503"] : ["200"])
                    Assert.True(responses.TryGetProperty(status, out JsonElement _), $"{path.Name} {status}");
            }
        }

        foreach (Match match in Regex.Matches(root.GetRawText(), "#/components/schemas/([A-Za-z0-9]+)"))
            Assert.True(root.GetProperty("components").GetProperty("schemas").TryGetProperty(match.Groups[1].Value, out JsonElement _),
                match.Value);
    }

    [Fact]
    public async Task Events_tell_of_orders_and_phases_and_resume()
    {
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        await client.OrderAsync("vs", ServerOrder.Prepare, new(1, "m", MigrationRole.Source));
        await client.OrderAsync("vs", ServerOrder.Stop, new(1, "m"));
        using HttpClient http = Http();
        using var request = new HttpRequestMessage(HttpMethod.Get, "v1/events");
        request.Headers.Add("Last-Event-ID", "0");
        using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        var changes = new List<string>();
        while (!changes.Contains("stop"))
        {
            string line = (await reader.ReadLineAsync().WaitAsync(Patience.Time))!;
            if (!line.StartsWith("data:", StringComparison.Ordinal)) continue;
            EventRecord record = JsonSerializer.Deserialize(line[5..], ApiJson.Options.For<EventRecord>())!;
            if (record.Subject == "vs") changes.Add(record.Change);
        }

        Assert.Equal(["prepare", "stop"], changes.Where(c => c is "prepare" or "stop"));
        Assert.Contains("paused", changes);
    }

    [RootFact]
    public async Task Each_role_may_do_its_own_and_a_stranger_nothing()
    {
        using var right = new TestAuthority("right");
        using var wrong = new TestAuthority("wrong");
        (string crt, string key) = right.Write(_folder, "host-a", forServer: true);
        var tcp = new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), TestAuthority.FreePort(), crt, key, right.WriteAuthority(_folder));
        await using HostAgent agent = await StartAsync(tcp,
            [new AccessRule("mms", null, ApiRole.Migrate), new AccessRule(null, 65533, ApiRole.Read)]);

        foreach ((TestAuthority authority, string name, int orders, int reads) in ((TestAuthority, string, int, int)[])
            [(right, "mms", 409, 200), (right, "dashboard", 403, 200), (wrong, "mms", 0, 0)])
        {
            using X509Certificate2 certificate = authority.Issue("CN=" + name);
            using var client = new HostClient(new ApiEndpoint("host-a", $"https://127.0.0.1:{tcp.Port}/",
                new ClientIdentity(certificate, right.Certificate)));
            foreach (ServerOrder order in Enum.GetValues<ServerOrder>())
            {
                // A migrate role is let through to the server's state, which refuses most of these; void is answered.
                var request = new ServerOrderRequest(1, "m", order == ServerOrder.Prepare ? MigrationRole.Target : null);
                Assert.Equal(order is ServerOrder.Void or ServerOrder.Resume or ServerOrder.Start && orders == 409 ? 200 : orders,
                    await StatusAsync(() => client.OrderAsync("vs", order, request)));
            }

            Assert.Equal(reads, await StatusAsync(() => client.NodeAsync()));
            Assert.Equal(reads, await StatusAsync(() => client.ServersAsync()));
            Assert.Equal(reads, await StatusAsync(() => client.ServerAsync("vs")));
        }

        Directory.CreateDirectory(_folder, (UnixFileMode)0b111_101_101);
        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        Assert.Equal("200", await CurlAsync(65533, "v1/servers"));
        Assert.Equal("403", await CurlAsync(65533, "v1/servers/vs/stop", "{\"epoch\":1,\"migration\":\"m\"}"));
        Assert.Equal("000", await CurlAsync(65534, "v1/servers"));
        Assert.Equal("000", await CurlAsync(65534, "v1/servers/vs/stop", "{\"epoch\":1,\"migration\":\"m\"}"));
    }

    private static async Task<int> StatusAsync<T>(Func<Task<T>> call)
    {
        try
        {
            await call();
            return 200;
        }
        catch (ApiProblemException e)
        {
            return e.Problem.Status;
        }
        catch (ApiUnreachableException)
        {
            return 0;
        }
    }

    private async Task<string> CurlAsync(int user, string path, string? body = null)
    {
        var start = new ProcessStartInfo("setpriv") { UseShellExecute = false, RedirectStandardOutput = true };
        string[] words = [$"--reuid={user}", "--clear-groups", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time",
            $"{Patience.Seconds}", "--unix-socket", Socket, $"http://h/{path}"];
        foreach (string word in words) start.ArgumentList.Add(word);
        foreach (string word in body is null ? (string[])[]
            : ["-H", "Content-Type: application/json", "-d", body]) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return output.Trim();
    }

    private string Socket => Path.Combine(_folder, "host.sock");

    private HostClient Client() => new(new ApiEndpoint("host-a", Socket));

    private HttpClient Http()
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancel);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        return new HttpClient(handler) { BaseAddress = new Uri("http://h/"), Timeout = Patience.Time };
    }

    private async Task<string> TextAsync(string path)
    {
        using HttpClient http = Http();
        return await http.GetStringAsync(path);
    }

    private Task<HostAgent> StartAsync(ApiTcpConfig? tcp = null, IReadOnlyList<AccessRule>? access = null)
    {
        var api = new ApiConfig(Socket, tcp) { Access = access ?? [] };
        var driver = new StandInConfig("none", "leg-a", default, []);
        var config = new HostAgentConfig("host-a", "dc-a", api, Path.Combine(_folder, "state"),
            [new("vs", true, driver), new("db", false, driver)]);
        return HostAgent.StartAsync(config, s => _drivers.TryGetValue(s.Name, out FakeDriver? known) ? known
            : _drivers[s.Name] = new FakeDriver(s.Runs));
    }

    private static Task UntilAsync(Func<Task<bool>> condition) => Patience.UntilAsync(condition, () => "the agent does not say so");
}
