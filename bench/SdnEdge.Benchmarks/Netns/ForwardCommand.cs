using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Worker;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>
/// The data plane as the PE daemon runs it, without its control plane: two TAPs, a worker, a table of routes.
/// Prints "ready" and forwards until its input ends; then prints what it counted.
/// </summary>
internal static class ForwardCommand
{
    private const int NextHops = 16;

    public static int Run(string[] args)
    {
        if (args.Length < 4)
        {
            Console.Error.WriteLine("usage: bench netns-forward IN OUT ROUTES plain|gre|single");
            return 2;
        }

        int routes = int.Parse(args[2]);
        bool gre = args[3] == "gre";
        var options = new TapOptions { DisableKernelIpv6 = true, QueueLength = int.Parse(NetnsCommand.QueueLength), BatchedCalls =
            args[3] != "single" };
        using TapPort input = TapPort.Open("in", args[0], options);
        using TapPort output = TapPort.Open("out", args[1], options);
        var plane = new DataPlane(1);
        Vrf vrf = plane.AddVrf("default");
        PortEntry from = plane.AddPort(new PortOptions("in", RouteSet.RouterMac, 1500) { Addresses = [Address("192.0.2.1")] }, input, vrf);
        PortEntry to = plane.AddPort(new PortOptions("out", MacAddress.Parse("02:00:00:00:00:21"), 1600) { Addresses =
            [Address("203.0.113.1")] }, output, vrf);
        FillTable(plane, vrf, to, RouteSet.Make(routes), gre);

        using var forwarder = new Forwarder(0, plane, new Refusal());
        using var worker = new PortWorker(0, forwarder);
        worker.Attach(from.Index, input);
        worker.Start();
        Console.WriteLine("ready");
        while (Console.In.Read() >= 0)
        {
        }

        long drops = plane.DropsTotal;
        Console.WriteLine($"received {from.RxPackets} transmitted {to.TxPackets} dropped {drops} in {worker.Statistics.Batches} batches, "
            + $"{worker.Statistics.FullBatches} of them full; {worker.Statistics.Sleeps} sleeps; {worker.Statistics.Faults} faults");
        foreach (DropReason reason in Enum.GetValues<DropReason>())
        {
            if (plane.Drops(reason) > 0) Console.WriteLine($"dropped {reason}: {plane.Drops(reason)}");
        }

        return worker.Statistics.Faults == 0 ? 0 : 1;
    }

    private static PortAddress Address(string address) => new(IpAddress.Parse(address), 24);

    private static void FillTable(DataPlane plane, Vrf vrf, PortEntry to, IpPrefix[] routes, bool gre)
    {
        // Half the table through each of many next hops, as a table from many peers has it; with GRE, as many tunnels.
        uint[] leaves = new uint[NextHops];
        for (int i = 0; i < NextHops; i++)
        {
            Adjacency neighbor = to.Neighbors.GetOrAdd(IpAddress.FromV4(0xCB007102 + (uint)i))!;
            neighbor.Resolve(new MacAddress(0x0200_0000_0030UL + (ulong)i));
            ForwardingDecision decision = ForwardingDecision.Via(neighbor);
            if (gre)
            {
                IpAddress remote = IpAddress.FromV4(0x0AFF0002 + (uint)i);
                vrf.Set(new IpPrefix(remote, 32), new FibLeaf(new IndirectNextHop(decision)));
                Tunnel tunnel = plane.AddTunnel(new TunnelOptions($"t{i}", IpAddress.Parse("10.255.0.1"), remote), vrf, vrf);
                tunnel.Up = true;
                decision = ForwardingDecision.Through(tunnel);
            }

            leaves[i] = vrf.AddLeaf(new FibLeaf(new IndirectNextHop(decision)));
        }

        for (int i = 0; i < routes.Length; i++) vrf.Set(routes[i], leaves[i % NextHops]);
    }

    /// <summary>There is no control loop: what should be punted is dropped and counted.</summary>
    private sealed class Refusal : IPuntSink
    {
        public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame) => false;
    }
}
