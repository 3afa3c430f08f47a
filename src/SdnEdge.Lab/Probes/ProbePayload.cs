using System.Buffers.Binary;

namespace SdnEdge.Lab.Probes;

/// <summary>
/// What a probe packet carries in its UDP payload, network byte order:
/// <code>
///  0                   1                   2                   3
/// +---------------------------------------------------------------+
/// |                        magic "SDNP"                           |  0
/// +---------------+---------------+-------------------------------+
/// |  version = 1  |    stream     |             flow              |  4
/// +---------------+---------------+-------------------------------+
/// |                  sequence in the stream                       |  8
/// +---------------------------------------------------------------+
/// |                  sequence in the flow                         | 12
/// +---------------------------------------------------------------+
/// |           send time, CLOCK_MONOTONIC nanoseconds              | 16
/// |                                                               |
/// +---------------------------------------------------------------+
/// |                       run identifier                          | 24
/// +---------------------------------------------------------------+
/// |         filler (bytes count up) ...    tail check             | 28 .. size-1
/// +---------------------------------------------------------------+
/// </code>
/// The tail check sits in the last four bytes, so a packet cut short or joined wrongly after segmentation is seen.
/// </summary>
public record struct ProbePayload
{
    /// <summary>Smallest legal payload in bytes.</summary>
    public const int MinSize = 32;

    /// <summary>Largest legal payload in bytes (64 KiB less IP and UDP headers is never wanted here; a jumbo frame is enough).</summary>
    public const int MaxSize = 8972;

    private const uint Magic = 0x53444E50;
    private const byte Version = 1;
    private const int VersionAt = 4, StreamAt = 5, FlowAt = 6, SequenceAt = 8, FlowSequenceAt = 12, SendAt = 16, RunAt = 24, FillerAt = 28;

    /// <summary>Stream: one sender to one receiver.</summary>
    public byte Stream;

    /// <summary>Flow in the stream: one 5-tuple.</summary>
    public ushort Flow;

    /// <summary>Counts the packets of the stream from 0.</summary>
    public uint Sequence;

    /// <summary>Counts the packets of the flow from 0.</summary>
    public uint FlowSequence;

    /// <summary>When the sender built the packet, CLOCK_MONOTONIC nanoseconds.</summary>
    public long SendNs;

    /// <summary>Which run the packet belongs to, so that a straggler of an earlier run is told apart.</summary>
    public uint Run;

    /// <summary>Writes the parts that never change into a payload buffer of the final size.</summary>
    /// <param name="payload">At least <see cref="MinSize"/> bytes.</param>
    public static void Prepare(Span<byte> payload)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(payload.Length, MinSize);
        payload.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(payload, Magic);
        payload[VersionAt] = Version;
        for (int i = FillerAt; i < payload.Length - 4; i++)
        {
            payload[i] = (byte)i;
        }
    }

    /// <summary>Writes the changing parts into a buffer made ready by <see cref="Prepare"/>.</summary>
    public readonly void Write(Span<byte> payload)
    {
        payload[StreamAt] = Stream;
        BinaryPrimitives.WriteUInt16BigEndian(payload[FlowAt..], Flow);
        BinaryPrimitives.WriteUInt32BigEndian(payload[SequenceAt..], Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(payload[FlowSequenceAt..], FlowSequence);
        BinaryPrimitives.WriteInt64BigEndian(payload[SendAt..], SendNs);
        BinaryPrimitives.WriteUInt32BigEndian(payload[RunAt..], Run);
        BinaryPrimitives.WriteUInt32BigEndian(payload[^4..], TailCheck(Sequence, Run));
    }

    /// <summary>Reads a payload. False when it is no whole probe packet; never throws, never reads past the end.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out ProbePayload probe)
    {
        probe = default;
        if (payload.Length < MinSize || BinaryPrimitives.ReadUInt32BigEndian(payload) != Magic || payload[VersionAt] != Version)
        {
            return false;
        }

        probe.Stream = payload[StreamAt];
        probe.Flow = BinaryPrimitives.ReadUInt16BigEndian(payload[FlowAt..]);
        probe.Sequence = BinaryPrimitives.ReadUInt32BigEndian(payload[SequenceAt..]);
        probe.FlowSequence = BinaryPrimitives.ReadUInt32BigEndian(payload[FlowSequenceAt..]);
        probe.SendNs = BinaryPrimitives.ReadInt64BigEndian(payload[SendAt..]);
        probe.Run = BinaryPrimitives.ReadUInt32BigEndian(payload[RunAt..]);
        return BinaryPrimitives.ReadUInt32BigEndian(payload[^4..]) == TailCheck(probe.Sequence, probe.Run);
    }

    private static uint TailCheck(uint sequence, uint run) => (sequence * 2654435761u) ^ run ^ Magic;
}
