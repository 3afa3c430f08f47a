using System.ComponentModel;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using SdnEdge.Linux;

namespace SdnEdge.Host.Leases;

/// <summary>The agent's end of the way to the watchdog. For one caller at a time.</summary>
/// <param name="folder">The state folder.</param>
/// <param name="program">How the watchdog of a folder is started.</param>
internal sealed class WatchdogLink(string folder, Func<string, ProcessStartInfo> program) : IDisposable
{
    private const string Shell = "/bin/sh";

    private Socket? _socket;
    private StreamReader? _reader;
    private StreamWriter? _writer;
    private (int Id, long Since) _process;
    private Process? _started;

    /// <summary>True: there is a connection.</summary>
    public bool IsConnected => _socket is not null;

    /// <summary>The process at the other end; null = there is none.</summary>
    public int? ProcessId => _socket is null ? null : _process.Id;

    /// <summary>True: one was started, and has not ended.</summary>
    public bool IsStarting => _started is { HasExited: false };

    /// <summary>Connects to the watchdog that is there, if there is one.</summary>
    public bool TryConnect()
    {
        Close();
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(Watchdog.SocketIn(folder)));
            if (!PeerCredentials.TryGet(socket, out PeerCredentials peer) || ProcessStat.Read(peer.Process) is not { IsAlive: true } stat)
            {
                socket.Dispose();
                return false;
            }

            (_socket, _process) = (socket, (peer.Process, stat.StartTicks));
            var stream = new NetworkStream(socket, ownsSocket: false);
            (_reader, _writer) = (new StreamReader(stream), new StreamWriter(stream) { AutoFlush = true });
            return true;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return false;
        }
    }

    /// <summary>Starts one, in a session of its own, and lets it go: it outlives this process.</summary>
    /// <exception cref="IOException">It could not be started.</exception>
    public void Start()
    {
        ProcessStartInfo wanted = program(folder);
        var start = new ProcessStartInfo(Shell, ["-c", "exec setsid \"$@\" < /dev/null >> \"$SDNEDGE_LOG\" 2>&1", "sh", wanted.FileName,
            .. wanted.ArgumentList])
        {
            UseShellExecute = false, Environment = { ["SDNEDGE_LOG"] = Path.Combine(folder, "watchdog.log") },
        };
        _started?.Dispose();
        try
        {
            _started = Process.Start(start);
        }
        catch (Win32Exception e)
        {
            throw new IOException($"the watchdog did not start: {e.Message}", e);
        }
    }

    /// <summary>Says something, and returns the answer.</summary>
    /// <param name="call">What is said.</param>
    /// <param name="cancel">Ends the wait; the connection is of no more use then.</param>
    /// <exception cref="IOException">The watchdog is gone.</exception>
    public async Task<WatchdogReply> AskAsync(WatchdogCall call, CancellationToken cancel)
    {
        if (_writer is null || _reader is null) throw new IOException("there is no watchdog");
        try
        {
            await _writer.WriteLineAsync(JsonSerializer.Serialize(call, WatchdogTypes.Default.WatchdogCall).AsMemory(), cancel);
            string line = await _reader.ReadLineAsync(cancel) ?? throw new IOException("the watchdog has ended");
            return JsonSerializer.Deserialize(line, WatchdogTypes.Default.WatchdogReply)
                ?? throw new IOException("the watchdog said nothing");
        }
        catch (Exception e) when (e is JsonException or SocketException)
        {
            throw new IOException($"the watchdog is of no use: {e.Message}", e);
        }
    }

    /// <summary>Ends a watchdog that does not answer: by its id and the time of its start.</summary>
    public void Kill()
    {
        if (_socket is not null && ProcessStat.Read(_process.Id) is { IsAlive: true } stat && stat.StartTicks == _process.Since)
            Signals.Send(_process.Id, ProcessSignal.Kill);
        Close();
    }

    /// <summary>Closes the connection; the watchdog goes on.</summary>
    public void Close()
    {
        _socket?.Dispose();
        (_socket, _reader, _writer) = (null, null, null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Close();
        _started?.Dispose();
    }
}
