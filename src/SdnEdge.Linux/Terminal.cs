using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "isatty", SetLastError = true)]
    public static partial int IsATty(int fd);

    [LibraryImport(Library, EntryPoint = "dup2", SetLastError = true)]
    public static partial int Dup2(int from, int to);
}

/// <summary>The terminal that a process was started at.</summary>
public static class Terminal
{
    // asm-generic/errno-base.h: what every call on a terminal that was hung up fails with.
    private const int EIO = 5;

    /// <summary>
    /// Leaves a terminal that was closed: what of standard input, output and error is at it is /dev/null from now on, for this process and
    /// those that it starts. Each write to it would fail, and what is still to be taken back must not end by that. One that is open stays.
    /// </summary>
    /// <exception cref="LinuxException">There is no /dev/null.</exception>
    public static void LeaveClosed()
    {
        int none = Libc.Open("/dev/null", Libc.O_RDWR | Libc.O_CLOEXEC);
        if (none < 0) throw LinuxException.Last("open /dev/null");
        for (int fd = 0; fd <= 2; fd++)
        {
            if (Libc.IsATty(fd) == 0 && Marshal.GetLastPInvokeError() == EIO) _ = Libc.Dup2(none, fd);
        }

        _ = Libc.Close(none);
    }
}
