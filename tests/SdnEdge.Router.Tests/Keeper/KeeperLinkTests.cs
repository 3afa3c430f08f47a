using System.Collections.Concurrent;
using System.Diagnostics;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Keeper;

/// <summary>The PE's end of the way to its keeper; the test is the keeper.</summary>
public sealed class KeeperLinkTests
{
    [Fact]
    public void A_keeper_that_does_not_read_makes_nobody_wait_and_gets_everything_anew()
    {
        using var end = new End(new KeeperRecord());
        var plane = new DataPlane(1);
        using Vrf vrf = plane.AddVrf("default");
        var leaf = new FibLeaf(new IndirectNextHop(ForwardingDecision.Blackhole));
        uint index = vrf.AddLeaf(leaf), told = 0;
        end.Link.SendAll(plane, [], () => end.Link.Source.Leaf(vrf, index, leaf));
        Assert.True(SpinWait.SpinUntil(() => end.Link.QueuedBytes == 0, Patience.Time), "the first whole is under way");

        // Nobody reads: the socket's buffer fills, then the queue, and then it is given up. This thread never waits.
        while (end.Link.OutOfSyncs == 0)
        {
            Assert.True(told < 8_000_000, "the queue has no bound");
            for (int i = 0; i < 1000; i++) end.Link.Source.Prefix(vrf, Prefix(told++), index);
            end.Link.Flush(plane);
        }

        Assert.False(end.Link.Source.IsActive);
        Assert.Equal(1, end.Link.Wholes);
        uint more = told + 1000;
        while (told < more) end.Link.Source.Prefix(vrf, Prefix(told++), index); // said to nobody

        // It reads again, and is told the whole.
        using var tables = new StagedTables(() => new MirrorTables(1, _ => null));
        Read(end, tables, () => end.Resyncs.TryTake(out _));
        end.Link.SendAll(plane, [], () =>
        {
            end.Link.Source.Leaf(vrf, index, leaf);
            for (uint i = 0; i < 5000; i++) end.Link.Source.Prefix(vrf, Prefix(i), index);
        });
        Read(end, tables, () => tables.Wholes == 2);
        Assert.Equal(5000, tables.Whole!.Prefixes);
        Assert.Equal(0, tables.Whole.Refused);
        Assert.Equal((1, 2), (end.Link.OutOfSyncs, end.Link.Wholes));

        // And what changes after that comes too.
        end.Link.Source.PrefixGone(vrf, Prefix(0));
        end.Link.Flush(plane);
        Read(end, tables, () => tables.Whole.Prefixes == 4999);
    }

    [Fact]
    public void On_standby_it_says_when_it_is_ready_and_takes_the_neighbours_over()
    {
        using var end = new End(new KeeperRecord(Standby: true, 1, 0, 0, 0));
        Assert.True(end.Link.IsStandby);
        end.Link.SendAll(new DataPlane(1), [], () => Assert.Fail("on standby nothing is told"));
        end.Link.Ready();
        Assert.Equal(KeeperMessageKind.Ready, end.Next());

        var writer = new MirrorWriter(frame => end.Keeper.Send(KeeperMessage.Mirror(frame)));
        writer.Port(new MirrorPort(3, "a", 0, default, 1500, false, true, []));
        writer.Neighbor(3, IpAddress.Parse("10.1.0.10"), new MacAddress(0x02_0000_0000_10), NeighborState.Stale);
        writer.Neighbor(4, IpAddress.Parse("10.1.0.11"), new MacAddress(0x02_0000_0000_11), NeighborState.Stale); // of no port
        writer.Flush();
        end.Keeper.Send(KeeperMessage.Record(KeeperMessageKind.Granted, new KeeperRecord(false, 2, 1000, 3, 700_000_000)));
        Assert.True(end.Granted.TryTake(out IReadOnlyList<KnownNeighbor>? neighbors, Patience.Time));
        Assert.Equal([new KnownNeighbor("a", IpAddress.Parse("10.1.0.10"), new MacAddress(0x02_0000_0000_10))], neighbors);
        end.Link.Granted();
        Assert.False(end.Link.IsStandby);
        Assert.Equal((2, 1000, 3), (end.Link.Record.Takeovers, end.Link.Record.Packets, end.Link.Record.Dropped));
    }

    [Fact]
    public void A_keeper_that_ends_is_noticed_and_asks_nothing_of_the_pe_any_more()
    {
        using var end = new End(new KeeperRecord());
        end.Keeper.Dispose();
        Assert.True(end.Lost.TryTake(out _, Patience.Time));
        Assert.False(end.Link.IsConnected);
        end.Link.Ready();
        end.Link.SendAll(new DataPlane(1), [], () => Assert.Fail("there is nobody to tell"));
        Assert.Equal(0, end.Link.Wholes);
    }

    [Fact]
    public async Task A_pe_that_never_forwarded_ends_the_keeper_with_its_exit_code()
    {
        using var keeper = new PeKeeper("pe-t", _ => new ProcessStartInfo("sh", ["-c", "exit 7"]) { UseShellExecute = false });
        Assert.Equal(7, await keeper.RunAsync(CancellationToken.None).WaitAsync(Patience.Time));
    }

    [RootFact]
    public void A_device_is_the_keepers_once_its_port_is_in_use_and_one_that_was_not_used_is_there_for_the_next()
    {
        Namespaces.RunInNew(() =>
        {
            var options = new TapOptions { DisableKernelIpv6 = true };
            using TapPort before = TapPort.Open("old", "tap-old", options);
            using var end = new End(new KeeperRecord(), keeper => keeper.Send(KeeperMessage.Device(before), before.Fd));

            // A new one: given up it is gone, used it is told.
            TapPort unused = end.Link.Open("a", "tap-a", options, out bool adopted);
            Assert.False(adopted);
            end.Link.Abandon(unused);
            Assert.False(NetDevice.Exists("tap-a"));
            TapPort used = end.Link.Open("a", "tap-a", options, out _);
            end.Link.Ready();
            Assert.Equal(KeeperMessageKind.Ready, end.Next());
            end.Link.Keep(used);
            Assert.Equal(KeeperMessageKind.Device, end.Next());

            // One that the keeper has: given up it can be had again, and the keeper is told nothing.
            TapPort known = end.Link.Open("old", "tap-old", options, out adopted);
            Assert.True(adopted);
            end.Link.Abandon(known);
            known = end.Link.Open("old", "tap-old", options, out adopted);
            Assert.True(adopted);
            end.Link.Keep(known);
            end.Link.Ready();
            Assert.Equal(KeeperMessageKind.Ready, end.Next());
            known.Dispose();
            used.Dispose();
            return 0;
        });
    }

    private static IpPrefix Prefix(uint number) => new(IpAddress.FromV4(number << 8), 24);

    private static void Read(End end, StagedTables into, Func<bool> done)
    {
        byte[] message = new byte[ProcessChannel.MaxMessage];
        var watch = Stopwatch.StartNew();
        while (!done())
        {
            Assert.True(watch.Elapsed < Patience.Time, "it did not come in time");
            if (!end.TryReceive(message, out int length)) continue;
            Assert.Equal(KeeperMessageKind.Mirror, (KeeperMessageKind)message[0]);
            Assert.True(MirrorReader.Read(message.AsSpan(1, length - 1), into, out _));
        }
    }

    /// <summary>A link and the other end of it.</summary>
    private sealed class End : IDisposable
    {
        private readonly BlockingCollection<byte[]> _received = [];
        private Thread? _reader;

        public End(KeeperRecord start, Action<ProcessChannel>? before = null)
        {
            (Keeper, int child) = ProcessChannel.Pair();
            before?.Invoke(Keeper);
            Keeper.Send(KeeperMessage.Record(KeeperMessageKind.Start, start));
            Link = KeeperLink.Connect(child, queueLimit: 64 << 10);
            Link.Start(Granted.Add, () => Resyncs.Add(true), () => Lost.Add(true));
        }

        public ProcessChannel Keeper { get; }

        public KeeperLink Link { get; }

        public BlockingCollection<IReadOnlyList<KnownNeighbor>> Granted { get; } = [];

        public BlockingCollection<bool> Resyncs { get; } = [];

        public BlockingCollection<bool> Lost { get; } = [];

        public KeeperMessageKind Next()
        {
            byte[] message = new byte[ProcessChannel.MaxMessage];
            return Keeper.Receive(message, out _) > 0 ? (KeeperMessageKind)message[0] : default;
        }

        // A thread reads, so that the test can look after other things while nothing comes.
        public bool TryReceive(byte[] into, out int length)
        {
            if (_reader is null)
            {
                _reader = new Thread(ReadAll) { IsBackground = true };
                _reader.Start();
            }

            length = 0;
            if (!_received.TryTake(out byte[]? message, 5)) return false;
            message.CopyTo(into, 0);
            length = message.Length;
            return true;
        }

        public void Dispose()
        {
            Link.Dispose();
            Keeper.Dispose();
            _reader?.Join();
            _received.Dispose();
            Granted.Dispose();
            Resyncs.Dispose();
            Lost.Dispose();
        }

        private void ReadAll()
        {
            byte[] message = new byte[ProcessChannel.MaxMessage];
            for (int length; (length = Keeper.Receive(message, out _)) > 0;) _received.Add(message[..length]);
        }
    }
}
