namespace SdnEdge.Core.Bgp;

/// <summary>Algorithm of TCP-AO (RFC 5926): both make codes of 96 bits.</summary>
public enum BgpAoAlgorithm : byte
{
    /// <summary>HMAC-SHA-1-96.</summary>
    HmacSha1,

    /// <summary>AES-128-CMAC-96.</summary>
    AesCmac,
}

/// <summary>The master key of a session with TCP-AO (RFC 5925), which both ends have under the same numbers.</summary>
/// <param name="SendId">Number that our segments name, 0 to 255.</param>
/// <param name="ReceiveId">Number that the peer's segments name, 0 to 255.</param>
/// <param name="Algorithm">How codes are made.</param>
/// <param name="Secret">The key, 1 to 80 octets.</param>
public sealed record BgpAoKey(byte SendId, byte ReceiveId, BgpAoAlgorithm Algorithm, BgpPassword Secret);
