using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>Waits until a lab's nodes do what they are there for: conditions, no sleeps of a guessed length.</summary>
internal static class Readiness
{
    private const int TailLines = 12;

    public static async Task WaitAsync(
        LabPlan plan, IReadOnlyDictionary<string, NodeConfig> configs, string folder,
        IReadOnlyList<(PlannedNode Node, LabProcess Record, Process Process)> started, LabOptions options,
        CancellationToken cancel)
    {
        LabTopology lab = plan.Topology;
        string? fault = null;   // what a daemon that waits says of itself
        long end = Monotonic.Now + (long)(options.ReadyTimeout.TotalMilliseconds * 1e6);
        foreach (PlannedNode node in plan.Nodes)
        {
            string name = node.Node.Name;
            switch (node.Node.Kind)
            {
                case NodeKind.SdnEdgeWan:
                    await UntilAsync($"{name} to forward",
                        async () => await WanClient.TryReadAsync(Path.Combine(folder, name + ".sock"), cancel) is not null);
                    break;
                case NodeKind.SdnEdgePe:
                    await UntilAsync($"{name} to be ready",
                        async () => (await AskPeAsync(name, (pe, c) => pe.NodeAsync(c)))?.Ready == true);
                    break;
                case NodeKind.SdnEdgeHost:
                    await UntilAsync($"{name} to be ready", async () =>
                        await AskAsync(name, e => new HostClient(e), (host, c) => host.NodeAsync(c)) is { } host
                            && Told(host.Ready, host.Fault));
                    if (options.StartGuests) await GuestStart.OrderAsync(lab, name, Path.Combine(folder, name + ".sock"), cancel);
                    break;
                case NodeKind.SdnEdgeStore:
                    await UntilAsync($"{name} to be ready", async () =>
                        await AskAsync(name, e => new StoreClient(e), (store, c) => store.NodeAsync(c)) is { } store
                            && Told(store.Ready, store.Fault));
                    break;
                case NodeKind.SdnEdgeMms:
                    await UntilAsync($"{name} to be ready", async () =>
                        await AskAsync(name, e => new MmsClient(e), (mms, c) => mms.NodeAsync(c)) is { } mms
                            && Told(mms.Ready || mms is { Role: "standby", Leader: not null }, mms.Fault));
                    break;
                case NodeKind.Server:
                    await UntilAsync($"{name} to answer on port 7", () => Task.FromResult(Namespaces.Run(node.Namespace, EchoAnswers)));
                    break;
                case NodeKind.Frr:
                    if (await FrrNode.ConfigureAsync(node, folder, what => UntilAsync(what.What, what.Condition), cancel)
                        is { Length: > 0 } failed)
                        options.Progress?.Invoke($"warning: exec of node {name} failed: {failed}");
                    break;
                case NodeKind.Bird:
                    await UntilAsync($"{name} to listen", () => Task.FromResult(File.Exists(Path.Combine(folder, name + ".ctl"))));
                    break;
            }
        }

        await RoutesAsync();
        await ReplicasAsync();
        if (options.StartGuests) await GuestsAsync();

        Task<T?> AskPeAsync<T>(string node, Func<PeClient, CancellationToken, Task<T>> ask) where T : class
            => AskAsync(node, e => new PeClient(e), ask);

        // Null while the daemon does not answer, or not with success.
        async Task<T?> AskAsync<TClient, T>(string node, Func<ApiEndpoint, TClient> make, Func<TClient, CancellationToken, Task<T>> ask)
            where TClient : ApiClient where T : class
        {
            string socket = Path.Combine(folder, node + ".sock");
            if (!File.Exists(socket)) return null;
            using TClient client = make(new ApiEndpoint(node, socket));
            client.RequestTimeout = TimeSpan.FromSeconds(2);
            try
            {
                return await ask(client, cancel);
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                return null;
            }
        }

        // Sessions up, what each peer had to say is there (the way back to the clients, too), and each PE knows the way to each server.
        async Task RoutesAsync()
        {
            string[] pes = [.. lab.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe).Select(n => n.Name)];
            if (pes.Length == 0) return;
            options.Progress?.Invoke("waiting for BGP sessions and routes");
            IpPrefix[] servers =
                [.. lab.Nodes.Where(n => n.Server is not null).SelectMany(n => n.Server!.Addresses).Select(a => IpPrefix.Host(a.Address))];
            foreach (string pe in pes)
            {
                // What is configured as shut down is not meant to come up.
                HashSet<string> shut = [.. configs[pe].Bgp.Peers.Where(p => p.Shutdown is not null).Select(p => p.Address.ToString())];
                await UntilAsync($"{pe}'s BGP sessions and their first routes", async () =>
                    await AskPeAsync(pe, (client, c) => client.BgpPeersAsync(c)) is { } peers
                    && peers.All(p => shut.Contains(p.Address)
                        || (string.Equals(p.State, "established", StringComparison.OrdinalIgnoreCase) && p.Loaded != false)));
                foreach (IpPrefix server in servers)
                {
                    await UntilAsync($"{pe} to have a route to {server}", async () =>
                        await AskPeAsync(pe, (client, c) => client.RoutesAsync(prefix: server.ToString(), cancel: c)) is { } routes
                        && routes.Any(r => r.Best && IpPrefix.TryParse(r.Prefix, out IpPrefix prefix) && prefix == server));
                }
            }
        }

        // The stores reach one another over the network that was waited for: each volume's owner has its replica.
        async Task ReplicasAsync()
        {
            foreach (LabStore store in Managed.Stores(lab).Where(s => s.Volumes.Count > 0))
            {
                await UntilAsync($"{store.Node} to reach its volumes' replicas", async () =>
                    await AskAsync(store.Node, e => new StoreClient(e), (client, c) => client.VolumesAsync(c)) is { } volumes
                    && volumes.All(v => v.Replication?.Connected != false));
            }
        }

        // From every client, by every address: then all neighbours on the way are known, as a stand-in's are. A guest that boots without
        // KVM takes as long as all the rest, and more.
        async Task GuestsAsync()
        {
            end = Monotonic.Now + (long)(options.ReadyTimeout.TotalMilliseconds * 1e6);
            foreach (LabGuest guest in Managed.Guests(lab))
            {
                options.Progress?.Invoke($"waiting for guest {guest.Name}");
                foreach (LabIngress client in Sites.Ingresses(lab))
                {
                    foreach (IpAddress address in guest.Addresses)
                    {
                        await UntilAsync($"guest {guest.Name} to answer {client.Name} from {address} port 7", async () =>
                        {
                            if (await GuestStart.AnswersAsync(lab.NamespaceOf(client.Name), address)) return true;
                            return await GuestStart.FaultAsync(guest, folder, cancel) is { } why
                                ? throw new LabException($"guest {guest.Name} does not run: {why}.") : false;
                        });
                    }
                }
            }
        }

        bool Told(bool ready, string? why)
        {
            fault = ready ? null : why?.TrimEnd('.');
            return ready;
        }

        async Task UntilAsync(string what, Func<Task<bool>> condition)
        {
            for (int round = 0; !await condition(); round++)
            {
                foreach ((_, LabProcess record, Process process) in started)
                {
                    if (process.HasExited)
                        throw new LabException(
                            $"{record.Name} of node {record.Node} ended with exit code {process.ExitCode}, while waiting for {what}.");
                }

                if (Monotonic.Now > end)
                    throw new LabException(
                        $"waited {options.ReadyTimeout.TotalSeconds:0} s in vain for {what}{(fault is null ? "" : $": {fault}")}.");
                await Task.Delay(round < 20 ? 5 : 25, cancel);
            }
        }
    }

    /// <summary>The last lines of each node's log that has any.</summary>
    public static string LogTails(LabTopology lab, string folder)
    {
        var tails = new List<string>();
        foreach (LabNode node in lab.Nodes)
        {
            string log = Path.Combine(folder, node.Name + ".log");
            string[] lines = File.Exists(log) ? File.ReadAllLines(log) : [];
            if (lines.Length > 0) tails.Add($"{node.Name}.log:\n  {string.Join("\n  ", lines.TakeLast(TailLines))}");
        }

        return tails.Count == 0 ? "" : "\n" + string.Join('\n', tails);
    }

    private static bool EchoAnswers()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Connect(new IPEndPoint(IPAddress.Loopback, 7));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
