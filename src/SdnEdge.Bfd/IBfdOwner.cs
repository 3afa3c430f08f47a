using System.Runtime.InteropServices;
using SdnEdge.Core.Config;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>What <see cref="BfdSessions"/> asks of the PE or the host's agent that it works for, and tells it.</summary>
public interface IBfdOwner
{
    /// <summary>Now, ns of CLOCK_MONOTONIC.</summary>
    long Now { get; }

    /// <summary>Starts the BFD process, or goes on with one that is there.</summary>
    /// <param name="heard">To be given to the link.</param>
    /// <param name="ended">To be given to the link.</param>
    /// <exception cref="IOException">It could not be started.</exception>
    BfdLink Connect(Action<BfdReport> heard, Action ended);

    /// <summary>Where the sockets of a session are to be: the network namespace (null: the process's own) and the index of the device
    /// that a link-local peer is on (0: the address is enough).</summary>
    /// <exception cref="LinuxException">The device is not there.</exception>
    (SafeHandle? Space, int Device) PlaceOf(BfdConfig session);

    /// <summary><see cref="BfdSessions.Drain"/> has something to do. On the link's thread.</summary>
    void Wake();

    /// <summary>A session told of itself. <paramref name="before"/> is what it told last; at its first word it was Down.</summary>
    void Heard(BfdConfig session, in BfdStatus before, in BfdStatus status, long now);

    /// <summary>An event of kind <c>bfd</c>.</summary>
    /// <param name="subject">The session; null: the process.</param>
    /// <param name="change">What happened: up, down, admin-down, failed, process-ended.</param>
    /// <param name="detail">More of it.</param>
    /// <param name="now">When.</param>
    void Tell(string? subject, string change, string detail, long now);
}
