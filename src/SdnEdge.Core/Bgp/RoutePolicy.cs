using System.Runtime.InteropServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>What a speaker has to do with a route that it tells.</summary>
public enum RouteOwnership
{
    /// <summary>A peer told it.</summary>
    Learned,
    /// <summary>It is our own.</summary>
    Own,
    /// <summary>It is our own, and its servers are about to leave for another PE: a migration of which this one is the source.</summary>
    Leaving,
}

/// <summary>One term of a policy: what it matches, and what becomes of a route that does.</summary>
public sealed class PolicyTerm
{
    /// <summary>Prefixes it matches; null: all.</summary>
    public PrefixList? Prefixes { get; init; }

    /// <summary>Communities it matches; empty: any route.</summary>
    public IReadOnlyList<BgpCommunity> Communities { get; init; } = [];

    /// <summary>True: the route must carry all of <see cref="Communities"/>; false: one of them.</summary>
    public bool MatchAll { get; init; }

    /// <summary>What it matches at least, on the way out: <see cref="RouteOwnership.Own"/>, routes of our own;
    /// <see cref="RouteOwnership.Leaving"/>, of these only those whose servers are about to leave, so that another path can be
    /// preferred; <see cref="RouteOwnership.Learned"/>: all.</summary>
    public RouteOwnership Ownership { get; init; }

    /// <summary>False denies the route.</summary>
    public bool Permit { get; init; } = true;

    /// <summary>LOCAL_PREF to set; without effect towards eBGP peers.</summary>
    public uint? LocalPref { get; init; }

    /// <summary>MULTI_EXIT_DISC to set.</summary>
    public uint? Med { get; init; }

    /// <summary>Communities to take away, before <see cref="Add"/>.</summary>
    public IReadOnlyList<BgpCommunity> Remove { get; init; } = [];

    /// <summary>True: all communities of all kinds are taken away before <see cref="Add"/>.</summary>
    public bool RemoveAll { get; init; }

    /// <summary>Communities to add.</summary>
    public IReadOnlyList<BgpCommunity> Add { get; init; } = [];

    /// <summary>How many more times our AS is put in front towards eBGP peers.</summary>
    public int Prepend { get; init; }

    /// <summary>Whether a route matches.</summary>
    /// <param name="prefix">Its prefix.</param>
    /// <param name="attributes">Its attributes.</param>
    /// <param name="ownership">Whose it is.</param>
    public bool Matches(IpPrefix prefix, PathAttributes attributes, RouteOwnership ownership = RouteOwnership.Learned)
    {
        if (ownership < Ownership) return false;
        if (Prefixes is not null && !Prefixes.Permits(prefix)) return false;
        if (Communities.Count == 0) return true;
        foreach (BgpCommunity community in Communities)
        {
            if (community.IsOn(attributes) != MatchAll) return !MatchAll;
        }

        return MatchAll;
    }

    internal bool Edits => LocalPref is not null || Med is not null || Remove.Count > 0 || RemoveAll || Add.Count > 0 || Prepend > 0;

    /// <summary>Most bytes that it adds to a route's attributes.</summary>
    internal int Growth => 32 + (12 * Add.Count) + (6 * Prepend);

    /// <summary>For people, and to compare.</summary>
    public override string ToString() => string.Join(' ', Parts());

    private IEnumerable<string> Parts()
    {
        yield return Permit ? "permit" : "deny";
        if (Prefixes is not null) yield return $"prefixes [{string.Join(", ", Prefixes.Rules)}]";
        if (Communities.Count > 0) yield return $"{(MatchAll ? "all" : "any")} of [{string.Join(", ", Communities)}]";
        if (Ownership != RouteOwnership.Learned) yield return Ownership == RouteOwnership.Own ? "own" : "leaving";
        if (LocalPref is { } localPref) yield return $"local-pref {localPref}";
        if (Med is { } med) yield return $"med {med}";
        if (RemoveAll) yield return "remove all communities";
        if (Remove.Count > 0) yield return $"remove [{string.Join(", ", Remove)}]";
        if (Add.Count > 0) yield return $"add [{string.Join(", ", Add)}]";
        if (Prepend > 0) yield return $"prepend {Prepend}";
    }
}

/// <summary>
/// What is taken from a peer or told to it, and how it is changed on the way: the first term that matches decides; what no
/// term matches is denied. Two policies that say the same are equal.
/// </summary>
public sealed class RoutePolicy : IEquatable<RoutePolicy>
{
    private static readonly PolicyTerm Every = new();

    private readonly PolicyTerm[] _terms;
    private readonly string _text;

    /// <summary>Makes a policy.</summary>
    public RoutePolicy(string name, IEnumerable<PolicyTerm> terms)
    {
        Name = name;
        _terms = [.. terms];
        _text = $"{name}: {string.Join("; ", (object[])_terms)}";
    }

    /// <summary>Permits everything, unchanged.</summary>
    public static RoutePolicy All { get; } = new("all", [Every]);

    /// <summary>Permits nothing.</summary>
    public static RoutePolicy None { get; } = new("none", []);

    /// <summary>Name for people.</summary>
    public string Name { get; }

    /// <summary>Whether a term asks for routes of our own, which those that are taken from a peer never are.</summary>
    public bool AsksForOwn => _terms.Any(t => t.Ownership != RouteOwnership.Learned);

    /// <summary>Whether a term is for routes whose servers are about to leave.</summary>
    public bool TellsLeaving => _terms.Any(t => t.Ownership == RouteOwnership.Leaving);

    /// <summary>The term that permits a route; null: it is denied.</summary>
    /// <param name="prefix">Its prefix.</param>
    /// <param name="attributes">Its attributes.</param>
    /// <param name="ownership">Whose it is.</param>
    public PolicyTerm? Find(IpPrefix prefix, PathAttributes attributes, RouteOwnership ownership = RouteOwnership.Learned)
    {
        if (ReferenceEquals(this, All)) return Every;
        foreach (PolicyTerm term in _terms)
        {
            if (term.Matches(prefix, attributes, ownership)) return term.Permit ? term : null;
        }

        return null;
    }

    /// <summary>A policy that permits what a prefix list permits.</summary>
    public static implicit operator RoutePolicy(PrefixList list) => FromPrefixList(list);

    /// <summary>A policy that permits what a prefix list permits.</summary>
    public static RoutePolicy FromPrefixList(PrefixList list) => ReferenceEquals(list, PrefixList.All) ? All
        : ReferenceEquals(list, PrefixList.None) ? None : new RoutePolicy("prefix list", [new PolicyTerm { Prefixes = list }]);

    /// <inheritdoc/>
    public bool Equals(RoutePolicy? other) => other is not null && _text == other._text;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as RoutePolicy);

    /// <inheritdoc/>
    public override int GetHashCode() => string.GetHashCode(_text, StringComparison.Ordinal);

    /// <summary>Name and terms.</summary>
    public override string ToString() => _text;
}

/// <summary>Carries out what the terms of policies change. Each (term, attributes) is worked out once.</summary>
internal sealed class PolicyEditor(AttributeTable table, uint ownAs)
{
    private const int CacheLimit = 16384;

    private readonly AttributeBuilder _builder = new();
    private readonly Dictionary<(PolicyTerm, PathAttributes, bool), PathAttributes> _cache = [];

    // Made when they are used: most speakers have no policy that edits.
    private byte[] One => field ??= new byte[BgpLimits.MaxExtended + BgpLimits.MaxMessage];

    private byte[] Two => field ??= new byte[BgpLimits.MaxExtended + BgpLimits.MaxMessage];

    /// <param name="term">A term that permits.</param>
    /// <param name="attributes">What it changes.</param>
    /// <param name="toExternal">On the way to an eBGP peer.</param>
    /// <returns>The changed attributes; null when they are too large to be changed, and the route is to be denied.</returns>
    public PathAttributes? Edit(PolicyTerm term, PathAttributes attributes, bool toExternal)
    {
        if (!term.Edits) return attributes;

        // What would fill the largest message could not be sent on in any case.
        if (attributes.Wire.Length + term.Growth > BgpLimits.MaxExtended - 1024) return null;
        ref PathAttributes? made = ref CollectionsMarshal.GetValueRefOrAddDefault(_cache, (term, attributes, toExternal), out bool known);
        if (known) return made!;
        if (_cache.Count > CacheLimit)
        {
            _cache.Clear();
            return Make(term, attributes, toExternal);
        }

        return made = Make(term, attributes, toExternal);
    }

    private PathAttributes Make(PolicyTerm term, PathAttributes attributes, bool toExternal)
    {
        _builder.Load(attributes);
        if (term.LocalPref is { } localPref && !toExternal) _builder.LocalPref(localPref);
        if (term.Med is { } med) _builder.Med(med);
        foreach (CommunityKind kind in (ReadOnlySpan<CommunityKind>)[CommunityKind.Standard, CommunityKind.Extended,
            CommunityKind.Large]) EditCommunities(term, kind);
        if (toExternal)
        {
            ReadOnlySpan<byte> path = _builder.Get(AttributeCode.AsPath);
            for (int i = 0; i < term.Prepend; i++)
            {
                byte[] into = i % 2 == 0 ? One : Two;
                path = into.AsSpan(0, AsPath.Prepend(path, ownAs, into));
            }

            if (term.Prepend > 0) _builder.Set(AttributeFlags.Transitive, AttributeCode.AsPath, path);
        }

        return table.Intern(_builder.Build());
    }

    private void EditCommunities(PolicyTerm term, CommunityKind kind)
    {
        if (!term.RemoveAll && !term.Remove.Any(c => c.Kind == kind) && !term.Add.Any(c => c.Kind == kind)) return;
        byte code = BgpCommunity.CodeOf(kind);
        int size = BgpCommunity.SizeOf(kind), used = 0;
        ReadOnlySpan<byte> had = _builder.Get(code);
        for (int at = 0; at + size <= had.Length && !term.RemoveAll; at += size)
        {
            if (term.Remove.Contains(BgpCommunity.Read(had[at..], kind))) continue;
            had.Slice(at, size).CopyTo(Two.AsSpan(used));
            used += size;
        }

        foreach (BgpCommunity community in term.Add)
        {
            if (community.Kind != kind || Holds(Two.AsSpan(0, used), community)) continue;
            used += community.Write(Two.AsSpan(used));
        }

        if (used == 0) _builder.Remove(code);
        else _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, code, Two.AsSpan(0, used));
    }

    private static bool Holds(ReadOnlySpan<byte> value, BgpCommunity community)
    {
        for (; value.Length >= community.Size; value = value[community.Size..])
        {
            if (BgpCommunity.Read(value, community.Kind) == community) return true;
        }

        return false;
    }
}
