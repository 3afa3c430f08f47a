using System.Buffers.Binary;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>A write; without bytes: zeros. <paramref name="Number"/> is its place in the order.</summary>
internal sealed record Request(int Number, int Offset, int Length, byte[]? Bytes)
{
    /// <summary>It is no write: the volume has so many bytes from then on; 0 = it is one.</summary>
    public int Size { get; init; }
}

/// <summary>
/// What a client has asked a volume for, in order. Each sector that is written has the number of its request in front, so that what is
/// there can be told without a word of the stores: it is the state after the first n requests, for one n.
/// </summary>
internal sealed class Requests(int size, Random random)
{
    private readonly List<Request> _open = [];
    private byte[] _base = new byte[size];
    private int _size = size;
    private int _baseNumber, _number, _answered;

    /// <summary>The last request that was not lost.</summary>
    public int Last => _open.Count > 0 ? _open[^1].Number : _baseNumber;

    /// <summary>The last request that was answered.</summary>
    public int Answered => Volatile.Read(ref _answered);

    /// <summary>The next write, of sectors or blocks.</summary>
    public Request Next(bool zeros = false)
    {
        int unit = random.Next(3) == 0 ? 512 : 4096, length = unit * (1 + random.Next(4));
        int offset = unit * random.Next(((_size - length) / unit) + 1), number = ++_number;
        byte[]? bytes = null;
        if (!zeros)
        {
            bytes = new byte[length];
            random.NextBytes(bytes);
            for (int at = 0; at < length; at += 512) BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), number);
        }

        var request = new Request(number, offset, length, bytes);
        _open.Add(request);
        return request;
    }

    /// <summary>The volume gets larger.</summary>
    public Request Grow(int newSize)
    {
        _size = newSize;
        var request = new Request(++_number, 0, 0, null) { Size = newSize };
        _open.Add(request);
        return request;
    }

    /// <summary>Bytes of the volume behind the last request.</summary>
    public int Size => _size;

    /// <summary>A request was answered.</summary>
    public void Answer(int number) => Raise(ref _answered, number);

    /// <summary>The number is at least this.</summary>
    public static void Raise(ref int value, int to)
    {
        for (int had = Volatile.Read(ref value); had < to;)
        {
            int now = Interlocked.CompareExchange(ref value, to, had);
            if (now == had) return;
            had = now;
        }
    }

    /// <summary>The bytes are the state after the first n requests, and n is at least <paramref name="must"/>.</summary>
    /// <returns>n.</returns>
    public int Verify(string who, byte[] bytes, int must)
    {
        int stamp = 0, found = -1;
        for (int at = 0; at < bytes.Length; at += 512)
            stamp = Math.Max(stamp, BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at)));
        byte[] state = [.. _base];
        if (stamp <= _baseNumber && state.AsSpan().SequenceEqual(bytes)) found = _baseNumber;
        foreach (Request request in _open)
        {
            if (request.Size > 0) Array.Resize(ref state, request.Size);
            Span<byte> place = state.AsSpan(request.Offset, request.Length);
            if (request.Bytes is { } written) written.CopyTo(place);
            else place.Clear();
            if (request.Number >= stamp && state.AsSpan().SequenceEqual(bytes)) found = request.Number;
        }

        if (found < 0)
        {
            throw new InvalidOperationException($"{who} is not the state after any prefix of the requests {_baseNumber} to {_number}; the "
                + $"last of which a sector is there is {stamp}");
        }

        return found >= must ? found : throw new InvalidOperationException($"{who} has the requests up to {found}; {must} was promised");
    }

    /// <summary>What came behind request <paramref name="last"/> is lost; no flush that comes later promises it. No request is
    /// open.</summary>
    /// <returns>How many.</returns>
    public int Drop(int last)
    {
        _answered = Math.Min(_answered, last);
        int gone = _open.RemoveAll(r => r.Number > last);
        _size = _open.LastOrDefault(r => r.Size > 0)?.Size ?? _base.Length;
        return gone;
    }

    /// <summary>All that was asked for is there; it is the state that the next requests begin with.</summary>
    public void Rest(byte[] state)
    {
        _baseNumber = Last;
        _base = state;
        _open.Clear();
    }
}
