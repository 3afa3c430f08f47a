using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>Where a daemon's API listens, and who may do what there. The unix socket is the default; TCP only with mutual TLS.</summary>
/// <param name="Unix">Path of the unix socket, mode 0600 (0666 where <paramref name="Access"/> names users); null = none.</param>
/// <param name="Tcp">TCP with mutual TLS; null = none.</param>
public sealed record ApiConfig(string? Unix = null, ApiTcpConfig? Tcp = null)
{
    /// <summary>
    /// Who may do what, besides root and the daemon's own user, who may do everything on the unix socket. A certificate of the
    /// right CA that is not named here may read.
    /// </summary>
    public IReadOnlyList<AccessRule> Access { get; init; } = [];

    /// <summary>True when both say the same.</summary>
    public bool Equals(ApiConfig? other) => other is not null && Unix == other.Unix && Tcp == other.Tcp
        && Access.SequenceEqual(other.Access);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Unix, Tcp, Access.Count);
}

/// <summary>The API over TCP with mutual TLS.</summary>
/// <param name="Address">Address to listen on.</param>
/// <param name="Port">TCP port.</param>
/// <param name="Certificate">PEM file of the server's certificate.</param>
/// <param name="Key">PEM file of its private key.</param>
/// <param name="ClientCa">PEM file of the CA that signs the clients' certificates.</param>
public sealed record ApiTcpConfig(IpAddress Address, int Port, string Certificate, string Key, string ClientCa);

/// <summary>What a caller may do. Each role may do what the ones before it may.</summary>
public enum ApiRole
{
    /// <summary>Nothing: the connection is refused.</summary>
    None,
    /// <summary>Look.</summary>
    Read,
    /// <summary>Look, and report to a manager what becomes of volumes: for stores. At a witness: look, and renew leases, for
    /// hosts.</summary>
    Store,
    /// <summary>Start, abort and finish migrations; send a migration's signals and orders.</summary>
    Migrate,
    /// <summary>Change the daemon itself: its configuration, its sessions, its recovery.</summary>
    Admin,
}

/// <summary>Gives a caller a role. Exactly one of the first two is set.</summary>
/// <param name="Certificate">Common name of a client certificate that the CA has signed.</param>
/// <param name="User">User id of a process on this machine, as the kernel says it (SO_PEERCRED).</param>
/// <param name="Role">What that caller may do.</param>
public sealed record AccessRule(string? Certificate, uint? User, ApiRole Role);
