using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Service;

/// <summary>JSON of what a store has promised of a replicated volume.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    UseStringEnumConverter = true, IgnoreReadOnlyProperties = true)]
[JsonSerializable(typeof(OwnershipRecord))]
[JsonSerializable(typeof(PrimaryRecord))]
[JsonSerializable(typeof(ReplicaRecord))]
internal sealed partial class VolumeRecordTypes : JsonSerializerContext;

/// <summary>
/// The files beside a volume with what its store has promised: ownership.json, primary.json, replica.json. Each is replaced as a whole
/// and is on disk
/// when a call returns (<see cref="DurableFile"/>). One that cannot be read is never taken for one that is not there.
/// </summary>
internal class VolumeFiles(string folder, Guid identity)
{
    /// <summary>The volume's folder.</summary>
    public string Folder => folder;

    /// <summary>What was put aside.</summary>
    public VolumeBranches Branches { get; } = new(folder, identity);

    /// <summary>Who owns it; null = this store has no file of it yet.</summary>
    /// <exception cref="IOException">The file cannot be used; the message says why.</exception>
    public OwnershipRecord? Ownership => Read("ownership.json", VolumeRecordTypes.Default.OwnershipRecord);

    /// <summary>The owner's replication; null = no file yet.</summary>
    /// <exception cref="IOException">The file cannot be used; the message says why.</exception>
    public PrimaryRecord? Primary => Read("primary.json", VolumeRecordTypes.Default.PrimaryRecord);

    /// <summary>The replica's state; null = no file yet.</summary>
    /// <exception cref="IOException">The file cannot be used; the message says why.</exception>
    public ReplicaRecord? Replica => Read("replica.json", VolumeRecordTypes.Default.ReplicaRecord);

    /// <summary>Makes it durable.</summary>
    /// <exception cref="IOException">It could not be written; whether it is on disk is not known.</exception>
    public void Write(OwnershipRecord record) => Write("ownership.json", record, VolumeRecordTypes.Default.OwnershipRecord);

    /// <inheritdoc cref="Write(OwnershipRecord)"/>
    public void Write(PrimaryRecord record) => Write("primary.json", record, VolumeRecordTypes.Default.PrimaryRecord);

    /// <inheritdoc cref="Write(OwnershipRecord)"/>
    public void Write(ReplicaRecord record) => Write("replica.json", record, VolumeRecordTypes.Default.ReplicaRecord);

    /// <summary>Puts a file in the place of the one before; the new one is on disk at the return.</summary>
    /// <exception cref="IOException">It could not be written.</exception>
    protected virtual void Replace(string file, byte[] bytes) => DurableFile.Replace(file, bytes);

    private T? Read<T>(string name, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) where T : class
    {
        string file = Path.Combine(folder, name);
        if (!File.Exists(file)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(file), type) ?? throw new IOException($"{file} is empty");
        }
        catch (JsonException e)
        {
            throw new IOException($"{file} cannot be used: {e.Message}; put the right one back, or delete the volume and replicate it "
                + $"anew", e);
        }
    }

    private void Write<T>(string name, T record, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        try
        {
            Replace(Path.Combine(folder, name), JsonSerializer.SerializeToUtf8Bytes(record, type));
        }
        catch (Exception e) when (e is UnauthorizedAccessException or LinuxException)
        {
            throw new IOException(e.Message, e);
        }
    }
}
