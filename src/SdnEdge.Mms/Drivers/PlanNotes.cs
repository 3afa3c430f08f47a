using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Drivers;

/// <summary>What a plan has found: each thing once, in the order in which it was found.</summary>
internal sealed class PlanNotes
{
    private readonly List<Obstacle> _obstacles = [];
    private readonly List<string> _warnings = [];
    private readonly HashSet<string> _silent = new(StringComparer.Ordinal);

    public IReadOnlyList<Obstacle> Obstacles => _obstacles;

    public IReadOnlyList<string> Warnings => _warnings;

    public void Add(string reason, string where, string detail)
    {
        var obstacle = new Obstacle(reason, where, detail);
        if (!_obstacles.Contains(obstacle)) _obstacles.Add(obstacle);
    }

    public void Warn(string text)
    {
        if (!_warnings.Contains(text)) _warnings.Add(text);
    }

    /// <summary>The place of a server where it is to go. None there is an obstacle.</summary>
    public PlaceConfig? TargetOf(ServerConfig server, SiteConfig to)
    {
        if (server.PlaceAt(to.Name) is { } place) return place;
        Add("site-unknown", server.Name,
            $"{server.Name} has no place at {to.Name}; it has one at {string.Join(", ", server.At.Select(p => p.Site.Name))}: add one to "
                + "the configuration, or choose another site");
        return null;
    }

    /// <summary>The value of an answer. Without one that is an obstacle, once a party: further questions have the same answer.</summary>
    public T? Need<T>(string party, Answer<T>? answer)
        where T : class
    {
        if (answer is null || answer.Value is not null) return answer?.Value;
        if (!_silent.Add(party)) return null;
        if (answer.Refusal is { } refusal) Add("refused", party, $"{party} answers: {refusal.Detail}");
        else Add("peer-unreachable", party, $"{answer.Silence}; it must be reachable from the manager for as long as the migration takes");
        return null;
    }
}
