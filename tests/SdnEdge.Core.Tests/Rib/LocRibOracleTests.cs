using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Rib;

/// <summary>The RIB beside a slow, obvious one: the FIB built from its changes must be what the oracle works out from nothing.</summary>
public sealed class LocRibOracleTests
{
    private sealed record Entry(NextHop? Native, NextHop? Redirect, NextHop? Backup);

    private sealed record Offered(RouteOrigin Origin, IpPrefix Prefix, HopSpec Hop, PathAttributes? Attributes);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void The_FIB_built_from_changes_is_what_a_slow_oracle_computes(int seed)
    {
        var random = new Random(seed);
        var rib = new LocRib("default");
        var table = new AttributeTable();
        var builder = new AttributeBuilder();
        var connected = new RouteOrigin(RouteSource.Connected, "connected");
        var fixedRoutes = new RouteOrigin(RouteSource.Static, "static");
        var redirect = new RouteOrigin(RouteSource.Redirect, "m1");
        RouteOrigin[] peers = [.. Enumerable.Range(1, 5).Select(i =>
            new RouteOrigin(IpAddress.FromV4((uint)i), (uint)(65000 + (i % 3)), external: i % 2 == 0) { PeerRouterId = (uint)(9 - i) })];
        var offered = new Dictionary<(RouteOrigin, IpPrefix), Offered>();
        var fib = new Dictionary<IpPrefix, Entry>();
        var failed = new HashSet<IpAddress>();
        int flips = 0;

        for (int step = 0; step < 4000; step++)
        {
            (RouteOrigin origin, IpPrefix prefix, HopSpec hop, PathAttributes? attributes) = random.Next(10) switch
            {
                0 => (connected, Prefix(10, 0, random.Next(4), 24), HopSpec.Connected($"port{random.Next(3)}"), (PathAttributes?)null),
                1 => (fixedRoutes, Prefix(10, 1, random.Next(4), 24), HopSpec.Via(Address(0, random.Next(4), random.Next(3))), null),
                2 => (fixedRoutes, Prefix(10, 2, random.Next(4), 24), HopSpec.Via(Address(1, random.Next(4), random.Next(3))), null),
                3 => (redirect, Prefix(20, random.Next(6), 0, 16), HopSpec.Group($"g{random.Next(2)}"), null),
                _ => (peers[random.Next(5)], Prefix(20, random.Next(6), 0, 16),
                    HopSpec.Via(Address(random.Next(3), random.Next(4), random.Next(2))), Random(random, table, builder)),
            };
            if (random.Next(40) == 0)
            {
                RouteOrigin gone = peers[random.Next(5)];
                rib.WithdrawAll(gone, step);
                foreach (var key in offered.Keys.Where(k => k.Item1 == gone).ToList()) offered.Remove(key);
            }
            else if (random.Next(3) == 0)
            {
                Assert.Equal(offered.Remove((origin, prefix)), rib.Withdraw(origin, prefix, step));
            }
            else
            {
                offered[(origin, prefix)] = new Offered(origin, prefix, hop, attributes);
                rib.Offer(origin, prefix, hop, attributes, step);
            }

            Follow();
            if (random.Next(25) == 0)
            {
                // A PE fails, or is back: no prefix changes before the RIB converges, and those with a backup go by it at once.
                Entry? one = random.Next(2) == 0 ? fib.Values.FirstOrDefault(e => e is { Native.Failed: false, Backup: not null }) : null;
                IpAddress pe = one?.Native!.Spec.Address ?? Address(random.Next(3), random.Next(4), random.Next(2));
                bool fails = failed.Add(pe) || !failed.Remove(pe);
                IReadOnlyList<NextHop> marked = rib.SetFailed(HopKind.Via, pe, fails);
                ReadOnlySpan<RibChange> changes = rib.TakeChanges();
                Assert.Equal(marked.Count, changes.Length);
                foreach (RibChange change in changes)
                    Assert.Equal((pe, fails), (change.ChangedHop!.Spec.Address, change.ChangedHop.Failed));
                if (fails) flips += CompareFlipped(offered.Values, fib, failed, step);
                rib.Converge(step);
                Follow();
                Compare(offered.Values, fib, rib, failed, step);
            }

            if (step % 7 == 0) Compare(offered.Values, fib, rib, failed, step);
        }

        Assert.True(flips > 15, $"{flips} prefixes went by their backup");
        Assert.Empty(rib.SetFailed(HopKind.Via, Address(9, 9, 9), failed: true));

        Assert.Equal(0, rib.UnsettledNextHops);
        foreach (Offered route in offered.Values.ToList()) rib.Withdraw(route.Origin, route.Prefix, 9999);
        Assert.Equal(0, rib.PrefixesV4);
        Assert.Empty(rib.NextHops);

        void Follow()
        {
            foreach (RibChange change in rib.TakeChanges())
            {
                if (change.ChangedHop is null) fib[change.Prefix] = new Entry(change.Native, change.Redirect, change.Backup);
            }
        }
    }

    // What packets do between the mark and the convergence. Returns how many prefixes go by their backup.
    private static int CompareFlipped(IEnumerable<Offered> offered, Dictionary<IpPrefix, Entry> fib, HashSet<IpAddress> failed, int step)
    {
        List<Offered> all = [.. offered];
        Dictionary<HopSpec, ResolvedHop> resolved = ResolveAll(all);
        int flipped = 0;
        foreach ((IpPrefix prefix, Entry entry) in fib)
        {
            Offered? best = Best(all.Where(o => o.Prefix == prefix && o.Origin.Source != RouteSource.Redirect), resolved, failed);
            bool other = entry is { Native.Failed: true, Backup.Failed: false };
            flipped += other ? 1 : 0;
            NextHop? inForce = other ? entry.Backup : entry.Native;

            // Where all have failed nothing is right, and the choice among them waits for the convergence.
            if (best is { Origin.Source: RouteSource.Bgp } && failed.Contains(best.Hop.Address))
            {
                Assert.True(inForce!.Failed);
                continue;
            }

            Assert.True(best?.Hop == inForce?.Spec, $"step {step}: {prefix} goes by {inForce}, the oracle says {best}");
        }

        return flipped;
    }

    private static void Compare(IEnumerable<Offered> offered, Dictionary<IpPrefix, Entry> fib, LocRib rib, HashSet<IpAddress> failed,
        int step)
    {
        List<Offered> all = [.. offered];
        Dictionary<HopSpec, ResolvedHop> resolved = ResolveAll(all);
        foreach (IpPrefix prefix in fib.Keys.Union(all.Select(o => o.Prefix)))
        {
            List<Offered> natives = [.. all.Where(o => o.Prefix == prefix && o.Origin.Source != RouteSource.Redirect)];
            Offered? best = Best(natives, resolved, failed);
            Offered? over = all.FirstOrDefault(o => o.Prefix == prefix && o.Origin.Source == RouteSource.Redirect);
            (NextHop? native, NextHop? redirect, NextHop? backup) = fib.GetValueOrDefault(prefix) ?? new Entry(null, null, null);
            Assert.True(BackupOf(best, natives, resolved, failed) == backup?.Spec, $"step {step}: the backup of {prefix} is {backup}");
            Assert.True(best?.Hop == native?.Spec, $"step {step}: {prefix} is {native}, the oracle says {best}");
            Assert.Equal(over?.Hop, redirect?.Spec);
            Assert.Equal(best?.Origin, rib.Best(prefix)?.Origin);
            if (best is not null) Assert.Equal(resolved[best.Hop], native!.Resolved);
            foreach (RouteView route in rib.Explain(prefix)) Assert.Equal(route.Best, route.WhyNot == RejectReason.None);
        }
    }

    // Where the prefix would go if the PE of its best route failed; null when that is no other PE that is there.
    private static HopSpec? BackupOf(Offered? best, List<Offered> natives, Dictionary<HopSpec, ResolvedHop> resolved,
        HashSet<IpAddress> failed)
    {
        if (best is not { Origin.Source: RouteSource.Bgp }) return null;
        Offered next = Best(natives, resolved, [.. failed, best.Hop.Address])!;
        return next.Hop.Address == best.Hop.Address || (next.Origin.Source == RouteSource.Bgp && failed.Contains(next.Hop.Address))
            ? null : next.Hop;
    }

    private static Dictionary<HopSpec, ResolvedHop> ResolveAll(List<Offered> all)
    {
        var resolved = new Dictionary<HopSpec, ResolvedHop>();
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (HopSpec hop in all.Select(o => o.Hop).Distinct())
            {
                ResolvedHop now = hop.Kind switch
                {
                    HopKind.Via => Through(all, hop.Address, resolved),
                    _ => new ResolvedHop(hop.Kind, hop.Port, hop.Address),
                };
                changed |= resolved.GetValueOrDefault(hop) != now;
                resolved[hop] = now;
            }
        }

        return resolved;
    }

    private static ResolvedHop Through(List<Offered> all, IpAddress address, Dictionary<HopSpec, ResolvedHop> resolved)
    {
        Offered? cover = all.Where(o => o.Origin.Source is RouteSource.Connected or RouteSource.Static && o.Prefix.Contains(address)
            && resolved.GetValueOrDefault(o.Hop).IsUsable).MaxBy(o => o.Prefix.Length);
        if (cover is null) return default;
        ResolvedHop hop = resolved[cover.Hop];
        return hop.Kind == HopKind.Connected ? new ResolvedHop(HopKind.Via, hop.Port, address) : hop;
    }

    private static Offered? Best(IEnumerable<Offered> routes, Dictionary<HopSpec, ResolvedHop> resolved, HashSet<IpAddress> failed)
    {
        List<Offered> left = [.. routes.Where(r => resolved[r.Hop].IsUsable)];
        Keep(r => r.Origin.Source == RouteSource.Bgp && failed.Contains(r.Hop.Address) ? 1 : 0);
        Keep(r => r.Origin.Preference);
        Keep(r => -(long)(r.Attributes?.LocalPref ?? 100));
        Keep(r => r.Attributes?.AsPathLength ?? 0);
        Keep(r => (long)(r.Attributes?.Origin ?? 0));
        List<Offered> beforeMed = [.. left];
        left.RemoveAll(r => r.Attributes is not null && beforeMed.Any(o =>
            o.Attributes!.NeighborAs == r.Attributes.NeighborAs && (o.Attributes.Med ?? 0) < (r.Attributes.Med ?? 0)));
        Keep(r => r.Origin.External ? 0 : 1);
        Keep(r => r.Attributes?.OriginatorId ?? r.Origin.PeerRouterId);
        Keep(r => r.Attributes?.ClusterListLength ?? 0);
        return left.OrderBy(r => r.Origin.Peer).FirstOrDefault();

        void Keep(Func<Offered, long> key)
        {
            if (left.Count == 0) return;
            long least = left.Min(key);
            left.RemoveAll(r => key(r) > least);
        }
    }

    private static PathAttributes Random(Random random, AttributeTable table, AttributeBuilder builder)
    {
        builder.Clear().Origin((BgpOrigin)random.Next(2))
            .Path([.. Enumerable.Range(0, random.Next(3)).Select(_ => (uint)(65001 + random.Next(2)))]);
        if (random.Next(3) > 0) builder.LocalPref((uint)(100 + random.Next(2)));
        if (random.Next(3) > 0) builder.Med((uint)random.Next(3));
        if (random.Next(4) == 0) builder.OriginatorId((uint)random.Next(1, 9));
        return table.Intern(builder.Build());
    }

    private static IpPrefix Prefix(int a, int b, int c, int length)
        => new(IpAddress.FromV4((uint)((a << 24) | (b << 16) | (c << 8))), length);

    private static IpAddress Address(int b, int c, int d) => IpAddress.FromV4((10u << 24) | (uint)((b << 16) | (c << 8) | d));
}
