using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>A signal to one end of a migration.</summary>
/// <param name="At">The end.</param>
/// <param name="Signal">The signal.</param>
public sealed record EndStep(MigrationRole At, SignalKind Signal);

/// <summary>
/// How a migration that nobody leads any more is brought to its end, signal by signal. Which of the two ways is right depends on where the
/// server runs: backwards while it runs at the source, forwards once it runs at the target. The wrong one leads its traffic to where it is
/// not, and so does a source that is torn down before the target was released.
/// </summary>
public static class EndByHand
{
    private static readonly EndStep[] s_forward =
    [
        new(MigrationRole.Source, SignalKind.Switch), new(MigrationRole.Target, SignalKind.Release),
        new(MigrationRole.Target, SignalKind.Advertise), new(MigrationRole.Source, SignalKind.Withdraw),
        new(MigrationRole.Source, SignalKind.Teardown), new(MigrationRole.Target, SignalKind.Teardown),
    ];

    // The source first: what is in the tunnel then still comes out at a target that gives it back.
    private static readonly EndStep[] s_back = [new(MigrationRole.Source, SignalKind.Abort), new(MigrationRole.Target, SignalKind.Abort)];

    /// <summary>True when one of the ends has been told that the server is live at the target: there is no way back from there.</summary>
    /// <param name="source">The state at the source; null = not known there.</param>
    /// <param name="target">The state at the target; null = not known there.</param>
    public static bool OnlyForward(PeMigrationState? source, PeMigrationState? target)
        => source is PeMigrationState.Withdrawn or PeMigrationState.TornDown
            || target is PeMigrationState.Released or PeMigrationState.Advertised or PeMigrationState.TornDown;

    /// <summary>The signals that end it with the server at the target, in order. Each is allowed in the state that the ones before it
    /// lead to.</summary>
    /// <param name="source">The state at the source; null = not known there, nothing is to be done there.</param>
    /// <param name="target">The same for the target.</param>
    public static IReadOnlyList<EndStep> Forward(PeMigrationState? source, PeMigrationState? target) => Possible(s_forward, source, target);

    /// <summary>The signals that end it with the server at the source, in order.</summary>
    /// <param name="source">The state at the source; null = not known there, nothing is to be done there.</param>
    /// <param name="target">The same for the target.</param>
    public static IReadOnlyList<EndStep> Back(PeMigrationState? source, PeMigrationState? target) => Possible(s_back, source, target);

    /// <summary>A signal as a command line.</summary>
    /// <param name="signal">The signal.</param>
    /// <param name="id">The migration.</param>
    /// <param name="api">The PE's API: a socket, or an https address.</param>
    /// <param name="epoch">The epoch in force there.</param>
    public static string Command(SignalKind signal, string id, string api, long epoch)
    {
        ArgumentNullException.ThrowIfNull(api);
        string who = api.StartsWith("https:", StringComparison.OrdinalIgnoreCase) ? " --cert CERT --key KEY --ca CA" : "";
        string word = System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(signal.ToString());
        return $"'sdnedge migrate signal {word} {id} --api {api} --epoch {epoch}{who}'";
    }

    private static List<EndStep> Possible(EndStep[] steps, PeMigrationState? source, PeMigrationState? target)
    {
        var possible = new List<EndStep>();
        foreach (EndStep step in steps)
        {
            PeMigrationState? state = step.At == MigrationRole.Source ? source : target;
            if (state is not { } from || PeTransitions.Next(step.At, from, step.Signal) is not { } next) continue;
            possible.Add(step);
            if (step.At == MigrationRole.Source) source = next;
            else target = next;
        }

        return possible;
    }
}
