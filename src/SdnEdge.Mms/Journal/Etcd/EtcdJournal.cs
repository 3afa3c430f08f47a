using System.IO.Compression;
using System.Text;
using System.Text.Json;

namespace SdnEdge.Mms.Journal.Etcd;

/// <summary>
/// The journal in etcd, for several managers.
/// <code>
/// PREFIX/leader          who leads, with a lease; the revision at which it was made is the term, the fencing token
/// PREFIX/head            how far the journal is; written anew with each append
/// PREFIX/records/N       what one append wrote: N is the position of its first record, 19 digits. JSON, from 64 KiB on compressed by zlib
/// </code>
/// An append is one transaction: if the leader's key is the one of this term, and the head as it was read, then records and head are
/// written, else nothing is. So a manager that stood still for longer than its lease writes nothing, whatever it believes. Every read is
/// linearizable.
/// </summary>
internal sealed class EtcdJournal : IJournal
{
    /// <summary>The schema that this version writes and reads.</summary>
    public const int Schema = 1;

    // Batches asked for at once. etcd takes 1.5 MiB a request, so the answer has 48 MiB at most.
    private const int Batches = 32;
    private const int CompressFrom = 64 * 1024;

    private static readonly string s_product = typeof(EtcdJournal).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    private readonly EtcdClient _etcd;
    private readonly string _prefix;
    private readonly long _term;
    private readonly SemaphoreSlim _one = new(1);
    private JournalHead _head;
    private long _headRevision;

    // Up to where everything was read in one go: the next read begins there, and its first checksum follows this one.
    private (long Position, ulong Checksum)? _read;

    private EtcdJournal(EtcdClient etcd, string prefix, string life, long term, JournalHead head, long headRevision)
        => (_etcd, _prefix, Life, _term, _head, _headRevision) = (etcd, prefix, life, term, head, headRevision);

    /// <inheritdoc/>
    public long Length => Volatile.Read(ref _head).Length;

    /// <inheritdoc/>
    public string Id => Volatile.Read(ref _head).Id;

    /// <summary>The life that this object writes into its records.</summary>
    public string Life { get; }

    private byte[] HeadKey => Key(_prefix, "head");

    /// <summary>A key under a prefix.</summary>
    public static byte[] Key(string prefix, string name) => Encoding.UTF8.GetBytes($"{prefix}/{name}");

    /// <summary>Opens it for the manager that leads, and begins it where there is none.</summary>
    /// <param name="etcd">Where. It stays the caller's.</param>
    /// <param name="prefix">The prefix of all keys.</param>
    /// <param name="life">The manager's life.</param>
    /// <param name="term">Revision of the leader's key.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="JournalUnavailableException">It cannot be read, or it is none.</exception>
    /// <exception cref="LeadershipLostException">Another manager leads.</exception>
    public static async Task<EtcdJournal> OpenAsync(EtcdClient etcd, string prefix, string life, long term, CancellationToken cancel)
    {
        byte[] leader = Key(prefix, "leader"), head = Key(prefix, "head");
        string id = Guid.NewGuid().ToString("N");
        var begun = new JournalHead(Schema, id, s_product, 0, 0, life, RecordChain.Begin(id));
        TxnReply reply = await GuardAsync(prefix, () => etcd.TxnAsync(
            new TxnRequest(
                [EtcdCompare.Created(leader, term), EtcdCompare.Created(head, 0)],
                [new EtcdOperation { RequestPut = new PutRequest(head, Bytes(begun)) }],
                [
                    new EtcdOperation { RequestRange = new RangeRequest(leader) },
                    new EtcdOperation { RequestRange = new RangeRequest(head) },
                ]), cancel));
        if (reply.Succeeded) return new EtcdJournal(etcd, prefix, life, term, begun, reply.Header.Revision);
        if (reply.Read(0)?.CreateRevision != term) throw new LeadershipLostException(term, Leader(reply.Read(0)));
        return new EtcdJournal(etcd, prefix, life, term, Head(prefix, reply.Read(1)!), reply.Read(1)!.ModRevision);
    }

    /// <summary>Opens it for reading; null: there is none yet. <see cref="Length"/> is as of the latest read.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be read, or it is none.</exception>
    public static async Task<EtcdJournal?> OpenReadOnlyAsync(EtcdClient etcd, string prefix, CancellationToken cancel)
    {
        RangeReply reply = await GuardAsync(prefix, () => etcd.RangeAsync(new RangeRequest(Key(prefix, "head")), cancel));
        return reply.Keys is [{ } head] ? new EtcdJournal(etcd, prefix, "", 0, Head(prefix, head), head.ModRevision) : null;
    }

    /// <summary>Who leads, by the leader's key; null: nobody, or the key holds something else.</summary>
    public static LeaderInfo? Leader(EtcdKey? key)
    {
        try
        {
            return key?.Value is { } value ? JsonSerializer.Deserialize(value, EtcdJournalTypes.Default.LeaderInfo) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>True when a reader has read records of this journal: this object then reads on behind them, and the next one must follow
    /// the last of them.</summary>
    public bool GoesOnFrom(EtcdJournal? reader)
    {
        if (reader?._read is not { } read || reader.Id != Id || read.Position > Length) return false;
        if (read.Position == Length && read.Checksum != _head.Checksum) return false;
        _read = read;
        return true;
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(after);
        ArgumentOutOfRangeException.ThrowIfNegative(most);
        await _one.WaitAsync(cancel);
        try
        {
            return await ReadOnAsync(after, most, cancel);
        }
        finally
        {
            _one.Release();
        }
    }

    /// <inheritdoc/>
    /// <exception cref="LeadershipLostException">Another manager leads, or may lead: nothing was written, and nothing ever will be by this
    /// object.</exception>
    public async Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        JournalEntry[] copy = [.. entries];
        await _one.WaitAsync(cancel);
        try
        {
            await AppendAsync(expected, copy);
        }
        finally
        {
            _one.Release();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // What has begun is waited for.
        await _one.WaitAsync();
        _one.Dispose();
    }

    private async Task AppendAsync(long expected, JournalEntry[] entries)
    {
        if (_term == 0)
            throw new JournalUnavailableException(JournalFault.ReadOnly, $"journal {_prefix} in etcd is open for reading only");
        JournalHead head = _head;
        if (expected != head.Length) throw new JournalConflictException($"{_prefix} in etcd", expected, head.Length);
        if (entries.Length == 0) return;
        var batch = new JournalBatch(expected + 1, Life, head.Checksum, Chain(head.Checksum, expected + 1, Life, entries), entries);
        JournalHead next = head with
        {
            Product = s_product, Length = expected + entries.Length, First = batch.First, Life = Life, Checksum = batch.Checksum,
        };
        byte[] leader = Key(_prefix, "leader");
        TxnReply reply = await GuardAsync(_prefix, () => _etcd.TxnAsync(
            new TxnRequest(
                [EtcdCompare.Created(leader, _term), EtcdCompare.Changed(HeadKey, _headRevision)],
                [
                    new EtcdOperation { RequestPut = new PutRequest(RecordKey(batch.First), Bytes(batch)) },
                    new EtcdOperation { RequestPut = new PutRequest(HeadKey, Bytes(next)) },
                ],
                [
                    new EtcdOperation { RequestRange = new RangeRequest(leader) },
                    new EtcdOperation { RequestRange = new RangeRequest(HeadKey) },
                ]), CancellationToken.None));
        if (reply.Succeeded)
        {
            (_head, _headRevision) = (next, reply.Header.Revision);
            return;
        }

        // A member may have carried it out and not said so: then the head is what it was to be.
        EtcdKey found = reply.Read(1) ?? throw new JournalUnavailableException(JournalFault.Corrupt,
            $"journal {_prefix} in etcd: its key {_prefix}/head is gone. Restore etcd from a snapshot.");
        JournalHead there = Head(_prefix, found);
        if (there == next)
        {
            (_head, _headRevision) = (next, found.ModRevision);
            return;
        }

        if (reply.Read(0)?.CreateRevision != _term) throw new LeadershipLostException(_term, Leader(reply.Read(0)));
        throw new JournalConflictException($"{_prefix} in etcd", expected, there.Length);
    }

    private async Task<IReadOnlyList<JournalRecord>> ReadOnAsync(long after, int most, CancellationToken cancel)
    {
        var records = new List<JournalRecord>();
        byte[] end = Key(_prefix, "records0");   // '0' follows '/'
        byte[] from = _read?.Position == after || after == 0 ? RecordKey(after + 1) : await HolderAsync(after + 1, cancel);
        (long Position, ulong Checksum)? read = _read?.Position == after ? _read : null;
        for (bool more = true; more && records.Count < most;)
        {
            RangeReply reply = await GuardAsync(_prefix, () => _etcd.RangeAsync(
                new RangeRequest(from) { RangeEnd = end, Limit = Batches }, cancel));
            foreach (EtcdKey key in reply.Keys)
            {
                JournalBatch batch = Batch(key, read, records.Count == 0 ? after : records[^1].Position);
                read = (batch.First + batch.Entries.Count - 1, batch.Checksum);
                for (int i = 0; i < batch.Entries.Count; i++)
                {
                    JournalEntry e = batch.Entries[i];
                    long position = batch.First + i;
                    if (position <= after || records.Count == most) continue;
                    records.Add(new JournalRecord(position, e.At, e.NowNs, batch.Life, e.Actor, e.Migration, e.Input, e.Body));
                }

                if (records.Count == most) break;
                from = RecordKey(read.Value.Position + 1);
            }

            more = reply.More;
        }

        if (records.Count == 0) return records;

        // A read that ended within an append begins anew there.
        _read = read?.Position == records[^1].Position ? read : null;
        if (_term == 0 && records[^1].Position > Length) Volatile.Write(ref _head, _head with { Length = records[^1].Position });
        return records;
    }

    // The key of the append that a position belongs to.
    private async Task<byte[]> HolderAsync(long position, CancellationToken cancel)
    {
        var request = new RangeRequest(RecordKey(0))
        {
            RangeEnd = RecordKey(position + 1), Limit = 1, SortOrder = "DESCEND", SortTarget = "KEY",
        };
        RangeReply reply = await GuardAsync(_prefix, () => _etcd.RangeAsync(request, cancel));
        return reply.Keys is [{ } holder] ? holder.Key : RecordKey(position);
    }

    // A batch that follows what was read before it, whole.
    private JournalBatch Batch(EtcdKey key, (long Position, ulong Checksum)? before, long last)
    {
        JournalBatch? batch = null;
        string why = "its checksum is wrong";
        try
        {
            batch = JsonSerializer.Deserialize(Plain(key.Value ?? []), EtcdJournalTypes.Default.JournalBatch);
        }
        catch (Exception e) when (e is JsonException or InvalidDataException)
        {
            why = e.Message.TrimEnd('.');
        }

        bool isWhole = batch is { Entries.Count: > 0 } && RecordKey(batch.First).AsSpan().SequenceEqual(key.Key)
            && Chain(batch.Previous, batch.First, batch.Life, batch.Entries) == batch.Checksum;
        bool follows = isWhole && (before is { } b ? (batch!.First, batch.Previous) == (b.Position + 1, b.Checksum)
            : batch!.First <= last + 1 && (batch.First > 1 || batch.Previous == RecordChain.Begin(Id)));
        if (follows) return batch!;
        throw new JournalUnavailableException(JournalFault.Corrupt,
            $"journal {_prefix} in etcd: key {Encoding.UTF8.GetString(key.Key)} cannot be believed: "
            + $"{(isWhole ? "it does not follow the records before it" : why)}. The records up to {last} are good. Restore etcd from a "
            + "snapshot, or take another prefix and run sdnedge mms recover.", last + 1);
    }

    private byte[] RecordKey(long first) => Key(_prefix, $"records/{first:D19}");

    private static ulong Chain(ulong previous, long first, string life, IReadOnlyList<JournalEntry> entries)
    {
        for (int i = 0; i < entries.Count; i++)
        {
            JournalEntry e = entries[i];
            previous = RecordChain.Next(previous, new JournalRecord(first + i, e.At, e.NowNs, life, e.Actor, e.Migration, e.Input, e.Body));
        }

        return previous;
    }

    private static JournalHead Head(string prefix, EtcdKey key)
    {
        JournalHead? head;
        try
        {
            head = JsonSerializer.Deserialize(key.Value, EtcdJournalTypes.Default.JournalHead);
        }
        catch (JsonException)
        {
            head = null;
        }

        if (head is not { Id.Length: > 0, Schema: > 0 })
        {
            throw new JournalUnavailableException(JournalFault.Corrupt,
                $"{prefix}/head in etcd is not the head of a journal of SdnEdge. It is left as it is: give another prefix.");
        }

        return head.Schema <= Schema ? head : throw new JournalUnavailableException(JournalFault.TooNew,
            $"journal {prefix} in etcd was written by version {head.Product} (schema {head.Schema}); this one knows schema {Schema}. "
            + "Use that version, or a later one.");
    }

    private static byte[] Bytes(JournalHead head) => JsonSerializer.SerializeToUtf8Bytes(head, EtcdJournalTypes.Default.JournalHead);

    private static byte[] Bytes(JournalBatch batch)
    {
        byte[] plain = JsonSerializer.SerializeToUtf8Bytes(batch, EtcdJournalTypes.Default.JournalBatch);
        if (plain.Length < CompressFrom) return plain;
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true)) zlib.Write(plain);
        return packed.ToArray();
    }

    private static byte[] Plain(byte[] value)
    {
        if (value is [(byte)'{', ..]) return value;
        using var zlib = new ZLibStream(new MemoryStream(value), CompressionMode.Decompress);
        using var plain = new MemoryStream();
        zlib.CopyTo(plain);
        return plain.ToArray();
    }

    private static async Task<T> GuardAsync<T>(string prefix, Func<Task<T>> ask)
    {
        try
        {
            return await ask();
        }
        catch (EtcdException e)
        {
            JournalFault fault = e.Fault switch
            {
                EtcdFault.Full or EtcdFault.TooLarge => JournalFault.Full,
                EtcdFault.Refused => JournalFault.ReadOnly,
                _ => JournalFault.Io,
            };
            string right = e.Fault switch
            {
                EtcdFault.Full => "; make room (etcdctl compact, defrag, alarm disarm), or give it a larger --quota-backend-bytes",
                EtcdFault.TooLarge => "; give it a larger --max-request-bytes",
                _ => "",
            };
            throw new JournalUnavailableException(fault, $"journal {prefix}: {e.Message}{right}", null, e);
        }
    }
}

/// <summary>This manager does not lead any more: its lease has run out. What it has decided and not written has not happened.</summary>
public sealed class LeadershipLostException(long term, LeaderInfo? now)
    : Exception($"this manager's term {term} is over: {(now is null ? "its lease has run out" : $"{now.Name} leads since {now.Since}")}")
{
    /// <summary>Who leads now, as far as it is known.</summary>
    public LeaderInfo? Leader { get; } = now;
}
