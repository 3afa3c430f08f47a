using FsCheck.Xunit;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Bfd.BfdBytes;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>The packet, and each clause of RFC 5880 6.8.6 that concerns it alone.</summary>
public sealed class BfdCodecTests
{
    [Property(MaxTest = 500)]
    public void What_is_written_is_read(byte state, uint mine, uint yours, (uint Tx, uint Rx, uint Echo) intervals, byte multiplier,
        byte diagnostic, (bool P, bool F, bool C, bool D) flags)
    {
        var control = new BfdControl((BfdState)(state & 3), mine | 1, yours | 1, intervals.Tx, intervals.Rx, (byte)(multiplier | 1),
            (BfdDiagnostic)(diagnostic & 31), flags.P, flags.F, flags.C, flags.D, intervals.Echo);
        Assert.Equal(control, View(Bytes(control)).Control);
        Assert.Equal(control, View([.. Bytes(control), 1, 2, 3]).Control);
    }

    [Property(MaxTest = 2000)]
    public void Any_bytes_are_either_good_or_discarded_and_never_an_exception(byte[] bytes, byte first, byte length)
    {
        if (bytes.Length > 3) (bytes[0], bytes[3]) = ((byte)(0x20 | (first & 0x1F)), length);
        BfdDiscard discard = BfdView.Parse(bytes, out BfdView view);
        if (discard == BfdDiscard.None) Assert.NotEqual(0u, view.Control.MyDiscriminator);
    }

    public static TheoryData<BfdDiscard, int, byte, int> Damage => new()
    {
        { BfdDiscard.Version, 0, 0x00, 24 },
        { BfdDiscard.Version, 0, 0x40, 24 },
        { BfdDiscard.LengthTooSmall, 3, 23, 24 },
        { BfdDiscard.LengthTooSmall, 3, 0, 24 },
        { BfdDiscard.LengthTooSmall, 1, 0xC4, 24 }, // the A bit asks for 26
        { BfdDiscard.LengthBeyondPayload, 3, 25, 24 },
        { BfdDiscard.LengthBeyondPayload, 3, 24, 23 },
        { BfdDiscard.LengthBeyondPayload, 0, 0x20, 3 },
        { BfdDiscard.DetectMultiplierZero, 2, 0, 24 },
        { BfdDiscard.Multipoint, 1, 0xC1, 24 },
        { BfdDiscard.MyDiscriminatorZero, 7, 0, 24 },
        { BfdDiscard.NoDiscriminatorWhileUp, 11, 0, 24 },
    };

    [Theory]
    [MemberData(nameof(Damage))]
    public void Each_fault_has_its_own_reason(BfdDiscard reason, int at, byte value, int length)
    {
        byte[] bytes = Bytes(Says(BfdState.Up));
        Assert.Equal(BfdDiscard.None, BfdView.Parse(bytes, out _));
        bytes[at] = value;
        Assert.Equal(reason, BfdView.Parse(bytes.AsSpan(0, length), out _));
    }

    [Theory]
    [InlineData(BfdState.Down, BfdDiscard.None)]
    [InlineData(BfdState.AdminDown, BfdDiscard.None)]
    [InlineData(BfdState.Init, BfdDiscard.NoDiscriminatorWhileUp)]
    [InlineData(BfdState.Up, BfdDiscard.NoDiscriminatorWhileUp)]
    public void Only_a_peer_that_is_down_may_not_know_our_discriminator(BfdState state, BfdDiscard expected)
        => Assert.Equal(expected, BfdView.Parse(Bytes(Says(state, yours: 0)), out _));

    [Fact]
    public void The_session_is_found_by_discriminator_and_by_address_only_while_that_is_zero()
    {
        var table = new BfdTable();
        BfdKey single = new(There, Here, Multihop: false), other = new(IpAddress.Parse("198.51.100.3"), Here, Multihop: false);
        BfdSession one = Session(discriminator: 7, key: single), two = Session(discriminator: 8, key: other);
        Assert.True(table.Add(one));
        Assert.True(table.Add(two));
        Assert.False(table.Add(Session(discriminator: 7, key: Key)));
        Assert.False(table.Add(Session(discriminator: 9, key: single)));

        Assert.Same(one, table.Receive(single, Bytes(Says(BfdState.Down, yours: 0)), 255, 1, out _));
        Assert.Same(one, table.Receive(single, Bytes(Says(BfdState.Init, yours: 7)), 255, 2, out _));
        Assert.Same(two, table.Receive(other, Bytes(Says(BfdState.Down, yours: 8)), 255, 2, out _));
        Expect(BfdDiscard.TimeToLive, single, Says(BfdState.Up), ttl: 254);
        Expect(BfdDiscard.TimeToLive, single, Says(BfdState.Up), ttl: -1);
        Expect(BfdDiscard.UnknownDiscriminator, single, Says(BfdState.Up, yours: 99));
        Expect(BfdDiscard.WrongSender, single, Says(BfdState.Up, yours: 8));
        Expect(BfdDiscard.WrongSender, single with { Multihop = true }, Says(BfdState.Up), ttl: 17);
        Expect(BfdDiscard.UnknownPeer, new BfdKey(Here, There, false), Says(BfdState.Down, yours: 0));
        byte[] authenticated = [.. Bytes(Says(BfdState.Up)), 1, 4, 1, 65];
        (authenticated[1], authenticated[3]) = ((byte)(authenticated[1] | 4), 28);
        Assert.Null(table.Receive(single, authenticated, 255, 3, out BfdDiscard discard));
        Assert.Equal(BfdDiscard.Authentication, discard);
        Assert.Equal(1, table.Discards(BfdDiscard.Authentication));
        Assert.Equal(2, table.Discards(BfdDiscard.TimeToLive));
        Assert.Equal(2, table.Discards(BfdDiscard.WrongSender));
        Assert.Equal(BfdState.Up, one.State); // none of them did anything to it
        Assert.True(table.Remove(single));
        Assert.False(table.Remove(single));
        Expect(BfdDiscard.UnknownDiscriminator, single, Says(BfdState.Up));

        void Expect(BfdDiscard reason, BfdKey from, BfdControl packet, int ttl = 255)
        {
            long before = table.Discards(reason);
            Assert.Null(table.Receive(from, Bytes(packet), ttl, 3, out BfdDiscard why));
            Assert.Equal(reason, why);
            Assert.Equal(before + 1, table.Discards(reason));
        }
    }

    [Fact]
    public void Receiving_and_sending_allocate_nothing()
    {
        var table = new BfdTable();
        BfdSession session = Session();
        table.Add(session);
        byte[] down = Bytes(Says(BfdState.Down, yours: 0)), init = Bytes(Says(BfdState.Init)),
        up = Bytes(Says(BfdState.Up, poll: true, final: true)), wrong = Bytes(Says(BfdState.Up, yours: 99)), buffer = new byte[24];
        long now = 0;
        Run(100);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Run(1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        // The control: the counter would have seen one object.
        _ = new object();
        Assert.NotEqual(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run(int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                foreach (byte[] packet in (ReadOnlySpan<byte[]>)[down, init, up, up, wrong])
                {
                    now += 10 * Ms;
                    table.Receive(Key, packet, 64, now, out _);
                    session.Credit(Ms, now);
                    session.Expire(now);
                    while (session.TryTake(now, buffer))
                    {
                    }
                }

                now += Second;
                session.Expire(now);
            }
        }
    }
}
