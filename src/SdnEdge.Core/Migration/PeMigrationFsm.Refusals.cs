using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <content>Why a signal is refused, in words: what was wrong, and what would be right.</content>
public sealed partial class PeMigrationFsm
{
    // Records with lists compare by reference.
    private static bool Same(OrderOptions asked, OrderOptions? known) => known is not null
        && asked.BoundMs == known.BoundMs && asked.OthersHoldMs == known.OthersHoldMs && asked.Ingress.Count == known.Ingress.Count
        && asked.Ingress.Zip(known.Ingress).All(p => p.First.Name == p.Second.Name && p.First.Loopbacks.SequenceEqual(p.Second.Loopbacks));

    // Repeating a signal with other parameters is not a repetition.
    private static string? Contradiction(PeMigration migration, PeSignal request)
    {
        string? what = request.Kind switch
        {
            SignalKind.Prepare when request.Role is { } role && role != migration.Role => $"role {Word(role)}",
            SignalKind.Prepare when request.Vrf is { } vrf && vrf != migration.Vrf => $"VRF {vrf}",
            SignalKind.Prepare when request.Peer is { } peer && peer != migration.Peer => $"peer {peer}",
            SignalKind.Prepare when request.TunnelKey is { } key && key != migration.TunnelKey => $"tunnel key {key}",
            SignalKind.Prepare when request.Prefixes is { } prefixes && !prefixes.Equals(migration.Prefixes) => "other prefixes",
            SignalKind.Prepare when request.Hold is { } hold && hold != migration.Hold => "another hold",
            SignalKind.Prepare when request.Watch is { } watch && !watch.SequenceEqual(migration.Watch ?? []) => "other parts to watch",
            SignalKind.Prepare when request.BackupLocalPref is { } backup && backup != migration.BackupLocalPref
                => $"backup LOCAL_PREF {backup}",
            SignalKind.Prepare when request.BackupExcept is { } except && !except.SequenceEqual(migration.BackupExcept ?? [])
                => "other prefixes without a backup",
            SignalKind.Prepare when request.Order is { } order && !Same(order, migration.Order) => "another order",
            SignalKind.Advertise or SignalKind.Switch when request.LocalPref is { } pref && pref != migration.LocalPref
                => $"LOCAL_PREF {pref} (it was {migration.LocalPref})",
            _ => null,
        };
        return what is null ? null
            : $"{Word(request.Kind)} of '{migration.Id}' took effect before, with other values than {what}; repeat it as it was, or use "
                + "a new migration id";
    }

    private static string WhyNot(PeMigration migration, SignalKind signal)
    {
        IReadOnlyList<PeMigrationState> states = PeTransitions.AllowedIn(migration.Role, signal);
        string here = $"migration '{migration.Id}' is {Word(migration.State)} at its {Word(migration.Role)}";
        string would = migration.Finished ? "it is finished; start a new migration, with a new id"
            : $"now it takes {Or(PeTransitions.AllowedSignals(migration.Role, migration.State).Select(s => Word(s)))}";
        if (states.Count == 0) return $"{Word(signal)} is refused: it is for the {Word(Other(migration.Role))}, and this PE is the "
            + $"{Word(migration.Role)} of '{migration.Id}'; {would}";
        string needs = signal == SignalKind.Abort && !migration.Finished
            ? "the server is live at the target, so the move only goes forward; to go back, move it back with a new migration"
            : $"{Word(signal)} needs it to be {Or(states.Select(s => Word(s)))}; {would}";
        return $"{Word(signal)} is refused: {here}; {needs}";
    }

    // A PE does not know whether somebody leads the migration, nor, before it is told, where the server runs.
    private static string HowToFinish(PeMigration m, string? api)
    {
        if (m.Finished) return "its hold is still giving packets back; try again when it is empty";
        bool source = m.Role == MigrationRole.Source;
        (PeMigrationState s, PeMigrationState t) = source ? (m.State, PeMigrationState.Prepared) : (PeMigrationState.Switched, m.State);
        string forward = $"forwards, {Steps(EndByHand.Forward(s, t))}";
        const string leave = "if it is at work, wait for its end; if nobody leads it any more, end it ";
        if (EndByHand.OnlyForward(source ? m.State : null, source ? null : m.State))
            return $"{leave}{forward}: the server is live at the target";
        return $"{leave}where the server is. While it runs at the source: backwards, {Steps(EndByHand.Back(s, t))}. Once it runs at the "
            + $"target, only {forward}";

        string Steps(IEnumerable<EndStep> steps) => string.Join(", then ", steps.Select(x => x.At == m.Role
            ? $"{EndByHand.Command(x.Signal, m.Id, api ?? "API", m.Epoch)} here"
            : $"{Word(x.Signal)} at its {Word(x.At)} ({m.Peer})"));
    }

    private static PeStep Refuse(PeMigration? migration, PeRefusalReason reason, string detail, IReadOnlyList<ProblemError>? errors = null)
        => new(migration, [], Refusal: new PeRefusal(reason, detail, errors));

    private static MigrationRole Other(MigrationRole role) => role == MigrationRole.Source ? MigrationRole.Target : MigrationRole.Source;

    private static string Or(IEnumerable<string> words) => string.Join(" or ", words);

    private static string Word(Enum value) => value is PeMigrationState.TornDown ? "torn down"
        : System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
