using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Data.Sqlite;
using SdnEdge.Mms.Journal;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Mms.Tests.Journal.JournalProcess;

namespace SdnEdge.Mms.Tests.Journal;

/// <summary>The journal in its file: order, locks, and every way in which a disk fails.</summary>
public sealed class SqliteJournalTests : IDisposable
{
    private const UnixFileMode Mine = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private static readonly CancellationToken None = CancellationToken.None;
    private readonly string _folder = Directory.CreateTempSubdirectory("journal-").FullName;

    private string File1 => Path.Combine(_folder, "journal.db");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Records_come_back_in_order_and_whole_after_reopening()
    {
        string id, life;
        await using (SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: true))
        {
            (id, life) = (journal.Id, journal.Life);
            Assert.Equal(0, journal.Length);
            await journal.AppendAsync(0, [Entry(1), Entry(2)], None);
            await journal.AppendAsync(2, [Entry(3)], None);
            Assert.Equal(3, journal.Length);
        }

        await using SqliteJournal again = await SqliteJournal.OpenAsync(File1, create: false);
        Assert.Equal(id, again.Id);
        Assert.NotEqual(life, again.Life);
        await again.AppendAsync(3, [Entry(4)], None);
        IReadOnlyList<JournalRecord> all = await again.ReadAsync(0, 100, None);
        Assert.Equal(Enumerable.Range(1, 4).Select(n => Record(n, n == 4 ? again.Life : life)), all);
        Assert.Equal(all.Skip(1).Take(2), await again.ReadAsync(1, 2, None));
        Assert.Empty(await again.ReadAsync(4, 10, None));
    }

    [Fact]
    public async Task Two_decisions_on_one_position_are_one_record_and_one_conflict()
    {
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: true);
        Task pivot = journal.AppendAsync(0, [Entry(1)], None), abort = journal.AppendAsync(0, [Entry(9), Entry(10)], None);
        await pivot;
        var conflict = await Assert.ThrowsAsync<JournalConflictException>(() => abort);
        Assert.Equal((0, 1), (conflict.Expected, conflict.Actual));
        await Assert.ThrowsAsync<JournalConflictException>(() => journal.AppendAsync(7, [Entry(1)], None));
        Assert.Equal([Record(1, journal.Life)], await journal.ReadAsync(0, 100, None));
        await journal.AppendAsync(1, [Entry(2)], None);
    }

    [Fact]
    public async Task Folder_and_files_are_for_the_manager_alone()
    {
        string folder = Path.Combine(_folder, "a", "b"), file = Path.Combine(folder, "journal.db");
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(file, create: true);
        await journal.AppendAsync(0, [Entry(1)], None);
        Assert.Equal(Mine | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));
        string[] files = Directory.GetFiles(folder);
        Assert.Equal(["journal.db", "journal.db-lock", "journal.db-shm", "journal.db-wal"],
            files.Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.All(files, f => Assert.Equal(Mine, File.GetUnixFileMode(f)));
    }

    [Fact]
    public async Task A_second_manager_is_refused_and_a_reader_is_not()
    {
        using Process first = Start("hold", File1);
        Assert.Equal("open", await first.StandardOutput.ReadLineAsync());
        var refused = await FaultAsync(JournalFault.Locked, () => SqliteJournal.OpenAsync(File1, create: true));
        Assert.Contains($"process {first.Id} on ", refused.Message, StringComparison.Ordinal);
        await using (SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(File1))
        {
            Assert.Empty(await reader.ReadAsync(0, 10, None));
            await FaultAsync(JournalFault.ReadOnly, () => reader.AppendAsync(0, [Entry(1)], None));
        }

        first.StandardInput.Close();
        await first.WaitForExitAsync();
        await using SqliteJournal second = await SqliteJournal.OpenAsync(File1, create: false);
        await FaultAsync(JournalFault.Locked, () => SqliteJournal.OpenAsync(File1, create: false));
    }

    [Fact]
    public async Task A_reader_sees_what_the_manager_appends_meanwhile()
    {
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: true);
        await using SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(File1);
        for (int n = 1; n <= 20; n++)
        {
            await journal.AppendAsync(n - 1, [Entry(n, 2000)], None);
            Assert.Equal([Record(n, journal.Life, 2000)], await reader.ReadAsync(n - 1, 10, None));
            Assert.Equal(n, reader.Length);
        }
    }

    [Fact]
    public async Task A_killed_manager_loses_no_append_that_was_acknowledged()
    {
        for (int round = 0; round < 3; round++)
        {
            long acknowledged = 0;
            using (Process child = Start("append", File1))
            {
                for (int lines = 0; lines < 30; lines++) acknowledged = await PositionAsync(child);
                child.Kill();
                while (await child.StandardOutput.ReadLineAsync() is { } line)
                {
                    // The last line may be cut off.
                    if (long.TryParse(line, CultureInfo.InvariantCulture, out long position) && position == acknowledged + 3) acknowledged =
                        position;
                }

                await child.WaitForExitAsync();
            }

            // Read before repair, then repaired.
            await using (SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(File1)) Assert.InRange(reader.Length, acknowledged,
                acknowledged + 3);
            await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: false);
            Assert.InRange(journal.Length, acknowledged, acknowledged + 3);
            Assert.Equal(0, journal.Length % 3);
            Assert.Equal(Enumerable.Range(1, (int)journal.Length).Select(n => (long)n),
                (await journal.ReadAsync(0, int.MaxValue, None)).Select(r => r.Position));
        }
    }

    [Fact]
    public async Task A_log_cut_off_anywhere_is_a_journal_of_whole_appends()
    {
        string copy = await CrashedCopyAsync(appends: 6);
        byte[] log = File.ReadAllBytes(copy + "-wal"), file = File.ReadAllBytes(copy);
        var lengths = new HashSet<long>();
        for (int end = 0; end < log.Length + 2063; end += 2063)
        {
            int cut = Math.Min(end, log.Length);
            File.WriteAllBytes(copy, file);
            File.WriteAllBytes(copy + "-wal", log[..cut]);
            File.Delete(copy + "-shm");
            await using SqliteJournal journal = await SqliteJournal.OpenAsync(copy, create: false);
            Assert.Equal(0, journal.Length % 2);
            lengths.Add(journal.Length);
        }

        Assert.Equal([0, 2, 4, 6, 8, 10, 12], lengths.Order());
    }

    [Fact]
    public async Task A_byte_flipped_in_the_middle_of_the_log_is_found_and_what_is_lost_is_named()
    {
        string copy = await CrashedCopyAsync(appends: 6);
        byte[] log = File.ReadAllBytes(copy + "-wal");
        int at = Encoding.UTF8.GetString(log.Select(b => b < 128 ? b : (byte)'?').ToArray()).IndexOf("\"n\":5,", StringComparison.Ordinal);
        log[at + 4] ^= 1;
        File.WriteAllBytes(copy + "-wal", log);
        foreach (Func<Task<SqliteJournal>> open in (Func<Task<SqliteJournal>>[])[() => SqliteJournal.OpenAsync(copy, create: true),
            () => SqliteJournal.OpenReadOnlyAsync(copy)])
        {
            var damage = await FaultAsync(JournalFault.Corrupt, open);
            Assert.Equal(5, damage.Position);
            Assert.Equal(log, File.ReadAllBytes(copy + "-wal"));
        }
    }

    [Fact]
    public async Task A_byte_flipped_in_a_record_is_found_and_the_record_named()
    {
        await FillAsync(20);
        byte[] bytes = File.ReadAllBytes(File1);
        int at = bytes.AsSpan().IndexOf("\"n\":12,"u8);
        bytes[at + 5] ^= 1;
        File.WriteAllBytes(File1, bytes);
        var damage = await FaultAsync(JournalFault.Corrupt, () => SqliteJournal.OpenAsync(File1, create: true));
        Assert.Equal(12, damage.Position);
        Assert.Contains("record 12", damage.Message, StringComparison.Ordinal);
        Assert.Equal(bytes, File.ReadAllBytes(File1)); // refused, and left alone
        await using SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(File1, check: false);
        Assert.Equal(11, (await reader.ReadAsync(0, 11, None)).Count);
        await FaultAsync(JournalFault.Corrupt, () => reader.ReadAsync(0, 12, None));
    }

    [Fact]
    public async Task A_record_taken_out_is_found()
    {
        await FillAsync(9);
        Sql("DELETE FROM records WHERE position = 4");
        Assert.Equal(4, (await FaultAsync(JournalFault.Corrupt, () => SqliteJournal.OpenAsync(File1, create: false))).Position);
    }

    [Fact]
    public async Task A_truncated_file_is_refused()
    {
        await FillAsync(40);
        byte[] bytes = File.ReadAllBytes(File1);
        foreach (int length in (int[])[0, 100, 4096, bytes.Length / 2, bytes.Length - 4096])
        {
            File.WriteAllBytes(File1, bytes[..length]);
            var refused = await FaultAsync(JournalFault.Corrupt, () => SqliteJournal.OpenAsync(File1, create: true));
            Assert.Contains(File1, refused.Message, StringComparison.Ordinal);
            Assert.Equal(bytes[..length], File.ReadAllBytes(File1));
        }
    }

    [Fact]
    public async Task A_file_that_is_no_journal_is_refused_and_left_as_it_is()
    {
        byte[] garbage = new byte[10_000];
        new Random(1).NextBytes(garbage);
        File.WriteAllBytes(File1, garbage);
        var refused = await FaultAsync(JournalFault.Corrupt, () => SqliteJournal.OpenAsync(File1, create: true));
        Assert.Contains($"{File1} is not a journal", refused.Message, StringComparison.Ordinal);
        Assert.Equal(garbage, File.ReadAllBytes(File1));

        File.Delete(File1);
        Sql("CREATE TABLE records(position INTEGER PRIMARY KEY)", create: true);
        byte[] other = File.ReadAllBytes(File1);
        await FaultAsync(JournalFault.Corrupt, () => SqliteJournal.OpenAsync(File1, create: true));
        Assert.Equal(other, File.ReadAllBytes(File1));
    }

    [Fact]
    public async Task A_newer_schema_is_refused_and_left_as_it_is()
    {
        await FillAsync(3);
        Sql("UPDATE meta SET value = '2' WHERE key = 'schema'; UPDATE meta SET value = '9.1.0' WHERE key = 'product'");
        byte[] bytes = File.ReadAllBytes(File1);
        var refused = await FaultAsync(JournalFault.TooNew, () => SqliteJournal.OpenAsync(File1, create: true));
        Assert.Contains("schema 2, written by SdnEdge 9.1.0", refused.Message, StringComparison.Ordinal);
        await FaultAsync(JournalFault.TooNew, () => SqliteJournal.OpenReadOnlyAsync(File1));
        Assert.Equal(bytes, File.ReadAllBytes(File1));
    }

    [Fact]
    public async Task A_missing_journal_is_not_made_unless_asked_for()
    {
        await FaultAsync(JournalFault.Io, () => SqliteJournal.OpenAsync(File1, create: false));
        await FaultAsync(JournalFault.Io, () => SqliteJournal.OpenReadOnlyAsync(File1));
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [RootFact]
    public async Task A_full_disk_fails_the_append_and_nothing_else()
    {
        using var disk = new SmallDisk(_folder, "256k");
        string file = Path.Combine(disk.Path, "journal.db"), filler = Path.Combine(disk.Path, "filler");
        await using (SqliteJournal journal = await SqliteJournal.OpenAsync(file, create: true))
        {
            File.WriteAllBytes(filler, new byte[100_000]);
            long before = await AppendUntilFullAsync(journal);
            Assert.True(before > 0);
            Assert.Equal(before, journal.Length);
            await FaultAsync(JournalFault.Full, () => journal.AppendAsync(before, [Entry(before + 1, 8000)], None));
            Assert.Equal(before, (await journal.ReadAsync(0, 1000, None)).Count);
            File.Delete(filler);
            await journal.AppendAsync(before, [Entry(before + 1, 8000)], None);
            Assert.Equal(before + 1, journal.Length);
            await AppendUntilFullAsync(journal);
        }

        await using SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(file);
        Assert.Equal(reader.Length, (await reader.ReadAsync(0, 1000, None)).Count);
    }

    [RootFact]
    public async Task A_read_only_disk_is_said_so_and_can_be_read()
    {
        using var disk = new SmallDisk(_folder, "1m");
        string file = Path.Combine(disk.Path, "journal.db");
        await using (SqliteJournal journal = await SqliteJournal.OpenAsync(file, create: true)) await journal.AppendAsync(0, [Entry(1)],
            None);
        disk.Remount("ro");
        await FaultAsync(JournalFault.ReadOnly, () => SqliteJournal.OpenAsync(file, create: true));
        await FaultAsync(JournalFault.ReadOnly, () => SqliteJournal.OpenAsync(Path.Combine(disk.Path, "other.db"), create: true));
        await using SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(file);
        Assert.Equal(1, reader.Length);
    }

    /// <summary>A file of the first schema, kept since November 2026: every later version reads it and appends to it.</summary>
    [Fact]
    public async Task The_journal_of_schema_1_is_read_and_continued()
    {
        string data = Path.Combine(AppContext.BaseDirectory, "Journal", "data");
        File.Copy(Path.Combine(data, "v1.db"), File1);
        string[] expected = File.ReadAllLines(Path.Combine(data, "v1.txt"));
        await using (SqliteJournal reader = await SqliteJournal.OpenReadOnlyAsync(File1))
            Assert.Equal(expected, (await reader.ReadAsync(0, 100, None)).Select(Line));
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: false);
        await journal.AppendAsync(expected.Length, [Entry(9)], None);
        Assert.Equal(expected, (await journal.ReadAsync(0, expected.Length, None)).Select(Line));
    }

    private static JournalRecord Record(long n, string life, int size = 20)
    {
        JournalEntry e = Entry(n, size);
        return new JournalRecord(n, e.At, e.NowNs, life, e.Actor, e.Migration, e.Input, e.Body);
    }

    private static async Task<JournalUnavailableException> FaultAsync(JournalFault fault, Func<Task> action)
    {
        var e = await Assert.ThrowsAsync<JournalUnavailableException>(action);
        Assert.True(fault == e.Fault, $"{e.Fault}, not {fault}: {e.Message}");
        return e;
    }

    private static async Task<long> PositionAsync(Process child) =>
        long.Parse(await child.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("the child ended"),
            CultureInfo.InvariantCulture);

    private static async Task<long> AppendUntilFullAsync(SqliteJournal journal)
    {
        while (true)
        {
            try
            {
                await journal.AppendAsync(journal.Length, [Entry(journal.Length + 1, 8000)], None);
            }
            catch (JournalUnavailableException e) when (e.Fault == JournalFault.Full)
            {
                return journal.Length;
            }
        }
    }

    private async Task FillAsync(int count)
    {
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: true);
        await journal.AppendAsync(0, [.. Enumerable.Range(1, count).Select(n => Entry(n, 1000))], None);
    }

    // What a crash leaves: file and log, copied while the manager has them open. Two records an append.
    private async Task<string> CrashedCopyAsync(int appends)
    {
        string copy = Path.Combine(_folder, "copy.db");
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(File1, create: true);
        for (int n = 0; n < appends; n++) await journal.AppendAsync(2 * n, [Entry((2 * n) + 1, 3000), Entry((2 * n) + 2, 3000)], None);
        File.Copy(File1, copy);
        File.Copy(File1 + "-wal", copy + "-wal");
        return copy;
    }

    private void Sql(string text, bool create = false)
    {
        using var connection = new SqliteConnection($"Data Source={File1};Pooling=False;Mode={(create ? "ReadWriteCreate" : "ReadWrite")}");
        connection.Open();
#pragma warning disable CA2100 // the tests' own texts
        using var command = new SqliteCommand(text, connection);
#pragma warning restore CA2100
        command.ExecuteNonQuery();
    }

    /// <summary>A tmpfs of a given size, unmounted at the end.</summary>
    private sealed class SmallDisk : IDisposable
    {
        public SmallDisk(string folder, string size)
        {
            Path = Directory.CreateDirectory(System.IO.Path.Combine(folder, "disk")).FullName;
            Run("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", Path);
        }

        public string Path { get; }

        public void Remount(string option) => Run("mount", "-o", "remount," + option, Path);

        public void Dispose() => Run("umount", Path);

        private static void Run(string program, params string[] args)
        {
            using Process process = Process.Start(program, args);
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
        }
    }
}
