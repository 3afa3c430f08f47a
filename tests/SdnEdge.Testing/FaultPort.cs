using SdnEdge.Core.Forwarding;

namespace SdnEdge.Testing;

/// <summary>What a <see cref="FaultPort"/> does to what comes in: chances of 0 to 1 for each frame.</summary>
public sealed record Faults(double Drop = 0, double Duplicate = 0, double Corrupt = 0, double Truncate = 0, double Swap = 0);

/// <summary>
/// A port that stands before another one and makes seeded mistakes with what that receives: the same seed makes the same
/// mistakes. What is transmitted passes as it is.
/// </summary>
public sealed class FaultPort(IPort inner, Faults faults, int seed) : IPort, IDisposable
{
    private readonly Random _random = new(seed);
    private readonly PacketBatch _clean = new();

    /// <inheritdoc/>
    public string Name => inner.Name;

    /// <inheritdoc/>
    public bool SegmentsForUs => inner.SegmentsForUs;

    /// <summary>Frames dropped so far.</summary>
    public long Dropped { get; private set; }

    /// <summary>Frames added by duplication so far.</summary>
    public long Duplicated { get; private set; }

    /// <summary>Frames with a changed byte so far.</summary>
    public long Corrupted { get; private set; }

    /// <summary>Frames cut short so far.</summary>
    public long Truncated { get; private set; }

    /// <summary>Frames that changed places with their predecessor so far.</summary>
    public long Swapped { get; private set; }

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        batch.Count = 0;
        if (inner.Receive(_clean) == 0) return 0;
        foreach (ref Packet packet in _clean.Packets)
        {
            if (Happens(faults.Drop))
            {
                Dropped++;
                continue;
            }

            Add(batch, packet);
            if (Happens(faults.Duplicate) && batch.Count < PacketBatch.Capacity)
            {
                Duplicated++;
                batch.TryAdd(packet.Span, packet.Vnet);
            }
        }

        return batch.Count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Packet> packets) => inner.Transmit(packets);

    /// <inheritdoc/>
    public void Dispose() => _clean.Dispose();

    private void Add(PacketBatch batch, in Packet packet)
    {
        int length = packet.Length;
        if (length > 0 && Happens(faults.Truncate))
        {
            length = _random.Next(length);
            Truncated++;
        }

        // Duplicates take slots too: what no longer fits is lost, and counted.
        if (!batch.TryAdd(packet.Span[..length], packet.Vnet))
        {
            Dropped++;
            return;
        }

        int last = batch.Count - 1;
        if (length > 0 && Happens(faults.Corrupt))
        {
            batch[last].Span[_random.Next(length)] ^= (byte)_random.Next(1, 256);
            Corrupted++;
        }

        if (last > 0 && Happens(faults.Swap))
        {
            (batch[last], batch[last - 1]) = (batch[last - 1], batch[last]);
            Swapped++;
        }
    }

    private bool Happens(double chance) => chance > 0 && _random.NextDouble() < chance;
}
