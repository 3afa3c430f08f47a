using System.Buffers.Binary;
using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Behind a link that loses, doubles, swaps, cuts and damages frames, the router forwards exactly what is still whole.</summary>
public sealed class FaultyLinkTests
{
    [Property(MaxTest = 20)]
    public void What_is_still_whole_is_forwarded_in_the_order_of_arrival_and_the_rest_is_counted(int seed)
    {
        using ForwarderRig rig = new();
        using FaultPort link = new(rig.SiteDevice, new Faults(0.05, 0.05, 0.1, 0.05, 0.1), seed);
        using PacketBatch batch = new();
        List<byte[]> expected = [];
        for (int i = 0; i < 40; i++)
        {
            // The IPv4 header checksum protects the header; a CRC of our own protects the payload here.
            for (int j = 0; j < 30; j++) rig.SiteDevice.Inject(rig.FromClient(Numbered((i * 30) + j)));
            while (link.Receive(batch) > 0)
            {
                foreach (ref Packet packet in batch.Packets)
                {
                    if (IsForwardable(packet.Span, rig)) expected.Add(TunnelTests.Routed(packet.Span[14..].ToArray()));
                }

                rig.Forwarder.Process(batch, rig.Site.Index, rig.Now);
            }
        }

        Assert.Equal(expected, rig.CoreDevice.Sent().Select(f => f.Bytes[14..]));
        Assert.True(link.Dropped > 0 && link.Duplicated > 0 && link.Corrupted > 0 && link.Truncated > 0 && link.Swapped > 0);
        Assert.Equal(1200 - link.Dropped + link.Duplicated, rig.Plane.Ledger.Received);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    private static byte[] Numbered(int number)
    {
        byte[] payload = new byte[32];
        BinaryPrimitives.WriteInt32BigEndian(payload, number);
        return Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, 200, Identification: (ushort)number), payload);
    }

    // Slow and obvious. Every changed header byte breaks the checksum; a changed payload byte is not the router's business.
    private static bool IsForwardable(ReadOnlySpan<byte> frame, ForwarderRig rig)
        => EthernetView.TryParse(frame, out EthernetView ethernet) && ethernet.Destination == rig.Site.Mac
            && ethernet.Type == EtherType.Ipv4
            && Ipv4View.TryParse(ethernet.Payload, out Ipv4View ip) && ip.ChecksumIsValid;
}
