using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Asks the lab's guest (guest/disk.c, by UDP port 8) from a client which records it has written to its disk since it was last asked,
/// several times a second until stopped; an answer that is lost is asked for again. At the end the guest is told to write no more.
/// </summary>
internal sealed class DiskWatch : IDisposable
{
    private const int Port = 8, PauseMilliseconds = 150, AnswerMilliseconds = 1000;

    // Longest time until the guest has ended its last write.
    private static readonly TimeSpan s_stop = TimeSpan.FromSeconds(30);

    private readonly Socket _socket;
    private readonly Thread _thread;
    private readonly List<DiskWrite> _writes = [];
    private readonly byte[] _buffer = new byte[2048];
    private long _shortest = long.MaxValue;
    private DiskWord? _last;
    private volatile bool _stop;

    /// <summary>Starts to ask.</summary>
    public DiskWatch(RunningLab lab, string client, IpAddress guest)
    {
        _socket = Namespaces.Run(lab.NamespaceOf(client), () =>
        {
            var socket = new Socket(guest.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Dgram,
                ProtocolType.Udp)
            {
                ReceiveTimeout = AnswerMilliseconds,
            };
            socket.Connect(new IPEndPoint(IPAddress.Parse(guest.ToString()), Port));
            return socket;
        });
        _thread = new Thread(Watch) { IsBackground = true, Name = "disk watch" };
        _thread.Start();
    }

    /// <summary>Has the guest end its writing. Returns its last word, and what it wrote, in order; the word is null when it never
    /// answered.</summary>
    public (DiskWord? Last, IReadOnlyList<DiskWrite> Writes) Stop()
    {
        _stop = true;
        _thread.Join();
        return (_last, _writes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _socket.Dispose();
    }

    private void Watch()
    {
        while (!_stop)
        {
            Ask();
            Thread.Sleep(PauseMilliseconds);
        }

        // What it is writing ends first; then it says that it has stopped, and what was not told yet.
        long until = Monotonic.Now + (long)s_stop.TotalNanoseconds;
        while (_last is not { Stopped: true } && Monotonic.Now < until)
        {
            if (Say("disk stop") is { } word) _last = word;
            else Thread.Sleep(PauseMilliseconds);
        }

        while (_last is { } last && (_writes.Count == 0 ? 0 : _writes[^1].Number) < last.Acknowledged && Monotonic.Now < until) Ask();
    }

    private void Ask()
    {
        long from = _writes.Count == 0 ? 1 : _writes[^1].Number + 1;
        if (Say(string.Create(CultureInfo.InvariantCulture, $"disk {from}")) is not { } word) return;
        _writes.AddRange(word.Writes.Where(w => w.Number >= from));
        _last = word;
    }

    private DiskWord? Say(string question)
    {
        try
        {
            while (_socket.Available > 0) _socket.Receive(_buffer);   // a late answer to an earlier question
            long asked = Monotonic.Now;
            _socket.Send(Encoding.ASCII.GetBytes(question));
            int length = _socket.Receive(_buffer);
            long answered = Monotonic.Now;

            // A question that had to wait, as while the guest moves, waited before the guest; the way back is half of the shortest round trip.
            _shortest = Math.Min(_shortest, answered - asked);
            return DiskWord.Parse(_buffer.AsSpan(0, length), answered - (_shortest / 2));
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
