using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Mirror;

/// <summary>A mirror made of the bytes answers for every address what the original answers.</summary>
public sealed class MirrorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void After_any_series_of_changes_the_mirror_answers_as_the_original_does(int seed)
    {
        using var mirror = new Receiver();
        using var world = new MirrorWorld(seed, mirror.Writer);
        var random = new Random(seed);
        for (int i = 0; i < 300; i++) world.Step(); // nothing is told yet
        Assert.Equal(0, mirror.Writer.Records);
        world.Full();
        for (int i = 0; i < 3000; i++)
        {
            world.Step();
            if (i == 1500) world.Full(); // as after the mirror was too slow
            if (random.Next(20) != 0) continue;
            mirror.Writer.Flush();
            mirror.Check(world, 40);
        }

        Assert.Equal(2, mirror.Tables.Wholes);
    }

    [Fact]
    public void Until_a_whole_state_has_come_the_one_before_it_stays()
    {
        using var mirror = new Receiver();
        using var world = new MirrorWorld(7, mirror.Writer);
        for (int i = 0; i < 200; i++) world.Step();
        world.Full();
        mirror.Writer.Flush();
        MirrorTables whole = mirror.Tables.Whole!;

        // One that breaks off, as when the process is ended in the midst of it.
        mirror.Tables.Begin();
        mirror.Tables.Vrf(0, "default", null);
        Assert.True(mirror.Tables.IsFilling);
        Assert.Same(whole, mirror.Tables.Whole);
        mirror.Tables.Abandon();
        mirror.Check(world, 200);
        Assert.Equal(1, mirror.Tables.Wholes);
    }

    [Fact]
    public void A_hundred_thousand_prefixes_are_a_megabyte_and_come_back_the_same()
    {
        using var mirror = new Receiver();
        var plane = new DataPlane(1);
        Vrf vrf = plane.AddVrf("default");
        var source = new MirrorSource(mirror.Writer);
        var leaf = new FibLeaf(new IndirectNextHop(ForwardingDecision.Blackhole));
        uint index = vrf.AddLeaf(leaf);
        source.Full(plane, [], () =>
        {
            source.Leaf(vrf, index, leaf);
            for (uint i = 0; i < 100_000; i++) source.Prefix(vrf, new IpPrefix(IpAddress.FromV4(0x0B000000u + (i << 8)), 24), index);
        });
        mirror.Writer.Flush();
        Assert.Equal(100_000, mirror.Tables.Whole!.Prefixes);
        Assert.InRange(mirror.Bytes, 500_000, 1_000_000);
        vrf.Dispose();
    }

    [Fact]
    public void A_hold_is_mirrored_as_what_comes_after_it()
    {
        using var mirror = new Receiver();
        var plane = new DataPlane(1);
        Vrf vrf = plane.AddVrf("default");
        using var hold = new Hold("m", vrf, new HoldOptions());
        var group = new RedirectGroup("m", "default", 1);
        var leaf = new FibLeaf(new IndirectNextHop(ForwardingDecision.Unreachable), group) { AttachedHop = ForwardingDecision.Blackhole };
        uint index = vrf.AddLeaf(leaf);
        IpPrefix server = IpPrefix.Parse("10.1.1.10/32");
        vrf.Set(server, index);
        var source = new MirrorSource(mirror.Writer);
        source.Full(plane, [], () =>
        {
            source.Leaf(vrf, index, leaf);
            source.Prefix(vrf, server, index);
        });
        Told("native/native");
        group.ArmHold(hold);
        Told("Attached/native");
        group.Settle();
        Told("Attached/Attached");
        group.SwitchBack();
        Told("native/native");

        // The move is given up: what comes out of the tunnel goes home, as what is held does.
        using var second = new Hold("m", vrf, new HoldOptions());
        group.ArmHold(second);
        Told("Attached/native");
        second.BeginRelease(DrainPath.Native);
        Told("native/native");
        vrf.Dispose();

        void Told(string expected)
        {
            source.Scan(plane);
            mirror.Writer.Flush();
            RedirectGroup there = mirror.Tables.Whole!.Plane.Vrfs[0]!.Lookup(server.Address)!.Group!;
            Assert.Equal(expected,
                $"{there.Active.ForTunnelArrivals?.ToString() ?? "native"}/{there.Active.ForOthers?.ToString() ?? "native"}");
        }
    }

    [Property(MaxTest = 500)]
    public void Whatever_the_bytes_are_the_reader_does_not_throw_and_the_tables_do_not_either(byte[] bytes)
    {
        using var tables = new StagedTables(() => new MirrorTables(1, _ => null));
        MirrorReader.Read(bytes, tables, out _);
        tables.Begin();
        MirrorReader.Read(bytes, tables, out _);
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    public void Frames_with_a_flipped_bit_or_cut_short_are_refused_or_do_something_else_but_never_throw(int seed)
    {
        var frames = new List<byte[]>();
        var writer = new MirrorWriter(frames.Add);
        using var world = new MirrorWorld(seed, writer);
        for (int i = 0; i < 300; i++) world.Step();
        world.Full();
        for (int i = 0; i < 300; i++) world.Step();
        writer.Flush();
        var random = new Random(seed);
        int refused = 0;
        for (int i = 0; i < 100; i++)
        {
            using var tables = new StagedTables(() => new MirrorTables(1, _ => null));
            foreach (byte[] frame in frames)
            {
                byte[] copy = [.. frame];
                copy[random.Next(copy.Length)] ^= (byte)(1 << random.Next(8));
                if (!MirrorReader.Read(copy.AsSpan(0, random.Next(2) == 0 ? copy.Length : random.Next(copy.Length)), tables, out _))
                    refused++;
            }
        }

        Assert.True(refused > 0);
    }

    [Property(MaxTest = 200)]
    public Property What_is_written_is_read_again(uint a, uint b, byte length, string text, bool flag, ulong bits)
    {
        var port = new MirrorPort((int)(a & 0xFFFF), text is null ? "" : text.Length > 60 ? text[..60] : text, (int)(b & 0xFF),
            new MacAddress(bits & 0xFFFF_FFFF_FFFF), (int)(b & 0x7FFF) + 1, flag, !flag,
            [new PortAddress(IpAddress.FromV4(a), length % 33), new PortAddress(IpAddress.FromV6(new UInt128(bits, a)), length % 129)]);
        var frames = new List<byte[]>();
        var writer = new MirrorWriter(frames.Add);
        void Say(IMirrorSink to)
        {
            to.Begin();
            to.Loopbacks([IpAddress.FromV4(b), IpAddress.FromV6(bits)]);
            to.Vrf(port.Vrf, port.Name, flag ? a : null);
            to.Port(port);
            to.Neighbor(port.Index, IpAddress.FromV6(bits), port.Mac, NeighborState.Probe);
            to.NeighborGone(port.Index, IpAddress.FromV4(a));
            to.Host(port.Index, IpAddress.FromV4(a));
            to.Tunnel(7, new TunnelOptions(port.Name, IpAddress.FromV4(a), IpAddress.FromV4(b), flag ? a : null)
            {
                Encapsulation = TunnelEncapsulation.GreInUdp, Mtu = (int)(a & 0xFFFF), Ttl = length, PipeDscp = (byte)(length & 63),
                Dscp = DscpModel.Pipe,
                TtlUniform = flag, Ecn = !flag, MssClamp = flag, Checksum = !flag, Sequence = flag, UdpChecksum = !flag,
                IsRedirect = flag, SendOnly = !flag,
            }, 1, 2, flag);
            to.TunnelState(7, flag, 1436);
            to.TunnelGone(7);
            to.Group(new MirrorGroup(9, port.Name, "default", MirrorGroupAction.Attached, MirrorGroupAction.Tunnel, 7));
            to.GroupGone(9);
            to.Hop(3, new MirrorHop(ForwardingKind.Via, Port: port.Index, Address: IpAddress.FromV6(bits),
                RemotePe: flag ? IpAddress.FromV4(b) : default));
            to.Hop(4, new MirrorHop(ForwardingKind.Drop, Reason: DropReason.Blackhole));
            to.Hop(5, new MirrorHop(ForwardingKind.Tunnel, Tunnel: 7));
            to.HopGone(3);
            to.Leaf(port.Vrf, a & 0xFFFFF, 4, 9, flag ? new MirrorHop(ForwardingKind.Connected, Port: port.Index) : null);
            to.Prefix(port.Vrf, new IpPrefix(IpAddress.FromV4(a), length % 33), b & 0xFFFFF);
            to.Prefix(port.Vrf, new IpPrefix(IpAddress.FromV6(new UInt128(bits, b)), length % 129), b & 0xFFFFF);
            to.PrefixGone(port.Vrf, new IpPrefix(IpAddress.FromV6(new UInt128(bits, b)), length % 129));
            to.PrefixGone(port.Vrf, new IpPrefix(IpAddress.FromV4(a), length % 33));
            to.LeafGone(port.Vrf, a & 0xFFFFF);
            to.PortGone(port.Index);
            to.VrfGone(port.Vrf);
            to.End();
        }

        Say(writer);
        writer.Flush();
        var again = new List<byte[]>();
        var second = new MirrorWriter(again.Add);
        bool good = true;
        foreach (byte[] frame in frames) good &= MirrorReader.Read(frame, second, out _);
        second.Flush();
        return (good && frames.Count == again.Count && frames.Zip(again).All(f => f.First.AsSpan().SequenceEqual(f.Second))).ToProperty();
    }

    private sealed class Receiver : IDisposable
    {
        public Receiver()
        {
            Tables = new StagedTables(() => new MirrorTables(1, _ => null));
            Writer = new MirrorWriter(frame =>
            {
                Bytes += frame.Length;
                Assert.True(MirrorReader.Read(frame, Tables, out _));
                Tables.Whole?.Reclaim();
            });
        }

        public StagedTables Tables { get; }

        public MirrorWriter Writer { get; }

        public long Bytes { get; private set; }

        public void Check(MirrorWorld world, int addresses)
        {
            MirrorTables tables = Tables.Whole!;
            Assert.Equal(0, tables.Refused);
            Assert.Equal(MirrorWorld.Rest(world.Plane), MirrorWorld.Rest(tables.Plane));
            foreach (Vrf? vrf in world.Plane.Vrfs)
            {
                if (vrf is null) continue;
                Vrf there = Assert.Single(tables.Plane.Vrfs, v => v?.Name == vrf.Name)!;
                Assert.Equal((vrf.V4.Count, vrf.V6.Count, vrf.Key), (there.V4.Count, there.V6.Count, there.Key));
                for (int i = 0; i < addresses; i++)
                {
                    IpAddress address = world.Address();
                    Assert.Equal(MirrorWorld.Answer(vrf, address), MirrorWorld.Answer(there, address));
                }
            }
        }

        public void Dispose() => Tables.Dispose();
    }
}
