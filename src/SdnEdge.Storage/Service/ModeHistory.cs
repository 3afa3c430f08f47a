using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Service;

/// <summary>The last changes of when a volume's writes are answered, and its last drain, with their times. Any thread.</summary>
internal sealed class ModeHistory
{
    /// <summary>So many changes are kept.</summary>
    public const int Kept = 64;

    private readonly Lock _lock = new();
    private readonly List<ModeChangeInfo> _changes = [];
    private DrainTimeInfo? _drain;

    /// <summary>The changes, the oldest first.</summary>
    public IReadOnlyList<ModeChangeInfo> Changes
    {
        get
        {
            lock (_lock) return [.. _changes];
        }
    }

    /// <summary>The last drain that was proved; null = none was since the start.</summary>
    public DrainTimeInfo? Drain
    {
        get
        {
            lock (_lock) return _drain;
        }
    }

    /// <summary>The store owns the volume from here on, in this mode.</summary>
    public void Owns(ulong epoch, ReplicationMode mode, long now) => Add(new ModeChangeInfo(epoch, mode, now, 0, now));

    /// <summary>A mode is asked for. One that was asked for already, or holds, is nothing new.</summary>
    public void Asked(ulong epoch, ReplicationMode mode, long lagBytes, long now)
    {
        lock (_lock)
        {
            if (_changes is [.., var last] && last.Epoch == epoch && last.Mode == mode) return;
        }

        Add(new ModeChangeInfo(epoch, mode, now, lagBytes));
    }

    /// <summary>Writes are answered by this mode from here on.</summary>
    public void InForce(ReplicationMode mode, long now) => Change(mode, c => c with { InForceAtNs = c.InForceAtNs ?? now });

    /// <summary>The mode is reached: the replica has proved that it has everything, where the mode promises it.</summary>
    public void Reached(ReplicationMode mode, long now)
        => Change(mode, c => c with { InForceAtNs = c.InForceAtNs ?? now, ReachedAtNs = c.ReachedAtNs ?? now });

    /// <summary>The replica has proved that it has everything, while the client stood still.</summary>
    public void Drained(DrainTimeInfo drain)
    {
        lock (_lock) _drain = drain;
    }

    private void Add(ModeChangeInfo change)
    {
        lock (_lock)
        {
            _changes.Add(change);
            if (_changes.Count > Kept) _changes.RemoveAt(0);
        }
    }

    private void Change(ReplicationMode mode, Func<ModeChangeInfo, ModeChangeInfo> change)
    {
        lock (_lock)
        {
            if (_changes is [.., var last] && last.Mode == mode) _changes[^1] = change(last);
        }
    }
}
