using System.Buffers.Binary;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// A host at the end of a wire: answers ARP for its address while it is live, sends and takes numbered UDP packets. ARP is answered
/// by whoever puts the question on the wire, so that no packet is given up because this host's thread was held up.
/// </summary>
internal sealed class TestHost : IDisposable
{
    private readonly LinkedPort _wire;
    private readonly IpAddress _address;
    private readonly MacAddress _mac;
    private readonly Thread _thread;
    private readonly List<long> _received = [];
    private volatile bool _stop;

    public TestHost(LinkedPort wire, string address, string mac, bool live = true)
    {
        (_wire, _address, _mac, Live) = (wire, IpAddress.Parse(address), MacAddress.Parse(mac), live);
        _wire.Tap = AnswerArp;
        _thread = new Thread(Run) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>False: it is paused, and hears nothing.</summary>
    public volatile bool Live;

    /// <summary>True: it goes down as soon as its wire is empty.</summary>
    public volatile bool GoesDown;

    /// <summary>Told after each packet that was taken; on the host's thread.</summary>
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

    public void Dispose()
    {
        _wire.Tap = null;
        _stop = true;
        _thread.Join();
    }

    private void Run()
    {
        while (!_stop)
        {
            if (!_wire.TryTake(out SentFrame frame))
            {
                if (GoesDown) Live = false;
                Thread.Sleep(1); // the cores are for the PEs
                continue;
            }

            if (BinaryPrimitives.ReadUInt16BigEndian(frame.Bytes.AsSpan(12)) == 0x0800) Take(frame.Bytes.AsSpan(14));
        }
    }

    private void AnswerArp(SentFrame frame)
    {
        ReadOnlySpan<byte> request = frame.Bytes;
        if (BinaryPrimitives.ReadUInt16BigEndian(request[12..]) != 0x0806) return;
        ReadOnlySpan<byte> arp = request[14..];
        if (arp[7] != 1 || IpAddress.Read(IpFamily.V4, arp[24..28]) != _address) return;
        Interlocked.Increment(ref Asked);
        if (!Live) return;
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
        if (!Live)
        {
            Interlocked.Increment(ref Missed);
            return;
        }

        lock (_received) _received.Add(BinaryPrimitives.ReadInt64BigEndian(ip[28..]));
        Taken?.Invoke();
    }
}
