using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>Moves for tests, and the answer that each command gets from a party that did it.</summary>
internal static class Plans
{
    public static readonly MoveOptions Quick = new(QuietMs: 1);

    public static readonly MoveWindow Window = new(
        new DateTimeOffset(2026, 12, 1, 2, 0, 0, TimeSpan.Zero), new DateTimeOffset(2026, 12, 1, 4, 0, 0, TimeSpan.Zero), 60_000);

    /// <summary>The same, in <see cref="Window"/>.</summary>
    public static MovePlan InWindow(MovePlan plan) => plan with { Options = plan.Options with { Window = Window } };

    /// <summary>The identity of a volume, by its name.</summary>
    public static Guid VolumeId(string name)
        => new(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(name))[..16]);

    /// <summary>The same, and each server has a volume <c>disk-SERVER</c>.</summary>
    public static MovePlan WithVolumes(MovePlan plan) => plan with
    {
        Servers = [.. plan.Servers.Select(s => s with { Volumes = [new MovedVolume("disk-" + s.Name, VolumeId("disk-" + s.Name))] })],
    };

    /// <summary>A path <c>m1.1</c> from pe-a to pe-b, or <c>m1.2</c> from pe-c to pe-d, and so on.</summary>
    public static PathMove Path(int number, string migration = "m1")
    {
        (string source, string target) = number % 2 == 1 ? ("pe-a", "pe-b") : ("pe-c", "pe-d");
        return new PathMove(
            $"{migration}.{number}", "blue",
            new PathEnd(source, $"10.255.0.{number}1", [$"10.255.0.{number}1"], [new MovingPrefix($"10.1.1.{number}/32", "eth1")]),
            new PathEnd(target, $"10.255.0.{number}2", [$"10.255.0.{number}2"], [new MovingPrefix($"10.1.1.{number}/32", "eth2")]),
            ["pe-i"], ManagerState.FirstKey + (uint)number, 200);
    }

    public static MovePlan Move(string[] servers, int paths = 1, MoveOptions? options = null, string migration = "m1", int firstPath = 1)
        => new(migration, 0, "site-a", "site-b", [.. servers.Select(s => new ServerMove(s, "host-a", "host-b"))],
            [.. Enumerable.Range(firstPath, paths).Select(n => Path(n, migration))], options ?? Quick, Ahead: true);

    /// <summary>The move of services without state: no servers, the network alone.</summary>
    public static MovePlan Stateless(string[] services, int paths = 1, MoveOptions? options = null)
        => Move([], paths, options) with { Services = services };

    /// <summary>The same, and order is kept by flush markers.</summary>
    public static MovePlan InOrder(MovePlan plan)
    {
        var order = new OrderOptions([new OrderedIngress("pe-i", ["10.255.0.9"])]);
        return plan with { Paths = [.. plan.Paths.Select(p => p with { Order = order })] };
    }

    public static MigrationRequested Request(Cutover cutover, params MovePlan[] moves)
        => new(moves[0].Migration,
            new MigrationRequest(moves[0].Migration == "m1" ? "shop" : "shop-" + moves[0].Migration, "site-b", cutover), moves, "user ops");

    /// <summary>What a party that did it answers.</summary>
    public static MoveInput Answer(MoveCommand command, EpochVerdict verdict = EpochVerdict.Void) => command switch
    {
        SendSignal s => new SignalDone(s.Key, new SignalReply(s.Path, s.Signal, StateAfter(s.Signal), s.Request.Epoch, false, 1, 2), 1),
        SendOrder o => new OrderDone(
            o.Key,
            new ServerReply(o.Server, o.Order, o.Request.Epoch, StateAfter(o), false, 1,
                o.Order == ServerOrder.Void ? verdict : o.Order == ServerOrder.Fence ? EpochVerdict.Void : null), 1),
        WatchPath w => new Seen(w.Key, new PathEvidence(Quiet: w.Kind == PathWatch.Drained)),
        WaitForWindow { Until: "near" } => new WindowReached(Window.Near),
        WaitForWindow => new WindowReached(Window.From),
        _ => new Seen(command.Key, null),
    };

    private static PeMigrationState StateAfter(SignalKind signal) => signal switch
    {
        SignalKind.Prepare => PeMigrationState.Prepared,
        SignalKind.Switch => PeMigrationState.Switched,
        SignalKind.Release => PeMigrationState.Released,
        SignalKind.Advertise => PeMigrationState.Advertised,
        SignalKind.Withdraw => PeMigrationState.Withdrawn,
        SignalKind.Teardown => PeMigrationState.TornDown,
        _ => PeMigrationState.Aborted,
    };

    private static ServerState StateAfter(SendOrder order) => order.Order switch
    {
        ServerOrder.Prepare => order.Request.Role == MigrationRole.Source ? ServerState.Running : ServerState.Incoming,
        ServerOrder.Stop or ServerOrder.HandOver => ServerState.Paused,
        ServerOrder.Activate or ServerOrder.Resume => ServerState.Running,
        ServerOrder.Void => ServerState.Incoming,
        _ => ServerState.Absent,
    };
}
