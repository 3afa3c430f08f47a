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

    /// <summary>Makes the TCP sockets; null: ordinary ones. Lets a test put them into a network namespace.</summary>
    public Func<AddressFamily, Socket>? SocketFactory { get; init; }
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
public sealed class BgpSpeaker : IBgpWire, IDisposable
{
    private const int InputsAtOnce = 64;

    // Some 15 000 prefixes: what a round changes waits in lists until its end, and other work waits for the round.
    private const int BytesAtOnce = 64 * 1024;

    private readonly BgpTransportOptions _options;
    private readonly Action _wake;
    private readonly Channel<BgpInput> _inputs = Channel.CreateUnbounded<BgpInput>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<(BgpPeer, ConnectionSide), BgpConnection> _connections = [];
    private readonly List<(IpAddress Address, Socket Socket)> _listeners = [];
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
    public event Action<IpAddress, string>? TransportFault;

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

    /// <summary>Opens the listeners. Add peers afterwards.</summary>
    /// <exception cref="SocketException">An address cannot be listened on, e.g. because another speaker has the port. Dispose of the
    /// speaker then.</exception>
    public void Start()
    {
        foreach (IpAddress address in _options.LocalAddresses)
        {
            Socket listener = MakeSocket(address.Family);
            _listeners.Add((address, listener));

            // The answer to a SYN goes out before we know the peer's settings; one that uses GTSM takes nothing below 255.
            BgpSocketOptions.SetTtl(listener, address.Family, 255);
            listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            listener.Bind(new IPEndPoint(address.ToIPAddress(), _options.Port));
            listener.Listen(64);
            _ = Task.Run(() => AcceptAsync(listener));
        }
    }

    /// <summary>Adds a peer; connecting begins at once.</summary>
    /// <exception cref="ArgumentException">The peer exists.</exception>
    public BgpPeer AddPeer(BgpPeerSettings settings, long now)
    {
        if (settings.Password is not null && Engine.Find(settings.Address) is null) SetListenerKey(settings.Address, settings.Password);
        BgpPeer peer = Engine.AddPeer(settings, now);
        SetListenerTtl(settings.Address);
        return peer;
    }

    /// <summary>Ends a peer's session and forgets it. False when there is none.</summary>
    public bool RemovePeer(IpAddress address, long now)
    {
        BgpPassword? password = Engine.Find(address)?.Settings.Password;
        bool removed = Engine.RemovePeer(address, now);
        Kick();
        if (password is not null) SetListenerKey(address, null);
        SetListenerTtl(address);
        return removed;
    }

    /// <summary>Says that the path to a peer is down; see <see cref="BgpEngine.PathDown"/>.</summary>
    public bool PathDown(IpAddress peer, string reason, long now, bool mayBeRestart)
    {
        bool known = Engine.PathDown(peer, reason, now, mayBeRestart);
        Kick();
        return known;
    }

    /// <summary>Advertises a prefix of our own with a LOCAL_PREF; repeating it changes the LOCAL_PREF. Goes out with the next
    /// <see cref="Flush"/>.</summary>
    public void Advertise(IpPrefix prefix, uint localPref, uint? moveTag = null, long move = 0)
        => Engine.Advertise(prefix, localPref, moveTag, move);

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
        foreach ((_, Socket listener) in _listeners) listener.Dispose();
        Engine.Stop(0);
        foreach (BgpConnection connection in _connections.Values) connection.Close();
        _connections.Clear();
        _inputs.Writer.TryComplete();
        while (_inputs.Reader.TryRead(out BgpInput input)) input.Socket?.Dispose();
        _stop.Dispose();
    }

    void IBgpWire.Connect(BgpPeer peer)
    {
        IpAddress to = peer.Settings.Address;
        IpAddress from = _options.LocalAddresses.FirstOrDefault(a => a.Family == to.Family);
        var connection = new BgpConnection(peer, ConnectionSide.Outgoing, _inputs.Writer, _wake);
        _connections[(peer, ConnectionSide.Outgoing)] = connection;
        EndPoint? source = from.IsNone ? null : new IPEndPoint(from.ToIPAddress(), 0);
        _ = connection.ConnectAsync(() => MakeSocket(peer), source, new IPEndPoint(to.ToIPAddress(), peer.Settings.Port));
    }

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
            TakeAccepted(input.Socket!, now);
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

    private void TakeAccepted(Socket socket, long now)
    {
        IpAddress from = socket.RemoteEndPoint is IPEndPoint end ? IpAddress.From(end.Address) : default;
        BgpPeer? peer = Engine.Find(from);
        if (peer is null || !Engine.Accepts(from))
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

    private async Task AcceptAsync(Socket listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                Socket socket = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
                if (!_inputs.Writer.TryWrite(new BgpInput(BgpInputKind.Accepted, Socket: socket))) socket.Dispose();
                _wake();
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // A connection that was gone before it was accepted, or no descriptors left: the listener lives on.
                await Task.Delay(10, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private Socket MakeSocket(IpFamily family)
    {
        AddressFamily system = family == IpFamily.V4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6;
        Socket socket = _options.SocketFactory?.Invoke(system) ?? new Socket(system, SocketType.Stream, ProtocolType.Tcp);

        // The loopback may get its address after we start.
        BgpSocketOptions.SetFreebind(socket, family);
        return socket;
    }

    private Socket MakeSocket(BgpPeer peer)
    {
        Socket socket = MakeSocket(peer.Settings.Address.Family);
        if (peer.Settings.Password is { } password) Try(peer.Settings.Address, "TCP-MD5", ()
            => BgpSocketOptions.SetMd5Key(socket, peer.Settings.Address, password.Key));
        Prepare(socket, peer);
        return socket;
    }

    /// <summary>TTL and GTSM (RFC 5082), for a connection of either direction.</summary>
    private void Prepare(Socket socket, BgpPeer peer)
    {
        IpAddress to = peer.Settings.Address;
        Try(to, "the TTL of a session", () =>
        {
            if (peer.Settings.TtlSecurityHops is { } hops)
            {
                BgpSocketOptions.SetTtl(socket, to.Family, 255);
                BgpSocketOptions.SetMinimumTtl(socket, to.Family, 256 - hops);
            }
            else
            {
                BgpSocketOptions.SetTtl(socket, to.Family, peer.Settings.Ttl ?? (peer.External ? 1 : -1));
            }
        });
    }

    // What comes between the answer to a SYN and our own settings of the connection is judged by the listener's: the least that
    // any peer is allowed. Where all use GTSM, nothing from further away is taken even then.
    private void SetListenerTtl(IpAddress changed)
    {
        int least = Engine.Peers.Where(p => p.Settings.Address.Family == changed.Family)
            .Select(p => p.Settings.TtlSecurityHops is { } hops ? 256 - hops : 0).DefaultIfEmpty(0).Min();
        foreach ((IpAddress address, Socket listener) in _listeners)
        {
            if (address.Family == changed.Family) Try(changed, "the least TTL of the listener", ()
                => BgpSocketOptions.SetMinimumTtl(listener, address.Family, least));
        }
    }

    private void SetListenerKey(IpAddress peer, BgpPassword? password)
    {
        foreach ((IpAddress address, Socket listener) in _listeners)
        {
            if (address.Family == peer.Family) Try(peer, "TCP-MD5", ()
                => BgpSocketOptions.SetMd5Key(listener, peer, password is null ? default : password.Key));
        }
    }

    private void Try(IpAddress peer, string what, Action set)
    {
        try
        {
            set();
        }
        catch (SocketException e)
        {
            TransportFault?.Invoke(peer, $"the kernel refuses {what}: {e.Message}");
        }
        catch (ObjectDisposedException)
        {
            // The connection is gone already; its reader says so.
        }
    }
}
