using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Fib;

/// <summary>Full tables and addresses that they cover, from a seed.</summary>
internal static class FullTable
{
    public const int Routes = 1_000_000;

    // Share of each length in a hundred, after what global IPv6 tables look like.
    private static readonly (int Length, int Share)[] Shares6 =
        [(48, 47), (32, 12), (44, 11), (40, 11), (36, 6), (46, 4), (42, 3), (29, 2), (34, 2), (33, 1), (38, 1)];

    public static IpPrefix[] V4(int count = Routes) => RouteSet.Make(count);

    /// <summary>Sixty thousand allocations of /29 to /32 in 2000::/3, and subnets of them.</summary>
    public static IpPrefix[] V6(int count = Routes, int seed = 1)
    {
        var random = new Random(seed);
        var allocations = new UInt128[60_000];
        for (int i = 0; i < allocations.Length; i++)
            allocations[i] = (UInt128)(0x2000_0000u | (uint)random.Next(1 << 29)) << 96;
        var seen = new HashSet<IpPrefix>(count);
        var routes = new IpPrefix[count];
        for (int i = 0; i < count;)
        {
            int pick = random.Next(100), length = 48;
            foreach ((int candidate, int share) in Shares6)
            {
                length = candidate;
                pick -= share;
                if (pick < 0) break;
            }

            UInt128 address = allocations[random.Next(allocations.Length)] | ((UInt128)(uint)random.Next() << 80);
            var prefix = new IpPrefix(IpAddress.FromV6(address), length);
            if (seen.Add(prefix)) routes[i++] = prefix;
        }

        return routes;
    }

    /// <summary>Random addresses, each inside a random route: the longest way through the table.</summary>
    public static UInt128[] Covered(IpPrefix[] routes, int count, int seed = 2)
    {
        var random = new Random(seed);
        var keys = new UInt128[count];
        for (int i = 0; i < count; i++)
        {
            IpPrefix route = routes[random.Next(routes.Length)];
            UInt128 host = ((UInt128)(ulong)random.NextInt64() << 64) | (ulong)random.NextInt64();
            int free = route.Address.BitLength - route.Length;
            keys[i] = route.Address.Bits | (free == 0 ? 0 : host & ((UInt128.One << free) - 1));
        }

        return keys;
    }
}
