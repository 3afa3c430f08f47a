using SdnEdge.Core.Api;
using SdnEdge.Web;

namespace SdnEdge.Host.Api;

/// <summary>What the HTTP API asks of the agent. Reads are answered at once, from what was published last.</summary>
public interface IHostControl
{
    /// <summary>Events, newest last, bounded.</summary>
    EventLog Events { get; }

    /// <summary>The agent.</summary>
    HostNodeInfo Node();

    /// <summary>All servers that it may run, by name.</summary>
    IReadOnlyList<ServerInfo> Servers();

    /// <summary>One of them.</summary>
    /// <exception cref="ProblemException">There is no such server.</exception>
    ServerInfo Server(string name);

    /// <summary>The last copy of its memory from here to another host.</summary>
    /// <exception cref="ProblemException">There is no such server, or nothing of it was copied since the agent's start.</exception>
    CopyInfo Copy(string name);

    /// <summary>BFD sessions.</summary>
    BfdInfo Bfd();

    /// <summary>Gives an order; returns when its effect is there.</summary>
    /// <exception cref="ProblemException">It was refused; says why and what would be right.</exception>
    Task<ServerReply> OrderAsync(string name, ServerOrder order, ServerOrderRequest request, CancellationToken cancel);

    /// <summary>Binds a server to a lease, or to none any more; returns when that is on disk and the watchdog has it.</summary>
    /// <exception cref="ProblemException">It was refused; says why.</exception>
    Task<ServerInfo> BindAsync(string name, ServerLeaseCall call, CancellationToken cancel);

    /// <summary>All metrics.</summary>
    IReadOnlyList<MetricFamily> Metrics();
}
