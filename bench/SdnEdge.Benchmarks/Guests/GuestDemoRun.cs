using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Benchmarks.Bgp;

namespace SdnEdge.Benchmarks.Guests;

/// <summary>
/// <c>sdnedge demo --vm qemu --compare</c> again and again, as a user runs it: what its reports say of the move, and of the same machine
/// moved by a
/// script.
/// </summary>
internal static class GuestDemoRun
{
    // A figure of the report: its name, and where it stands.
    private static readonly (string Name, string[] Path)[] s_figures =
    [
        ("gap ms", ["goals", "gapMs"]), ("its goal", ["goals", "gapBoundMs"]), ("stop-run ms", ["goals", "stopToRunMs"]),
        ("script: gap", ["script", "gapMs"]), ("stop-run", ["script", "downtimeMs"]), ("lost", ["script", "lost"]),
    ];

    public static async Task<int> RunAsync(int moves)
    {
        Console.WriteLine($"{moves} runs of sdnedge demo --vm qemu --compare");
        Console.WriteLine($"  {"run",-5}{"exit",5}{"sent",9}{"lost",6}{"twice",7}{"reord.",8}"
            + string.Concat(s_figures.Select(f => $"{f.Name,14}")) + "  counter and pattern");
        var results = new List<double[]>();
        int clean = 0;
        for (int run = 1; run <= moves; run++)
        {
            string folder = Directory.CreateTempSubdirectory("sdnedge-demos-").FullName;
            try
            {
                (int exit, string said) = await DemoAsync(folder);
                string file = Path.Combine(folder, "report.json");
                if (!File.Exists(file))
                {
                    Console.WriteLine($"  {run,-5}{exit,5}  no report: {said}");
                    continue;
                }

                using JsonDocument report = JsonDocument.Parse(await File.ReadAllTextAsync(file));
                JsonElement root = report.RootElement;
                long[] counts = [.. ((string[])["sent", "lost", "duplicated", "reordered"]).Select(
                    c => root.GetProperty("ingress").EnumerateArray().Sum(s => s.GetProperty(c).GetInt64()))];
                double[] figures = [.. s_figures.Select(f => At(root, f.Path))];
                results.Add(figures);
                JsonElement server = root.GetProperty("server");
                bool whole = server.GetProperty("counterContinuous").GetBoolean() && server.GetProperty("patternIntact").GetBoolean();
                if (exit == 0 && whole && counts[1..].All(c => c == 0)) clean++;
                Console.WriteLine($"  {run,-5}{exit,5}{counts[0],9}{counts[1],6}{counts[2],7}{counts[3],8}"
                    + string.Concat(figures.Select(f => Figure(f, 14))) + (whole ? "  whole" : "  NOT WHOLE"));
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }
        }

        for (int i = 0; i < s_figures.Length && results.Count > 0; i++)
        {
            double[] sorted = [.. results.Select(r => r[i]).Where(double.IsFinite).Order()];
            if (sorted.Length == 0) continue;
            Console.WriteLine($"  {s_figures[i].Name,-14}least {Figure(sorted[0], 8)}  median {Figure(sorted[sorted.Length / 2], 8)}  most "
                + Figure(sorted[^1], 8));
        }

        Console.WriteLine($"{clean} of {moves} clean: nothing lost, duplicated or reordered, the same machine at the end");
        return clean == moves ? 0 : 1;
    }

    private static async Task<(int Exit, string Said)> DemoAsync(string folder)
    {
        using Process demo = Process.Start(new ProcessStartInfo(
            Daemon.Executable(), ["demo", "--vm", "qemu", "--compare", "--out", folder])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        })!;
        Task<string> output = demo.StandardOutput.ReadToEndAsync(), errors = demo.StandardError.ReadToEndAsync();
        await demo.WaitForExitAsync();
        return (demo.ExitCode, string.Join("; ", (await output + await errors).Split('\n').TakeLast(4)));
    }

    // NaN: the report does not have it.
    private static double At(JsonElement at, string[] path)
    {
        foreach (string name in path)
            if (at.ValueKind != JsonValueKind.Object || !at.TryGetProperty(name, out at)) return double.NaN;
        return at.ValueKind == JsonValueKind.Number ? at.GetDouble() : double.NaN;
    }

    private static string Figure(double value, int width)
        => (double.IsFinite(value) ? value.ToString("F1", CultureInfo.InvariantCulture) : "-").PadLeft(width);
}
