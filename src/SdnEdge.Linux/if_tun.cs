namespace SdnEdge.Linux;

/// <summary>Requests and flags of <c>linux/if_tun.h</c>.</summary>
internal static class IfTun
{
    public const string Device = "/dev/net/tun";

    public const nuint TUNGETDEVNETNS = 0x54e3;
    public const nuint TUNSETIFF = 0x400454ca;
    public const nuint TUNSETOFFLOAD = 0x400454d0;
    public const nuint TUNSETVNETHDRSZ = 0x400454d8;

    public const short IFF_TAP = 0x0002;
    public const short IFF_NO_PI = 0x1000;
    public const short IFF_VNET_HDR = 0x4000;
}

/// <summary>What the kernel may hand over unfinished on a TAP: partial checksums and superpackets (TUN_F_*).</summary>
[Flags]
public enum TapOffloads
{
    /// <summary>Nothing: only whole frames with complete checksums come.</summary>
    None = 0,
    /// <summary>Partial checksums; every other needs this one.</summary>
    Checksum = 0x01,
    /// <summary>TCP over IPv4 superpackets.</summary>
    Tso4 = 0x02,
    /// <summary>TCP over IPv6 superpackets.</summary>
    Tso6 = 0x04,
    /// <summary>TCP superpackets with ECN.</summary>
    TsoEcn = 0x08,
    /// <summary>UDP over IPv4 superpackets (Linux 6.2).</summary>
    Uso4 = 0x20,
    /// <summary>UDP over IPv6 superpackets (Linux 6.2).</summary>
    Uso6 = 0x40,
    /// <summary>All of them.</summary>
    All = Checksum | Tso4 | Tso6 | TsoEcn | Uso4 | Uso6,
}
