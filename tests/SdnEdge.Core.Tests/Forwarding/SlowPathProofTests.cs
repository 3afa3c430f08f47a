using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>
/// Proof that nothing is left on the way to a neighbour: the neighbour answers each solicitation, in order, and says of none which it is
/// for.
/// </summary>
public class SlowPathProofTests
{
    private readonly SlowPathBench _b = new();

    [Theory]
    [InlineData("10.1.1.10")]
    [InlineData("fd00:1:1::10")]
    public void One_answer_proves_it_where_nothing_else_is_on_the_way(string host)
    {
        IpAddress address = IpAddress.Parse(host);
        Learn(address);
        Assert.True(_b.SlowPath.Prove(Dc, address, _b.Now, _b.Actions));
        Assert.Single(_b.TakeFrames(Dc));
        Answer(address);
        Assert.Equal([(SlowPathActionKind.Proved, address)], Proofs());

        // Once: later answers prove nothing to anybody.
        Answer(address);
        Assert.Empty(Proofs());
    }

    [Fact]
    public void Answers_to_what_was_asked_before_do_not_count()
    {
        Learn(Host);
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions, force: true);
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions, force: true);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        Assert.Equal(3, _b.TakeFrames(Dc).Count);
        Answer(Host);
        Answer(Host);
        Assert.Empty(Proofs());
        Answer(Host);
        Assert.Single(Proofs());
    }

    // Whether it is there, not what has arrived.
    [Fact]
    public void Where_it_is_only_asked_whether_it_is_there_any_answer_will_do_and_it_is_asked_as_often_as_is_said()
    {
        Learn(Host);
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions, force: true);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions, everyNs: 4_000_000);
        Assert.Equal(2, _b.TakeFrames(Dc).Count);
        long asked = _b.Now;
        _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        Assert.Equal(4_000_000, _b.Now - asked);
        Assert.Single(_b.TakeFrames(Dc));
        Answer(Host);
        Assert.Equal([(SlowPathActionKind.Proved, Host)], Proofs());
    }

    [Fact]
    public void It_is_asked_again_until_it_answers_or_nobody_waits_any_more()
    {
        Learn(Host);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        _b.Take();
        for (int i = 0; i < 3; i++)
        {
            _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
            Assert.Single(_b.TakeFrames(Dc));
        }

        _b.SlowPath.EndProof(Dc, Host);
        Assert.True(_b.SlowPath.NextDeadline > _b.Now + (100 * Ms));
        Answer(Host);
        Assert.Empty(Proofs());
    }

    // The first answers are lost: those that are missing for good must not keep the proof from coming.
    [Fact]
    public void What_was_never_answered_only_costs_more_questions()
    {
        Learn(Host);
        for (int i = 0; i < 3; i++) _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions, force: true);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        _b.Take();
        int asked = 1;
        for (; ; asked++)
        {
            Answer(Host);
            if (Proofs().Count > 0) break;
            _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        }

        Assert.Equal(4, asked);
    }

    // Two moves may switch at once, with one router behind which their servers are.
    [Fact]
    public void One_that_begins_later_is_proof_for_both()
    {
        Learn(Host);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        Assert.Equal(2, _b.TakeFrames(Dc).Count);
        Answer(Host);
        Assert.Empty(Proofs());
        Answer(Host);
        Assert.Single(Proofs());
    }

    [Fact]
    public void A_request_of_the_host_or_an_unsolicited_answer_proves_nothing()
    {
        Learn(Host);
        Learn(Host6);
        _b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions);
        _b.SlowPath.Prove(Dc, Host6, _b.Now, _b.Actions);
        _b.Take();
        _b.Arp(ArpOperation.Request, HostMac, Host, Gateway);
        _b.Arp(ArpOperation.Reply, HostMac, Host, Host);
        _b.Nd(Advertisement(Host6, NeighborFlags.Override), Host6, Ipv6Addresses.AllNodes);
        Assert.Empty(Proofs());
    }

    [Fact]
    public void Who_cannot_be_asked_is_said()
    {
        Assert.False(_b.SlowPath.Prove(99, Host, _b.Now, _b.Actions));
        Assert.True(_b.SlowPath.Prove(Dc, Host, _b.Now, _b.Actions)); // never heard of: it is asked by broadcast
        Assert.Single(_b.TakeFrames(Dc));
        _b.SlowPath.RemovePort(Dc, _b.Actions);
        Assert.True(_b.SlowPath.NextDeadline > _b.Now + Second);
    }

    private void Learn(IpAddress address)
    {
        _b.SlowPath.Resolve(Dc, address, _b.Now, _b.Actions);
        Answer(address);
        _b.Take();
        _b.Now += 10 * Ms;
    }

    private void Answer(IpAddress address)
    {
        if (address.IsV4) _b.Arp(ArpOperation.Reply, HostMac, address, Gateway);
        else _b.Nd(Advertisement(address, NeighborFlags.Solicited | NeighborFlags.Override), address, Gateway6);
    }

    private static NeighborMessage Advertisement(IpAddress address, NeighborFlags flags)
        => new(Icmpv6Type.NeighborAdvertisement, address, HostMac, flags);

    private List<(SlowPathActionKind, IpAddress)> Proofs()
        => [.. _b.Take().Where(a => a.Action.Kind == SlowPathActionKind.Proved).Select(a => (a.Action.Kind, a.Action.Address))];
}
