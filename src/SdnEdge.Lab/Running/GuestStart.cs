using System.Net;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>Starts the lab's virtual machines, by their hosts' agents, and asks them whether they answer.</summary>
internal static class GuestStart
{
    private const int EchoPort = 7, AnswerMilliseconds = 300;

    // A QEMU that the machine is slow to start.
    private static readonly TimeSpan s_start = TimeSpan.FromSeconds(30);

    /// <summary>Orders the agent of a host to start the guests that begin their life there. An agent that has started one says
    /// so.</summary>
    /// <exception cref="LabException">The agent refused, or could not.</exception>
    public static async Task OrderAsync(LabTopology lab, string host, string socket, CancellationToken cancel)
    {
        using var agent = new HostClient(new ApiEndpoint(host, socket)) { RequestTimeout = s_start };
        foreach (LabGuest guest in Managed.Guests(lab).Where(g => g.Sites.Any(s => s.Host == host && s.Starts)))
        {
            try
            {
                ServerInfo info = await agent.ServerAsync(guest.Name, cancel);
                await agent.OrderAsync(guest.Name, ServerOrder.Start, new ServerOrderRequest(info.MayRun ?? info.Epoch, "lab"), cancel);
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                throw new LabException($"guest {guest.Name} was not started: {e.Message.TrimEnd('.')}.");
            }
        }
    }

    /// <summary>Why a guest cannot answer any more: its host says that it does not run.</summary>
    public static async Task<string?> FaultAsync(LabGuest guest, string folder, CancellationToken cancel)
    {
        if (guest.Sites.FirstOrDefault(s => s.Starts) is not { } site) return "no host starts it";
        using var agent = new HostClient(new ApiEndpoint(site.Host, Path.Combine(folder, site.Host + ".sock")));
        try
        {
            ServerInfo info = await agent.ServerAsync(guest.Name, cancel);
            return info.State is ServerState.Running or ServerState.Unknown ? null
                : $"{site.Host} says that it is {info.State.ToString().ToLowerInvariant()}{(info.Fault is { } fault ? $": {fault}" : "")}";
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            return null;   // a busy agent says nothing of the guest
        }
    }

    /// <summary>Whether UDP port 7 of an address answers, asked once from a namespace.</summary>
    public static Task<bool> AnswersAsync(string ns, IpAddress address) => Task.Factory.StartNew(() => Namespaces.Run(ns, () =>
    {
        using var socket = new Socket(address.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Dgram,
            ProtocolType.Udp)
        {
            ReceiveTimeout = AnswerMilliseconds,
        };
        try
        {
            socket.Connect(new IPEndPoint(IPAddress.Parse(address.ToString()), EchoPort));
            socket.Send("sdnedge"u8);
            return socket.Receive(new byte[64]) > 0;
        }
        catch (SocketException)
        {
            return false;   // no answer, or no route so far
        }
    }), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
