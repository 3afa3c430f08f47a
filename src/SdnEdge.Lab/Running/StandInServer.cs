using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>
/// The stand-in for a virtual server: one namespace with a leg in each site. Where it is, is read from the namespace; what stops it and
/// starts it are the agents of its hosts.
/// </summary>
internal static class StandInServer
{
    /// <summary>The site at which the server is live now; null while it is paused, or at none.</summary>
    /// <exception cref="LabException">Its namespace is gone.</exception>
    public static Task<string?> LocateAsync(string ns, IReadOnlyList<LabSite> sites, CancellationToken cancel)
    {
        HashSet<string> id = [Netns.IdOf(ns) ?? throw new LabException(Environment.IsPrivilegedProcess
            ? $"namespace {ns} is gone." : $"only root can look into namespace {ns}; run this with sudo.")];
        return Task.Factory.StartNew(() => Namespaces.Run(ns, () =>
        {
            List<ProcessStat> processes = Netns.ProcessesIn(id);
            bool paused = processes.Count > 0 && processes.TrueForAll(p => p.IsStopped);

            // A leg is live when it is a port of eth0.
            return paused ? null : sites.FirstOrDefault(s => NetDevice.IsPortOf(s.Leg, "eth0"))?.Name;
        }), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }
}
