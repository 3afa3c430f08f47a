using System.Buffers;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>
/// The echo service (RFC 862) of the virtual server: UDP and TCP, IPv4 and IPv6. UDP answers up to 64 datagrams a system call
/// out of buffers that hold what comes while the server is paused.
/// </summary>
public static class EchoServer
{
    /// <summary>The echo port.</summary>
    public const ushort Port = 7;

    private const int SocketBytes = 128 << 20;
    private const int TcpBufferBytes = 64 << 10;

    /// <summary>Serves until <paramref name="stop"/>.</summary>
    /// <param name="stop">Ends it.</param>
    /// <exception cref="IOException">A port is taken, or this is not root.</exception>
    public static async Task RunAsync(CancellationToken stop)
    {
        IpAddress[] any = [IpAddress.FromV4(0), IpAddress.FromV6(0)];
        foreach (IpAddress address in any)
        {
            UdpBatchSocket socket = UdpBatchSocket.Open(new UdpEndpoint(address, Port),
                new UdpBatchOptions { ReceiveBufferBytes = SocketBytes, SendBufferBytes = SocketBytes, MaxPayloadBytes = ushort.MaxValue });
            new Thread(() => ServeUdp(socket, stop)) { IsBackground = true, Name = $"echo {address}" }.Start();
        }

        using var listener = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp) { DualMode = true };
        listener.Bind(new IPEndPoint(IPAddress.IPv6Any, Port));
        listener.Listen(1024);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                _ = ServeTcpAsync(await listener.AcceptAsync(stop), stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (SocketException)
            {
                // The client went away between its SYN and now.
            }
        }
    }

    private static void ServeUdp(UdpBatchSocket socket, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            if (!socket.Wait(-1)) continue;
            ReadOnlySpan<UdpDatagram> datagrams = socket.Receive();
            foreach (UdpDatagram datagram in datagrams) socket.Queue(datagram.Payload, datagram.Source);
            if (datagrams.Length > 0) socket.Flush();
        }
    }

    private static async Task ServeTcpAsync(Socket client, CancellationToken stop)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(TcpBufferBytes);
        try
        {
            using (client)
            {
                client.NoDelay = true;
                int count;
                while ((count = await client.ReceiveAsync(buffer, stop)) > 0)
                {
                    for (int sent = 0; sent < count;) sent += await client.SendAsync(buffer.AsMemory(sent, count - sent), stop);
                }

                client.Shutdown(SocketShutdown.Both);
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // The client broke off; nobody is left to tell.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
