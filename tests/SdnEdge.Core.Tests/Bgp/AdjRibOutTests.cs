using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>What a peer is told, beside a peer that only listens.</summary>
public sealed class AdjRibOutTests
{
    private readonly AdjRibOut<Key4> _out = new();
    private readonly Dictionary<IpPrefix, PathAttributes> _heard = [];
    private readonly PathAttributes[] _sets;
    private readonly List<(IpPrefix Prefix, PathAttributes? Attributes)> _said = [];

    public AdjRibOutTests()
    {
        var table = new AttributeTable();
        var builder = new AttributeBuilder();
        _sets = [.. Enumerable.Range(0, 5)
            .Select(i => table.Intern(builder.Clear().Origin(BgpOrigin.Igp).Path(65001).LocalPref((uint)i).Build()))];
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Whatever_the_order_of_wishes_the_peer_ends_with_the_last_one(int seed)
    {
        var random = new Random(seed);
        var wished = new Dictionary<IpPrefix, PathAttributes>();
        for (int step = 0; step < 30_000; step++)
        {
            IpPrefix prefix = Prefix(random.Next(300));
            switch (random.Next(100))
            {
                case < 60:
                    _out.Set(prefix, wished[prefix] = _sets[random.Next(_sets.Length)]);
                    break;
                case < 85:
                    wished.Remove(prefix);
                    _out.Set(prefix, null);
                    break;
                case < 97:
                    Take(random.Next(1, 20));
                    break;
                case < 98:
                    // What is told once more goes out although the peer has it.
                    _out.Resend();
                    _said.Clear();
                    var had = new Dictionary<IpPrefix, PathAttributes>(_heard);
                    Drain();
                    Assert.All(had.Keys, p => Assert.Contains(_said, s => s.Prefix == p));
                    break;
                default:
                    // It could not be sent: the peer has nothing of it, and the next wish is told.
                    if (_heard.Remove(prefix))
                    {
                        _out.Forget(prefix);
                        _out.Set(prefix, wished.GetValueOrDefault(prefix));
                    }

                    break;
            }

            Assert.Equal(_heard.Count, _out.Sent);
        }

        Drain();
        Assert.Equal(wished.OrderBy(w => w.Key), _heard.OrderBy(h => h.Key));
        _said.Clear();
        foreach ((IpPrefix prefix, PathAttributes attributes) in wished) _out.Set(prefix, attributes);
        Drain();
        Assert.Empty(_said);
        _out.Clear();
        Assert.Equal((0, 0), (_out.Sent, _out.Waiting));
    }

    [Fact]
    public void A_wish_taken_back_before_it_went_out_is_never_said()
    {
        _out.Set(Prefix(1), _sets[0]);
        Drain();
        _said.Clear();
        _out.Set(Prefix(1), _sets[1]);
        _out.Set(Prefix(1), _sets[0]);
        _out.Set(Prefix(2), _sets[1]);
        _out.Set(Prefix(2), null);
        Assert.Equal(0, _out.Waiting);
        Drain();
        Assert.Empty(_said);
    }

    [Fact]
    public void Prefixes_with_the_same_attributes_come_together_however_they_were_set()
    {
        for (int i = 0; i < 100; i++) _out.Set(Prefix(i), _sets[i % 2]);
        var into = new IpPrefix[1000];
        Assert.Equal((50, 50), (_out.Take(into, out PathAttributes? first), _out.Take(into, out PathAttributes? second)));
        Assert.Equal((_sets[0], _sets[1]), (first!, second!));
        Assert.Equal((100, 0), (_out.Sent, _out.Waiting));
    }

    private static IpPrefix Prefix(int i) => new(IpAddress.FromV4((20u << 24) + ((uint)i << 8)), 24);

    private void Drain()
    {
        while (_out.Waiting > 0) Assert.NotEqual(0, Take(7));
        Assert.Equal(0, Take(1));
    }

    private int Take(int most)
    {
        var into = new IpPrefix[most];
        int waiting = _out.Waiting, count = _out.Take(into, out PathAttributes? attributes);
        Assert.Equal(waiting - count, _out.Waiting);
        foreach (IpPrefix prefix in into.AsSpan(0, count))
        {
            _said.Add((prefix, attributes));
            if (attributes is null) Assert.True(_heard.Remove(prefix));
            else _heard[prefix] = attributes;
        }

        return count;
    }
}
