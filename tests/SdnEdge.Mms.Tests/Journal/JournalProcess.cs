using System.Diagnostics;
using System.Globalization;
using SdnEdge.Mms.Journal;

namespace SdnEdge.Mms.Tests.Journal;

/// <summary>A manager's process, as far as its journal goes.</summary>
internal static class JournalProcess
{
    /// <summary>Starts it: append (acknowledged positions on its output, until killed), hold (opens and waits), time, record.</summary>
    public static Process Start(params string[] args) =>
        Process.Start(new ProcessStartInfo(Environment.ProcessPath!, ["exec", typeof(JournalProcess).Assembly.Location, "journal", .. args])
        {
            RedirectStandardOutput = true, RedirectStandardInput = true, UseShellExecute = false,
        })!;

    public static JournalEntry Entry(long n, int size = 20) => new(
        new DateTimeOffset(2026, 11, 28, 12, 0, 0, TimeSpan.Zero).AddSeconds(n).ToString("yyyy-MM-ddTHH:mm:ss.fffZ",
            CultureInfo.InvariantCulture),
        n * 1_000_000_000, n % 2 == 0 ? "manager" : "user 0", n % 3 == 0 ? null : "m1", "Tick",
            $"{{\"n\":{n},\"pad\":\"{new string('x', size)}\"}}");

    public static async Task<int> RunAsync(string[] args)
    {
        await using SqliteJournal journal = await SqliteJournal.OpenAsync(args[1], create: true);
        switch (args[0])
        {
            case "hold":
                Console.WriteLine("open");
                return Console.Read();
            case "append":
                Console.WriteLine(journal.Length);
                while (true)
                {
                    // Three at a time: all of them or none are there afterwards.
                    long at = journal.Length;
                    await journal.AppendAsync(at, [Entry(at + 1, 900), Entry(at + 2), Entry(at + 3, 3000)], CancellationToken.None);
                    Console.WriteLine(journal.Length);
                }

            case "time":
                foreach (int count in (int[])[1, 10])
                {
                    var times = new List<double>();
                    for (int i = 0; i < 500; i++)
                    {
                        long at = journal.Length, begin = Stopwatch.GetTimestamp();
                        await journal.AppendAsync(at, [.. Enumerable.Range(1, count).Select(n => Entry(at + n, 200))],
                            CancellationToken.None);
                        times.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
                    }

                    times.Sort();
                    Console.WriteLine($"{count} records: median {times[250]:0.000} ms, p99 {times[495]:0.000} ms");
                }

                return 0;
            case "record":
                JournalEntry[] entries = [.. Enumerable.Range(1, 7).Select(n => Entry(n)),
                    new("2026-11-28T12:00:08.000Z", long.MaxValue, "certificate ops", "umzug-ä", "Granted",
                        "{\"epoch\":8,\"site\":\"dc-b\",\"text\":\"größer €\"}")];
                await journal.AppendAsync(0, entries, CancellationToken.None);
                foreach (JournalRecord record in await journal.ReadAsync(0, 100, CancellationToken.None)) Console.WriteLine(Line(record));
                return 0;
            default:
                return 2;
        }
    }

    /// <summary>A record as a line of a file of expected records.</summary>
    public static string Line(JournalRecord r) =>
        string.Join('\t', r.Position, r.At, r.NowNs, r.Life, r.Actor, r.Migration ?? "-", r.Input, r.Body);
}
