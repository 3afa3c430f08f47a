using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

/// <summary>What was negotiated for the transmission phase.</summary>
/// <param name="Export">The export.</param>
/// <param name="Structured">Reads are answered by structured replies.</param>
/// <param name="BaseAllocation">The context base:allocation is selected for this export.</param>
/// <param name="MaximumPayload">Longest read or write, bytes.</param>
internal sealed record NbdSession(NbdExportInfo Export, bool Structured, bool BaseAllocation, int MaximumPayload);

/// <summary>Which requests are refused, and with which error: a pure function of the request and of what was negotiated.</summary>
internal static class NbdRequestRules
{
    /// <summary>
    /// The error of a request, or <see cref="NbdError.None"/>. In this order: 1. a command that is known and was offered, 2. flags that are
    /// known, fit the command and were offered, 3. may it write, 4. a length that is not 0 (a flush has no range at all), 5. within the
    /// largest payload, 6. whole blocks, 7. inside the export: beyond it a write has no room (ENOSPC), all else is wrong (EINVAL).
    /// </summary>
    public static NbdError Check(in NbdRequest request, NbdSession session)
    {
        NbdExportInfo export = session.Export;
        BlockFeatures features = export.Features;
        bool mayWrite = (features & BlockFeatures.Write) != 0;
        NbdCommandFlags allowed = (features & BlockFeatures.Flush) != 0 ? NbdCommandFlags.Fua : NbdCommandFlags.None;
        bool writes = false, hasPayload = false;
        switch (request.Command)
        {
            case NbdCommand.Read:
                if (session.Structured) allowed |= NbdCommandFlags.DontFragment;
                hasPayload = true;
                break;
            case NbdCommand.Write:
                writes = hasPayload = true;
                break;
            case NbdCommand.Flush:
                if ((features & BlockFeatures.Flush) == 0 || (request.Flags & ~allowed) != 0) return NbdError.Invalid;
                return request.Offset != 0 || request.Length != 0 ? NbdError.Invalid : NbdError.None;
            case NbdCommand.Trim:
                if (mayWrite && (features & BlockFeatures.Trim) == 0) return NbdError.Invalid;
                writes = true;
                break;
            case NbdCommand.WriteZeroes:
                if (mayWrite && (features & BlockFeatures.WriteZeroes) == 0) return NbdError.Invalid;
                allowed |= NbdCommandFlags.NoHole;
                if ((features & BlockFeatures.FastZero) != 0) allowed |= NbdCommandFlags.FastZero;
                writes = true;
                break;
            case NbdCommand.Cache:
                if ((features & BlockFeatures.Cache) == 0) return NbdError.Invalid;
                break;
            case NbdCommand.BlockStatus:
                if (!session.BaseAllocation) return NbdError.Invalid;
                allowed |= NbdCommandFlags.RequestOne;
                break;
            default:
                return NbdError.Invalid;
        }

        if (writes && !mayWrite) return NbdError.NotPermitted;
        if ((request.Flags & ~allowed) != 0) return NbdError.Invalid;
        if (request.Length == 0) return NbdError.Invalid;
        if (hasPayload && request.Length > (uint)session.MaximumPayload) return NbdError.Invalid;
        uint mask = (uint)export.MinimumBlock - 1;
        if (((uint)request.Offset & mask) != 0 || (request.Length & mask) != 0) return NbdError.Invalid;
        ulong size = (ulong)export.Size;
        if (request.Offset > size || request.Length > size - request.Offset)
        {
            return request.Command is NbdCommand.Write or NbdCommand.WriteZeroes ? NbdError.NoSpace : NbdError.Invalid;
        }

        return NbdError.None;
    }

    /// <summary>The error value of a device's result.</summary>
    public static NbdError ErrorOf(BlockResult result) => result switch
    {
        BlockResult.Ok => NbdError.None,
        BlockResult.NotPermitted => NbdError.NotPermitted,
        BlockResult.IoError => NbdError.Io,
        BlockResult.NoSpace => NbdError.NoSpace,
        BlockResult.Invalid => NbdError.Invalid,
        BlockResult.NotSupported => NbdError.NotSupported,
        BlockResult.NoMemory => NbdError.NoMemory,
        BlockResult.ShuttingDown => NbdError.Shutdown,
        _ => NbdError.Io,
    };
}
