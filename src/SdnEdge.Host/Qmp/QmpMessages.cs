using System.Text.Json;
using System.Text.Json.Serialization;

namespace SdnEdge.Host.Qmp;

/// <summary>A command without arguments, or an answer of which nothing is needed.</summary>
public sealed record QmpNothing
{
    /// <summary>The only one needed.</summary>
    public static QmpNothing Value { get; } = new();
}

/// <summary>A command of QEMU's monitor, with the shape of its arguments and of its answer (QEMU's qapi schema).</summary>
/// <typeparam name="TArguments">Arguments.</typeparam>
/// <typeparam name="TResult">Answer.</typeparam>
/// <param name="Name">Its name, e.g. <c>query-status</c>.</param>
/// <param name="OutOfBand">True: it is sent out of band (<c>exec-oob</c>), so that QEMU executes it although its main loop hangs.</param>
public sealed record QmpCommand<TArguments, TResult>(string Name, bool OutOfBand = false)
    where TArguments : notnull
    where TResult : notnull;

/// <summary>An event that QEMU sent.</summary>
/// <param name="Name">Its name, e.g. <c>STOP</c>.</param>
/// <param name="Data">What it says; an empty object where it says nothing.</param>
/// <param name="Seconds">QEMU's wall clock, seconds since 1970; -1 = it had none.</param>
/// <param name="Microseconds">And microseconds.</param>
public sealed record QmpEvent(string Name, JsonElement Data, long Seconds, long Microseconds)
{
    /// <summary>A text field of <see cref="Data"/>; null when it is not there or no text.</summary>
    public string? Text(string field) => Data.ValueKind == JsonValueKind.Object && Data.TryGetProperty(field, out JsonElement value)
        && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}

/// <summary>QEMU's version, from its greeting.</summary>
/// <param name="Major">10 of 10.0.2.</param>
/// <param name="Minor">0.</param>
/// <param name="Micro">2.</param>
/// <param name="Package">The distribution's name for it; may be empty.</param>
public readonly record struct QmpVersion(int Major, int Minor, int Micro, string Package)
{
    /// <summary>As people write it.</summary>
    public override string ToString() => $"{Major}.{Minor}.{Micro}";
}

/// <summary>Answer to <c>query-status</c>.</summary>
/// <param name="Running">True while virtual processors run.</param>
/// <param name="Status">QEMU's run state: running, paused, inmigrate, postmigrate, finish-migrate, io-error, ...</param>
public sealed record QmpStatus(bool Running, string Status);

/// <summary>Answer to <c>query-migrate</c>. Fields that a status does not have are null.</summary>
/// <param name="Status">none, setup, active, pre-switchover, device, completed, failed, cancelling, cancelled, ...</param>
/// <param name="ErrorDesc">Why it failed; for people.</param>
/// <param name="TotalTime">Milliseconds since it began.</param>
/// <param name="Downtime">Milliseconds for which the guest stood still; completed only.</param>
/// <param name="Ram">How far the memory is copied.</param>
public sealed record QmpMigration(
    string? Status = null, string? ErrorDesc = null, long? TotalTime = null, long? Downtime = null, QmpMigrationRam? Ram = null);

/// <summary>How far the memory is copied.</summary>
/// <param name="Transferred">Bytes sent.</param>
/// <param name="Remaining">Bytes still to be sent, as of the last look at the dirty bitmap.</param>
/// <param name="Total">Bytes of memory.</param>
/// <param name="DirtyPagesRate">Pages that the guest dirties, per second.</param>
/// <param name="DirtySyncCount">The pass that goes on, from 1.</param>
/// <param name="PageSize">Bytes of a page.</param>
public sealed record QmpMigrationRam(
    long Transferred, long Remaining, long Total, long DirtyPagesRate = 0, long DirtySyncCount = 0, long PageSize = 4096);

/// <summary>Arguments of <c>migrate</c> and <c>migrate-incoming</c>.</summary>
/// <param name="Uri">Where to, or from: <c>unix:/run/x.sock</c>.</param>
public sealed record QmpUri(string Uri);

/// <summary>Arguments of <c>migrate-continue</c>.</summary>
/// <param name="State">The state in which it waits: pre-switchover.</param>
public sealed record QmpMigrationState(string State);

/// <summary>Arguments of <c>migrate-set-capabilities</c>.</summary>
/// <param name="Capabilities">Those to change.</param>
public sealed record QmpCapabilities(IReadOnlyList<QmpCapability> Capabilities)
{
    /// <summary>All of these on.</summary>
    public static QmpCapabilities On(params string[] names) => new([.. names.Select(n => new QmpCapability(n, true))]);
}

/// <summary>A capability of migrations.</summary>
/// <param name="Capability">Its name, e.g. <c>pause-before-switchover</c>.</param>
/// <param name="State">True: on.</param>
public sealed record QmpCapability(string Capability, bool State);

/// <summary>Arguments of <c>migrate-set-parameters</c>; null = left as it is.</summary>
/// <param name="DowntimeLimit">
/// Milliseconds that QEMU takes for the last pass when it decides by itself. 0 means "switch over after the first pass".
/// </param>
/// <param name="MaxBandwidth">Bytes per second.</param>
/// <param name="AnnounceRounds">How often QEMU announces the guest's addresses by itself; 0 = not at all.</param>
public sealed record QmpMigrationParameters(long? DowntimeLimit = null, long? MaxBandwidth = null, long? AnnounceRounds = null);

/// <summary>Arguments of <c>announce-self</c>: milliseconds, and how often.</summary>
/// <param name="Initial">Before the second announcement.</param>
/// <param name="Max">At most between two.</param>
/// <param name="Rounds">How many.</param>
/// <param name="Step">What each pause is longer than the one before.</param>
public sealed record QmpAnnounce(int Initial, int Max, int Rounds, int Step);

/// <summary>Arguments of <c>yank</c>.</summary>
/// <param name="Instances">Whose connections are cut.</param>
public sealed record QmpYank(IReadOnlyList<QmpYankInstance> Instances);

/// <summary>What can be yanked.</summary>
/// <param name="Type">migration, block-node, chardev.</param>
/// <param name="NodeName">The block node; null for the others.</param>
public sealed record QmpYankInstance(string Type, string? NodeName = null);

/// <summary>Arguments of <c>qmp_capabilities</c>.</summary>
/// <param name="Enable">What is negotiated.</param>
internal sealed record QmpNegotiation(IReadOnlyList<string> Enable);

/// <summary>JSON of the monitor: names in kebab case, as in QEMU's schema.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.KebabCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(QmpNothing))]
[JsonSerializable(typeof(QmpStatus))]
[JsonSerializable(typeof(QmpMigration))]
[JsonSerializable(typeof(QmpUri))]
[JsonSerializable(typeof(QmpMigrationState))]
[JsonSerializable(typeof(QmpCapabilities))]
[JsonSerializable(typeof(QmpMigrationParameters))]
[JsonSerializable(typeof(QmpAnnounce))]
[JsonSerializable(typeof(QmpYank))]
[JsonSerializable(typeof(QmpNegotiation))]
internal sealed partial class QmpTypes : JsonSerializerContext;

/// <summary>The commands that are used.</summary>
public static class QmpCommands
{
    /// <summary>The run state.</summary>
    public static QmpCommand<QmpNothing, QmpStatus> QueryStatus { get; } = new("query-status");

    /// <summary>Stops the virtual processors and makes the disks durable. An answer proves neither: the run state does.</summary>
    public static QmpCommand<QmpNothing, QmpNothing> Stop { get; } = new("stop");

    /// <summary>Lets the virtual processors run.</summary>
    public static QmpCommand<QmpNothing, QmpNothing> Cont { get; } = new("cont");

    /// <summary>Ends QEMU; it makes the disks durable first, and hangs when they do.</summary>
    public static QmpCommand<QmpNothing, QmpNothing> Quit { get; } = new("quit");

    /// <summary>Switches capabilities of migrations on and off.</summary>
    public static QmpCommand<QmpCapabilities, QmpNothing> SetCapabilities { get; } = new("migrate-set-capabilities");

    /// <summary>Sets parameters of migrations.</summary>
    public static QmpCommand<QmpMigrationParameters, QmpNothing> SetParameters { get; } = new("migrate-set-parameters");

    /// <summary>Begins a migration. An answer only says that it has begun: MIGRATION events and <see cref="QueryMigrate"/> say the
    /// rest.</summary>
    public static QmpCommand<QmpUri, QmpNothing> Migrate { get; } = new("migrate");

    /// <summary>Waits for a migration.</summary>
    public static QmpCommand<QmpUri, QmpNothing> MigrateIncoming { get; } = new("migrate-incoming");

    /// <summary>Lets a migration go on that waits before its end.</summary>
    public static QmpCommand<QmpMigrationState, QmpNothing> MigrateContinue { get; } = new("migrate-continue");

    /// <summary>Cancels a migration; an answer is no result.</summary>
    public static QmpCommand<QmpNothing, QmpNothing> MigrateCancel { get; } = new("migrate_cancel");

    /// <summary>How far a migration is.</summary>
    public static QmpCommand<QmpNothing, QmpMigration> QueryMigrate { get; } = new("query-migrate");

    /// <summary>Announces the guest's addresses to the network.</summary>
    public static QmpCommand<QmpAnnounce, QmpNothing> AnnounceSelf { get; } = new("announce-self");

    /// <summary>Cuts connections on which QEMU hangs. Out of band: it is executed although the main loop stands still.</summary>
    public static QmpCommand<QmpYank, QmpNothing> Yank { get; } = new("yank", OutOfBand: true);

    internal static QmpCommand<QmpNegotiation, QmpNothing> Capabilities { get; } = new("qmp_capabilities");
}
