using System.Globalization;
using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int pid, int signal);

    [LibraryImport(Library, EntryPoint = "prctl", SetLastError = true)]
    public static partial int ProcessControl(int option, nuint value, nuint unused3, nuint unused4, nuint unused5);
}

/// <summary>Signals to processes, by their Linux numbers.</summary>
public enum ProcessSignal
{
    /// <summary>A terminal was closed; asks some daemons to read their configuration again.</summary>
    HangUp = 1,

    /// <summary>What Ctrl-C sends.</summary>
    Interrupt = 2,

    /// <summary>What Ctrl-\ sends.</summary>
    Quit = 3,

    /// <summary>Ends at once.</summary>
    Kill = 9,

    /// <summary>Asks to end.</summary>
    Terminate = 15,

    /// <summary>Continues what <see cref="Stop"/> stopped.</summary>
    Continue = 18,

    /// <summary>Stops until <see cref="Continue"/>.</summary>
    Stop = 19,
}

/// <summary>What /proc/PID/stat says of a process.</summary>
/// <param name="ProcessId">Its number.</param>
/// <param name="State">R, S, D, T (stopped), Z (ended, not yet reaped) ...</param>
/// <param name="StartTicks">When it started, in clock ticks since boot: with the number it names one process for ever.</param>
/// <param name="ParentId">The process that started it, or that has adopted it since.</param>
public readonly record struct ProcessStat(int ProcessId, char State, long StartTicks, int ParentId)
{
    /// <summary>Reads it; null when there is no such process.</summary>
    public static ProcessStat? Read(int processId)
    {
        string text;
        try
        {
            text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/stat"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        // The name in parentheses may hold anything, so fields count from the last one: state is 3, ppid 4, starttime 22 (proc(5)).
        int name = text.LastIndexOf(')');
        string[] fields = name < 0 ? [] : text[(name + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length > 19 && int.TryParse(fields[1], out int parent) && long.TryParse(fields[19], out long start)
            ? new ProcessStat(processId, fields[0][0], start, parent)
            : null;
    }

    /// <summary>True while it runs or is stopped; false once it has ended.</summary>
    public bool IsAlive => State is not ('Z' or 'X');

    /// <summary>True while it is stopped by a signal. A tracer's stop ('t') is none: the tracer lets it go on, not
    /// <see cref="ProcessSignal.Continue"/>.</summary>
    public bool IsStopped => State is 'T';
}

/// <summary>Sends signals.</summary>
public static class Signals
{
    private const int PR_SET_TIMERSLACK = 29;

    /// <summary>Sends a signal; false when there is no such process any more.</summary>
    /// <exception cref="LinuxException">The kernel refused for another reason.</exception>
    public static bool Send(int processId, ProcessSignal signal)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(processId, 2);   // 0, 1 and negative numbers mean groups, init, everything
        if (Libc.Kill(processId, (int)signal) == 0) return true;
        const int ESRCH = 3;
        return Marshal.GetLastPInvokeError() == ESRCH ? false : throw LinuxException.Last($"send signal {signal} to process {processId}");
    }

    /// <summary>Sends a signal to every process of a group; false when there is none any more.</summary>
    /// <param name="group">Number of the group: that of the process that made it, e.g. by setsid(1).</param>
    /// <param name="signal">The signal.</param>
    /// <exception cref="LinuxException">The kernel refused for another reason.</exception>
    public static bool SendToGroup(int group, ProcessSignal signal)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(group, 2);
        if (Libc.Kill(-group, (int)signal) == 0) return true;
        const int ESRCH = 3;
        return Marshal.GetLastPInvokeError() == ESRCH ? false : throw LinuxException.Last($"send signal {signal} to process group {group}");
    }

    /// <summary>Lets the calling thread's timed waits end within a microsecond of their time instead of the usual 50.</summary>
    public static void WakePrecisely() => _ = Libc.ProcessControl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}
