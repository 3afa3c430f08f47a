using System.Buffers.Binary;
using System.Text;
using SdnEdge.Storage.Nbd;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>What a client sends, as bytes.</summary>
internal sealed class NbdScript
{
    private readonly List<byte> _bytes = [];
    private ulong _cookie;

    public byte[] ToArray() => [.. _bytes];

    public NbdScript Raw(params ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public NbdScript Flags(uint flags = 3) => Raw(U32(flags));

    public NbdScript Option(uint option, params ReadOnlySpan<byte> data) => OptionHeader(option, (uint)data.Length).Raw(data);

    public NbdScript OptionHeader(uint option, uint length)
        => Raw(U64(NbdProtocol.OptionMagic)).Raw(U32(option)).Raw(U32(length));

    public NbdScript ExportName(string name) => Option((uint)NbdOption.ExportName, Encoding.UTF8.GetBytes(name));

    public NbdScript Go(string name, params ReadOnlySpan<ushort> infos) => Option((uint)NbdOption.Go, InfoData(name, infos));

    public NbdScript Info(string name, params ReadOnlySpan<ushort> infos) => Option((uint)NbdOption.Info, InfoData(name, infos));

    public NbdScript Structured() => Option((uint)NbdOption.StructuredReply);

    public NbdScript SetContext(string name, params string[] queries) => Option((uint)NbdOption.SetMetaContext, ContextData(name, queries));

    public NbdScript ListContext(string name, params string[] queries)
        => Option((uint)NbdOption.ListMetaContext, ContextData(name, queries));

    public NbdScript Request(NbdCommand command, ulong offset, uint length, NbdCommandFlags flags = NbdCommandFlags.None,
        uint magic = NbdProtocol.RequestMagic)
    {
        byte[] header = new byte[NbdRequest.Size];
        new NbdRequest(magic, flags, command, ++_cookie, offset, length).Write(header);
        return Raw(header);
    }

    public NbdScript Write(ulong offset, ReadOnlySpan<byte> bytes, NbdCommandFlags flags = NbdCommandFlags.None)
        => Request(NbdCommand.Write, offset, (uint)bytes.Length, flags).Raw(bytes);

    public NbdScript Disconnect() => Request(NbdCommand.Disconnect, 0, 0);

    /// <summary>A session that has the export vol open, then these requests.</summary>
    public static NbdScript Opened(bool structured, Action<NbdScript> requests)
    {
        var script = new NbdScript().Flags();
        if (structured) script.Structured().SetContext("vol", "base:allocation");
        script.Go("vol");
        requests(script);
        return script;
    }

    public static byte[] InfoData(string name, params ReadOnlySpan<ushort> infos)
    {
        byte[] text = Encoding.UTF8.GetBytes(name);
        byte[] data = new byte[4 + text.Length + 2 + (2 * infos.Length)];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)text.Length);
        text.CopyTo(data, 4);
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(4 + text.Length), (ushort)infos.Length);
        for (int i = 0; i < infos.Length; i++) BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(6 + text.Length + (2 * i)), infos[i]);
        return data;
    }

    public static byte[] ContextData(string name, params string[] queries)
    {
        var data = new MemoryStream();
        foreach (string text in (string[])[name])
        {
            data.Write(U32((uint)Encoding.UTF8.GetByteCount(text)));
            data.Write(Encoding.UTF8.GetBytes(text));
        }

        data.Write(U32((uint)queries.Length));
        foreach (string query in queries)
        {
            data.Write(U32((uint)Encoding.UTF8.GetByteCount(query)));
            data.Write(Encoding.UTF8.GetBytes(query));
        }

        return data.ToArray();
    }

    public static byte[] U16(ushort value)
    {
        byte[] bytes = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] U32(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] U64(ulong value)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return bytes;
    }
}

/// <summary>Reads what a server said.</summary>
internal sealed class NbdAnswers(byte[] bytes)
{
    private int _at;

    public int Left => bytes.Length - _at;

    public ReadOnlySpan<byte> Take(int count)
    {
        if (Left < count) throw new InvalidDataException($"{count} bytes were awaited at {_at}, {Left} are there");
        _at += count;
        return bytes.AsSpan(_at - count, count);
    }

    public ushort U16() => BinaryPrimitives.ReadUInt16BigEndian(Take(2));

    public uint U32() => BinaryPrimitives.ReadUInt32BigEndian(Take(4));

    public ulong U64() => BinaryPrimitives.ReadUInt64BigEndian(Take(8));

    public ushort Greeting()
    {
        Same(NbdProtocol.Magic, U64());
        Same(NbdProtocol.OptionMagic, U64());
        return U16();
    }

    public (uint Option, NbdOptionReply Type, byte[] Data) OptionReply()
    {
        Same(NbdProtocol.OptionReplyMagic, U64());
        (uint option, uint type, uint length) = (U32(), U32(), U32());
        return (option, (NbdOptionReply)type, Take((int)length).ToArray());
    }

    /// <summary>The replies to one option, up to the one that ends them.</summary>
    public List<(NbdOptionReply Type, byte[] Data)> OptionReplies(uint option)
    {
        List<(NbdOptionReply, byte[])> replies = [];
        while (true)
        {
            (uint of, NbdOptionReply type, byte[] data) = OptionReply();
            Same(option, of);
            replies.Add((type, data));
            if (type == NbdOptionReply.Ack || type >= NbdOptionReply.Unsupported) return replies;
        }
    }

    /// <summary>The name in a reply to LIST, and what follows it.</summary>
    public static (string Name, string Description) Server(byte[] data)
    {
        int length = (int)BinaryPrimitives.ReadUInt32BigEndian(data);
        return (Encoding.UTF8.GetString(data, 4, length), Encoding.UTF8.GetString(data.AsSpan(4 + length)));
    }

    /// <summary>One reply, simple or a chunk.</summary>
    /// <param name="readLength">Bytes that follow a simple reply without an error.</param>
    public NbdAnswer Reply(int readLength = 0)
    {
        uint magic = U32();
        if (magic == NbdProtocol.SimpleReplyMagic)
        {
            (uint error, ulong cookie) = (U32(), U64());
            return new NbdAnswer(cookie, (NbdError)error, true, null, error == 0 ? Take(readLength).ToArray() : []);
        }

        Same(NbdProtocol.ChunkMagic, magic);
        (ushort flags, ushort type, ulong id, uint length) = (U16(), U16(), U64(), U32());
        byte[] data = Take((int)length).ToArray();
        NbdError code = type >= (ushort)NbdChunk.Error ? (NbdError)BinaryPrimitives.ReadUInt32BigEndian(data) : NbdError.None;
        return new NbdAnswer(id, code, (flags & 1) != 0, (NbdChunk)type, data);
    }

    private static void Same<T>(T expected, T actual)
    {
        if (EqualityComparer<T>.Default.Equals(expected, actual)) return;
        throw new InvalidDataException($"{expected} was awaited, {actual} is there");
    }
}

/// <summary>A reply.</summary>
/// <param name="Cookie">Of which request.</param>
/// <param name="Error">Its error.</param>
/// <param name="IsLast">Nothing more comes for the request.</param>
/// <param name="Chunk">Null: a simple reply.</param>
/// <param name="Data">What follows the header.</param>
internal sealed record NbdAnswer(ulong Cookie, NbdError Error, bool IsLast, NbdChunk? Chunk, byte[] Data);

/// <summary>A transport whose input is there from the start, cut as told, and whose output is kept.</summary>
internal sealed class ScriptedTransport(byte[] input, Func<int>? cuts = null) : NbdTransport
{
    private readonly MemoryStream _output = new();
    private readonly SemaphoreSlim _signals = new(0);
    private int _at;
    private bool _down;

    public byte[] Output => _output.ToArray();

    public bool IsDisposed { get; private set; }

    /// <summary>Bytes after which the other end takes no more.</summary>
    public long GoneAfter { get; init; } = long.MaxValue;

    public override int Receive(Span<byte> into)
    {
        if (into.Length == 0) throw new InvalidOperationException("a receive without room");
        while (_at == input.Length)
        {
            // A real client would wait for its replies.
            if (_down || Waiter is not { HasPending: true }) return 0;
            _signals.Wait();
            Waiter.Drain();
        }

        int count = Math.Min(Math.Min(into.Length, input.Length - _at), Math.Max(1, cuts?.Invoke() ?? int.MaxValue));
        input.AsSpan(_at, count).CopyTo(into);
        _at += count;
        return count;
    }

    public override bool Send(ReadOnlySpan<byte> bytes)
    {
        if (_output.Length + bytes.Length > GoneAfter) return false;
        _output.Write(bytes);
        return true;
    }

    public override void Signal() => _signals.Release();

    public override void WaitForSignal() => _signals.Wait();

    public override void ShutDown(bool receiveOnly) => _down = true;

    public override void Dispose() => IsDisposed = true;
}
