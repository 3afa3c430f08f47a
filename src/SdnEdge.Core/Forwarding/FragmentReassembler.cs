using System.Buffers.Binary;
using System.Collections;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>How much a <see cref="FragmentReassembler"/> keeps.</summary>
public sealed record FragmentReassemblerOptions
{
    /// <summary>Packets that may be incomplete at the same time; the oldest goes for a new one. 64.</summary>
    public int MaxPackets { get; init; } = 64;

    /// <summary>
    /// How long the parts of a packet are waited for from the first that came, nanoseconds. 3 s: short beside the 15 and 60 s that
    /// RFC 791 and RFC 8200 allow, since at a router's pace an identification comes again soon (RFC 4963).
    /// </summary>
    public long TimeoutNs { get; init; } = 3_000_000_000;
}

/// <summary>
/// Puts IP packets together again from their fragments (RFC 815, RFC 8200 4.5): those of tunnels' outer packets. Parts come in any
/// order; an exact repetition changes nothing; parts that overlap otherwise make the packet worthless (RFC 5722). Bounded in packets,
/// bytes and time. Pure; not thread-safe.
/// </summary>
public sealed class FragmentReassembler(FragmentReassemblerOptions? options = null)
{
    private const int Unit = 8;

    private readonly FragmentReassemblerOptions _options = options ?? new FragmentReassemblerOptions();
    private readonly Dictionary<Key, Incomplete> _packets = [];
    private readonly Queue<(long At, Key Key, Incomplete Packet)> _inOrder = new(); // as they began

    /// <summary>Packets that are complete.</summary>
    public long Reassembled { get; private set; }

    /// <summary>Packets of which not all came in time.</summary>
    public long TimedOut { get; private set; }

    /// <summary>Packets given up because a newer one needed the room.</summary>
    public long Displaced { get; private set; }

    /// <summary>Fragments that cannot be part of any packet, and packets whose parts contradict each other.</summary>
    public long Refused { get; private set; }

    /// <summary>Packets that are incomplete now.</summary>
    public int Waiting => _packets.Count;

    /// <summary>When <see cref="Poll"/> wants to be called, nanoseconds.</summary>
    public long NextDeadline => _inOrder.TryPeek(out var first) ? first.At + _options.TimeoutNs : long.MaxValue;

    /// <summary>Takes a fragment, from its IP header on. Returns the whole packet when it was the last one missing, else null.</summary>
    public byte[]? Add(ReadOnlySpan<byte> fragment, long now)
    {
        Poll(now);
        if (!TryRead(fragment, out Key key, out Part part))
        {
            Refused++;
            return null;
        }

        if (!_packets.TryGetValue(key, out Incomplete? packet))
        {
            if (_packets.Count == _options.MaxPackets) Displace();
            _packets.Add(key, packet = new Incomplete());
            _inOrder.Enqueue((now, key, packet));
        }

        if (!packet.Take(part, fragment))
        {
            Refused++;
            packet.IsWorthless = true; // what else comes of it goes the same way, until its time is up
            return null;
        }

        if (!packet.IsComplete) return null;
        _packets.Remove(key);
        Reassembled++;
        return packet.Whole(key.IsV6);
    }

    /// <summary>Gives up what has waited too long.</summary>
    public void Poll(long now)
    {
        while (_inOrder.TryPeek(out var first) && (IsGone(first) || now - first.At >= _options.TimeoutNs))
        {
            _inOrder.Dequeue();
            if (IsGone(first)) continue;
            _packets.Remove(first.Key);
            if (!first.Packet.IsWorthless) TimedOut++;
        }
    }

    private bool IsGone((long At, Key Key, Incomplete Packet) entry)
        => !_packets.TryGetValue(entry.Key, out Incomplete? packet) || !ReferenceEquals(packet, entry.Packet);

    private void Displace()
    {
        while (_inOrder.TryDequeue(out var oldest))
        {
            if (IsGone(oldest)) continue;
            _packets.Remove(oldest.Key);
            Displaced++;
            return;
        }
    }

    // Only a fragment header right behind the fixed header: what a tunnel's entry makes (RFC 2473 7.1).
    private static bool TryRead(ReadOnlySpan<byte> packet, out Key key, out Part part)
    {
        (key, part) = (default, default);
        if (Ipv4View.TryParse(packet, out Ipv4View v4))
        {
            if (!v4.IsFragment) return false;
            int header = v4.Bytes.Length - v4.Payload.Length;
            key = new Key(v4.Source, v4.Destination, v4.Identification, v4.Protocol);
            part = new Part(header, header, v4.FragmentOffset * Unit, v4.Payload.Length, v4.MoreFragments, v4.Protocol,
                (byte)(v4.TrafficClass & 3));
        }
        else if (Ipv6View.TryParse(packet, out Ipv6View v6) && v6.NextHeader == IpProtocol.Fragment
            && v6.Payload.Length >= Ipv6FragmentHeader.Size)
        {
            ReadOnlySpan<byte> header = v6.Payload;
            int word = BinaryPrimitives.ReadUInt16BigEndian(header[2..]);
            key = new Key(v6.Source, v6.Destination, BinaryPrimitives.ReadUInt32BigEndian(header[4..]), 0);
            part = new Part(Ipv6Header.Size, Ipv6Header.Size + Ipv6FragmentHeader.Size, word & ~7,
                header.Length - Ipv6FragmentHeader.Size, (word & 1) != 0, header[0], (byte)(v6.TrafficClass & 3));
        }
        else
        {
            return false;
        }

        return part.Bytes > 0 && (!part.More || part.Bytes % Unit == 0) && part.Header + part.Offset + part.Bytes <= ushort.MaxValue;
    }

    private readonly record struct Key(IpAddress Source, IpAddress Destination, uint Identification, byte Protocol)
    {
        public bool IsV6 => Source.IsV6;
    }

    // Header: bytes kept in front of the payload; Data: where the payload starts in the fragment.
    private readonly record struct Part(int Header, int Data, int Offset, int Bytes, bool More, byte Protocol, byte Ecn);

    private sealed class Incomplete
    {
        private readonly BitArray _there = new((ushort.MaxValue / Unit) + 1); // each unit of the payload
        private byte[] _payload = [];
        private byte[]? _header;
        private byte _protocol, _ecnSeen; // a bit for each of the four codepoints
        private int _units, _length = -1, _end;

        public bool IsWorthless { get; set; }

        public bool IsComplete => _header is not null && _length >= 0 && _units == (_length + Unit - 1) / Unit;

        // False: it contradicts what came before.
        public bool Take(in Part part, ReadOnlySpan<byte> fragment)
        {
            if (IsWorthless) return false;
            int end = part.Offset + part.Bytes;
            if (!part.More && ((_length >= 0 && _length != end) || _end > end)) return false;
            if (_length >= 0 && end > _length) return false;
            int first = part.Offset / Unit, units = (part.Bytes + Unit - 1) / Unit, known = 0;
            for (int i = first; i < first + units; i++) known += _there[i] ? 1 : 0;
            ReadOnlySpan<byte> data = fragment.Slice(part.Data, part.Bytes);
            if (known > 0) return known == units && _payload.AsSpan(part.Offset, part.Bytes).SequenceEqual(data);

            for (int i = first; i < first + units; i++) _there[i] = true;
            _units += units;
            _end = Math.Max(_end, end);
            if (!part.More) _length = end;
            if (_payload.Length < end) Array.Resize(ref _payload, Math.Max(end, Math.Min(2 * _payload.Length, ushort.MaxValue)));
            data.CopyTo(_payload.AsSpan(part.Offset));
            _ecnSeen |= (byte)(1 << part.Ecn);
            if (part.Offset == 0) (_header, _protocol) = (fragment[..part.Header].ToArray(), part.Protocol);

            // RFC 3168 5.3: one that met congestion among those that can say so makes it the packet's; among others there can be none.
            return (_ecnSeen & 0b1001) != 0b1001;
        }

        public byte[] Whole(bool v6)
        {
            byte[] packet = [.. _header!, .. _payload.AsSpan(0, _length)];
            bool congested = (_ecnSeen & 0b1000) != 0;
            if (v6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)_length);
                packet[6] = _protocol;
                if (congested) packet[1] |= 3 << 4;
                return packet;
            }

            if (congested) packet[1] |= 3;
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(6), 0);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), 0);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), Checksum.Compute(packet.AsSpan(0, _header!.Length)));
            return packet;
        }
    }
}
