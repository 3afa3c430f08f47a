using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>How a tunnel is probed. Times in nanoseconds.</summary>
/// <param name="Source">This PE's loopback: where the reply goes, by any way.</param>
/// <param name="Destination">The peer's loopback, of the same family.</param>
/// <param name="PacketBytes">
/// Bytes of the largest probe's IP packet: the tunnel's MTU, so that an answer proves that full-size packets pass. At least
/// <see cref="TunnelProbe.LeastBytes"/>.
/// </param>
/// <param name="Identifier">Identifier of the echo, by which replies are recognised.</param>
/// <param name="Tag">Number of the tunnel, unique among those probed; comes back in the reply.</param>
public sealed record TunnelProbeOptions(IpAddress Source, IpAddress Destination, int PacketBytes, ushort Identifier, uint Tag)
{
    /// <summary>Time between probes while up. 250 ms.</summary>
    public long IntervalNs { get; init; } = 250_000_000;

    /// <summary>Time between probes while down, shorter to notice sooner. 100 ms.</summary>
    public long DownIntervalNs { get; init; } = 100_000_000;

    /// <summary>A probe not answered for so long is lost. 1 s.</summary>
    public long TimeoutNs { get; init; } = 1_000_000_000;

    /// <summary>A probe that only looks for a size is lost after four round trips, but not before this. 200 ms.</summary>
    public long LeastSearchTimeoutNs { get; init; } = 200_000_000;

    /// <summary>Answers in a row that make a tunnel up. 1.</summary>
    public int UpAfter { get; init; } = 1;

    /// <summary>Losses in a row that make it down, in the order in which they were sent: one that was sent before the last answered one
    /// says nothing new. 3.</summary>
    public int DownAfter { get; init; } = 3;

    /// <summary>DSCP and ECN of the probe.</summary>
    public byte TrafficClass { get; init; } = 0xC0;
}

/// <summary>
/// Watches one tunnel: sends an ICMP echo request of full size through it to the peer's loopback and looks for the reply,
/// which may come back by any way. Keeps loss and round-trip time, and decides up and down. Where full size does not pass, smaller ones
/// find what does (<see cref="PathMtuSearch"/>). Pure.
/// <list type="number">
/// <item>At or after <see cref="NextDeadline"/> the driver calls <see cref="Poll"/>; when it returns true, <see cref="Packet"/>
/// is to be sent through the tunnel.</item>
/// <item>Every punted echo reply with the identifier is offered to <see cref="OnReply"/>.</item>
/// <item>After each call the driver looks at <see cref="IsUp"/>.</item>
/// </list>
/// </summary>
public sealed class TunnelProbe
{
    /// <summary>Least bytes of a probe: IPv6 and ICMP header, and 24 bytes of its own.</summary>
    public const int LeastBytes = Ipv6Header.Size + IcmpHeader.Size + BodyBytes;

    private const int BodyBytes = 24; // magic 4, tag 4, sequence 8, sent at 8
    private const uint Magic = 0x5DE6_9B0E;
    private const int Window = 64;

    private readonly int _icmp;
    private readonly long[] _sentAt = new long[Window];
    private readonly Fate[] _fate = new Fate[Window];
    private readonly int[] _size = new int[Window];
    private readonly bool[] _searches = new bool[Window]; // it only looks for a size; its loss says nothing about up and down
    private readonly Queue<(int Size, bool Searches)> _due = new();
    private byte[] _packet;
    private int _length;
    private long _nextSend = long.MinValue;
    private long _sequence, _oldest, _lastAnswered = -1;
    private int _goodInARow, _badInARow;

    /// <summary>Starts down, and wants to send at once.</summary>
    /// <exception cref="ArgumentException">Addresses of two families, or a size out of range.</exception>
    public TunnelProbe(TunnelProbeOptions options)
    {
        if (options.Source.Family != options.Destination.Family || options.Source.IsNone)
            throw new ArgumentException($"A probe needs two addresses of one family, not {options.Source} and {options.Destination}.",
                nameof(options));
        if (options.PacketBytes is < LeastBytes or > 65535)
            throw new ArgumentException($"A probe of {options.PacketBytes} bytes is not possible; choose {LeastBytes} to 65535.",
                nameof(options));
        if (options.TimeoutNs <= 0 || options.IntervalNs <= 0 || options.DownIntervalNs <= 0 || options.UpAfter < 1
            || options.DownAfter < 1)
            throw new ArgumentException("Interval, timeout and the counts for up and down of a probe must be above zero.", nameof(options));
        Options = options;
        _icmp = options.Source.IsV4 ? Ipv4Header.Size : Ipv6Header.Size;
        _packet = Filled(options.PacketBytes);
        Path = new PathMtuSearch(options.PacketBytes);
    }

    private enum Fate : byte
    {
        None,
        Waiting,
        Answered,
        Lost,
    }

    /// <summary>How it probes.</summary>
    public TunnelProbeOptions Options { get; private set; }

    /// <summary>True when the tunnel answers, packets of whichever size.</summary>
    public bool IsUp { get; private set; }

    /// <summary>What sizes pass.</summary>
    public PathMtuSearch Path { get; }

    /// <summary>True when the tunnel answers full-size packets.</summary>
    public bool CarriesAll => IsUp && Path.Limit == 0 && Path.Confirmed >= Path.Largest;

    /// <summary>When <see cref="IsUp"/> last changed, nanoseconds; 0 = never.</summary>
    public long ChangedAtNs { get; private set; }

    /// <summary>Probes sent.</summary>
    public long Sent => _sequence;

    /// <summary>Probes answered in time.</summary>
    public long Received { get; private set; }

    /// <summary>Probes not answered in time.</summary>
    public long Lost { get; private set; }

    /// <summary>Answers that came after their probe was counted lost.</summary>
    public long Late { get; private set; }

    /// <summary>Answers that came twice.</summary>
    public long Duplicates { get; private set; }

    /// <summary>Round-trip time of the last answer, nanoseconds; 0 = none yet.</summary>
    public long LastRttNs { get; private set; }

    /// <summary>Smallest round-trip time, nanoseconds; 0 = none yet.</summary>
    public long MinRttNs { get; private set; }

    /// <summary>Largest round-trip time, nanoseconds.</summary>
    public long MaxRttNs { get; private set; }

    /// <summary>Smoothed round-trip time, nanoseconds: an eighth of each new one (RFC 6298 2).</summary>
    public long SmoothedRttNs { get; private set; }

    /// <summary>Share of lost ones among the last 64 probes whose fate is known, 0 to 1.</summary>
    public double RecentLoss
    {
        get
        {
            int lost = _fate.Count(f => f == Fate.Lost), answered = _fate.Count(f => f == Fate.Answered);
            return lost + answered == 0 ? 0 : (double)lost / (lost + answered);
        }
    }

    /// <summary>The probe to send after <see cref="Poll"/> returned true; valid until the next call of it.</summary>
    public ReadOnlySpan<byte> Packet => _packet.AsSpan(0, _length);

    /// <summary>When <see cref="Poll"/> wants to be called, nanoseconds; in the past = at once.</summary>
    public long NextDeadline
    {
        get
        {
            if (_due.Count > 0) return long.MinValue;
            long next = _nextSend;
            for (long sequence = _oldest; sequence < _sequence; sequence++)
            {
                if (_fate[sequence % Window] == Fate.Waiting) next = Math.Min(next, _sentAt[sequence % Window] + TimeoutOf(sequence));
            }

            return next;
        }
    }

    /// <summary>Counts what is overdue and, when it is time, makes the next probe: true = send <see cref="Packet"/>, call again.</summary>
    public bool Poll(long now)
    {
        for (long sequence = _oldest; sequence < _sequence; sequence++)
        {
            if (_fate[sequence % Window] == Fate.Waiting && now - _sentAt[sequence % Window] >= TimeoutOf(sequence)) Lose(sequence, now);
        }

        while (_oldest < _sequence && _fate[_oldest % Window] != Fate.Waiting) _oldest++;
        Path.Poll(now);
        if (_due.Count == 0)
        {
            if (now < _nextSend) return false;
            Plan();
            _nextSend = now + (IsUp && _due.Count == 1 ? Options.IntervalNs : Math.Min(Options.IntervalNs, Options.DownIntervalNs));
        }

        (int size, bool searches) = _due.Dequeue();
        if (_sequence - _oldest >= Window) Lose(_oldest++, now); // a window full of unanswered ones: interval far below timeout
        int slot = (int)(_sequence % Window);
        (_sentAt[slot], _fate[slot], _size[slot], _searches[slot]) = (now, Fate.Waiting, size, searches);
        Build(_sequence++, size, now);
        return true;
    }

    /// <summary>Probes with packets up to another size from now on: the first link has another MTU.</summary>
    /// <param name="packetBytes">As in <see cref="TunnelProbeOptions.PacketBytes"/>.</param>
    public void Resize(int packetBytes)
    {
        if (packetBytes == Options.PacketBytes || packetBytes is < LeastBytes or > 65535) return;
        Options = Options with { PacketBytes = packetBytes };
        _packet = Filled(packetBytes);
        _length = 0;
        _due.Clear();
        Path.Want(packetBytes);
    }

    /// <summary>
    /// Offers an echo reply, from its IP header on. True when it answers a probe of this tunnel: right peer, identifier, tag
    /// and size, and sound checksums.
    /// </summary>
    public bool OnReply(ReadOnlySpan<byte> packet, long now)
    {
        if (!IpPacketView.TryParse(packet, out IpPacketView ip) || !ip.IsIcmp || ip.IsFragment) return false;
        if (ip.Source != Options.Destination || ip.Destination != Options.Source) return false;
        if (!IcmpView.TryParse(ip.Payload, out IcmpView icmp) || icmp.Identifier != Options.Identifier) return false;
        if (icmp.Type != (ip.Family == IpFamily.V4 ? Icmpv4Type.EchoReply : Icmpv6Type.EchoReply)
            || icmp.Body.Length < BodyBytes) return false;
        if (!icmp.ChecksumIsValid(ip.Source, ip.Destination)) return false;
        ReadOnlySpan<byte> body = icmp.Body;
        if (BinaryPrimitives.ReadUInt32BigEndian(body) != Magic
            || BinaryPrimitives.ReadUInt32BigEndian(body[4..]) != Options.Tag) return false;
        long sequence = BinaryPrimitives.ReadInt64BigEndian(body[8..]);
        if (sequence < 0 || sequence >= _sequence) return false;
        if (sequence < _sequence - Window)
        {
            Late++;
            return true;
        }

        int slot = (int)(sequence % Window);
        if (BinaryPrimitives.ReadInt64BigEndian(body[16..]) != _sentAt[slot]) return false; // of an earlier run
        if (ip.Bytes.Length != _size[slot]) return false;
        if (_fate[slot] != Fate.Answered) Path.Answered(_size[slot], sequence, now);
        switch (_fate[slot])
        {
            case Fate.Waiting:
                _fate[slot] = Fate.Answered;
                _lastAnswered = Math.Max(_lastAnswered, sequence);
                Answered(now - _sentAt[slot], now);
                break;
            case Fate.Lost:
                Late++;
                break;
            default:
                Duplicates++;
                break;
        }

        return true;
    }

    private void Answered(long rtt, long now)
    {
        Received++;
        LastRttNs = rtt;
        MinRttNs = Received == 1 ? rtt : Math.Min(MinRttNs, rtt);
        MaxRttNs = Math.Max(MaxRttNs, rtt);
        SmoothedRttNs = Received == 1 ? rtt : SmoothedRttNs + ((rtt - SmoothedRttNs) / 8);
        _badInARow = 0;
        if (++_goodInARow >= Options.UpAfter) Become(true, now);
    }

    private void Lose(long sequence, long now)
    {
        int slot = (int)(sequence % Window);
        if (_fate[slot] != Fate.Waiting) return;
        _fate[slot] = Fate.Lost;
        Lost++;
        Path.Lost(_size[slot], sequence, now);
        if (_searches[slot] || sequence < _lastAnswered) return; // a later one has come back: it was lost before the tunnel was there
        _goodInARow = 0;
        if (++_badInARow >= Options.DownAfter) Become(false, now);
    }

    private void Become(bool up, long now)
    {
        if (IsUp == up) return;
        IsUp = up;
        ChangedAtNs = now;
        if (!up) Path.Forget();
    }

    // One probe says whether the tunnel is up: the size in force, or the least one while there is none or it is in doubt. Others look for
    // the size.
    private void Plan()
    {
        int alive = Path.Confirmed == 0 || Path.InDoubt ? Path.Base : Path.Confirmed;
        if (Path.Candidate is > 0 and int candidate && candidate != alive) _due.Enqueue((candidate, true));
        if (Path.InDoubt) _due.Enqueue((Path.Confirmed, true));
        _due.Enqueue((alive, false));
    }

    private long TimeoutOf(long sequence) => _searches[sequence % Window] && Received > 0
        ? Math.Min(Options.TimeoutNs, Math.Max(Options.LeastSearchTimeoutNs, 4 * SmoothedRttNs)) : Options.TimeoutNs;

    private byte[] Filled(int bytes)
    {
        var packet = new byte[bytes];
        for (int i = _icmp + IcmpHeader.Size + BodyBytes; i < bytes; i++) packet[i] = (byte)i;
        return packet;
    }

    private void Build(long sequence, int size, long now)
    {
        _length = size;
        Span<byte> packet = _packet.AsSpan(0, size), body = packet[(_icmp + IcmpHeader.Size)..];
        BinaryPrimitives.WriteUInt32BigEndian(body, Magic);
        BinaryPrimitives.WriteUInt32BigEndian(body[4..], Options.Tag);
        BinaryPrimitives.WriteInt64BigEndian(body[8..], sequence);
        BinaryPrimitives.WriteInt64BigEndian(body[16..], now);
        (IpAddress source, IpAddress destination) = (Options.Source, Options.Destination);
        IcmpHeader.Echo(source.Family, reply: false, Options.Identifier, (ushort)sequence).Emit(packet[_icmp..], source, destination);
        int payload = size - _icmp;
        if (source.IsV4) new Ipv4Header(source, destination, IpProtocol.Icmp, 64, Options.TrafficClass, (ushort)sequence,
            DontFragment: true).Emit(packet, payload);
        else new Ipv6Header(source, destination, IpProtocol.Icmpv6, 64, Options.TrafficClass).Emit(packet, payload);
    }
}
