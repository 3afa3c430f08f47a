namespace SdnEdge.Core.Forwarding;

/// <summary>What a worker drives: it hands over what a port received and says when time has passed. Called by that one worker
/// only.</summary>
public interface IBatchProcessor
{
    /// <summary>
    /// When <see cref="Poll"/> wants to be called next, in ns; <see cref="long.MaxValue"/> for never. May change with any
    /// call; who brings it forward from another thread must then wake the worker (post it a command).
    /// </summary>
    long NextDeadline { get; }

    /// <summary>Consumes a batch that came in on <paramref name="port"/> at <paramref name="now"/> (ns).</summary>
    void Process(PacketBatch batch, int port, long now);

    /// <summary>Does what has become due by <paramref name="now"/> (ns).</summary>
    void Poll(long now);
}
