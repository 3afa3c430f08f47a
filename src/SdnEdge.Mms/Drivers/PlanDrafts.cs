using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Drivers;

/// <summary>A server that is to move.</summary>
/// <param name="Server">The server.</param>
/// <param name="From">Where it is.</param>
/// <param name="To">Where it goes.</param>
/// <param name="AtFrom">Its host's word there; null: none.</param>
/// <param name="AtTo">Its host's word there.</param>
/// <param name="IsSeen">True when it was seen running at <paramref name="From"/>; false: that is where it should be.</param>
internal sealed record PlacedServer(
    ServerConfig Server, PlaceConfig From, PlaceConfig To, ServerInfo? AtFrom, ServerInfo? AtTo, bool IsSeen)
{
    /// <summary>False when one of the two hosts says that its hand-over cannot be undone.</summary>
    public bool Undoable => AtFrom is not { Undoable: false } && AtTo is not { Undoable: false };
}

/// <summary>A pair of PEs and the servers that go from the one to the other, in one VRF.</summary>
internal sealed record PathDraft(string Source, string Target, string Vrf, IReadOnlyList<PlacedServer> Servers)
{
    public string Name => $"{Source} > {Target}";

    public IEnumerable<(PlacedServer Server, IpPrefix Prefix)> Prefixes => Servers.SelectMany(s => s.Server.Prefixes, (s, p) => (s, p));

    /// <summary>The prefixes as one of the two PEs is told them.</summary>
    public IReadOnlyList<MovingPrefix> Moving(bool target) =>
    [
        .. Prefixes.Select(x =>
        {
            PlaceConfig place = target ? x.Server.To : x.Server.From;
            return new MovingPrefix(x.Prefix.ToString(), place.Port, place.NextHop(x.Prefix.Family)?.ToString());
        }),
    ];
}

/// <summary>Servers that change over together.</summary>
internal sealed record MoveDraft(IReadOnlyList<PlacedServer> Servers, IReadOnlyList<PathDraft> Paths)
{
    public static MoveDraft Of(IReadOnlyList<PlacedServer> servers) => new(servers,
    [
        .. servers.GroupBy(s => (Source: s.From.Pe.Name, Target: s.To.Pe.Name, s.Server.Vrf))
            .Select(g => new PathDraft(g.Key.Source, g.Key.Target, g.Key.Vrf, [.. g])),
    ]);
}
