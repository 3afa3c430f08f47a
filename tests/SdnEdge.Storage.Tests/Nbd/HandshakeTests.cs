using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>The handshake's machine: bytes in, bytes out.</summary>
public sealed class HandshakeTests
{
    private const BlockFeatures All = BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.Trim | BlockFeatures.WriteZeroes
        | BlockFeatures.FastZero | BlockFeatures.MultiConnection | BlockFeatures.Cache;

    private static readonly NbdExportInfo s_vol = new("vol", "a volume", 1 << 20, 1, All);
    private static readonly NbdExportInfo s_other = new("other", null, 4096, 1, BlockFeatures.None);
    private static readonly NbdExportInfo s_coarse = new("coarse", null, 1 << 20, 4096, All);

    [Fact]
    public void The_greeting_is_fixed_newstyle_without_zeroes()
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(new NbdHandshakePolicy(false, false), [s_vol], output);
        Assert.Equal(3, new NbdAnswers(output.WrittenSpan.ToArray()).Greeting());
        Assert.Equal(NbdHandshakeState.ClientFlags, handshake.State);
    }

    [Theory]
    [InlineData(0u, true)]
    [InlineData(1u, true)]
    [InlineData(2u, true)]
    [InlineData(3u, true)]
    [InlineData(4u, false)]
    [InlineData(0x80000001u, false)]
    [InlineData(uint.MaxValue, false)]
    public void Client_flags_that_are_not_known_end_the_connection(uint flags, bool taken)
    {
        (NbdHandshake handshake, _) = Run(new NbdScript().Flags(flags));
        Assert.Equal(taken ? NbdHandshakeState.OptionHeader : NbdHandshakeState.Closed, handshake.State);
    }

    [Theory]
    [InlineData(false, 134)]
    [InlineData(true, 10)]
    public void Export_name_enters_transmission_with_or_without_zeroes(bool noZeroes, int bytes)
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags(noZeroes ? 3u : 1u).ExportName("vol"));
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        Assert.Equal(bytes, answers.Left);
        Assert.Equal(1ul << 20, answers.U64());
        Assert.Equal(1 + 4 + 8 + 32 + 64 + 256 + 1024 + 2048, answers.U16());
    }

    [Fact]
    public void Export_name_for_what_is_not_there_ends_the_connection()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().ExportName("nothing"));
        Assert.Equal(NbdHandshakeState.Closed, handshake.State);
        Assert.Equal(0, answers.Left);
        Assert.Contains("'nothing'", handshake.Reason);
    }

    [Fact]
    public void Abort_is_acknowledged_and_ends_the_connection()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)NbdOption.Abort));
        Assert.Equal(NbdOptionReply.Ack, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.Closed, handshake.State);
        Assert.Null(handshake.Reason);
    }

    [Fact]
    public void List_names_every_export_and_ends_with_an_acknowledgement()
    {
        (_, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)NbdOption.List));
        var replies = answers.OptionReplies((uint)NbdOption.List);
        Assert.Equal([NbdOptionReply.Server, NbdOptionReply.Server, NbdOptionReply.Server, NbdOptionReply.Ack],
            replies.Select(r => r.Type));
        Assert.Equal([("vol", "a volume"), ("other", ""), ("coarse", "")], replies.SkipLast(1).Select(r => NbdAnswers.Server(r.Data)));
    }

    [Fact]
    public void List_is_refused_by_policy_and_the_connection_goes_on()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)NbdOption.List).Go("vol"),
            new NbdHandshakePolicy(false, false, ListAllowed: false));
        Assert.Equal(NbdOptionReply.Policy, answers.OptionReply().Type);
        Assert.Equal(NbdOptionReply.Info, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
    }

    [Theory]
    [InlineData(NbdOption.List)]
    [InlineData(NbdOption.StartTls)]
    [InlineData(NbdOption.StructuredReply)]
    public void An_option_without_data_that_has_some_is_invalid_and_the_connection_goes_on(object option)
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)(NbdOption)option, 1, 2, 3).Go("vol"),
            new NbdHandshakePolicy(true, false));
        Assert.Equal(NbdOptionReply.Invalid, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        Assert.False(handshake.Session!.Structured);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(4u)]
    [InlineData((uint)NbdOption.ExtendedHeaders)]
    [InlineData(12u)]
    [InlineData(uint.MaxValue)]
    public void An_unknown_option_is_unsupported_its_data_are_skipped_and_the_next_one_is_parsed(uint option)
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option(option, new byte[1000]).Go("vol"));
        Assert.Equal([NbdOptionReply.Unsupported], answers.OptionReplies(option).Select(r => r.Type));
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
    }

    [Fact]
    public void Go_tells_what_was_asked_for_and_ignores_infos_that_are_not_known()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Structured().Go("vol", 1, 2, 3, 77));
        answers.OptionReply();
        var replies = answers.OptionReplies((uint)NbdOption.Go);
        Assert.Equal([0, 1, 2, 3], replies.SkipLast(1).Select(r => (int)BinaryPrimitives.ReadUInt16BigEndian(r.Data)));
        Assert.Equal("vol", Encoding.UTF8.GetString(replies[1].Data, 2, 3));
        Assert.Equal("a volume", Encoding.UTF8.GetString(replies[2].Data.AsSpan(2)));
        Assert.Equal([1u, 4096u, 64u << 20], Enumerable.Range(0, 3).Select(i => BinaryPrimitives.ReadUInt32BigEndian(
            replies[3].Data.AsSpan(2 + (4 * i)))));
        Assert.True(handshake.Session!.Structured);
        Assert.NotEqual(0, BinaryPrimitives.ReadUInt16BigEndian(replies[0].Data.AsSpan(10)) & (ushort)NbdTransmissionFlags.SendDf);
    }

    [Fact]
    public void Info_describes_and_does_not_enter_transmission()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Info("vol").Info("nothing").Info("other"));
        Assert.Equal([NbdOptionReply.Info, NbdOptionReply.Ack], answers.OptionReplies((uint)NbdOption.Info).Select(r => r.Type));
        Assert.Equal([NbdOptionReply.Unknown], answers.OptionReplies((uint)NbdOption.Info).Select(r => r.Type));
        byte[] other = answers.OptionReplies((uint)NbdOption.Info)[0].Data;
        Assert.NotEqual(0, BinaryPrimitives.ReadUInt16BigEndian(other.AsSpan(10)) & (ushort)NbdTransmissionFlags.ReadOnly);
        Assert.Equal(NbdHandshakeState.OptionHeader, handshake.State);
    }

    [Fact]
    public void An_export_of_larger_blocks_wants_a_client_that_asks_for_them()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Go("coarse").Go("coarse", 3));
        Assert.Equal([NbdOptionReply.BlockSizeRequired], answers.OptionReplies((uint)NbdOption.Go).Select(r => r.Type));
        var replies = answers.OptionReplies((uint)NbdOption.Go);
        Assert.Equal(4096u, BinaryPrimitives.ReadUInt32BigEndian(replies[1].Data.AsSpan(2)));
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
    }

    [Fact]
    public void The_empty_name_is_the_default_export()
    {
        (NbdHandshake handshake, _) = Run(new NbdScript().Flags().Go(""), new NbdHandshakePolicy(false, false, DefaultExport: "other"));
        Assert.Equal("other", handshake.Session!.Export.Name);
        (handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Go(""));
        Assert.Equal(NbdOptionReply.Unknown, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.OptionHeader, handshake.State);
    }

    public static TheoryData<string, byte[]> BadInfoData() => new()
    {
        { "nothing at all", [] },
        { "half a length", [0, 0] },
        { "a name without infos", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l'] },
        { "a name beyond the option", [0, 0, 0, 4, (byte)'v', (byte)'o', (byte)'l'] },
        { "a name of 2^32-1 bytes", [255, 255, 255, 255, (byte)'v', (byte)'o', (byte)'l', 0, 0] },
        { "a name of 2^31 bytes", [128, 0, 0, 0, (byte)'v', (byte)'o', (byte)'l', 0, 0] },
        { "one info fewer than counted", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 1] },
        { "one info more than counted", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 0, 0, 3] },
        { "half an info", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 1, 0] },
        { "65535 infos counted", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 255, 255, 0, 3] },
        { "a name that is no UTF-8", [0, 0, 0, 2, 0xc3, 0x28, 0, 0] },
    };

    [Theory]
    [MemberData(nameof(BadInfoData))]
    public void Lengths_that_do_not_add_up_are_invalid_and_the_connection_goes_on(string what, byte[] data)
    {
        Assert.NotEmpty(what);
        foreach (NbdOption option in new[] { NbdOption.Info, NbdOption.Go })
        {
            (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)option, data).Go("vol"));
            Assert.Equal([NbdOptionReply.Invalid], answers.OptionReplies((uint)option).Select(r => r.Type));
            Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        }
    }

    public static TheoryData<string, byte[]> BadContextData() => new()
    {
        { "nothing at all", [] },
        { "no count", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l'] },
        { "a query less than counted", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 0, 0, 1] },
        { "2^32-1 queries", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 255, 255, 255, 255] },
        { "a query of 2^32-1 bytes", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 0, 0, 1, 255, 255, 255, 255, 1] },
        { "bytes behind the last query", [0, 0, 0, 3, (byte)'v', (byte)'o', (byte)'l', 0, 0, 0, 0, 1] },
    };

    [Theory]
    [MemberData(nameof(BadContextData))]
    public void Contexts_whose_lengths_do_not_add_up_are_invalid_and_forget_the_earlier_choice(string what, byte[] data)
    {
        Assert.NotEmpty(what);
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Structured().SetContext("vol", "base:allocation")
            .Option((uint)NbdOption.SetMetaContext, data).Go("vol"));
        answers.OptionReply();
        answers.OptionReplies((uint)NbdOption.SetMetaContext);
        Assert.Equal([NbdOptionReply.Invalid], answers.OptionReplies((uint)NbdOption.SetMetaContext).Select(r => r.Type));
        Assert.False(handshake.Session!.BaseAllocation);
    }

    [Fact]
    public void Contexts_without_structured_replies_are_invalid()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().SetContext("vol", "base:allocation").Go("vol"));
        Assert.Equal(NbdOptionReply.Invalid, answers.OptionReply().Type);
        Assert.False(handshake.Session!.BaseAllocation);
    }

    [Theory]
    [InlineData(new string[0], true)]
    [InlineData(new[] { "base:" }, true)]
    [InlineData(new[] { "base:allocation" }, true)]
    [InlineData(new[] { "qemu:", "x-own:thing" }, false)]
    public void Contexts_are_listed_as_asked(string[] queries, bool listed)
    {
        (_, NbdAnswers answers) = Run(new NbdScript().Flags().Structured().ListContext("vol", queries));
        answers.OptionReply();
        var replies = answers.OptionReplies((uint)NbdOption.ListMetaContext);
        Assert.Equal(listed ? 2 : 1, replies.Count);
        if (listed) Assert.Equal("base:allocation", Encoding.UTF8.GetString(replies[0].Data.AsSpan(4)));
    }

    [Theory]
    [InlineData(new string[0], false)]
    [InlineData(new[] { "base:" }, false)]
    [InlineData(new[] { "base:allocation" }, true)]
    [InlineData(new[] { "qemu:dirty-bitmap:x", "base:allocation" }, true)]
    [InlineData(new[] { "base:allocatio" }, false)]
    public void Contexts_are_chosen_by_their_whole_name(string[] queries, bool chosen)
    {
        (NbdHandshake handshake, _) = Run(new NbdScript().Flags().Structured().SetContext("vol", queries).Go("vol"));
        Assert.Equal(chosen, handshake.Session!.BaseAllocation);
    }

    [Fact]
    public void An_option_of_too_many_bytes_is_answered_when_they_have_been_skipped()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)NbdOption.Go,
            new byte[NbdHandshake.MaximumOption + 1]).Go("vol"));
        Assert.Equal(NbdOptionReply.TooBig, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
    }

    [Fact]
    public void A_name_of_more_than_4096_bytes_is_too_big()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Go(new string('v', 4097)).Go(new string('v', 4096)));
        Assert.Equal(NbdOptionReply.TooBig, answers.OptionReply().Type);
        Assert.Equal(NbdOptionReply.Unknown, answers.OptionReply().Type);
        Assert.Equal(NbdHandshakeState.OptionHeader, handshake.State);
    }

    [Fact]
    public void A_wrong_magic_ends_the_connection()
    {
        (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Raw(new byte[16]));
        Assert.Equal(NbdHandshakeState.Closed, handshake.State);
        Assert.Equal(0, answers.Left);
    }

    [Fact]
    public void Options_without_end_are_ended()
    {
        var script = new NbdScript().Flags();
        for (int i = 0; i <= NbdHandshake.MaximumOptions; i++) script.Option(99);
        (NbdHandshake handshake, _) = Run(script);
        Assert.Equal(NbdHandshakeState.Closed, handshake.State);
    }

    [Fact]
    public void Where_TLS_is_required_nothing_else_is_answered_and_list_says_nothing()
    {
        foreach (NbdOption option in Enum.GetValues<NbdOption>())
        {
            if (option is NbdOption.StartTls or NbdOption.Abort or NbdOption.ExportName) continue;
            (NbdHandshake handshake, NbdAnswers answers) = Run(new NbdScript().Flags().Option((uint)option, NbdScript.InfoData("vol")),
                new NbdHandshakePolicy(true, true));
            Assert.Equal([NbdOptionReply.TlsRequired], answers.OptionReplies((uint)option).Select(r => r.Type));
            Assert.Equal(NbdHandshakeState.OptionHeader, handshake.State);
        }

        Assert.Equal(NbdHandshakeState.Closed, Run(new NbdScript().Flags().ExportName("vol"), new NbdHandshakePolicy(true, true))
            .Item1.State);
        Assert.Equal(NbdOptionReply.Unsupported, Run(new NbdScript().Flags().Option((uint)NbdOption.StartTls)).Item2.OptionReply().Type);
    }

    [Fact]
    public void Any_split_of_the_bytes_gives_the_same_answers()
    {
        byte[] bytes = new NbdScript().Flags().Option(99, new byte[40]).Structured().Info("nothing").SetContext("vol", "base:allocation")
            .Option((uint)NbdOption.List).Option(5, new byte[NbdHandshake.MaximumOption + 5]).Go("vol", 1, 3).ToArray();
        byte[] whole = Output(bytes, () => int.MaxValue);
        Assert.True(whole.Length > 200);
        Assert.Equal(whole, Output(bytes, () => 1));
        var random = new Random(11);
        for (int i = 0; i < 50; i++) Assert.Equal(whole, Output(bytes, () => random.Next(1, 40)));
    }

    private static byte[] Output(byte[] bytes, Func<int> cuts)
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(new NbdHandshakePolicy(false, false), [s_vol, s_other, s_coarse], output);
        byte[] buffer = [];
        for (int at = 0; at < bytes.Length;)
        {
            int count = Math.Min(cuts(), bytes.Length - at);
            buffer = [.. buffer, .. bytes.AsSpan(at, count)];
            at += count;
            buffer = buffer[handshake.Consume(buffer, output)..];
        }

        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        return output.WrittenSpan.ToArray();
    }

    internal static (NbdHandshake, NbdAnswers) Run(NbdScript script, NbdHandshakePolicy? policy = null)
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(policy ?? new NbdHandshakePolicy(false, false), [s_vol, s_other, s_coarse], output);
        handshake.Consume(script.ToArray(), output);
        var answers = new NbdAnswers(output.WrittenSpan.ToArray());
        answers.Greeting();
        return (handshake, answers);
    }
}
