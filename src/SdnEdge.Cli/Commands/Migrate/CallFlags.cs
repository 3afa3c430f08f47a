using System.CommandLine;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Options that say what is to be moved, and how: those of plan, start and run. What is out of range the manager refuses, all of
/// it at once.</summary>
internal sealed class CallFlags
{
    private readonly Option<string> _group = new("--group", "-g") { Description = "The group that moves.", Required = true };
    private readonly Option<string> _to = new("--to") { Description = "Site that it goes to, e.g. dc-b.", Required = true };
    private readonly Option<string> _cutover = new("--cutover")
    {
        Description = "together: all servers stop, one pivot, all start. one-by-one: server by server.",
        DefaultValueFactory = _ => "together",
    };
    private readonly Option<int?> _atOnce = new("--at-once")
    {
        Description = "With --cutover one-by-one: most servers on the way at once (default: the group's, 1). Each has a pivot of its own.",
        HelpName = "N",
    };
    private readonly Option<int?> _bandwidth = new("--bandwidth")
    {
        Description = "What the copies of the servers' memory may take of the network, all together, Mbit/s (default: the group's, or as "
            + "much as the hosts' own files allow).",
        HelpName = "MBIT",
    };
    private readonly Option<int> _copy = new("--copy")
    {
        Description = "Stand-in servers: how long the last copy of a server's state takes, milliseconds (default 0).",
        HelpName = "MS",
    };
    private readonly Option<int?> _quiet = new("--quiet")
    {
        Description = "Longest time that a packet may be on its way in the tunnel, milliseconds, where no flush marker says that it is "
            + "through (default 500).",
        HelpName = "MS",
    };
    private readonly Option<bool> _noOrder = new("--no-order")
    {
        Description = "Without flush markers: packets may be reordered when ingress PEs go over to the direct path.",
    };
    private readonly Option<int?> _orderBound = new("--order-bound")
    {
        Description = "Longest time in which packets of an ingress wait for its flush marker, milliseconds (default 1000).",
        HelpName = "MS",
    };
    private readonly Option<int> _othersHold = new("--others-hold")
    {
        Description = "How long packets of PEs that send no flush markers wait, milliseconds: longer than the old path is longer than the "
            + "direct one; 0 = they are delivered as they come.",
        HelpName = "MS",
    };

    private readonly Option<int?> _maxBlackout = new("--max-blackout")
    {
        Description = "Longest time for which nobody may run, milliseconds (default: the group's, 2000): a virtual machine is stopped only "
            + "when less is predicted.",
        HelpName = "MS",
    };
    private readonly Option<bool> _keepTrying = new("--keep-trying")
    {
        Description = "Go on copying a virtual machine that changes its memory faster than it is carried, until it grows quieter. Without, "
            + "the migration is undone when that is clear.",
    };

    private readonly Option<string?> _window = new("--window")
    {
        Description = "When it may switch, FROM..TO: '2026-12-01T02:00Z..2026-12-01T04:00Z', '02:00..04:00' (this machine's clock, the "
            + "next time that comes) or 'now..+30m'. The volumes follow before, it is prepared shortly before, and when the window is over "
            + "before the switch all is as before.",
        HelpName = "FROM..TO",
    };
    private readonly Option<int?> _lead = new("--lead")
    {
        Description = "With --window: how long before it the preparations begin, seconds (default 120): longer than the first copy of a "
            + "virtual machine's memory takes.",
        HelpName = "SECONDS",
    };

    public CallFlags() => _cutover.AcceptOnlyFromAmong("together", "one-by-one");

    /// <summary>Adds them to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_group, _to, _cutover, _atOnce, _bandwidth, _copy, _quiet, _noOrder, _orderBound, _othersHold,
            _maxBlackout, _keepTrying, _window, _lead, .. HoldFlags.All])
            command.Options.Add(option);
    }

    /// <summary>The call to the manager.</summary>
    /// <exception cref="ArgumentException">The window is none; the message says why and what would be right.</exception>
    public MigrationCall Of(ParseResult parse) => new(
        parse.GetValue(_group)!, parse.GetValue(_to)!, parse.GetValue(_cutover), HoldFlags.Of(parse), parse.GetValue(_copy),
        parse.GetValue(_quiet),
        !parse.GetValue(_noOrder), parse.GetValue(_orderBound), parse.GetValue(_othersHold),
        parse.GetValue(_maxBlackout), parse.GetValue(_keepTrying), Window(parse), parse.GetValue(_atOnce),
        parse.GetValue(_bandwidth));

    private WindowCall? Window(ParseResult parse)
    {
        int? lead = parse.GetValue(_lead);
        if (parse.GetValue(_window) is not { } text)
            return lead is null ? null : throw new ArgumentException("--lead belongs to --window; give both, or neither");
        return WindowCall.Read(text, DateTimeOffset.Now) with
        {
            LeadMs = lead is { } s ? (int)Math.Clamp(s * 1000L, -1, int.MaxValue) : null,
        };
    }
}
