namespace SdnEdge.Lab.Probes;

/// <summary>First line a probe prints: it is ready (a receiver listens, a sender is about to send).</summary>
/// <param name="Event">Always "ready".</param>
/// <param name="AtNs">CLOCK_MONOTONIC nanoseconds.</param>
/// <param name="ProcessId">The probe's process.</param>
public sealed record ProbeReady(string Event, long AtNs, int ProcessId);

/// <summary>Last line of <c>sdnedge probe send</c>.</summary>
/// <param name="Event">Always "sent".</param>
/// <param name="Run">Run identifier.</param>
/// <param name="PacketsPerSecond">The rate asked for, all streams together.</param>
/// <param name="StartedAtNs">First packet's time.</param>
/// <param name="EndedAtNs">When the sender stopped.</param>
/// <param name="SkippedNs">Time in which the process stood still and sent nothing, not made up for.</param>
/// <param name="Skips">How often it stood still.</param>
/// <param name="Streams">Each stream.</param>
public sealed record SendResult(
    string Event, uint Run, long PacketsPerSecond, long StartedAtNs, long EndedAtNs, long SkippedNs, int Skips,
    IReadOnlyList<SentStream> Streams);

/// <summary>What a sender sent in one stream.</summary>
/// <param name="Stream">Stream number.</param>
/// <param name="Sent">Packets the kernel took.</param>
/// <param name="Errors">Packets the kernel refused; they are not among those sent and use no sequence.</param>
/// <param name="LastError">errno of the last refusal; 0 = none.</param>
/// <param name="Flows">Flows, one source port each.</param>
/// <param name="SizeBytes">Payload bytes of a packet.</param>
public sealed record SentStream(byte Stream, long Sent, long Errors, int LastError, int Flows, int SizeBytes);

/// <summary>Last line of <c>sdnedge probe receive</c>.</summary>
/// <param name="Event">Always "received".</param>
/// <param name="Run">Run identifier.</param>
/// <param name="OwnDrops">Packets lost in the receiver's own socket buffer.</param>
/// <param name="Foreign">Datagrams that were no packets of this run.</param>
/// <param name="LogOverflow">Packets that found the log full.</param>
/// <param name="Valid">False when the receiver itself lost packets or could not place them: then its counts say nothing about the
/// network.</param>
/// <param name="WhyInvalid">What was wrong; null when valid.</param>
/// <param name="Streams">Each stream that was expected or seen.</param>
public sealed record ReceiveResult(
    string Event, uint Run, long OwnDrops, long Foreign, long LogOverflow, bool Valid, string? WhyInvalid,
    IReadOnlyList<ReceivedStream> Streams);

/// <summary>What a receiver saw of one stream. Times in nanoseconds of CLOCK_MONOTONIC, delays in nanoseconds.</summary>
public sealed record ReceivedStream(
    byte Stream, long Received, long Duplicated, long Reordered, long OutOfRange, int Flows, long FirstArrivalNs, long LastArrivalNs,
    long MaxGapNs, long MaxGapEndedNs, long MinDelayNs, long MaxDelayNs, long MeanDelayNs, SeriesResult? Series);

/// <summary>The delay series of a stream: bins over the send time.</summary>
/// <param name="OriginNs">Start of the first bin.</param>
/// <param name="BinNs">Width.</param>
/// <param name="Counts">Packets in each bin.</param>
/// <param name="MinMicroseconds">Shortest delay in each bin.</param>
/// <param name="MaxMicroseconds">Longest delay in each bin.</param>
public sealed record SeriesResult(
    long OriginNs, long BinNs, IReadOnlyList<int> Counts, IReadOnlyList<int> MinMicroseconds, IReadOnlyList<int> MaxMicroseconds);

/// <summary>Last line of <c>sdnedge probe tcp</c>.</summary>
/// <param name="Event">Always "tcp".</param>
/// <param name="BytesSent">Bytes written.</param>
/// <param name="Bytes">Bytes that came back and were right.</param>
/// <param name="WrongBytes">Bytes that came back and were not what was sent.</param>
/// <param name="Resets">Connections that broke (reset, timed out or closed by the far end).</param>
/// <param name="Connects">Connections made.</param>
/// <param name="MaxStallMs">Longest time with data outstanding in which nothing came back.</param>
/// <param name="MaxStallEndedNs">When that ended.</param>
/// <param name="Retransmits">Segments the kernel sent again (TCP_INFO).</param>
/// <param name="LastError">The last connection error in words; null = none.</param>
public sealed record TcpResult(
    string Event, long BytesSent, long Bytes, long WrongBytes, int Resets, int Connects, double MaxStallMs, long MaxStallEndedNs,
    long Retransmits, string? LastError);
