using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary><c>sdnedge migrate run</c> in the Figure 1 lab, while every client pings the server over IPv4 and IPv6.</summary>
[Trait("needs", "executable")]
public sealed partial class MigrateCommandTests
{
    [RootFact]
    public async Task The_server_moves_there_and_back_and_there_again_and_no_ping_is_lost_even_when_a_move_is_given_up()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(LabFiles.Figure1,
            instance.Options with { Name = instance.Name, RttMs = 20 }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        Pings[] streams = [.. lab.Ingresses.SelectMany(i => new[] { "10.1.1.10", "fd00:1:1::10" }.Select(a => new Pings(lab, i.Name, a)))];
        foreach (Pings stream in streams) await stream.AnswersAsync(1);
        long epoch = 0;
        foreach (string to in (string[])["dc-b", "dc-a", "dc-b"])
        {
            (int code, string output, string news) = await MigrateAsync(lab, instance, to, 200);
            Assert.True(code == 0, news + output);
            using JsonDocument result = JsonDocument.Parse(output);
            Assert.Equal("moved", result.RootElement.GetProperty("outcome").GetString());
            Assert.Equal(0, result.RootElement.GetProperty("residue").GetArrayLength());
            Assert.Equal(to, await lab.Server("vs").LocateAsync("vs", CancellationToken.None));
            long next = result.RootElement.GetProperty("plan").GetProperty("epoch").GetInt64();
            Assert.True(next > epoch, "each move has a higher epoch");
            epoch = next;
        }

        (int refused, _, string why) = await MigrateAsync(lab, instance, "dc-b", 200);
        Assert.True(refused == 2 && why.Contains("is at dc-b already; it could go to dc-a", StringComparison.Ordinal), why);

        // Ctrl-C in the blackout, which would be longer than a signal can take: the server comes back, and what was held is given back.
        (int givenUp, string end, string told) = await MigrateAsync(lab, instance, "dc-a", 60_000, interruptAt: "is nowhere");
        Assert.True(givenUp == 1, told + end);
        Assert.Contains("\"rolled-back\"", end, StringComparison.Ordinal);
        Assert.Equal("dc-b", await lab.Server("vs").LocateAsync("vs", CancellationToken.None));

        // And the lab is as good as new: nothing sticks to the next attempt.
        (int last, string lastOutput, string lastNews) = await MigrateAsync(lab, instance, "dc-a", 200);
        Assert.True(last == 0, lastNews + lastOutput);

        // All of the moves lie between answered pings.
        foreach (Pings stream in streams) await stream.AnswersAsync(5);
        foreach (Pings stream in streams)
        {
            using Pings ended = stream;
            (int[] answered, string[] lines) = await ended.EndAsync();
            Assert.Equal(answered.Distinct(), answered);
            int[] missing = [.. Enumerable.Range(answered[0], answered[^1] - answered[0] + 1).Except(answered)];
            if (missing.Length == 0) continue;
            IEnumerable<string> around = lines.Where(l => Pings.Number(l) is { } number && missing.Any(n => Math.Abs(n - number) < 4));
            Assert.Fail($"{stream}: no answer to {string.Join(", ", missing)}; around:\n{string.Join('\n', around)}\n{await account.TellAsync()}");
        }
    }

    private static async Task<(int Code, string Output, string News)> MigrateAsync(RunningLab lab, LabInstance instance, string to, int blackoutMs, string? interruptAt = null)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        var start = new ProcessStartInfo(self[0],
            [.. self.Skip(1), "migrate", "run", "--lab", lab.Name, "--server", "vs", "--to", to, "--blackout", $"{blackoutMs}", "--quiet", "5000", "--state-dir", instance.StateRoot, "-o", "json"])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string news = "";
        while (await process.StandardError.ReadLineAsync() is { } line)
        {
            news += line + "\n";
            if (interruptAt is not null && line.Contains(interruptAt, StringComparison.Ordinal)) Signals.Send(process.Id, ProcessSignal.Interrupt);
        }

        await process.WaitForExitAsync();
        return (process.ExitCode, await output, news);
    }

    /// <summary>20 pings a second from a node, until ended.</summary>
    private sealed partial class Pings : IDisposable
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
        public static int? Number(string line) => Answer().Match(line) is { Success: true } m ? int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : null;

        public override string ToString() => _name;

        /// <summary>Waits until so many more answers have come.</summary>
        public async Task AnswersAsync(int more)
        {
            int goal = Volatile.Read(ref _answers) + more;
            Assert.True(await _arrivals.UntilAsync(() => Volatile.Read(ref _answers) >= goal, LabInstance.Patience), $"{_name}: no more answers in {LabInstance.Patience.TotalSeconds} s");
        }

        /// <summary>Ends it. Returns the numbers of the answered pings in rising order, and what ping printed.</summary>
        public async Task<(int[] Answered, string[] Lines)> EndAsync()
        {
            Signals.Send(_process.Id, ProcessSignal.Interrupt);
            await _reading;
            await _process.WaitForExitAsync();
            return ([.. _lines.Select(Number).OfType<int>().Order()], [.. _lines]);
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
}
