using System.Text.Json.Serialization;

namespace SdnEdge.Storage.Volumes;

/// <summary>What does not change of a volume; volume.json in its folder.</summary>
public sealed record VolumeMetadata
{
    /// <summary>The only format there is.</summary>
    public const int CurrentFormat = 1;

    /// <summary>The format of the folder's files.</summary>
    public int Format { get; init; } = CurrentFormat;

    /// <summary>Its name in the store.</summary>
    public required string Name { get; init; }

    /// <summary>Its identity: a copy at another site has the same, because chain and content root are keyed by it.</summary>
    public required Guid Identity { get; init; }

    /// <summary>Bytes when it was made, a multiple of 512. What it has now is in superblock and log.</summary>
    public required long Size { get; init; }

    /// <summary>The image: a file in this folder, or the absolute path of a file or block device.</summary>
    public string Image { get; init; } = "image";

    /// <summary>When it was made, in universal time.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>The epoch that it was made in. The present one is in the log.</summary>
    public ulong Epoch { get; init; }

    /// <summary>Bytes of a segment of its log.</summary>
    public long SegmentSize { get; init; } = 64L << 20;

    /// <summary>The most segments of its log.</summary>
    public int MaxSegments { get; init; } = 16;
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(VolumeMetadata))]
internal sealed partial class VolumeJson : JsonSerializerContext;
