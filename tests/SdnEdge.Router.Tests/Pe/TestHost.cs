using System.Buffers.Binary;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// A host at the end of a wire: answers ARP for its address while it is live, sends and takes numbered UDP packets. It has no thread of
/// its own that could be held up: what crosses the wire is answered or taken by whoever puts it there.
/// </summary>
internal sealed class TestHost : IDisposable
{
    private readonly LinkedPort _wire;
    private readonly IpAddress _address;
    private readonly MacAddress _mac;
    private readonly List<long> _received = [];
    private bool _live, _answersArp = true;

    public TestHost(LinkedPort wire, string address, string mac, bool live = true)
    {
        (_wire, _address, _mac, _live) = (wire, IpAddress.Parse(address), MacAddress.Parse(mac), live);
        _wire.Tap = Hear;
    }

    /// <summary>False: it is paused, and hears nothing. What crossed the wire before has been taken.</summary>
    public bool Live
    {
        get
        {
            lock (_received) return _live;
        }

        set
        {
            lock (_received) _live = value;
        }
    }

    /// <summary>False: it takes packets, and answers no ARP request.</summary>
    public bool AnswersArp
    {
        get => Volatile.Read(ref _answersArp);
        set => Volatile.Write(ref _answersArp, value);
    }

    /// <summary>Told after each packet that was taken; on the sender's thread.</summary>
    public Action? Taken { get; set; }

    /// <summary>Packets that came while it was not live.</summary>
    public int Missed;

    /// <summary>ARP requests for it, answered or not.</summary>
    public int Asked;

    /// <summary>Numbers in the order of arrival.</summary>
    public long[] Received
    {
        get
        {
            lock (_received) return [.. _received];
        }
    }

    /// <summary>Sends a numbered UDP packet by way of a gateway.</summary>
    public void Send(MacAddress gateway, IpAddress to, long number)
    {
        Span<byte> frame = stackalloc byte[14 + 20 + 8 + 100];
        frame.Clear();
        gateway.Write(frame);
        _mac.Write(frame[6..]);
        BinaryPrimitives.WriteUInt16BigEndian(frame[12..], 0x0800);
        Span<byte> ip = frame[14..];
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
        BinaryPrimitives.WriteUInt16BigEndian(ip[6..], 0x4000);
        ip[8] = 64;
        ip[9] = 17;
        _address.Write(ip[12..]);
        to.Write(ip[16..]);
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Compute(ip[..20]));
        Span<byte> udp = ip[20..];
        BinaryPrimitives.WriteUInt16BigEndian(udp, 4000);
        BinaryPrimitives.WriteUInt16BigEndian(udp[2..], 7);
        BinaryPrimitives.WriteUInt16BigEndian(udp[4..], (ushort)udp.Length);
        BinaryPrimitives.WriteInt64BigEndian(udp[8..], number);
        _wire.Send(frame);
    }

    public void Dispose() => _wire.Tap = null;

    private void Hear(SentFrame frame)
    {
        switch (BinaryPrimitives.ReadUInt16BigEndian(frame.Bytes.AsSpan(12)))
        {
            case 0x0800: Take(frame.Bytes.AsSpan(14)); break;
            case 0x0806: AnswerArp(frame.Bytes); break;
        }
    }

    private void AnswerArp(ReadOnlySpan<byte> request)
    {
        ReadOnlySpan<byte> arp = request[14..];
        if (arp[7] != 1 || IpAddress.Read(IpFamily.V4, arp[24..28]) != _address) return;
        Interlocked.Increment(ref Asked);
        if (!Live || !AnswersArp) return;
        Span<byte> reply = stackalloc byte[42];
        request[..42].CopyTo(reply);
        arp[8..14].CopyTo(reply);
        _mac.Write(reply[6..]);
        reply[21] = 2;
        _mac.Write(reply[22..]);
        _address.Write(reply[28..]);
        arp[8..18].CopyTo(reply[32..]);
        _wire.Send(reply);
    }

    private void Take(ReadOnlySpan<byte> ip)
    {
        if (ip[9] != 17 || IpAddress.Read(IpFamily.V4, ip[16..20]) != _address) return;
        lock (_received)
        {
            if (!_live)
            {
                Missed++;
                return;
            }

            _received.Add(BinaryPrimitives.ReadInt64BigEndian(ip[28..]));
        }

        Taken?.Invoke();
    }
}
