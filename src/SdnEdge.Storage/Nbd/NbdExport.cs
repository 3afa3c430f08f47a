using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

/// <summary>Who is at the other end of an NBD connection, as far as the kernel or a certificate says.</summary>
/// <param name="Transport">How it came.</param>
/// <param name="Process">Its process id (unix sockets); 0: not known.</param>
/// <param name="User">Its user id (unix sockets); null: not known.</param>
/// <param name="Certificate">The common name of its certificate (TLS); null: none.</param>
/// <param name="Address">Its address and port (TCP); null otherwise.</param>
public sealed record NbdClient(NbdTransportKind Transport, int Process = 0, uint? User = null, string? Certificate = null,
    string? Address = null)
{
    /// <inheritdoc/>
    public override string ToString() => Certificate is not null ? $"certificate {Certificate}{(Address is null ? "" : $" at {Address}")}"
        : User is not null ? $"user {User}, process {Process}"
        : Address ?? "inherited connection";
}

/// <summary>How a connection came.</summary>
public enum NbdTransportKind
{
    /// <summary>A unix socket.</summary>
    Unix,

    /// <summary>TCP.</summary>
    Tcp,

    /// <summary>A connection that the process was started with.</summary>
    Inherited,
}

/// <summary>A volume under a name that clients can open.</summary>
/// <param name="Name">1 to 4096 bytes of UTF-8; the empty name is only for <see cref="NbdServerOptions.DefaultExport"/>.</param>
/// <param name="Device">What it serves.</param>
public sealed record NbdExport(string Name, IBlockDevice Device)
{
    /// <summary>For people, in nbdinfo's list. Null: none.</summary>
    public string? Description { get; init; }

    /// <summary>True: nobody may write, whatever the device can.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>True: it is opened by its name; it is never what the empty name means.</summary>
    public bool OnlyByName { get; init; }

    /// <summary>Whether a client sees the export at all. Null: everybody who could connect does.</summary>
    public Func<NbdClient, bool>? Admits { get; init; }

    /// <summary>Gives one connection its own view of the device, e.g. to park the writes of an older grant. Null: all share
    /// <see cref="Device"/>. A view that is disposable is disposed when its connection has ended.</summary>
    public Func<NbdClient, IBlockDevice>? Open { get; init; }
}

/// <summary>An export as the handshake sees it: plain data.</summary>
/// <param name="Name">As clients ask for it.</param>
/// <param name="Description">For people; null: none.</param>
/// <param name="Size">Bytes, a multiple of <paramref name="MinimumBlock"/>.</param>
/// <param name="MinimumBlock">Bytes; a power of two, 1 to 65536.</param>
/// <param name="Features">What can be done with it; without <see cref="BlockFeatures.Write"/> it is read-only.</param>
internal sealed record NbdExportInfo(string Name, string? Description, long Size, int MinimumBlock, BlockFeatures Features)
{
    private const BlockFeatures NeedWrite = BlockFeatures.Write | BlockFeatures.Trim | BlockFeatures.WriteZeroes | BlockFeatures.FastZero;

    /// <summary>The data of an export. A size that is no multiple of the block is cut to one: its end could not be addressed.</summary>
    public static NbdExportInfo Of(NbdExport export)
    {
        IBlockDevice device = export.Device;
        BlockFeatures features = device.Features;
        if (export.IsReadOnly) features &= ~BlockFeatures.Write;
        if ((features & BlockFeatures.Write) == 0) features &= ~NeedWrite;
        return new NbdExportInfo(export.Name, export.Description, device.Size / device.MinimumBlock * device.MinimumBlock,
            device.MinimumBlock, features);
    }

    /// <summary>The transmission flags. FLUSH is offered by read-only exports too: a client that syncs is told the truth.</summary>
    public NbdTransmissionFlags Flags(bool structured)
    {
        NbdTransmissionFlags flags = NbdTransmissionFlags.HasFlags;
        if ((Features & BlockFeatures.Write) == 0) flags |= NbdTransmissionFlags.ReadOnly;
        if ((Features & BlockFeatures.Flush) != 0) flags |= NbdTransmissionFlags.SendFlush | NbdTransmissionFlags.SendFua;
        if ((Features & BlockFeatures.Rotational) != 0) flags |= NbdTransmissionFlags.Rotational;
        if ((Features & BlockFeatures.Trim) != 0) flags |= NbdTransmissionFlags.SendTrim;
        if ((Features & BlockFeatures.WriteZeroes) != 0) flags |= NbdTransmissionFlags.SendWriteZeroes;
        if ((Features & BlockFeatures.FastZero) != 0) flags |= NbdTransmissionFlags.SendFastZero;
        if ((Features & BlockFeatures.MultiConnection) != 0) flags |= NbdTransmissionFlags.CanMultiConnection;
        if ((Features & BlockFeatures.Cache) != 0) flags |= NbdTransmissionFlags.SendCache;
        if (structured) flags |= NbdTransmissionFlags.SendDf;
        return flags;
    }
}
