using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SdnEdge.Core.Wire;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Asks the lab's guest (guest/app.c, UDP port 8) from a client for its counter and the words of its memory that it found wrong, several
/// times a second until stopped; an answer that is lost is not waited for longer than a moment.
/// </summary>
internal sealed class GuestWatch : IDisposable
{
    private const int Port = 8, PauseMilliseconds = 200, AnswerMilliseconds = 1000, PatternTries = 3;

    // The guest reads all of the pattern, without KVM, beside whatever else the machine does.
    private const int PatternMilliseconds = 20_000;

    private readonly Socket _socket;
    private readonly Thread _thread;
    private readonly List<GuestSample> _samples = [];
    private volatile bool _stop;

    /// <summary>Starts to ask.</summary>
    public GuestWatch(RunningLab lab, string client, IpAddress guest)
    {
        _socket = Open(lab, client, guest);
        _thread = new Thread(Watch) { IsBackground = true, Name = "guest watch" };
        _thread.Start();
    }

    /// <summary>Stops, and returns what it was told, in order.</summary>
    public IReadOnlyList<GuestSample> Stop()
    {
        _stop = true;
        _thread.Join();
        return _samples;
    }

    /// <summary>Has the guest read its pattern: the words that are not as written, and all of them; null when it does not answer.</summary>
    public static Task<(long Wrong, long Words)?> PatternAsync(RunningLab lab, string client, IpAddress guest)
        => Task.Factory.StartNew<(long, long)?>(() =>
    {
        using Socket socket = Open(lab, client, guest);
        for (int i = 0; i < PatternTries; i++)
        {
            if (Ask(socket, "pattern"u8, PatternMilliseconds) is { Length: >= 4 } said) return (said[2], said[3]);
        }

        return null;
    }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <inheritdoc/>
    public void Dispose()
    {
        Stop();
        _socket.Dispose();
    }

    private void Watch()
    {
        while (!_stop)
        {
            long asked = Monotonic.Now;
            if (Ask(_socket, "?"u8, AnswerMilliseconds) is { Length: >= 3 } said)
                _samples.Add(new GuestSample(asked, Monotonic.Now, said[0], said[1], said[2]));
            Thread.Sleep(PauseMilliseconds);
        }
    }

    private static Socket Open(RunningLab lab, string client, IpAddress guest) => Namespaces.Run(lab.NamespaceOf(client), () =>
    {
        var socket = new Socket(guest.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
        socket.Connect(new IPEndPoint(IPAddress.Parse(guest.ToString()), Port));
        return socket;
    });

    private static long[]? Ask(Socket socket, ReadOnlySpan<byte> question, int milliseconds)
    {
        byte[] buffer = new byte[256];
        try
        {
            socket.ReceiveTimeout = milliseconds;
            while (socket.Available > 0) socket.Receive(buffer);   // a late answer to an earlier question
            socket.Send(question);
            string[] words = Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer)).Split([' ', '\n'],
                StringSplitOptions.RemoveEmptyEntries);
            return [.. words.Select(w => long.Parse(w, NumberStyles.None, CultureInfo.InvariantCulture))];
        }
        catch (Exception e) when (e is SocketException or FormatException)
        {
            return null;
        }
    }
}
