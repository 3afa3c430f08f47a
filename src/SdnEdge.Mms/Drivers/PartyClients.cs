using SdnEdge.Client;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// The clients of all PEs and hosts of a configuration: one each, made when the manager starts and used for all that it says.
/// </summary>
public sealed class PartyClients : IDisposable
{
    // What bounds a request is the caller's; this one only ends what nobody waits for any more.
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(5);

    private readonly Dictionary<string, PeClient> _pes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HostClient> _hosts = new(StringComparer.Ordinal);

    private readonly WitnessClient? _witness;
    private readonly string? _witnessName;

    /// <summary>Makes the clients. Nothing is connected before the first request.</summary>
    /// <exception cref="IOException">The manager's certificate, its key or the authority cannot be read.</exception>
    public PartyClients(MmsConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        ClientIdentity? identity = config.Identity is { } files ? ClientIdentity.Load(files.Certificate, files.Key, files.Authority) : null;
        foreach (DaemonConfig pe in config.Pes) _pes[pe.Name] = new PeClient(Endpoint(pe)) { RequestTimeout = s_longest };
        foreach (DaemonConfig host in config.Hosts) _hosts[host.Name] = new HostClient(Endpoint(host)) { RequestTimeout = s_longest };
        if (config.Witness is { } witness)
            (_witnessName, _witness) = (witness.Name, new WitnessClient(Endpoint(witness)) { RequestTimeout = s_longest });

        ApiEndpoint Endpoint(DaemonConfig daemon) => new(daemon.Name, daemon.Api, daemon.IsHttps ? identity : null);
    }

    /// <summary>The client of a PE.</summary>
    /// <exception cref="ApiUnreachableException">The configuration has no such PE: one that a move needs was taken out.</exception>
    public PeClient Pe(string name) => _pes.TryGetValue(name, out PeClient? client) ? client : throw Gone("PE", "pes", name);

    /// <summary>The client of a server host's agent.</summary>
    /// <exception cref="ApiUnreachableException">The configuration has no such host.</exception>
    public HostClient Host(string name) => _hosts.TryGetValue(name, out HostClient? client) ? client : throw Gone("host", "hosts", name);

    /// <summary>The client of the witness.</summary>
    /// <exception cref="ApiUnreachableException">The configuration has no such witness.</exception>
    public WitnessClient Witness(string name) => name == _witnessName ? _witness! : throw new ApiUnreachableException(
        $"there is no witness '{name}' in the manager's configuration any more; put it back as witness", null, name);

    /// <inheritdoc/>
    public void Dispose()
    {
        _witness?.Dispose();
        foreach (PeClient client in _pes.Values) client.Dispose();
        foreach (HostClient client in _hosts.Values) client.Dispose();
    }

    /// <summary>Asks, and waits no longer than <paramref name="limit"/>.</summary>
    /// <exception cref="ApiUnreachableException">There was no answer in time.</exception>
    internal static async Task<T> WithinAsync<T>(TimeSpan limit, string party, string what, Func<CancellationToken, Task<T>> ask,
        CancellationToken cancel)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(limit);
        try
        {
            return await ask(end.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new ApiUnreachableException($"{what} was not answered within {limit.TotalSeconds:0.#} s", e, party);
        }
    }

    private static ApiUnreachableException Gone(string kind, string list, string name)
        => new($"there is no {kind} '{name}' in the manager's configuration any more; put it back under {list}", null, name);
}
