using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>A namespace of a lab.</summary>
/// <param name="Node">The node.</param>
/// <param name="Name">The namespace, <c>clab-LAB-NODE</c>.</param>
/// <param name="Id">The kernel's name for it, <c>net:[inode]</c>; null until it is made. Another namespace of the same name has
/// another.</param>
public sealed record LabNamespace(string Node, string Name, string? Id);

/// <summary>A process the lab started.</summary>
/// <param name="Node">The node.</param>
/// <param name="Name">What it is.</param>
/// <param name="ProcessId">Its number.</param>
/// <param name="StartTicks">When it started; with the number it is this process and no later one.</param>
public sealed record LabProcess(string Node, string Name, int ProcessId, long StartTicks)
{
    /// <summary>True while this very process lives.</summary>
    public bool IsAlive => ProcessStat.Read(ProcessId) is { IsAlive: true } stat && stat.StartTicks == StartTicks;
}

/// <summary>
/// What a lab has made, on disk before it is made, so that destroy finds everything whatever ended the deploy.
/// </summary>
/// <param name="Name">The lab.</param>
/// <param name="TopologyFile">Its topology file.</param>
/// <param name="RttMs">Round-trip time given at deploy; null = as the file says.</param>
/// <param name="Ready">False until deploy has ended well.</param>
/// <param name="Namespaces">Namespaces made, or about to be.</param>
/// <param name="Processes">Processes started.</param>
/// <param name="Deployer">The process that deploys it, or did; null in a state of an earlier version.</param>
public sealed record LabState(
    string Name, string TopologyFile, double? RttMs, bool Ready, IReadOnlyList<LabNamespace> Namespaces,
    IReadOnlyList<LabProcess> Processes, LabProcess? Deployer = null)
{
    /// <summary>True when the deploy ended before the lab was ready, and took nothing away: somebody killed it.</summary>
    [JsonIgnore]
    public bool IsInterrupted => !Ready && Deployer?.IsAlive != true;

    /// <summary>How far the lab is, and what to do; null when it is ready.</summary>
    [JsonIgnore]
    public string? WhyNotReady => Ready ? null
        : IsInterrupted ? $"the deploy of lab {Name} was interrupted; 'sdnedge lab destroy --name {Name}' removes what is left of it"
        : $"the deploy of lab {Name} is at work (process {Deployer!.ProcessId}); wait until it has ended";

    /// <summary>Folder with one folder for each lab.</summary>
    public const string DefaultRoot = "/run/sdnedge";

    private const string FileName = "lab.json", NextName = FileName + ".new";

    /// <summary>The state of the lab in a folder; null when there is none.</summary>
    public static LabState? Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        return File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllText(path), LabJson.Options.For<LabState>()) : null;
    }

    /// <summary>Writes the state; a reader sees the old one or the new one.</summary>
    public void Write(string folder)
    {
        string path = Path.Combine(folder, FileName), next = Path.Combine(folder, NextName);
        File.WriteAllText(next, JsonSerializer.Serialize(this, LabJson.Indented.For<LabState>()));
        File.Move(next, path, overwrite: true);
    }

    /// <summary>
    /// Deletes a lab's folder, the state last: whatever interrupts this, the next destroy finds the lab. With
    /// <paramref name="keepLogs"/> the nodes' logs stay.
    /// </summary>
    public static void Delete(string folder, bool keepLogs)
    {
        if (!Directory.Exists(folder)) return;
        foreach (string entry in Directory.GetFileSystemEntries(folder))
        {
            if (Path.GetFileName(entry) == FileName || (keepLogs && entry.EndsWith(".log", StringComparison.Ordinal))) continue;
            if (Directory.Exists(entry)) Directory.Delete(entry, recursive: true);
            else File.Delete(entry);
        }

        File.Delete(Path.Combine(folder, FileName));
        if (!keepLogs) Directory.Delete(folder);
    }

    /// <summary>Deletes a folder in which a deploy was interrupted before it had written its state. Returns false when it is
    /// none.</summary>
    public static bool DeleteBegun(string folder)
    {
        if (!Directory.Exists(folder) || Directory.GetFileSystemEntries(folder).Any(e => Path.GetFileName(e) != NextName)) return false;
        Directory.Delete(folder, recursive: true);
        return true;
    }

    /// <summary>The names of labs that have a state under a root folder.</summary>
    public static IReadOnlyList<string> All(string root)
        => Directory.Exists(root)
            ? [.. Directory.GetDirectories(root).Where(d => File.Exists(Path.Combine(d, FileName)))
                .Select(d => Path.GetFileName(d)!).Order()] : [];
}
