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
public sealed partial class MigrateCommandTests
{
    [RootFact]
    public async Task The_server_moves_there_and_back_and_there_again_and_no_ping_is_lost_even_when_a_move_is_given_up()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(LabFiles.Figure1,
            instance.Options with { Name = instance.Name, ReadyTimeout = TimeSpan.FromSeconds(120), RttMs = 20 }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        Process[] pings = [.. lab.Ingresses.SelectMany(i => new[] { "10.1.1.10", "fd00:1:1::10" }.Select(a => lab.Start(i.Name, ["ping", "-D", "-i", "0.05", a], redirect: true)))];
        Task<string>[] outputs = [.. pings.Select(p => p.StandardOutput.ReadToEndAsync())];
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

        // Ctrl-C in the blackout: the server comes back, and what was held is given back.
        (int givenUp, string end, string told) = await MigrateAsync(lab, instance, "dc-a", 3000, interruptAt: "is nowhere");
        Assert.True(givenUp == 1, told + end);
        Assert.Contains("\"rolled-back\"", end, StringComparison.Ordinal);
        Assert.Equal("dc-b", await lab.Server("vs").LocateAsync("vs", CancellationToken.None));

        // And the lab is as good as new: nothing sticks to the next attempt.
        (int last, string lastOutput, string lastNews) = await MigrateAsync(lab, instance, "dc-a", 200);
        Assert.True(last == 0, lastNews + lastOutput);

        foreach (Process ping in pings) Signals.Send(ping.Id, ProcessSignal.Interrupt);
        for (int i = 0; i < pings.Length; i++)
        {
            string output = await outputs[i];
            int[] answered = [.. Sequence().Matches(output).Select(m => int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture)).Order()];
            await pings[i].WaitForExitAsync();
            pings[i].Dispose();
            Assert.True(answered.Length > 100, $"stream {i}: only {answered.Length} answers");
            Assert.Equal(answered.Distinct(), answered);
            int[] missing = [.. Enumerable.Range(answered[0], answered[^1] - answered[0] + 1).Except(answered)];
            if (missing.Length == 0) continue;
            string[] around = [.. output.Split('\n').Where(l => Sequence().Match(l) is { Success: true } m && missing.Any(n => Math.Abs(n - int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture)) < 4))];
            Assert.Fail($"stream {i} of {lab.Ingresses.Count} x (IPv4, IPv6): no answer to {string.Join(", ", missing)}; around:\n{string.Join('\n', around)}\n{await account.TellAsync()}");
        }
    }

    private static async Task<(int Code, string Output, string News)> MigrateAsync(RunningLab lab, LabInstance instance, string to, int blackoutMs, string? interruptAt = null)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        var start = new ProcessStartInfo(self[0],
            [.. self.Skip(1), "migrate", "run", "--lab", lab.Name, "--server", "vs", "--to", to, "--blackout", $"{blackoutMs}", "--state-dir", instance.StateRoot, "-o", "json"])
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

    [GeneratedRegex(@"bytes from .*icmp_seq=(\d+)")]
    private static partial Regex Sequence();
}
