using System.Buffers;
using System.Buffers.Binary;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>Bugs that other NBD servers had, each named by where it was mended, tried here.</summary>
public sealed class KnownBugTests
{
    private const BlockFeatures All = BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.Trim | BlockFeatures.WriteZeroes;

    private static readonly NbdExportInfo s_vol = new("vol", null, 1 << 20, 1, All), s_other = new("other", null, 1 << 20, 1, All);

    [Fact]
    public void Nbd_server_3740ff7_an_info_with_a_name_as_long_as_its_option_writes_nowhere_else()
    {
        foreach (int length in new[] { 0, 1, 4095, 4096, 4097, 60_000, NbdHandshake.MaximumOption - 6 })
        {
            (NbdHandshake handshake, NbdAnswers answers) = HandshakeTests.Run(new NbdScript().Flags().Info(new string('n', length))
                .Go("vol"));
            NbdOptionReply reply = answers.OptionReply().Type;
            Assert.Equal(length > 4096 ? NbdOptionReply.TooBig : NbdOptionReply.Unknown, reply);
            Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        }
    }

    [Fact]
    public void Nbd_server_4e5c5d2_a_name_of_4294967295_bytes_is_refused()
    {
        foreach (NbdOption option in new[] { NbdOption.Go, NbdOption.Info, NbdOption.SetMetaContext, NbdOption.ListMetaContext })
        {
            byte[] data = [.. NbdScript.U32(uint.MaxValue), .. new byte[20]];
            (NbdHandshake handshake, NbdAnswers answers) = HandshakeTests.Run(
                new NbdScript().Flags().Structured().Option((uint)option, data).Go("vol"));
            answers.OptionReply();
            Assert.Equal(NbdOptionReply.Invalid, answers.OptionReply().Type);
            Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        }

        Assert.Equal(NbdHandshakeState.Closed, HandshakeTests.Run(
            new NbdScript().Flags().OptionHeader((uint)NbdOption.ExportName, uint.MaxValue)).Item1.State);
        Assert.Equal(NbdHandshakeState.OptionSkip, HandshakeTests.Run(
            new NbdScript().Flags().OptionHeader((uint)NbdOption.Go, uint.MaxValue)).Item1.State);
    }

    [Fact]
    public void Nbd_server_9ca2974_after_a_refused_go_the_stream_is_in_step()
    {
        (NbdHandshake handshake, NbdAnswers answers) = HandshakeTests.Run(
            new NbdScript().Flags().Go("nothing", 1, 2, 3).Option((uint)NbdOption.List).Go("vol"));
        Assert.Equal([NbdOptionReply.Unknown], answers.OptionReplies((uint)NbdOption.Go).Select(r => r.Type));
        Assert.Equal(NbdOptionReply.Ack, answers.OptionReplies((uint)NbdOption.List)[^1].Type);
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
    }

    [Fact]
    public void Nbd_server_66_go_is_understood_as_the_first_option()
        => Assert.Equal(NbdHandshakeState.Transmission, HandshakeTests.Run(new NbdScript().Flags().Go("vol")).Item1.State);

    [Fact]
    public void Nbd_server_59_and_126_clients_that_leave_at_any_byte_free_their_slot()
    {
        byte[] whole = TransmissionTests.Opened(structured: true, s => s.Write(0, new byte[100]).Request(NbdCommand.Read, 0, 100)
            .Disconnect()).ToArray();
        using var rig = new NbdRig(new MemoryDevice(4096), options => options with { MaximumConnections = 1 });
        for (int length = 0; length <= whole.Length; length++) rig.Serve(whole[..length]);
        Assert.Equal(whole.Length + 1, rig.Server.Accepted);
        Assert.Equal(0, rig.Server.Refused);
        Assert.Empty(rig.Server.Connections);
        Assert.Equal(0, rig.Server.BuffersTaken);
    }

    [Theory]
    [InlineData(0, uint.MaxValue)]
    [InlineData(1ul << 31, 1u << 31)]
    [InlineData((1ul << 42) - 4096, 4096u)]
    public void Nbd_server_30_64_and_systemd_16242_a_trim_of_more_than_2_GiB_keeps_its_length(ulong offset, uint length)
    {
        var device = new MemoryDevice(4096) { Size = 1L << 42 };
        using var rig = new NbdRig(device);
        NbdAnswers answers = TransmissionTests.Simple(rig, s => s.Request(NbdCommand.Trim, offset, length));
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal([$"trim {offset}+{length}"], device.Calls);
    }

    [Fact]
    public void Nbd_server_44_an_export_beyond_1_TiB_is_addressed_to_its_end()
    {
        var device = new MemoryDevice(4096) { Size = long.MaxValue };
        using var rig = new NbdRig(device);
        NbdAnswers answers = TransmissionTests.Simple(rig, s => s.Request(NbdCommand.Trim, (ulong)long.MaxValue - 1, 1)
            .Request(NbdCommand.Trim, long.MaxValue, 1));
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal(NbdError.Invalid, answers.Reply().Error);
    }

    [Fact]
    public void Nbd_server_135_575f822_157f1c6_and_2b9142e_no_sum_of_offset_and_length_wraps()
    {
        var device = new MemoryDevice(4096);
        using var rig = new NbdRig(device);
        ulong[] offsets = [4096, 4097, uint.MaxValue, 1ul << 32, long.MaxValue, 1ul << 63, ulong.MaxValue - 4095, ulong.MaxValue];
        foreach (ulong offset in offsets)
        {
            NbdAnswers answers = TransmissionTests.Simple(rig, s => s.Request(NbdCommand.Read, offset, 4096).Write(offset, new byte[4096])
                .Request(NbdCommand.WriteZeroes, offset, uint.MaxValue).Request(NbdCommand.Trim, offset, uint.MaxValue));
            Assert.Equal([NbdError.Invalid, NbdError.NoSpace, NbdError.NoSpace, NbdError.Invalid],
                Enumerable.Range(0, 4).Select(_ => answers.Reply().Error));
        }

        Assert.Empty(device.Calls);
    }

    [Fact]
    public void Nbd_server_157_a_size_that_is_no_multiple_of_the_block_is_cut()
    {
        NbdExportInfo info = NbdExportInfo.Of(new NbdExport("vol", new MemoryDevice(10_000, block: 4096)));
        Assert.Equal(8192, info.Size);
        Assert.Equal(NbdError.NoSpace, NbdRequestRules.Check(new NbdRequest(NbdProtocol.RequestMagic, 0, NbdCommand.Write, 1, 8192, 4096),
            new NbdSession(info, false, false, 32 << 20)));
    }

    [Fact]
    public void Nbdkit_CVE_2019_14850_nothing_of_a_device_is_touched_before_an_export_is_chosen()
    {
        var device = new MemoryDevice(4096);
        int opened = 0;
        using var rig = new NbdRig(device);
        rig.Server.Add(new NbdExport("own", device) { Open = _ => { opened++; return device; } });
        rig.Serve(new NbdScript().Flags().Info("own").Option((uint)NbdOption.List).Option((uint)NbdOption.Abort).ToArray());
        Assert.Equal(0, opened);
        rig.Serve(new NbdScript().Flags().Go("own").ToArray());
        Assert.Equal(1, opened);
        Assert.Empty(device.Calls);
    }

    [Fact]
    public void Nbdkit_CVE_2021_3716_TLS_forgets_structured_replies_and_contexts()
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(new NbdHandshakePolicy(true, false), [s_vol], output);
        byte[] clear = new NbdScript().Flags().Structured().SetContext("vol", "base:allocation").Option((uint)NbdOption.StartTls).ToArray();
        Assert.Equal(clear.Length, handshake.Consume(clear, output));
        Assert.Equal(NbdHandshakeState.StartTls, handshake.State);
        handshake.TlsEstablished([s_vol]);
        handshake.Consume(new NbdScript().Go("vol").ToArray(), output);
        Assert.Equal(NbdHandshakeState.Transmission, handshake.State);
        Assert.False(handshake.Session!.Structured);
        Assert.False(handshake.Session.BaseAllocation);
    }

    [Fact]
    public void Nbdkit_282c3b03_what_is_sent_in_the_clear_behind_STARTTLS_is_not_taken()
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(new NbdHandshakePolicy(true, true), [s_vol], output);
        byte[] clear = new NbdScript().Flags().Option((uint)NbdOption.StartTls).ToArray();
        byte[] injected = [.. clear, .. new NbdScript().Go("vol").ToArray()];
        Assert.Equal(clear.Length, handshake.Consume(injected, output));
        Assert.Equal(NbdHandshakeState.StartTls, handshake.State);
        Assert.Null(handshake.Session);
    }

    [Fact]
    public void A_second_STARTTLS_is_invalid()
    {
        var output = new ArrayBufferWriter<byte>();
        var handshake = new NbdHandshake(new NbdHandshakePolicy(true, true), [s_vol], output);
        handshake.Consume(new NbdScript().Flags().Option((uint)NbdOption.StartTls).ToArray(), output);
        handshake.TlsEstablished([s_vol]);
        output.ResetWrittenCount();
        handshake.Consume(new NbdScript().Option((uint)NbdOption.StartTls).ToArray(), output);
        Assert.Equal(NbdOptionReply.Invalid, new NbdAnswers(output.WrittenSpan.ToArray()).OptionReply().Type);
        Assert.Equal(NbdHandshakeState.OptionHeader, handshake.State);
    }

    [Fact]
    public void Nbdkit_20b8509a_contexts_of_one_export_do_not_hold_for_another()
    {
        Assert.False(Contexts(s => s.SetContext("vol", "base:allocation").Go("other")));
        Assert.True(Contexts(s => s.SetContext("vol", "base:allocation").Go("nothing").Go("vol")));
        Assert.False(Contexts(s => s.SetContext("vol", "base:allocation").ExportName("other")));
        Assert.True(Contexts(s => s.SetContext("vol", "base:allocation").ExportName("vol")));
    }

    [Fact]
    public void Nbdkit_7ed83d14_the_second_SET_META_CONTEXT_counts()
    {
        Assert.False(Contexts(s => s.SetContext("vol", "base:allocation").SetContext("vol").Go("vol")));
        Assert.True(Contexts(s => s.SetContext("other", "base:allocation").SetContext("vol", "base:allocation").Go("vol")));
        Assert.False(Contexts(s => s.SetContext("vol", "base:allocation").SetContext("nothing", "base:allocation").Go("vol")));
    }

    [Fact]
    public void Nbdkit_a6b88b19_and_30e5bfca_infos_before_a_go_change_nothing_of_it()
    {
        Assert.True(Contexts(s => s.SetContext("vol", "base:allocation").Info("other", 3).Info("vol").Info("nothing").Go("vol")));
        (NbdHandshake handshake, _) = HandshakeTests.Run(new NbdScript().Flags().Info("other").Info("vol").Go("other"));
        Assert.Equal("other", handshake.Session!.Export.Name);
    }

    [Fact]
    public void Nbdkit_80033669_block_status_without_REQ_ONE_gives_several_extents_and_with_it_one()
    {
        var device = new MemoryDevice(1 << 20) { Map = [new(4096, false, false), new(8192, true, true), new(4096, false, false)] };
        using var rig = new NbdRig(device);
        NbdAnswers answers = TransmissionTests.Structured(rig, s => s.Request(NbdCommand.BlockStatus, 0, 16384)
            .Request(NbdCommand.BlockStatus, 0, 16384, NbdCommandFlags.RequestOne));
        Assert.Equal(4 + (3 * 8), answers.Reply().Data.Length);
        Assert.Equal(4 + 8, answers.Reply().Data.Length);
    }

    [Fact]
    public void Nbdkit_4aae4a83_a_trim_with_FUA_is_durable()
    {
        var device = new MemoryDevice(4096);
        using var rig = new NbdRig(device);
        Assert.Equal(NbdError.None,
            TransmissionTests.Simple(rig, s => s.Request(NbdCommand.Trim, 0, 512, NbdCommandFlags.Fua)).Reply().Error);
        Assert.Equal(["trim 0+512 ForceUnitAccess"], device.Calls);
    }

    [Fact]
    public void Nbdkit_9d82aa4f_a_client_that_leaves_while_it_is_sent_to_is_only_gone()
    {
        byte[] input = TransmissionTests.Opened(structured: true, s =>
        {
            for (int i = 0; i < 50; i++) s.Request(NbdCommand.Read, 0, 65536).Request(NbdCommand.Read, 0, 3 << 20);
        }).ToArray();
        for (long after = 0; after < 4 << 20; after = (after * 2) + 7)
        {
            using var rig = new NbdRig(new MemoryDevice(4 << 20));
            var transport = new ScriptedTransport(input) { GoneAfter = after };
            rig.Serve(transport);
            Assert.Equal(0, rig.Server.BuffersTaken);
            Assert.True(transport.IsDisposed);
            Assert.DoesNotContain(rig.Reports, report => report.Contains("fault", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Nbdkit_5caab0a2_a_client_without_fixed_newstyle_may_only_name_an_export()
    {
        foreach (NbdOption option in Enum.GetValues<NbdOption>())
        {
            (NbdHandshake handshake, NbdAnswers answers) = HandshakeTests.Run(
                new NbdScript().Flags(0).Option((uint)option, "vol"u8));
            Assert.Equal(option == NbdOption.ExportName ? NbdHandshakeState.Transmission : NbdHandshakeState.Closed, handshake.State);
            Assert.Equal(option == NbdOption.ExportName ? 134 : 0, answers.Left);
        }
    }

    [Fact]
    public void Nbdkit_b1ce255e_a_read_that_failed_gives_no_bytes_of_memory()
    {
        using var rig = new NbdRig(new MemoryDevice(1 << 20) { Fails = (call, _) => call == "read" ? BlockResult.IoError : null });
        foreach (bool structured in new[] { false, true })
        {
            NbdAnswers answers = new(TransmissionTests.Session(rig, structured, s => s.Write(0, TestBytes.Bytes(65536, 1))
                .Request(NbdCommand.Read, 0, 65536).Request(NbdCommand.Flush, 0, 0)));
            TransmissionTests.Handshaken(answers, structured);
            answers.Reply();
            Assert.Equal(structured ? 26 + 16 : 16 + 16, answers.Left);
            Assert.Equal(NbdError.Io, answers.Reply().Error);
        }
    }

    [Fact]
    public void Tokio_nbd_7_names_longer_than_255_bytes_are_served()
    {
        string name = new('n', 4096);
        using var rig = new NbdRig(new MemoryDevice(4096));
        rig.Server.Add(new NbdExport(name, new MemoryDevice(8192)));
        NbdAnswers answers = new(rig.Serve(new NbdScript().Flags().Option((uint)NbdOption.List).Go(name).ToArray()));
        answers.Greeting();
        Assert.Equal([NbdOptionReply.Server, NbdOptionReply.Server, NbdOptionReply.Ack],
            answers.OptionReplies((uint)NbdOption.List).Select(r => r.Type));
        Assert.Equal(8192ul, BinaryPrimitives.ReadUInt64BigEndian(answers.OptionReplies((uint)NbdOption.Go)[0].Data.AsSpan(2)));
    }

    [Fact]
    public void Viperblock_7_zeroes_of_less_than_4096_bytes_are_written()
    {
        var device = new MemoryDevice(4096);
        device.Bytes.AsSpan().Fill(9);
        using var rig = new NbdRig(device);
        Assert.Equal(NbdError.None, TransmissionTests.Simple(rig, s => s.Request(NbdCommand.WriteZeroes, 513, 511)).Reply().Error);
        Assert.Equal(511, device.Bytes.Count(b => b == 0));
    }

    [Fact]
    public void BUSE_28_flush_and_FUA_are_offered_and_reach_the_device()
    {
        NbdTransmissionFlags flags = s_vol.Flags(structured: false);
        Assert.True(flags.HasFlag(NbdTransmissionFlags.SendFlush) && flags.HasFlag(NbdTransmissionFlags.SendFua));
        var device = new MemoryDevice(4096);
        using var rig = new NbdRig(device);
        TransmissionTests.Simple(rig, s => s.Request(NbdCommand.Flush, 0, 0));
        Assert.Equal(["flush 0+0"], device.Calls);
    }

    [Fact]
    public void Blktap_367_bytes_that_come_one_by_one_are_put_together()
    {
        using var rig = new NbdRig(new MemoryDevice(4096));
        byte[] input = TransmissionTests.Opened(structured: true, s => s.Write(0, [1, 2, 3]).Request(NbdCommand.Read, 0, 3)).ToArray();
        NbdAnswers answers = new(rig.Serve(input, () => 1));
        TransmissionTests.Handshaken(answers, structured: true);
        answers.Reply();
        Assert.Equal([1, 2, 3], answers.Reply().Data[8..]);
    }

    private static bool Contexts(Func<NbdScript, NbdScript> options)
        => HandshakeTests.Run(options(new NbdScript().Flags().Structured())).Item1.Session!.BaseAllocation;
}
