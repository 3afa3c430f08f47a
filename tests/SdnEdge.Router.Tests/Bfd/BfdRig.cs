using System.Diagnostics;
using System.Globalization;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>A BFD speaker of ours in one namespace of a <see cref="PeerRig"/>, and helpers to wait for what it sees.</summary>
internal sealed class BfdRig : IDisposable
{
    /// <summary>
    /// Packets come as in operation, but it takes 6 s of silence to go down: a machine that stands still for less is not what is tried.
    /// </summary>
    public const int IntervalMs = 50, Multiplier = 120;

    public static readonly BfdKey
        Single4 = new(IpAddress.Parse("172.16.0.3"), IpAddress.Parse("172.16.0.1"), Multihop: false),
        Single6 = new(IpAddress.Parse("fd00:16::3"), IpAddress.Parse("fd00:16::1"), Multihop: false),
        Multi4 = new(IpAddress.Parse("10.255.0.3"), IpAddress.Parse("10.255.0.1"), Multihop: true),
        Multi6 = new(IpAddress.Parse("fd00:ff::3"), IpAddress.Parse("fd00:ff::1"), Multihop: true);

    public BfdRig() => Ours = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = Net.Ours });

    public PeerRig Net { get; } = new();

    public BfdSpeaker Ours { get; }

    /// <summary>The same session as the other end sees it.</summary>
    public static BfdKey Turned(BfdKey key) => new(key.Local, key.Peer, key.Multihop);

    public static void Signal(Process process, string signal)
        => PeerRig.Run("kill", $"-{signal}", process.Id.ToString(CultureInfo.InvariantCulture));

    /// <summary>Reads on a speaker's own thread, between two of its turns: what is read belongs together.</summary>
    public static T Look<T>(BfdSpeaker speaker, Func<T> look)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        speaker.Post(() => done.SetResult(look()));
        Assert.True(done.Task.Wait(Patience.Time), "the BFD thread does not answer");
        return done.Task.Result;
    }

    /// <summary>Waits until something holds between two turns of the session's speaker: what changes with it has changed too.</summary>
    public static void Await(BfdSpeaker speaker, BfdWatch watch, Func<BfdSession, bool> condition, string what) =>
        Await(watch, s => condition(s) && Look(speaker, () => condition(s)), what);

    /// <summary>Waits until something holds that is one number; fails with what the session says when it does not in time.</summary>
    public static void Await(BfdWatch watch, Func<BfdSession, bool> condition, string what, int seconds = Patience.Seconds)
    {
        Patience.Until(() => condition(watch.Session), Tell, TimeSpan.FromSeconds(seconds));

        string Tell()
        {
            BfdSession s = watch.Session;
            return $"{what}; {s.Key} is {s.State} ({s.Diagnostic}), the peer {s.RemoteState} ({s.RemoteDiagnostic}), "
                + $"received {s.Received}, sent {s.Sent}, errors {watch.SendErrors}, tx {s.TransmitInterval} us, "
                + $"detection {s.DetectionTime} ns";
        }
    }

    public static void AwaitUp(BfdSpeaker speaker, BfdWatch watch) => Await(speaker, watch, IsUp, "up at both ends, parameters agreed");

    /// <summary>As <see cref="AwaitUp"/>, and the interval and detection time of the rig are in force.</summary>
    public static void AwaitAgreed(BfdSpeaker speaker, BfdWatch watch) => Await(
        speaker, watch, s => IsUp(s) && s.TransmitInterval == IntervalMs * 1000 && s.DetectionTime == Multiplier * 1_000_000L * IntervalMs,
        "up at both ends, with the rig's parameters");

    /// <summary>Stops a daemon and checks that its sessions go down in time, and not before they may.</summary>
    public static void StopAndSeeThemDown(Process daemon, BfdSpeaker speaker, IReadOnlyList<BfdWatch> watches)
    {
        long[] detection = Look(speaker, () => watches.Select(w => w.Session.DetectionTime).ToArray());
        Signal(daemon, "STOP");
        for (int i = 0; i < watches.Count; i++)
        {
            Await(speaker, watches[i], s => s.State != BfdState.Up, "down");
            BfdSession s = watches[i].Session;
            Assert.Equal(BfdDiagnostic.DetectionTimeExpired, s.Diagnostic);

            // The machine may be busy; the benchmark has the exact figures.
            Assert.InRange(s.ChangedAt - s.LastHeardAt, detection[i], detection[i] + 10_000_000_000);
        }

        Signal(daemon, "CONT");
        foreach (BfdWatch watch in watches) AwaitUp(speaker, watch);
    }

    public void Dispose()
    {
        long faults = Ours.Faults;
        Ours.Dispose();
        Net.Dispose();
        Assert.Equal(0, faults);
    }

    private static bool IsUp(BfdSession session) => session is { State: BfdState.Up, RemoteState: BfdState.Up, Polling: false };
}
