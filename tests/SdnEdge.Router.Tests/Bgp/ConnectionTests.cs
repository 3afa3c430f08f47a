using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using SdnEdge.Core.Bgp;
using SdnEdge.Router.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>One connection: what waits for our writer is not held against the peer, what waits for the peer is.</summary>
public sealed class ConnectionTests
{
    [Fact]
    public async Task It_is_full_only_while_the_peer_does_not_read()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var ours = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        ours.Connect(listener.LocalEndPoint!);
        using Socket theirs = listener.Accept();
        using var woken = new Arrivals();
        using var connection = new BgpConnection(null!, ConnectionSide.Outgoing, Channel.CreateUnbounded<BgpInput>().Writer, woken.Tell);
        connection.Adopt(ours);
        byte[] megabytes = new byte[32 << 20];   // more than the kernel's buffers hold
        connection.Append(megabytes);
        connection.Kick();
        Assert.Equal(megabytes.Length, connection.Unsent);
        Assert.False(connection.Full, "nothing was tried yet: the writer does not run");

        connection.Run();
        Assert.True(await woken.UntilAsync(() => connection.Full, Patience.Time), "the peer does not read");
        Assert.True(connection.Unsent > 0);

        byte[] buffer = new byte[1 << 20];
        for (int left = megabytes.Length; left > 0;) left -= await theirs.ReceiveAsync(buffer).WaitAsync(Patience.Time);
        Assert.True(await woken.UntilAsync(() => connection is { Full: false, Unsent: 0 }, Patience.Time), "all was read");
    }
}
