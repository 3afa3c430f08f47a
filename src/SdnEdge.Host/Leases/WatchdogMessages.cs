using System.Text.Json.Serialization;
using SdnEdge.Host.Config;

namespace SdnEdge.Host.Leases;

/// <summary>How a server is killed without its agent. Exactly one is set.</summary>
/// <param name="Qemu">The folder of its QEMU.</param>
/// <param name="StandIn">Namespace and leg of a stand-in.</param>
/// <param name="Exec">The command of an exec driver's kill, and its deadline in milliseconds.</param>
internal sealed record KillWay(string? Qemu = null, StandInKill? StandIn = null, ExecKill? Exec = null);

/// <summary>Namespace and leg of a stand-in.</summary>
internal sealed record StandInKill(string Namespace, string Leg);

/// <summary>The command of an exec driver's kill.</summary>
internal sealed record ExecKill(IReadOnlyList<string> Run, int DeadlineMs);

/// <summary>A server that may run only under a lease.</summary>
/// <param name="Server">The server.</param>
/// <param name="Group">The group whose lease it is.</param>
/// <param name="Site">The site whose lease it is.</param>
/// <param name="Epoch">The epoch.</param>
/// <param name="ValidUntilNs">Until when it is known to be valid, CLOCK_BOOTTIME; 0 = it is not.</param>
/// <param name="TtlMs">How long one is good for, milliseconds; 0 = not known.</param>
/// <param name="Kill">How the server is killed.</param>
internal sealed record WatchedServer(string Server, string Group, string Site, long Epoch, long ValidUntilNs, int TtlMs, KillWay Kill);

/// <summary>All that a watchdog has to do: it does no more of what is not in there. Without a server it ends.</summary>
/// <param name="Party">The host's name, which the witness is told.</param>
/// <param name="Witness">Where the witness is.</param>
/// <param name="Servers">The servers.</param>
internal sealed record WatchdogOrders(string Party, WitnessLinkConfig Witness, IReadOnlyList<WatchedServer> Servers);

/// <summary>What an agent says to the watchdog: one line of JSON.</summary>
/// <param name="Orders">What it has to do from now on; null = as before.</param>
internal sealed record WatchdogCall(WatchdogOrders? Orders = null);

/// <summary>A server as the watchdog has it.</summary>
/// <param name="Server">The server.</param>
/// <param name="Epoch">The epoch of its lease.</param>
/// <param name="ValidUntilNs">Until when that is valid, CLOCK_BOOTTIME; 0 = none was granted.</param>
/// <param name="TtlMs">How long one is good for, milliseconds; 0 = not known.</param>
/// <param name="Kills">How often it was killed.</param>
/// <param name="Fault">Why the last renewal was not granted; null = it was.</param>
internal sealed record WatchedState(string Server, long Epoch, long ValidUntilNs, int TtlMs, long Kills, string? Fault);

/// <summary>What the watchdog answers: one line of JSON.</summary>
internal sealed record WatchdogReply(IReadOnlyList<WatchedState> Servers);

/// <summary>JSON between agent and watchdog. What another version adds is left alone.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(WatchdogCall))]
[JsonSerializable(typeof(WatchdogReply))]
internal sealed partial class WatchdogTypes : JsonSerializerContext;
