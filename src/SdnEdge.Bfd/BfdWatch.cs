using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>
/// A session with the socket it sends by. The session's numbers may be read from any thread; only the BFD thread changes them.
/// </summary>
public sealed class BfdWatch
{
    // What the BFD thread tells: written whole and read whole, without either side waiting for the other.
    private int _version, _taken;
    private BfdStatus _told;

    internal BfdWatch(BfdSession session, UdpSender sender, uint order)
    {
        (Session, Sender, Order) = (session, sender, order);
        Tell();
    }

    /// <summary>The session.</summary>
    public BfdSession Session { get; }

    /// <summary>Datagrams that could not be sent, e.g. for want of a route.</summary>
    public long SendErrors => Sender.Errors;

    internal UdpSender Sender { get; }

    /// <summary>Number of the order that made it what it is; the BFD thread's.</summary>
    internal uint Order { get; set; }

    /// <summary>Whether there is something to <see cref="Tell"/>; on the BFD thread.</summary>
    internal bool HasNews => Session.State != _told.State || Session.Downs != _told.Downs
        || Session.TransmitInterval != _told.TransmitInterval || Session.DetectionTime != _told.DetectionTime;

    /// <summary>On the BFD thread, after a change.</summary>
    internal void Tell()
    {
        BfdSession s = Session;
        _version++;
        Thread.MemoryBarrier();
        _told = new BfdStatus(
            s.Key, Order, s.State, s.RemoteState, s.Diagnostic, s.RemoteDiagnostic, s.Parameters.DetectMultiplier, s.ControlPlaneIndependent
                && s.RemoteControlPlaneIndependent,
            s.LocalDiscriminator, s.RemoteDiscriminator, s.TransmitInterval, s.DetectionTime, s.ChangedAt, s.Received, s.Sent, SendErrors,
            s.Ups, s.Downs, s.AdministrativeDowns, s.CreditGiven);
        Thread.MemoryBarrier();
        _version++;
    }

    /// <summary>What was told since the last call. On one other thread.</summary>
    internal bool TryTake(out BfdStatus status)
    {
        while (true)
        {
            int version = Volatile.Read(ref _version);
            status = _told;
            Thread.MemoryBarrier();
            if ((version & 1) != 0 || version != Volatile.Read(ref _version)) continue;
            bool isNew = version != _taken;
            _taken = version;
            return isNew;
        }
    }
}
