using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bfd;
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
        BfdWatch watch = rig.Ours.Add(BfdRig.Multi4, BfdParameters.Every(10, 3));
        theirs.Add(Turned(BfdRig.Multi4), BfdParameters.Every(10, 3));
        BfdRig.AwaitUp(watch);
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
        BfdWatch watch = rig.Ours.Add(BfdRig.Single4, BfdParameters.Every(50, 3));
        theirs.Add(Turned(BfdRig.Single4), BfdParameters.Every(50, 3));
        BfdRig.AwaitUp(watch);

        // A sender of theirs with the kernel's usual TTL, and one with 255 that knows no discriminator.
        byte[] packet = new byte[BfdControl.Size];
        new BfdControl(BfdState.Down, 5, watch.Session.LocalDiscriminator, 50_000, 50_000, 3).Emit(packet);
        using (UdpBatchSocket plain = Namespaces.Run(rig.Net.Theirs, () => UdpBatchSocket.Open(new UdpEndpoint(BfdRig.Single4.Peer, 0))))
        {
            plain.Queue(packet, new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort));
            Assert.Equal(1, plain.Flush());
        }

        Discarded(BfdDiscard.TimeToLive);
        using UdpSender forger = Namespaces.Run(rig.Net.Theirs, () => UdpSender.TryOpen(new UdpEndpoint(BfdRig.Single4.Peer, 40_000), new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort)))!;
        new BfdControl(BfdState.Down, 5, watch.Session.LocalDiscriminator + 1, 50_000, 50_000, 3).Emit(packet);
        Assert.True(forger.Send(packet));
        Discarded(BfdDiscard.UnknownDiscriminator);
        Assert.True(forger.Send(packet.AsSpan(0, 20)));
        Discarded(BfdDiscard.LengthBeyondPayload);
        Assert.Equal((BfdState.Up, 0L), (watch.Session.State, watch.Session.Downs));

        void Discarded(BfdDiscard reason) => BfdRig.Await(watch, _ => rig.Ours.Discards(reason) == 1, $"{reason} is counted");
    }

    [RootFact]
    public void The_control_loop_is_told_of_each_change_once()
    {
        using var net = new PeerRig();
        using var changed = new SemaphoreSlim(0);
        using var ours = new BfdSpeaker(() => changed.Release(), new BfdSpeakerOptions { Namespace = net.Ours });
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Theirs });
        ours.Add(BfdRig.Multi6, BfdParameters.Every(20, 3));
        theirs.Add(Turned(BfdRig.Multi6), BfdParameters.Every(20, 3));
        Assert.True(Next(BfdState.Up).CameUp);
        theirs.SetAdminDown(Turned(BfdRig.Multi6), true);
        BfdChange down = Next(BfdState.Down);
        Assert.True(down is { WentDown: true, ByAdministrator: true, Diagnostic: BfdDiagnostic.NeighborSignaledDown });
        theirs.SetAdminDown(Turned(BfdRig.Multi6), false);
        Assert.True(Next(BfdState.Up).CameUp);
        PeerRig.Run("ip", "-n", net.Theirs, "link", "set", "veth0", "down");
        BfdChange cut = Next(BfdState.Down);
        Assert.True(cut is { WentDown: true, ByAdministrator: false, Diagnostic: BfdDiagnostic.DetectionTimeExpired });

        BfdChange Next(BfdState state)
        {
            List<BfdChange> changes = [];
            while (true)
            {
                Assert.True(changed.Wait(TimeSpan.FromSeconds(15)), $"no change to {state} within 15 s");
                changes.Clear();
                ours.TakeChanges(changes);
                if (changes.FirstOrDefault(c => c.State == state) is { Watch: not null } found) return found;
            }
        }
    }

    [RootFact]
    public void A_port_that_another_program_has_is_an_error_that_says_so()
    {
        using var net = new PeerRig();
        using UdpBatchSocket taken = Namespaces.Run(net.Ours, () => UdpBatchSocket.Open(new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort)));
        using var ours = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Ours });
        LinuxException error = Assert.Throws<LinuxException>(() => ours.Add(BfdRig.Single4, BfdParameters.Every(50, 3)));
        Assert.Contains("172.16.0.1:3784", error.Message, StringComparison.Ordinal);
        Assert.Empty(ours.Sessions);
    }

    private static BfdKey Turned(BfdKey key) => new(key.Local, key.Peer, key.Multihop);

    private static long AllocatedBy(BfdSpeaker speaker)
    {
        var done = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        speaker.Post(() => done.SetResult(GC.GetAllocatedBytesForCurrentThread()));
        return done.Task.Result;
    }
}
