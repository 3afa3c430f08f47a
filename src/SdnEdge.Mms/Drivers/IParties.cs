using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// The parties of migrations, as the manager speaks to them. A refusal is a <see cref="Client.ApiProblemException"/>; no usable answer is a
/// <see cref="Client.ApiUnreachableException"/>.
/// </summary>
public interface IParties
{
    /// <summary>Sends a signal to a PE.</summary>
    Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel);

    /// <summary>Gives an order to a host.</summary>
    Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel);

    /// <summary>A path at one of its PEs, as soon as what is waited for is so, or the time for that is over.</summary>
    Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel);

    /// <summary>Why an ingress PE does not take the direct path for all prefixes of a path; null = it does.</summary>
    Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel);

    /// <summary>What the source PE of a path advertises of exactly its prefixes.</summary>
    Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel);

    /// <summary>What is left of a path at a PE: tunnel, group, unfinished migration. Empty: nothing.</summary>
    Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel);

    /// <summary>Tells a witness, or a host, something of leases. The answer is the witness's; null: a host has done it.</summary>
    Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel);

    /// <summary>A server at a host.</summary>
    Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel);
}
