using FsCheck.Xunit;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>No byte string makes a view throw, loop, or look past the end of what it was given.</summary>
public class HostileBytesTests
{
    [Property(MaxTest = 3000)]
    public void Random_bytes(byte[] bytes) => ReadAll(bytes);

    [Property(MaxTest = 3000)]
    public void Sound_frames_with_bytes_changed_and_cut_anywhere(int which, int cut, (ushort At, byte Value)[] changes)
    {
        IReadOnlyList<byte[]> sound = Frames.OneOfEach();
        byte[] frame = [.. sound[(int)((uint)which % sound.Count)]];
        foreach ((ushort at, byte value) in changes) frame[at % Math.Min(frame.Length, 80)] = value;
        Descend(frame.AsSpan(0, (int)((uint)cut % (frame.Length + 1))));
    }

    [Fact]
    public void Every_sound_frame_cut_at_every_length()
    {
        foreach (byte[] frame in Frames.OneOfEach())
        {
            for (int length = 0; length <= frame.Length; length++) Descend(frame.AsSpan(0, length));
        }
    }

    [Fact]
    public void Every_sound_frame_with_every_byte_set_to_every_value()
    {
        foreach (byte[] frame in Frames.OneOfEach())
        {
            for (int at = 12; at < Math.Min(frame.Length, 76); at++)
            {
                byte was = frame[at];
                for (int value = 0; value < 256; value++)
                {
                    frame[at] = (byte)value;
                    Descend(frame);
                }

                frame[at] = was;
            }
        }
    }

    // Follows the layers as the router does, so that inner parsers see what outer ones accepted.
    private static int Descend(ReadOnlySpan<byte> frame)
    {
        int sink = ReadAll(frame);
        if (!EthernetView.TryParse(frame, out EthernetView ethernet)) return sink;
        sink += ReadAll(ethernet.Payload);
        if (!IpPacketView.TryParse(ethernet.Payload, out IpPacketView ip)) return sink;
        sink += ReadAll(ip.Payload);
        if (UdpView.TryParse(ip.Payload, out UdpView udp)) sink += ReadAll(udp.Payload);
        if (GreView.TryParse(ip.Payload, out GreView gre)) sink += ReadAll(gre.Payload);
        if (IcmpView.TryParse(ip.Payload, out IcmpView icmp)) sink += ReadAll(icmp.Body);
        return sink;
    }

    // Every view on the same bytes, every getter of every view that says yes.
    private static int ReadAll(ReadOnlySpan<byte> bytes)
    {
        int sink = (int)FlowHash.Of(bytes);
        if (EthernetView.TryParse(bytes, out EthernetView ethernet)) sink += ethernet.Header.GetHashCode() + ethernet.Payload.Length;
        if (ArpView.TryParse(bytes, out ArpView arp)) sink += arp.Packet.GetHashCode();
        if (Ipv4View.TryParse(bytes, out Ipv4View v4))
        {
            sink += v4.Header.GetHashCode() + v4.Payload.Length + (v4.ChecksumIsValid ? 1 : 0) + (v4.IsFragment ? 1 : 0);
            Ipv4OptionWalk walk = new(v4.Options);
            int steps = 0;
            while (walk.MoveNext()) sink += walk.Type + walk.Data.Length + ++steps;
            Assert.InRange(steps, 0, 20);
        }

        if (Ipv6View.TryParse(bytes, out Ipv6View v6))
        {
            sink += v6.Header.GetHashCode() + v6.Addresses.Length;
            Ipv6ExtensionWalk walk = new(v6);
            int steps = 0;
            while (walk.MoveNext()) sink += walk.Protocol + walk.Rest.Length + ++steps;
            Assert.InRange(steps, 0, bytes.Length / 8);
        }

        if (IpPacketView.TryParse(bytes, out IpPacketView ip)) sink += (int)ip.PseudoSum + ip.Payload.Length + (ip.IsIcmp ? 1 : 0);
        if (UdpView.TryParse(bytes, out UdpView udp))
        {
            sink += udp.Header.GetHashCode() + udp.Payload.Length + (udp.ChecksumIsValid(Frames.A6, Frames.B6) ? 1 : 0);
            if (GreInUdp.TryParse(udp, out GreView inner)) sink += inner.Header.GetHashCode();
        }

        if (TcpView.TryParse(bytes, out TcpView tcp))
        {
            sink += tcp.Header.GetHashCode() + tcp.Payload.Length + (tcp.MaximumSegmentSize ?? 0)
                + (tcp.ChecksumIsValid(Frames.A4, Frames.B4) ? 1 : 0);
            byte[] copy = bytes.ToArray();
            TcpOptions.ClampMss(copy, 100);
        }

        if (GreView.TryParse(bytes, out GreView gre)) sink += gre.Header.GetHashCode() + gre.Payload.Length + (gre.ChecksumIsValid ? 1 : 0);
        if (IcmpView.TryParse(bytes, out IcmpView icmp))
        {
            sink += icmp.Header.GetHashCode() + icmp.Body.Length + icmp.Identifier + icmp.ReportedMtu(IpFamily.V4)
                + icmp.ReportedMtu(IpFamily.V6)
                + (icmp.ChecksumIsValid(Frames.A6, Frames.B6) ? 1 : 0);
        }

        if (NdpView.TryParse(bytes, out NdpView ndp))
        {
            sink += ndp.Neighbor.GetHashCode() + ndp.Router.GetHashCode() + ndp.Options.Length;
            for (int type = 0; type < 8; type++) sink += ndp.TryFindOption((byte)type, out ReadOnlySpan<byte> option) ? option.Length : 0;
        }

        return sink;
    }
}
