namespace SdnEdge.Storage.Nbd;

/// <summary>The numbers of the NBD protocol document (NetworkBlockDevice/nbd, doc/proto.md). All integers on the wire are
/// big-endian.</summary>
internal static class NbdProtocol
{
    /// <summary>"NBDMAGIC", the first 8 bytes of a server.</summary>
    public const ulong Magic = 0x4e42444d41474943;

    /// <summary>"IHAVEOPT": fixed newstyle; before each option too.</summary>
    public const ulong OptionMagic = 0x49484156454f5054;

    /// <summary>Before each option reply.</summary>
    public const ulong OptionReplyMagic = 0x0003e889045565a9;

    /// <summary>Before each request.</summary>
    public const uint RequestMagic = 0x25609513;

    /// <summary>Before each simple reply.</summary>
    public const uint SimpleReplyMagic = 0x67446698;

    /// <summary>Before each chunk of a structured reply.</summary>
    public const uint ChunkMagic = 0x668e33ef;

    /// <summary>Longest string that a peer must take (section "Values"), bytes.</summary>
    public const int MaximumString = 4096;

    /// <summary>The block size that is assumed where none was negotiated (section "Block size constraints"), bytes.</summary>
    public const int PreferredBlock = 4096;

    /// <summary>The one metadata context here.</summary>
    public const string BaseAllocation = "base:allocation";

    /// <summary>Its number in replies.</summary>
    public const uint BaseAllocationId = 1;
}

/// <summary>Handshake flags, server's and client's share their values (section "Flag fields", "Handshake flags" and "Client
/// flags").</summary>
[Flags]
internal enum NbdHandshakeFlags : uint
{
    None = 0,
    FixedNewstyle = 1,
    NoZeroes = 2,
}

/// <summary>Option types (section "Option types").</summary>
internal enum NbdOption : uint
{
    ExportName = 1,
    Abort = 2,
    List = 3,
    StartTls = 5,
    Info = 6,
    Go = 7,
    StructuredReply = 8,
    ListMetaContext = 9,
    SetMetaContext = 10,
    ExtendedHeaders = 11,
}

/// <summary>Option reply types (section "Option reply types").</summary>
internal enum NbdOptionReply : uint
{
    Ack = 1,
    Server = 2,
    Info = 3,
    MetaContext = 4,
    Unsupported = (1u << 31) + 1,
    Policy = (1u << 31) + 2,
    Invalid = (1u << 31) + 3,
    Platform = (1u << 31) + 4,
    TlsRequired = (1u << 31) + 5,
    Unknown = (1u << 31) + 6,
    Shutdown = (1u << 31) + 7,
    BlockSizeRequired = (1u << 31) + 8,
    TooBig = (1u << 31) + 9,
}

/// <summary>What INFO and GO tell (section "NBD_OPT_INFO and NBD_OPT_GO").</summary>
internal enum NbdInfo : ushort
{
    Export = 0,
    Name = 1,
    Description = 2,
    BlockSize = 3,
}

/// <summary>Transmission flags (section "Transmission flags").</summary>
[Flags]
internal enum NbdTransmissionFlags : ushort
{
    None = 0,
    HasFlags = 1 << 0,
    ReadOnly = 1 << 1,
    SendFlush = 1 << 2,
    SendFua = 1 << 3,
    Rotational = 1 << 4,
    SendTrim = 1 << 5,
    SendWriteZeroes = 1 << 6,
    SendDf = 1 << 7,
    CanMultiConnection = 1 << 8,
    SendCache = 1 << 10,
    SendFastZero = 1 << 11,
}

/// <summary>Request types (section "Request types").</summary>
internal enum NbdCommand : ushort
{
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    Cache = 5,
    WriteZeroes = 6,
    BlockStatus = 7,
}

/// <summary>Command flags (section "Command flags").</summary>
[Flags]
internal enum NbdCommandFlags : ushort
{
    None = 0,
    Fua = 1 << 0,
    NoHole = 1 << 1,
    DontFragment = 1 << 2,
    RequestOne = 1 << 3,
    FastZero = 1 << 4,
}

/// <summary>Types of chunks (section "Structured reply types").</summary>
internal enum NbdChunk : ushort
{
    None = 0,
    OffsetData = 1,
    OffsetHole = 2,
    BlockStatus = 5,
    Error = (1 << 15) + 1,
    ErrorOffset = (1 << 15) + 2,
}

/// <summary>Error values (section "Error values").</summary>
internal enum NbdError : uint
{
    None = 0,
    NotPermitted = 1,
    Io = 5,
    NoMemory = 12,
    Invalid = 22,
    NoSpace = 28,
    Overflow = 75,
    NotSupported = 95,
    Shutdown = 108,
}
