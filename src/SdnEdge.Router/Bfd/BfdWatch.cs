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

    // What the BFD thread tells the control loop: written whole and read whole, without either waiting for the other.
    private int _version;
    private BfdNews _news = new(BfdState.Down, BfdDiagnostic.None, BfdState.Down, 0, 0);

    /// <summary>Whether there is something to <see cref="Tell"/>; for the BFD thread.</summary>
    internal bool HasNews => Session.State != _news.State || Session.Downs != _news.Downs;

    /// <summary>On the BFD thread, after a change of state.</summary>
    internal void Tell()
    {
        _version++;
        Thread.MemoryBarrier();
        _news = new BfdNews(Session.State, Session.Diagnostic, Session.RemoteState, Session.Ups, Session.Downs);
        Thread.MemoryBarrier();
        _version++;
    }

    /// <summary>On the control loop.</summary>
    internal BfdNews News()
    {
        while (true)
        {
            int before = Volatile.Read(ref _version);
            BfdNews news = _news;
            Thread.MemoryBarrier();
            if ((before & 1) == 0 && before == Volatile.Read(ref _version)) return news;
        }
    }

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

/// <summary>A session's state as the BFD thread tells it.</summary>
internal readonly record struct BfdNews(BfdState State, BfdDiagnostic Diagnostic, BfdState RemoteState, long Ups, long Downs);
