using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>
/// Looks at a stand-in server all the time, without asking anybody: a leg that is a port of eth0 in its namespace is live. Beside it the
/// two agents are asked whether the server may run at their hosts. Two at once, at any look, is what must never be.
/// </summary>
internal sealed class LegWatch : IAsyncDisposable
{
    private readonly IReadOnlyList<LabSite> _sites;
    private readonly string _namespace;
    private readonly string _id;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<string> _seen = [];
    private readonly Task _looking;
    private readonly Task _asking;
    private long _darkSince;
    private long _darkest;

    /// <summary>Begins to look.</summary>
    public LegWatch(RunningLab lab, string server, IReadOnlyDictionary<string, HostClient> hosts)
    {
        _sites = lab.SitesOf(server);
        _namespace = lab.NamespaceOf(server);
        _id = NamespaceProcesses.IdOf(_namespace)!;
        _looking = Task.Factory.StartNew(
            () => Namespaces.Run(_namespace, Look), _stop.Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        _asking = Task.Run(() => AskAsync(server, [.. hosts.Values]));
    }

    /// <summary>The site where the server is live; null: at none, or at two.</summary>
    public string? Site => Namespaces.Run(_namespace, () => _sites.Where(IsLive).ToArray()) is [var site] ? site.Name : null;

    /// <summary>What must never be and was seen since <see cref="Begin"/>.</summary>
    public IReadOnlyList<string> Seen
    {
        get
        {
            lock (_lock) return [.. _seen.Distinct()];
        }
    }

    /// <summary>Longest time without a live leg since <see cref="Begin"/>, milliseconds.</summary>
    public double DarkMs => Interlocked.Read(ref _darkest) / 1e6;

    /// <summary>The site where a server is that is not at this one.</summary>
    public string Other(string site) => _sites.First(s => s.Name != site).Name;

    /// <summary>Processes of the server that stand still.</summary>
    public IReadOnlyList<ProcessStat> Stopped() => [.. NamespaceProcesses.In(_id).Where(p => p.IsStopped)];

    /// <summary>Forgets what was seen.</summary>
    public void Begin()
    {
        Interlocked.Exchange(ref _darkest, 0);
        lock (_lock) _seen.Clear();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_looking, _asking);
        _stop.Dispose();
    }

    private static bool IsLive(LabSite site) => NetDevice.IsPortOf(site.Leg, "eth0");

    private void Look()
    {
        _ = Urgency.Raise();   // else it looks seldom while the machine is busy
        while (!_stop.IsCancellationRequested)
        {
            // Looks follow one another: what is seen before and after the other leg was there meanwhile, too.
            bool first = IsLive(_sites[0]), second = IsLive(_sites[1]);
            if (first && second && IsLive(_sites[0])) Note("the server was live at both sites at once");
            long now = Monotonic.Now;
            if (first || second) _darkSince = 0;
            else if (_darkSince == 0) _darkSince = now;
            else if (now - _darkSince > _darkest) Interlocked.Exchange(ref _darkest, now - _darkSince);
            Thread.Sleep(1);   // the watch's pace
        }
    }

    private async Task AskAsync(string server, HostClient[] hosts)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                ServerInfo first = await hosts[0].ServerAsync(server, _stop.Token);
                ServerInfo second = await hosts[1].ServerAsync(server, _stop.Token);
                if (first.MayRun is { } epoch && second.MayRun is { } other
                    && (await hosts[0].ServerAsync(server, _stop.Token)).MayRun == epoch)
                {
                    Note(string.Create(CultureInfo.InvariantCulture,
                        $"the server might run at {hosts[0].Name} by epoch {epoch} and at {hosts[1].Name} by epoch {other} at once"));
                }
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                // It is being killed, or on its way up.
            }
            catch (OperationCanceledException)
            {
                return;
            }

            // The watch's pace.
            await Task.Delay(50, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Note(string what)
    {
        lock (_lock) _seen.Add(what);
    }
}
