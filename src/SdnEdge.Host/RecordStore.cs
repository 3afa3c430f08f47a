using System.Text.Json.Serialization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Host.Leases;
using SdnEdge.Linux;

namespace SdnEdge.Host;

/// <summary>JSON of a record's file.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    Converters = [typeof(JsonStringEnumConverter<HostPhase>), typeof(JsonStringEnumConverter<MigrationRole>)])]
[JsonSerializable(typeof(HostRecord))]
[JsonSerializable(typeof(LeaseBinding))]
internal sealed partial class RecordTypes : JsonSerializerContext;

/// <summary>What was found on disk for a server.</summary>
/// <param name="Record">The record; null when there is no file or it cannot be used.</param>
/// <param name="Fault">Why it cannot be used, and what would be right; null = it can, or there is none.</param>
public sealed record RecordFound(HostRecord? Record, string? Fault);

/// <summary>
/// A folder with one file a server:
/// <code>
/// {"version":1,"sha256":"&lt;of the record's bytes as they stand here&gt;","record":{"name":"vs","epoch":7,"mayRun":7,...}}
/// </code>
/// and a second one, of the same form, for a server that was ever bound to a lease. A file is valid if and only if its version is 1, the
/// checksum is that of the bytes of its record, and the record is one of this server without a contradiction. Fault model: a crash at any
/// point leaves the old or the new file (<see cref="RecordFile"/>); a file that was damaged, truncated, edited, copied from another server
/// or written by a later version is refused, and never taken for an empty one.
/// </summary>
public sealed class RecordStore : IDisposable
{
    private const string Suffix = ".server.json";

    private readonly string _folder;
    private readonly FileStream _lock;

    private RecordStore(string folder, FileStream held) => (_folder, _lock) = (folder, held);

    /// <summary>Opens the folder, made when it is not there, for this process alone.</summary>
    /// <exception cref="IOException">It cannot be made, or another agent has it.</exception>
    public static RecordStore Open(string folder)
    {
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        string path = Path.Combine(folder, "agent.lock");
        try
        {
            return new RecordStore(folder, new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException e)
        {
            throw new IOException($"state.folder {folder} cannot be had for this agent alone ({e.Message}); stop the other agent, or "
                + "give this one a folder of its own", e);
        }
    }

    /// <summary>The file of a server.</summary>
    public string PathOf(string server) => Path.Combine(_folder, server + Suffix);

    /// <summary>The file that says under which lease a server may run.</summary>
    public string BindingOf(string server) => Path.Combine(_folder, server + ".lease.json");

    /// <summary>The folder.</summary>
    public string Folder => _folder;

    /// <summary>The folder of a server's process and sockets.</summary>
    public string FolderOf(string server) => Path.Combine(_folder, server + ".run");

    /// <summary>The lock file of a server's commands.</summary>
    public string LockOf(string server) => Path.Combine(_folder, server + ".lock");

    /// <summary>Reads the record of a server.</summary>
    public RecordFound Read(string server)
    {
        string path = PathOf(server);
        RecordRead<HostRecord> read = RecordFile.Read(path, RecordTypes.Default.HostRecord);
        if (read.Fault is { } fault) return Bad(path, fault.What, fault.Right ?? Restore);
        if (read.Record is not { } record) return new RecordFound(null, null);
        if (record.Name != server) return Bad(path, $"is the record of server '{record.Name}'", "put the right file there");
        return record.Contradiction() is { } wrong ? Bad(path, $"contradicts itself: {wrong}", Restore) : new RecordFound(record, null);
    }

    /// <summary>Makes a record durable: when this returns it is on disk.</summary>
    /// <exception cref="IOException">It could not be written; says which file.</exception>
    public void Write(HostRecord record) => RecordFile.Write(PathOf(record.Name), record, RecordTypes.Default.HostRecord);

    /// <summary>Reads what binds a server to a lease.</summary>
    /// <exception cref="IOException">It cannot be used; says why and what would be right.</exception>
    public LeaseBinding? ReadBinding(string server)
    {
        string path = BindingOf(server);
        RecordRead<LeaseBinding> read = RecordFile.Read(path, RecordTypes.Default.LeaseBinding);
        RecordFault? fault = read.Fault ?? (read.Record is { } found && found.Server != server
            ? new RecordFault($"is the binding of server '{found.Server}'", "put the right file there") : null);
        return fault is null ? read.Record : throw new IOException($"{path} {fault.What}; {fault.Right ?? "find out whether the server is "
            + "protected, remove the file, and protect its group anew"}, then start the agent again");
    }

    /// <summary>Makes what binds a server to a lease durable: when this returns it is on disk.</summary>
    /// <exception cref="IOException">It could not be written; says which file.</exception>
    public void Write(LeaseBinding binding) => RecordFile.Write(BindingOf(binding.Server), binding, RecordTypes.Default.LeaseBinding);

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private const string Restore = "find out where the server is to run, and with the agent stopped remove the file and set runs: in "
        + "the configuration accordingly";

    private static RecordFound Bad(string path, string what, string right)
        => new(null, $"no order is taken: {path} {what}; {right}, then start the agent again");
}
