using SdnEdge.Core.Api;
using static SdnEdge.Core.Migration.HostPhase;

namespace SdnEdge.Core.Migration;

/// <summary>What the record and what was seen say together.</summary>
public enum HostFinding
{
    /// <summary>It is as the record says.</summary>
    AsRecorded,
    /// <summary>An order was not finished: the same order again finishes it.</summary>
    Unfinished,
    /// <summary>It may run and does not: it stays so until an explicit order (R4).</summary>
    NotRunning,
    /// <summary>It runs without the right to. It is not touched: somebody must look.</summary>
    RunsWithoutRight,
    /// <summary>What should be kept or expected here is gone.</summary>
    Gone,
    /// <summary>Something is here that should not be.</summary>
    LeftOver,
    /// <summary>The driver cannot say.</summary>
    CannotSay,
}

/// <summary>
/// After a start, and whenever a server was looked at between orders, its record is held against what was seen. Nothing is done about it:
/// no start, timer or look resumes, stops or removes a server (R4). A test tries every phase with every state; exactly one row matches.
/// <code>
/// phase                                  running           paused       incoming     absent       unknown
/// Running, Offered                       as recorded       not running  not running  not running  cannot say
/// Starting, Resuming                     unfinished        unfinished   unfinished   unfinished   cannot say
/// Stopping                               unfinished        unfinished   gone         gone         cannot say
/// Stopped, HandedOver                    without right     as recorded  gone         gone         cannot say
/// HandingOver                            without right     unfinished   gone         gone         cannot say
/// Away                                   without right     left over    left over    as recorded  cannot say
/// Preparing, Cancelling                  without right     unfinished   unfinished   unfinished   cannot say
/// Incoming                               without right     as recorded  as recorded  gone         cannot say
/// Retiring, Fencing                      without right     unfinished   unfinished   unfinished   cannot say
/// Fenced                                 without right     left over    left over    as recorded  cannot say
/// </code>
/// Stopping and running: the agent ended between the record and the stop, or the stop failed. An incoming server that is complete may be
/// seen paused.
/// </summary>
public static class HostDiagnosis
{
    private static readonly (HostPhase[] Phases, ServerState[] States, HostFinding Finding)[] s_table =
    [
        (Enum.GetValues<HostPhase>(), [ServerState.Unknown], HostFinding.CannotSay),
        ([Running, Offered], [ServerState.Running], HostFinding.AsRecorded),
        ([Running, Offered], [ServerState.Paused, ServerState.Incoming, ServerState.Absent], HostFinding.NotRunning),
        ([Starting, Resuming], [ServerState.Running, ServerState.Paused, ServerState.Incoming, ServerState.Absent], HostFinding.Unfinished),
        ([Stopping], [ServerState.Running, ServerState.Paused], HostFinding.Unfinished),
        ([Stopping, Stopped, HandingOver, HandedOver], [ServerState.Incoming, ServerState.Absent], HostFinding.Gone),
        ([Stopped, HandedOver], [ServerState.Paused], HostFinding.AsRecorded),
        ([HandingOver], [ServerState.Paused], HostFinding.Unfinished),
        ([Stopped, HandingOver, HandedOver, Away, Preparing, Cancelling, Incoming, Retiring, Fencing, Fenced], [ServerState.Running],
            HostFinding.RunsWithoutRight),
        ([Away, Fenced], [ServerState.Absent], HostFinding.AsRecorded),
        ([Away, Fenced], [ServerState.Paused, ServerState.Incoming], HostFinding.LeftOver),
        ([Preparing, Cancelling, Retiring, Fencing], [ServerState.Paused, ServerState.Incoming, ServerState.Absent],
            HostFinding.Unfinished),
        ([Incoming], [ServerState.Paused, ServerState.Incoming], HostFinding.AsRecorded),
        ([Incoming], [ServerState.Absent], HostFinding.Gone),
    ];

    /// <summary>All rows that match; exactly one.</summary>
    internal static IReadOnlyList<HostFinding> Rows(HostPhase phase, ServerState seen)
        => [.. s_table.Where(row => row.Phases.Contains(phase) && row.States.Contains(seen)).Select(row => row.Finding)];

    /// <summary>What the phase and the state say together.</summary>
    public static HostFinding Find(HostPhase phase, ServerState seen) => Rows(phase, seen)[0];

    /// <summary>What a server of this phase should be seen doing.</summary>
    public static ServerState Expected(HostPhase phase) => phase switch
    {
        Running or Offered => ServerState.Running,
        Stopped or HandingOver or HandedOver => ServerState.Paused,
        Incoming => ServerState.Incoming,
        Away or Fenced => ServerState.Absent,
        _ => ServerState.Unknown,
    };

    /// <summary>The fault, for people; null when there is none.</summary>
    /// <param name="record">The record.</param>
    /// <param name="seen">What the server was seen doing.</param>
    /// <param name="reason">Unknown: why the driver could not say. Else why it does not run, where that is known.</param>
    public static string? Of(HostRecord record, ServerState seen, string? reason)
    {
        string phase = HostFsm.Word(record.Phase);
        string state = seen == ServerState.Unknown || reason is null ? HostFsm.Word(seen) : $"{HostFsm.Word(seen)} ({reason})";
        return Find(record.Phase, seen) switch
        {
            HostFinding.AsRecorded => null,
            HostFinding.Unfinished => $"{phase} of epoch {record.PhaseEpoch} is unfinished (seen {state}); the same order again "
                + $"finishes it{(record.MayRun is null ? "" : ", and so does start")}",
            HostFinding.NotRunning => $"it may run here under epoch {record.MayRun} and is {state}; it stays so until an order: "
                + (record.Phase == Running ? "start" : $"the migration goes on with it, or undoes it: resume with a higher epoch"),
            HostFinding.RunsWithoutRight => $"it runs here and may not ({phase} since epoch {record.PhaseEpoch}); nothing was touched: "
                + "find out where "
                + "it is to run, and retire it here or resume it here with a higher epoch",
            HostFinding.Gone => $"it is {phase} since epoch {record.PhaseEpoch} and what was here of it is gone (seen {state})",
            HostFinding.LeftOver => $"something of it is here ({state}) that should not be; retire removes it",
            _ => $"the driver cannot say what it is doing: {reason ?? "no reason given"}",
        };
    }
}
