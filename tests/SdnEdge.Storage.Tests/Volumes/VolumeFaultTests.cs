using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>Disks that are full or fail below a volume, and replicas that stay behind.</summary>
public sealed class VolumeFaultTests : IDisposable
{
    private const int Size = 1 << 20;

    private readonly CrashDisk _disk = new(1);
    private readonly List<VolumeEvent> _events = [];
    private readonly byte[] _state = new byte[Size];
    private readonly Random _random = new(1);
    private Volume _volume;

    public VolumeFaultTests()
    {
        _volume = Volume.Create(_disk, Image(), Metadata, Options(null), out _)!;
        _volume.Happened += _events.Add;
    }

    public void Dispose() => _volume.Dispose();

    private static VolumeMetadata Metadata => new() { Name = "v", Identity = new Guid("8e0d6c1e-0000-4000-8000-000000000001"),
        Size = Size };

    private static VolumeOptions Options(IAckGate? gate) => new()
    {
        Background = false,
        Gate = gate,
        Log = new VolumeLogOptions { SegmentSize = 64 << 10, MaxSegments = 4, Background = false },
    };

    private Volume.Parts Image() => new(_disk.Open("image", Size, out _)!);

    [Fact]
    public async Task A_full_disk_below_the_log_is_ENOSPC_to_the_guest_and_named_once_and_goes_on_when_there_is_room()
    {
        _disk.FailingName = "log/0002";
        _disk.FailingError = CrashDisk.NoSpace;
        _volume.Log.PrepareSegment();
        BlockResult result;
        int written = 0;
        while ((result = await WriteAsync()) == BlockResult.Ok) written++;
        Assert.Equal(BlockResult.NoSpace, result);
        Assert.InRange(written, 1, 20);
        Assert.Equal(BlockResult.NoSpace, await WriteAsync());
        var told = Assert.Single(_events);
        Assert.Equal((VolumeEventKind.LogFailed, "log/0002", CrashDisk.NoSpace), (told.Kind, told.Subject, told.Error));
        Assert.Contains("log/0002", told.Message, StringComparison.Ordinal);
        await AssertContentAsync();

        _disk.FailingName = null;
        _volume.Log.PrepareSegment();
        Assert.Equal(BlockResult.Ok, await WriteAsync());
        Assert.Equal(BlockResult.Ok, await _volume.FlushAsync(default));
        await AssertContentAsync();
    }

    [Fact]
    public async Task An_image_that_fails_is_named_and_loses_nothing_and_a_log_that_is_full_meanwhile_refuses_writes()
    {
        _disk.FailingName = "image";
        BlockResult result = BlockResult.Ok;
        for (int i = 0; i < 200 && result == BlockResult.Ok; i++)
        {
            result = await WriteAsync();
            _volume.Log.Commit();
            _volume.Log.PrepareSegment();
            Assert.False(_volume.ApplyOnce());
        }

        Assert.Equal(BlockResult.IoError, result);
        var told = Assert.Single(_events);
        Assert.Equal((VolumeEventKind.ImageFailed, "image"), (told.Kind, told.Subject));
        await AssertContentAsync();

        _disk.FailingName = null;
        Pump();
        Assert.Equal([VolumeEventKind.ImageFailed, VolumeEventKind.Recovered], _events.Select(happened => happened.Kind));
        Assert.Equal(BlockResult.Ok, await WriteAsync());
        await AssertContentAsync();
        Assert.True(_volume.Check(default).IsGood);
    }

    [Fact]
    public async Task What_a_sync_of_the_image_may_have_lost_is_applied_again_from_the_log()
    {
        for (int i = 0; i < 10; i++) await WriteAsync();
        _volume.Log.Commit();
        while (_volume.ApplyOnce())
        {
        }

        _disk.FailingName = "image";
        _disk.FailsOnlySync = true;
        Assert.Equal(CrashDisk.IoError, _volume.Checkpoint());

        // As the kernel does after a failed writeback: what could not be written is forgotten.
        _disk.FailingName = null;
        _disk.File("image").Rot(0, new byte[Size]);
        await AssertContentAsync();
        Pump();
        Assert.Equal(_state, _disk.File("image").Snapshot());
        Assert.True(_volume.Check(default).IsGood);
    }

    [Fact]
    public async Task A_log_that_cannot_be_synced_refuses_everything_until_it_is_opened_again_and_keeps_what_was_durable()
    {
        await WriteAsync();
        Assert.Equal(BlockResult.Ok, await _volume.FlushAsync(default));
        _disk.FailingName = "log/0001";
        _disk.FailsOnlySync = true;
        Assert.Equal(BlockResult.Ok, await WriteAsync());
        Assert.Equal(BlockResult.IoError, await _volume.FlushAsync(default));
        _disk.FailingName = null;
        Assert.Equal(BlockResult.IoError, await _volume.WriteAsync(0, new byte[4096], BlockFlags.None, default));
        Assert.Equal(BlockResult.IoError, await _volume.FlushAsync(default));
        Assert.Equal((VolumeEventKind.LogEnded, "log/0001"), (Assert.Single(_events).Kind, _events[0].Subject));

        _volume.Dispose();
        _volume = Volume.Open(_disk, Image(), Metadata, Options(null), out _, out _)!;
        await AssertContentAsync();
        Assert.Equal(BlockResult.Ok, await WriteAsync());
        Assert.Equal(BlockResult.Ok, await _volume.FlushAsync(default));
    }

    [Fact]
    public async Task A_replica_that_stays_behind_is_named_and_writes_wait_for_it_or_for_its_removal()
    {
        Assert.True(_volume.SetReplica("site-b", 0));
        var parked = await FillAsync();
        Assert.Equal((VolumeEventKind.RetentionExceeded, "site-b"), (Assert.Single(_events).Kind, _events[0].Subject));
        Pump();
        Assert.False(parked.IsCompleted);
        Assert.Single(_events);

        Assert.True(_volume.SetReplica("site-b", _volume.Log.LastSequence));
        Pump();
        Assert.Equal(BlockResult.Ok, await parked);

        parked = await FillAsync();
        _volume.RemoveReplica("site-b");
        Pump();
        Assert.Equal(BlockResult.Ok, await parked);
        Assert.Equal(2, _events.Count);
        await AssertContentAsync();
    }

    [Fact]
    public async Task What_replicas_have_acknowledged_survives_and_keeps_their_records()
    {
        Assert.True(_volume.SetReplica("site-b", 0));
        for (int i = 0; i < 30; i++)
        {
            await WriteAsync();
            Pump();
        }

        _volume.Dispose();
        _volume = Volume.Open(_disk, Image(), Metadata, Options(null), out _, out _)!;
        Assert.Equal(0ul, _volume.Replicas["site-b"]);
        Assert.Equal(1ul, _volume.Log.FirstSequence);
        _volume.RemoveReplica("site-b");
        Pump();
        Assert.True(_volume.Log.FirstSequence > 1);
        for (int i = 0; i < Superblock.MaxReplicas; i++) Assert.True(_volume.SetReplica($"r{i}", 0));
        Assert.False(_volume.SetReplica("one-too-many", 0));
    }

    [Fact]
    public async Task A_block_that_changed_on_the_disk_is_found_by_its_number()
    {
        Assert.True(_volume.SetReplica("keeps-the-log", 0));
        for (int i = 0; i < 20; i++)
        {
            Pump();
            await WriteAsync();
        }

        Assert.True(_volume.Check(default).IsGood);
        _disk.File("image").Rot((37 * 4096) + 5, [(byte)(_disk.File("image").Snapshot()[(37 * 4096) + 5] ^ 1)]);
        _disk.File("image").Rot(200 * 4096, [(byte)(_disk.File("image").Snapshot()[200 * 4096] ^ 0x80)]);
        var check = _volume.Check(default);
        Assert.False(check.IsGood);
        Assert.Equal([37, 200], check.BadBlocks);
        Assert.NotEqual(check.Proof.Root, check.Root);

        _disk.File("log/0001").Rot(SegmentHeader.Bytes + 100, [0x55, 0x66, 0x77]);
        Assert.Contains("record 1 ", _volume.Check(default).LogDamage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_gate_decides_under_the_lock_when_a_request_is_answered()
    {
        var gate = new Gate();
        using var volume = Volume.Create(new CrashDisk(2), new Volume.Parts(new CrashDisk(3).Open("image", Size, out _)!), Metadata,
            Options(gate), out _)!;
        Assert.Equal(BlockResult.Ok, await volume.WriteAsync(0, new byte[4096], BlockFlags.None, default));
        Assert.Equal(0ul, volume.Log.DurableSequence);

        // From the record after this one on: everything waits for the replica.
        volume.WithSequenceLock(_ => gate.Rule = AckRule.ReplicaDurable);
        var waiting = volume.WriteAsync(0, new byte[4096], BlockFlags.None, default).AsTask();
        Assert.False(waiting.IsCompleted);
        Assert.Equal(0ul, volume.Log.DurableSequence);
        gate.Acknowledge(2);
        Assert.Equal(BlockResult.Ok, await waiting);

        volume.WithSequenceLock(_ => gate.Rule = AckRule.ReplicaDurable | AckRule.LocallyDurable);
        var flush = volume.FlushAsync(default).AsTask();
        Assert.False(flush.IsCompleted);
        Assert.Equal(3ul, volume.Log.DurableSequence);
        gate.Acknowledge(3);
        Assert.Equal(BlockResult.Ok, await flush);
        Assert.Equal([(1ul, false), (2ul, false), (3ul, true)], gate.Asked);
    }

    [Fact]
    public async Task Another_volume_of_the_same_identity_that_gets_every_record_has_the_same_proof()
    {
        using var copy = Volume.Create(new CrashDisk(4), new Volume.Parts(new CrashDisk(5).Open("image", Size, out _)!), Metadata,
            Options(null), out _)!;
        for (int i = 0; i < 5; i++) await WriteAsync();
        Assert.Equal(AppendStatus.Appended, _volume.BeginEpoch(7, out _));
        Assert.Equal(AppendStatus.Appended, _volume.Mark(new MarkText("before lunch", null, default), out var mark));
        Assert.Equal((LogRecordKind.Mark, 7ul), (mark.Kind, mark.Epoch));
        await WriteAsync();
        await _volume.TrimAsync(512, 8192, BlockFlags.None, default);
        await _volume.FlushAsync(default);
        Assert.Throws<ArgumentOutOfRangeException>(() => _volume.BeginEpoch(7, out _));

        byte[] buffer = new byte[_volume.Log.BatchSize];
        List<LogEntry> entries = [];
        LogCursor cursor = default;
        for (ulong next = 1; _volume.Log.Read(next, ulong.MaxValue, ref cursor, buffer, entries) == LogReadStatus.Read;)
        {
            foreach (var entry in entries)
            {
                var payload = buffer.AsSpan(entry.PayloadAt, (int)entry.Record.PayloadLength);
                Assert.Equal(AppendStatus.Appended, copy.AppendReplicated(entry.Record, payload));
                Assert.Equal(AppendStatus.OutOfOrder, copy.AppendReplicated(entry.Record, payload));
                next = entry.Record.Sequence + 1;
            }
        }

        var proof = _volume.Drain(ulong.MaxValue, out _)!.Value;
        Assert.Equal(proof, copy.Drain(ulong.MaxValue, out _));
        Assert.Equal((7ul, 10ul), (proof.Epoch, proof.Sequence));
        await copy.WriteAsync(0, new byte[] { 1, 2, 3, 4 }.Concat(new byte[508]).ToArray(), BlockFlags.None, default);
        Assert.NotEqual(proof.Root, copy.Drain(ulong.MaxValue, out _)!.Value.Root);
    }

    private sealed class Gate : IAckGate
    {
        private readonly Dictionary<ulong, TaskCompletionSource<BlockResult>> _waiting = [];

        public AckRule Rule { get; set; }

        public List<(ulong Sequence, bool Durable)> Asked { get; } = [];

        public AckRule RuleFor(in LogRecord record, bool durable)
        {
            Asked.Add((record.Sequence, durable));
            return Rule;
        }

        public ValueTask<BlockResult> ReplicaDurableAsync(ulong sequence, CancellationToken cancel)
        {
            _waiting[sequence] = new TaskCompletionSource<BlockResult>();
            return new(_waiting[sequence].Task);
        }

        public void Acknowledge(ulong sequence) => _waiting[sequence].SetResult(BlockResult.Ok);
    }

    private async Task<Task<BlockResult>> FillAsync()
    {
        for (int i = 0; i < 500; i++)
        {
            var write = WriteAsync();
            for (int attempt = 0; attempt < 3 && !write.IsCompleted; attempt++) Pump();
            if (_volume.Log.IsFull && !write.IsCompleted) return write;
            Assert.Equal(BlockResult.Ok, await write);
        }

        throw new InvalidOperationException("the log is never full");
    }

    private void Pump() => CrashVolume.Pump(_volume);

    private async Task<BlockResult> WriteAsync()
    {
        byte[] bytes = new byte[4096];
        _random.NextBytes(bytes);
        int offset = 4096 * _random.Next(Size / 4096);
        var result = await _volume.WriteAsync(offset, bytes, BlockFlags.None, default);
        if (result == BlockResult.Ok) bytes.CopyTo(_state, offset);
        return result;
    }

    private async Task AssertContentAsync()
    {
        byte[] bytes = new byte[Size];
        Assert.Equal(BlockResult.Ok, await _volume.ReadAsync(0, bytes, default));
        Assert.Equal(_state, bytes);
    }
}
