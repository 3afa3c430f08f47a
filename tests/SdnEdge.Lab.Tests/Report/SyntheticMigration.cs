using SdnEdge.Core.Api;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>What a manager says of a migration, made up: one server, one path, some of its signals and orders.</summary>
internal static class SyntheticMigration
{
    private const long Ms = 1_000_000, Begin = 5_000 * Ms;

    public static MigrationStatus Of(string state)
    {
        SignalTime signal(string pe, SignalKind kind, PeMigrationState now, long at) => new(
            pe, Begin + (at * Ms), Begin + ((at + 2) * Ms),
            new SignalReply("vs-7.1", kind, now, 7, false, Begin + ((at + 1) * Ms), Begin + ((at + 1) * Ms) + 20_000, 130));
        OrderTime order(string host, ServerOrder kind, ServerState now, long at) => new(
            host, Begin + (at * Ms), Begin + ((at + 2) * Ms), new ServerReply("vs", kind, 7, now, false, Begin + ((at + 1) * Ms)));
        var hold = new HoldInfo("released", 903, 0, 0, 180_000, 903, 903, 0, 0, 0);
        var source = new MigrationInfo("vs-7.1", MigrationRole.Source, PeMigrationState.Switched, 7, "default", [], "10.255.0.2",
            "mig-1", true, null,
            new RedirectGroupInfo("vs-7.1", "default", 2, "tunnel", 10, 1800, 0, Begin + (101 * Ms)));
        MigrationInfo target = source with { Role = MigrationRole.Target, State = PeMigrationState.Advertised, Hold = hold, Group = null };
        var path = new PathStatus(
            "vs-7.1", "default", "pe-a", "pe-b", "10.255.0.2", ["10.1.1.10/32", "fd00:1:1::10/128"], ["pe-x"], 200, true, source, target,
            new Dictionary<string, long>(), [], TeardownProof.Quiet);
        var move = new MoveStatus(
            "dc-a", "dc-b", 7, state == "running" ? "release" : "ended", state == "running" ? null : state, null,
            [new ServerMoveStatus("vs", "host-a", "host-b", Begin + (201 * Ms), Begin + (501 * Ms))], [path],
            [
                new StageTime("prepare-target", Begin, Begin + (50 * Ms)), new StageTime("switch", Begin + (100 * Ms), Begin + (200 * Ms)),
                new StageTime("stop", Begin + (200 * Ms), Begin + (210 * Ms)),
                new StageTime("activate", Begin + (210 * Ms), Begin + (505 * Ms), "asked <b> twice"),
            ],
            [signal("pe-b", SignalKind.Prepare, PeMigrationState.Prepared, 10),
                signal("pe-a", SignalKind.Switch, PeMigrationState.Switched, 100),
                signal("pe-b", SignalKind.Release, PeMigrationState.Released, 506)],
            [order("host-a", ServerOrder.Stop, ServerState.Paused, 200), order("host-b", ServerOrder.Activate, ServerState.Running, 500)]);
        return new MigrationStatus(
            "vs-7", "vs", "dc-a", "dc-b", "together", state, move.Stage, 7, "root", "2026-11-28T12:00:00Z",
            state == "running" ? null : "2026-11-28T12:00:02Z",
            state == "as-before" ? "pe-b <b>refused" : null, [], false, [move]);
    }
}
