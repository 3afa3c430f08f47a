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
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(5);

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

    /// <inheritdoc/>
    public async Task PauseAsync(string server, CancellationToken cancel)
    {
        Check(server);

        // A process may be starting others while we stop them: look again until all that is there is stopped.
        HashSet<string> id = Id();
        bool stopped = await Netns.UntilAsync(() =>
        {
            bool all = true;
            foreach (ProcessStat process in Netns.ProcessesIn(id).Where(p => !p.IsStopped))
            {
                all = false;
                Signals.Send(process.ProcessId, ProcessSignal.Stop);
            }

            return all;
        }, s_limit, cancel);
        if (!stopped) throw new LabException($"server {_name} does not stop within {s_limit.TotalSeconds} s.");

        // What it sent is out already: a send ends only when the frame is at the other end of the leg. What the site was
        // still bringing comes in first, into the sockets of the frozen processes.
        if (LiveSite() is { } site)
            await Netns.UntilAsync(QuietLeg(site.Leg), s_quietLimit, cancel);
        await SetLiveAsync(null, cancel);
    }

    /// <inheritdoc/>
    public async Task ResumeAsync(string server, string site, CancellationToken cancel)
    {
        Check(server);
        LabSite to = _sites.FirstOrDefault(s => s.Name == site)
            ?? throw new LabException($"server {_name} has no leg at '{site}'; it has legs at {string.Join(", ", _sites.Select(s => s.Name))}.");
        if (LiveSite() != to) await SetLiveAsync(to, cancel);
        Announce(to);
        HashSet<string> id = Id();
        bool running = await Netns.UntilAsync(() =>
        {
            bool all = true;
            foreach (ProcessStat process in Netns.ProcessesIn(id).Where(p => p.IsStopped))
            {
                all = false;
                Signals.Send(process.ProcessId, ProcessSignal.Continue);
            }

            return all;
        }, s_limit, cancel);
        if (!running) throw new LabException($"server {_name} does not go on within {s_limit.TotalSeconds} s.");
    }

    /// <inheritdoc/>
    public Task<string?> LocateAsync(string server, CancellationToken cancel)
    {
        Check(server);
        List<ProcessStat> processes = Netns.ProcessesIn(Id());
        bool paused = processes.Count > 0 && processes.TrueForAll(p => p.IsStopped);
        return Task.FromResult(paused ? null : LiveSite()?.Name);
    }

    private void Check(string server)
    {
        if (server != _name) throw new LabException($"this drives server {_name}, not {server}.");
    }

    private HashSet<string> Id() => [Netns.IdOf(_namespace) ?? throw new LabException($"namespace {_namespace} of server {_name} is gone.")];

    // A leg is live when it is a port of eth0: then the kernel shows it below the bridge.
    private LabSite? LiveSite() => Namespaces.Run(_namespace, () => _sites.FirstOrDefault(s => NetDevice.IsPortOf(s.Leg, "eth0")));

    private Func<bool> QuietLeg(string leg)
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
        long Received() => Namespaces.Run(_namespace, () =>
        {
            string line = File.ReadLines("/proc/thread-self/net/dev").First(l => l.TrimStart().StartsWith(leg + ":", StringComparison.Ordinal));
            return long.Parse(line[(line.IndexOf(':') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture);
        });
    }

    private Task SetLiveAsync(LabSite? site, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Namespaces.Run(_namespace, () =>
        {
            // Never two at once: out first.
            foreach (LabSite other in _sites)
            {
                if (other != site && NetDevice.IsPortOf(other.Leg, "eth0")) NetDevice.RemoveFromBridge("eth0", other.Leg);
            }

            if (site is not null && !NetDevice.IsPortOf(site.Leg, "eth0")) NetDevice.AddToBridge("eth0", site.Leg);
        });
        return Task.CompletedTask;
    }

    private void Announce(LabSite site) => Namespaces.Run(_namespace, () =>
    {
        using PacketSocket socket = PacketSocket.Open(site.Leg, site.Leg);
        using var batch = new PacketBatch();
        foreach (InterfaceAddress address in _spec.Addresses)
            batch.TryAdd(address.Address.IsV4 ? GratuitousArp(address.Address) : UnsolicitedAdvertisement(address.Address));
        if (socket.Transmit(batch.Packets) < batch.Count) throw new LabException($"server {_name} cannot announce itself at {site.Name} through {site.Leg}.");
    });

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
