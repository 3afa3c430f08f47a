using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Threading.Channels;

namespace SdnEdge.Host.Qmp;

/// <summary>The states of a connection, in this order; it is used once.</summary>
public enum QmpState
{
    /// <summary>Connecting, or negotiating capabilities.</summary>
    Connecting,
    /// <summary>Commands are executed and events arrive.</summary>
    Ready,
    /// <summary>It is being closed: commands that are under way fail.</summary>
    Closing,
    /// <summary>Nothing of it is left: no task, no socket, nobody waits.</summary>
    Closed,
}

/// <summary>
/// A connection to one monitor socket of QEMU (QEMU Machine Protocol, docs/interop/qmp-spec). Commands may overlap: each answer is
/// found by its id. Each command has a deadline. Whatever goes wrong ends in <see cref="QmpState.Closed"/>, with everybody told.
/// <code>
/// QEMU  {"QMP":{"version":{...},"capabilities":["oob"]}}
/// we    {"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}        out of band is negotiated now or never:
/// QEMU  {"return":{},"id":1}                                                         a main loop that hangs answers no new client
/// we    {"execute":"stop","id":2}            QEMU  {"event":"STOP",...}  {"return":{},"id":2}
/// </code>
/// A monitor socket serves one client at a time, so a machine has one for each (<see cref="QmpMonitors"/>). Any thread.
/// </summary>
public sealed class QmpConnection : IAsyncDisposable
{
    // Longest accepted line: answers to the commands used here have a few KiB.
    private const int MaxLine = 1 << 20;

    private readonly Socket _socket;
    private readonly Lock _lock = new();
    private readonly Dictionary<long, Pending> _pending = [];
    private readonly List<QmpListener> _listeners = [];
    private readonly Channel<byte[]> _outgoing = Channel.CreateUnbounded<byte[]>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource<JsonElement> _greeting = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private QmpState _state = QmpState.Connecting;
    private QmpException? _why;
    private long _nextId;

    private QmpConnection(Socket socket, string path) => (_socket, Socket) = (socket, path);

    /// <summary>Path of the socket.</summary>
    public string Socket { get; }

    /// <summary>Where it is.</summary>
    public QmpState State
    {
        get
        {
            lock (_lock) return _state;
        }
    }

    /// <summary>QEMU's version.</summary>
    public QmpVersion Version { get; private set; }

    /// <summary>True when commands can be executed out of band.</summary>
    public bool OutOfBand { get; private set; }

    /// <summary>Answers that came for nobody: after their deadline, or without an id.</summary>
    public long Strays { get; private set; }

    /// <summary>Completes when the state is <see cref="QmpState.Closed"/>.</summary>
    public Task Closed => _closed.Task;

    /// <summary>Connects and negotiates.</summary>
    /// <param name="path">The monitor's socket.</param>
    /// <param name="deadline">How long QEMU has for its greeting.</param>
    /// <param name="cancel">Ends the attempt.</param>
    /// <exception cref="QmpDisconnectedException">Nobody listens there, or it is no monitor.</exception>
    /// <exception cref="QmpTimeoutException">It does not answer: its main loop hangs, or another client has this socket.</exception>
    public static async Task<QmpConnection> ConnectAsync(string path, TimeSpan deadline, CancellationToken cancel)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(deadline);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), end.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is OperationCanceledException && cancel.IsCancellationRequested) throw;
            throw new QmpDisconnectedException($"no monitor of QEMU answers at {path}: {e.Message}", e);
        }

        var connection = new QmpConnection(socket, path);
        try
        {
            _ = connection.RunAsync();
            await connection.NegotiateAsync(end.Token).ConfigureAwait(false);
            return connection;
        }
        catch (Exception e)
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            if (e is OperationCanceledException && !cancel.IsCancellationRequested)
                throw new QmpTimeoutException($"QEMU at {path} has not greeted within {deadline.TotalSeconds:0.###} s: it hangs, or "
                    + "another client has this monitor");
            throw;
        }
    }

    /// <summary>Listens from now on.</summary>
    /// <param name="events">Names of events; none = all.</param>
    public QmpListener Listen(params string[] events)
    {
        var listener = new QmpListener(this, events);
        lock (_lock)
        {
            if (_state < QmpState.Closing) _listeners.Add(listener);
            else listener.End(Gone());
        }

        return listener;
    }

    /// <summary>Executes a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="deadline">How long its answer is waited for.</param>
    /// <param name="cancel">Stops waiting; QEMU still executes the command.</param>
    /// <exception cref="QmpCommandException">QEMU refused it.</exception>
    /// <exception cref="QmpTimeoutException">It did not answer in time.</exception>
    /// <exception cref="QmpDisconnectedException">The connection has ended; whether it was executed is not known.</exception>
    public async Task<TResult> ExecuteAsync<TArguments, TResult>(
        QmpCommand<TArguments, TResult> command, TArguments arguments, TimeSpan deadline, CancellationToken cancel)
        where TArguments : notnull
        where TResult : notnull
    {
        ArgumentNullException.ThrowIfNull(command);
        if (command.OutOfBand && !OutOfBand)
            throw new QmpException($"QEMU at {Socket} executes nothing out of band, so it cannot be told to {command.Name}");
        JsonElement answer = await SendAsync(command.Name, command.OutOfBand,
            JsonSerializer.SerializeToElement(arguments, Type<TArguments>()),
            deadline, cancel).ConfigureAwait(false);
        try
        {
            return answer.Deserialize(Type<TResult>()) ?? throw new JsonException("it is null");
        }
        catch (JsonException e)
        {
            throw new QmpException($"QEMU at {Socket} answered {command.Name} with something else than its schema says: {e.Message}", e);
        }
    }

    /// <summary>A command without arguments.</summary>
    /// <inheritdoc cref="ExecuteAsync{TArguments, TResult}(QmpCommand{TArguments, TResult}, TArguments, TimeSpan, CancellationToken)"/>
    public Task<TResult> ExecuteAsync<TResult>(QmpCommand<QmpNothing, TResult> command, TimeSpan deadline, CancellationToken cancel)
        where TResult : notnull
        => ExecuteAsync(command, QmpNothing.Value, deadline, cancel);

    /// <summary>Closes the connection. QEMU goes on as it was.</summary>
    public async ValueTask DisposeAsync()
    {
        Close(new QmpDisconnectedException($"the connection to QEMU at {Socket} was closed here"));
        await Closed.ConfigureAwait(false);
    }

    internal void Forget(QmpListener listener)
    {
        lock (_lock) _listeners.Remove(listener);
    }

    private static JsonTypeInfo<T> Type<T>() => (JsonTypeInfo<T>)QmpTypes.Default.GetTypeInfo(typeof(T))!;

    private async Task RunAsync()
    {
        await Task.WhenAll(Task.Run(ReadAsync), Task.Run(WriteAsync)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_lock) _state = QmpState.Closed;
        _stop.Dispose();
        _closed.SetResult();
    }

    private async Task NegotiateAsync(CancellationToken cancel)
    {
        JsonElement greeting = await _greeting.Task.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            JsonElement version = greeting.GetProperty("version"), qemu = version.GetProperty("qemu");
            Version = new QmpVersion(qemu.GetProperty("major").GetInt32(), qemu.GetProperty("minor").GetInt32(),
                qemu.GetProperty("micro").GetInt32(), version.GetProperty("package").GetString() ?? "");
            OutOfBand = greeting.GetProperty("capabilities").EnumerateArray().Any(c => c.ValueEquals("oob"));
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new QmpDisconnectedException($"what answers at {Socket} is no monitor of QEMU: its greeting has no version", e);
        }

        await SendAsync(QmpCommands.Capabilities.Name, false,
            JsonSerializer.SerializeToElement(new QmpNegotiation(OutOfBand ? ["oob"] : []), Type<QmpNegotiation>()),
            Timeout.InfiniteTimeSpan, cancel).ConfigureAwait(false);
        lock (_lock)
        {
            if (_state == QmpState.Connecting) _state = QmpState.Ready;
        }
    }

    private async Task<JsonElement> SendAsync(
        string name, bool outOfBand, JsonElement arguments, TimeSpan deadline, CancellationToken cancel)
    {
        var pending = new Pending(name);
        long id;
        lock (_lock)
        {
            if (_state >= QmpState.Closing) throw Gone();
            id = ++_nextId;
            _pending.Add(id, pending);
        }

        _outgoing.Writer.TryWrite(Line(name, outOfBand, arguments, id));
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(deadline);
        try
        {
            return await pending.Answer.Task.WaitAsync(end.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new QmpTimeoutException($"QEMU at {Socket} has not answered {name} within {deadline.TotalSeconds:0.###} s");
        }
        finally
        {
            lock (_lock) _pending.Remove(id);
        }
    }

    private static byte[] Line(string name, bool outOfBand, JsonElement arguments, long id)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString(outOfBand ? "exec-oob" : "execute", name);
            if (arguments.EnumerateObject().Any())
            {
                json.WritePropertyName("arguments");
                arguments.WriteTo(json);
            }

            json.WriteNumber("id", id);
            json.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    // A line that was begun is sent to its end, or the connection ends: half a command would be taken for the beginning of the next one.
    private async Task WriteAsync()
    {
        try
        {
            await foreach (byte[] line in _outgoing.Reader.ReadAllAsync(_stop.Token).ConfigureAwait(false))
            {
                for (int sent = 0; sent < line.Length;)
                    sent += await _socket.SendAsync(line.AsMemory(sent), SocketFlags.None, _stop.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            Close(new QmpDisconnectedException($"the connection to QEMU at {Socket} has ended: {e.Message}", e));
        }
    }

    private async Task ReadAsync()
    {
        QmpException why;
        try
        {
            await using var stream = new NetworkStream(_socket, ownsSocket: false);
            PipeReader reader = PipeReader.Create(stream);
            while (true)
            {
                ReadResult read = await reader.ReadAsync(_stop.Token).ConfigureAwait(false);
                ReadOnlySequence<byte> rest = read.Buffer;
                while (rest.PositionOf((byte)'\n') is { } at)
                {
                    Take(rest.Slice(0, at));
                    rest = rest.Slice(rest.GetPosition(1, at));
                }

                if (rest.Length > MaxLine) throw new InvalidDataException($"it sent more than {MaxLine} bytes without an end of line");
                if (read.IsCompleted) break;
                reader.AdvanceTo(rest.Start, rest.End);
            }

            why = new QmpDisconnectedException($"QEMU at {Socket} has closed the connection");
        }
        catch (Exception e)
        {
            why = new QmpDisconnectedException($"the connection to QEMU at {Socket} has ended: {e.Message}", e);
        }

        Close(why);
    }

    private void Take(ReadOnlySequence<byte> line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement message = document.RootElement.Clone();
        if (message.TryGetProperty("event", out JsonElement name))
        {
            bool stamped = message.TryGetProperty("timestamp", out JsonElement at);
            var happened = new QmpEvent(name.GetString() ?? "", message.TryGetProperty("data", out JsonElement data) ? data : default,
                stamped ? at.GetProperty("seconds").GetInt64() : -1, stamped ? at.GetProperty("microseconds").GetInt64() : 0);
            QmpListener[] listeners;
            lock (_lock) listeners = [.. _listeners.Where(l => l.Wants(happened.Name))];
            foreach (QmpListener listener in listeners) listener.Take(happened);
            return;
        }

        if (message.TryGetProperty("QMP", out JsonElement greeting))
        {
            _greeting.TrySetResult(greeting);
            return;
        }

        Pending? pending = null;
        if (message.TryGetProperty("id", out JsonElement id) && id.ValueKind == JsonValueKind.Number && id.TryGetInt64(out long number))
        {
            lock (_lock) _pending.TryGetValue(number, out pending);
        }

        if (pending is null) Strays++;
        else if (message.TryGetProperty("return", out JsonElement answer)) pending.Answer.TrySetResult(answer);
        else if (message.TryGetProperty("error", out JsonElement error))
            pending.Answer.TrySetException(new QmpCommandException(pending.Command, Text(error, "class"), Text(error, "desc"), Socket));
        else throw new InvalidDataException($"its answer to {pending.Command} is neither return nor error");
    }

    private static string Text(JsonElement error, string field)
        => error.TryGetProperty(field, out JsonElement text) ? text.GetString() ?? "" : "";

    private QmpDisconnectedException Gone() => new(_why?.Message ?? $"there is no connection to QEMU at {Socket}", _why);

    // The first reason is kept. All pending commands and listeners fail with it.
    private void Close(QmpException why)
    {
        Pending[] pending;
        QmpListener[] listeners;
        lock (_lock)
        {
            if (_state >= QmpState.Closing) return;
            (_state, _why) = (QmpState.Closing, why);
            pending = [.. _pending.Values];
            listeners = [.. _listeners];
            _pending.Clear();
            _listeners.Clear();
        }

        foreach (Pending command in pending) command.Answer.TrySetException(Gone());
        foreach (QmpListener listener in listeners) listener.End(Gone());
        _greeting.TrySetException(Gone());
        _ = _greeting.Task.Exception;
        _outgoing.Writer.TryComplete();
        _stop.Cancel();
        _socket.Dispose();
    }

    private sealed class Pending(string command)
    {
        public string Command { get; } = command;

        public TaskCompletionSource<JsonElement> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
