using System.Runtime.InteropServices;
using SdnEdge.Benchmarks;
using SdnEdge.Benchmarks.Bfd;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Benchmarks.DataCentre;
using SdnEdge.Benchmarks.Flip;
using SdnEdge.Benchmarks.Guests;
using SdnEdge.Benchmarks.Hostile;
using SdnEdge.Benchmarks.Ingress;
using SdnEdge.Benchmarks.Kills;
using SdnEdge.Benchmarks.Managers;
using SdnEdge.Benchmarks.ManyPrefixes;
using SdnEdge.Benchmarks.Moves;
using SdnEdge.Benchmarks.Netns;
using SdnEdge.Benchmarks.Restart;
using SdnEdge.Benchmarks.Store;
using SdnEdge.Benchmarks.Switchover;

// One command a kind of measurement; each prints its own help.
(string Name, string What, Func<string[], int> Run)[] commands =
[
    ("netns", "forwarding from TAP to TAP beside a C loop and Open vSwitch, in packets a second", NetnsCommand.Run),
    ("switchover", "what switching 1, 1 k, 100 k and 1 M prefixes costs, and what others feel of it", SwitchoverCommand.Run),
    ("flip", "an armed backup, 1 and 100000 prefixes: how soon a host that stands still, or a site that is cut off, is noticed; and back",
        FlipCommand.Run),
    ("bgp", "routes through the router beside FRR, BIRD and GoBGP: time and memory", BgpCommand.Run),
    ("restart", "a PE killed under traffic with a full table: what is lost, and how soon BGP and the routes are back", RestartCommand.Run),
    ("kills", "every party of a migration killed, and cut off from the manager, at every stage: how each migration ends", KillsCommand.Run),
    ("takeover", "of three managers the one that leads goes away, in six ways: how soon another one leads", TakeOverCommand.Run),
    ("moves", "moves back and forth under traffic, of one server and of ten: what each costs and leaves, and memory", MovesCommand.Run),
    ("datacentre", "a hundred servers with a thousand prefixes move as one, together and so many at once: time, blackouts, packets",
        DataCentreCommand.Run),
    ("guests", "real guests of QEMU: memory page by page, moves under traffic, whatever breaks", GuestsCommand.Run),
    ("bfd", "64 BFD sessions while a million routes change: false downs, and how fast a stopped peer is found", BfdCommand.Run),
    ("ingress", "how soon many ingress PEs, each a process, take the direct path, and when the tunnel is gone", IngressCommand.Run),
    ("signals", "a move of 100000 prefixes, signal by signal, while each PE's API is asked every few milliseconds", SignalsCommand.Run),
    ("store", "plain: fio by NBD beside nbdkit; copy: beside nbdcopy; kills, powercuts, simulate: a pair of stores that fail at any point",
        StoreCommand.Run),
    ("micro", "BenchmarkDotNet: lookups, inserts and memory of a full table; takes BenchmarkDotNet's arguments", MicroCommand.Run),
    ("fuzz", "mutated BGP messages against the engine, judged by an independent oracle; any failure replays", FuzzCommand.Run),
    ("simulate", "seeded migrations, every party killed at times, messages lost and late; any failure replays from its seed",
        SimulateCommand.Run),
    ("netns-forward", "the forwarder that netns measures (started by it, inside its namespace)", ForwardCommand.Run),
    ("bfd-peer", "the other end of bfd (started by it)", BfdPeerCommand.Run),
    ("bfd-witness", "sees when the machine stands still (started by bfd)", WitnessCommand.Run),
];

// Ended by a signal, too, it takes away what it has made: labs go when the process does.
using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);

if (Words.TryFind(commands, args, out Func<string[], int> run)) return run(args[1..]);
if (args.Length > 0) Console.Error.WriteLine($"there is no benchmark '{args[0]}'");
Console.Error.WriteLine("usage: bench NAME [ARGUMENTS]");
Words.List(commands);
return 2;

static void End(PosixSignalContext context)
{
    context.Cancel = true;
    Environment.Exit(context.Signal == PosixSignal.SIGINT ? 130 : 143);
}
