using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>20 pings a second from a node, until ended: what of them gets no answer is what a case cost.</summary>
internal sealed partial class PingStream : IDisposable
{
    private readonly Process _ping;
    private readonly Task<string> _output;

    /// <summary>Begins.</summary>
    public PingStream(RunningLab lab, string node, string address)
    {
        _ping = lab.Start(node, ["ping", "-q", "-i", "0.05", address], redirect: true);
        _output = _ping.StandardOutput.ReadToEndAsync();
    }

    /// <summary>Ends it. Returns how many were sent, and how many of them were not answered.</summary>
    public async Task<(int Sent, int Lost)> EndAsync()
    {
        Signals.Send(_ping.Id, ProcessSignal.Interrupt);
        Match match = Totals().Match(await _output);
        await _ping.WaitForExitAsync();
        if (!match.Success) return (0, 0);
        int sent = int.Parse(match.Groups["sent"].ValueSpan, CultureInfo.InvariantCulture);
        return (sent, sent - int.Parse(match.Groups["received"].ValueSpan, CultureInfo.InvariantCulture));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_ping.HasExited) Signals.Send(_ping.Id, ProcessSignal.Kill);
        _ping.Dispose();
    }

    [GeneratedRegex(@"(?<sent>\d+) packets transmitted, (?<received>\d+) received", RegexOptions.ExplicitCapture)]
    private static partial Regex Totals();
}
