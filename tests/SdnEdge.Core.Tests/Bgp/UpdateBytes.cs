using SdnEdge.Core.Bgp;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Hand-made UPDATE messages, right and wrong.</summary>
internal static class UpdateBytes
{
    public const string Origin = "40 01 01 00";
    public const string EmptyPath = "40 02 00";
    public const string Path65001 = "40 02 06 02 01 0000FDE9";
    public const string NextHop = "40 03 04 0AFF0002";
    public const string LocalPref = "40 05 04 00000064";
    public const string Nlri = "18 0A0101";

    /// <summary>Mandatory attributes of a route as the kind of peer sends it.</summary>
    public static string Mandatory(bool external) => external ? Origin + Path65001 + NextHop : Origin + EmptyPath + NextHop + LocalPref;

    public static byte[] Hex(string text)
        => Convert.FromHexString(text.Replace(" ", string.Empty, StringComparison.Ordinal)
            .Replace("\n", string.Empty, StringComparison.Ordinal));

    /// <summary>Body of an UPDATE with right lengths.</summary>
    public static byte[] Body(string attributes, string nlri = Nlri, string withdrawn = "")
    {
        byte[] w = Hex(withdrawn), a = Hex(attributes);
        return [(byte)(w.Length >> 8), (byte)w.Length, .. w, (byte)(a.Length >> 8), (byte)a.Length, .. a, .. Hex(nlri)];
    }

    /// <summary>A whole message around a body.</summary>
    public static byte[] Message(BgpMessageType type, byte[] body)
    {
        var message = new byte[BgpLimits.HeaderSize + body.Length];
        body.CopyTo(message, BgpLimits.HeaderSize);
        MessageWriter.Header(message, type, message.Length);
        return message;
    }
}
