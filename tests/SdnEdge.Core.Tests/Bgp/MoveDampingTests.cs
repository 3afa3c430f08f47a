using FsCheck;
using FsCheck.Xunit;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

public sealed class MoveDampingTests
{
    private const long Second = 1_000_000_000;

    private static readonly IpPrefix Server = IpPrefix.Parse("10.1.1.10/32");

    private readonly SimNetwork _net = new();

    [Property(MaxTest = 500)]
    public void It_agrees_with_the_rule_told_plainly((byte Wait, byte Number)[] heard, byte most, byte within, byte recovery)
    {
        var settings = new MoveDampingSettings(1 + (most % 6), 1 + (within % 60), 1 + (recovery % 60));
        var damping = new MoveDamping(settings);
        var followed = new List<long>();
        long now = 77, highest = 0, held = 0, until = 0, alarms = 0;
        foreach ((byte wait, byte number) in heard)
        {
            now += (wait % 20) * Second;
            var recovered = new List<IpPrefix>();
            damping.Recover(now, recovered);
            if (held > 0 && now >= until)
            {
                held = 0;
                followed.Clear();
                Assert.Equal([Server], recovered);
            }
            else
            {
                Assert.Empty(recovered);
            }

            long next = 1 + number;
            bool back;
            if (highest == 0)
            {
                back = false;
            }
            else if (held > 0)
            {
                back = next > held;
                if (next > highest) until = now + (settings.RecoverySeconds * Second);
            }
            else
            {
                back = next > highest && followed.Count(t => now - t < settings.WithinSeconds * Second) >= settings.Moves;
                if (back) (held, until, alarms) = (highest, now + (settings.RecoverySeconds * Second), alarms + 1);
                else if (next > highest) followed.Add(now);
            }

            highest = Math.Max(highest, next);
            Assert.Equal(back, damping.HoldsBack(Server, next, now, out _));
            DampedMove? found = damping.Find(Server);
            Assert.Equal(held > 0, found is not null);
            if (found is { } damped) Assert.Equal((held, until), (damped.Number, damped.UntilNs));
            Assert.Equal((alarms, held > 0 ? 1 : 0), (damping.Alarms, damping.HeldNow));
            Assert.True(held == 0 || damping.NextDeadline <= until);
        }
    }

    [Property(MaxTest = 300)]
    public void Moves_that_are_rare_enough_are_all_followed(PositiveInt most, NonEmptyArray<byte> waits)
    {
        var settings = new MoveDampingSettings(1 + (most.Get % 8), 180);
        var damping = new MoveDamping(settings);
        long now = 5, number = 1;
        foreach (byte wait in waits.Get)
        {
            // Never more than the allowed number inside any 180 s.
            now += ((180 * Second) / settings.Moves) + wait + 1;
            Assert.False(damping.HoldsBack(Server, number++, now, out _));
        }

        Assert.Equal(0, damping.Alarms);
    }

    [Fact]
    public void What_is_remembered_is_bounded_and_what_has_been_quiet_makes_room()
    {
        var damping = new MoveDamping(new MoveDampingSettings(1, 10));
        for (uint i = 0; i < MoveDamping.MaxPrefixes + 10; i++) Assert.False(damping.HoldsBack(Host(i), 1, 0, out _));
        for (long number = 2; number < 9; number++) Assert.False(damping.HoldsBack(Host(MoveDamping.MaxPrefixes + 1), number, 0, out _));
        Assert.False(damping.HoldsBack(Host(1), 2, 0, out _));
        Assert.True(damping.HoldsBack(Host(1), 3, 0, out bool begins));
        Assert.True(begins);

        long later = 11 * Second;
        Assert.False(damping.HoldsBack(Host(MoveDamping.MaxPrefixes + 1), 9, later, out _));
        Assert.False(damping.HoldsBack(Host(MoveDamping.MaxPrefixes + 1), 10, later, out _));
        Assert.True(damping.HoldsBack(Host(MoveDamping.MaxPrefixes + 1), 11, later, out _));

        static IpPrefix Host(uint i) => new(IpAddress.FromV4(0x0A00_0000 + i), 32);
    }

    [Fact]
    public void An_ingress_holds_on_to_the_last_owner_and_follows_again_when_it_has_been_quiet()
    {
        (SimSpeaker a, SimSpeaker b, SimSpeaker c) = Three();
        var alarms = new List<string?>();
        c.Engine.MoveDamped += (prefix, why) => alarms.Add(why);
        for (int move = 1; move <= 6; move++) Tell(move % 2 == 1 ? a : b, move);
        Assert.Equal(b.Address, c.BestVia("10.1.1.10/32"));
        Assert.Empty(alarms);

        // The seventh number is the sixth move: one too many within 180 s.
        Tell(a, 7);
        Assert.Equal(b.Address, c.BestVia("10.1.1.10/32"));
        Assert.Contains("more than 5 moves within 180 s", Assert.Single(alarms));
        Assert.Equal(6, c.Engine.MoveDamping.Find(Server)!.Value.Number);

        // Each further one puts the end off.
        _net.Advance(100 * Second);
        Tell(a, 9);
        _net.Advance(100 * Second);
        Assert.Equal(b.Address, c.BestVia("10.1.1.10/32"));
        _net.Advance(90 * Second);
        Assert.Equal(a.Address, c.BestVia("10.1.1.10/32"));
        Assert.Equal(9, c.Rib.Best(Server)!.Value.Attributes!.MobilitySequence);
        Assert.Equal(2, alarms.Count);
        Assert.Null(alarms[1]);
        Assert.Equal(0, c.Engine.MoveDamping.HeldNow);
    }

    [Fact]
    public void Damping_makes_no_black_hole_when_the_owner_held_on_to_goes()
    {
        (SimSpeaker a, SimSpeaker b, SimSpeaker c) = Three();
        for (int move = 1; move <= 7; move++) Tell(move % 2 == 1 ? a : b, move);
        Assert.Equal(b.Address, c.BestVia("10.1.1.10/32"));
        b.Engine.Withdraw(Server);
        _net.Settle();
        Assert.Equal(a.Address, c.BestVia("10.1.1.10/32"));

        // Nor a route that its peer has taken back meanwhile.
        a.Engine.Withdraw(Server);
        _net.Advance(200 * Second);
        Assert.Null(c.Rib.Best(Server));
    }

    [Fact]
    public void The_owner_tells_its_own_moves_however_many_there_are()
    {
        (SimSpeaker a, SimSpeaker b, SimSpeaker c) = Three();
        for (int move = 1; move <= 7; move++) Tell(move % 2 == 1 ? a : b, move);
        Assert.NotNull(c.Engine.MoveDamping.Find(Server));
        c.Engine.Advertise(Server, 200, move: 8);
        _net.Settle();
        c.Engine.Tick(_net.Now);
        Assert.Null(c.Engine.MoveDamping.Find(Server));
        for (int move = 9; move < 30; move++) Tell(a, move);
        Assert.Null(c.Engine.MoveDamping.Find(Server));
    }

    [Fact]
    public void It_can_be_turned_off()
    {
        (SimSpeaker a, SimSpeaker b, SimSpeaker c) = Three(s => s with { MoveDamping = new MoveDampingSettings(Moves: 0) });
        for (int move = 1; move <= 30; move++) Tell(move % 2 == 1 ? a : b, move);
        Assert.Equal(b.Address, c.BestVia("10.1.1.10/32"));
        Assert.Equal(0, c.Engine.MoveDamping.Alarms);
    }

    private void Tell(SimSpeaker owner, int move)
    {
        owner.Engine.Advertise(Server, 200, move: move);
        _net.Settle();
        _net.Advance(Second / 2);
    }

    private (SimSpeaker A, SimSpeaker B, SimSpeaker C) Three(Func<BgpSpeakerSettings, BgpSpeakerSettings>? with = null)
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2), c = _net.Add(3, with: with);
        foreach ((SimSpeaker one, SimSpeaker other) in ((SimSpeaker, SimSpeaker)[])[(c, a), (c, b)])
        {
            one.Engine.AddPeer(new BgpPeerSettings(other.Address, 65000), _net.Now);
            other.Engine.AddPeer(new BgpPeerSettings(one.Address, 65000) { Passive = true }, _net.Now);
        }

        _net.Settle();
        return (a, b, c);
    }
}
