using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>A request of a guest.</summary>
internal sealed record Request(Guest Guest, bool IsFlush, int Block, uint Value);

/// <summary>A guest: it writes with a few requests at a time, and sends again what a store that crashed has not answered.</summary>
internal sealed class Guest(World world, Store store, int number)
{
    private readonly Store _store = store;
    private readonly HashSet<Request> _open = [];
    private Action? _stopped;

    public int Number { get; } = number;

    public ClientIdentity Identity { get; } = ClientIdentity.Process(number, (ulong)number * 100);

    public Store Store => _store;

    public bool IsRunning { get; private set; }

    public bool IsDead { get; private set; }

    public void Run()
    {
        IsRunning = true;
        world.At(World.Ms, Next);
    }

    /// <summary>Stops as QEMU does: answered when nothing is open any more.</summary>
    public void Stop(Action stopped)
    {
        IsRunning = false;
        _stopped = stopped;
        Stopped();
    }

    public void Continue()
    {
        _stopped = null;
        if (!IsRunning && !IsDead) Run();
    }

    public void Kill()
    {
        (IsDead, IsRunning) = (true, false);
        _open.Clear();
    }

    public void Done(Request request, bool allowed)
    {
        if (IsDead || !_open.Remove(request)) return;
        if (!allowed) world.Count("EPERM");
        Stopped();
    }

    /// <summary>True while the guest waits for the answer.</summary>
    public bool Waits(Request request) => !IsDead && _open.Contains(request);

    /// <summary>Its store is back.</summary>
    public void Reconnect()
    {
        if (IsDead) return;
        foreach (Request request in _open.OrderBy(r => r.Value)) _store.Submit(request);
    }

    private void Stopped()
    {
        if (_open.Count > 0 || _stopped is not { } stopped) return;
        _stopped = null;
        stopped();
    }

    private void Next()
    {
        if (!IsRunning) return;
        if (_open.Count < 3)
        {
            var request = new Request(this, world.Random.Next(5) == 0, world.Random.Next(World.Blocks), world.NextValue());
            _open.Add(request);
            _store.Submit(request);
        }

        world.At(world.Random.Next(5, 40) * World.Ms, Next);
    }
}
