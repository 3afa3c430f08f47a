namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>One process: it has a clock of its own, and what it was about to do is gone when it is killed.</summary>
internal abstract class Party(HandoverWorld world, string name)
{
    private readonly SimClock _clock = new(world.Sim.Between(0, 1_000_000_000_000), 0.999 + (0.002 * world.Sim.NextDouble()));

    public string Name { get; } = name;

    /// <summary>True while it runs.</summary>
    public bool Up { get; private set; } = true;

    protected HandoverWorld World { get; } = world;

    /// <summary>How often it was killed.</summary>
    public int Lives { get; private set; }

    /// <summary>What its clock shows, nanoseconds.</summary>
    protected long Now => _clock.Local(World.Sim.Now);

    /// <summary>Kills it.</summary>
    public void Crash()
    {
        if (!Up) return;
        World.Log(Name, "is killed");
        Up = false;
        Lives++;
        OnCrash();
    }

    /// <summary>Starts it again, from what is on its disk.</summary>
    public void Start()
    {
        if (Up) return;
        World.Log(Name, "starts");
        Up = true;
        OnStart();
    }

    protected abstract void OnCrash();

    protected abstract void OnStart();

    /// <summary>Does something after a while, if it still lives.</summary>
    protected void In(long nanoseconds, Action what)
    {
        int life = Lives;
        World.Sim.In(nanoseconds, () =>
        {
            if (Up && Lives == life) what();
        });
    }

    /// <summary>How long its disk takes for a sync, nanoseconds.</summary>
    protected long SyncTime() => World.Sim.Between(200_000, World.Calm || !World.Sim.Chance(20) ? 5_000_000 : 500_000_000);
}
