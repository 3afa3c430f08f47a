using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Demo.Run;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// What a lab's nodes say about a packet that a test misses: drops since the account was opened, events of the PEs, the last of the logs.
/// </summary>
internal sealed class LabAccount : IDisposable
{
    private readonly RunningLab _lab;
    private readonly Dictionary<string, PeClient> _pes;
    private DropCount _before = null!;

    private LabAccount(RunningLab lab)
    {
        _lab = lab;
        _pes = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe)
            .ToDictionary(n => n.Name, n => PeClient.ForUnixSocket(lab.ApiSocket(n.Name), n.Name));
    }

    public static async Task<LabAccount> OpenAsync(RunningLab lab)
    {
        var account = new LabAccount(lab);
        account._before = await DropCount.TakeAsync(lab, account._pes, CancellationToken.None);
        return account;
    }

    /// <summary>The account as text, for the message of a failed assertion.</summary>
    public async Task<string> TellAsync()
    {
        IReadOnlyList<DropReport> drops = (await DropCount.TakeAsync(_lab, _pes, CancellationToken.None)).Since(_before);
        var lines = new List<(long AtNs, string Text)>();
        foreach ((string name, PeClient pe) in _pes)
        {
            using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(2));   // the stream has no end of its own
            try
            {
                await foreach (EventRecord e in pe.EventsAsync(0, enough.Token)) lines.Add((e.AtNs,
                    $"{name} {e.Kind} {e.Subject} {e.Change} {e.Detail}"));
            }
            catch (OperationCanceledException)
            {
            }
        }

        double now = (DateTime.UtcNow - DateTime.UnixEpoch).TotalSeconds, monotonic = Stopwatch.GetTimestamp() / 1e9;
        IEnumerable<string> events = lines.OrderBy(l => l.AtNs)
            .Select(l => string.Create(CultureInfo.InvariantCulture, $"  [{now - monotonic + (l.AtNs / 1e9):F3}] {l.Text}"));
        return $"""
            drops: {string.Join(", ", drops)}
            events:
            {string.Join('\n', events)}
            {Readiness.LogTails(_lab.Topology, _lab.Folder)}
            """;
    }

    /// <summary>
    /// Pings from a node; fails with the account when one of the first <paramref name="count"/> is not answered. Returns what ping printed.
    /// </summary>
    public async Task<string> PingAsync(string node, int count, params string[] arguments)
    {
        string output = await LabInstance.PingAsync(_lab, node, count, arguments);
        if (!LabInstance.Answered(output).Take(count).SequenceEqual(Enumerable.Range(1, count)))
            Assert.Fail($"{node}: {output}\n{await TellAsync()}");
        return output;
    }

    public void Dispose()
    {
        foreach (PeClient pe in _pes.Values) pe.Dispose();
    }
}
