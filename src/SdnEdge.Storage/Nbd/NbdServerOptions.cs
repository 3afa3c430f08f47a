using System.Net;
using SdnEdge.Web;

namespace SdnEdge.Storage.Nbd;

/// <summary>Where an NBD server listens.</summary>
public abstract record NbdListen;

/// <summary>A unix socket, mode 0600 unless told otherwise. A socket file that nobody answers at is replaced.</summary>
/// <param name="Path">At most 107 bytes.</param>
public sealed record NbdUnixListen(string Path) : NbdListen
{
    /// <summary>Mode of the socket file: who may connect.</summary>
    public UnixFileMode Mode { get; init; } = UnixFileMode.UserRead | UnixFileMode.UserWrite;
}

/// <summary>TCP.</summary>
/// <param name="EndPoint">Address and port; port 0: any that is free.</param>
public sealed record NbdTcpListen(IPEndPoint EndPoint) : NbdListen
{
    /// <summary>True: this address is served without mutual TLS, to everybody who reaches it.</summary>
    public bool IsInsecure { get; init; }
}

/// <summary>A listening socket that the process was started with (see <see cref="Linux.InheritedSockets"/>).</summary>
/// <param name="Descriptor">Its descriptor.</param>
public sealed record NbdInheritedListen(int Descriptor) : NbdListen;

/// <summary>One connection that the process was started with, as inetd does; the server ends with it.</summary>
/// <param name="Descriptor">Its descriptor; 0: standard input.</param>
public sealed record NbdConnectedListen(int Descriptor = 0) : NbdListen;

/// <summary>How an NBD server is set up.</summary>
public sealed record NbdServerOptions
{
    /// <summary>Where to listen; at least one.</summary>
    public required IReadOnlyList<NbdListen> Listen { get; init; }

    /// <summary>The server's certificate and the CA of its clients'. Null: no TLS.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>True: unix sockets require TLS too. TCP does unless it is named insecure.</summary>
    public bool RequireTlsOnUnix { get; init; }

    /// <summary>What the empty export name means. Null: where there is one export, that one.</summary>
    public string? DefaultExport { get; init; }

    /// <summary>False: LIST is refused.</summary>
    public bool AllowList { get; init; } = true;

    /// <summary>Longest read or write, bytes: a multiple of 4096, 32 MiB (what clients may expect) to 1 GiB.</summary>
    public int MaximumPayload { get; init; } = 64 << 20;

    /// <summary>Most connections at a time, 1 to 65536; more are closed at once.</summary>
    public int MaximumConnections { get; init; } = 4096;

    /// <summary>Requests of a connection that may wait for the device at a time, 1 to 65536; the next ones are left in its
    /// socket.</summary>
    public int MaximumInFlight { get; init; } = 1024;

    /// <summary>Longest handshake, TLS included: 1 ms to an hour.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long finished requests are still answered when the server ends: 0 to an hour.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How often a connection looks for the next request before it waits in the kernel, 0 to 1,000,000.</summary>
    public int Spins { get; init; }

    /// <summary>Is told what an operator should know, one sentence each: a client refused, a fault in a device. By any thread. Null:
    /// nobody.</summary>
    public Action<string>? Report { get; init; }

    /// <summary>Everything that is wrong with them, each as a sentence; none: they can be used.</summary>
    public IReadOnlyList<string> Validate()
    {
        List<string> wrong = [];
        if (Listen.Count == 0) wrong.Add("listen: it is empty; name a unix socket, a TCP address or an inherited descriptor.");
        foreach (NbdListen listen in Listen)
        {
            if (listen is NbdTcpListen { IsInsecure: false } tcp && Tls is null)
            {
                wrong.Add($"listen {tcp.EndPoint}: NBD over TCP needs a certificate, a key and the clients' CA (mutual TLS); "
                    + "without them the address must be named insecure.");
            }

            if (listen is NbdUnixListen unix && (unix.Path.Length == 0 || System.Text.Encoding.UTF8.GetByteCount(unix.Path) > 107))
            {
                wrong.Add($"listen '{unix.Path}': the path of a unix socket has 1 to 107 bytes.");
            }
        }

        if (RequireTlsOnUnix && Tls is null) wrong.Add("TLS is required on unix sockets and no certificate is given.");
        Within(MaximumPayload, 32 << 20, 1 << 30, "maximum payload");
        if (MaximumPayload % 4096 != 0) wrong.Add($"maximum payload {MaximumPayload}: it must be a multiple of 4096.");
        Within(MaximumConnections, 1, 65536, "maximum of connections");
        Within(MaximumInFlight, 1, 65536, "maximum in flight");
        Within(Spins, 0, 1_000_000, "spins");
        if (HandshakeTimeout < TimeSpan.FromMilliseconds(1) || HandshakeTimeout > TimeSpan.FromHours(1))
        {
            wrong.Add($"handshake timeout {HandshakeTimeout}: it must be 1 ms to 1 h.");
        }

        if (DrainTimeout < TimeSpan.Zero || DrainTimeout > TimeSpan.FromHours(1))
        {
            wrong.Add($"drain timeout {DrainTimeout}: it must be 0 to 1 h.");
        }

        return wrong;

        void Within(int value, int least, int most, string what)
        {
            if (value < least || value > most) wrong.Add($"{what} {value}: it must be {least} to {most}.");
        }
    }
}
