using System.Diagnostics;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Router.Keeper;

/// <summary>How a keeper runs.</summary>
public sealed record KeeperOptions
{
    /// <summary>Workers with which it forwards, 1 to 64.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>Told what happens, one line each.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Ends in a row, none of which came to forwarding, before the keeper gives up.</summary>
    public int MaxCrashes { get; init; } = 10;
}

/// <summary>
/// Starts the PE as a child process and outlives it. While the PE lives the keeper only keeps: the devices' descriptors, its
/// channels to processes that outlive it as well (BFD), and a mirror of the forwarding tables. When the PE ends without having said that it
/// will:
/// <list type="number">
/// <item>the keeper's workers forward on the devices, by the mirror (<see cref="Reign"/>);</item>
/// <item>the PE is started again, on standby: it is given the devices, and its BGP sessions come up through the keeper's forwarding;</item>
/// <item>it says that it is ready: the keeper's workers stop at a batch boundary, and the PE's begin. What comes in between waits in the
/// devices.</item>
/// </list>
/// A PE that ends during 2 or 3 changes nothing but that it is started again, later each time.
/// </summary>
public sealed class PeKeeper : IDisposable
{
    private static readonly int[] BackOffMilliseconds = [0, 100, 250, 500, 1000, 2000, 5000];

    private readonly string _name;
    private readonly KeeperOptions _options;
    private readonly Func<int, ProcessStartInfo> _child;
    private readonly Dictionary<string, TapPort> _devices = [];
    private readonly Dictionary<string, int> _channels = [];
    private readonly StagedTables _tables;
    private readonly Lock _processLock = new();
    private Reign? _reign;
    private Process? _process;
    private KeeperRecord _record;
    private long _reignBegan;
    private bool _bye, _handedOver;

    /// <summary>Makes a keeper.</summary>
    /// <param name="name">Name of the PE, for messages.</param>
    /// <param name="child">How the PE is started, given the descriptor that it inherits.</param>
    /// <param name="options">How it runs; null: the defaults.</param>
    public PeKeeper(string name, Func<int, ProcessStartInfo> child, KeeperOptions? options = null)
    {
        (_name, _child, _options) = (name, child, options ?? new KeeperOptions());
        _tables = new StagedTables(() => new MirrorTables(_options.Workers, port => _devices.GetValueOrDefault(port)));
    }

    /// <summary>Frames of the mirror that were damaged. Always 0.</summary>
    public long BadFrames { get; private set; }

    /// <summary>Runs the PE until it ends of its own will, or cannot be started; returns its exit code.</summary>
    /// <param name="stop">Ends the PE (SIGTERM), and with it the keeper.</param>
    public async Task<int> RunAsync(CancellationToken stop)
    {
        using CancellationTokenRegistration onStop = stop.Register(() => Signal(ProcessSignal.Terminate));
        for (int crashes = 0; ;)
        {
            (_bye, _handedOver) = (false, _reign is null);
            (ProcessChannel channel, int childEnd) = ProcessChannel.Pair();
            using ProcessChannel own = channel;
            Greet(channel);
            using Process process = Start(childEnd);
            if (stop.IsCancellationRequested) Signal(ProcessSignal.Terminate);

            await Task.Factory.StartNew(() => Listen(channel), CancellationToken.None, TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
            _tables.Abandon();

            // Whoever closed the channel without a word must not go on writing to the devices.
            if (!_bye && !stop.IsCancellationRequested) Kill(process);
            await process.WaitForExitAsync(CancellationToken.None);
            lock (_processLock) _process = null;
            if (_bye || stop.IsCancellationRequested || _tables.Whole is null) return process.ExitCode;

            crashes = _handedOver ? 1 : crashes + 1;
            string ended = process.ExitCode > 128 ? $"was ended by signal {process.ExitCode - 128}" : $"ended with code {process.ExitCode}";
            if (crashes > _options.MaxCrashes)
            {
                Say($"the PE {ended}, {crashes} times in a row; giving up");
                return process.ExitCode == 0 ? 1 : process.ExitCode;
            }

            int wait = BackOffMilliseconds[Math.Min(crashes - 1, BackOffMilliseconds.Length - 1)];
            Say($"the PE (pid {process.Id}) {ended}; its packets are forwarded here, and it is started "
                + $"again{(wait == 0 ? "" : $" in {wait} ms")}");
            try
            {
                await Task.Delay(wait, stop);
            }
            catch (OperationCanceledException)
            {
                return 0;
            }
        }
    }

    /// <summary>Sends a signal to the PE, if there is one.</summary>
    public void Signal(ProcessSignal signal)
    {
        lock (_processLock)
        {
            if (_process is { HasExited: false } process) Signals.Send(process.Id, signal);
        }
    }

    /// <summary>Ends forwarding and lets go of the devices; those that no process has open go away.</summary>
    public void Dispose()
    {
        _reign?.Dispose();
        _reign = null;
        foreach (TapPort device in _devices.Values) device.Dispose();
        _devices.Clear();
        foreach (int channel in _channels.Values) ProcessChannel.CloseDescriptor(channel);
        _channels.Clear();
        _tables.Dispose();
    }

    private Process Start(int childEnd)
    {
        try
        {
            lock (_processLock)
            {
                _process = Process.Start(_child(childEnd)) ?? throw new IOException("the PE's process did not start");
                return _process;
            }
        }
        finally
        {
            ProcessChannel.CloseChildEnd(childEnd);
        }
    }

    // All of it fits into the socket's buffer: it is there when the PE looks.
    private void Greet(ProcessChannel channel)
    {
        foreach (TapPort device in _devices.Values) channel.Send(KeeperMessage.Device(device), device.Fd);
        foreach ((string name, int descriptor) in _channels) channel.Send(KeeperMessage.Channel(name), descriptor);
        channel.Send(KeeperMessage.Record(KeeperMessageKind.Start, Record()));
    }

    private KeeperRecord Record() => _record with
    {
        Standby = _reign is not null,
        Packets = _record.Packets + (_reign?.Packets ?? 0),
        Dropped = _record.Dropped + (_reign?.Dropped ?? 0),
        Prefixes = _tables.Whole?.Prefixes ?? 0,
    };

    private void Listen(ProcessChannel channel)
    {
        byte[] message = new byte[ProcessChannel.MaxMessage];
        int length;
        while ((length = channel.Receive(message, out int descriptor)) > 0) Take(channel, message.AsSpan(0, length), descriptor);
        if (!_bye) TakeOver();
    }

    private void Take(ProcessChannel channel, ReadOnlySpan<byte> message, int descriptor)
    {
        var kind = (KeeperMessageKind)message[0];
        if (kind is not (KeeperMessageKind.Device or KeeperMessageKind.Channel)) ProcessChannel.CloseDescriptor(descriptor);
        switch (kind)
        {
            case KeeperMessageKind.Device:
                if (KeeperMessage.ReadDevice(message, descriptor) is not { } port) ProcessChannel.CloseDescriptor(descriptor);
                else Keep(port);
                break;
            case KeeperMessageKind.Channel:
                if (KeeperMessage.ReadName(message) is not { } channelName) ProcessChannel.CloseDescriptor(descriptor);
                else Keep(channelName, descriptor);
                break;
            case KeeperMessageKind.Forget:
                if (_reign is null && KeeperMessage.ReadName(message) is { } name && _devices.Remove(name, out TapPort? forgotten))
                    forgotten.Dispose();
                channel.Send(KeeperMessage.Plain(KeeperMessageKind.Forgotten));
                break;
            case KeeperMessageKind.Mirror when _reign is null:
                if (!MirrorReader.Read(message[1..], _tables, out _))
                {
                    BadFrames++;
                    channel.Send(KeeperMessage.Plain(KeeperMessageKind.Resync));
                }

                _tables.Whole?.Reclaim();
                break;
            case KeeperMessageKind.Ready:
                HandOver(channel);
                break;
            case KeeperMessageKind.Bye:
                _bye = true;
                Dispose();
                break;
        }
    }

    private void Keep(TapPort port)
    {
        // While the keeper forwards, the old device may be in a worker's hands.
        if (_devices.Remove(port.Name, out TapPort? old) && _reign is null) old.Dispose();
        _devices[port.Name] = port;
    }

    private void Keep(string channel, int descriptor)
    {
        if (_channels.Remove(channel, out int old)) ProcessChannel.CloseDescriptor(old);
        if (descriptor >= 0) _channels[channel] = descriptor;
    }

    private void TakeOver()
    {
        if (_reign is not null || _tables.Whole is not { } whole) return;
        _reignBegan = Monotonic.Now;
        _record = _record with { Takeovers = _record.Takeovers + 1 };
        _reign = new Reign(whole, port => _devices.GetValueOrDefault(port));
    }

    private void HandOver(ProcessChannel channel)
    {
        if (_reign is { } reign)
        {
            reign.Dispose();
            _record = Record() with { LastReignNs = Monotonic.Now - _reignBegan };
            _reign = null;
            TellNeighbors(channel);
            Say($"the PE forwards again, after {_record.LastReignNs / 1e9:0.000} s; {_record.Packets} packets in {_record.Takeovers} times "
                + $"were forwarded here");
        }

        _handedOver = true;
        channel.Send(KeeperMessage.Record(KeeperMessageKind.Granted, Record()));
    }

    private void TellNeighbors(ProcessChannel channel)
    {
        var writer = new MirrorWriter(frame => channel.Send(KeeperMessage.Mirror(frame)));
        foreach (PortEntry? port in _tables.Whole!.Plane.Ports)
        {
            if (port is null) continue;
            writer.Port(new MirrorPort(port.Index, port.Name, port.Vrf.Index, port.Mac, port.Mtu, port.IsHost, port.Up, port.Addresses));
            foreach (Adjacency neighbor in port.Neighbors.Snapshot())
            {
                if (neighbor.Mac is { } mac && neighbor.State != NeighborState.Permanent)
                    writer.Neighbor(port.Index, neighbor.Address, mac, NeighborState.Stale);
            }
        }

        writer.Flush();
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill();
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended: that is what was wanted.
        }
    }

    private void Say(string text) => _options.Log?.Invoke($"{_name}: keeper: {text}");
}
