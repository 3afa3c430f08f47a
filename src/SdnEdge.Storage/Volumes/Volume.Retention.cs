namespace SdnEdge.Storage.Volumes;

// How long the log is kept: until it is in the image, and with every replica.
public sealed partial class Volume
{
    /// <summary>Keeps records for a replica from the one after <paramref name="acknowledged"/> on; called again, it has come so far. It is
    /// durable with the next checkpoint, and no record is let go before that.</summary>
    /// <returns>False when there are too many replicas, or the name is too long.</returns>
    public bool SetReplica(string name, ulong acknowledged)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        lock (_log.Gate)
        {
            if (!_replicas.ContainsKey(name)
                && (_replicas.Count >= Superblock.MaxReplicas || System.Text.Encoding.UTF8.GetByteCount(name) > Superblock.MaxName))
                return false;
            _replicas[name] = acknowledged;
            _replicasChanged = true;
        }

        if (_log.IsFull) Kick();
        return true;
    }

    /// <summary>The records are kept for this replica no longer.</summary>
    public void RemoveReplica(string name)
    {
        lock (_log.Gate)
        {
            if (_replicas.Remove(name)) _replicasChanged = true;
        }

        if (_log.IsFull) Kick();
    }

    /// <summary>The sequence that each replica has acknowledged.</summary>
    public IReadOnlyDictionary<string, ulong> Replicas
    {
        get
        {
            lock (_log.Gate) return new Dictionary<string, ulong>(_replicas, StringComparer.Ordinal);
        }
    }

    private void Release(Dictionary<string, ulong> replicas)
    {
        ulong needed = _super.Applied;
        string? slowest = null;
        foreach ((string name, ulong sequence) in replicas)
        {
            if (sequence >= needed) continue;
            (needed, slowest) = (sequence, name);
        }

        _log.Release(needed);
        bool held = _log.IsFull && slowest is not null;
        if (held && !_retentionTold)
        {
            Tell(VolumeEventKind.RetentionExceeded, slowest!, 0,
                $"the log is full ({_log.BytesInUse} bytes) from record {needed + 1} on, which {slowest} has not acknowledged: "
                + "writes wait until it has, or is removed");
        }

        _retentionTold = held;
    }
}
