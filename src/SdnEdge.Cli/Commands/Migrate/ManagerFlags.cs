using System.CommandLine;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>A manager to talk to.</summary>
/// <param name="Mms">Its client.</param>
/// <param name="Lab">The lab that it is of; null = it was named by its address.</param>
/// <param name="SameClock">True when it runs on this machine: its CLOCK_MONOTONIC is ours.</param>
internal sealed record Manager(MmsClient Mms, RunningLab? Lab, bool SameClock) : IDisposable
{
    private readonly Dictionary<string, PeClient> _pes = [];

    /// <summary>A hold as its PE sees it now, in a lab; null where that PE cannot be asked or has none.</summary>
    public async Task<HoldInfo?> HoldAsync(PathStatus path, CancellationToken cancel)
    {
        if (Lab?.Topology.Find(path.TargetPe) is null) return null;
        if (!_pes.TryGetValue(path.TargetPe, out PeClient? pe))
            _pes[path.TargetPe] = pe = PeClient.ForUnixSocket(Lab.ApiSocket(path.TargetPe), path.TargetPe);
        try
        {
            return (await pe.MigrationsAsync(cancel)).FirstOrDefault(m => m.Id == path.Id)?.Hold;
        }
        catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
        {
            return null;   // Only shown; the manager says what it waits for.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Mms.Dispose();
        foreach (PeClient pe in _pes.Values) pe.Dispose();
    }
}

/// <summary>Options that say which manager is meant: a lab's, or the one at an address.</summary>
internal static class ManagerFlags
{
    private static readonly Option<string?> Lab = new("--lab", "-n")
    {
        Description = "The manager of this lab. Default: of the only lab that runs.",
    };
    private static readonly Option<string?> Api = new("--api")
    {
        Description = "The manager's API: its unix socket, or https://HOST:PORT/ with --cert, --key and --ca.",
        HelpName = "SOCKET|URL",
    };
    private static readonly Option<string> StateRoot = new("--state-dir")
    {
        Description = "Folder of the labs' states.",
        DefaultValueFactory = _ => LabState.DefaultRoot,
    };

    /// <summary>Adds them to a command.</summary>
    public static void AddTo(Command command)
    {
        foreach (Option option in (Option[])[Lab, Api, StateRoot]) command.Options.Add(option);
        IdentityFlags.AddTo(command);
    }

    /// <summary>The manager meant. Nothing is connected yet.</summary>
    /// <exception cref="LabException">No lab, several, or one without a manager.</exception>
    /// <exception cref="ArgumentException">The address is none, or HTTPS lacks its certificate.</exception>
    /// <exception cref="IOException">A PEM file cannot be read.</exception>
    public static Manager Open(ParseResult parse)
    {
        if (parse.GetValue(Api) is { } api)
        {
            if (parse.GetValue(Lab) is not null) throw new ArgumentException("--lab and --api both name a manager; give one of them");
            return new Manager(Patient(new MmsClient(ApiClient.EndpointFor(api, IdentityFlags.For(parse, api, "the manager")))), null,
                !IdentityFlags.IsHttps(api));
        }

        string root = parse.GetValue(StateRoot)!;
        RunningLab lab = RunningLab.Attach(Which(parse, root), root);
        string socket = lab.MmsSocket
            ?? throw new LabException($"lab {lab.Name} has no manager; give its topology a node of kind sdnedge-mms.");
        return new Manager(Patient(new MmsClient(new ApiEndpoint("mms", socket))), lab, true);
    }

    // A plan asks every PE and host of the group.
    private static MmsClient Patient(MmsClient mms)
    {
        mms.RequestTimeout = TimeSpan.FromSeconds(60);
        return mms;
    }

    private static string Which(ParseResult parse, string root)
    {
        if (parse.GetValue(Lab) is { } name) return name;
        IReadOnlyList<string> all = LabState.All(root);
        return all.Count == 1 ? all[0] : throw new LabException(all.Count == 0
            ? "no lab is running; 'sdnedge lab deploy -t topologies/figure1.clab.yml' starts one; or give --api SOCKET."
            : $"which lab? Give --lab; running: {string.Join(", ", all)}.");
    }
}
