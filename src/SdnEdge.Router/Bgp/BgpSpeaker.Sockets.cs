using System.Net.Sockets;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Router.Bgp;

/// <content>Listeners, and what the kernel must know of a session: TTL, GTSM, keys.</content>
public sealed partial class BgpSpeaker
{
    /// <summary>Listens at one more end; nothing happens where it does already.</summary>
    /// <returns>False when it did already.</returns>
    /// <exception cref="SocketException">It cannot be listened on.</exception>
    /// <exception cref="LinuxException">Its device is not there.</exception>
    public bool Listen(BgpEnd end)
    {
        if (_listeners.Exists(l => l.End == end)) return false;
        Socket socket = MakeSocket(end.Address.Family, end.Device);
        var listener = new BgpListener(end, socket);
        try
        {
            // The answer to a SYN goes out before we know the peer's settings; one that uses GTSM takes nothing below 255.
            BgpSocketOptions.SetTtl(socket, end.Address.Family, 255);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(end.At(_options.Port, _options.DeviceIndex));
            foreach (BgpPeer peer in Engine.Peers)
            {
                if (listener.Serves(peer.Settings)) SetKey(socket, peer.Settings, remove: false);
            }

            _listeners.Add(listener);
            SetListenerTtl(listener);
            socket.Listen(64);
        }
        catch
        {
            _listeners.Remove(listener);
            socket.Dispose();
            throw;
        }

        _ = Task.Run(() => AcceptAsync(listener));
        return true;
    }

    /// <summary>Listens at an end for a peer whose address is not known yet, until <see cref="Release"/>. What the kernel refuses is told
    /// by <see cref="TransportFault"/>.</summary>
    public void Keep(BgpEnd end)
    {
        if (_kept.Add(end)) Try(new BgpPeerKey(default, end.Zone), "to listen at " + end, () => Listen(end));
    }

    /// <summary>Ends <see cref="Keep"/>; <see cref="CloseUnused"/> closes the listener.</summary>
    public void Release(BgpEnd end)
    {
        _kept.Remove(end);
        CloseUnused();
    }

    /// <summary>Ends listening where no peer's session has its end any more. The transport's own addresses stay.</summary>
    public void CloseUnused()
    {
        foreach (BgpListener listener in _listeners.ToArray())
        {
            if (_options.LocalAddresses.Contains(listener.End.Address) || _kept.Contains(listener.End)
                || Engine.Peers.Any(p => EndOf(p.Settings) == listener.End)) continue;
            _listeners.Remove(listener);
            listener.Dispose();
        }
    }

    private async Task AcceptAsync(BgpListener listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                Socket socket = await listener.Socket.AcceptAsync(_stop.Token).ConfigureAwait(false);
                if (!_inputs.Writer.TryWrite(new BgpInput(BgpInputKind.Accepted, Socket: socket) { Listener = listener })) socket.Dispose();
                _wake();
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.OperationAborted)
            {
                return; // it was closed
            }
            catch (SocketException)
            {
                // A connection that was gone before it was accepted, or no descriptors left: the listener lives on.
                await Task.Delay(10, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private Socket MakeSocket(IpFamily family, string? device)
    {
        AddressFamily system = family == IpFamily.V4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6;
        Socket socket = _options.SocketFactory?.Invoke(system) ?? new Socket(system, SocketType.Stream, ProtocolType.Tcp);

        // The address may come to the kernel after we start.
        BgpSocketOptions.SetFreebind(socket, family);
        if (device is not null) BgpSocketOptions.BindToDevice(socket, device);
        return socket;
    }

    private Socket MakeSocket(BgpPeer peer)
    {
        Socket socket = MakeSocket(peer.Settings.Address.Family, peer.Settings.Device);
        if (!SetKey(socket, peer.Settings, remove: false))
        {
            socket.Dispose();
            throw new SocketException((int)SocketError.ProtocolOption);
        }

        Prepare(socket, peer);
        return socket;
    }

    /// <summary>TTL and GTSM (RFC 5082), for a connection of either direction.</summary>
    private void Prepare(Socket socket, BgpPeer peer)
    {
        IpAddress to = peer.Settings.Address;
        Try(peer.Settings.Key, "the TTL of a session", () =>
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

    private void SetListenerTtl(BgpPeerSettings changed)
    {
        foreach (BgpListener listener in _listeners)
        {
            if (listener.Serves(changed)) Try(changed.Key, "the least TTL of the listener", () => SetListenerTtl(listener));
        }
    }

    // What comes between the answer to a SYN and our own settings of the connection is judged by the listener's: the least that
    // any peer is allowed. Where all use GTSM, nothing from further away is taken even then.
    private void SetListenerTtl(BgpListener listener)
    {
        int least = Engine.Peers.Where(p => listener.Serves(p.Settings))
            .Select(p => p.Settings.TtlSecurityHops is { } hops ? 256 - hops : 0).DefaultIfEmpty(0).Min();
        BgpSocketOptions.SetMinimumTtl(listener.Socket, listener.End.Address.Family, least);
    }

    private bool SetKey(Socket socket, BgpPeerSettings peer, bool remove)
    {
        bool taken = true;
        if (peer.Password is { } password)
            taken &= Try(peer.Key, "TCP-MD5", () => BgpSocketOptions.SetMd5Key(socket, peer.Address, remove ? default : password.Key));
        if (peer.Ao is { } ao)
        {
            string algorithm = ao.Algorithm == BgpAoAlgorithm.AesCmac ? "cmac(aes128)" : "hmac(sha1)";
            taken &= Try(peer.Key, "TCP-AO", () => BgpSocketOptions.SetAoKey(
                socket, peer.Address, ao.SendId, ao.ReceiveId, algorithm, remove ? default : ao.Secret.Key));
        }

        if (taken || remove) _unkeyed.Remove(peer.Key);
        else _unkeyed.Add(peer.Key);
        return taken;
    }

    private bool Try(BgpPeerKey peer, string what, Action set)
    {
        try
        {
            set();
            return true;
        }
        catch (Exception e) when (e is SocketException or LinuxException)
        {
            TransportFault?.Invoke(peer, $"the kernel refuses {what}: {e.Message}");
        }
        catch (ObjectDisposedException)
        {
            // The connection is gone already; its reader says so.
        }

        return false;
    }
}
