using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Linux;

namespace SdnEdge.Host;

/// <summary>JSON of a record's file.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    Converters = [typeof(JsonStringEnumConverter<HostPhase>), typeof(JsonStringEnumConverter<MigrationRole>)])]
[JsonSerializable(typeof(HostRecord))]
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
/// A file is valid if and only if its version is 1, the checksum is that of the bytes of its record, and the record is one of this server
/// without a contradiction. Fault model: a crash at any point leaves the old or the new file (<see cref="DurableFile"/>); a file that was
/// damaged, truncated, edited, copied from another server or written by a later version is refused, and never taken for an empty one.
/// </summary>
public sealed class RecordStore : IDisposable
{
    private const int Version = 1;
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

    /// <summary>The folder of a server's process and sockets.</summary>
    public string FolderOf(string server) => Path.Combine(_folder, server + ".run");

    /// <summary>The lock file of a server's commands.</summary>
    public string LockOf(string server) => Path.Combine(_folder, server + ".lock");

    /// <summary>Reads the record of a server.</summary>
    public RecordFound Read(string server)
    {
        string path = PathOf(server);
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (FileNotFoundException)
        {
            return new RecordFound(null, null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Bad(path, $"cannot be read: {e.Message}", "make it readable");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes);
            JsonElement root = document.RootElement;
            int version = root.GetProperty("version").GetInt32();
            if (version != Version) return Bad(path, $"has version {version} and this program reads version {Version}",
                "run the program that wrote it, or a later one");
            JsonElement record = root.GetProperty("record");
            string text = record.GetRawText();
            if (root.GetProperty("sha256").GetString() != Checksum(text)) return Bad(path, "is damaged: its checksum is wrong", Restore);
            HostRecord read = record.Deserialize(RecordTypes.Default.HostRecord)!;
            if (read.Name != server) return Bad(path, $"is the record of server '{read.Name}'", "put the right file there");
            return read.Contradiction() is { } wrong ? Bad(path, $"contradicts itself: {wrong}", Restore) : new RecordFound(read, null);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return Bad(path, $"is damaged: {e.Message}", Restore);
        }
    }

    /// <summary>Makes a record durable: when this returns it is on disk.</summary>
    /// <exception cref="IOException">It could not be written; says which file.</exception>
    public void Write(HostRecord record)
    {
        string text = JsonSerializer.Serialize(record, RecordTypes.Default.HostRecord);
        try
        {
            DurableFile.Replace(PathOf(record.Name),
                Encoding.UTF8.GetBytes($"{{\"version\":{Version},\"sha256\":\"{Checksum(text)}\",\"record\":{text}}}\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"{PathOf(record.Name)} cannot be written: {e.Message}; make room for it and make it writable", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private const string Restore = "find out where the server is to run, and with the agent stopped remove the file and set runs: in "
        + "the configuration accordingly";

    private static RecordFound Bad(string path, string what, string right)
        => new(null, $"no order is taken: {path} {what}; {right}, then start the agent again");

    private static string Checksum(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
