using System.Text.RegularExpressions;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// The model of the hand-over (docs/model/handover.pml) has the tables of the code. Its rows are macros that the model runs, so what is
/// compared is what is searched: who changes a stage or a transition of a PE on one side has to change the other.
/// </summary>
public partial class HandOverModelTests
{
    // Not in the model: one waits for a time of day and asks nobody, the other is how a fail-over begins.
    private static readonly MoveStage[] s_left = [MoveStage.AwaitWindow, MoveStage.Fence];

    // Nor a PE that switches by itself: no move has one.
    private static readonly PeMigrationState[] s_armed = [PeMigrationState.Flipped, PeMigrationState.Returning];

    private static readonly string s_model = File.ReadAllText(Path.Combine(Root(), "docs", "model", "handover.pml"));

    private static readonly MoveStage[] s_undo =
    [
        .. Enum.GetValues<MoveStage>().Where(s => s is >= MoveStage.ResumeSource and <= MoveStage.InspectUndo),
    ];

    [Fact]
    public void Each_stage_asks_of_the_same_parties_and_leads_to_the_same_stage()
        => Assert.Equal(
            Lines(Enum.GetValues<MoveStage>().Except(s_left).Select(s => RowOf(s, stopUnconfirmed: false))), Lines(Rows("ROW")));

    [Fact]
    public void So_does_each_stage_of_an_undo_after_a_stop_that_was_not_confirmed()
        => Assert.Equal(Lines(s_undo.Select(s => RowOf(s, stopUnconfirmed: true))), Lines(Rows("ROW_UNCONFIRMED")));

    [Fact]
    public void A_stop_that_was_not_confirmed_changes_no_other_stage() => Assert.All(
        Enum.GetValues<MoveStage>().Except(s_undo).Except(s_left), s => Assert.Equal(RowOf(s, false), RowOf(s, true)));

    [Theory]
    [InlineData(MigrationRole.Source)]
    [InlineData(MigrationRole.Target)]
    public void A_PE_makes_the_same_transitions(MigrationRole role)
    {
        string[] code =
        [
            .. from state in Enum.GetValues<PeMigrationState>().Except(s_armed)
               from signal in Enum.GetValues<SignalKind>()
               let next = PeTransitions.Next(role, state, signal)
               where next is not null
               select $"{Name(state)} --{Name(signal)}--> {Name(next)}",
        ];
        string suffix = role == MigrationRole.Source ? "_S" : "_T";
        string[] model =
        [
            .. PeRow().Matches(s_model).Where(m => m.Groups["role"].Value == (role == MigrationRole.Source ? "SOURCE" : "TARGET"))
                .Select(m => (Match: m, Signal: m.Groups["signal"].Value.Replace("_AFTER_SERVERS", "", StringComparison.Ordinal)))
                .Select(r => $"{r.Match.Groups["from"].Value} --{WithoutRole(r.Signal, suffix).ToLowerInvariant()}--> "
                    + r.Match.Groups["to"].Value).Distinct(),
        ];
        Assert.Equal(Lines(code.Order(StringComparer.Ordinal)), Lines(model.Order(StringComparer.Ordinal)));
    }

    // A bit that two commands share, or that a mask lacks, would take one for done when the other is.
    [Fact]
    public void Each_command_of_the_model_is_a_bit_of_its_own()
    {
        Dictionary<string, int> bits = Bit().Matches(s_model).ToDictionary(m => m.Groups["name"].Value,
            m => int.Parse(m.Groups["value"].Value, System.Globalization.CultureInfo.InvariantCulture));
        int hosts = bits["HOST_ALL"], pes = bits["PE_ALL"], orders = bits["ORDERS"];
        foreach (string mask in new[] { "HOST_ALL", "PE_ALL", "ORDERS" }) Assert.True(bits.Remove(mask));
        Assert.All(bits, b => Assert.True(int.IsPow2(b.Value), $"{b.Key} is {b.Value}"));
        Assert.Equal(bits.Count, bits.Values.Distinct().Count());
        Assert.Equal(hosts, bits.Where(b => b.Key.StartsWith("HOST_", StringComparison.Ordinal)).Sum(b => b.Value));
        Assert.Equal(pes, bits.Where(b => b.Key.StartsWith("PE_", StringComparison.Ordinal)).Sum(b => b.Value));
        Assert.Equal(orders, hosts | pes);
    }

    // What a stage of the code asks, in the words of the model: one server, one path, no flush markers, all asked ahead that may be.
    private static string RowOf(MoveStage stage, bool stopUnconfirmed)
    {
        MovePlan plan = Plans.Move(["s1"]) with { Epoch = 1 };

        // What is settled asks each host of the server, and of each of several epochs (Settling).
        string[] hosts = [plan.Servers[0].SourceHost, plan.Servers[0].TargetHost];
        plan = plan with
        {
            Settle = new Settlement(AtTarget: false, [.. hosts.Select(h => new SettleAsk(h, "s1", ServerOrder.Void, plan.Epoch))]),
        };
        MoveState state = MoveMachine.Start(plan) with
        {
            Stage = stage, SourcesAsked = true, SwitchAsked = true, StopUnconfirmed = stopUnconfirmed,
        };
        StageRow row = StageTable.Of(stage);
        return Text(Name(stage), Name(row.Next), row.BeforePivot ? "true" : "false",
            row.Commands(state).Select(c => Word(state.Plan, c)), (row.Meanwhile?.Invoke(state) ?? []).Select(c => Word(state.Plan, c)));
    }

    private static IEnumerable<string> Rows(string macro) => StageRow().Matches(s_model).Where(m => m.Groups["macro"].Value == macro)
        .Select(m => Text(m.Groups["stage"].Value, m.Groups["next"].Value, m.Groups["undo"].Value,
            Words(m.Groups["asks"].Value), Words(m.Groups["ahead"].Value)));

    private static IEnumerable<string> Words(string mask) => mask.Split('|', StringSplitOptions.TrimEntries).Where(w => w != "0");

    private static string Text(string stage, string next, string beforePivot, IEnumerable<string> asks, IEnumerable<string> ahead)
        => $"{stage} -> {next}, before the pivot: {beforePivot}, asks: {Join(asks)}; meanwhile: {Join(ahead)}";

    private static string Lines(IEnumerable<string> rows) => string.Join('\n', rows);

    private static string Join(IEnumerable<string> words) => string.Join(' ', words.Order(StringComparer.Ordinal));

    private static string Word(MovePlan plan, MoveCommand command) => command switch
    {
        SendSignal s => $"PE_{Upper(s.Signal)}{(s.Request.AfterServers ? "_AFTER_SERVERS" : "")}"
            + (s.Pe == plan.Paths[0].Source.Pe ? "_S" : "_T"),
        SendOrder o => $"HOST_{Upper(o.Order)}{(o.Host == plan.Servers[0].SourceHost ? "_S" : "_T")}",
        WatchPath w => "SEE_" + Upper(w.Kind),
        WatchServer w => "SEE_" + Upper(w.Kind),
        _ => command.Key,
    };

    private static string WithoutRole(string signal, string suffix)
    {
        Assert.EndsWith(suffix, signal, StringComparison.Ordinal);
        return signal[..^suffix.Length];
    }

    private static string Name(Enum value) => Model.Words.Of(value).Replace('-', '_');

    private static string Upper(Enum value) => Name(value).ToUpperInvariant();

    private static string Root()
    {
        string? at = AppContext.BaseDirectory;
        while (at is not null && !File.Exists(Path.Combine(at, "SdnEdge.sln"))) at = Path.GetDirectoryName(at);
        return at ?? throw new InvalidOperationException("the tests must run inside the source tree, where SdnEdge.sln is");
    }

    [GeneratedRegex(
        @"^ +(?<macro>ROW(_UNCONFIRMED)?)\((?<stage>\w+), *(?<next>\w+), *(?<undo>\w+), *(?<asks>[\w |]+), *(?<ahead>[\w |]+)\);",
        RegexOptions.Multiline)]
    private static partial Regex StageRow();

    [GeneratedRegex(@"^ +PE_(?<role>SOURCE|TARGET)\(PE_(?<signal>\w+), *(?<from>\w+), *(?<to>\w+),", RegexOptions.Multiline)]
    private static partial Regex PeRow();

    [GeneratedRegex(@"^#define (?<name>(HOST|PE|SEE)_\w+|ORDERS) +(?<value>\d+)$", RegexOptions.Multiline)]
    private static partial Regex Bit();
}
