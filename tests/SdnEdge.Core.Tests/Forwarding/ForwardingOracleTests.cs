using FsCheck.Xunit;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Random tables and packets: the forwarder does what a slow reading of the rules does.</summary>
public sealed class ForwardingOracleTests
{
    private const int NextHops = 6;

    // A short random prefix may cover the rig's own subnet, which the table does not know.
    private static readonly IpPrefix s_own = IpPrefix.Parse("10.2.3.0/24");

    [Property(MaxTest = 80)]
    public void Each_packet_leaves_as_the_slow_reading_says(int seed)
    {
        Random random = new(seed);
        int coreMtu = random.Next(1280, 1500);
        using ForwarderRig rig = new(coreMtu: coreMtu);
        List<(IpPrefix Prefix, int Hop)> table = [(IpPrefix.Parse("0.0.0.0/0"), -1), (IpPrefix.Parse("::/0"), -1)];
        Adjacency[] v4 = Hops(rig, "172.16.0."), v6 = Hops(rig, "fd00:16::");
        for (int i = 0; i < 60; i++)
        {
            bool four = random.Next(2) == 0;
            IpPrefix prefix = four
                ? new IpPrefix(IpAddress.FromV4(0x0A400000u | ((uint)random.Next() & 0x003F_FFFF)), random.Next(8, 33))
                : new IpPrefix(IpAddress.FromV6(new UInt128(0x2001_0DB8_0000_0000UL | (uint)random.Next(16), (ulong)random.NextInt64())),
                    random.Next(28, 129));
            int hop = random.Next(-1, NextHops);
            table.RemoveAll(t => t.Prefix == prefix);
            table.Add((prefix, hop));
            rig.Vrf.Set(prefix, new FibLeaf(
                new IndirectNextHop(hop < 0 ? ForwardingDecision.Blackhole : ForwardingDecision.Via((four ? v4 : v6)[hop]))));
        }

        table.RemoveAll(t => t.Prefix.Length == 0); // the rig's own default routes lead to PE A

        for (int i = 0; i < 200; i++)
        {
            byte[] ip = Random(random, table);
            if (Ipv4View.TryParse(ip, out Ipv4View parsed) && s_own.Contains(parsed.Destination)) continue;
            rig.Receive(rig.Site, rig.FromClient(ip));
            (MacAddress? mac, DropReason reason) = Expect(ip, table, coreMtu);
            TestFrame? sent = rig.CoreDevice.TakeSent();
            if (mac is null)
            {
                Assert.Null(sent);
                Assert.Equal(1, rig.Plane.Drops(reason) - Before(reason));
                _seen[reason] = rig.Plane.Drops(reason);
            }
            else
            {
                Assert.NotNull(sent);
                Assert.Equal(mac, MacAddress.Read(sent.Bytes));
                List<byte[]> pieces = [sent.Bytes[14..], .. rig.CoreDevice.Sent().Select(f => f.Bytes[14..])];
                Assert.Equal(TunnelTests.Routed(ip), ip[0] >> 4 == 4 ? FragmentTests.Reassemble([.. pieces]) : Assert.Single(pieces));
                Assert.All(pieces, p => Assert.True(p.Length <= coreMtu));
            }

            Assert.Equal(0, rig.Plane.Ledger.Imbalance);
        }

        _seen.Clear();
    }

    private readonly Dictionary<DropReason, long> _seen = [];

    private long Before(DropReason reason) => _seen.GetValueOrDefault(reason);

    private static MacAddress HopMac(int hop) => hop < 0 ? ForwarderRig.PeAMac : new MacAddress(0x0200_0000_9900UL + (ulong)hop);

    private static Adjacency[] Hops(ForwarderRig rig, string network)
        => [.. Enumerable.Range(0, NextHops).Select(i => rig.Resolve(rig.Core, IpAddress.Parse(network + (100 + i)), HopMac(i)))];

    private static byte[] Random(Random random, List<(IpPrefix Prefix, int Hop)> table)
    {
        IpPrefix near = table[random.Next(table.Count)].Prefix;
        UInt128 noise = new((ulong)random.NextInt64() & (random.Next(2) == 0 ? 0UL : 0xF), (ulong)random.NextInt64());
        IpAddress to = near.Family == IpFamily.V4
            ? IpAddress.FromV4(near.Address.V4 ^ ((uint)noise & (uint.MaxValue >> random.Next(near.Length, 33)) & 0x003F_FFFF))
            : IpAddress.FromV6(near.Address.Bits ^ (noise & (UInt128.MaxValue >> random.Next(near.Length, 129))));
        int size = random.Next(3) == 0 ? random.Next(1200, 1480) : random.Next(0, 200);
        byte ttl = (byte)(random.Next(8) == 0 ? random.Next(3) : random.Next(2, 256));
        return to.IsV4
            ? Frames.Ip(new Ipv4Header(ForwarderRig.Client4, to, 200, ttl, (byte)random.Next(256), (ushort)random.Next(65536),
                random.Next(2) == 0), Frames.Bytes(size))
            : Frames.Ip(new Ipv6Header(ForwarderRig.Client6, to, 200, ttl, (byte)random.Next(256), (uint)random.Next(1 << 20)),
                Frames.Bytes(size));
    }

    // The rules, one after the other, over parsed views and a linear search.
    private static (MacAddress? Mac, DropReason Reason) Expect(byte[] ip, List<(IpPrefix Prefix, int Hop)> table, int mtu)
    {
        bool v4 = Ipv4View.TryParse(ip, out Ipv4View four);
        _ = Ipv6View.TryParse(ip, out Ipv6View six);
        IpAddress to = v4 ? four.Destination : six.Destination;
        int best = -1, hop = -1;
        bool found = false;
        foreach ((IpPrefix prefix, int next) in table)
        {
            if (!prefix.Contains(to) || prefix.Length <= best) continue;
            (best, hop, found) = (prefix.Length, next, true);
        }

        if (found && hop < 0) return (null, DropReason.Blackhole);
        if ((v4 ? four.Ttl : six.HopLimit) <= 1) return (null, DropReason.TtlExpired);
        if (ip.Length > mtu && (!v4 || four.DontFragment)) return (null, DropReason.TooBig);
        return (HopMac(found ? hop : -1), DropReason.None);
    }
}
