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
/// <param name="BlockedReasons">Why the guest cannot be migrated now, for people; null = it can.</param>
public sealed record QmpMigration(
    string? Status = null, string? ErrorDesc = null, long? TotalTime = null, long? Downtime = null, QmpMigrationRam? Ram = null,
    IReadOnlyList<string>? BlockedReasons = null);

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

/// <summary>Answer to <c>query-kvm</c>.</summary>
/// <param name="Enabled">True: the guest runs by KVM.</param>
/// <param name="Present">True: this QEMU was built with it.</param>
public sealed record QmpKvm(bool Enabled, bool Present);

/// <summary>A machine type, by <c>query-machines</c>.</summary>
/// <param name="Name">Its name, e.g. <c>pc-q35-7.2</c>.</param>
/// <param name="Alias">Another name for it, e.g. <c>q35</c>; null = none.</param>
/// <param name="IsDefault">True: it is taken when none is named.</param>
public sealed record QmpMachine(string Name, string? Alias = null, bool IsDefault = false);

/// <summary>A CPU model, by <c>query-cpu-definitions</c>.</summary>
/// <param name="Name">Its name, e.g. <c>qemu64</c>.</param>
/// <param name="UnavailableFeatures">Features of it that guests do not have here; null = QEMU does not say.</param>
public sealed record QmpCpuModel(string Name, IReadOnlyList<string>? UnavailableFeatures = null);

/// <summary>A virtual processor, by <c>query-cpus-fast</c>.</summary>
/// <param name="CpuIndex">Its number.</param>
public sealed record QmpCpu(int CpuIndex);

/// <summary>Answer to <c>query-memory-size-summary</c>.</summary>
/// <param name="BaseMemory">Bytes.</param>
/// <param name="PluggedMemory">Bytes that were plugged in; null = QEMU does not say.</param>
public sealed record QmpMemory(long BaseMemory, long? PluggedMemory = null);

/// <summary>Arguments of <c>qom-list</c> and, with a property, of <c>qom-get</c>.</summary>
/// <param name="Path">The object, e.g. <c>/machine</c>.</param>
/// <param name="Property">Its property.</param>
public sealed record QmpObject(string Path, string? Property = null);

/// <summary>A property of an object, by <c>qom-list</c>.</summary>
/// <param name="Name">Its name; of a child of <c>/machine/peripheral</c> a device's id.</param>
/// <param name="Type">Its type; of a child <c>child&lt;virtio-net-pci&gt;</c>.</param>
public sealed record QmpProperty(string Name, string Type);

/// <summary>A disk, by <c>query-block</c>.</summary>
/// <param name="Device">The drive's id; may be empty.</param>
/// <param name="Inserted">The medium; null = none.</param>
public sealed record QmpBlock(string Device, QmpMedium? Inserted = null);

/// <summary>A disk's medium.</summary>
/// <param name="File">Where its data is.</param>
/// <param name="Ro">True: it is not written.</param>
/// <param name="NodeName">Its block node.</param>
public sealed record QmpMedium(string File, bool Ro, string? NodeName = null);

/// <summary>Arguments of <c>calc-dirty-rate</c>.</summary>
/// <param name="CalcTime">For how long it is measured, seconds.</param>
/// <param name="SamplePages">Pages that are looked at, per GiB of memory.</param>
public sealed record QmpMeasure(long CalcTime, long SamplePages);

/// <summary>Answer to <c>query-dirty-rate</c>.</summary>
/// <param name="Status">unstarted, measuring or measured.</param>
/// <param name="DirtyRate">MiB per second; measured only.</param>
public sealed record QmpDirtyRate(string Status, long? DirtyRate = null);

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
[JsonSerializable(typeof(QmpKvm))]
[JsonSerializable(typeof(IReadOnlyList<QmpMachine>))]
[JsonSerializable(typeof(IReadOnlyList<QmpCpuModel>))]
[JsonSerializable(typeof(IReadOnlyList<QmpCpu>))]
[JsonSerializable(typeof(QmpMemory))]
[JsonSerializable(typeof(QmpObject))]
[JsonSerializable(typeof(IReadOnlyList<QmpProperty>))]
[JsonSerializable(typeof(IReadOnlyList<QmpBlock>))]
[JsonSerializable(typeof(QmpMeasure))]
[JsonSerializable(typeof(QmpDirtyRate))]
[JsonSerializable(typeof(string))]
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

    /// <summary>Whether the guest runs by KVM.</summary>
    public static QmpCommand<QmpNothing, QmpKvm> QueryKvm { get; } = new("query-kvm");

    /// <summary>The machine types that this QEMU has.</summary>
    public static QmpCommand<QmpNothing, IReadOnlyList<QmpMachine>> QueryMachines { get; } = new("query-machines");

    /// <summary>The CPU models that this QEMU has, and what of them this host and accelerator do not give.</summary>
    public static QmpCommand<QmpNothing, IReadOnlyList<QmpCpuModel>> QueryCpuModels { get; } = new("query-cpu-definitions");

    /// <summary>The virtual processors.</summary>
    public static QmpCommand<QmpNothing, IReadOnlyList<QmpCpu>> QueryCpus { get; } = new("query-cpus-fast");

    /// <summary>The guest's memory.</summary>
    public static QmpCommand<QmpNothing, QmpMemory> QueryMemory { get; } = new("query-memory-size-summary");

    /// <summary>The guest's disks.</summary>
    public static QmpCommand<QmpNothing, IReadOnlyList<QmpBlock>> QueryBlock { get; } = new("query-block");

    /// <summary>The properties of an object.</summary>
    public static QmpCommand<QmpObject, IReadOnlyList<QmpProperty>> ListObject { get; } = new("qom-list");

    /// <summary>A property of an object that is a text.</summary>
    public static QmpCommand<QmpObject, string> ObjectText { get; } = new("qom-get");

    /// <summary>
    /// Begins to measure how fast the guest changes its memory, by sampling pages. The mode <c>dirty-bitmap</c> is not used: QEMU 7.2 dies
    /// of it under TCG (SIGSEGV).
    /// </summary>
    public static QmpCommand<QmpMeasure, QmpNothing> MeasureDirtyRate { get; } = new("calc-dirty-rate");

    /// <summary>What was measured last.</summary>
    public static QmpCommand<QmpNothing, QmpDirtyRate> QueryDirtyRate { get; } = new("query-dirty-rate");

    internal static QmpCommand<QmpNegotiation, QmpNothing> Capabilities { get; } = new("qmp_capabilities");
}
