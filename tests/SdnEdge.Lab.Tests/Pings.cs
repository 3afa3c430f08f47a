using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>20 pings a second from a node, until ended.</summary>
internal sealed partial class Pings : IDisposable
{
    private readonly string _name;
    private readonly Process _process;
    private readonly Task _reading;
    private readonly Arrivals _arrivals = new();
    private readonly List<string> _lines = [];
    private int _answers;

    public Pings(RunningLab lab, string node, string address)
    {
        _name = $"{node} to {address}";
        _process = lab.Start(node, ["ping", "-D", "-i", "0.05", address], redirect: true);
        _reading = Task.Run(ReadAsync);
    }

    /// <summary>The number of the ping that a line tells the answer of; null: the line tells of none.</summary>
    public static int? Number(string line) => Answer().Match(line) is { Success: true } m
        ? int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : null;

    public override string ToString() => _name;

    /// <summary>Waits until so many more answers have come.</summary>
    public async Task AnswersAsync(int more)
    {
        int goal = Volatile.Read(ref _answers) + more;
        Assert.True(await _arrivals.UntilAsync(() => Volatile.Read(ref _answers) >= goal, Patience.Long),
            $"{_name}: no more answers in {Patience.Long.TotalSeconds} s");
    }

    /// <summary>Ends it. Returns the numbers of the answered pings in rising order, and what ping printed.</summary>
    public async Task<(int[] Answered, string[] Lines)> EndAsync()
    {
        Signals.Send(_process.Id, ProcessSignal.Interrupt);
        await _reading;
        await _process.WaitForExitAsync();
        return ([.. _lines.Select(Number).OfType<int>().Order()], [.. _lines]);
    }

    /// <summary>Ends the pings; all of the moves lie between answered ones, and between those every one was answered, once.</summary>
    public static async Task NothingLostAsync(Pings[] streams, LabAccount account)
    {
        foreach (Pings stream in streams) await stream.AnswersAsync(5);
        foreach (Pings stream in streams)
        {
            using Pings ended = stream;
            (int[] answered, string[] lines) = await ended.EndAsync();
            Assert.Equal(answered.Distinct(), answered);
            int[] missing = [.. Enumerable.Range(answered[0], answered[^1] - answered[0] + 1).Except(answered)];
            if (missing.Length == 0) continue;
            IEnumerable<string> around = lines.Where(l => Number(l) is { } number && missing.Any(n => Math.Abs(n - number) < 4));
            Assert.Fail($"{stream}: no answer to {string.Join(", ", missing)}; "
                + $"around:\n{string.Join('\n', around)}\n{await account.TellAsync()}");
        }
    }

    public void Dispose()
    {
        _process.Dispose();
        _arrivals.Dispose();
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            _lines.Add(line);
            if (Number(line) is null) continue;
            Interlocked.Increment(ref _answers);
            _arrivals.Tell();
        }
    }

    [GeneratedRegex(@"bytes from .*icmp_seq=(\d+)")]
    private static partial Regex Answer();
}
