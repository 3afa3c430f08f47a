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

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task One_that_is_closed_is_closed_for_the_peer_whether_it_was_run_or_not(bool run)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var inputs = Channel.CreateUnbounded<BgpInput>();
        var connection = new BgpConnection(null!, ConnectionSide.Outgoing, inputs.Writer, static () => { });
        await connection.ConnectAsync(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp), () => null,
            () => listener.LocalEndpoint);
        Assert.Equal(BgpInputKind.Connected, (await inputs.Reader.ReadAsync()).Kind);
        using Socket peer = await listener.AcceptSocketAsync();
        if (run) connection.Run();
        connection.Close();
        Assert.Equal(0, await peer.ReceiveAsync(new byte[1]).WaitAsync(Patience.Time));
        GC.KeepAlive(connection); // by Close, not by a finalizer
    }
}
