using System.Globalization;
using System.Net.Sockets;
using SdnEdge.Host.Qemu;
using SdnEdge.Host.Tests.Qmp;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>How a command goes wrong.</summary>
internal enum MachineFault
{
    /// <summary>It is not carried out, and from here on nothing is answered but what comes out of band.</summary>
    Hangs,
    /// <summary>Answered as if it had been done; nothing was.</summary>
    Lies,
    /// <summary>Answered by something that is no QMP.</summary>
    NoQmp,
    /// <summary>It is carried out, and answered with an error.</summary>
    RefusesWhatItHasDone,
    /// <summary>Half an answer, then the connection is closed. Nothing was done.</summary>
    Closes,
    /// <summary>It is carried out; half an answer, then the connection is closed.</summary>
    ClosesAfterDoing,
    /// <summary>It is carried out and answered; by the next command the guest runs again.</summary>
    ResumesByItself,
}

/// <summary>
/// A machine that is none: two fake monitors, and a process that only sleeps, started by the driver as its QEMU is. It keeps the run state
/// and the migration as QEMU does, and one command of it goes wrong.
/// </summary>
internal sealed class FakeMachine : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly FakeQemu _main, _rescue;
    private readonly (string Command, MachineFault Fault)? _wrong;
    private bool _hangs, _resumes, _happened;
    private string _status;
    private string? _migration;
    private Socket? _outgoing;

    /// <summary>A machine.</summary>
    /// <param name="incoming">True: it waits for a guest.</param>
    /// <param name="wrong">The command that goes wrong, once, and how; null = none does.</param>
    public FakeMachine(bool incoming, (string Command, MachineFault Fault)? wrong = null)
    {
        (_wrong, _status) = (wrong, incoming ? "inmigrate" : "prelaunch");
        _main = new FakeQemu(AnswerAsync);
        _rescue = new FakeQemu(AnswerAsync);
        Folder = Path.Combine(Directory.CreateTempSubdirectory("sdnedge-fake-").FullName, "run");
        var process = new QemuProcess(Folder);
        Command = Sleeping(process, _main, _rescue);
    }

    /// <summary>A process that only sleeps; its monitors are these fakes.</summary>
    public static string[] Sleeping(QemuProcess process, FakeQemu main, FakeQemu rescue)
    {
        string links = $"ln -s {main.Path} {process.Monitors.Main}; ln -s {rescue.Path} {process.Monitors.Rescue}";
        return ["/bin/sh", "-c", $"{links}; exec sleep 3600", "fake"];
    }

    /// <summary>The driver's folder.</summary>
    public string Folder { get; }

    /// <summary>The driver's command.</summary>
    public IReadOnlyList<string> Command { get; }

    /// <summary>Whether the guest runs.</summary>
    public bool Runs
    {
        get
        {
            lock (_lock) return _status == "running";
        }
    }

    /// <summary>The migration's status; null = none.</summary>
    public string? Migration
    {
        get
        {
            lock (_lock) return _migration;
        }
    }

    /// <summary>True when the command has come and gone wrong.</summary>
    public bool Happened
    {
        get
        {
            lock (_lock) return _happened;
        }
    }

    /// <summary>All of the guest has come from the other host.</summary>
    public void Arrive()
    {
        lock (_lock) (_status, _migration) = ("paused", "completed");
    }

    /// <summary>QEMU finds by itself that little enough is left: it stops the guest for the last of it.</summary>
    public Task FinishByItselfAsync()
    {
        lock (_lock) (_status, _migration) = ("finish-migrate", "pre-switchover");
        return _main.EventAsync("MIGRATION", """{"status":"pre-switchover"}""");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _main.DisposeAsync();
        await _rescue.DisposeAsync();
        _outgoing?.Dispose();
        Directory.Delete(Path.GetDirectoryName(Folder)!, recursive: true);
    }

    private async Task AnswerAsync(FakeCommand command)
    {
        MachineFault? wrong = null;
        lock (_lock)
        {
            if (_resumes) (_status, _resumes) = ("running", false);
            if (_wrong is { } w && w.Command == command.Name && !_happened) (wrong, _happened) = (w.Fault, true);
            if (wrong == MachineFault.Hangs) _hangs = true;
            if (_hangs && !command.OutOfBand) return;
        }

        bool done = wrong is null or MachineFault.RefusesWhatItHasDone or MachineFault.ClosesAfterDoing or MachineFault.ResumesByItself;
        string answer = done ? await DoAsync(command) : "{}";
        switch (wrong)
        {
            case MachineFault.NoQmp:
                await command.Qemu.SendAsync("HTTP/1.1 400 Bad Request\r\n\r\n");
                break;
            case MachineFault.RefusesWhatItHasDone:
                await command.RefuseAsync("GenericError", "Something has failed");
                break;
            case MachineFault.Closes or MachineFault.ClosesAfterDoing:
                await command.Qemu.SendAsync("""{"return":{"sta""");
                command.Qemu.Hangup();
                break;
            default:
                lock (_lock) _resumes |= wrong == MachineFault.ResumesByItself;
                if (answer.Length == 0) await command.RefuseAsync("GenericError", "There is nothing of that kind");
                else await command.ReturnAsync(answer);
                break;
        }
    }

    // The answer; empty = refused.
    private async Task<string> DoAsync(FakeCommand command)
    {
        switch (command.Name)
        {
            case "query-status":
                lock (_lock) return $$"""{"running":{{(Runs ? "true" : "false")}},"status":"{{_status}}"}""";
            case "query-migrate":
                lock (_lock)
                {
                    return _migration is null ? "{}" : string.Create(CultureInfo.InvariantCulture,
                        $$"""{"status":"{{_migration}}","ram":{"transferred":90000000,"remaining":4096,"total":134217728,""")
                        + "\"dirty-sync-count\":2}}";
                }

            case "cont":
                lock (_lock) _status = "running";
                return "{}";
            case "stop":
                bool last;
                lock (_lock)
                {
                    _status = "paused";
                    last = _migration == "active";
                    if (last) _migration = "pre-switchover";
                }

                if (last) await command.Qemu.EventAsync("MIGRATION", """{"status":"pre-switchover"}""");
                return "{}";
            case "migrate":
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                string uri = command.Arguments.GetProperty("uri").GetString()!;
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(uri["unix:".Length..]));
                lock (_lock) (_outgoing, _migration) = (socket, "active");
                return "{}";
            case "migrate-continue":
                lock (_lock)
                {
                    if (_migration != "pre-switchover") return "";
                    (_migration, _status) = ("completed", "postmigrate");
                }

                await command.Qemu.EventAsync("MIGRATION", """{"status":"completed"}""");
                return "{}";
            case "migrate_cancel":
                lock (_lock)
                {
                    if (_migration is "active" or "pre-switchover") _migration = "cancelled";
                    if (_status == "finish-migrate") _status = "running";
                    _outgoing?.Dispose();
                }

                return "{}";
            case "yank":
                lock (_lock)
                {
                    if (_migration is not ("active" or "pre-switchover")) return "";
                    _migration = "failed";
                    _outgoing?.Dispose();
                    return "{}";
                }

            default:
                return "{}";
        }
    }
}

/// <summary>The other host, which takes everything and says nothing.</summary>
internal sealed class SinkNetwork : IMigrationNetwork
{
    public Task<Stream> ConnectAsync(string host, string server, long epoch, CancellationToken cancel)
        => Task.FromResult<Stream>(new Sink());

    public void Expect(string server, long epoch, Func<Stream, CancellationToken, Task>? take)
    {
        // Nothing ever comes.
    }

    private sealed class Sink : Stream
    {
        private readonly TaskCompletionSource<int> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
            => await _closed.Task.WaitAsync(cancellationToken);

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;

        public override void Flush()
        {
            // Nothing is kept.
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            _closed.TrySetResult(0);
            base.Dispose(disposing);
        }
    }
}
