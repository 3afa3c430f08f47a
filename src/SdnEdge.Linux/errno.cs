using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>The error numbers of <c>errno.h</c> that the code decides on.</summary>
internal static class Errno
{
    public const int EPERM = 1;
    public const int ENOENT = 2;
    public const int EINTR = 4;
    public const int EIO = 5;
    public const int EBADF = 9;
    public const int EAGAIN = 11;
    public const int EBUSY = 16;
    public const int EEXIST = 17;
    public const int ENODEV = 19;
    public const int EINVAL = 22;
    public const int EOPNOTSUPP = 95;
    public const int EADDRINUSE = 98;
    public const int ENETDOWN = 100;
    public const int ECONNRESET = 104;
    public const int ENOBUFS = 105;
    public const int EBADFD = 77;
}

/// <summary>A system call failed. The message says what was tried and on what, and gives the kernel's reason.</summary>
public sealed class LinuxException : IOException
{
    /// <summary>Makes the exception for error number <paramref name="errno"/>.</summary>
    /// <param name="what">What was tried, e.g. "create TAP device tap-eth1".</param>
    /// <param name="errno">The error number the kernel gave.</param>
    public LinuxException(string what, int errno)
        : base($"{what}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})") => ErrorNumber = errno;

    /// <summary>The kernel's error number.</summary>
    public int ErrorNumber { get; }

    /// <summary>True when somebody else holds what was asked for (EBUSY).</summary>
    public bool IsBusy => ErrorNumber == Errno.EBUSY;

    /// <summary>An exception for the last failed call of this thread.</summary>
    internal static LinuxException Last(string what) => new(what, Marshal.GetLastPInvokeError());
}
