using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// What servers send first from the place that they have come to, kept back at their port. Where the way from the place before to an
/// ingress is longer, it would overtake what they sent from there. Packets stay in order; when the time is over they leave, oldest first,
/// and what comes then queues behind them until all are out.
/// </summary>
public sealed class KeptBack
{
    private readonly HashSet<IpAddress> _hosts = [];
    private readonly IpPrefix[] _networks;

    /// <summary>Keeps nothing back before a port has it (<see cref="PortEntry.KeptBack"/>).</summary>
    /// <param name="hold">Where packets wait. The data plane must know it.</param>
    /// <param name="servers">Prefixes of the servers.</param>
    public KeptBack(Hold hold, IEnumerable<IpPrefix> servers)
    {
        ArgumentNullException.ThrowIfNull(servers);
        Hold = hold;
        var networks = new List<IpPrefix>();
        foreach (IpPrefix prefix in servers)
        {
            if (prefix.Length == prefix.Address.BitLength) _hosts.Add(prefix.Address);
            else networks.Add(prefix);
        }

        _networks = [.. networks];
    }

    /// <summary>Where packets wait.</summary>
    public Hold Hold { get; }

    internal bool Takes(IpAddress source)
    {
        if (_hosts.Contains(source)) return true;
        foreach (IpPrefix network in _networks)
        {
            if (network.Contains(source)) return true;
        }

        return false;
    }
}
