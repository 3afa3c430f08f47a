using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary><c>sys/ptrace.h</c> and <c>sys/wait.h</c>.</summary>
internal static unsafe partial class Libc
{
    public const nint PTRACE_DETACH = 17, PTRACE_SEIZE = 0x4206, PTRACE_INTERRUPT = 0x4207;
    public const int PTRACE_EVENT_STOP = 128;
    public const int WNOHANG = 1, WALL = 0x4000_0000;

    // Its prototype has "..." for the last three; all four go into the same registers either way.
    [LibraryImport(Library, EntryPoint = "ptrace", SetLastError = true)]
    public static partial nint PTrace(nint request, nint pid, nint address, nint data);

    [LibraryImport(Library, EntryPoint = "waitpid", SetLastError = true)]
    public static partial int WaitPid(int pid, int* status, int options);
}

/// <summary>Why a thread could not be held.</summary>
public enum HoldRefusal
{
    /// <summary>It is held.</summary>
    None,

    /// <summary>It has ended.</summary>
    Gone,

    /// <summary>It has ended but was not yet reaped, a debugger has it already, or this process lacks CAP_SYS_PTRACE.</summary>
    NotPermitted,
}

/// <summary>
/// A thread of another process that is held still: it runs no instruction until <see cref="TryRelease"/>. It sees nothing of that
/// but the time that has passed: no signal is sent (ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT), what it was waiting for goes on.
/// A signal that comes meanwhile waits, except SIGKILL, which works at once.
///
/// All calls for one thread must come from the thread that called <see cref="TryHold"/>: the kernel knows that one as its tracer. When
/// the tracer ends, in whatever way, the kernel releases all that it held. The process must not be a child of this one: who waits for
/// children to end would take the kernel's word that the thread stands still, which is meant for us.
/// </summary>
public sealed unsafe class HeldThread
{
    private const int Running = 0;
    private int _status = Running;
    private bool _gone;

    private HeldThread(int threadId) => ThreadId = threadId;

    /// <summary>The kernel's number of the thread.</summary>
    public int ThreadId { get; }

    /// <summary>Asks the kernel to hold a thread. It stands still some microseconds later: see <see cref="Look"/>.</summary>
    /// <param name="threadId">The kernel's number of a thread of another process.</param>
    /// <param name="why">Why the answer is null.</param>
    /// <exception cref="LinuxException">The kernel refused for a reason that is no <see cref="HoldRefusal"/>.</exception>
    public static HeldThread? TryHold(int threadId, out HoldRefusal why)
    {
        const int ESRCH = 3;
        why = HoldRefusal.None;
        if (Libc.PTrace(Libc.PTRACE_SEIZE, threadId, 0, 0) < 0)
        {
            why = Marshal.GetLastPInvokeError() switch
            {
                ESRCH => HoldRefusal.Gone,
                Errno.EPERM => HoldRefusal.NotPermitted,
                int other => throw new LinuxException($"hold thread {threadId}", other),
            };
            return null;
        }

        // This fails only where the thread has ended since; Look tells.
        _ = Libc.PTrace(Libc.PTRACE_INTERRUPT, threadId, 0, 0);
        return new HeldThread(threadId);
    }

    /// <summary>
    /// True once it stands still. False while it has not stopped yet (a thread that waits for a disk, or in vfork(2), stops at the end
    /// of that), and after it has ended. Call this every now and then for each held thread: one that was killed is not gone for its
    /// parent before it was looked at here.
    /// </summary>
    public bool Look()
    {
        int status;
        int found = Libc.WaitPid(ThreadId, &status, Libc.WNOHANG | Libc.WALL);
        if (found == ThreadId && (status & 0xFF) == 0x7F) _status = status;
        else if (found != 0 && (found > 0 || Marshal.GetLastPInvokeError() != Errno.EINTR)) _gone = true;
        return !_gone && _status != Running;
    }

    /// <summary>True when it ended while it was held.</summary>
    public bool IsGone => _gone;

    /// <summary>True when SIGSTOP or a signal like it had stopped it before, so that holding it changed nothing.</summary>
    public bool WasStopped => _status != Running && _status >> 16 == Libc.PTRACE_EVENT_STOP && StopSignal != SIGTRAP;

    /// <summary>Lets it go on as if nothing had been. False while it has not stopped yet: then it is still held; call this again.</summary>
    public bool TryRelease()
    {
        if (!Look()) return _gone;

        // Stopped on its way to a signal handler, it gets that signal now.
        nint signal = _status >> 16 == 0 ? StopSignal : 0;
        if (Libc.PTrace(Libc.PTRACE_DETACH, ThreadId, 0, signal) == 0) return true;
        Look();   // killed meanwhile: this reaps it
        return _gone;
    }

    private const int SIGTRAP = 5;

    private int StopSignal => (_status >> 8) & 0xFF;
}
