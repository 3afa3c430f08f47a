using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>The owner's first frame.</summary>
/// <param name="Version">Version of the protocol; another one is refused.</param>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Size">Its size, bytes.</param>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="Durable">What is durable at the owner.</param>
/// <param name="Answered">Up to here it has answered writes as durable: what a site without them has lost.</param>
/// <param name="IsFinal">A person has promoted it: the owner before gives way.</param>
public sealed record LinkHello(int Version, Guid Volume, long Size, ulong Epoch, ulong Durable, ulong Answered = 0, bool IsFinal = false)
{
    /// <summary>This version.</summary>
    public const int CurrentVersion = 3;
}

/// <summary>The replica's answer.</summary>
/// <param name="Last">Its last point.</param>
/// <param name="Phase">What its copy is.</param>
/// <param name="CopiedBytes">While it is copied: bytes that are there.</param>
/// <param name="KeepsBatchesWhole">Bytes may be left out of a batch.</param>
/// <param name="Size">Size of the volume at its last point, bytes.</param>
public sealed record LinkAnswer(LogPoint Last, CopyPhase Phase, long CopiedBytes, bool KeepsBatchesWhole, long Size);

/// <summary>What the stream is to begin with.</summary>
/// <param name="Start">What.</param>
/// <param name="From">The log: from behind this point.</param>
/// <param name="CopiedBytes">Bytes along the ranges that are there.</param>
/// <param name="Ranges">Differences: what is fetched.</param>
public sealed record LinkStart(StreamStart Start, LogPoint From, long CopiedBytes, IReadOnlyList<(long Offset, long Length)> Ranges);

/// <summary>Writes a body, little endian.</summary>
internal sealed class BodyWriter
{
    private readonly ArrayBufferWriter<byte> _to = new();

    public ReadOnlyMemory<byte> Body => _to.WrittenMemory;

    public BodyWriter Byte(byte value)
    {
        _to.Write([value]);
        return this;
    }

    public BodyWriter Number(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(_to.GetSpan(8), value);
        _to.Advance(8);
        return this;
    }

    public BodyWriter Number(long value) => Number((ulong)value);

    public BodyWriter Point(LogPoint point) => Number(point.Sequence).Number(point.Epoch).Number(point.Chain);

    public BodyWriter Bytes(ReadOnlySpan<byte> bytes)
    {
        _to.Write(bytes);
        return this;
    }
}

/// <summary>Reads a body; what is missing or too much is a <see cref="LinkFormatException"/>.</summary>
internal ref struct BodyReader(FrameKind kind, ReadOnlySpan<byte> body)
{
    private ReadOnlySpan<byte> _rest = body;

    public byte Byte()
    {
        byte value = Take(1)[0];
        return value;
    }

    public ulong Number() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public long Size() => (long)Number() is >= 0 and var value ? value
        : throw new LinkFormatException($"a {kind} frame has a negative number");

    public bool Flag() => Byte() switch
    {
        0 => false,
        1 => true,
        var other => throw new LinkFormatException($"a {kind} frame has {other} where 0 or 1 is right"),
    };

    public LogPoint Point() => new(Number(), Number(), Number());

    public ReadOnlySpan<byte> Take(int length)
    {
        if (_rest.Length < length) throw new LinkFormatException($"a {kind} frame is {length - _rest.Length} bytes too short");
        ReadOnlySpan<byte> taken = _rest[..length];
        _rest = _rest[length..];
        return taken;
    }

    public readonly int Left => _rest.Length;

    public readonly void End()
    {
        if (_rest.Length > 0) throw new LinkFormatException($"a {kind} frame is {_rest.Length} bytes too long");
    }
}

/// <summary>The bodies of the link's small frames.</summary>
internal static class LinkMessages
{
    // Enough for any answer that a search needs, and for ranges of a fragmented difference.
    private const int MaxAsked = 64, MaxRanges = 1 << 20;

    public static ReadOnlyMemory<byte> Write(LinkHello hello) => new BodyWriter().Number(hello.Version).Bytes(hello.Volume.ToByteArray())
        .Number(hello.Size).Number(hello.Epoch).Number(hello.Durable).Number(hello.Answered)
        .Byte(hello.IsFinal ? (byte)1 : (byte)0).Body;

    public static LinkHello Hello(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.Hello, body);
        ulong version = reader.Number();
        if (version != LinkHello.CurrentVersion)
            throw new LinkFormatException($"the other site speaks version {version} of the link, this one "
                + $"{LinkHello.CurrentVersion}; update the older one");
        var hello = new LinkHello((int)version, new Guid(reader.Take(16)), reader.Size(), reader.Number(), reader.Number(),
            reader.Number(), reader.Flag());
        reader.End();
        return hello;
    }

    public static ReadOnlyMemory<byte> Write(LinkAnswer answer) => new BodyWriter().Point(answer.Last).Byte((byte)answer.Phase)
        .Number(answer.CopiedBytes).Byte(answer.KeepsBatchesWhole ? (byte)1 : (byte)0).Number(answer.Size).Body;

    public static LinkAnswer Answer(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.Answer, body);
        LogPoint last = reader.Point();
        var phase = (CopyPhase)reader.Byte();
        if (!Enum.IsDefined(phase)) throw new LinkFormatException($"an answer has the unknown phase {(int)phase}");
        var answer = new LinkAnswer(last, phase, reader.Size(), reader.Flag(), reader.Size());
        reader.End();
        return answer;
    }

    public static ReadOnlyMemory<byte> WriteQuery(IReadOnlyList<ulong> sequences)
    {
        var writer = new BodyWriter();
        foreach (ulong sequence in sequences) writer.Number(sequence);
        return writer.Body;
    }

    public static List<ulong> Query(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.ChainQuery, body);
        var asked = new List<ulong>();
        while (reader.Left > 0 && asked.Count < MaxAsked) asked.Add(reader.Number());
        reader.End();
        return asked;
    }

    public static ReadOnlyMemory<byte> WriteChains(IEnumerable<ulong?> chains)
    {
        var writer = new BodyWriter();
        foreach (ulong? chain in chains) writer.Byte(chain is null ? (byte)0 : (byte)1).Number(chain ?? 0);
        return writer.Body;
    }

    public static List<ulong?> Chains(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.ChainAnswer, body);
        var chains = new List<ulong?>();
        while (reader.Left > 0 && chains.Count < MaxAsked)
        {
            bool has = reader.Flag();
            ulong chain = reader.Number();
            chains.Add(has ? chain : null);
        }

        reader.End();
        return chains;
    }

    // The point, the volume's size there (0: not known), and what is touched behind it, where the log does not say.
    public static ReadOnlyMemory<byte> WriteCommon(LogPoint? common, long size, IReadOnlyList<(long Offset, long Length)>? gap)
    {
        BodyWriter writer = new BodyWriter().Byte(common is null ? (byte)0 : gap is null ? (byte)1 : (byte)2).Point(common ?? default)
            .Number(size);
        foreach ((long offset, long length) in gap ?? []) writer.Number(offset).Number(length);
        return writer.Body;
    }

    public static (LogPoint? Common, long Size, List<(long Offset, long Length)>? Gap) Common(ReadOnlySpan<byte> body, long size)
    {
        var reader = new BodyReader(FrameKind.Common, body);
        byte kind = reader.Byte();
        if (kind > 2) throw new LinkFormatException($"a common point has the unknown kind {kind}");
        LogPoint point = reader.Point();
        long sizeThere = reader.Size();
        List<(long, long)>? gap = kind == 2 ? Ranges(ref reader, size, "common point") : null;
        reader.End();
        return (kind == 0 ? null : point, sizeThere, gap);
    }

    private static List<(long Offset, long Length)> Ranges(ref BodyReader reader, long size, string what)
    {
        var ranges = new List<(long, long)>();
        while (reader.Left > 0 && ranges.Count < MaxRanges)
        {
            (long offset, long length) = (reader.Size(), reader.Size());
            if (length == 0 || offset > size - length)
                throw new LinkFormatException($"a {what} has the range {offset}+{length}; the volume has {size} bytes");
            ranges.Add((offset, length));
        }

        return ranges;
    }

    public static ReadOnlyMemory<byte> Write(LinkStart start)
    {
        BodyWriter writer = new BodyWriter().Byte((byte)start.Start).Point(start.From).Number(start.CopiedBytes);
        foreach ((long offset, long length) in start.Ranges) writer.Number(offset).Number(length);
        return writer.Body;
    }

    public static LinkStart Start(ReadOnlySpan<byte> body, long size)
    {
        var reader = new BodyReader(FrameKind.Start, body);
        var start = (StreamStart)reader.Byte();
        if (!Enum.IsDefined(start)) throw new LinkFormatException($"a start has the unknown kind {(int)start}");
        LogPoint from = reader.Point();
        long copied = reader.Size();
        List<(long Offset, long Length)> ranges = Ranges(ref reader, size, "start");
        reader.End();
        return new(start, from, copied, ranges);
    }

    public static ReadOnlyMemory<byte> Write(LogPoint point) => new BodyWriter().Point(point).Body;

    public static LogPoint Point(FrameKind kind, ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(kind, body);
        LogPoint point = reader.Point();
        reader.End();
        return point;
    }

    public static ReadOnlyMemory<byte> WriteBegins(LogPoint point, long size) => new BodyWriter().Point(point).Number(size).Body;

    public static (LogPoint Point, long Size) Begins(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.LogBegins, body);
        (LogPoint, long) begins = (reader.Point(), reader.Size());
        reader.End();
        return begins;
    }

    public static ReadOnlyMemory<byte> WriteSize(long size, string? whyNot)
        => new BodyWriter().Number(size).Bytes(whyNot is null ? default : WriteText(whyNot).Span).Body;

    public static (long Size, string? WhyNot) Size(FrameKind kind, ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(kind, body);
        long size = reader.Size();
        return (size, reader.Left == 0 ? null : Text(reader.Take(reader.Left)));
    }

    public static ReadOnlyMemory<byte> Write(ulong first, ulong second) => new BodyWriter().Number(first).Number(second).Body;

    public static ReadOnlyMemory<byte> WritePing(ulong stamp, ulong durable, ulong answered)
        => new BodyWriter().Number(stamp).Number(durable).Number(answered).Body;

    public static (ulong Stamp, ulong Durable, ulong Answered) Ping(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.Ping, body);
        (ulong, ulong, ulong) ping = (reader.Number(), reader.Number(), reader.Number());
        reader.End();
        return ping;
    }

    public static (ulong First, ulong Second) Pair(FrameKind kind, ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(kind, body);
        (ulong, ulong) pair = (reader.Number(), reader.Number());
        reader.End();
        return pair;
    }

    public static ReadOnlyMemory<byte> Write(DrainProof proof)
        => new BodyWriter().Point(proof.Point).Number(proof.OwnerEpoch).Number(proof.ContentRoot).Body;

    public static DrainProof Proof(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.Proof, body);
        var proof = new DrainProof(reader.Point(), reader.Number(), reader.Number());
        reader.End();
        return proof;
    }

    public static ReadOnlyMemory<byte> WriteText(string text) => Encoding.UTF8.GetBytes(text.Length > 1000 ? text[..1000] : text);

    public static string Text(ReadOnlySpan<byte> body) => Encoding.UTF8.GetString(body[..Math.Min(body.Length, 4096)]);
}
