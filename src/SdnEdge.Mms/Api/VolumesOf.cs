using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Api;

/// <summary>What became of the volumes of a move, by the answers of its hosts.</summary>
internal static class VolumesOf
{
    /// <summary>The volumes of all servers of a move, in the order of the plan.</summary>
    /// <param name="move">The move.</param>
    /// <param name="seen">As they were seen last, by server; null = not.</param>
    public static IReadOnlyList<VolumeMoveStatus> Move(
        MoveState move, IReadOnlyDictionary<string, IReadOnlyList<ServerVolumeInfo>>? seen)
        => [.. move.Plan.Servers.SelectMany(s => Server(move, s, seen?.GetValueOrDefault(s.Name) ?? []))];

    private static IEnumerable<VolumeMoveStatus> Server(MoveState move, ServerMove server, IReadOnlyList<ServerVolumeInfo> seen)
    {
        OrderAnswer[] answers = [.. move.Orders.Where(o => o.Reply.Server == server.Name)];
        IEnumerable<string> names = (server.Volumes ?? []).Select(v => v.Name)
            .Concat(answers.SelectMany(a => a.Reply.Volumes ?? []).Select(v => v.Volume)).Distinct();
        foreach (string name in names)
        {
            VolumeStepInfo source = Merged(server.SourceHost), target = Merged(server.TargetHost);
            yield return new VolumeMoveStatus(
                server.Name, name, source.SyncAskedAtNs, source.InSyncAtNs, source.DrainMs, source.SealedAt, source.SealedAtNs,
                target.GrantedAtNs, source.ReleasedAtNs, source.RestoredAtNs, Exposure(source))
            {
                Seen = seen.FirstOrDefault(v => v.Name == name),
            };

            // Each answer has all that its host knows of the move; one that was started again between two has forgotten.
            VolumeStepInfo Merged(string host) => answers.Where(a => a.Host == host).SelectMany(a => a.Reply.Volumes ?? [])
                .Where(v => v.Volume == name).Aggregate(new VolumeStepInfo(name), (known, said) => new VolumeStepInfo(
                    name, said.SyncAskedAtNs ?? known.SyncAskedAtNs, said.InSyncAtNs ?? known.InSyncAtNs, said.DrainMs ?? known.DrainMs,
                    said.SealedAt ?? known.SealedAt, said.SealedAtNs ?? known.SealedAtNs, said.GrantedAtNs ?? known.GrantedAtNs,
                    said.RestoredAtNs ?? known.RestoredAtNs, said.ReleasedAtNs ?? known.ReleasedAtNs));
        }

        // Who was in sync without being asked was so before.
        double? Exposure(VolumeStepInfo source)
        {
            if (source.SyncAskedAtNs is not { } asked) return source.InSyncAtNs is null ? null : 0;
            long? until = source.RestoredAtNs ?? answers.Where(a => a.Host == server.SourceHost && a.Reply.Order == ServerOrder.Stop)
                .Select(a => (long?)a.Reply.TookEffectAtNs).LastOrDefault();
            return until is { } end ? Math.Max(0, end - asked) / 1e6 : null;
        }
    }
}
