using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Asks the server's UDP echo from a client until it answers, over each address family: every neighbour on the way, there
/// and back, is resolved and every WAN port has learnt its MAC addresses before anything is measured.
/// </summary>
internal static class PathCheck
{
    private const int EchoPort = 7;
    private const int TryMilliseconds = 300;
    private const int PauseMilliseconds = 20;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Null when the server answered; else what failed, in words.</summary>
    public static string? WhyNot(RunningLab lab, LabIngress ingress, IpAddress server)
        => Namespaces.Run(lab.NamespaceOf(ingress.Name), () =>
    {
        using var socket = new Socket(server.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6,
            SocketType.Dgram, ProtocolType.Udp)
        {
            ReceiveTimeout = TryMilliseconds,
        };
        byte[] buffer = new byte[64];
        socket.Connect(new IPEndPoint(IPAddress.Parse(server.ToString()), EchoPort));
        for (long end = Monotonic.Now + (long)Limit.TotalNanoseconds; Monotonic.Now < end;)
        {
            try
            {
                socket.Send("sdnedge"u8);
                if (socket.Receive(buffer) > 0)
                {
                    return null;
                }
            }
            catch (SocketException)
            {
                // Timed out, or unreachable so far, which is said at once.
                Thread.Sleep(PauseMilliseconds);
            }
        }

        return $"{ingress.Name} gets no answer from {server} port {EchoPort}/udp within {Limit.TotalSeconds} s";
    });
}
