using System.Buffers.Binary;
using System.Net;

namespace SdnEdge.Testing;

/// <summary>One direction of one TCP connection, put together again.</summary>
/// <param name="From">Sender.</param>
/// <param name="To">Receiver.</param>
/// <param name="Bytes">What the sender said, from its SYN on, without holes.</param>
public sealed record TcpStream(IPEndPoint From, IPEndPoint To, byte[] Bytes);

/// <summary>A BGP message out of a capture.</summary>
/// <param name="Stream">The direction it came by.</param>
/// <param name="Bytes">The whole message, header included.</param>
public sealed record CapturedMessage(TcpStream Stream, byte[] Bytes)
{
    /// <summary>Type octet: 1 OPEN, 2 UPDATE, 3 NOTIFICATION, 4 KEEPALIVE, 5 ROUTE-REFRESH.</summary>
    public int Type => Bytes[18];
}

/// <summary>
/// BGP sessions out of capture files: 1. frames to TCP segments, 2. segments in the order of their sequence numbers, repeats
/// cut off, 3. the stream cut into messages by their length field. It uses nothing of our codec, so that it may judge it.
/// </summary>
public static class BgpCapture
{
    private const int Port = 179;
    private const int Header = 19;

    /// <summary>All messages of a file that <see cref="PcapFile.Read"/> reads, connection by connection, each direction in order.</summary>
    /// <exception cref="InvalidDataException">The file is no capture, or a stream has a hole or no BGP in it.</exception>
    public static IReadOnlyList<CapturedMessage> Messages(string path) => [.. Streams(path).SelectMany(s => Cut(s, path))];

    /// <summary>Both directions of all TCP connections to or from port 179 that begin in the file, in the order of their SYN.</summary>
    /// <exception cref="InvalidDataException">The file is no capture, or a stream has a hole.</exception>
    public static IReadOnlyList<TcpStream> Streams(string path)
    {
        var order = new List<Building>();
        var open = new Dictionary<(IPEndPoint, IPEndPoint), Building>();
        foreach (byte[] frame in PcapFile.Read(path))
        {
            if (Segment.Parse(frame) is not { } segment || (segment.From.Port != Port && segment.To.Port != Port)) continue;
            var key = (segment.From, segment.To);
            if (segment.Syn)
            {
                if (open.TryGetValue(key, out Building? repeated) && repeated.Next == segment.Sequence + 1) continue;
                open[key] = new Building(segment.From, segment.To, segment.Sequence + 1);
                order.Add(open[key]);
            }
            else if (open.TryGetValue(key, out Building? building))
            {
                building.Add(segment.Sequence, segment.Data);
            }
        }

        if (order.Find(b => b.HasHole) is { } holed)
            throw new InvalidDataException($"{path}: a segment from {holed.From} to {holed.To} is missing.");
        return [.. order.Select(b => new TcpStream(b.From, b.To, b.Bytes.ToArray()))];
    }

    private static IEnumerable<CapturedMessage> Cut(TcpStream stream, string path)
    {
        for (int at = 0; at < stream.Bytes.Length;)
        {
            if (at + Header > stream.Bytes.Length) yield break;
            int length = BinaryPrimitives.ReadUInt16BigEndian(stream.Bytes.AsSpan(at + 16));
            if (length < Header || stream.Bytes.AsSpan(at, 16).ContainsAnyExcept((byte)0xFF))
                throw new InvalidDataException($"{path}: no BGP header at byte {at} from {stream.From} to {stream.To}.");

            // The capture may have ended inside the last message.
            if (at + length > stream.Bytes.Length) yield break;
            yield return new CapturedMessage(stream, stream.Bytes[at..(at + length)]);
            at += length;
        }
    }

    private sealed class Building(IPEndPoint from, IPEndPoint to, uint next)
    {
        private readonly List<(uint Sequence, byte[] Data)> _early = [];

        public IPEndPoint From => from;

        public IPEndPoint To => to;

        public uint Next { get; private set; } = next;

        public MemoryStream Bytes { get; } = new();

        public bool HasHole => _early.Count > 0;

        public void Add(uint sequence, byte[] data)
        {
            if (data.Length == 0) return;
            _early.Add((sequence, data));
            for (int i = 0; i < _early.Count;)
            {
                // Distance by wrapping subtraction (RFC 9293 3.4): negative is behind, 0 is due, more is ahead.
                int ahead = (int)(_early[i].Sequence - Next);
                if (ahead > 0)
                {
                    i++;
                    continue;
                }

                byte[] due = _early[i].Data;
                _early.RemoveAt(i);
                if (-ahead < due.Length)
                {
                    Bytes.Write(due, -ahead, due.Length + ahead);
                    Next += (uint)(due.Length + ahead);
                }

                i = 0;
            }
        }
    }

    private sealed record Segment(IPEndPoint From, IPEndPoint To, uint Sequence, bool Syn, byte[] Data)
    {
        public static Segment? Parse(ReadOnlySpan<byte> frame)
        {
            const int ethernet = 14, tcp = 6;
            if (frame.Length < ethernet + 20) return null;
            ReadOnlySpan<byte> ip = frame[ethernet..];
            int header, total, size, at;
            switch (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]))
            {
                case 0x0800 when ip[9] == tcp:
                    (header, total, size, at) = ((ip[0] & 15) * 4, BinaryPrimitives.ReadUInt16BigEndian(ip[2..]), 4, 12);
                    break;
                case 0x86DD when ip.Length >= 40 && ip[6] == tcp:
                    (header, total, size, at) = (40, 40 + BinaryPrimitives.ReadUInt16BigEndian(ip[4..]), 16, 8);
                    break;
                default:
                    return null;
            }

            if (total > ip.Length || total < header + 20) return null;
            ReadOnlySpan<byte> body = ip[header..total];
            int offset = (body[12] >> 4) * 4;
            if (offset < 20 || offset > body.Length) return null;
            return new Segment(
                new IPEndPoint(new IPAddress(ip.Slice(at, size)), BinaryPrimitives.ReadUInt16BigEndian(body)),
                new IPEndPoint(new IPAddress(ip.Slice(at + size, size)), BinaryPrimitives.ReadUInt16BigEndian(body[2..])),
                BinaryPrimitives.ReadUInt32BigEndian(body[4..]), (body[13] & 2) != 0, body[offset..].ToArray());
        }
    }
}
