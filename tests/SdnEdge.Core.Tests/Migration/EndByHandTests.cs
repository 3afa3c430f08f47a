using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>A migration that nobody leads is brought to its end by hand, from every pair of states that its two ends can be in.</summary>
public class EndByHandTests
{
    private static readonly PeMigrationState?[] s_source =
    [
        null, PeMigrationState.Idle, PeMigrationState.Prepared, PeMigrationState.Switched, PeMigrationState.Withdrawn,
        PeMigrationState.TornDown, PeMigrationState.Aborted,
    ];

    private static readonly PeMigrationState?[] s_target =
    [
        null, PeMigrationState.Idle, PeMigrationState.Prepared, PeMigrationState.Released, PeMigrationState.Advertised,
        PeMigrationState.TornDown, PeMigrationState.Aborted,
    ];

    public static TheoryData<PeMigrationState?, PeMigrationState?> All
    {
        get
        {
            var data = new TheoryData<PeMigrationState?, PeMigrationState?>();
            foreach (PeMigrationState? source in s_source)
            {
                foreach (PeMigrationState? target in s_target) data.Add(source, target);
            }

            return data;
        }
    }

    // A black hole: the source sends its traffic home, or nowhere, while the target does not advertise yet.
    [Theory]
    [MemberData(nameof(All))]
    public void Forwards_the_source_keeps_its_tunnel_until_the_target_advertises(PeMigrationState? source, PeMigrationState? target)
    {
        PeMigrationState? s = source, t = target;
        foreach (EndStep step in EndByHand.Forward(source, target))
        {
            Assert.NotEqual(SignalKind.Abort, step.Signal);
            if (step is { At: MigrationRole.Source, Signal: SignalKind.Withdraw or SignalKind.Teardown })
                Assert.True(t is not (PeMigrationState.Prepared or PeMigrationState.Released), $"{step} while the target is {t}");
            if (step is { At: MigrationRole.Target, Signal: SignalKind.Teardown })
                Assert.True(s is not (PeMigrationState.Switched or PeMigrationState.Withdrawn), $"{step} while the source is {s}");
            Take(step, ref s, ref t);
        }

        Assert.True(s is null or PeMigrationState.Idle or PeMigrationState.TornDown or PeMigrationState.Aborted, $"the source ends {s}");
        Assert.True(t is null or PeMigrationState.Idle or PeMigrationState.TornDown or PeMigrationState.Aborted, $"the target ends {t}");
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Backwards_both_are_aborted_unless_an_end_was_told_that_the_server_is_live(PeMigrationState? source,
        PeMigrationState? target)
    {
        PeMigrationState? s = source, t = target;
        foreach (EndStep step in EndByHand.Back(source, target))
        {
            Assert.Equal(SignalKind.Abort, step.Signal);
            Take(step, ref s, ref t);
        }

        if (EndByHand.OnlyForward(source, target)) return;
        Assert.True(s is null or PeMigrationState.Aborted, $"the source ends {s}");
        Assert.True(t is null or PeMigrationState.Aborted, $"the target ends {t}");
    }

    [Fact]
    public void There_is_only_forwards_from_the_release_on()
    {
        Assert.False(EndByHand.OnlyForward(PeMigrationState.Switched, PeMigrationState.Prepared));
        Assert.False(EndByHand.OnlyForward(null, null));
        Assert.True(EndByHand.OnlyForward(PeMigrationState.Switched, PeMigrationState.Released));
        Assert.True(EndByHand.OnlyForward(PeMigrationState.Withdrawn, null));
        Assert.True(EndByHand.OnlyForward(null, PeMigrationState.Advertised));
    }

    [Fact]
    public void A_command_has_all_that_it_needs()
    {
        Assert.Equal("'sdnedge migrate signal abort m1.1 --api unix:/run/pe-a.sock --epoch 7'",
            EndByHand.Command(SignalKind.Abort, "m1.1", "unix:/run/pe-a.sock", 7));
        Assert.Equal("'sdnedge migrate signal teardown m1.1 --api https://10.0.0.1:8443/ --epoch 7 --cert CERT --key KEY --ca CA'",
            EndByHand.Command(SignalKind.Teardown, "m1.1", "https://10.0.0.1:8443/", 7));
    }

    private static void Take(EndStep step, ref PeMigrationState? source, ref PeMigrationState? target)
    {
        ref PeMigrationState? at = ref step.At == MigrationRole.Source ? ref source : ref target;
        at = PeTransitions.Next(step.At, at!.Value, step.Signal);
        Assert.NotNull(at);
    }
}
