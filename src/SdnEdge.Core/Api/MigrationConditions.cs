using SdnEdge.Core.Migration;

namespace SdnEdge.Core.Api;

/// <summary>Whether a migration on a PE is as somebody waits for it to be: the PE that is asked, and the manager, judge alike.</summary>
public static class MigrationConditions
{
    /// <summary>True when it is so.</summary>
    public static bool Is(this MigrationInfo migration, MigrationCondition condition)
    {
        ArgumentNullException.ThrowIfNull(migration);
        return condition switch
        {
            MigrationCondition.TunnelUp => migration.TunnelUp,
            MigrationCondition.HoldEmpty => migration.State != PeMigrationState.Prepared && IsHoldEmpty(migration),
            MigrationCondition.Direct => migration.Order is { } order && Unproved(order).All(g => g.Ingress == OtherEnd(migration, order)),
            MigrationCondition.Settled => WhyNotSettled(migration) is null,
            MigrationCondition.ServersAnswer => migration.Silent is "",
            MigrationCondition.Gone => migration.IsOver() && migration.LeftOver is [],
            _ => throw new ArgumentOutOfRangeException(nameof(condition), condition, null),
        };
    }

    /// <summary>True when it has come to its end on this PE, one way or the other.</summary>
    public static bool IsOver(this MigrationInfo migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        return migration.State is PeMigrationState.TornDown or PeMigrationState.Aborted;
    }

    /// <summary>Why something of the move may still be under way by the old path to this PE; null: nothing is.</summary>
    public static string? WhyNotSettled(this MigrationInfo migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        if (WhyNotPassed(migration.Order) is { } missing) return missing;
        OrderInfo order = migration.Order!;
        if (!order.Proved) return "copies of the last flush marker may still come";
        if (!IsHoldEmpty(migration)) return $"the hold still has {migration.Hold!.PacketsHeldNow} packets";
        if (order.Gates.FirstOrDefault(g => g.PacketsHeldNow > 0) is { } gate) return $"packets of {gate.Ingress} are still held";
        return order.Unordered > 0 || order.Gates.Any(g => !g.SendsMarkers && g.PacketsHeldTotal > 0)
            ? "packets of PEs that send no flush markers have come" : null;
    }

    /// <summary>Whose flush markers have not come; null: all have.</summary>
    public static string? WhyNotPassed(OrderInfo? order)
    {
        if (order is null) return "no order is kept here, so no flush markers come";
        string[] missing = [.. Unproved(order).Select(g => g.Ingress).Distinct()];
        return missing.Length == 0 ? null : $"the flush markers of {string.Join(", ", missing)} have not come";
    }

    private static bool IsHoldEmpty(MigrationInfo migration) => migration.Hold is null or { PacketsHeldNow: 0 };

    private static IEnumerable<OrderGateInfo> Unproved(OrderInfo order)
        => order.Gates.Where(g => g is { SendsMarkers: true, Proved: false });

    private static string? OtherEnd(MigrationInfo migration, OrderInfo order)
        => order.Gates.FirstOrDefault(g => g.Loopback == migration.Peer)?.Ingress;
}
