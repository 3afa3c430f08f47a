using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Router.Bgp;

/// <summary>An end of ours that sessions have: listened on, and connected from.</summary>
/// <param name="Address">Our address.</param>
/// <param name="Device">Kernel device that it is bound to; null: whichever the routes say.</param>
/// <param name="Zone">Of a link-local address: the name of its port.</param>
public readonly record struct BgpEnd(IpAddress Address, string? Device = null, string? Zone = null)
{
    /// <summary>The end of a peer's session; <paramref name="otherwise"/> where its settings name none.</summary>
    public static BgpEnd Of(BgpPeerSettings peer, IpAddress otherwise)
        => new(peer.Local.IsNone ? otherwise : peer.Local, peer.Device, peer.Key.Zone);

    /// <summary>The end as the kernel takes it.</summary>
    /// <param name="port">TCP port.</param>
    /// <param name="index">Finds the index of a device.</param>
    /// <exception cref="LinuxException">There is no such device.</exception>
    public IPEndPoint At(int port, Func<string, int> index) => At(Address, port, index);

    /// <summary>Another address on the same link.</summary>
    /// <param name="address">The address.</param>
    /// <param name="port">TCP port.</param>
    /// <param name="index">Finds the index of a device.</param>
    /// <exception cref="LinuxException">There is no such device.</exception>
    public IPEndPoint At(IpAddress address, int port, Func<string, int> index)
    {
        IPAddress ip = address.ToIPAddress();
        if (Device is not null && address is { IsV6: true, IsLinkLocal: true }) ip.ScopeId = index(Device);
        return new IPEndPoint(ip, port);
    }

    /// <summary>For people.</summary>
    public override string ToString() => Zone is null ? Address.ToString() : $"{Address}%{Zone}";
}

/// <summary>One end that is listened on, with what the kernel must know of its peers before it takes their connections.</summary>
internal sealed class BgpListener(BgpEnd end, Socket socket) : IDisposable
{
    public BgpEnd End { get; } = end;

    public Socket Socket { get; } = socket;

    /// <summary>Whether a peer may connect here.</summary>
    public bool Serves(BgpPeerSettings peer) => peer.Address.Family == End.Address.Family && peer.Key.Zone == End.Zone
        && peer.Device == End.Device && (!peer.LocalOnly || peer.Local == End.Address);

    public void Dispose() => Socket.Dispose();
}
