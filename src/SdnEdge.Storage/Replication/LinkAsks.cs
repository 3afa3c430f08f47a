using System.Collections.Concurrent;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>What one site has asked the other beside the stream: blocks, by number, and whether the volume can have a size. Small frames on
/// their way, and who waits for the answers.</summary>
internal sealed class LinkAsks
{
    // More are not asked for at a time, nor answered.
    private const int Most = 64;

    private readonly ConcurrentDictionary<long, TaskCompletionSource<byte[]?>> _waiting = new();
    private readonly ConcurrentQueue<(FrameKind Kind, ReadOnlyMemory<byte> Body)> _frames = new();
    private TaskCompletionSource _news = New();
    private SizeAsk? _size;

    /// <summary>Completes when there is a frame to be sent.</summary>
    public Task News => Volatile.Read(ref _news).Task;

    /// <summary>Asks for a block that has a hash.</summary>
    /// <returns>Its bytes; null = the other site has another one, or is not there any more.</returns>
    public Task<byte[]?> AskAsync(long block, ulong hash)
    {
        var answer = new TaskCompletionSource<byte[]?>(TaskCreationOptions.RunContinuationsAsynchronously);
        if (_waiting.Count >= Most || !_waiting.TryAdd(block, answer)) return Task.FromResult<byte[]?>(null);
        Add(FrameKind.BlockAsk, LinkMessages.Write((ulong)block, hash));
        return answer.Task;
    }

    /// <summary>The other site asks.</summary>
    public void Asked(ReadOnlySpan<byte> body, Func<long, ulong, byte[]?> vouched)
    {
        (ulong block, ulong hash) = LinkMessages.Pair(FrameKind.BlockAsk, body);
        if (_frames.Count >= Most) return;
        byte[]? bytes = block <= long.MaxValue / ContentRoot.BlockSize ? vouched((long)block, hash) : null;
        Add(FrameKind.BlockAnswer, new BodyWriter().Number(block).Bytes(bytes).Body);
    }

    /// <summary>The other site answers.</summary>
    public void Answered(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(FrameKind.BlockAnswer, body);
        long block = reader.Size();
        byte[] bytes = reader.Take(reader.Left).ToArray();
        if (_waiting.TryRemove(block, out TaskCompletionSource<byte[]?>? answer)) answer.TrySetResult(bytes.Length == 0 ? null : bytes);
    }

    /// <summary>Asks whether the volume can have so many bytes. One asks at a time.</summary>
    /// <returns>Why not; null = it can.</returns>
    /// <exception cref="IOException">The connection has ended.</exception>
    public Task<string?> AskSizeAsync(long size)
    {
        var ask = new SizeAsk(size);
        Interlocked.Exchange(ref _size, ask)?.TrySetException(new IOException("it was asked again"));
        Add(FrameKind.SizeAsk, LinkMessages.WriteSize(size, null));
        return ask.Task;
    }

    /// <summary>The other site asks; it is answered when that is known, by another thread.</summary>
    public void SizeAsked(ReadOnlySpan<byte> body, Func<long, string?> prepare)
    {
        long size = LinkMessages.Size(FrameKind.SizeAsk, body).Size;
        _ = Task.Run(() =>
        {
            string? why;
            try
            {
                why = prepare(size);
            }
            catch (ObjectDisposedException)
            {
                why = "the store is stopping";
            }

            Add(FrameKind.SizeAnswer, LinkMessages.WriteSize(size, why));
        });
    }

    /// <summary>The other site answers.</summary>
    public void SizeAnswered(ReadOnlySpan<byte> body)
    {
        (long size, string? why) = LinkMessages.Size(FrameKind.SizeAnswer, body);
        if (Volatile.Read(ref _size) is { } ask && ask.Size == size) ask.TrySetResult(why);
    }

    /// <summary>The next frame to be sent.</summary>
    public bool TryTake(out (FrameKind Kind, ReadOnlyMemory<byte> Body) frame)
    {
        if (_frames.TryDequeue(out frame)) return true;
        if (News.IsCompleted) Interlocked.Exchange(ref _news, New());
        return _frames.TryDequeue(out frame);
    }

    /// <summary>The connection ends: nothing is answered any more.</summary>
    public void End()
    {
        _frames.Clear();
        Interlocked.Exchange(ref _size, null)?.TrySetException(new IOException("the connection has ended"));
        foreach (long block in _waiting.Keys)
        {
            if (_waiting.TryRemove(block, out TaskCompletionSource<byte[]?>? answer)) answer.TrySetResult(null);
        }
    }

    private void Add(FrameKind kind, ReadOnlyMemory<byte> body)
    {
        _frames.Enqueue((kind, body));
        Volatile.Read(ref _news).TrySetResult();
    }

    private sealed class SizeAsk(long size) : TaskCompletionSource<string?>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public long Size => size;
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
