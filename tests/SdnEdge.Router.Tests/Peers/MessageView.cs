using System.Buffers.Binary;
using System.Globalization;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// A BGP message as named texts: once as our codec reads it, once as tshark does, under the same names. Order inside an UPDATE's
/// attributes is left out: our codec gives it a canonical one.
/// </summary>
internal static class MessageView
{
    /// <summary>How a message of one direction is to be decoded: both OPENs decide.</summary>
    public static UpdateContext ContextOf(TcpStream stream, IReadOnlyList<CapturedMessage> all)
    {
        // A connection may end before its sender opens the session.
        if (all.FirstOrDefault(m => m.Type == 1 && m.Stream == stream) is not { } first)
            return new UpdateContext(true, false, 0, BgpFamilies.Both);
        OpenMessage mine = Open(first);
        CapturedMessage? answer =
            all.FirstOrDefault(m => m.Type == 1 && m.Stream.From.Equals(stream.To) && m.Stream.To.Equals(stream.From));
        OpenMessage theirs = answer is null ? mine : Open(answer);
        return new UpdateContext(mine.FourOctetAs && theirs.FourOctetAs, mine.As != theirs.As, mine.As, mine.Families & theirs.Families);
    }

    /// <summary>As our codec reads it. Fails the test when the codec finds a fault.</summary>
    public static SortedDictionary<string, string> Ours(CapturedMessage message, in UpdateContext context)
    {
        var view = new SortedDictionary<string, string>(StringComparer.Ordinal);
        Assert.Equal(BgpFault.None, MessageFramer.CheckHeader(message.Bytes, out int length));
        ReadOnlySpan<byte> body = message.Bytes.AsSpan(BgpLimits.HeaderSize);
        view["length"] = Text(length);
        view["type"] = Text(message.Type);
        switch ((BgpMessageType)message.Type)
        {
            case BgpMessageType.Open:
                OpenMessage open = Open(message);
                view["open.hold"] = Text(open.HoldTimeSeconds);
                view["open.as"] = Text(open.As);
                view["open.id"] = IpAddress.FromV4(open.RouterId).ToString();
                view["open.capabilities"] = string.Join(' ', open.CapabilityCodes);
                view["open.families"] = string.Join(' ', (string[])[
                    .. (string[])((open.Families & BgpFamilies.V4) != 0 ? ["1/1"] : []),
                    .. (string[])((open.Families & BgpFamilies.V6) != 0 ? ["2/1"] : [])]);
                break;
            case BgpMessageType.Update:
                AddUpdate(view, body, context);
                break;
            case BgpMessageType.Notification:
                view["notify"] = $"{body[0]}/{body[1]}";
                break;
            case BgpMessageType.RouteRefresh:
                view["refresh"] = $"{BinaryPrimitives.ReadUInt16BigEndian(body)}/{body[2]}/{body[3]}";
                break;
            default:
                break;
        }

        return view;
    }

    private static OpenMessage Open(CapturedMessage message)
    {
        Assert.Equal(BgpFault.None, OpenMessage.Parse(message.Bytes.AsSpan(BgpLimits.HeaderSize), out OpenMessage? open));
        return open!;
    }

    private static void AddUpdate(SortedDictionary<string, string> view, ReadOnlySpan<byte> body, in UpdateContext context)
    {
        var faults = new BgpFaultCounters();
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), faults).Decode(body, context);
        Assert.Empty(faults.Seen());
        var codes = new SortedSet<int>();
        Set(view, "withdrawn", Prefixes(update.Withdrawn, IpFamily.V4));
        Set(view, "nlri", Prefixes(update.Nlri, IpFamily.V4));
        if (update.MpFamily != 0)
        {
            codes.Add(AttributeCode.MpReach);
            Set(view, "reach", Prefixes(update.MpNlri, update.MpFamily));
            view["reach.hop"] = update.MpNextHop.ToString();
        }

        if (update.MpWithdrawnFamily != 0)
        {
            codes.Add(AttributeCode.MpUnreach);
            Set(view, "unreach", Prefixes(update.MpWithdrawn, update.MpWithdrawnFamily));
        }

        if (update.Nlri.Length > 0)
        {
            codes.Add(AttributeCode.NextHop);
            view["3"] = update.NextHop.ToString();
        }

        if (update.EndOfRib != 0) view["end"] = update.EndOfRib == IpFamily.V4 ? "ipv4" : "ipv6";
        foreach (RawAttribute attribute in new AttributeReader(update.Attributes is { } known ? known.Wire : default))
        {
            codes.Add(attribute.Code);
            if (attribute.Code != AttributeCode.AtomicAggregate) Set(view, Text(attribute.Code), Value(attribute));
        }

        Set(view, "codes", string.Join(' ', codes));
    }

    private static string Value(in RawAttribute attribute)
    {
        ReadOnlySpan<byte> value = attribute.Value;
        switch (attribute.Code)
        {
            case AttributeCode.Origin:
                return Text(value[0]);
            case AttributeCode.AsPath:
                // A segment: kind, count, numbers of four octets (the codec has widened shorter ones).
                var path = new List<string>();
                for (; value.Length > 0; value = value[(2 + (4 * value[1]))..])
                    path.Add($"{value[0]}:{string.Join(',', Numbers(value.Slice(2, 4 * value[1])))}");
                return string.Join(' ', path);
            case AttributeCode.Med or AttributeCode.LocalPref:
                return Text(BinaryPrimitives.ReadUInt32BigEndian(value));
            case AttributeCode.Aggregator:
                return $"{BinaryPrimitives.ReadUInt32BigEndian(value)} {IpAddress.Read(IpFamily.V4, value[4..])}";
            case AttributeCode.OriginatorId or AttributeCode.ClusterList:
                return string.Join(' ', Numbers(value).Select(n => IpAddress.FromV4(n).ToString()));
            case AttributeCode.Communities:
                return string.Join(' ', Numbers(value).Select(n => $"{n >> 16}:{n & 0xFFFF}"));
            case AttributeCode.LargeCommunities:
                return string.Join(' ', Numbers(value).Chunk(3).Select(c => string.Join(':', c)));
            case AttributeCode.ExtendedCommunities:
                return Convert.ToHexStringLower(value);
            default:
                // tshark shows no more of an attribute that it does not know.
                return $"{value.Length} bytes";
        }
    }

    private static uint[] Numbers(ReadOnlySpan<byte> value)
    {
        uint[] numbers = new uint[value.Length / 4];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = BinaryPrimitives.ReadUInt32BigEndian(value[(4 * i)..]);
        return numbers;
    }

    private static string Prefixes(ReadOnlySpan<byte> nlri, IpFamily family)
    {
        var all = new List<string>();
        foreach (IpPrefix prefix in new NlriReader(nlri, family)) all.Add(prefix.ToString());
        return string.Join(' ', all);
    }

    private static void Set(SortedDictionary<string, string> view, string name, string value)
    {
        if (value.Length > 0) view[name] = value;
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
