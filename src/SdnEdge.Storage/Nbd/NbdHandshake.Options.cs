using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace SdnEdge.Storage.Nbd;

// The options, in the order of their numbers.
internal sealed partial class NbdHandshake
{
    private void TakeOption(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        State = NbdHandshakeState.OptionHeader;
        var option = (NbdOption)_option;
        if (_policy.TlsRequired && !_tls && option is not (NbdOption.StartTls or NbdOption.Abort))
        {
            if (option == NbdOption.ExportName) Close("an export was asked for in the clear; TLS is required");
            else Refuse(NbdOptionReply.TlsRequired, "send STARTTLS first: this server answers by TLS only", output);
            return;
        }

        switch (option)
        {
            case NbdOption.ExportName:
                ExportName(data, output);
                break;
            case NbdOption.Abort:
                NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
                Close(null);
                break;
            case NbdOption.List:
                if (HasNoData(data, output)) List(output);
                break;
            case NbdOption.StartTls:
                if (HasNoData(data, output)) StartTls(output);
                break;
            case NbdOption.Info or NbdOption.Go:
                InfoOrGo(data, output);
                break;
            case NbdOption.StructuredReply:
                if (!HasNoData(data, output)) break;
                _structured = true;
                NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
                break;
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                MetaContext(data, output);
                break;
            default:
                Refuse(NbdOptionReply.Unsupported, $"option {_option} is not known here", output);
                break;
        }
    }

    private bool HasNoData(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        if (data.IsEmpty) return true;
        Refuse(NbdOptionReply.Invalid, $"this option has no data; {data.Length} bytes came", output);
        return false;
    }

    // Section "NBD_OPT_EXPORT_NAME": the one option without an error reply.
    private void ExportName(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        if (data.Length > NbdProtocol.MaximumString || !TryText(data, out string name))
        {
            Close("the name of the export is longer than 4096 bytes or no UTF-8");
            return;
        }

        NbdExportInfo? export = Find(name);
        if (export is null)
        {
            Close($"there is no export '{name}' for this client");
            return;
        }

        NbdHandshakeWire.WriteExportName(output, export.Size, export.Flags(_structured), !_noZeroes);
        Enter(export, name);
    }

    private void List(IBufferWriter<byte> output)
    {
        if (!_policy.ListAllowed)
        {
            Refuse(NbdOptionReply.Policy, "exports are not listed here", output);
            return;
        }

        foreach (NbdExportInfo export in _exports) NbdHandshakeWire.WriteServer(output, export.Name, export.Description);
        NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
    }

    private void StartTls(IBufferWriter<byte> output)
    {
        if (_tls)
        {
            Refuse(NbdOptionReply.Invalid, "TLS is in use already", output);
        }
        else if (!_policy.TlsOffered)
        {
            Refuse(NbdOptionReply.Unsupported, "no certificate is configured here", output);
        }
        else
        {
            NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
            State = NbdHandshakeState.StartTls;
        }
    }

    /// <summary>
    /// Section "NBD_OPT_INFO" and "NBD_OPT_GO".
    /// <code>
    /// +------------+----------+-----------+-------------+
    /// | length (4) | name ... | count (2) | infos (2) * |
    /// +------------+----------+-----------+-------------+
    /// </code>
    /// </summary>
    private void InfoOrGo(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        if (!TryTakeString(ref data, out ReadOnlySpan<byte> nameBytes) || data.Length < 2
            || data.Length != 2 + (2 * BinaryPrimitives.ReadUInt16BigEndian(data)))
        {
            Refuse(NbdOptionReply.Invalid, "the lengths of the name and of the list do not add up to the option's", output);
            return;
        }

        if (!TryExport(nameBytes, output, out NbdExportInfo? export, out string name)) return;
        bool wantsName = false, wantsDescription = false, wantsBlocks = false;
        for (data = data[2..]; !data.IsEmpty; data = data[2..])
        {
            // Those that are not known are ignored, as the document says.
            var info = (NbdInfo)BinaryPrimitives.ReadUInt16BigEndian(data);
            wantsName |= info == NbdInfo.Name;
            wantsDescription |= info == NbdInfo.Description;
            wantsBlocks |= info == NbdInfo.BlockSize;
        }

        if (export.MinimumBlock > 1 && !wantsBlocks && _option == (uint)NbdOption.Go)
        {
            Refuse(NbdOptionReply.BlockSizeRequired, $"ask for the block sizes: offsets and lengths must be multiples of "
                + $"{export.MinimumBlock} here", output);
            return;
        }

        NbdHandshakeWire.WriteExportInfo(output, _option, export.Size, export.Flags(_structured));
        if (wantsName) NbdHandshakeWire.WriteTextInfo(output, _option, NbdInfo.Name, export.Name);
        if (wantsDescription && export.Description is not null)
        {
            NbdHandshakeWire.WriteTextInfo(output, _option, NbdInfo.Description, export.Description);
        }

        if (wantsBlocks)
        {
            NbdHandshakeWire.WriteBlockSizeInfo(output, _option, export.MinimumBlock,
                Math.Max(NbdProtocol.PreferredBlock, export.MinimumBlock), _policy.MaximumPayload);
        }

        NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
        if (_option == (uint)NbdOption.Go) Enter(export, name);
    }

    /// <summary>
    /// Section "NBD_OPT_LIST_META_CONTEXT" and "NBD_OPT_SET_META_CONTEXT".
    /// <code>
    /// +------------+----------+-----------+--------------------------+
    /// | length (4) | name ... | count (4) | length (4) | query ... * |
    /// +------------+----------+-----------+--------------------------+
    /// </code>
    /// A SET, also one that fails, forgets what an earlier one chose.
    /// </summary>
    private void MetaContext(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        bool set = _option == (uint)NbdOption.SetMetaContext;
        if (set) (_baseAllocation, _contextsFor) = (false, null);
        if (!_structured)
        {
            Refuse(NbdOptionReply.Invalid, "contexts need structured replies: send STRUCTURED_REPLY first", output);
            return;
        }

        if (!TryTakeString(ref data, out ReadOnlySpan<byte> nameBytes) || data.Length < 4)
        {
            Refuse(NbdOptionReply.Invalid, "the lengths of the name and of the queries do not add up to the option's", output);
            return;
        }

        uint count = BinaryPrimitives.ReadUInt32BigEndian(data);
        data = data[4..];
        bool chosen = count == 0 && !set;
        for (uint i = 0; i < count; i++)
        {
            if (!TryTakeString(ref data, out ReadOnlySpan<byte> query))
            {
                Refuse(NbdOptionReply.Invalid, $"query {i + 1} of {count} is longer than the option", output);
                return;
            }

            // "base:" alone lists the namespace and chooses nothing; what is not known is ignored.
            chosen |= query.SequenceEqual("base:allocation"u8) || (!set && query.SequenceEqual("base:"u8));
        }

        if (!data.IsEmpty)
        {
            Refuse(NbdOptionReply.Invalid, $"{data.Length} bytes follow the last query", output);
            return;
        }

        if (!TryExport(nameBytes, output, out _, out string name)) return;
        if (set) (_baseAllocation, _contextsFor) = (chosen, name);
        if (chosen) NbdHandshakeWire.WriteMetaContext(output, _option, set ? NbdProtocol.BaseAllocationId : 0, NbdProtocol.BaseAllocation);
        NbdHandshakeWire.WriteReply(output, _option, NbdOptionReply.Ack, []);
    }

    private void Enter(NbdExportInfo export, string name)
    {
        bool allocation = _structured && _baseAllocation && _contextsFor == name;
        Session = new NbdSession(export, _structured, allocation, _policy.MaximumPayload);
        State = NbdHandshakeState.Transmission;
    }

    private bool TryExport(ReadOnlySpan<byte> nameBytes, IBufferWriter<byte> output,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out NbdExportInfo? export, out string name)
    {
        export = null;
        name = "";
        if (nameBytes.Length > NbdProtocol.MaximumString)
        {
            Refuse(NbdOptionReply.TooBig, $"the name of an export has at most {NbdProtocol.MaximumString} bytes", output);
        }
        else if (!TryText(nameBytes, out name))
        {
            Refuse(NbdOptionReply.Invalid, "the name of the export is no UTF-8", output);
        }
        else if ((export = Find(name)) is null)
        {
            Refuse(NbdOptionReply.Unknown, $"there is no export '{Shown(name)}' for this client", output);
        }

        return export is not null;
    }

    private NbdExportInfo? Find(string name)
    {
        if (name.Length == 0 && _policy.DefaultExport is not null) name = _policy.DefaultExport;
        foreach (NbdExportInfo export in _exports)
        {
            if (export.Name == name) return export;
        }

        return null;
    }

    // A reply is a string too: at most 4096 bytes of it.
    private static string Shown(string name) => name.Length <= 256 ? name : name[..256] + "...";

    private static bool TryTakeString(ref ReadOnlySpan<byte> data, out ReadOnlySpan<byte> text)
    {
        text = [];
        if (data.Length < 4) return false;
        uint length = BinaryPrimitives.ReadUInt32BigEndian(data);
        if (length > (uint)(data.Length - 4)) return false;
        text = data.Slice(4, (int)length);
        data = data[(4 + (int)length)..];
        return true;
    }

    private static bool TryText(ReadOnlySpan<byte> bytes, out string text)
    {
        try
        {
            text = s_strict.GetString(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            text = "";
            return false;
        }
    }

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
}
