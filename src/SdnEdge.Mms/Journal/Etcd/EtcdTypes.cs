using System.Text.Json;
using System.Text.Json.Serialization;

namespace SdnEdge.Mms.Journal.Etcd;

// Requests and answers of etcd's JSON gateway (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/), as far as they are used. Bytes are
// Base64, 64-bit numbers are text, and what is zero is left out.

internal sealed record RangeRequest(byte[] Key)
{
    public byte[]? RangeEnd { get; init; }

    public long Limit { get; init; }

    public string? SortOrder { get; init; }

    public string? SortTarget { get; init; }
}

internal sealed record EtcdHeader(long Revision = 0);

/// <summary>A key with its value.</summary>
/// <param name="Key">The key.</param>
/// <param name="CreateRevision">Revision of the store at which it was made.</param>
/// <param name="ModRevision">Revision of its last change.</param>
/// <param name="Value">The value.</param>
/// <param name="Lease">The lease that it goes with; 0: none.</param>
internal sealed record EtcdKey(byte[] Key, long CreateRevision = 0, long ModRevision = 0, byte[]? Value = null, long Lease = 0);

internal sealed record RangeReply(EtcdHeader Header, IReadOnlyList<EtcdKey>? Kvs = null, bool More = false)
{
    [JsonIgnore]
    public IReadOnlyList<EtcdKey> Keys => Kvs ?? [];

    [JsonIgnore]
    public EtcdKey? First => Keys is [{ } first, ..] ? first : null;
}

internal sealed record PutRequest(byte[] Key, byte[] Value)
{
    public long Lease { get; init; }
}

internal sealed record DeleteRequest(byte[] Key);

internal sealed record EtcdCompare(byte[] Key, string Target)
{
    public string Result { get; init; } = "EQUAL";

    public long? CreateRevision { get; init; }

    public long? ModRevision { get; init; }

    /// <summary>True when the key was made at this revision; 0: there is none.</summary>
    public static EtcdCompare Created(byte[] key, long revision) => new(key, "CREATE") { CreateRevision = revision };

    /// <summary>True when the key was changed last at this revision; 0: there is none.</summary>
    public static EtcdCompare Changed(byte[] key, long revision) => new(key, "MOD") { ModRevision = revision };
}

internal sealed record EtcdOperation
{
    public RangeRequest? RequestRange { get; init; }

    public PutRequest? RequestPut { get; init; }

    public DeleteRequest? RequestDeleteRange { get; init; }
}

internal sealed record TxnRequest(
    IReadOnlyList<EtcdCompare> Compare, IReadOnlyList<EtcdOperation> Success, IReadOnlyList<EtcdOperation> Failure);

internal sealed record EtcdAnswer(RangeReply? ResponseRange = null);

internal sealed record TxnReply(EtcdHeader Header, bool Succeeded = false, IReadOnlyList<EtcdAnswer>? Responses = null)
{
    /// <summary>The only key that the given operation has read; null: there is none.</summary>
    public EtcdKey? Read(int operation) => Responses?[operation].ResponseRange?.First;
}

// TTL and ID are capital letters at the gateway.
internal sealed record LeaseGrantRequest([property: JsonPropertyName("TTL")] long Seconds);

internal sealed record LeaseRequest([property: JsonPropertyName("ID")] long Id);

internal sealed record LeaseReply(
    [property: JsonPropertyName("ID")] long Id = 0, [property: JsonPropertyName("TTL")] long Seconds = 0, string? Error = null);

internal sealed record KeepAliveReply(LeaseReply? Result = null);

internal sealed record NoReply;

internal sealed record EtcdError(string? Message = null, int Code = 0);

/// <summary>The only record that says how far the journal is; with each append it is written anew.</summary>
/// <param name="Schema">Of what is under the prefix.</param>
/// <param name="Id">The journal's.</param>
/// <param name="Product">Version that wrote it.</param>
/// <param name="Length">Position of the last record.</param>
/// <param name="First">Position of the first record of the last append; 0 = there was none.</param>
/// <param name="Life">The manager's life that made the last append.</param>
/// <param name="Checksum">Of the last record, see <see cref="RecordChain"/>.</param>
internal sealed record JournalHead(int Schema, string Id, string Product, long Length, long First, string Life, ulong Checksum);

/// <summary>What one append wrote.</summary>
/// <param name="First">Position of its first record.</param>
/// <param name="Life">The manager's life.</param>
/// <param name="Previous">Checksum of the record before.</param>
/// <param name="Checksum">Checksum of its last record.</param>
/// <param name="Entries">The records.</param>
internal sealed record JournalBatch(long First, string Life, ulong Previous, ulong Checksum, IReadOnlyList<JournalEntry> Entries);

/// <summary>Who leads.</summary>
/// <param name="Name">The manager's name.</param>
/// <param name="Api">Where its API is; null: nowhere that others could ask.</param>
/// <param name="Life">The manager's life.</param>
/// <param name="Since">Wall clock, ISO 8601, UTC.</param>
public sealed record LeaderInfo(string Name, string? Api, string Life, string Since);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.AllowReadingFromString | JsonNumberHandling.WriteAsString,
    GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(RangeRequest))]
[JsonSerializable(typeof(RangeReply))]
[JsonSerializable(typeof(TxnRequest))]
[JsonSerializable(typeof(TxnReply))]
[JsonSerializable(typeof(LeaseGrantRequest))]
[JsonSerializable(typeof(LeaseRequest))]
[JsonSerializable(typeof(LeaseReply))]
[JsonSerializable(typeof(KeepAliveReply))]
[JsonSerializable(typeof(NoReply))]
[JsonSerializable(typeof(EtcdError))]
internal sealed partial class GatewayTypes : JsonSerializerContext;

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(JournalHead))]
[JsonSerializable(typeof(JournalBatch))]
[JsonSerializable(typeof(LeaderInfo))]
internal sealed partial class EtcdJournalTypes : JsonSerializerContext;
