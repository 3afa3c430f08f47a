using Microsoft.Win32.SafeHandles;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>Speakers of ours against each other and against forged packets, over the kernel's UDP in namespaces of their own.</summary>
public sealed class BfdSpeakerTests
{
    [RootFact]
    public void A_speaker_allocates_nothing_while_its_sessions_are_up()
    {
        using var rig = new BfdRig();
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = rig.Net.Theirs });
        BfdWatch watch = rig.Ours.Add(BfdRig.Multi4, BfdParameters.Every(10, 250));
        theirs.Add(BfdRig.Turned(BfdRig.Multi4), BfdParameters.Every(10, 250));
        BfdRig.AwaitUp(rig.Ours, watch);
        long packets = watch.Session.Received + 100;
        BfdRig.Await(watch, s => s.Received > packets, "warm");
        long before = AllocatedBy(rig.Ours);
        BfdRig.Await(watch, s => s.Received > packets + 100, "a hundred packets more");

        long after = AllocatedBy(rig.Ours);
        Assert.Equal(0, after - before);

        // The control: the counter is that of the thread, and would have seen one small array.
        rig.Ours.Post(() => GC.KeepAlive(new byte[100]));
        Assert.InRange(AllocatedBy(rig.Ours) - after, 100, 1000);
    }

    [RootFact]
    public void What_is_discarded_is_counted_by_reason_and_does_nothing_to_the_session()
    {
        using var rig = new BfdRig();
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = rig.Net.Theirs });
        BfdWatch watch = rig.Ours.Add(BfdRig.Single4, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        theirs.Add(BfdRig.Turned(BfdRig.Single4), BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        BfdRig.AwaitUp(rig.Ours, watch);

        // A sender of theirs with the kernel's usual TTL, and one with 255 that knows no discriminator.
        byte[] packet = new byte[BfdControl.Size];
        new BfdControl(BfdState.Down, 5, watch.Session.LocalDiscriminator, 50_000, 50_000, 3).Emit(packet);
        using (UdpBatchSocket plain = Namespaces.Run(rig.Net.Theirs, () => UdpBatchSocket.Open(new UdpEndpoint(BfdRig.Single4.Peer, 0))))
        {
            plain.Queue(packet, new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort));
            Assert.Equal(1, plain.Flush());
        }

        Discarded(BfdDiscard.TimeToLive);
        using UdpSender forger =
            Namespaces.Run(rig.Net.Theirs,
                () => UdpSender.TryOpen(new UdpEndpoint(BfdRig.Single4.Peer, 40_000),
                    new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort)))!;
        new BfdControl(BfdState.Down, 5, watch.Session.LocalDiscriminator + 1, 50_000, 50_000, 3).Emit(packet);
        Assert.True(forger.Send(packet));
        Discarded(BfdDiscard.UnknownDiscriminator);
        Assert.True(forger.Send(packet.AsSpan(0, 20)));
        Discarded(BfdDiscard.LengthBeyondPayload);
        Assert.Equal((BfdState.Up, 0L), (watch.Session.State, watch.Session.Downs));

        void Discarded(BfdDiscard reason) => BfdRig.Await(watch, _ => rig.Ours.Discards(reason) == 1, $"{reason} is counted");
    }

    /// <summary>Before, the sockets that receive stayed open for good: a session in a namespace made anew never heard its peer.</summary>
    [RootFact]
    public void A_session_that_is_removed_takes_its_sockets_along_and_the_next_one_may_be_in_another_namespace()
    {
        using var rig = new BfdRig();
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = rig.Net.Theirs });
        theirs.Add(BfdRig.Turned(BfdRig.Multi4), BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        using var ours = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = rig.Net.Theirs });
        BfdKey second = BfdRig.Multi4 with { Peer = IpAddress.Parse("10.255.0.77") };
        ours.Add(BfdRig.Multi4, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        ours.Add(second, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        Assert.True(Taken());
        Assert.True(ours.Remove(BfdRig.Multi4));
        Assert.True(Taken()); // the other one receives there too
        Assert.True(ours.Remove(second));
        Assert.False(Taken());

        using SafeFileHandle space = File.OpenHandle(Namespaces.PathOf(rig.Net.Ours));
        BfdWatch watch = ours.Add(BfdRig.Multi4, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier), space: space);
        BfdRig.AwaitUp(ours, watch);
        Assert.Equal(0, ours.Faults);

        bool Taken()
        {
            try
            {
                var end = new UdpEndpoint(BfdRig.Multi4.Local, BfdLimits.MultihopPort);
                Namespaces.Run(rig.Net.Theirs, () => UdpBatchSocket.Open(end, new UdpBatchOptions { FreeBind = true }).Dispose());
                return false;
            }
            catch (LinuxException)
            {
                return true;
            }
        }
    }

    [RootFact]
    public void A_port_that_another_program_has_is_an_error_that_says_so()
    {
        using var net = new PeerRig();
        using UdpBatchSocket taken =
            Namespaces.Run(net.Ours, () => UdpBatchSocket.Open(new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort)));
        using var ours = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Ours });
        LinuxException error =
            Assert.Throws<LinuxException>(() => ours.Add(BfdRig.Single4, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier)));
        Assert.Contains("172.16.0.1:3784", error.Message, StringComparison.Ordinal);
        Assert.Empty(ours.Sessions);
    }

    private static long AllocatedBy(BfdSpeaker speaker)
    {
        var done = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        speaker.Post(() => done.SetResult(GC.GetAllocatedBytesForCurrentThread()));
        return done.Task.Result;
    }
}
