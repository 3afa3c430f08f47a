using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Tests.Fsm;
using IServerDriver = SdnEdge.Host.Drivers.IServerDriver;

namespace SdnEdge.Host.Tests.Api;

/// <summary>A driver that does what it is asked in no time, or when it is let, and counts calls that overlap.</summary>
internal class FakeDriver(bool runs) : IServerDriver
{
    private int _inside;

    public ServerState Does { get; set; } = runs ? ServerState.Running : ServerState.Absent;

    public List<DriverCall> Calls { get; } = [];

    public int Overlaps { get; private set; }

    /// <summary>Set: calls but looks wait for it.</summary>
    public TaskCompletionSource? Gate { get; set; }

    /// <summary>Set: calls but looks fail with it.</summary>
    public string? Fails { get; set; }

    /// <summary>True: that they fail is final.</summary>
    public bool FailsForGood { get; set; }

    /// <summary>True: the server is in a state without a name, until its copy is looked at.</summary>
    public bool IsNamelessUntilMirrored { get; set; }

    /// <summary>Set: nobody is told how far the copy is before it is completed.</summary>
    public TaskCompletionSource? MirrorGate { get; set; }

    /// <summary>What it says of the machine; a task that never ends = it hangs.</summary>
    public Func<CancellationToken, Task<MachineInfo?>> Machine { get; set; } = _ => Task.FromResult<MachineInfo?>(null);

    /// <summary>How often it was asked for the machine.</summary>
    public int MachineAsked { get; private set; }

    /// <summary>Looks that end as a driver's own deadline may end them.</summary>
    public int LooksThatEndByADeadline { get; set; }

    /// <summary>How often it was looked at.</summary>
    public int Looks { get; private set; }

    /// <summary>True: what stands still stands still because of its disk.</summary>
    public bool WaitsForDisk { get; set; }

    /// <summary>How often the disk was tried again.</summary>
    public int DiskRetries { get; private set; }

    /// <summary>The process that the server is.</summary>
    public virtual int? Process { get; set; }

    public string Kind => "fake";

    public bool Mirrors => true;

    public bool Undoable => true;

    public TimeSpan LookInterval => TimeSpan.FromMilliseconds(5);

    public Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Look, cancel);

    public Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel)
        => DoAsync(DriverCall.PrepareIncoming, cancel);

    public Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Stop, cancel);

    public Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.HandOver, cancel);

    public Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Activate, cancel);

    public Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Resume, cancel);

    public Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Cancel, cancel);

    public Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel) => DoAsync(DriverCall.Kill, cancel);

    public async Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel)
    {
        if (MirrorGate is { } gate) await gate.Task.WaitAsync(cancel);
        IsNamelessUntilMirrored = false;
        return new(true, 10, 20, 30);
    }

    public Task<MachineInfo?> MachineAsync(CancellationToken cancel)
    {
        MachineAsked++;
        return Machine(cancel);
    }

    public Task RetryDiskAsync(CancellationToken cancel)
    {
        DiskRetries++;
        return Task.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    /// <summary>A call that is no look has come.</summary>
    protected virtual void Called(string call)
    {
        // Nothing but what is kept.
    }

    private async Task<ServerState> DoAsync(DriverCall call, CancellationToken cancel)
    {
        if (Interlocked.Increment(ref _inside) > 1) Overlaps++;
        try
        {
            await Task.Yield();
            if (call == DriverCall.Look && LooksThatEndByADeadline-- > 0) throw new OperationCanceledException("a deadline");
            if (call == DriverCall.Look && IsNamelessUntilMirrored) throw new DriverException("it is in a state without a name");
            if (call == DriverCall.Look)
            {
                Looks++;
                return Does;
            }

            lock (Calls) Calls.Add(call);
            Called(call.ToString());
            if (Gate is { } gate) await gate.Task.WaitAsync(cancel);
            if (Fails is { } reason) throw new DriverException(reason, FailsForGood);
            return Does = Fsm.Machine.After(call, Does);
        }
        finally
        {
            Interlocked.Decrement(ref _inside);
        }
    }
}
