using SdnEdge.Core.Api;

namespace SdnEdge.Host.Qemu;

/// <summary>How one copy went: a sample every 100 ms; when there are too many, every other one is dropped. Any thread.</summary>
internal sealed class CopyLog(string migration, long epoch, string peerHost, long beganAtNs)
{
    private const int Most = 1000;
    private readonly Lock _lock = new();
    private readonly List<CopySample> _samples = [];
    private long _intervalNs = 100_000_000, _endedAtNs;
    private bool _completed;

    /// <summary>Notes a moment; one that comes too soon after the one before is only noted when the gate or the pass has changed.</summary>
    public void Add(CopySample sample)
    {
        lock (_lock)
        {
            if (_samples.Count > 0 && _samples[^1] is var last && sample.AtNs - last.AtNs < _intervalNs && sample.Pass == last.Pass
                && sample.GateShut == last.GateShut) return;
            _samples.Add(sample);
            if (_samples.Count < Most) return;
            for (int i = _samples.Count - 2; i > 0; i -= 2) _samples.RemoveAt(i);
            _intervalNs *= 2;
        }
    }

    /// <summary>It has ended.</summary>
    public void End(long atNs, bool completed)
    {
        lock (_lock)
        {
            if (_endedAtNs == 0) (_endedAtNs, _completed) = (atNs, completed);
        }
    }

    /// <summary>As the API says it.</summary>
    /// <param name="copiedBytes">Bytes that QEMU sent.</param>
    /// <param name="wireBytes">Bytes that went over the network for them.</param>
    public CopyInfo Info(long copiedBytes, long wireBytes)
    {
        lock (_lock)
        {
            int pass = _samples.Count == 0 ? 1 : _samples.Max(s => s.Pass);
            return new CopyInfo(migration, epoch, peerHost, beganAtNs, _endedAtNs == 0 ? null : _endedAtNs, _completed, copiedBytes,
                wireBytes, pass, [.. _samples]);
        }
    }
}
