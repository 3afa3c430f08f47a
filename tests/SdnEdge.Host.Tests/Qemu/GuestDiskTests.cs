using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>A real guest with a disk at the stores of two sites: memory and disk move with it, by the agents' orders alone.</summary>
[Trait("needs", "executable")]
public sealed class GuestDiskTests : IAsyncLifetime
{
    private TwoStores _stores = null!;
    private TwoAgents _two = null!;

    public async Task InitializeAsync()
    {
        _stores = await TwoStores.StartAsync();
        _two = await TwoAgents.StartAsync(_stores);
    }

    public async Task DisposeAsync()
    {
        await _two.DisposeAsync();
        await _stores.DisposeAsync();
    }

    [Fact]
    public async Task A_guest_moves_there_and_back_with_its_disk_and_finds_what_it_wrote()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Start, 0);
        (long ticks, _) = await _two.CountsAsync(_two.A);
        await DiskAsync(_two.A, "write -P 0x11 0 1M");
        await DiskAsync(_two.A, "flush");
        await IsAsync("store-a", 0x11, 0, 1 << 20);
        await MoveAsync(_two.A, _two.B, 1);
        await IsAsync("store-b", 0x11, 0, 1 << 20);
        await DiskAsync(_two.B, "write -P 0x22 1M 1M");
        await MoveAsync(_two.B, _two.A, 2);
        await IsAsync("store-a", 0x11, 0, 1 << 20);
        await IsAsync("store-a", 0x22, 1 << 20, 1 << 20);
        (long later, long bad) = await _two.CountsAsync(_two.A);
        Assert.True(later > ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
        DrainProofInfo proof = await _stores.ApiA.DrainAsync(TwoStores.Volume);
        Assert.True((await _stores.ApiB.CheckAsync(TwoStores.Volume)) is { Good: true } there && there.ContentRoot == proof.ContentRoot);
    }

    [Fact]
    public async Task A_move_that_is_undone_after_the_hand_over_gives_the_disk_back_before_the_guest_goes_on()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Start, 0);
        await _two.CountsAsync(_two.A);
        await _two.MirroredAsync(_two.A, _two.B, 1);
        Assert.Equal(ReplicationMode.Sync, (await _stores.ApiA.VolumeAsync(TwoStores.Volume)).Replication!.InForce);
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Stop, 1);
        Assert.Equal(OwnerRole.Sealed, (await _stores.ApiA.VolumeAsync(TwoStores.Volume)).Role);
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 2);
        await TwoAgents.OrderAsync(_two.B, ServerOrder.Cancel, 2);
        VolumeInfo at = await _stores.ApiA.VolumeAsync(TwoStores.Volume);
        Assert.Equal((OwnerRole.Owner, ReplicationMode.Async), (at.Role, at.Replication!.InForce));
        await DiskAsync(_two.A, "write -P 0x33 0 64k");
        await IsAsync("store-a", 0x33, 0, 64 << 10);
        Assert.Equal(0, (await _two.CountsAsync(_two.A)).Bad);
    }

    // The guest's disk is the store's socket, with a reconnect-delay of more than the store's start takes, and werror=stop: what is under
    // way when the store is killed is asked again of the next one, by QEMU.
    [Fact]
    public async Task A_store_that_is_killed_and_comes_back_is_not_seen_by_the_guest()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Start, 0);
        (long ticks, _) = await _two.CountsAsync(_two.A);
        await DiskAsync(_two.A, "write -P 0x11 0 1M");
        string config = await _stores.WriteConfigAsync();
        await _stores.StopAAsync();
        for (byte round = 0; round < 3; round++)
        {
            // While nobody is there: it waits for the next one.
            Task write = DiskAsync(_two.A, $"write -f -P 0x{0x40 + round:x} {1 + round}M 1M");
            using Process store = StartStore(config);
            await write.WaitAsync(Patience.Time * 2);
            await Patience.UntilAsync(async () => await IsReadyAsync(), () => "the store is not ready");
            await IsAsync("store-a", (byte)(0x40 + round), (1 + round) << 20, 1 << 20);
            store.Kill();
            await store.WaitForExitAsync();
        }

        await _stores.StartAAsync();
        await IsAsync("store-a", 0x11, 0, 1 << 20);
        for (byte round = 0; round < 3; round++) await IsAsync("store-a", (byte)(0x40 + round), (1 + round) << 20, 1 << 20);
        ServerInfo server = await TwoAgents.UntilAsync(_two.A, s => s.State == ServerState.Running);
        Assert.Null(server.Fault);
        (long later, long bad) = await _two.CountsAsync(_two.A);
        Assert.True(later > ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
        Assert.DoesNotContain(_two.A.Events.After(0, out _), e => e.Change == "io-error");
        Assert.True((await _stores.ApiA.CheckAsync(TwoStores.Volume)).Good);
    }

    private static Process StartStore(string config)
    {
        IReadOnlyList<string> self = SdnEdge.Lab.Running.RunningLab.Self;
        var start = new ProcessStartInfo(self[0]) { UseShellExecute = false, RedirectStandardOutput = true };
        foreach (string word in (string[])[.. self.Skip(1), "store", "--config", config]) start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }

    private async Task<bool> IsReadyAsync()
    {
        try
        {
            return (await _stores.ApiA.NodeAsync()).Ready;
        }
        catch (SdnEdge.Client.ApiUnreachableException)
        {
            return false;
        }
    }

    private async Task MoveAsync(HostAgent from, HostAgent to, long epoch)
    {
        await _two.MirroredAsync(from, to, epoch);

        // What the manager's plan and status rest on: the volume as the site's store has it.
        ServerInfo source = await TwoAgents.UntilAsync(from, s => s.Volumes is [{ InSync: true }]);
        Assert.True(source.Volumes![0] is { Role: OwnerRole.Owner, InForce: ReplicationMode.Sync, Connected: true, IsReplicated: true },
            $"{source.Volumes[0]}");
        Assert.True((await TwoAgents.UntilAsync(to, s => s.Volumes is [{ Phase: CopyPhase.Following }])).Volumes is [{ Id: { } id }]
            && id == source.Volumes[0].Id);
        ServerReply stopped = await TwoAgents.OrderAsync(from, ServerOrder.Stop, epoch);
        ServerReply runs = await TwoAgents.OrderAsync(to, ServerOrder.Activate, epoch);
        ServerReply retired = await TwoAgents.OrderAsync(from, ServerOrder.Retire, epoch);

        // One machine, one clock: asked, in sync, sealed, granted, released.
        VolumeStepInfo atSource = Assert.Single(stopped.Volumes!), atTarget = Assert.Single(runs.Volumes!);
        VolumeStepInfo after = Assert.Single(retired.Volumes!);
        Assert.True(atSource.SyncAskedAtNs <= atSource.InSyncAtNs && atSource.InSyncAtNs <= atSource.SealedAtNs
            && atSource.SealedAtNs <= atTarget.GrantedAtNs && atTarget.GrantedAtNs <= after.ReleasedAtNs,
            $"{atSource}, {atTarget}, {after}");
        Assert.True(atSource is { DrainMs: >= 0, SealedAt: > 0 } && stopped.TookEffectAtNs >= atSource.SyncAskedAtNs, $"{atSource}");
    }

    // What a store says of the disk to whoever reads.
    private async Task IsAsync(string store, byte pattern, long offset, int length)
    {
        using NbdTestClient reader = await _stores.ConnectAsync(store);
        byte[] bytes = await reader.ReadAsync(offset, length);
        Assert.True(!bytes.AsSpan().ContainsAnyExcept(pattern), $"{store}: not all of {length} bytes from {offset} are {pattern:x2}; "
            + _stores.Told());
    }

    // A command of qemu-io to the guest's disk: by QEMU itself, the one who holds the grant.
    private async Task DiskAsync(HostAgent agent, string command)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(_two.MonitorOf(agent)));
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        await reader.ReadLineAsync();
        Assert.Equal("", await AskAsync("""{"execute":"qmp_capabilities"}"""));
        string said = await AskAsync(JsonSerializer.Serialize(new Dictionary<string, object>(StringComparer.Ordinal)
        {
            ["execute"] = "human-monitor-command",
            ["arguments"] = new Dictionary<string, string>(StringComparer.Ordinal) { ["command-line"] = $"qemu-io root \"{command}\"" },
        }));
        bool failed = said.Contains("rror", StringComparison.Ordinal) || said.Contains("failed", StringComparison.Ordinal);
        Assert.False(failed, $"{command}: {said}; {_stores.Told()}");

        async Task<string> AskAsync(string line)
        {
            await stream.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"));
            while (true)
            {
                using JsonDocument answer = JsonDocument.Parse((await reader.ReadLineAsync())!);
                if (answer.RootElement.TryGetProperty("event", out _)) continue;
                return answer.RootElement.TryGetProperty("return", out JsonElement value)
                    ? value.ValueKind == JsonValueKind.String ? value.GetString()! : "" : "error: " + answer.RootElement;
            }
        }
    }
}
