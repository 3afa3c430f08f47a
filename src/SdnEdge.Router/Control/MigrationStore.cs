using System.Buffers;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Linux;

namespace SdnEdge.Router.Control;

/// <summary>
/// The file that keeps a PE's migrations over a restart (<see cref="PeStateFile"/>). A thread of its own writes it, so that the
/// control loop, which has BGP's timers, never waits for a disk. Snapshots that come while it writes are written together, as
/// the newest of them.
/// </summary>
internal sealed class MigrationStore : IDisposable
{
    private const string FileName = "migrations";

    private readonly string _node;
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _wanted = new(0);
    private readonly List<Action<string?>> _waiting = [];
    private readonly Thread _thread;
    private readonly ArrayBufferWriter<byte> _buffer = new();
    private PeSnapshot? _newest;
    private bool _stop, _started;
    private volatile StateFileInfo _info;

    private MigrationStore(string folder, string node)
    {
        _node = node;
        Path = System.IO.Path.Combine(folder, FileName);
        _info = new StateFileInfo(Path, "none");
        _thread = new Thread(Run) { Name = "state-file", IsBackground = true };
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>What was in it at the start; null when there was none, or it could not be read.</summary>
    public PeSnapshot? Loaded { get; private set; }

    /// <summary>Why no signal can be taken, and what to do; null when they can.</summary>
    public string? Fault { get; private set; }

    /// <summary>As the API shows it.</summary>
    public StateFileInfo Info => _info;

    /// <summary>Reads the file. Never throws for what is in it: see <see cref="Fault"/>.</summary>
    public static MigrationStore Open(string folder, string node)
    {
        var store = new MigrationStore(folder, node);
        string why;
        try
        {
            byte[] bytes = File.ReadAllBytes(store.Path);
            store.Loaded = PeStateFile.Read(bytes, node, out why);
            if (store.Loaded is not null) store._info = new StateFileInfo(store.Path, "good");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return store;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            why = $"it cannot be read: {e.Message}";
        }

        if (store.Loaded is not null) return store;
        store.Fault = $"the file that keeps this PE's migrations, {store.Path}, cannot be used: {why}. What it knew of migrations and "
            + "epochs is not in force. Bring "
            + "back a good copy of the file and restart the PE; or, when no migration of this PE is under way and its servers are "
            + "where its configuration has them, move the file away and restart";
        store._info = new StateFileInfo(store.Path, "unreadable", store.Fault);
        return store;
    }

    /// <summary>Has a snapshot written; <paramref name="done"/> is called on another thread with null when it is on disk, else with the
    /// reason.</summary>
    public void Write(PeSnapshot snapshot, Action<string?> done)
    {
        lock (_lock)
        {
            if (_stop)
            {
                done("the PE is stopping");
                return;
            }

            if (!_started) _thread.Start();
            _started = true;
            _newest = snapshot;
            _waiting.Add(done);
        }

        _wanted.Release();
    }

    /// <summary>Ends the thread after what it was given.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_stop) return;
            _stop = true;
        }

        _wanted.Release();
        if (_started) _thread.Join();
        _wanted.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            _wanted.Wait();
            PeSnapshot? snapshot;
            Action<string?>[] waiting;
            lock (_lock)
            {
                (snapshot, _newest) = (_newest, null);
                waiting = [.. _waiting];
                _waiting.Clear();
                if (snapshot is null && _stop) return;
            }

            if (snapshot is null) continue;
            string? why = TryWrite(snapshot);
            foreach (Action<string?> done in waiting) done(why);
        }
    }

    private string? TryWrite(PeSnapshot snapshot)
    {
        try
        {
            DurableFile.Replace(Path, PeStateFile.Write(snapshot, _node, _buffer));
            _info = new StateFileInfo(Path, "good");
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            string why = $"{Path} cannot be written: {e.Message}";
            _info = new StateFileInfo(Path, "unwritable",
                $"{why}; make room, or set state.folder to a folder that this PE can write, then send the signal again");
            return why;
        }
    }
}
