using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Router.Bgp;

/// <summary>Where a speaker listens and connects from.</summary>
/// <param name="LocalAddresses">Our addresses, usually the loopbacks: each is listened on, and the one of the peer's family is connected
/// from.</param>
/// <param name="Port">TCP port to listen on.</param>
public sealed record BgpTransportOptions(IReadOnlyList<IpAddress> LocalAddresses, int Port = BgpLimits.Port)
{
    /// <summary>A peer that takes no byte for so long, while some wait, is reset (RFC 9687).</summary>
    public TimeSpan SendHold { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Makes the TCP sockets, those of a VRF in its namespace; null: ordinary ones.</summary>
    public Func<AddressFamily, Socket>? SocketFactory { get; init; }

    /// <summary>Finds the index of a device where the sockets are.</summary>
    public Func<string, int> DeviceIndex { get; init; } = NetDevice.Index;
}

/// <summary>
/// The BGP speaker of a PE: a <see cref="BgpEngine"/> and its TCP connections. All public methods are for the control loop's
/// thread only. What the network brings waits in a channel until <see cref="Poll"/>; <c>wake</c> says, from any thread, that
/// there is something. The loop's turn:
/// <code>
/// speaker.Poll(now);                // input, timers
/// rib.TakeChanges(changes);         // what that did to the best routes
/// speaker.RibChanged(changes);      // learnt routes go on to other peers
/// publish(changes);                 // FIB
/// speaker.Flush();                  // UPDATEs out
/// </code>
/// </summary>
public sealed partial class BgpSpeaker : IBgpWire, IDisposable
{
    private const int InputsAtOnce = 64;

    // Some 15 000 prefixes: what a round changes waits in lists until its end, and other work waits for the round.
    private const int BytesAtOnce = 64 * 1024;

    private readonly BgpTransportOptions _options;
    private readonly Action _wake;
    private readonly Channel<BgpInput> _inputs = Channel.CreateUnbounded<BgpInput>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<(BgpPeer, ConnectionSide), BgpConnection> _connections = [];
    private readonly List<BgpListener> _listeners = [];
    private readonly HashSet<BgpEnd> _kept = []; // listened at for peers to come
    private readonly HashSet<BgpPeerKey> _unkeyed = []; // the kernel does not take their key: no session without
    private readonly List<BgpConnection> _scratch = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly long _sendHoldNs;
    private bool _disposed;

    /// <summary>Makes a speaker; nothing is opened before <see cref="Start"/>.</summary>
    /// <param name="settings">AS, identifier, next hops.</param>
    /// <param name="rib">Where learnt routes go.</param>
    /// <param name="options">Addresses and port.</param>
    /// <param name="wake">Called from any thread when <see cref="Poll"/> has something to do. Must not block.</param>
    public BgpSpeaker(BgpSpeakerSettings settings, LocRib rib, BgpTransportOptions options, Action wake)
    {
        _options = options;
        _wake = wake;
        _sendHoldNs = (long)options.SendHold.TotalMilliseconds * 1_000_000;
        Engine = new BgpEngine(settings, rib, this);
    }

    /// <summary>The protocol without sockets: peers, their state and counters.</summary>
    public BgpEngine Engine { get; }

    /// <summary>Connections refused because their source is no peer, or its session needs none.</summary>
    public long Refused { get; private set; }

    /// <summary>A socket option a peer needs was refused by the kernel: its session will not come up. The text says which.</summary>
    public event Action<BgpPeerKey, string>? TransportFault;

    /// <summary>
    /// Asked about who connects at an end with a zone and is no peer: whether it has become one by now
    /// (<see cref="AddPeer"/>). Null: nobody does.
    /// </summary>
    public Func<BgpPeerKey, bool>? Stranger { get; set; }

    /// <summary>When <see cref="Poll"/> is due next, even if nothing wakes the loop; CLOCK_MONOTONIC nanoseconds.</summary>
    public long NextDeadline
    {
        get
        {
            long next = Engine.NextDeadline;
            foreach (BgpConnection connection in _connections.Values)
            {
                if (connection.Full) next = Math.Min(next, connection.BlockedSince is { } since ? since.AtNs + _sendHoldNs : 0);
            }

            return next;
        }
    }

    /// <summary>Opens the listeners of <see cref="BgpTransportOptions.LocalAddresses"/>. Add peers afterwards.</summary>
    /// <exception cref="SocketException">An address cannot be listened on, e.g. because another speaker has the port. Dispose of the
    /// speaker then.</exception>
    public void Start()
    {
        foreach (IpAddress address in _options.LocalAddresses) Listen(new BgpEnd(address));
    }

    /// <summary>Adds a peer; connecting begins at once.</summary>
    /// <exception cref="ArgumentException">The peer exists.</exception>
    public BgpPeer AddPeer(BgpPeerSettings settings, long now)
    {
        if (Engine.Find(settings.Key) is null)
        {
            if (!settings.Local.IsNone) Try(settings.Key, "to listen at " + EndOf(settings), () => Listen(EndOf(settings)));
            foreach (BgpListener listener in _listeners)
            {
                if (listener.Serves(settings)) SetKey(listener.Socket, settings, remove: false);
            }
        }

        BgpPeer peer = Engine.AddPeer(settings, now);
        SetListenerTtl(settings);
        return peer;
    }

    /// <summary>Ends a peer's session and forgets it. False when there is none.</summary>
    public bool RemovePeer(BgpPeerKey key, long now)
    {
        BgpPeerSettings? settings = Engine.Find(key)?.Settings;
        bool removed = Engine.RemovePeer(key, now);
        Kick();
        if (settings is null) return removed;
        foreach (BgpListener listener in _listeners)
        {
            if (listener.Serves(settings)) SetKey(listener.Socket, settings, remove: true);
        }

        CloseUnused();
        SetListenerTtl(settings);
        return removed;
    }

    /// <summary>Says that the path to a peer is down; see <see cref="BgpEngine.PathDown"/>.</summary>
    public bool PathDown(BgpPeerKey peer, string reason, long now, bool mayBeRestart)
    {
        bool known = Engine.PathDown(peer, reason, now, mayBeRestart);
        Kick();
        return known;
    }

    /// <summary>Advertises a prefix of our own with a LOCAL_PREF; repeating it changes the LOCAL_PREF. Goes out with the next
    /// <see cref="Flush"/>.</summary>
    public void Advertise(IpPrefix prefix, uint localPref, uint? moveTag = null, long move = 0, bool leaving = false)
        => Engine.Advertise(prefix, localPref, moveTag, move, leaving);

    /// <summary>Stops advertising a prefix. False when it was not advertised. Goes out with the next <see cref="Flush"/>.</summary>
    public bool Withdraw(IpPrefix prefix) => Engine.Withdraw(prefix);

    /// <summary>Hands on what changed in the RIB; see the class for the order.</summary>
    public void RibChanged(ReadOnlySpan<RibChange> changes) => Engine.RibChanged(changes);

    /// <summary>Takes in what the network brought, up to a bound, and lets timers run.</summary>
    public void Poll(long now)
    {
        int bytes = 0;
        for (int i = 1; _inputs.Reader.TryRead(out BgpInput input); i++)
        {
            Take(input, now);
            bytes += input.Count;
            if (i < InputsAtOnce && bytes < BytesAtOnce) continue;
            _wake();
            break;
        }

        Engine.Tick(now);
        CheckProgress(now);
        Kick();
    }

    /// <summary>Sends what is to be told to peers, as far as they read; a wake follows when they have read more.</summary>
    public void Flush()
    {
        Engine.Flush();
        Kick();
    }

    /// <summary>Ends all sessions with a cease, and closes everything.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _stop.Cancel();
        foreach (BgpListener listener in _listeners) listener.Dispose();
        Engine.Stop(0);
        foreach (BgpConnection connection in _connections.Values) connection.Close();
        _connections.Clear();
        _inputs.Writer.TryComplete();
        while (_inputs.Reader.TryRead(out BgpInput input)) input.Socket?.Dispose();
        _stop.Dispose();
    }

    void IBgpWire.Connect(BgpPeer peer)
    {
        BgpEnd end = EndOf(peer.Settings);
        var connection = new BgpConnection(peer, ConnectionSide.Outgoing, _inputs.Writer, _wake);
        _connections[(peer, ConnectionSide.Outgoing)] = connection;
        _ = connection.ConnectAsync(() => MakeSocket(peer), () => end.Address.IsNone ? null : end.At(0, _options.DeviceIndex),
            () => end.At(peer.Settings.Address, peer.Settings.Port, _options.DeviceIndex));
    }

    private BgpEnd EndOf(BgpPeerSettings peer)
        => BgpEnd.Of(peer, _options.LocalAddresses.FirstOrDefault(a => a.Family == peer.Address.Family));

    /// <summary>The shortest round trip of an established session, milliseconds; null: not known.</summary>
    public double? RoundTripMs(BgpPeer peer)
    {
        ArgumentNullException.ThrowIfNull(peer);
        return peer.OpenedBy is { } side && _connections.TryGetValue((peer, side), out BgpConnection? open) ? open.RoundTripMs : null;
    }

    void IBgpWire.Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes)
    {
        if (_connections.TryGetValue((peer, side), out BgpConnection? connection)) connection.Append(bytes);
    }

    void IBgpWire.Close(BgpPeer peer, ConnectionSide side)
    {
        if (_connections.Remove((peer, side), out BgpConnection? connection)) connection.Close();
    }

    long IBgpWire.Unsent(BgpPeer peer, ConnectionSide side) =>
        _connections.TryGetValue((peer, side), out BgpConnection? connection) ? connection.Unsent : 0;

    private void Take(in BgpInput input, long now)
    {
        if (input.Kind == BgpInputKind.Accepted)
        {
            TakeAccepted(input.Socket!, input.Listener!, now);
            return;
        }

        // What an earlier connection of this peer still had to say is of no interest.
        BgpConnection connection = input.Connection!;
        bool current = _connections.TryGetValue((connection.Peer, connection.Side), out BgpConnection? known)
            && ReferenceEquals(known, connection);
        switch (input.Kind)
        {
            case BgpInputKind.Bytes:
                if (current) Engine.Received(connection.Peer, connection.Side, input.Buffer.AsSpan(0, input.Count), now);
                connection.Release(input.Buffer!);
                break;
            case BgpInputKind.Connected when current:
                connection.Run();
                Engine.Connected(connection.Peer, connection.Side, now);
                break;
            case BgpInputKind.ConnectFailed or BgpInputKind.Closed when current:
                _connections.Remove((connection.Peer, connection.Side));
                connection.Close();
                Engine.Disconnected(connection.Peer, connection.Side, now);
                break;
            default:
                break;
        }
    }

    private void TakeAccepted(Socket socket, BgpListener listener, long now)
    {
        IpAddress address = socket.RemoteEndPoint is IPEndPoint end ? IpAddress.From(end.Address) : default;
        var from = new BgpPeerKey(address, listener.End.Zone);
        BgpPeer? peer = Engine.Find(from);
        if (peer is null && from.Zone is not null && Stranger?.Invoke(from) == true) peer = Engine.Find(from);
        if (peer is null || _unkeyed.Contains(from) || !listener.Serves(peer.Settings) || !Engine.Accepts(from))
        {
            Refused++;
            socket.Dispose();
            return;
        }

        if (_connections.Remove((peer, ConnectionSide.Incoming), out BgpConnection? older)) older.Close();
        var connection = new BgpConnection(peer, ConnectionSide.Incoming, _inputs.Writer, _wake);
        connection.Adopt(socket);
        Prepare(socket, peer);
        _connections[(peer, ConnectionSide.Incoming)] = connection;
        connection.Run();
        Engine.Connected(peer, ConnectionSide.Incoming, now);
    }

    private void Kick()
    {
        foreach (BgpConnection connection in _connections.Values) connection.Kick();
    }

    private void CheckProgress(long now)
    {
        _scratch.Clear();
        foreach (BgpConnection connection in _connections.Values)
        {
            // The time counts from the look that first found it full: an idle loop may not have looked for long.
            if (!connection.Full) connection.BlockedSince = null;
            else if (connection.BlockedSince is not { } since || connection.Taken != since.Taken) connection.BlockedSince =
                (connection.Taken, now);
            else if (now - since.AtNs >= _sendHoldNs) _scratch.Add(connection);
        }

        foreach (BgpConnection connection in _scratch) Engine.SendHoldTimerExpired(connection.Peer, connection.Side, now);
    }
}
