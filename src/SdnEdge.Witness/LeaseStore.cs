using System.Text.Json.Serialization;
using SdnEdge.Core.Leases;
using SdnEdge.Linux;

namespace SdnEdge.Witness;

/// <summary>JSON of a record's file.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(LeaseRecord))]
internal sealed partial class LeaseTypes : JsonSerializerContext;

/// <summary>A folder with one file for the leases of a group at a site (<see cref="RecordFile"/>). It is for one witness alone.</summary>
internal sealed class LeaseStore : IDisposable
{
    private const string Suffix = ".lease.json";

    private readonly string _folder;
    private readonly FileStream _lock;

    private LeaseStore(string folder, FileStream held) => (_folder, _lock) = (folder, held);

    /// <summary>Opens the folder, made when it is not there, for this process alone.</summary>
    /// <exception cref="IOException">It cannot be made, or another witness has it.</exception>
    public static LeaseStore Open(string folder)
    {
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        try
        {
            return new LeaseStore(folder, new FileStream(Path.Combine(folder, "witness.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite,
                FileShare.None));
        }
        catch (IOException e)
        {
            throw new IOException($"state.folder {folder} cannot be had for this witness alone ({e.Message}); stop the other one, or give "
                + "this one a folder of its own", e);
        }
    }

    /// <summary>All records.</summary>
    /// <exception cref="IOException">One cannot be used: then what the witness says would be worth nothing.</exception>
    public IReadOnlyList<LeaseRecord> Read()
    {
        var records = new List<LeaseRecord>();
        foreach (string path in Directory.EnumerateFiles(_folder, "*" + Suffix).Order(StringComparer.Ordinal))
        {
            RecordRead<LeaseRecord> read = RecordFile.Read(path, LeaseTypes.Default.LeaseRecord);
            string? wrong = read.Fault?.What ?? (read.Record is not { } r ? null
                : PathOf(r.Group, r.Site) != path ? $"is the record of leases of {r.Group} at {r.Site}"
                : r.Contradiction() is { } contradiction ? $"contradicts itself: {contradiction}" : null);
            if (wrong is not null)
                throw new IOException($"{path} {wrong}; {read.Fault?.Right ?? "remove it, and the group's leases count as just granted, "
                    + "under an epoch that has to be opened again"}, then start the witness again");
            records.Add(read.Record!);
        }

        return records;
    }

    /// <summary>Makes a record durable: when this returns it is on disk.</summary>
    /// <exception cref="IOException">It could not be written; says which file.</exception>
    public void Write(LeaseRecord record) => RecordFile.Write(PathOf(record.Group, record.Site), record, LeaseTypes.Default.LeaseRecord);

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    // No name has an @.
    private string PathOf(string group, string site) => Path.Combine(_folder, $"{group}@{site}{Suffix}");
}
