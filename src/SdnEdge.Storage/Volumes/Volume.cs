using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>How a volume works.</summary>
public sealed record VolumeOptions
{
    /// <summary>Its log.</summary>
    public VolumeLogOptions Log { get; init; } = new();

    /// <summary>True: a thread applies. False: the owner calls <see cref="Volume.ApplyOnce"/> and <see
    /// cref="Volume.Checkpoint"/>.</summary>
    public bool Background { get; init; } = true;

    /// <summary>The applier looks at the log at least this often.</summary>
    public TimeSpan ApplyEvery { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>It also begins when so many bytes have been appended.</summary>
    public long ApplyAtBytes { get; init; } = 8 << 20;

    /// <summary>What is applied is made durable after so many bytes; before that only when nothing else is to do.</summary>
    public long CheckpointBytes { get; init; } = 64 << 20;

    /// <summary>The most blocks of 4096 bytes that may be newer in the log than in the image: about 100 bytes of memory each.</summary>
    public int MaxPendingBlocks { get; init; } = 1 << 18;

    /// <summary>The background check reads 2 MiB of the image, then pauses so long; <see cref="Timeout.InfiniteTimeSpan"/>: there is
    /// none.</summary>
    public TimeSpan VerifyEvery { get; init; } = TimeSpan.FromMilliseconds(250);
    /// <summary>True: nothing is brought into the image that is not there before <see cref="Volume.ApplyLimit"/> is set: of a copy, what
    /// its owner may have lost meanwhile can be cut off its log, and not out of its image.</summary>
    public bool HoldsBack { get; init; }

    /// <summary>When requests may be answered; null: by local durability alone.</summary>
    public IAckGate? Gate { get; init; }
}

/// <summary>
/// A volume: log first, applied lazily to an image (a raw file or a block device).
/// </summary>
/// <remarks>
/// <para><b>Write.</b> 1. Under the sequence lock the record is appended, with one write to the kernel, and the index notes where the
/// newest bytes of its blocks are. 2. It is answered, like a disk with a write cache; with FUA after a barrier record is durable. A request
/// that finds no room in log or index is parked and carried out in its turn.</para>
/// <para><b>Read.</b> What the index names comes from the log, the rest from the image.</para>
/// <para><b>Flush.</b> A barrier record, then one commit for all who wait.</para>
/// <para><b>Apply.</b> Only records that are durable in the log go to the image, in order; a block that a later record of the same batch
/// replaces whole is left out. The hash tree follows. <b>Checkpoint:</b> 1. sync the image, 2. sync the hash tree, 3. write the superblock:
/// applied is durable, 4. segments that are applied and acknowledged by every replica are free.</para>
/// <para><b>Invariant.</b> The image on the disk, with every durable record after the superblock's <i>applied</i> written over it in
/// order, is the state after the last durable record. Nothing that is not durable in the log is ever in the image. So after any crash the
/// volume is a prefix of its writes, and has everything that was answered as durable.</para>
/// <para><b>Size.</b> A record of the log makes it larger (Volume.Size.cs).</para>
/// <para><b>Locks</b>, in this order: the apply lock (apply, checkpoint, check), the log's commit lock, the sequence lock.</para>
/// </remarks>
public sealed partial class Volume : ICommittingDevice, IDisposable
{
    private const int Block = ContentRoot.BlockSize;

    private readonly VolumeLog _log;
    private readonly VolumeOptions _options;
    private readonly VolumeMetadata _metadata;
    private readonly IStoreFile _image, _superFile, _treeFile;
    private readonly HashTree _tree;
    private readonly PointSet _points;
    private readonly PendingIndex _index;
    private readonly ulong _key;
    private readonly Dictionary<string, ulong> _replicas = new(StringComparer.Ordinal);
    private Superblock _super;
    private IDisposable? _held;
    private bool _disposed;

    private Volume(Parts parts, VolumeMetadata metadata, VolumeOptions options, VolumeLog log, PendingIndex index, Superblock super,
        PointSet points, SizeHistory sizes)
    {
        _points = points;
        _sizes = sizes;
        _size = sizes.Last;
        _appliedSize = super.SizeOf(metadata);
        _log = log;
        _options = options;
        _metadata = metadata;
        _index = index;
        _super = super;
        (_image, _superFile, _treeFile) = (parts.Image, parts.Superblock!, parts.Tree!);
        _key = ContentRoot.KeyOf(metadata.Identity);
        _tree = new HashTree(_treeFile, new ContentTreeShape(_appliedSize));
        _tree.Begin(super.Root);
        (_applied, _appliedChain, _appliedEpoch) = (super.Applied, super.Chain, super.Epoch);
        if (options.HoldsBack) _applyLimit = super.Applied;
        foreach ((string name, ulong sequence) in super.Replicas) _replicas[name] = sequence;
        _applyBuffer = new byte[log.BatchSize];
        if (log.LastSequence > _applied || super.IsCopying) BeginRedo();
        log.SegmentReady += Unpark;
        log.Committed += OnCommitted;
        if (!options.Background) return;
        _applier = new Thread(ApplyLoop) { IsBackground = true, Name = "volume apply" };
        _applier.Start();
    }

    internal sealed class Parts(IStoreFile image) : IDisposable
    {
        public IStoreFile Image { get; } = image;

        public IStoreFile? Superblock { get; set; }

        public IStoreFile? Tree { get; set; }

        public void Dispose()
        {
            Image.Dispose();
            Superblock?.Dispose();
            Tree?.Dispose();
        }
    }

    /// <summary>What happened that an operator has to know. It may be raised under the apply lock: the handler must neither wait nor call
    /// the volume.</summary>
    public event Action<VolumeEvent>? Happened;

    /// <summary>What had to be told when it was opened, before anybody could hear it.</summary>
    public IReadOnlyList<VolumeEvent> Found { get; private init; } = [];

    /// <summary>What it is.</summary>
    public VolumeMetadata Metadata => _metadata;

    /// <inheritdoc/>
    public int MinimumBlock => 512;

    /// <inheritdoc/>
    public BlockFeatures Features => BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.Trim | BlockFeatures.WriteZeroes
        | BlockFeatures.FastZero | BlockFeatures.MultiConnection | BlockFeatures.Cache;

    /// <summary>Its log, for replication to read. Records are appended by the volume alone.</summary>
    public VolumeLog Log => _log;

    /// <summary>Every record up to this sequence is in the image, if not durably.</summary>
    public ulong AppliedSequence => Volatile.Read(ref _applied);

    /// <summary>Every record up to this sequence is in the image, durably.</summary>
    public ulong CheckpointedSequence => _super.Applied;

    /// <summary>Blocks that were not written to the image because a later record of the same batch replaced them.</summary>
    public long CoalescedBlocks { get; private set; }

    /// <summary>Requests that had to wait for room, since the volume was opened.</summary>
    public long ParkedRequests { get; private set; }

    /// <summary>Makes a volume in an empty folder. The image is there, of the volume's size; what it contains is the volume's
    /// content.</summary>
    /// <param name="folder">For everything but the image.</param>
    /// <param name="parts">The image; closed with the volume, or when this fails.</param>
    /// <param name="metadata">What it is.</param>
    /// <param name="options">How it works.</param>
    /// <param name="error">The error number when the answer is null.</param>
    internal static Volume? Create(IStoreFolder folder, Parts parts, VolumeMetadata metadata, VolumeOptions options, out int error)
    {
        if (!OpenParts(folder, parts, metadata, make: true, out error))
        {
            parts.Dispose();
            return null;
        }

        // The content that the image has already: hashed once, then kept up. It is the first point of the history: two copies with other
        // contents have none in common.
        var tree = new HashTree(parts.Tree!, new ContentTreeShape(metadata.Size));
        error = HashImage(parts.Image, tree, ContentRoot.KeyOf(metadata.Identity), 0, metadata.Size);
        if (error == 0) error = tree.Checkpoint();
        LogPoint? at = tree.Root == 0 ? null : ImportedAs(metadata.Identity, metadata.Epoch, tree.Root);
        var log = error == 0 ? VolumeLog.Create(folder, options.Log, metadata.Identity, metadata.Epoch, out error, at) : null;
        if (log is null)
        {
            parts.Dispose();
            return null;
        }

        var super = new Superblock(1, log.LastSequence, tree.Root, log.Chain, metadata.Epoch,
            new Dictionary<string, ulong>(StringComparer.Ordinal));
        error = super.Write(parts.Superblock!, metadata.Identity);
        if (error == 0) return new Volume(parts, metadata, options, log, new PendingIndex(options.MaxPendingBlocks), super,
            new PointSet(folder, parts.Image, metadata.Identity), new SizeHistory(metadata.Size, []));
        log.Dispose();
        parts.Dispose();
        return null;
    }

    /// <summary>The point with which the history of a volume begins that had contents when it was made: sequence 1, as if one record had
    /// written them all.</summary>
    /// <param name="identity">The volume's identity.</param>
    /// <param name="epoch">The epoch that it is made in.</param>
    /// <param name="root">The content root of the contents.</param>
    internal static LogPoint ImportedAs(Guid identity, ulong epoch, ulong root)
        => new(1, epoch,
            LogRecordCodec.NextChain(LogRecordCodec.BeginChain(identity) ^ root, new LogRecord(1, epoch, default, 0, 0, 0, 0)));

    /// <summary>Opens a volume: its superblock, then its log. What the image does not have yet is read from the log meanwhile.</summary>
    /// <param name="folder">As it was made.</param>
    /// <param name="parts">The image; closed with the volume, or when this fails.</param>
    /// <param name="metadata">What it is.</param>
    /// <param name="options">How it works.</param>
    /// <param name="recovery">What was found in the log; null when it was not read.</param>
    /// <param name="error">The error number when the answer is null because a disk failed.</param>
    internal static Volume? Open(IStoreFolder folder, Parts parts, VolumeMetadata metadata, VolumeOptions options,
        out LogRecovery? recovery, out int error)
    {
        recovery = null;
        Superblock? super = null;
        if (OpenParts(folder, parts, metadata, make: false, out error)) super = Superblock.Read(parts.Superblock!, metadata.Identity,
            out error);
        if (super is not null)
        {
            var index = new PendingIndex(options.MaxPendingBlocks);
            var sizes = new SizeHistory(super.SizeOf(metadata), super.Grown);
            var log = VolumeLog.Open(folder, options.Log, metadata.Identity, new VolumeLog.Floor(super.Applied, super.LogSalt),
                (record, position) =>
                {
                    sizes.Note(record);
                    Note(index, record, position);
                }, out recovery, out error);
            if (log is not null && parts.Image.Length < sizes.Last)
            {
                recovery = recovery with
                {
                    Damage = [new LogDamage(parts.Image.Name, parts.Image.Length, log.LastSequence, "@image",
                        $"the image ends here, and the volume has {sizes.Last} bytes")],
                };
                log.Dispose();
            }
            else if (log is not null)
            {
                var points = new PointSet(folder, parts.Image, metadata.Identity);
                List<VolumeEvent> lost = [];
                error = points.Open(metadata.Size, (file, what) => lost.Add(new VolumeEvent(VolumeEventKind.PointLost, file, 0, what)));
                if (error == 0) return new Volume(parts, metadata, options, log, index, super, points, sizes) { Found = lost };
                log.Dispose();
            }
        }
        else if (error == 0)
        {
            recovery = new LogRecovery(0, 0, 0, 0, 0, 0, [new LogDamage("superblock", 0, 0, "@superblock", "neither slot is whole")]);
        }

        parts.Dispose();
        return null;
    }

    private static bool OpenParts(IStoreFolder folder, Parts parts, VolumeMetadata metadata, bool make, out int error)
    {
        parts.Superblock = folder.Open("superblock", make ? Superblock.Slot * Superblock.Slots : -1, out error);
        if (parts.Superblock is null) return false;
        var shape = new ContentTreeShape(metadata.Size);
        parts.Tree = folder.Open("hashes", make ? shape.Pages * ContentTreeShape.PageSize : -1, out error);
        return parts.Tree is not null;
    }

    private static void Note(PendingIndex index, in LogRecord record, long position)
    {
        switch (record.Kind)
        {
            case LogRecordKind.Write:
                index.Add(record.Sequence, record.Offset, record.Length, position);
                break;
            case LogRecordKind.Zero or LogRecordKind.Trim:
                index.Add(record.Sequence, record.Offset, record.Length, -1);
                break;
            case LogRecordKind.Mark or LogRecordKind.Size:
                index.AddStop(record.Sequence);
                break;
            default:
                break;
        }
    }

    private static int HashImage(IStoreFile image, HashTree tree, ulong key, long from, long size)
    {
        byte[] bytes = new byte[1 << 20];
        for (long at = from; ;)
        {
            at = image.NextData(at);
            if (at >= size) return 0;
            at = at / Block * Block;
            long end = Math.Min(size, image.NextHole(at));
            while (at < end)
            {
                int length = (int)Math.Min(bytes.Length, size - at);
                int error = image.Read(at, bytes.AsSpan(0, length));
                if (error != 0) return error;
                for (int i = 0; i < length; i += Block)
                    tree.Set((at + i) / Block, ContentRoot.HashOf(key, (at + i) / Block, bytes.AsSpan(i, Math.Min(Block, length - i))));
                at += length;
            }
        }
    }

    /// <summary>Runs something under the lock that gives out sequences: a mode that is switched so holds from one sequence on.</summary>
    /// <param name="action">Gets the newest sequence. It must be short, and must not call the volume.</param>
    public void WithSequenceLock(Action<ulong> action)
    {
        ArgumentNullException.ThrowIfNull(action);
        lock (_log.Gate) action(_log.LastSequence);
    }

    private void Tell(VolumeEventKind kind, string subject, int error, string message) =>
        Happened?.Invoke(new VolumeEvent(kind, subject, error, message));

    /// <summary>Ends the volume: parked requests are answered that the server ends, the log is made durable.</summary>
    public void Dispose()
    {
        lock (_log.Gate)
        {
            if (_disposed) return;
            _disposed = true;
        }

        _log.SegmentReady -= Unpark;
        Kick();
        _applier?.Join();
        EndParked();
        _ = _log.Commit();
        lock (_applyLock)
        {
            _log.Dispose();
            _image.Dispose();
            _superFile.Dispose();
            _treeFile.Dispose();
            _points.Dispose();
        }

        _held?.Dispose();
    }

    /// <summary>Something that ends with the volume.</summary>
    internal void Holds(IDisposable held) => _held = held;
}
