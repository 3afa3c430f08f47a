using System.Buffers;
using System.Collections.Concurrent;
using System.Net.Sockets;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Replication;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Replication;

/// <summary>The link between two stores, over unix sockets, with the real machines at both ends.</summary>
public sealed class LinkTests : IDisposable
{
    private const int Size = 1 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-link").FullName;
    private int _sockets;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public async Task Records_arrive_in_order_and_a_connection_that_is_cut_goes_on_where_it_was()
    {
        MemoryVolume a = New(), b = New();
        Fill(a, 200, seed: 1);
        await using Link link = await LinkAsync(a, b);
        await link.UntilAsync(() => link.Primary.Durable == a.Last.Sequence, "all durable");
        long first = link.Sent;
        Fill(a, 50, seed: 2);
        await link.CutAsync();
        Fill(a, 50, seed: 3);
        await link.ConnectAsync();
        await link.UntilAsync(() => link.Primary.Durable == a.Last.Sequence, "all durable after the cut");
        Assert.Equal(a.Content, b.Content);
        Assert.Equal(a.Last, b.Last);
        Assert.True(link.Sent < first, $"{link.Sent} bytes for 100 records, {first} for 200: it began anew");
        Assert.Equal(CopyPhase.Following, b.Record.Phase);
    }

    [Fact]
    public async Task A_volume_that_exists_is_copied_without_its_holes_and_then_follows()
    {
        MemoryVolume a = New(), b = New();
        a.Write(40_960, Bytes(8192, 1));
        a.Write(Size - 4096, Bytes(4096, 2));
        a.Apply();
        a.Trim();
        await using Link link = await LinkAsync(a, b);
        await link.UntilAsync(() => link.Primary.IsReplicaWhole, "the copy is whole");
        a.Write(4096, Bytes(4096, 3));
        await link.UntilAsync(() => link.Primary.Durable == a.Last.Sequence, "the log follows");
        Assert.Equal(a.Content, b.Content);
        Assert.Equal(12_288, b.CopiedBytes);
        Assert.True(link.Sent < 20_000, $"{link.Sent} bytes");
        Assert.Equal(a.PointAt(2), b.Oldest);
    }

    [Theory]
    [InlineData(LinkCompression.Zstd)]
    [InlineData(LinkCompression.Lz4)]
    public async Task Compression_and_coalescing_save_bytes_and_the_chain_still_holds(LinkCompression compression)
    {
        MemoryVolume a = New(), b = New();
        for (int i = 0; i < 100; i++) a.Write(8192, Enumerable.Repeat((byte)(i + 1), 65_536).ToArray());
        a.Write(8192, new byte[4096], kind: LogRecordKind.Trim);
        await using Link link = await LinkAsync(a, b, new LinkOptions { Compression = compression, Coalesces = true,
            BatchBytes = 32 << 20 });
        await link.UntilAsync(() => link.Primary.Durable == 101, "all durable");
        Assert.Equal(a.Content, b.Content);
        Assert.Equal(a.Last, b.Last);
        Assert.Equal(99 * 65_536, link.Elided);
        Assert.True(link.Sent < 20_000, $"{link.Sent} bytes");
    }

    [Fact]
    public async Task A_store_that_does_not_keep_batches_whole_is_sent_every_byte()
    {
        MemoryVolume a = New(), b = new(Size, MemoryVolume.Id) { KeepsBatchesWhole = false };
        for (int i = 0; i < 10; i++) a.Write(0, Bytes(4096, i));
        await using Link link = await LinkAsync(a, b, new LinkOptions { Coalesces = true });
        await link.UntilAsync(() => link.Primary.Durable == 10, "all durable");
        Assert.Equal(0, link.Elided);
        Assert.Equal(a.Content, b.Content);
    }

    [Fact]
    public async Task A_switch_to_sync_is_proved_over_the_link_and_drained()
    {
        MemoryVolume a = New(), b = New();
        Fill(a, 20, seed: 1);
        await using Link link = await LinkAsync(a, b);
        link.Post(new ModeAsked(5, ReplicationMode.Sync));
        await link.UntilAsync(() => link.Primary.IsInSync, "in sync");
        LogPoint last = a.Write(0, Bytes(4096, 9));
        link.Post(new Appended(last.Sequence, (long)last.Sequence * 4096));
        link.Post(new LocalSynced(last.Sequence));
        await link.UntilAsync(() => link.Primary.WriteLimit == last.Sequence, "answered by both");
        link.Post(new DrainAsked(6, last, a.ContentRoot));
        await link.UntilAsync(() => link.Commands.OfType<DrainProved>().Any(d => d.Ticket == 6), "drained");
        Assert.Equal(b.ContentRoot, link.Commands.OfType<DrainProved>().Single().Proof.ContentRoot);
        Assert.True(link.Primary.RoundTrip > 0);
    }

    [Fact]
    public async Task A_replica_says_whether_it_can_have_a_size_beside_the_records_and_nobody_waits_for_one_that_is_gone()
    {
        MemoryVolume a = New(), b = New();
        b.LargestSize = 2 * Size;
        await using Link link = await LinkAsync(a, b);
        await link.UntilAsync(() => link.Primary.IsConnected, "connected");
        Assert.Null(await link.AskSizeAsync(2 * Size).WaitAsync(Patience.Time));
        Fill(a, 20, seed: 1);
        Assert.Equal($"{3 * Size} bytes are more than {2 * Size}", await link.AskSizeAsync(3 * Size).WaitAsync(Patience.Time));
        await link.UntilAsync(() => link.Primary.Durable == a.Last.Sequence, "all durable");
        await link.CutAsync();
        await Assert.ThrowsAsync<IOException>(() => link.AskSizeAsync(2 * Size).WaitAsync(Patience.Time));
        await link.ConnectAsync();
        await link.UntilAsync(() => link.Primary.IsConnected, "connected again");
        await Patience.UntilAsync(async () => await AnswerAsync() is null, () => "it does not answer");

        // Said to be open a moment before it is asked.
        async Task<string?> AnswerAsync()
        {
            try
            {
                return await link.AskSizeAsync(2 * Size).WaitAsync(Patience.Time);
            }
            catch (IOException e)
            {
                return e.Message;
            }
        }
    }

    [Fact]
    public async Task A_returned_site_moves_only_what_differs()
    {
        // Both had the same history; then B was granted and A wrote on alone.
        MemoryVolume a = New(), b = New();
        foreach (MemoryVolume volume in new[] { a, b })
        {
            Fill(volume, 30, seed: 4);
            volume.Apply();
        }

        for (int i = 0; i < 5; i++) a.Write(i * 8192, Bytes(4096, 100 + i));
        a.Apply();
        for (int i = 0; i < 7; i++) b.Write(500_000 / 4096 * 4096, Bytes(4096, 200 + i), epoch: 2);
        await using Link link = await LinkAsync(b, a, epoch: 2, follower: CopyPhase.Following);
        await link.UntilAsync(() => link.Primary.IsReplicaWhole && link.Primary.Durable == b.Last.Sequence, "A is B's replica");
        Assert.Equal(b.Content, a.Content);
        Assert.Equal((5 * 4096L, 5 * 4096L), link.Progress);
        Assert.True(link.Sent <= 1.05 * 12 * 4096, $"{link.Sent} bytes for {12 * 4096} that differ");
    }

    [Fact]
    public async Task A_tail_that_was_not_applied_is_put_aside_without_a_copy()
    {
        MemoryVolume a = New(), b = New();
        foreach (MemoryVolume volume in new[] { a, b }) Fill(volume, 30, seed: 4);
        Fill(b, 40, seed: 5);
        Fill(a, 60, seed: 6);
        await using Link link = await LinkAsync(a, b, follower: CopyPhase.Following);
        await link.UntilAsync(() => link.Primary.Durable == a.Last.Sequence, "B follows");
        Assert.Equal(30ul, Assert.Single(b.PutAside).Sequence);
        Assert.Equal(a.Content, b.Content);
        Assert.Equal(0, b.CopiedBytes);
    }

    [Fact]
    public async Task An_older_owner_is_refused_with_the_reason()
    {
        MemoryVolume a = New(), b = New();
        await using Link link = await LinkAsync(a, b, ownership: OwnershipRecord.Follower(MemoryVolume.Id) with { OwnerEpoch = 7 },
            connect: false);
        string reason = await link.RunOnceAsync();
        Assert.Contains("7 was granted since", reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bytes_of_a_stranger_end_the_connection_and_nothing_else()
    {
        MemoryVolume a = New(), b = New();
        Fill(a, 40, seed: 1);
        byte[] good = await RecordAsync(a);
        var session = Session(b, CopyPhase.Empty, OwnershipRecord.Follower(MemoryVolume.Id));
        var random = new Random(11);
        int bad = 0;
        for (int i = 0; i < 3_000; i++)
        {
            byte[] bytes = (byte[])good.Clone();
            for (int flips = random.Next(1, 4); flips > 0; flips--) bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            if (random.Next(3) == 0) bytes = bytes[..random.Next(bytes.Length)];
            if (random.Next(3) == 0) Repair(bytes);
            await session.RunAsync(new ScriptedStream(bytes), CancellationToken.None).WaitAsync(Patience.Time);
            if (session.LastFault is not null) bad++;
            Assert.True(b.Last.Sequence <= a.Last.Sequence && (b.Last.Sequence == 0 || a.PointAt(b.Last.Sequence) == b.Last),
                $"case {i}: {b.Last}");
        }

        Assert.True(bad > 2_000, $"{bad} of 3000 were noticed");
        await session.RunAsync(new ScriptedStream(good), CancellationToken.None);
        Assert.Equal(a.Content, b.Content);
    }

    [Fact]
    public async Task A_frame_that_announces_much_takes_memory_only_as_it_comes()
    {
        byte[] header = new byte[LinkFrame.HeaderLength];
        new LinkFrame(FrameKind.Batch, LinkCompression.None, LinkFrame.MaxBody, LinkFrame.MaxBody, 0).Write(header);
        long before = GC.GetTotalAllocatedBytes(true);
        await Assert.ThrowsAsync<LinkFormatException>(async () => await new LinkFrames(new ScriptedStream(header)).ReadAsync(default));
        Assert.True(GC.GetTotalAllocatedBytes(true) - before < 4 << 20);
        new LinkFrame(FrameKind.Batch, LinkCompression.Zstd, 4, LinkFrame.MaxBody, LinkChecksum.Of(new byte[4])).Write(header);
        before = GC.GetTotalAllocatedBytes(true);
        await Assert.ThrowsAsync<LinkFormatException>(async () => await new LinkFrames(new ScriptedStream([.. header, 0, 0, 0,
            0])).ReadAsync(default));
        Assert.True(GC.GetTotalAllocatedBytes(true) - before < 4 << 20);
    }

    [Fact]
    public void A_checksum_is_that_of_RFC_3720()
        => Assert.Equal(0xE3069283u, LinkChecksum.Of("123456789"u8));

    [Fact]
    public void Coalescing_keeps_what_the_batch_does_to_a_volume()
    {
        var random = new Random(3);
        for (int run = 0; run < 500; run++)
        {
            MemoryVolume whole = new(64 * 512, MemoryVolume.Id), sent = new(64 * 512, MemoryVolume.Id);
            for (int i = 0; i < 30; i++)
            {
                int from = random.Next(64), length = random.Next(1, Math.Min(9, 65 - from));
                whole.Write(from * 512, Bytes(length * 512, i + 1), kind: (LogRecordKind)random.Next(1, 4));
            }

            var batch = new RecordBatch();
            whole.Read(0, ulong.MaxValue, int.MaxValue, batch);
            long before = batch.PayloadBytes, saved = batch.Coalesce();
            Assert.Equal(before, batch.PayloadBytes + saved);
            var body = new ArrayBufferWriter<byte>();
            BatchCodec.Write(batch, 3, body);
            Assert.Equal(BatchCodec.LengthOf(batch), body.WrittenCount);
            (RecordBatch read, ulong durable) = BatchCodec.Read(body.WrittenMemory);
            Assert.Equal(3ul, durable);
            sent.Append(read, 0);
            Assert.Equal(whole.Content, sent.Content);
        }
    }

    private static MemoryVolume New() => new(Size, MemoryVolume.Id);

    private static void Fill(MemoryVolume volume, int count, int seed)
    {
        var random = new Random(seed);
        for (int i = 0; i < count; i++)
        {
            long offset = random.Next(Size / 4096) * 4096L;
            volume.Write(offset, Bytes(4096, random.Next()), kind: random.Next(10) == 0 ? LogRecordKind.Zero : LogRecordKind.Write);
        }
    }

    private static ReplicaSession Session(MemoryVolume volume, CopyPhase phase, OwnershipRecord ownership)
        => new(new ReplicaRecord(MemoryVolume.Id, phase), volume.Last, Size, volume, () => ownership, (_, _) => Task.CompletedTask,
        MemoryVolume.Chain);

    // What an owner sends to an empty replica, as bytes.
    private static async Task<byte[]> RecordAsync(MemoryVolume a)
    {
        var stream = new MemoryStream();
        var frames = new LinkFrames(stream);
        await frames.WriteAsync(FrameKind.Hello,
            LinkMessages.Write(new LinkHello(LinkHello.CurrentVersion, MemoryVolume.Id, Size, 1, a.Last.Sequence)), 0,
            default);
        await frames.WriteAsync(FrameKind.Common, LinkMessages.WriteCommon(LogPoint.Start, Size, null), 0, default);
        for (ulong sent = 0; sent < a.Last.Sequence;)
        {
            var batch = new RecordBatch();
            a.Read(sent, ulong.MaxValue, 20_000, batch);
            var body = new ArrayBufferWriter<byte>();
            BatchCodec.Write(batch, a.Last.Sequence, body);
            await frames.WriteAsync(FrameKind.Batch, body.WrittenMemory, LinkCompression.Zstd, default);
            sent = batch.Records[^1].Sequence;
        }

        return stream.ToArray();
    }

    // Makes the checksums of the frames right again, so that what is behind them is reached.
    private static void Repair(byte[] bytes)
    {
        for (int at = 0; at + LinkFrame.HeaderLength <= bytes.Length;)
        {
            int length = BitConverter.ToInt32(bytes, at + 4);
            if (length < 0 || length > bytes.Length - at - LinkFrame.HeaderLength) return;
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 12), LinkChecksum.Of(bytes.AsSpan(at + LinkFrame.HeaderLength, length)));
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 16), LinkChecksum.Of(bytes.AsSpan(at, 16)));
            at += LinkFrame.HeaderLength + length;
        }
    }

    private async Task<Link> LinkAsync(MemoryVolume owner, MemoryVolume replica, LinkOptions? options = null, ulong epoch = 1,
        CopyPhase follower = CopyPhase.Empty, OwnershipRecord? ownership = null, bool connect = true)
    {
        var link = new Link(owner, Session(replica, follower, ownership ?? OwnershipRecord.Follower(MemoryVolume.Id)), options ?? new(),
            epoch,
            () => Path.Combine(_folder, $"s{++_sockets}"));
        if (connect) await link.ConnectAsync();
        return link;
    }

    /// <summary>Reads what was recorded, and forgets what is written.</summary>
    private sealed class ScriptedStream(byte[] bytes) : MemoryStream(bytes, false)
    {
        public override bool CanWrite => true;

        public override void Write(byte[] buffer, int offset, int count)
        {
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;
    }

    /// <summary>An owner's machine, its session, and a replica's session, connected.</summary>
    private sealed class Link : IAsyncDisposable
    {
        private readonly MemoryVolume _owner;
        private readonly ReplicaSession _replica;
        private readonly OwnerSession _session;
        private readonly Func<string> _path;
        private readonly Lock _lock = new();
        private CancellationTokenSource _cut = new();
        private Task _running = Task.CompletedTask;

        public Link(MemoryVolume owner, ReplicaSession replica, LinkOptions options, ulong epoch, Func<string> path)
        {
            (_owner, _replica, _path) = (owner, replica, path);
            Primary = PrimaryMachine.Start(new(MemoryVolume.Id, epoch, ReplicationMode.Async), new(), owner.Last.Sequence,
                (long)owner.Last.Sequence * 4096, 0);
            _session = new OwnerSession(owner, owner, MemoryVolume.Id, () => epoch, Post, options);
        }

        public PrimaryState Primary { get; private set; }

        public ConcurrentQueue<PrimaryCommand> Commands { get; } = [];

        public long Sent => _session.SentBytes;

        public Task<string?> AskSizeAsync(long size) => _session.AskSizeAsync(size);

        public (long Copied, long Total) Progress => _session.Progress;

        public long Elided => _session.ElidedBytes;

        public void Post(PrimaryInput input)
        {
            lock (_lock)
            {
                if (input is LinkOpened && _owner.Last.Sequence > Primary.Last) Step(new Appended(_owner.Last.Sequence,
                    (long)_owner.Last.Sequence * 4096));
                if (input is Acked acked && acked.Received > Primary.Last) Step(new Appended(acked.Received, (long)acked.Received * 4096));
                Step(input);
            }
        }

        public async Task ConnectAsync()
        {
            _cut = new CancellationTokenSource();
            (Stream near, Stream far) = await PairAsync();
            Task replica = _replica.RunAsync(far, _cut.Token), owner = _session.RunAsync(near, _cut.Token);
            _running = Task.WhenAll(replica, owner).ContinueWith(async _ =>
            {
                await near.DisposeAsync();
                await far.DisposeAsync();
            }, TaskScheduler.Default).Unwrap();
        }

        public async Task<string> RunOnceAsync()
        {
            (Stream near, Stream far) = await PairAsync();
            await using (near)
            await using (far)
            {
                Task replica = _replica.RunAsync(far, _cut.Token);
                string reason = await _session.RunAsync(near, _cut.Token).WaitAsync(Patience.Time);
                await near.DisposeAsync();
                await replica.WaitAsync(Patience.Time);
                return reason;
            }
        }

        public async Task CutAsync()
        {
            await _cut.CancelAsync();
            await _running.WaitAsync(Patience.Time);
        }

        public Task UntilAsync(Func<bool> so, string what) => Patience.UntilAsync(so,
            () => $"{what}: {Primary.Durable} of {_owner.Last.Sequence} durable, connected {Primary.IsConnected}; replica: "
                + $"{_replica.LastFault}");

        public async ValueTask DisposeAsync()
        {
            await CutAsync();
            _cut.Dispose();
        }

        private async Task<(Stream Near, Stream Far)> PairAsync()
        {
            (Socket near, Socket far) = await UnixPair.ConnectAsync(_path());
            return (new NetworkStream(near, true), new NetworkStream(far, true));
        }

        private void Step(PrimaryInput input)
        {
            (Primary, IReadOnlyList<PrimaryCommand> commands) = PrimaryMachine.Step(Primary, input, Environment.TickCount64 * 1_000_000);
            foreach (PrimaryCommand command in commands)
            {
                Commands.Enqueue(command);
                if (command is WritePrimary) Step(new PrimarySynced());
                if (command is FlipMode) Step(new ModeFlipped(_owner.Last, _owner.ContentRoot));
                if (command is AskProof(var proof)) Assert.True(_session.AskProof(proof));
            }
        }
    }
}
