using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Disks;

/// <summary>Asks the lab's guest about its disk (guest/disk.c) from a client, by UDP. One question at a time.</summary>
public sealed class GuestDisk : IDisposable
{
    private const int Port = 8, AnswerMilliseconds = 1000, PauseMilliseconds = 50;

    private readonly Socket _socket;
    private readonly byte[] _buffer = new byte[2048];
    private long _shortest = long.MaxValue;

    /// <summary>Opens a socket at a client.</summary>
    /// <param name="lab">The lab.</param>
    /// <param name="client">The client's node.</param>
    /// <param name="guest">The guest's address.</param>
    public GuestDisk(RunningLab lab, string client, IpAddress guest)
    {
        ArgumentNullException.ThrowIfNull(lab);
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
    }

    /// <summary>What it has written from a number on, as much as fits; null = no answer came.</summary>
    public DiskWord? From(long number) => Ask(string.Create(CultureInfo.InvariantCulture, $"disk {number}"));

    /// <summary>Has it end its writing; returns its word when no write is under way any more, or null when that takes too long.</summary>
    public DiskWord? Stop(TimeSpan longest) => Until("disk stop", w => w.Stopped, longest);

    /// <summary>Has it go on with its writing.</summary>
    public DiskWord? Go(TimeSpan longest) => Until("disk go", w => !w.Stopped, longest);

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private DiskWord? Until(string question, Predicate<DiskWord> so, TimeSpan longest)
    {
        for (long until = Monotonic.Now + (long)longest.TotalNanoseconds; Monotonic.Now < until;)
        {
            if (Ask(question) is { } word && so(word)) return word;
            Thread.Sleep(PauseMilliseconds);
        }

        return null;
    }

    private DiskWord? Ask(string question)
    {
        try
        {
            while (_socket.Available > 0) _socket.Receive(_buffer);   // a late answer to an earlier question
            long asked = Monotonic.Now;
            _socket.Send(Encoding.ASCII.GetBytes(question));
            int length = _socket.Receive(_buffer);
            long answered = Monotonic.Now;

            // A question that had to wait, as while the guest moves, waited before the guest; the way back is half of the shortest round
            // trip.
            _shortest = Math.Min(_shortest, answered - asked);
            return DiskWord.Parse(_buffer.AsSpan(0, length), answered - (_shortest / 2));
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
