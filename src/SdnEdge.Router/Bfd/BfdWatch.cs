using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Router.Bfd;

/// <summary>A session with the socket it sends by. The session's numbers may be read from any thread; only the BFD thread changes them.</summary>
public sealed class BfdWatch
{
    internal BfdWatch(BfdSession session, UdpSender sender)
    {
        Session = session;
        Sender = sender;
    }

    /// <summary>The session.</summary>
    public BfdSession Session { get; }

    /// <summary>Datagrams that could not be sent, e.g. for want of a route.</summary>
    public long SendErrors => Sender.Errors;

    internal UdpSender Sender { get; }

    // What the BFD thread has told the control loop to look at.
    internal BfdState StateBefore { get; set; } = BfdState.Down;

    // What the control loop has told about: counts, so that a flap between two looks is not missed.
    internal long UpsSeen { get; set; }

    internal long DownsSeen { get; set; }

    internal BfdState StateSeen { get; set; } = BfdState.Down;
}

/// <summary>What the control loop learns about a session.</summary>
/// <param name="Watch">The session.</param>
/// <param name="State">Where it is now.</param>
/// <param name="Diagnostic">Why.</param>
/// <param name="CameUp">It was Up since the last look.</param>
/// <param name="WentDown">It left Up since the last look.</param>
/// <param name="ByAdministrator">It is down because an operator, here or there, wants it so: the path may be sound (RFC 5882 3.2).</param>
public readonly record struct BfdChange(BfdWatch Watch, BfdState State, BfdDiagnostic Diagnostic, bool CameUp, bool WentDown, bool ByAdministrator);
