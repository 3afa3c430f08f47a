using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary>
/// What is to be brought about. A command is open from the step that made it until an input says that its effect is there; it is issued
/// again after a lost answer and after a restart of the manager, so each is idempotent at its party.
/// </summary>
/// <param name="Key">Names it within its move: the same key is the same command.</param>
public abstract record MoveCommand(string Key);

/// <summary>A signal to a PE about one path.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="Path">Id of the path, the PE's migration.</param>
/// <param name="Signal">The signal.</param>
/// <param name="Request">Its body.</param>
public sealed record SendSignal(string Pe, string Path, SignalKind Signal, SignalRequest Request)
    : MoveCommand($"{Words.Of(Signal)} {Path} {Pe}");

/// <summary>An order to a host agent about one server.</summary>
/// <param name="Host">The host.</param>
/// <param name="Server">The server.</param>
/// <param name="Order">The order.</param>
/// <param name="Request">Its body.</param>
public sealed record SendOrder(string Host, string Server, ServerOrder Order, ServerOrderRequest Request)
    : MoveCommand($"{Words.Of(Order)} {Server} {Host} {Request.Epoch}");

/// <summary>Look at the parties of a path until something is so.</summary>
/// <param name="Kind">What.</param>
/// <param name="Path">The path.</param>
public sealed record WatchPath(PathWatch Kind, string Path) : MoveCommand($"{Words.Of(Kind)} {Path}");

/// <summary>Look at a server's hosts until something is so.</summary>
/// <param name="Kind">What.</param>
/// <param name="Server">The server.</param>
/// <param name="Epoch">The epoch that is to be in force; 0 = any.</param>
public sealed record WatchServer(ServerWatch Kind, string Server, long Epoch) : MoveCommand($"{Words.Of(Kind)} {Server} {Epoch}");

/// <summary>A command about the leases of a group at a site.</summary>
/// <param name="Key">Names it.</param>
/// <param name="Lease">The leases.</param>
public abstract record LeaseCommand(string Key, SiteLease Lease) : MoveCommand(Key)
{
    /// <summary>Who is asked: the witness, or a host.</summary>
    public virtual string Party => Lease.Witness;
}

/// <summary>Has the witness grant leases.</summary>
/// <param name="Lease">The leases.</param>
public sealed record OpenLease(SiteLease Lease) : LeaseCommand($"open-lease {Lease.Site} {Lease.Epoch}", Lease);

/// <summary>Binds a server at a host to the leases, or frees it of them.</summary>
/// <param name="Host">The host.</param>
/// <param name="Server">The server.</param>
/// <param name="Lease">The leases.</param>
/// <param name="Bound">True: from then on it may run under them alone.</param>
public sealed record BindLease(string Host, string Server, SiteLease Lease, bool Bound)
    : LeaseCommand($"{(Bound ? "bind" : "free")}-lease {Server} {Host} {Lease.Epoch}", Lease)
{
    /// <inheritdoc/>
    public override string Party => Host;
}

/// <summary>Has the witness grant none of these leases any more. Done when the last one that it granted has surely run out.</summary>
/// <param name="Lease">The leases.</param>
public sealed record RevokeLease(SiteLease Lease) : LeaseCommand($"revoke-lease {Lease.Site} {Lease.Epoch}", Lease);

/// <summary>Nobody is asked anything until the time has come.</summary>
/// <param name="Until">What comes then: <c>near</c>, the time to prepare, or <c>open</c>.</param>
public sealed record WaitForWindow(string Until) : MoveCommand($"window {Until}");

/// <summary>What is watched on a path.</summary>
public enum PathWatch
{
    /// <summary>Full-size probes come back from both ends.</summary>
    TunnelUp,
    /// <summary>A service without state: its instances at the target answer there.</summary>
    Answering,
    /// <summary>The target PE holds what comes: its part is armed, in the life in which it was prepared.</summary>
    Holding,
    /// <summary>The hold is empty, or its bound is over.</summary>
    HoldEmpty,
    /// <summary>Every ingress takes the direct path.</summary>
    DirectPath,
    /// <summary>Nothing comes to the tunnel any more.</summary>
    Drained,
    /// <summary>The source's last packet has come out of the tunnel.</summary>
    LastPacket,
    /// <summary>After an abort: the target has given back what it held.</summary>
    GivenBack,
    /// <summary>Nothing of the path is left at either PE.</summary>
    Clean,
}

/// <summary>What is watched on a server.</summary>
public enum ServerWatch
{
    /// <summary>Its state is copied as far as it goes without stopping it.</summary>
    Mirrored,
    /// <summary>It runs at the one place and is gone at the other, under the epoch.</summary>
    RunsAtTarget,
    /// <summary>It runs at the source under the epoch, and the target has nothing of it.</summary>
    RunsAtSource,
}
