namespace SdnEdge.Host.Leases;

/// <summary>What a host has on disk of the lease under which alone a server may run here.</summary>
public sealed record LeaseBinding
{
    /// <summary>The server.</summary>
    public required string Server { get; init; }

    /// <summary>The group whose lease it is; null = it is not bound any more.</summary>
    public string? Group { get; init; }

    /// <summary>The site whose lease it is; null = it is not bound any more.</summary>
    public string? Site { get; init; }

    /// <summary>The epoch; of one that is not bound any more: with which that was said.</summary>
    public long Epoch { get; init; }
}
