using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Core.Forwarding;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Sees at which hosts a virtual machine runs without asking anybody: what it sends is heard at each host's TAP, stamped by the kernel. It
/// sends all the time while probes ask it.
/// </summary>
internal sealed partial class GuestPresence : IDisposable
{
    private const int PollMilliseconds = 20;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<long>> _heard = new(StringComparer.Ordinal);
    private readonly List<(PacketSocket Socket, Thread Thread)> _watches = [];
    private volatile bool _stop;

    /// <summary>Starts to listen at these hosts.</summary>
    /// <exception cref="LabException">A host's file does not say the guest's TAP and MAC address.</exception>
    public GuestPresence(RunningLab lab, IEnumerable<string> hosts)
    {
        foreach (string host in hosts)
        {
            string file = Path.Combine(lab.Folder, host + ".yaml"), text = File.ReadAllText(file);
            if (Tap().Match(text) is not { Success: true } tap || Mac().Match(text) is not { Success: true } mac)
                throw new LabException($"{file} does not say the TAP and the MAC address of its virtual machine.");
            byte[] address = [.. mac.Groups[1].Value.Split(':').Select(b => byte.Parse(b, NumberStyles.HexNumber,
                CultureInfo.InvariantCulture))];
            _heard[host] = [];
            string device = tap.Groups[1].Value;
            var options = new PacketSocketOptions { Timestamps = true, ReceiveBufferBytes = 4 << 20, SendBufferBytes = 1 << 16 };
            PacketSocket socket = Namespaces.Run(lab.NamespaceOf(host), () => PacketSocket.Open(device, device, options));
            var thread = new Thread(() => Listen(host, socket, address)) { IsBackground = true, Name = $"guest at {host}" };
            _watches.Add((socket, thread));
            thread.Start();
        }
    }

    /// <summary>Forgets what was heard.</summary>
    public void Begin()
    {
        lock (_lock)
        {
            foreach (List<long> frames in _heard.Values) frames.Clear();
        }
    }

    /// <summary>Frames that the guest sent at a host since <see cref="Begin"/>.</summary>
    public long HeardAt(string host)
    {
        lock (_lock) return _heard[host].Count;
    }

    /// <summary>Frames that the guest sent at the source after its first one at the target; null = it was not heard at both.</summary>
    public long? Twice(string source, string target)
    {
        lock (_lock)
            return _heard[source] is { Count: > 0 } there && _heard[target] is { Count: > 0 } here ? there.Count(at => at > here[0]) : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        foreach ((PacketSocket socket, Thread thread) in _watches)
        {
            thread.Join();
            socket.Dispose();
        }
    }

    private void Listen(string host, PacketSocket socket, byte[] address)
    {
        using var batch = new PacketBatch();
        while (!_stop)
        {
            int count;
            while ((count = socket.Receive(batch)) > 0)
            {
                lock (_lock)
                {
                    for (int i = 0; i < count; i++)
                    {
                        if (batch[i].Length >= 12 && batch[i].Span.Slice(6, 6).SequenceEqual(address))
                            _heard[host].Add(socket.Timestamps[i]);
                    }
                }
            }

            Thread.Sleep(PollMilliseconds);
        }
    }

    [GeneratedRegex("ifname=([^,\"\\s]+)")]
    private static partial Regex Tap();

    [GeneratedRegex("mac=([0-9a-fA-F:]{17})")]
    private static partial Regex Mac();
}
