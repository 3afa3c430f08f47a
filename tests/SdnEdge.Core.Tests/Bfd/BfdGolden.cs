using SdnEdge.Core.Bfd;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>Golden captures of BFD: every field over both families, and a session from Down to Up and down again.</summary>
internal static class BfdGolden
{
    private static readonly IpAddress A4 = Frames.A4, B4 = Frames.B4, A6 = Frames.A6, B6 = Frames.B6;

    public static IEnumerable<Golden> All()
    {
        var full = new BfdControl(BfdState.Up, 0x01020304, 0xA1B2C3D4, 50_000, 10_000, 3, BfdDiagnostic.NeighborSignaledDown, Poll: true,
            ControlPlaneIndependent: true, Demand: true, RequiredMinEchoRx: 7);
        var final = new BfdControl(BfdState.Init, uint.MaxValue, 1, uint.MaxValue, 1, 255,
            BfdDiagnostic.ReverseConcatenatedPathDown, Final: true);
        yield return new("bfd-every-field-single-hop-and-multihop",
            [
                Frames.Ethernet(EtherType.Ipv4,
                    Frames.Ip(A4, B4, IpProtocol.Udp, Frames.Udp(A4, B4, 49152, BfdLimits.SingleHopPort, BfdBytes.Bytes(full)), 255)),
                Frames.Ethernet(EtherType.Ipv6,
                    Frames.Ip(A6, B6, IpProtocol.Udp, Frames.Udp(A6, B6, 65535, BfdLimits.MultihopPort, BfdBytes.Bytes(final)), 255)),
            ],
            ("ip.ttl", ["255", ""]), ("ipv6.hlim", ["", "255"]), ("udp.srcport", ["49152", "65535"]), ("udp.dstport", ["3784", "4784"]),
            ("bfd.version", ["1", "1"]), ("bfd.diag", ["0x03", "0x08"]), ("bfd.sta", ["0x03", "0x02"]), ("bfd.flags.p", ["1", "0"]),
            ("bfd.flags.f", ["0", "1"]),
            ("bfd.flags.c", ["1", "0"]), ("bfd.flags.a", ["0", "0"]), ("bfd.flags.d", ["1", "0"]), ("bfd.flags.m", ["0", "0"]),
            ("bfd.detect_time_multiplier", ["3", "255"]),
            ("bfd.message_length", ["24", "24"]), ("bfd.my_discriminator", ["0x01020304", "0xffffffff"]),
            ("bfd.your_discriminator", ["0xa1b2c3d4", "0x00000001"]),
            ("bfd.desired_min_tx_interval", ["50000", "4294967295"]), ("bfd.required_min_rx_interval", ["10000", "1"]),
            ("bfd.required_min_echo_interval", ["7", "0"]));

        BfdSession a = BfdBytes.Session(), b = new(new BfdKey(A4, B4, true), 9, BfdParameters.Every(20, 5), 3, 0);
        List<byte[]> frames = [];
        byte[] buffer = new byte[BfdControl.Size];
        for (int i = 0; i < 4; i++) Exchange(i * BfdBytes.Ms);
        a.SetAdminDown(true, 5 * BfdBytes.Ms);
        Exchange(5 * BfdBytes.Ms);
        yield return new("bfd-a-session-comes-up-polls-and-goes-admin-down", [.. frames],
            ("ip.src", ["192.0.2.1", "198.51.100.2", "192.0.2.1", "198.51.100.2", "198.51.100.2", "192.0.2.1",
                "192.0.2.1", "198.51.100.2"]),
            ("bfd.sta", ["0x01", "0x02", "0x03", "0x03", "0x03", "0x03", "0x00", "0x01"]),
            ("bfd.diag", ["0x00", "0x00", "0x00", "0x00", "0x00", "0x00", "0x07", "0x03"]),
            ("bfd.flags.p", ["0", "0", "1", "0", "1", "0", "0", "0"]), ("bfd.flags.f", ["0", "0", "0", "1", "0", "1", "0", "0"]));

        void Exchange(long now)
        {
            foreach ((BfdSession from, BfdSession to) in ((BfdSession, BfdSession)[])[(a, b), (b, a)])
            {
                while (from.TryTake(now, buffer))
                {
                    BfdKey key = from.Key;
                    ushort port = (ushort)(BfdLimits.FirstSourcePort + (int)from.LocalDiscriminator);
                    frames.Add(Frames.Ethernet(EtherType.Ipv4,
                        Frames.Ip(key.Local, key.Peer, IpProtocol.Udp,
                            Frames.Udp(key.Local, key.Peer, port, BfdLimits.MultihopPort, [.. buffer]), 255)));
                    to.Receive(BfdBytes.View(buffer), now);
                }
            }
        }
    }
}
