using System.Globalization;
using Microsoft.Data.Sqlite;

namespace SdnEdge.Mms.Journal;

/// <summary>
/// The journal in one SQLite file: write-ahead log, synced at every commit.
/// <code>
/// FILE        application_id "SDNJ"; meta(key, value): schema, id, product, holder; records(position, ..., checksum), see RecordChain
/// FILE-wal    SQLite's write-ahead log: part of the journal, copy it along
/// FILE-lock   locked by the manager that has the journal open; stays there
/// FILE-new    a journal being made, until it is whole
/// </code>
/// Opening: 1. lock; 2. make it where that was asked for and nothing is there; 3. is the log whole; 4. is it a journal, of a schema that
/// we know; 5. does every record follow the one before. Nothing that is not a journal is ever written to.
/// </summary>
public sealed class SqliteJournal : IJournal
{
    /// <summary>The schema that this version writes. It reads all down to 1.</summary>
    public const int Schema = 1;

    private const int ApplicationId = 0x53444E4A;
    private const int Batch = 1024;
    private const string Columns = "position, at, now_ns, life, actor, migration, input, body, checksum";

    // SQLite's result codes: https://www.sqlite.org/rescode.html
    private const int Busy = 5, LockedTable = 6, ReadOnlyCode = 8, CorruptCode = 11, FullCode = 13, NotADatabase = 26, ShmSize = 4874;

    // An IOException's HResult is errno: https://man7.org/linux/man-pages/man3/errno.3.html
    private const int TryAgain = 11, NoSpace = 28, ReadOnlyFileSystem = 30, QuotaExceeded = 122;

    private static readonly string Product = typeof(SqliteJournal).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    private readonly string _path;
    private readonly bool _readOnly;
    private readonly WorkThread _thread;
    private FileStream? _lock;
    private SqliteConnection? _connection;
    private long _length;
    private bool _disposed;

    private SqliteJournal(string path, bool readOnly)
    {
        _path = path;
        _readOnly = readOnly;
        _thread = new WorkThread("journal " + path);
    }

    /// <inheritdoc/>
    public long Length => Interlocked.Read(ref _length);

    /// <inheritdoc/>
    public string Id { get; private set; } = "";

    /// <summary>The life that this object writes into its records: made anew at each opening.</summary>
    public string Life { get; } = Guid.NewGuid().ToString("N");

    /// <summary>Opens the journal for its manager, and checks every record.</summary>
    /// <param name="path">The file. Its folder is made with mode 0700 where it is missing, the file with 0600.</param>
    /// <param name="create">Whether a journal is begun where there is none; else that is an error.</param>
    /// <param name="cancel">Gives up before the work has begun.</param>
    /// <exception cref="JournalUnavailableException">It cannot be used; see <see cref="JournalFault"/>.</exception>
    public static Task<SqliteJournal> OpenAsync(string path, bool create, CancellationToken cancel = default) =>
        OpenAsync(new SqliteJournal(Path.GetFullPath(path), readOnly: false), create, check: true, cancel);

    /// <summary>Opens the journal for reading, also while a manager has it open. <see cref="Length"/> is as of the latest read.</summary>
    /// <param name="path">The file.</param>
    /// <param name="check">Whether every record is checked now; else each one is checked when it is read.</param>
    /// <param name="cancel">Gives up before the work has begun.</param>
    /// <exception cref="JournalUnavailableException">It cannot be read; see <see cref="JournalFault"/>.</exception>
    public static Task<SqliteJournal> OpenReadOnlyAsync(string path, bool check = true, CancellationToken cancel = default) =>
        OpenAsync(new SqliteJournal(Path.GetFullPath(path), readOnly: true), create: false, check, cancel);

    private static async Task<SqliteJournal> OpenAsync(SqliteJournal journal, bool create, bool check, CancellationToken cancel)
    {
        try
        {
            await journal._thread.RunAsync(() => journal.Guard(() => journal.Open(create, check)), cancel);
            return journal;
        }
        catch
        {
            await journal.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(after);
        ArgumentOutOfRangeException.ThrowIfNegative(most);
        return _thread.RunAsync(() => Guard<IReadOnlyList<JournalRecord>>(() =>
        {
            if (_readOnly) Interlocked.Exchange(ref _length, LastPosition());
            return Read(after, most);
        }), cancel);
    }

    /// <inheritdoc/>
    public Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        JournalEntry[] copy = [.. entries];
        return _thread.RunAsync(() => Guard(() => Append(expected, copy)), cancel);
    }

    /// <summary>Closes the file when what has been asked for is done.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed) return;
        _disposed = true;
        Task closed = _thread.RunAsync(() =>
        {
            // The database first: the lock says that nobody of ours is at it any more.
            try
            {
                _connection?.Dispose();
            }
            finally
            {
                _lock?.Dispose();
            }

            return true;
        }, CancellationToken.None);
        _thread.Dispose();
        await closed;
    }

    // ---- all below runs on the journal's thread ----

    private bool Open(bool create, bool check)
    {
        // 1 and 2
        bool made = false;
        if (!_readOnly)
        {
            if (create) MakeFolder();
            if (!create && !File.Exists(_path)) throw Missing();
            TakeLock();
            if (create && !File.Exists(_path))
            {
                Make();
                made = true;
            }
        }
        else if (!File.Exists(_path))
        {
            throw Missing();
        }

        // A journal is never empty: it gets its name when it is whole.
        if (new FileInfo(_path).Length == 0) throw NoJournal("it is empty", null);

        // 3
        long? damage = WriteAheadLog.FindDamage(_path + "-wal");

        // 4. Where the log is damaged it is left as it is, as evidence: a connection that may write would clear it away.
        Recognise(_readOnly || damage is not null ? SqliteOpenMode.ReadOnly : SqliteOpenMode.ReadWrite);

        if (damage is { } at)
        {
            long last = LastPosition();
            throw new JournalUnavailableException(JournalFault.Corrupt,
                $"journal {_path}: its log {_path}-wal is damaged at byte {at}. The records up to {last} can be read, and there were more. "
                + "Restore both files from a copy; nothing has been changed.", last + 1);
        }

        // 5
        if (check) CheckAll();
        Interlocked.Exchange(ref _length, LastPosition());
        if (!_readOnly) WriteHolder(mustSucceed: made);
        return true;
    }

    private JournalUnavailableException Missing() => new(JournalFault.Io,
        $"journal {_path}: there is no such file. Give the path of a journal, or have a new one made.");

    private JournalUnavailableException NoJournal(string why, Exception? inner) => new(JournalFault.Corrupt,
        $"{_path} is not a journal of SdnEdge: {why}. It is left as it is: give another path, restore the journal from a copy, "
        + "or move the file away to begin a new one.", null, inner);

    private void MakeFolder()
    {
        string folder = Path.GetDirectoryName(_path)!;
        if (!Directory.Exists(folder))
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    // A file beside the journal, because SQLite has locks of its own on the journal, and they end when anyone in the process closes it.
    private void TakeLock()
    {
        try
        {
            _lock = new FileStream(_path + "-lock", new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.None, BufferSize = 0,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
        }
        catch (IOException e) when (e.HResult == TryAgain)
        {
            throw new JournalUnavailableException(JournalFault.Locked,
                $"journal {_path} is in use by {Holder()}. One journal has one manager: end that one first, or open the journal read-only.",
                null, e);
        }
    }

    private string Holder()
    {
        try
        {
            using SqliteConnection connection = Connect(_path, SqliteOpenMode.ReadOnly);
            return Scalar(connection, "SELECT value FROM meta WHERE key = 'holder'") as string ?? "another process";
        }
        catch (SqliteException)
        {
            return "another process";
        }
    }

    private void WriteHolder(bool mustSucceed)
    {
        try
        {
            Execute("BEGIN IMMEDIATE");
            SetMeta(_connection!, "product", Product);
            SetMeta(_connection!, "holder", string.Create(CultureInfo.InvariantCulture,
                $"process {Environment.ProcessId} on {Environment.MachineName}, life {Life}, since "
                + $"{DateTimeOffset.UtcNow:yyyy-MM-ddTHH:mm:ssZ}"));
            // The first commit into a new log syncs the folder too, and with it the journal's name.
            Execute("COMMIT");
        }
        catch (SqliteException e) when (!mustSucceed && e.SqliteErrorCode == FullCode)
        {
            // Who has it open is for people: a full disk is told at the first append.
            RollBack();
        }
    }

    // Made under another name and renamed when it is whole: a journal that is found is never half a one.
    private void Make()
    {
        string fresh = _path + "-new";
        foreach (string left in (string[])[fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal"]) File.Delete(left);
        if (File.Exists(_path + "-wal"))
            throw NoJournal($"the file is missing, but its log {_path}-wal is there", null);
        using (new FileStream(fresh, new FileStreamOptions
        {
            Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
        }

        using (SqliteConnection connection = Connect(fresh, SqliteOpenMode.ReadWrite))
        {
            Execute(connection, "PRAGMA journal_mode = WAL");
            Execute(connection, "PRAGMA synchronous = FULL");
            Execute(connection, $"""
                BEGIN IMMEDIATE;
                PRAGMA application_id = {ApplicationId};
                CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
                CREATE TABLE records(position INTEGER PRIMARY KEY, at TEXT NOT NULL, now_ns INTEGER NOT NULL, life TEXT NOT NULL,
                    actor TEXT NOT NULL, migration TEXT, input TEXT NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;
                """);
            SetMeta(connection, "schema", Schema.ToString(CultureInfo.InvariantCulture));
            SetMeta(connection, "id", Guid.NewGuid().ToString("N"));
            SetMeta(connection, "product", Product);
            Execute(connection, "COMMIT");
        }

        File.Move(fresh, _path, overwrite: false);
    }

    private SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        // A journal that was closed properly, on a file system that cannot be written to: without this SQLite wants to make its -shm.
        bool untouchable = mode == SqliteOpenMode.ReadOnly && !File.Exists(path + "-wal") && !File.Exists(path + "-shm")
            && !CanWriteBeside(path);
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = untouchable ? "file:" + Uri.EscapeDataString(path).Replace("%2F", "/", StringComparison.Ordinal) + "?immutable=1"
                : path,
            Mode = mode, Pooling = false, DefaultTimeout = 5,
        }.ToString());
        try
        {
            connection.Open();
            if (mode != SqliteOpenMode.ReadOnly) Execute(connection, "PRAGMA synchronous = FULL");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private static bool CanWriteBeside(string path)
    {
        string probe = $"{path}-probe-{Guid.NewGuid():N}";
        try
        {
            using (new FileStream(probe, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose)) return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private void Recognise(SqliteOpenMode mode)
    {
        try
        {
            _connection = Connect(_path, mode);
            if (Scalar(_connection, "PRAGMA application_id") is not (long)ApplicationId)
                throw NoJournal("it is a database of something else", null);
        }
        catch (SqliteException e) when (e.SqliteErrorCode == NotADatabase)
        {
            throw NoJournal("it is no SQLite database, or its first page is damaged", e);
        }

        string? schema = Meta("schema");
        if (!int.TryParse(schema, NumberStyles.None, CultureInfo.InvariantCulture, out int version) || version < 1)
            throw new JournalUnavailableException(JournalFault.Corrupt,
                $"journal {_path}: its schema is '{schema}', which is no version. Restore it from a copy.");
        if (version > Schema)
            throw new JournalUnavailableException(JournalFault.TooNew,
                $"journal {_path} has schema {version}, written by SdnEdge {Meta("product")}; this is SdnEdge {Product}, which reads up to "
                + $"schema {Schema}. Run the newer version; the journal has not been changed.");
        Id = Meta("id") ?? throw new JournalUnavailableException(JournalFault.Corrupt,
            $"journal {_path}: its id is missing. Restore it from a copy.");
        if (!_readOnly && Scalar(_connection!, "PRAGMA journal_mode") is not "wal") Execute("PRAGMA journal_mode = WAL");
    }

    private void CheckAll()
    {
        for (long after = 0; Read(after, Batch) is { Count: > 0 } records;) after = records[^1].Position;
    }

    private List<JournalRecord> Read(long after, int most)
    {
        var records = new List<JournalRecord>();
        if (most == 0) return records;
        long next = after + 1;
        try
        {
            // The record before gives the checksum to follow.
            using SqliteCommand command =
                Command(_connection!, $"SELECT {Columns} FROM records WHERE position >= $after ORDER BY position LIMIT $most");
            command.Parameters.AddWithValue("$after", after);
            command.Parameters.AddWithValue("$most", after == 0 ? most : most + 1L);
            using SqliteDataReader reader = command.ExecuteReader();
            ulong sum = RecordChain.Begin(Id);
            bool first = after > 0;
            while (reader.Read())
            {
                var record = new JournalRecord(reader.GetInt64(0), reader.GetString(1), reader.GetInt64(2), reader.GetString(3),
                    reader.GetString(4),
                    reader.IsDBNull(5) ? null : reader.GetString(5), reader.GetString(6), reader.GetString(7));
                ulong stored = unchecked((ulong)reader.GetInt64(8));
                if (first)
                {
                    first = false;
                    if (record.Position != after) throw Damaged(after, "it is missing");
                    sum = stored;
                    continue;
                }

                if (record.Position != next)
                    throw Damaged(record.Position < next ? record.Position : next, "it is missing; the next one there is "
                        + record.Position);
                sum = RecordChain.Next(sum, record);
                if (sum != stored) throw Damaged(next, "its checksum is wrong");
                records.Add(record);
                next++;
            }
        }
        catch (SqliteException e) when (e.SqliteErrorCode is CorruptCode or NotADatabase)
        {
            throw Damaged(next, $"SQLite says '{e.Message}'");
        }
        catch (InvalidCastException)
        {
            throw Damaged(next, "a column has a wrong type");
        }

        return records;
    }

    private JournalUnavailableException Damaged(long position, string how) => new(JournalFault.Corrupt,
        $"journal {_path}: record {position} is damaged: {how}. The records before it can be read. Restore the journal from a copy; "
        + "nothing has been changed.", position);

    private bool Append(long expected, JournalEntry[] entries)
    {
        if (_readOnly)
        {
            throw new JournalUnavailableException(JournalFault.ReadOnly,
                $"journal {_path} was opened read-only. Only its manager appends to it.");
        }

        Execute("BEGIN IMMEDIATE");
        try
        {
            (long last, ulong sum) = Last();
            if (last != expected)
            {
                Interlocked.Exchange(ref _length, last);
                throw new JournalConflictException(_path, expected, last);
            }

            using SqliteCommand insert = Command(_connection!,
                $"INSERT INTO records({Columns}) VALUES ($position, $at, $now, $life, $actor, $migration, $input, $body, $checksum)");
            foreach (JournalEntry entry in entries)
            {
                var record = new JournalRecord(++last, entry.At, entry.NowNs, Life, entry.Actor, entry.Migration, entry.Input, entry.Body);
                sum = RecordChain.Next(sum, record);
                insert.Parameters.Clear();
                insert.Parameters.AddWithValue("$position", record.Position);
                insert.Parameters.AddWithValue("$at", record.At);
                insert.Parameters.AddWithValue("$now", record.NowNs);
                insert.Parameters.AddWithValue("$life", record.Life);
                insert.Parameters.AddWithValue("$actor", record.Actor);
                insert.Parameters.AddWithValue("$migration", (object?)record.Migration ?? DBNull.Value);
                insert.Parameters.AddWithValue("$input", record.Input);
                insert.Parameters.AddWithValue("$body", record.Body);
                insert.Parameters.AddWithValue("$checksum", unchecked((long)sum));
                insert.ExecuteNonQuery();
            }

            Execute("COMMIT");
            Interlocked.Exchange(ref _length, last);
            return true;
        }
        catch
        {
            RollBack();
            throw;
        }
    }

    // After some errors SQLite has rolled back by itself, and says that there is nothing to roll back.
    private void RollBack()
    {
        try
        {
            Execute("ROLLBACK");
        }
        catch (SqliteException)
        {
        }
    }

    private (long Position, ulong Checksum) Last()
    {
        using SqliteCommand command = Command(_connection!, "SELECT position, checksum FROM records ORDER BY position DESC LIMIT 1");
        using SqliteDataReader reader = command.ExecuteReader();
        return reader.Read() ? (reader.GetInt64(0), unchecked((ulong)reader.GetInt64(1))) : (0, RecordChain.Begin(Id));
    }

    private long LastPosition() => Last().Position;

    private string? Meta(string key)
    {
        using SqliteCommand command = Command(_connection!, "SELECT value FROM meta WHERE key = $key");
        command.Parameters.AddWithValue("$key", key);
        return command.ExecuteScalar() as string;
    }

    private static void SetMeta(SqliteConnection connection, string key, string value)
    {
        using SqliteCommand command =
            Command(connection, "INSERT INTO meta(key, value) VALUES ($key, $value) ON CONFLICT(key) DO UPDATE SET value = $value");
        command.Parameters.AddWithValue("$key", key);
        command.Parameters.AddWithValue("$value", value);
        command.ExecuteNonQuery();
    }

    private void Execute(string sql) => Execute(_connection!, sql);

    private static void Execute(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = Command(connection, sql);
        command.ExecuteNonQuery();
    }

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = Command(connection, sql);
        return command.ExecuteScalar();
    }

#pragma warning disable CA2100 // the texts are this file's own; what varies is a parameter
    private static SqliteCommand Command(SqliteConnection connection, string sql) => new(sql, connection);
#pragma warning restore CA2100

    /// <summary>Says in the journal's words what SQLite and the file system say in theirs.</summary>
    private T Guard<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (SqliteException e)
        {
            (JournalFault fault, string text) = (e.SqliteErrorCode, e.SqliteExtendedErrorCode) switch
            {
                (FullCode, _) or (_, ShmSize) => (JournalFault.Full, "there is no room on its disk. Make room and try again"),
                (ReadOnlyCode, _) => (JournalFault.ReadOnly,
                    "it can only be read. Give the manager write access to the file and its folder"),
                (CorruptCode or NotADatabase, _) => (JournalFault.Corrupt, "it is damaged. Restore it from a copy"),
                (Busy or LockedTable, _) => (JournalFault.Locked, "another process keeps it locked. End that one first"),
                _ => (JournalFault.Io, "its disk, or the way to it, failed. See the kernel's log"),
            };
            throw new JournalUnavailableException(fault, $"journal {_path}: {text} (SQLite {e.SqliteExtendedErrorCode}: {e.Message})", null,
                e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new JournalUnavailableException(JournalFault.ReadOnly,
                $"journal {_path}: {e.Message} Give the manager write access to the file and its folder.", null, e);
        }
        catch (IOException e)
        {
            (JournalFault fault, string text) = e.HResult switch
            {
                NoSpace or QuotaExceeded => (JournalFault.Full, "Make room on its disk and try again."),
                ReadOnlyFileSystem => (JournalFault.ReadOnly, "Its file system is mounted read-only."),
                _ => (JournalFault.Io, "Its disk, or the way to it, failed."),
            };
            throw new JournalUnavailableException(fault, $"journal {_path}: {e.Message} {text}", null, e);
        }
    }
}
