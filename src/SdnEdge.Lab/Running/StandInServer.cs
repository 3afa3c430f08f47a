using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>
/// The stand-in for a virtual server: one namespace with a leg in each site. Pausing freezes every process in it, as a guest
/// is frozen, and then takes its leg away; resuming gives it the leg at the new site, announces it there as QEMU announces a
/// guest (gratuitous ARP, RFC 5227 section 3; unsolicited neighbour advertisement, RFC 4861 section 7.2.6), and lets the
/// processes go on. Nothing is remembered here: where the server is, is read from the namespace.
/// </summary>
public sealed class StandInServer : IServerDriver
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    // A leg that brings nothing for so long has nothing more on its way. Where traffic never ends, nobody waits for it.
    private const long QuietNs = 3_000_000;
    private static readonly TimeSpan s_quietLimit = TimeSpan.FromMilliseconds(50);

    private readonly string _name;
    private readonly string _namespace;
    private readonly ServerSpec _spec;
    private readonly IReadOnlyList<LabSite> _sites;

    internal StandInServer(string name, string ns, ServerSpec spec, IReadOnlyList<LabSite> sites)
    {
        _name = name;
        _namespace = ns;
        _spec = spec;
        _sites = sites;
    }

    /// <summary>
    /// Goes once through all that pause and resume do, without doing it, so that the blackout does not wait for code to be
    /// compiled on a busy machine.
    /// </summary>
    internal StandInServer WarmUp()
    {
        Inside(_ =>
        {
            if (LiveSite() is { } site) Until(Quiet(site.Leg), TimeSpan.Zero, CancellationToken.None);
            Send("lo", 0);
        }, CancellationToken.None).GetAwaiter().GetResult();
        return this;
    }

    /// <inheritdoc/>
    public Task PauseAsync(string server, CancellationToken cancel)
    {
        Check(server);
        return Inside(id =>
        {
            Signal(id, ProcessSignal.Stop, p => p.IsStopped, "stop", cancel);

            // What it sent is out already: a send ends only when the frame is at the other end of the leg. What the site was
            // still bringing comes in first, into the sockets of the frozen processes.
            if (LiveSite() is { } site) Until(Quiet(site.Leg), s_quietLimit, cancel);
            SetLive(null);
        }, cancel);
    }

    /// <inheritdoc/>
    public Task ResumeAsync(string server, string site, CancellationToken cancel)
    {
        Check(server);
        LabSite to = _sites.FirstOrDefault(s => s.Name == site)
            ?? throw new LabException($"server {_name} has no leg at '{site}'; it has legs at {string.Join(", ", _sites.Select(s => s.Name))}.");
        return Inside(id =>
        {
            SetLive(to);
            if (Send(to.Leg, _spec.Addresses.Count) < _spec.Addresses.Count) throw new LabException($"server {_name} cannot announce itself at {to.Name} through {to.Leg}.");
            Signal(id, ProcessSignal.Continue, p => !p.IsStopped, "go on", cancel);
        }, cancel);
    }

    /// <inheritdoc/>
    public async Task<string?> LocateAsync(string server, CancellationToken cancel)
    {
        Check(server);
        string? site = null;
        await Inside(id =>
        {
            List<ProcessStat> processes = Netns.ProcessesIn(id);
            bool paused = processes.Count > 0 && processes.TrueForAll(p => p.IsStopped);
            site = paused ? null : LiveSite()?.Name;
        }, cancel);
        return site;
    }

    private void Check(string server)
    {
        if (server != _name) throw new LabException($"this drives server {_name}, not {server}.");
    }

    // One thread inside the namespace does all of a call: no waiting for the pool in the middle of a blackout.
    private Task Inside(Action<HashSet<string>> work, CancellationToken cancel)
    {
        HashSet<string> id = [Netns.IdOf(_namespace) ?? throw new LabException($"namespace {_namespace} of server {_name} is gone.")];
        return Task.Factory.StartNew(() => Namespaces.Run(_namespace, () => work(id)), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    // A process may be starting others meanwhile: look again until all that is there has heard it.
    private void Signal(HashSet<string> id, ProcessSignal signal, Predicate<ProcessStat> done, string verb, CancellationToken cancel)
    {
        var told = new HashSet<int>();
        bool all = Until(() =>
        {
            List<ProcessStat> waiting = Netns.ProcessesIn(id).FindAll(p => told.Add(p.ProcessId) || !done(p));
            foreach (ProcessStat process in waiting) Signals.Send(process.ProcessId, signal);
            return waiting.Count == 0;
        }, s_limit, cancel);
        if (!all) throw new LabException($"server {_name} does not {verb} within {s_limit.TotalSeconds} s.");
    }

    private static bool Until(Func<bool> condition, TimeSpan limit, CancellationToken cancel)
    {
        long end = Monotonic.Now + (long)(limit.TotalMilliseconds * 1e6);
        while (true)
        {
            bool late = Monotonic.Now > end;
            if (condition()) return true;
            cancel.ThrowIfCancellationRequested();
            if (late) return false;
            Thread.Sleep(1);
        }
    }

    // A leg is live when it is a port of eth0.
    private LabSite? LiveSite() => _sites.FirstOrDefault(s => NetDevice.IsPortOf(s.Leg, "eth0"));

    private static Func<bool> Quiet(string leg)
    {
        long since = Monotonic.Now, seen = Received();
        return () =>
        {
            long now = Monotonic.Now, received = Received();
            if (received == seen) return now - since >= QuietNs;
            (since, seen) = (now, received);
            return false;
        };

        // "leg-a: BYTES PACKETS ...": received packets, of the namespace of the thread that reads.
        long Received()
        {
            string line = File.ReadLines("/proc/thread-self/net/dev").First(l => l.TrimStart().StartsWith(leg + ":", StringComparison.Ordinal));
            return long.Parse(line[(line.IndexOf(':') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    // Never two legs at once: out first.
    private void SetLive(LabSite? site)
    {
        foreach (LabSite other in _sites)
        {
            if (other != site && NetDevice.IsPortOf(other.Leg, "eth0")) NetDevice.RemoveFromBridge("eth0", other.Leg);
        }

        if (site is not null && !NetDevice.IsPortOf(site.Leg, "eth0")) NetDevice.AddToBridge("eth0", site.Leg);
    }

    // The announcements of the first so many addresses. Returns how many went out.
    private int Send(string device, int count)
    {
        using PacketSocket socket = PacketSocket.Open(device, device, new PacketSocketOptions { ReceiveBufferBytes = 1 << 16, SendBufferBytes = 1 << 16, Promiscuous = false });
        using var batch = new PacketBatch();
        foreach (InterfaceAddress address in _spec.Addresses)
            batch.TryAdd(address.Address.IsV4 ? GratuitousArp(address.Address) : UnsolicitedAdvertisement(address.Address));
        return socket.Transmit(batch.Packets[..Math.Min(count, batch.Count)]);
    }

    private byte[] GratuitousArp(IpAddress address)
    {
        byte[] frame = new byte[60];
        Ethernet(frame, MacAddress.Broadcast, 0x0806);
        Span<byte> arp = frame.AsSpan(14);
        ReadOnlySpan<byte> request = [0, 1, 8, 0, 6, 4, 0, 1];   // Ethernet, IPv4, request
        request.CopyTo(arp);
        _spec.Mac.Write(arp[8..]);
        address.Write(arp[14..]);
        address.Write(arp[24..]);
        return frame;
    }

    private byte[] UnsolicitedAdvertisement(IpAddress address)
    {
        const int Icmp = 14 + 40, IcmpLength = 32;
        IpAddress allNodes = IpAddress.Parse("ff02::1");
        byte[] frame = new byte[Icmp + IcmpLength];
        Ethernet(frame, MacAddress.Parse("33:33:00:00:00:01"), 0x86DD);
        Span<byte> ip = frame.AsSpan(14, 40);
        ip[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], IcmpLength);
        ip[6] = 58;      // ICMPv6
        ip[7] = 255;     // hop limit: not forwarded
        address.Write(ip[8..]);
        allNodes.Write(ip[24..]);
        Span<byte> icmp = frame.AsSpan(Icmp);
        icmp[0] = 136;   // neighbour advertisement
        icmp[4] = 0x20;  // override
        address.Write(icmp[8..]);
        icmp[24] = 2;    // target link-layer address, one unit of 8 bytes
        icmp[25] = 1;
        _spec.Mac.Write(icmp[26..]);

        // Pseudo-header: both addresses, the length and the next header (RFC 8200 section 8.1).
        uint sum = IcmpLength + 58;
        for (int i = 8; i < 40; i += 2) sum += BinaryPrimitives.ReadUInt16BigEndian(ip[i..]);
        for (int i = 0; i < IcmpLength; i += 2) sum += BinaryPrimitives.ReadUInt16BigEndian(icmp[i..]);
        while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(icmp[2..], (ushort)~sum);
        return frame;
    }

    private void Ethernet(byte[] frame, MacAddress to, ushort type)
    {
        to.Write(frame);
        _spec.Mac.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
    }
}
