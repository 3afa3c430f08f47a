using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int CLONE_NEWNET = 0x40000000;

    [LibraryImport(Library, EntryPoint = "setns", SetLastError = true)]
    public static partial int SetNamespace(int fd, int type);

    [LibraryImport(Library, EntryPoint = "unshare", SetLastError = true)]
    public static partial int Unshare(int flags);

    [LibraryImport(Library, EntryPoint = "sched_setaffinity", SetLastError = true)]
    public static partial int SchedSetAffinity(int pid, nint size, ulong* mask);

    public const int SCHED_RR = 2, SCHED_RESET_ON_FORK = 0x4000_0000;

    [LibraryImport(Library, EntryPoint = "sched_setscheduler", SetLastError = true)]
    public static partial int SchedSetScheduler(int pid, int policy, int* priority);

    [LibraryImport(Library, EntryPoint = "setpriority", SetLastError = true)]
    public static partial int SetPriority(int which, int who, int priority);
}

/// <summary>
/// Network namespaces for threads. The work runs on a thread of its own that ends with it, so no thread of the pool is
/// ever left in another namespace; descriptors opened there keep working anywhere.
/// </summary>
public static unsafe class Namespaces
{
    /// <summary>Where <c>ip netns</c> keeps named namespaces.</summary>
    public const string Folder = "/run/netns";

    /// <summary>The file of the namespace called <paramref name="name"/>.</summary>
    public static string PathOf(string name) => $"{Folder}/{name}";

    /// <summary>Whether a namespace called <paramref name="name"/> exists.</summary>
    public static bool Exists(string name) => File.Exists(PathOf(name));

    /// <summary>
    /// Runs <paramref name="work"/> inside the namespace <paramref name="name"/> (null or empty: where the process is) and
    /// returns its result; its exception is thrown here.
    /// </summary>
    public static T Run<T>(string? name, Func<T> work) =>
        string.IsNullOrEmpty(name) ? work() : OnThread(() => Enter(name), work);

    /// <summary>As <see cref="Run{T}"/>, without a result.</summary>
    public static void Run(string? name, Action work) => Run(name, () => { work(); return 0; });

    /// <summary>As <see cref="Run{T}(string?, Func{T})"/>, inside the namespace of a handle; null: where the process is.</summary>
    public static T Run<T>(SafeHandle? space, Func<T> work) => space is null ? work() : OnThread(() => Enter(space), work);

    /// <summary>
    /// Runs <paramref name="work"/> inside a new namespace without a name, which goes away with the last descriptor opened
    /// in it. Nothing outside sees it.
    /// </summary>
    public static T RunInNew<T>(Func<T> work) => OnThread(EnterNew, work);

    /// <summary>Moves the calling thread for good. Only for threads that are the caller's own, such as a worker's.</summary>
    public static void Enter(string name)
    {
        int fd = Libc.Open(PathOf(name), Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (fd < 0) throw LinuxException.Last($"open network namespace {name} at {PathOf(name)}");
        try
        {
            if (Libc.SetNamespace(fd, Libc.CLONE_NEWNET) < 0) throw LinuxException.Last($"enter network namespace {name}");
        }
        finally
        {
            Libc.Close(fd);
        }
    }

    private static void Enter(SafeHandle space)
    {
        bool held = false;
        try
        {
            space.DangerousAddRef(ref held);
            if (Libc.SetNamespace((int)space.DangerousGetHandle(), Libc.CLONE_NEWNET) < 0)
                throw LinuxException.Last("enter a network namespace");
        }
        finally
        {
            if (held) space.DangerousRelease();
        }
    }

    private static void EnterNew()
    {
        if (Libc.Unshare(Libc.CLONE_NEWNET) < 0) throw LinuxException.Last("make a network namespace");
    }

    private static T OnThread<T>(Action enter, Func<T> work)
    {
        T result = default!;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                enter();
                result = work();
            }
            catch (Exception e)
            {
                failure = e;
            }
        })
        { IsBackground = true, Name = "netns" };
        thread.Start();
        thread.Join();
        if (failure is not null) System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        return result;
    }
}

/// <summary>Which cores a thread runs on.</summary>
public static unsafe class Affinity
{
    /// <summary>Binds the calling thread to <paramref name="core"/>, 0 to 63.</summary>
    public static void Pin(int core)
    {
        if (core is < 0 or > 63) throw new ArgumentOutOfRangeException(nameof(core), core, "a core is 0 to 63");
        ulong mask = 1UL << core;
        if (Libc.SchedSetAffinity(0, sizeof(ulong), &mask) < 0) throw LinuxException.Last($"bind the thread to core {core}");
    }
}

/// <summary>How a thread came to run before others.</summary>
public enum ThreadUrgency
{
    /// <summary>It does not: the system did not permit it.</summary>
    Ordinary,
    /// <summary>By nice value -20.</summary>
    Nice,
    /// <summary>By real-time policy SCHED_RR, at its lowest priority: before every ordinary thread.</summary>
    RealTime,
}

/// <summary>Priority of threads.</summary>
public static unsafe class Urgency
{
    /// <summary>Raises the calling thread as far as the system permits, and says how far that was. Only for threads that sleep most of the
    /// time.</summary>
    public static ThreadUrgency Raise()
    {
        int lowest = 1;
        if (Libc.SchedSetScheduler(0, Libc.SCHED_RR | Libc.SCHED_RESET_ON_FORK, &lowest) == 0) return ThreadUrgency.RealTime;
        return Libc.SetPriority(0, 0, -20) == 0 ? ThreadUrgency.Nice : ThreadUrgency.Ordinary;
    }
}
