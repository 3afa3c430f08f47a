using SdnEdge.Linux;

namespace SdnEdge.Router.Control;

/// <summary>
/// Notices that somebody else has changed the MTU of a port's device. The device follows its port, as at start and at a reload: it is given
/// the port's MTU again, and that is told, because a smaller one has the kernel drop what the port says that it takes. Against somebody who
/// does not give up it is done once a second. Runs on the control loop, but for <see cref="Start"/>.
/// </summary>
/// <param name="state">The ports.</param>
/// <param name="loop">The loop.</param>
internal sealed class DeviceWatch(PeState state, ControlLoop loop) : IWorkSource, ITimed, IDisposable
{
    private const long EveryNs = 1_000_000_000;

    private readonly Dictionary<string, Seen> _seen = [];
    private LinkWatch? _watch;
    private long _next = long.MaxValue, _earliest;
    private int _signalled;

    public bool HasWork => Volatile.Read(ref _signalled) != 0;

    public long NextDeadline => _next;

    /// <summary>Begins to watch the namespace of the calling thread, which has the ports' devices.</summary>
    public void Start()
    {
        try
        {
            _watch = new LinkWatch(() =>
            {
                Volatile.Write(ref _signalled, 1);
                loop.Wake();
            });
        }
        catch (LinuxException e)
        {
            state.Events.Add(loop.Now, "port", state.Config.Name, "devices-not-watched", e.Message);
        }
    }

    /// <summary>The MTU that a port's device has in place of the port's, bytes; null: they are the same.</summary>
    public int? DeviceMtu(string port) => _seen.TryGetValue(port, out Seen? seen) ? seen.Differs : null;

    /// <summary>How often somebody else has changed the MTU of a port's device.</summary>
    public long Changes(string port) => _seen.TryGetValue(port, out Seen? seen) ? seen.Changes : 0;

    public void Drain(long now)
    {
        Volatile.Write(ref _signalled, 0);
        state.Steps.DevicesChanged();
        if (now < _earliest) _next = _earliest;
        else Look(now);
    }

    public void Poll(long now)
    {
        _next = long.MaxValue;
        Look(now);
    }

    public void Dispose() => _watch?.Dispose();

    private void Look(long now)
    {
        // While the keeper forwards, the kernel's side is its own.
        if (state.IsStandby) return;
        foreach (PortState port in state.HostPort is { } host ? state.Ports.Values.Append(host) : state.Ports.Values)
        {
            if (port.Device is TapPort { IsGone: false } tap) Look(port, tap, now);
        }
    }

    private void Look(PortState port, TapPort tap, long now)
    {
        string name = port.Config.Name;
        int mtu = port.Config.Mtu, found;
        try
        {
            found = NetDevice.Mtu(tap.Device);
        }
        catch (LinuxException)
        {
            return; // it is gone, or has another name: nothing of it can be said
        }

        Seen? seen = _seen.GetValueOrDefault(name);
        if (found == mtu)
        {
            if (seen is not null) seen.Differs = null;
            return;
        }

        if (seen is null) _seen.Add(name, seen = new Seen());
        bool isNew = seen.Differs != found;
        if (isNew) seen.Changes++;
        string? why = PortDevices.Fit(tap, mtu);
        seen.Differs = why is null ? null : found;
        _earliest = now + EveryNs;
        if (!isNew) return;
        string told = $"device {tap.Device} was given an MTU of {found} by somebody else; its port has {mtu}";
        if (why is null)
        {
            state.Events.Add(now, "port", name, "mtu-restored",
                $"{told}, and the device has that again; to change it, change the port's mtu in the configuration and reload");
        }
        else
        {
            state.Events.Add(now, "port", name, "mtu-differs", $"{told}: {why}");
        }
    }

    private sealed class Seen
    {
        public long Changes { get; set; }

        public int? Differs { get; set; }
    }
}
