using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Linux;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// The process of one guest, in a folder of its own with its sockets, its log and a file that says which process it is. It outlives the
/// agent: it is in a session of its own, and the next agent finds it by that file (the process's id and when it started, so that another
/// process of the same id is not taken for it).
/// </summary>
public sealed class QemuProcess
{
    private const string Shell = "/bin/sh";

    private readonly string _folder;
    private readonly QemuSockets? _given;

    /// <summary>The process of the guest whose folder this is.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="given">Monitors of a process that was not started here; null = there is none.</param>
    public QemuProcess(string folder, QemuSockets? given = null) => (_folder, _given) = (folder, given);

    /// <summary>Its monitors.</summary>
    public QemuSockets Monitors => _given is not null && File.Exists(Given) ? _given : Own;

    // Those of a process that is started here.
    private QemuSockets Own => new(Path.Combine(_folder, "qmp"), Path.Combine(_folder, "qmp-rescue"));

    // Says that the process is the one that was given.
    private string Given => Path.Combine(_folder, "given");

    /// <summary>The socket of migrations that leave.</summary>

    public string Outgoing => Path.Combine(_folder, "out");

    /// <summary>The socket of migrations that arrive.</summary>
    public string Incoming => Path.Combine(_folder, "in");

    /// <summary>What QEMU says.</summary>
    public string Log => Path.Combine(_folder, "log");

    private string PidFile => Path.Combine(_folder, "process");

    private string Expected => Path.Combine(_folder, "expected");

    /// <summary>True when the guest here was started to take one over, and has not run yet.</summary>
    public bool IsExpected => File.Exists(Expected);

    /// <summary>Its id; null when it does not run.</summary>
    public int? Id
    {
        get
        {
            try
            {
                string[] words = File.ReadAllText(PidFile).Split(' ');
                return words.Length == 2 && int.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                    && StartOf(id) is { } start && start == words[1] ? id : null;
            }
            catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
            {
                return null;
            }
        }
    }

    /// <summary>Finds a process that an agent has started and did not come to write down, or that was given.</summary>
    public void Adopt()
    {
        if (Id is not null) return;
        if (Started().FirstOrDefault() is var id and > 0 && StartOf(id) is { } since) Write(id, since);
        else if (_given is not null && ListenerAt(_given.Main) is { } other && StartOf(other) is { } then)
        {
            MakeFolder();
            File.WriteAllText(Given, "");
            Write(other, then);
        }
    }

    /// <summary>Starts QEMU.</summary>
    /// <param name="command">The program and its arguments.</param>
    /// <param name="expected">True: it waits for a guest to be taken over, and its processors stand still.</param>
    public void Start(IReadOnlyList<string> command, bool expected)
    {
        ArgumentNullException.ThrowIfNull(command);
        MakeFolder();
        File.Delete(Given);
        if (Started().FirstOrDefault() is var running and > 0)
            throw new DriverException($"process {running} is QEMU of {_folder} already; it must end before another one starts");
        foreach (string socket in (string[])[Own.Main, Own.Rescue, Incoming, Outgoing]) File.Delete(socket);
        if (expected) File.WriteAllText(Expected, "");
        else File.Delete(Expected);
        string[] own = expected ? ["-S", "-incoming", "defer"] : [];
        var start = new ProcessStartInfo(Shell, ["-c", "exec setsid \"$@\" < /dev/null > \"$SDNEDGE_LOG\" 2>&1", "sh", .. command, .. own,
            "-qmp", $"unix:{Own.Main},server=on,wait=off", "-qmp", $"unix:{Own.Rescue},server=on,wait=off"])
        {
            Environment = { ["SDNEDGE_LOG"] = Log },
        };
        using Process process = Process.Start(start) ?? throw new DriverException($"{Shell} did not start");
        Write(process.Id, StartOf(process.Id) ?? throw new DriverException($"{command[0]} ended at once: {LastWords}"));
    }

    /// <summary>It runs now: nothing is expected here any more.</summary>
    public void HasRun() => File.Delete(Expected);

    /// <summary>The end of its log, for people.</summary>
    public string LastWords
    {
        get
        {
            try
            {
                return string.Join("; ", File.ReadAllLines(Log).TakeLast(3)) is { Length: > 0 } said ? said : "it said nothing";
            }
            catch (IOException)
            {
                return "it has no log";
            }
        }
    }

    /// <summary>Ends it at once: a guest whose disk is fenced hangs when it is asked to end. Returns when it is gone.</summary>
    public async Task KillAsync(CancellationToken cancel)
    {
        if (Id is { } id)
        {
            try
            {
                using Process process = Process.GetProcessById(id);
                if (Id == id) process.Kill();
            }
            catch (ArgumentException)
            {
                // It has just ended.
            }

            while (Id is not null) await Task.Delay(5, cancel).ConfigureAwait(false);
        }

        if (!Directory.Exists(_folder)) return;
        foreach (string file in (string[])[PidFile, Expected, Given, Own.Main, Own.Rescue, Incoming, Outgoing]) File.Delete(file);
    }

    /// <summary>Sends SIGKILL to it. Does not wait. Returns how many processes it was.</summary>
    /// <param name="search">True: to every process that has its monitor. One that an agent has just started is not written down
    /// yet.</param>
    public int KillNow(bool search)
    {
        HashSet<int> all = search ? [.. Started()] : [];
        if (Id is { } known) all.Add(known);
        return all.Count(id => Signals.Send(id, ProcessSignal.Kill));
    }

    private void MakeFolder()
        => Directory.CreateDirectory(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

    // The process that listens at a socket; null: nobody does.
    private static int? ListenerAt(string socket)
    {
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            client.Connect(new UnixDomainSocketEndPoint(socket));
            return PeerCredentials.TryGet(client, out PeerCredentials listener) && listener.Process > 0 ? listener.Process : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    private void Write(int id, string since)
        => File.WriteAllText(PidFile, string.Create(CultureInfo.InvariantCulture, $"{id} {since}"));

    // Processes that have this folder's monitor among their arguments.
    private IEnumerable<int> Started()
    {
        string monitor = $"unix:{Own.Main},";
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out int id)) continue;
            string command;
            try
            {
                command = File.ReadAllText(folder + "/cmdline");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            bool isIts = command.Split('\0').Any(word => word.StartsWith(monitor, StringComparison.Ordinal));
            if (isIts && StartOf(id) is not null) yield return id;
        }
    }

    // When it started, in ticks since boot (proc(5), stat, field 22); null: there is no such process, or it has ended and waits for its
    // parent.
    private static string? StartOf(int id)
    {
        try
        {
            string stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] is "Z" or "X" ? null : fields[19];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
