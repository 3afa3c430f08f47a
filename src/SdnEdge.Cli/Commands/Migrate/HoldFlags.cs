using System.CommandLine;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Options that say how the target PE holds what comes during the blackout.</summary>
internal static class HoldFlags
{
    private static readonly Option<bool> NoHold = new("--no-hold") { Description =
        "The target does not hold: what arrives during the blackout is lost. To see what the hold is for." };
    private static readonly Option<long?> Bytes = new("--hold-bytes") { Description = "Most bytes held (default 67108864)." };
    private static readonly Option<int?> Packets = new("--hold-packets") { Description = "Most packets held (default 262144)." };
    private static readonly Option<int?> Ms =
        new("--hold-ms") { Description = "Longest time a packet is held, milliseconds (default 10000)." };
    private static readonly Option<int?> Rate = new("--hold-rate")
    { 
        Description = "Pace of the release, packets per second; 0 = as fast as possible (default: five times the rate at which they came).",
    };
    private static readonly Option<string?> Policy = Words();

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Option> All { get; } = [NoHold, Bytes, Packets, Ms, Rate, Policy];

    /// <summary>What was asked for; null where nothing was said: the group's caps, or the PE's defaults.</summary>
    public static HoldOptions? Of(ParseResult parse)
    {
        var options = new HoldOptions();
        HoldOptions asked = options with
        {
            Disabled = parse.GetValue(NoHold),
            MaxBytes = parse.GetValue(Bytes) ?? options.MaxBytes,
            MaxPackets = parse.GetValue(Packets) ?? options.MaxPackets,
            MaxMilliseconds = parse.GetValue(Ms) ?? options.MaxMilliseconds,
            ReleasePacketsPerSecond = parse.GetValue(Rate),
            Overflow = parse.GetValue(Policy) == "drop-oldest" ? HoldOverflowPolicy.DropOldest : HoldOverflowPolicy.DropNewest,
        };
        return All.All(o => parse.GetResult(o) is null or { Implicit: true }) ? null : asked;
    }

    private static Option<string?> Words()
    {
        var option = new Option<string?>("--hold-policy") { Description = "What a full hold does: drop-newest (default) or drop-oldest." };
        option.AcceptOnlyFromAmong("drop-newest", "drop-oldest");
        return option;
    }
}
