using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace SdnEdge.Storage.Nbd;

/// <summary>Where a handshake is.</summary>
internal enum NbdHandshakeState
{
    /// <summary>The greeting is out; 4 bytes of client flags are awaited. Flags that are not known end it.</summary>
    ClientFlags,

    /// <summary>16 bytes of an option's header are awaited. A wrong magic ends it: the stream is out of step.</summary>
    OptionHeader,

    /// <summary>So many bytes of an option's data are awaited as its header said.</summary>
    OptionData,

    /// <summary>The data of an option that is too long are skipped; then it is answered ERR_TOO_BIG, and the next one is awaited.</summary>
    OptionSkip,

    /// <summary>STARTTLS was acknowledged: nothing more is read in the clear. <see cref="NbdHandshake.TlsEstablished"/> goes on in
    /// <see cref="OptionHeader"/>, with everything negotiated before forgotten.</summary>
    StartTls,

    /// <summary>An export is chosen (<see cref="NbdHandshake.Session"/>); what follows in the stream are requests.</summary>
    Transmission,

    /// <summary>Send what is in the output, then close.</summary>
    Closed,
}

/// <summary>How a handshake meets its client.</summary>
/// <param name="TlsOffered">STARTTLS can be done.</param>
/// <param name="TlsRequired">Without TLS nothing but STARTTLS and ABORT is answered.</param>
/// <param name="ListAllowed">False: LIST is refused by policy.</param>
/// <param name="DefaultExport">What the empty name means; null: an export of that name.</param>
/// <param name="MaximumPayload">Longest read or write, bytes.</param>
internal sealed record NbdHandshakePolicy(
    bool TlsOffered, bool TlsRequired, bool ListAllowed = true, string? DefaultExport = null, int MaximumPayload = 64 << 20);

/// <summary>
/// The handshake of one connection as a machine without sockets: bytes in, bytes out. 1. The greeting is in the output from the start.
/// 2. <see cref="Consume"/> takes whole units from what has arrived and says how many bytes. 3. Its <see cref="State"/> says what is to be
/// done: read more, start TLS, serve, close. Fixed newstyle only (section "Fixed newstyle negotiation").
/// </summary>
/// <remarks>
/// <para>Invariant: what was negotiated before TLS, and contexts chosen for another export than the one that is opened, have no
/// effect.</para>
/// <para>Whatever the bytes are, the output of an option is bounded by the exports that the client may see, and no more than
/// <see cref="MaximumOption"/> bytes are awaited in one piece.</para>
/// </remarks>
internal sealed partial class NbdHandshake
{
    /// <summary>Longest option data that are taken, bytes: a name and some contexts of the longest kind.</summary>
    public const int MaximumOption = 64 << 10;

    /// <summary>Most options of one handshake; a client that goes on is disconnected.</summary>
    public const int MaximumOptions = 4096;

    private readonly NbdHandshakePolicy _policy;
    private IReadOnlyList<NbdExportInfo> _exports;
    private bool _fixedNewstyle, _noZeroes, _tls, _structured;
    private string? _contextsFor;
    private bool _baseAllocation;
    private uint _option, _length, _skip;
    private int _options;

    /// <summary>Begins: the greeting is written.</summary>
    /// <param name="policy">How to meet the client.</param>
    /// <param name="exports">The exports that it may see.</param>
    /// <param name="output">Where everything to be sent goes.</param>
    public NbdHandshake(NbdHandshakePolicy policy, IReadOnlyList<NbdExportInfo> exports, IBufferWriter<byte> output)
    {
        (_policy, _exports) = (policy, exports);
        NbdHandshakeWire.WriteGreeting(output, NbdHandshakeFlags.FixedNewstyle | NbdHandshakeFlags.NoZeroes);
    }

    /// <summary>Where it is.</summary>
    public NbdHandshakeState State { get; private set; }

    /// <summary>What was negotiated; set in <see cref="NbdHandshakeState.Transmission"/>.</summary>
    public NbdSession? Session { get; private set; }

    /// <summary>Why it closed, for people; null: the client wished it, or it has not.</summary>
    public string? Reason { get; private set; }

    /// <summary>How many bytes the next unit has; there may be more in the stream.</summary>
    public int Needed => State switch
    {
        NbdHandshakeState.ClientFlags => 4,
        NbdHandshakeState.OptionHeader => NbdHandshakeWire.OptionSize,
        NbdHandshakeState.OptionData => (int)_length,
        NbdHandshakeState.OptionSkip => 1,
        _ => 0,
    };

    /// <summary>Takes whole units from the start of <paramref name="input"/> as long as there are any, and writes the answers.</summary>
    /// <returns>Bytes taken. What is left is the start of the next unit, or of what comes after the handshake.</returns>
    public int Consume(ReadOnlySpan<byte> input, IBufferWriter<byte> output)
    {
        int taken = 0;
        while (State < NbdHandshakeState.StartTls)
        {
            ReadOnlySpan<byte> rest = input[taken..];
            if (rest.Length < Needed) break;
            switch (State)
            {
                case NbdHandshakeState.ClientFlags:
                    taken += 4;
                    TakeClientFlags((NbdHandshakeFlags)BinaryPrimitives.ReadUInt32BigEndian(rest));
                    break;
                case NbdHandshakeState.OptionHeader:
                    taken += NbdHandshakeWire.OptionSize;
                    TakeOptionHeader(rest);
                    if (State == NbdHandshakeState.OptionData && _length == 0) TakeOption([], output);
                    break;
                case NbdHandshakeState.OptionData:
                    taken += (int)_length;
                    TakeOption(rest[..(int)_length], output);
                    break;
                case NbdHandshakeState.OptionSkip:
                    int skipped = (int)Math.Min(_skip, (uint)rest.Length);
                    taken += skipped;
                    if ((_skip -= (uint)skipped) > 0) break;
                    State = NbdHandshakeState.OptionHeader;
                    Refuse(NbdOptionReply.TooBig, $"an option has at most {MaximumOption} bytes of data, not {_length}", output);
                    break;
            }
        }

        return taken;
    }

    /// <summary>TLS is there, the client may be known now: everything that was negotiated in the clear is forgotten.</summary>
    /// <param name="exports">The exports that it may see now.</param>
    /// <remarks>Section "NBD_OPT_STARTTLS"; a server that kept structured replies: CVE-2021-3716.</remarks>
    public void TlsEstablished(IReadOnlyList<NbdExportInfo> exports)
    {
        if (State != NbdHandshakeState.StartTls) throw new InvalidOperationException($"TLS was not asked for: the handshake is in {State}");
        _exports = exports;
        (_tls, _structured, _baseAllocation, _contextsFor) = (true, false, false, null);
        State = NbdHandshakeState.OptionHeader;
    }

    private void TakeClientFlags(NbdHandshakeFlags flags)
    {
        if ((flags & ~(NbdHandshakeFlags.FixedNewstyle | NbdHandshakeFlags.NoZeroes)) != 0)
        {
            Close($"client flags 0x{(uint)flags:x} are not known; 0x1 and 0x2 are");
            return;
        }

        _fixedNewstyle = (flags & NbdHandshakeFlags.FixedNewstyle) != 0;
        _noZeroes = (flags & NbdHandshakeFlags.NoZeroes) != 0;
        State = NbdHandshakeState.OptionHeader;
    }

    private void TakeOptionHeader(ReadOnlySpan<byte> header)
    {
        ulong magic = BinaryPrimitives.ReadUInt64BigEndian(header);
        _option = BinaryPrimitives.ReadUInt32BigEndian(header[8..]);
        _length = BinaryPrimitives.ReadUInt32BigEndian(header[12..]);
        if (magic != NbdProtocol.OptionMagic)
        {
            Close($"an option begins with 0x{magic:x16}; it must be 0x{NbdProtocol.OptionMagic:x16} (IHAVEOPT)");
        }
        else if (++_options > MaximumOptions)
        {
            Close($"more than {MaximumOptions} options");
        }
        else if (!_fixedNewstyle && _option != (uint)NbdOption.ExportName)
        {
            // Without the flag a client understands no option reply.
            Close($"option {_option} from a client that has not set the flag of fixed newstyle; it may send EXPORT_NAME only");
        }
        else if (_length <= MaximumOption)
        {
            State = NbdHandshakeState.OptionData;
        }
        else if (_option == (uint)NbdOption.ExportName)
        {
            // It has no error reply.
            Close($"a name of {_length} bytes; at most {NbdProtocol.MaximumString} are possible");
        }
        else
        {
            (State, _skip) = (NbdHandshakeState.OptionSkip, _length);
        }
    }

    private void Refuse(NbdOptionReply error, string reason, IBufferWriter<byte> output)
        => NbdHandshakeWire.WriteReply(output, _option, error, Encoding.UTF8.GetBytes(reason));

    private void Close(string? reason) => (State, Reason) = (NbdHandshakeState.Closed, reason);
}
