using System.Diagnostics;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;

namespace SdnEdge.Benchmarks.Bfd;

/// <summary>What a PE has of BFD: the process that ships, in a namespace, and what it says of its sessions.</summary>
internal sealed class BfdEnd : IDisposable
{
    private readonly Lock _gate = new();
    private readonly BfdStatus[] _statuses;
    private readonly uint _interval;
    private readonly BfdLink _link;
    private BfdHealth _health;
    private volatile bool _ended;

    public BfdEnd(string space, int interval, int sessions)
    {
        _statuses = new BfdStatus[sessions];
        _interval = (uint)interval * 1000;
        string program = Daemon.Executable();
        _link = BfdLink.Start(fd => new ProcessStartInfo("ip", ["netns", "exec", space, program, "bfd", "--channel-fd", $"{fd}"]), Hear, ()
            => _ended = true);
        for (int i = 0; i < sessions; i++) _link.Watch(new BfdOrder((uint)i, BfdCommand.Key(i, ours: true),
            BfdParameters.Every(interval, BfdCommand.Multiplier), AdminDown: false, ControlPlaneIndependent: true));
    }

    public BfdHealth Health
    {
        get
        {
            lock (_gate) return _health;
        }
    }

    /// <summary>The sessions in the order of their keys, as last told.</summary>
    public BfdStatus[] Statuses
    {
        get
        {
            if (_ended) throw new InvalidOperationException("the BFD process ended");
            lock (_gate) return [.. _statuses];
        }
    }

    public long[] Downs => [.. Statuses.Select(s => s.Downs)];

    /// <summary>All are up, at both ends, with the intervals they were meant to have.</summary>
    public bool AllUp => Statuses.All(s => s is { State: BfdState.Up, RemoteState: BfdState.Up } && s.TransmitInterval == _interval
        && s.DetectionTime == BfdCommand.Multiplier * 1000L * _interval);

    public bool NoneUp => Statuses.All(s => s.State != BfdState.Up);

    public void Dispose() => _link.Dispose();

    private void Hear(BfdReport report)
    {
        lock (_gate)
        {
            if (report.Kind == BfdMessageKind.Status) _statuses[report.Status.Order] = report.Status;
            else if (report.Kind == BfdMessageKind.Health) _health = report.Health;
            else throw new InvalidOperationException(report.Why);
        }
    }
}
