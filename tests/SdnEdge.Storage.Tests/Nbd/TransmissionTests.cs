using System.Buffers.Binary;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>Whole sessions over a transport in memory: requests against a device that succeeds, fails, waits.</summary>
public sealed class TransmissionTests
{
    private static readonly byte[] s_data = Bytes(8192, 7);

    [Fact]
    public void What_was_written_is_read_by_simple_replies()
    {
        using var rig = new NbdRig(new MemoryDevice(1 << 20));
        NbdAnswers answers = Simple(rig, script => script.Write(4096, s_data).Request(NbdCommand.Read, 4096, 8192).Disconnect());
        Assert.Equal(new NbdAnswer(1, NbdError.None, true, null, []), answers.Reply(), Same);
        Assert.Equal(s_data, answers.Reply(8192).Data);
        Assert.Equal(0, answers.Left);
    }

    [Fact]
    public void A_structured_read_is_one_chunk_with_its_offset()
    {
        using var rig = new NbdRig(new MemoryDevice(1 << 20));
        NbdAnswers answers = Structured(rig, script => script.Write(4096, s_data).Request(NbdCommand.Read, 4096, 8192));
        Assert.Null(answers.Reply().Chunk);
        NbdAnswer read = answers.Reply();
        Assert.Equal((NbdChunk.OffsetData, true, 2ul), (read.Chunk, read.IsLast, read.Cookie));
        Assert.Equal(4096ul, BinaryPrimitives.ReadUInt64BigEndian(read.Data));
        Assert.Equal(s_data, read.Data[8..]);
    }

    [Fact]
    public void Errors_of_a_structured_read_are_chunks_and_of_a_write_simple()
    {
        using var rig = new NbdRig(new MemoryDevice(1 << 20) { Fails = (_, _) => BlockResult.IoError });
        NbdAnswers answers = Structured(rig, script => script.Request(NbdCommand.Read, 0, 512).Request(NbdCommand.Read, 1 << 20, 1)
            .Write(0, s_data).Request(NbdCommand.BlockStatus, 0, 512));
        Assert.Equal((NbdChunk.Error, NbdError.Io), Kind(answers.Reply()));
        Assert.Equal((NbdChunk.Error, NbdError.Invalid), Kind(answers.Reply()));
        Assert.Equal((null, NbdError.Io), Kind(answers.Reply()));
        Assert.Equal((NbdChunk.Error, NbdError.Io), Kind(answers.Reply()));
        Assert.Equal(4, rig.Server.Counters().Errors);
    }

    [Fact]
    public void Flags_reach_the_device()
    {
        var device = new MemoryDevice(1 << 20);
        using var rig = new NbdRig(device);
        Structured(rig, script => script.Write(0, [1], NbdCommandFlags.Fua).Request(NbdCommand.Flush, 0, 0)
            .Request(NbdCommand.Trim, 0, 512, NbdCommandFlags.Fua)
            .Request(NbdCommand.WriteZeroes, 0, 512, NbdCommandFlags.NoHole | NbdCommandFlags.FastZero | NbdCommandFlags.Fua)
            .Request(NbdCommand.Cache, 0, 512));
        Assert.Equal(["write 0+1 ForceUnitAccess", "flush 0+0", "trim 0+512 ForceUnitAccess",
            "zero 0+512 ForceUnitAccess, NoHole, FastZero", "cache 0+512"], device.Calls);
    }

    [Fact]
    public void A_refused_write_is_taken_out_of_the_stream_and_the_next_request_is_answered()
    {
        using var rig = new NbdRig(new MemoryDevice(1 << 20));
        foreach (int length in new[] { 1, 5000, 100_000, 3 << 20 })
        {
            NbdAnswers answers = Simple(rig, script => script.Write((1 << 20) - 1, new byte[length + 1]).Write(0, s_data)
                .Write(8, s_data, (NbdCommandFlags)0x4000).Request(NbdCommand.Read, 0, 8192));
            Assert.Equal(NbdError.NoSpace, answers.Reply().Error);
            Assert.Equal(NbdError.None, answers.Reply().Error);
            Assert.Equal(NbdError.Invalid, answers.Reply().Error);
            Assert.Equal(s_data, answers.Reply(8192).Data);
        }
    }

    [Theory]
    [InlineData((1 << 20) + 1)]
    [InlineData((5 << 20) + 777)]
    public void Long_writes_and_reads_go_piece_by_piece(int length)
    {
        byte[] data = Bytes(length, 3);
        var device = new MemoryDevice(8 << 20);
        using var rig = new NbdRig(device);
        var random = new Random(5);
        NbdAnswers answers = new(Session(rig, structured: true, script => script.Write(100, data, NbdCommandFlags.Fua)
            .Request(NbdCommand.Read, 100, (uint)length).Request(NbdCommand.Read, 100, (uint)length, NbdCommandFlags.DontFragment),
            () => random.Next(1, 200_000)));
        Handshaken(answers, structured: true);
        Assert.Equal(NbdError.None, answers.Reply().Error);
        byte[] got = new byte[length];
        for (bool last = false; !last;)
        {
            NbdAnswer chunk = answers.Reply();
            chunk.Data.AsSpan(8).CopyTo(got.AsSpan((int)BinaryPrimitives.ReadUInt64BigEndian(chunk.Data) - 100));
            last = chunk.IsLast;
        }

        Assert.Equal(data, got);
        NbdAnswer whole = answers.Reply();
        Assert.True(whole.IsLast);
        Assert.Equal(data, whole.Data[8..]);
        Assert.Equal("flush 0+0", device.Calls.First(call => call.StartsWith("flush", StringComparison.Ordinal)));
        string[] writes = [.. device.Calls.Where(call => call.StartsWith("write", StringComparison.Ordinal))];
        Assert.True(writes.Length > 1);
        Assert.All(writes.Skip(1), call => Assert.Equal(0, int.Parse(call[6..call.IndexOf('+')]) % 4096));
        NbdAnswer simple = Simple(rig, script => script.Request(NbdCommand.Read, 100, (uint)length)).Reply(length);
        Assert.Equal(NbdError.None, simple.Error);
        Assert.Equal(data, simple.Data);
    }

    [Fact]
    public void A_failure_within_a_long_read_names_its_place_or_ends_the_connection()
    {
        var device = new MemoryDevice(8 << 20) { Fails = (call, at) => call == "read" && at >= 2 << 20 ? BlockResult.IoError : null };
        using var rig = new NbdRig(device);
        NbdAnswers answers = Structured(rig, script => script.Request(NbdCommand.Read, 0, 4 << 20).Request(NbdCommand.Flush, 0, 0));
        Assert.Equal((NbdChunk.OffsetData, NbdError.None), Kind(answers.Reply()));
        Assert.False(answers.Reply().IsLast);
        NbdAnswer error = answers.Reply();
        Assert.Equal((NbdChunk.ErrorOffset, NbdError.Io, true), (error.Chunk, error.Error, error.IsLast));
        Assert.Equal(2ul << 20, BinaryPrimitives.ReadUInt64BigEndian(error.Data.AsSpan(6)));
        Assert.Equal(NbdError.None, answers.Reply().Error);

        byte[] simple = SimpleBytes(rig, script => script.Request(NbdCommand.Read, 0, 4 << 20).Request(NbdCommand.Flush, 0, 0));
        Assert.Equal(16 + (2 << 20), simple.Length);
        Assert.Contains(rig.Reports, report => report.Contains("closed in a read", StringComparison.Ordinal));
    }

    [Fact]
    public void An_exception_of_a_device_is_EIO_and_the_connection_goes_on()
    {
        var device = new MemoryDevice(1 << 20)
        {
            Fails = (call, _) => call == "flush" ? null : throw new InvalidOperationException("a bug"),
        };
        using var rig = new NbdRig(device);
        NbdAnswers answers = Structured(rig, script => script.Write(0, s_data).Request(NbdCommand.Read, 0, 1).Request(NbdCommand.Trim, 0, 1)
            .Request(NbdCommand.BlockStatus, 0, 1).Request(NbdCommand.Flush, 0, 0));
        for (int i = 0; i < 4; i++) Assert.Equal(NbdError.Io, answers.Reply().Error);
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal(4, rig.Server.Counters().DeviceFaults);
        Assert.Equal(4, rig.Reports.Count(report => report.Contains("a bug", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Requests_that_wait_are_answered_when_they_finish_and_others_meanwhile()
    {
        var device = new MemoryDevice(1 << 20) { Waits = call => call is "write" or "read" };
        using var rig = new NbdRig(device);
        Task<byte[]> session = Task.Run(() => Session(rig, structured: true, script =>
        {
            for (int i = 0; i < 20; i++) script.Write((ulong)(i * 8192), Bytes(8192, i));
            script.Request(NbdCommand.Flush, 0, 0);
            for (int i = 0; i < 20; i++) script.Request(NbdCommand.Read, (ulong)(i * 8192), 8192);
        }));
        await Patience.UntilAsync(() => device.Waiting == 40, () => $"{device.Waiting} of 40 wait");
        device.Release(reversed: false);
        NbdAnswers answers = new(await session.WaitAsync(Patience.Time));
        Handshaken(answers, structured: true);
        Assert.Equal(21ul, answers.Reply().Cookie);
        HashSet<ulong> cookies = [];
        for (int i = 0; i < 40; i++)
        {
            NbdAnswer answer = answers.Reply();
            Assert.True(cookies.Add(answer.Cookie));
            Assert.Equal(NbdError.None, answer.Error);
            if (answer.Cookie > 21) Assert.Equal(Bytes(8192, (int)answer.Cookie - 22), answer.Data[8..]);
        }

        Assert.Equal(0, answers.Left);
        Assert.Equal(0, rig.Server.BuffersTaken);
    }

    [Fact]
    public async Task A_client_that_goes_cancels_what_waits_and_nothing_is_left()
    {
        var device = new MemoryDevice(1 << 20) { Waits = call => call is "write" or "read" };
        using var rig = new NbdRig(device);
        byte[] input = Opened(structured: false, script => script.Write(0, s_data).Request(NbdCommand.Read, 0, 100)).ToArray();
        var gone = new ScriptedTransport(input);
        gone.ShutDown(receiveOnly: false);
        await Task.Run(() => rig.Serve(gone)).WaitAsync(Patience.Time);
        Assert.Equal(2, device.Calls.Count);
        Assert.Equal(0, rig.Server.BuffersTaken);
        Assert.Empty(rig.Server.Connections);
        Assert.True(gone.IsDisposed);
        Assert.Equal(0, rig.Server.Counters().DeviceFaults);
    }

    [Fact]
    public async Task No_more_requests_are_taken_than_may_be_in_flight()
    {
        var device = new MemoryDevice(1 << 20) { Waits = call => call == "write" };
        using var rig = new NbdRig(device, options => options with { MaximumInFlight = 8 });
        Task<byte[]> session = Task.Run(() => Session(rig, structured: false, script =>
        {
            for (int i = 0; i < 100; i++) script.Write(0, s_data);
        }));
        int most = 0, done = 0;
        while (done < 100)
        {
            await Patience.UntilAsync(() => device.Waiting > 0, () => $"{done} done, none waits");
            most = Math.Max(most, device.Waiting);
            done += device.Release();
        }

        Assert.InRange(most, 1, 8);
        NbdAnswers answers = new(await session.WaitAsync(Patience.Time));
        Handshaken(answers, structured: false);
        for (int i = 0; i < 100; i++) Assert.Equal(NbdError.None, answers.Reply().Error);
    }

    [Fact]
    public void Block_status_is_cut_to_what_a_chunk_can_say()
    {
        var device = new MemoryDevice(4096)
        {
            Size = 20L << 30,
            Map = [new(1L << 20, false, false), new(10L << 30, true, true), new(9, false, false)],
        };
        using var rig = new NbdRig(device);
        NbdAnswers answers = Structured(rig, script => script.Request(NbdCommand.BlockStatus, 0, 2 << 20)
            .Request(NbdCommand.BlockStatus, 0, 4096, NbdCommandFlags.RequestOne));
        byte[] data = answers.Reply().Data;
        Assert.Equal([1u, 1u << 20, 0, uint.MaxValue, 3], Words(data));
        Assert.Equal([1u, 4096, 0], Words(answers.Reply().Data));
    }

    [Fact]
    public void A_device_without_extents_is_at_fault()
    {
        using var rig = new NbdRig(new MemoryDevice(4096) { Map = [] });
        Assert.Equal((NbdChunk.Error, NbdError.Io), Kind(Structured(rig, s => s.Request(NbdCommand.BlockStatus, 0, 1)).Reply()));
        Assert.Equal(1, rig.Server.Counters().DeviceFaults);
    }

    [Fact]
    public void Disconnect_ends_at_once_and_what_follows_is_not_read()
    {
        var device = new MemoryDevice(4096);
        using var rig = new NbdRig(device);
        NbdAnswers answers = Simple(rig, script => script.Request(NbdCommand.Flush, 0, 0).Disconnect().Write(0, [1]));
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal(0, answers.Left);
        Assert.Equal(["flush 0+0"], device.Calls);
    }

    [Fact]
    public void Any_split_of_the_bytes_gives_the_same_replies()
    {
        byte[] input = Opened(structured: true, script =>
        {
            for (int i = 0; i < 30; i++) script.Write((ulong)(i * 3000), Bytes(i * 1500 + 1, i)).Request(NbdCommand.Read, 0, 4000);
        }).ToArray();
        byte[]? first = null;
        var random = new Random(4);
        foreach (Func<int> cuts in new Func<int>[] { () => int.MaxValue, () => 1, () => random.Next(1, 29), () => random.Next(1, 9000) })
        {
            using var rig = new NbdRig(new MemoryDevice(1 << 20));
            byte[] output = rig.Serve(input, cuts);
            first ??= output;
            Assert.Equal(first, output);
        }
    }

    [Fact]
    public void Each_connection_may_have_its_own_view_of_a_device()
    {
        var shared = new MemoryDevice(4096);
        using var rig = new NbdRig(shared);
        List<NbdClient> opened = [];
        rig.Server.Add(new NbdExport("own", shared)
        {
            Open = client =>
            {
                opened.Add(client);
                return new MemoryDevice(4096) { Fails = (_, _) => BlockResult.NotPermitted };
            },
        });
        NbdAnswers answers = new(rig.Serve(new NbdScript().Flags().Go("own").Write(0, [1]).ToArray()));
        Handshaken(answers, structured: false);
        Assert.Equal(NbdError.NotPermitted, answers.Reply().Error);
        Assert.Single(opened);
        Assert.Empty(shared.Calls);
    }

    private static (NbdChunk?, NbdError) Kind(NbdAnswer answer) => (answer.Chunk, answer.Error);

    private static bool Same(NbdAnswer a, NbdAnswer b)
        => (a.Cookie, a.Error, a.IsLast, a.Chunk) == (b.Cookie, b.Error, b.IsLast, b.Chunk) && a.Data.AsSpan().SequenceEqual(b.Data);

    private static uint[] Words(byte[] data)
        => [.. Enumerable.Range(0, data.Length / 4).Select(i => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(4 * i)))];

    internal static NbdScript Opened(bool structured, Action<NbdScript> requests) => NbdScript.Opened(structured, requests);

    internal static byte[] Session(NbdRig rig, bool structured, Action<NbdScript> requests, Func<int>? cuts = null)
        => rig.Serve(Opened(structured, requests).ToArray(), cuts);

    internal static void Handshaken(NbdAnswers answers, bool structured)
    {
        answers.Greeting();
        if (structured)
        {
            answers.OptionReplies((uint)NbdOption.StructuredReply);
            answers.OptionReplies((uint)NbdOption.SetMetaContext);
        }

        Assert.Equal(NbdOptionReply.Ack, answers.OptionReplies((uint)NbdOption.Go)[^1].Type);
    }

    internal static NbdAnswers Simple(NbdRig rig, Action<NbdScript> requests) => new(SimpleBytes(rig, requests));

    internal static NbdAnswers Structured(NbdRig rig, Action<NbdScript> requests)
    {
        NbdAnswers answers = new(Session(rig, structured: true, requests));
        Handshaken(answers, structured: true);
        return answers;
    }

    private static byte[] SimpleBytes(NbdRig rig, Action<NbdScript> requests)
    {
        NbdAnswers answers = new(Session(rig, structured: false, requests));
        Handshaken(answers, structured: false);
        return answers.Take(answers.Left).ToArray();
    }
}
