using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Hostile bytes on a session: seeded mutations of a whole conversation.</summary>
public sealed class HostileSessionTests : IBgpWire
{
    private const int TwoOctets = 6;
    private readonly List<byte[]> _sent = [];
    private readonly LocRib _rib = new("default");
    private readonly BgpEngine _engine;
    private readonly BgpPeer _peer;
    private int _closed;

    public HostileSessionTests()
    {
        _engine = new BgpEngine(new BgpSpeakerSettings(65000, 1, IpAddress.Parse("10.255.0.1"), IpAddress.Parse("fd00:ff::1")), _rib, this);
        _rib.Offer(new RouteOrigin(RouteSource.Connected, "connected"), IpPrefix.Parse("10.255.0.0/16"),
            HopSpec.Connected("core"), null, 0);
        _peer = _engine.AddPeer(new BgpPeerSettings(IpAddress.Parse("10.255.0.2"), 65000) { Passive = true }, 0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_hundred_thousand_mutated_messages_crash_nothing_and_nothing_malformed_is_kept(int seed)
    {
        byte[][] corpus = Corpus();
        var random = new Random(seed);
        var counters = new BgpFaultCounters();
        var table = new AttributeTable();
        var decoder = new UpdateDecoder(table, counters);
        var encoder = new UpdateEncoder();
        var output = new byte[BgpLimits.MaxMessage];
        int resets = 0, kept = 0;
        for (int i = 0; i < 25_000; i++)
        {
            int which = random.Next(corpus.Length);
            byte[] body = Mutate(corpus[which], random);
            var context = random.Next(3) > 0
                ? new UpdateContext(which != TwoOctets, which is 0 or 2, 65001, BgpFamilies.Both)
                : new UpdateContext(random.Next(2) == 0, random.Next(2) == 0, 65001, (BgpFamilies)random.Next(1, 4));
            UpdateMessage update = decoder.Decode(body, context);
            if (update.Action == FaultAction.SessionReset) resets++;
            if (update.Attributes is not { } attributes) continue;

            // What is kept is well-formed by our own measure: it goes out and comes in again unchanged.
            kept++;
            ReadOnlySpan<IpPrefix> prefixes = [IpPrefix.Parse("10.1.1.0/24")];
            int length = encoder.Announce(output, attributes, true, IpAddress.Parse("10.255.0.1"), ref prefixes);
            if (length == 0) continue;
            var strict = new BgpFaultCounters();
            UpdateMessage again = new UpdateDecoder(table, strict)
                .Decode(output.AsSpan(19, length - 19), new UpdateContext(true, false, 65001, BgpFamilies.Both));
            bool complete = attributes.LocalPref is not null;
            Assert.Equal(complete ? [] : [BgpFault.AttributeMissing], strict.Seen().Select(f => f.Key));
            if (complete) Assert.Same(attributes, again.Attributes);
        }

        // The mutations reach far into the decoder, and most do not cost the session.
        Assert.InRange(kept, 2_000, 24_000);
        Assert.InRange(resets, 100, 20_000);
        Assert.True(counters.Seen().Count() > 15, $"only {string.Join(", ", counters.Seen())}");
    }

    [Fact]
    public void Mutated_streams_never_throw_and_never_leave_a_session_half_up()
    {
        var random = new Random(99);
        byte[][] corpus = Corpus();
        for (int run = 0; run < 400; run++)
        {
            var test = new HostileSessionTests();
            test.Establish();
            for (int i = 0; i < 40 && test._peer.State == BgpState.Established; i++)
            {
                byte[] message = UpdateBytes.Message(BgpMessageType.Update, Mutate(corpus[random.Next(corpus.Length)], random));
                if (random.Next(20) == 0) message[random.Next(message.Length)] ^= (byte)(1 << random.Next(8));
                int cut = random.Next(message.Length);
                test.Receive(message.AsSpan(0, cut));
                test.Receive(message.AsSpan(cut));
            }

            bool up = test._peer.State == BgpState.Established;
            Assert.Equal(up ? 0 : 1, test._closed);
            if (!up) Assert.Equal(0, test._peer.Origin.Prefixes);
        }
    }

    void IBgpWire.Connect(BgpPeer peer)
    {
    }

    void IBgpWire.Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes) => _sent.Add(bytes.ToArray());

    void IBgpWire.Close(BgpPeer peer, ConnectionSide side) => _closed++;

    long IBgpWire.Unsent(BgpPeer peer, ConnectionSide side) => 0;

    private static byte[][] Corpus() =>
    [
        UpdateBytes.Body(UpdateBytes.Mandatory(true)),
        UpdateBytes.Body(UpdateBytes.Mandatory(false), withdrawn: "18 0A0101 20 0A010203"),
        UpdateBytes.Body(UpdateBytes.Mandatory(true) + "80 04 04 00000001 40 06 00 C0 07 08 0000FDE9 0A000001 C0 08 08 FDE80001 FDE80002",
            "18 0A0101 10 0A02 00"),
        UpdateBytes.Body(UpdateBytes.Mandatory(false)
            + "80 09 04 00000007 80 0A 08 00000008 00000009 C0 10 08 0002FDE800000001 C0 20 0C 0000FDE80000000100000002"),
        UpdateBytes.Body("80 0E 26 0002 01 10 FD0000FF000000000000000000000001 00 80 FD000001000100000000000000000010" + UpdateBytes.Origin
            + UpdateBytes.Path65001 + UpdateBytes.LocalPref, ""),
        UpdateBytes.Body("80 0F 0B 0002 01 38 FD000001000100", ""),
        UpdateBytes.Body(UpdateBytes.Origin + "40 02 06 02 02 FDE9 5BA0" + UpdateBytes.NextHop + UpdateBytes.LocalPref
            + "C0 11 0A 02 02 0000FDE9 FA56EA01"),
        UpdateBytes.Body(UpdateBytes.Mandatory(false) + "C0 17 08 0001000401020304 E0 23 04 0000FDE8 D0 28 0003 010203"),
    ];

    private static byte[] Mutate(byte[] original, Random random)
    {
        var bytes = new List<byte>(original);

        // Half of the time all lengths stay true, so that the mutation is inside an attribute.
        int kinds = random.Next(2) == 0 ? 3 : 6;
        for (int n = random.Next(1, 4); n > 0 && bytes.Count > 0; n--)
        {
            int at = random.Next(bytes.Count);
            switch (random.Next(kinds))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes[at] = (byte)(bytes[at] + random.Next(-2, 3));
                    break;
                case 3:
                    bytes.RemoveAt(at);
                    break;
                case 4:
                    bytes.Insert(at, (byte)random.Next(256));
                    break;
                default:
                    int length = random.Next(Math.Min(12, bytes.Count - at) + 1);
                    bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, length));
                    break;
            }
        }

        return [.. bytes];
    }

    private void Establish()
    {
        _engine.Connected(_peer, ConnectionSide.Incoming, 1);
        var bytes = new byte[128];
        Receive(bytes.AsSpan(0, new OpenMessage(65000, 9, 2, BgpFamilies.Both, true, true).Write(bytes)));
        Receive(bytes.AsSpan(0, MessageWriter.Keepalive(bytes)));
        Assert.Equal(BgpState.Established, _peer.State);
    }

    private void Receive(ReadOnlySpan<byte> bytes) => _engine.Received(_peer, ConnectionSide.Incoming, bytes, 2);

}
