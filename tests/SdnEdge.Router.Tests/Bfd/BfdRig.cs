using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bfd;
using SdnEdge.Router.Tests.Bgp;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>A BFD speaker of ours in one namespace of a <see cref="PeerRig"/>, and helpers to wait for what it sees.</summary>
internal sealed class BfdRig : IDisposable
{
    public static readonly BfdKey
        Single4 = new(IpAddress.Parse("172.16.0.3"), IpAddress.Parse("172.16.0.1"), Multihop: false),
        Single6 = new(IpAddress.Parse("fd00:16::3"), IpAddress.Parse("fd00:16::1"), Multihop: false),
        Multi4 = new(IpAddress.Parse("10.255.0.3"), IpAddress.Parse("10.255.0.1"), Multihop: true),
        Multi6 = new(IpAddress.Parse("fd00:ff::3"), IpAddress.Parse("fd00:ff::1"), Multihop: true);

    public BfdRig() => Ours = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = Net.Ours });

    public PeerRig Net { get; } = new();

    public BfdSpeaker Ours { get; }

    public static void Signal(Process process, string signal) => PeerRig.Run("kill", $"-{signal}", process.Id.ToString(CultureInfo.InvariantCulture));

    /// <summary>Waits until something holds; fails with what the session says when it does not in time. Returns how long it took, ns.</summary>
    public static long Await(BfdWatch watch, Func<BfdSession, bool> condition, string what, int seconds = 15)
    {
        long start = Monotonic.Now;
        while (!condition(watch.Session))
        {
            BfdSession s = watch.Session;
            Assert.True(Monotonic.Now - start < seconds * 1_000_000_000L,
                $"not within {seconds} s: {what}; {s.Key} is {s.State} ({s.Diagnostic}), the peer {s.RemoteState} ({s.RemoteDiagnostic}), received {s.Received}, sent {s.Sent}, errors {watch.SendErrors}, tx {s.TransmitInterval} us, detection {s.DetectionTime} ns");
            Thread.Sleep(1);
        }

        return Monotonic.Now - start;
    }

    public static void AwaitUp(BfdWatch watch) => Await(watch, s => s.State == BfdState.Up && s.RemoteState == BfdState.Up && !s.Polling, "up at both ends, parameters agreed");

    /// <summary>Stops a daemon and checks that the session goes down in time, and not before it may.</summary>
    public static void StopAndSeeItDown(Process daemon, BfdWatch watch)
    {
        long detection = watch.Session.DetectionTime;
        long stopped = Monotonic.Now;
        Signal(daemon, "STOP");
        Await(watch, s => s.State != BfdState.Up, "down");
        Assert.Equal(BfdDiagnostic.DetectionTimeExpired, watch.Session.Diagnostic);
        long took = watch.Session.ChangedAt - stopped;
        Assert.InRange(took, detection / 2, detection + 1_000_000_000); // the machine may be busy; the benchmark has the exact figures
        Signal(daemon, "CONT");
        AwaitUp(watch);
    }

    public void Dispose()
    {
        Assert.Equal(0, Ours.Faults);
        Ours.Dispose();
        Net.Dispose();
    }
}
