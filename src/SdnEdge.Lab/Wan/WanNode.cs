using System.Net.Sockets;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Wan;

/// <summary>
/// The emulated provider core: a learning switch in one thread. Each link delays a frame on its way in and again on its way
/// out, so two PEs see four link passages there and back. One round:
/// 1 wait for frames or for the next frame due; 2 receive, each frame into its link's line to the core;
/// 3 frames through that line: learn the source, find the link, into its line from the core; 4 frames through that line: send.
/// Frames stay opaque; superpackets cross whole, with their offload state.
/// </summary>
public sealed class WanNode : IDisposable
{
    // Shortest time between two rounds. A busy core then moves frames in bursts instead of waking for each; it is the most
    // by which a frame is late, and small beside the delays of a WAN.
    private const long RoundNs = 100_000;

    // Most bursts of 64 taken from one link in a round, so that no link starves the others.
    private const int BurstsPerLink = 8;

    private readonly WanConfig _config;
    private readonly Link[] _links;
    private readonly MacTable _addresses = new();
    private readonly PacketBatch _batch = new();
    private readonly Packet[] _packets = new Packet[PacketBatch.Capacity];
    private readonly long[] _dues = new long[PacketBatch.Capacity];
    private readonly Epoll _ready = new();
    private readonly Epoll _nothing = new();      // waits for time only
    private readonly EventFd _stop = new();
    private long _flooded;

    private sealed record Link(WanLinkConfig Config, PacketSocket Socket, DelayLine ToWan, DelayLine FromWan);

    /// <summary>Opens the links' devices in the calling thread's namespace.</summary>
    /// <exception cref="LinuxException">A device is not there, or this is not root.</exception>
    public WanNode(WanConfig config)
    {
        _config = config;
        var options = new PacketSocketOptions { Timestamps = true, BypassQueueing = true };
        _links = [.. config.Links.Select((l, i) => new Link(l, PacketSocket.Open(l.Interface, l.Interface, options),
            new DelayLine(l.ToWan, LinkModel.SeedOf(config.Seed, i, toWan: true)),
            new DelayLine(l.FromWan, LinkModel.SeedOf(config.Seed, i, toWan: false))))];
        for (int i = 0; i < _links.Length; i++) _ready.Add(_links[i].Socket.Fd, EpollEvents.In, (ulong)i);
        _ready.Add(_stop.Fd, EpollEvents.In, (ulong)_links.Length);
    }

    /// <summary>Switches frames until <paramref name="stop"/>; the calling thread is the node's.</summary>
    public void Run(CancellationToken stop)
    {
        using CancellationTokenRegistration registration = stop.Register(_stop.Signal);
        Signals.WakePrecisely();
        while (!stop.IsCancellationRequested)
        {
            long now = Monotonic.Now;
            long next = now + RoundNs;
            bool received = false;
            for (int i = 0; i < _links.Length; i++) received |= Receive(_links[i]);
            long due = Move();
            if (received)
            {
                // Busy: let frames gather for the rest of the round.
                long rest = next - Monotonic.Now;
                if (rest > 0) _nothing.Wait(rest);
                continue;
            }

            long wait = due == long.MaxValue ? -1 : Math.Max(0, Math.Max(due, next) - Monotonic.Now);
            _ready.Wait(wait);
        }
    }

    /// <summary>
    /// Answers each connection to the statistics socket with the counters, until <paramref name="stop"/>. Runs beside <see cref="Run"/>.
    /// </summary>
    public async Task ServeStatsAsync(CancellationToken stop)
    {
        File.Delete(_config.StatsSocket);
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(_config.StatsSocket));
        listener.Listen();
        while (!stop.IsCancellationRequested)
        {
            try
            {
                using Socket client = await listener.AcceptAsync(stop);
                await client.SendAsync(JsonSerializer.SerializeToUtf8Bytes(Stats(), LabJson.Options.For<WanStats>()), stop);
            }
            catch (SocketException)
            {
                // The asker went away; the next one is served.
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>The counters now. Read beside the switching thread: each is whole, together they may be a few frames apart.</summary>
    public WanStats Stats() => new(_config.Name,
        [.. _links.Select(l => new WanLinkStats(l.Config.Interface, l.Config.Peer, l.ToWan.Stats(), l.FromWan.Stats(),
            l.Socket.KernelDrops))],
        _addresses.Count, Volatile.Read(ref _flooded));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Link link in _links)
        {
            link.Socket.Dispose();
            link.ToWan.Dispose();
            link.FromWan.Dispose();
        }

        _ready.Dispose();
        _nothing.Dispose();
        _stop.Dispose();
        _batch.Dispose();
    }

    // Step 2.
    private bool Receive(Link link)
    {
        bool any = false;
        for (int burst = 0; burst < BurstsPerLink; burst++)
        {
            int count = link.Socket.Receive(_batch);
            if (count == 0) break;
            any = true;
            long now = Monotonic.Now;
            ReadOnlySpan<long> stamps = link.Socket.Timestamps;
            for (int i = 0; i < count; i++)
            {
                // The kernel's time of arrival, unless the wall clock it comes from was set meanwhile.
                long at = stamps[i];
                if (at > now || at < now - 100_000_000) at = now;
                link.ToWan.Enter(_batch[i], at);
            }

            if (count < PacketBatch.Capacity) break;
        }

        return any;
    }

    // Steps 3 and 4. Returns when the next frame is due.
    private long Move()
    {
        long now = Monotonic.Now;
        long next = long.MaxValue;
        for (int i = 0; i < _links.Length; i++)
        {
            DelayLine line = _links[i].ToWan;
            int count;
            while ((count = line.Take(now, _packets, _dues)) > 0)
            {
                for (int p = 0; p < count; p++) Switch(_packets[p], i, _dues[p]);
                line.Sent += count;
                line.Release();
            }

            next = Math.Min(next, line.NextDue);
        }

        foreach (Link link in _links)
        {
            DelayLine line = link.FromWan;
            int count;
            while ((count = line.Take(now, _packets, _dues)) > 0)
            {
                int sent = link.Socket.Transmit(_packets.AsSpan(0, count));
                line.Sent += sent;
                line.Refused += count - sent;
                for (int p = 0; p < count; p++) line.LateNs += now - _dues[p];
                line.Release();
            }

            next = Math.Min(next, line.NextDue);
        }

        return next;
    }

    // The frame goes on at the time it was due here, not when we came to look: lateness does not add up.
    private void Switch(in Packet packet, int from, long at)
    {
        if (packet.Length < 14) return;
        ReadOnlySpan<byte> frame = packet.Span;
        _addresses.Learn(MacAddress.Read(frame[MacAddress.Size..]), from);
        int to = _addresses.Lookup(MacAddress.Read(frame));
        if (to >= 0)
        {
            if (to != from) _links[to].FromWan.Enter(packet, at);
            return;
        }

        _flooded++;
        for (int i = 0; i < _links.Length; i++)
        {
            if (i != from) _links[i].FromWan.Enter(packet, at);
        }
    }
}
