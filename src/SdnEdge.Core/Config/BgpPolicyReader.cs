using System.Globalization;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>Reads prefix lists, community lists and policies of the <c>bgp:</c> part.</summary>
internal static class BgpPolicyReader
{
    private const int MaxPrepend = 20;

    /// <summary>The policies by name.</summary>
    public static Dictionary<string, RoutePolicy> Read(MapReader bgp)
    {
        var prefixLists = new Dictionary<string, PrefixList>();
        foreach (MapReader item in bgp.Maps("prefixLists"))
        {
            var rules = new List<PrefixRule>();
            foreach ((YamlText text, string path) in item.Texts("rules"))
            {
                if (TryRule(text.Text, out PrefixRule? rule, out string wrong)) rules.Add(rule!);
                else item.Errors.Add(text, path, $"'{text.Text}' is no rule: {wrong}; write it as \"permit 10.0.0.0/8 ge 24 le 32\"");
            }

            if (!item.Has("rules")) item.Errors.Add(item.Node, item.Path, "has no rules; write rules: [\"permit 10.0.0.0/8 le 32\"]");
            Define(item, prefixLists, "prefix list", new PrefixList(rules));
        }

        var communityLists = new Dictionary<string, CommunityList>();
        foreach (MapReader item in bgp.Maps("communityLists"))
        {
            List<BgpCommunity> communities = Communities(item, "communities");
            if (!item.Has("communities")) item.Errors.Add(item.Node, item.Path, "has no communities; write communities: [\"65000:100\"]");
            Define(item, communityLists, "community list",
                new CommunityList(communities, item.Choice("match", false, ("any", false), ("all", true))));
        }

        var policies = new Dictionary<string, RoutePolicy>();
        foreach (MapReader item in bgp.Maps("policies"))
        {
            var terms = new List<PolicyTerm>();
            foreach (MapReader term in item.Maps("terms")) terms.Add(ReadTerm(term, prefixLists, communityLists));
            string? name = item.Text("name");
            if (name is "all" or "none") item.Error("name",
                $"'{name}' is taken: it stands for {(name == "all" ? "everything" : "nothing")}; choose another");
            Define(item, policies, "policy", new RoutePolicy(name ?? "", terms));
        }

        return policies;
    }

    private static PolicyTerm ReadTerm(MapReader term, Dictionary<string, PrefixList> prefixLists, Dictionary<string,
        CommunityList> communityLists)
    {
        CommunityList? communities = Named(term, "communities", communityLists, "community list", "communityLists");
        var read = new PolicyTerm
        {
            Prefixes = Named(term, "prefixes", prefixLists, "prefix list", "prefixLists"),
            Communities = communities?.Communities ?? [],
            MatchAll = communities?.All ?? false,
            Ownership = ReadOwnership(term),
            Permit = term.Choice("action", true, ("permit", true), ("deny", false)),
            LocalPref = (uint?)term.OptionalNumber("localPref", 0, uint.MaxValue),
            Med = (uint?)term.OptionalNumber("med", 0, uint.MaxValue),
            Remove = Communities(term, "remove"),
            RemoveAll = term.Flag("removeAll", false),
            Add = Communities(term, "add"),
            Prepend = (int)term.Number("prepend", 0, MaxPrepend, 0),
        };
        if (!read.Permit && read.Edits) term.Errors.Add(term.Node, term.Path, "denies the route and changes it; keep one of them");
        term.Finish();
        return read;
    }

    private static RouteOwnership ReadOwnership(MapReader term)
    {
        bool own = term.Flag("own", false);
        return term.Flag("leaving", false) ? RouteOwnership.Leaving : own ? RouteOwnership.Own : RouteOwnership.Learned;
    }

    private static T? Named<T>(MapReader term, string key, Dictionary<string, T> known, string what, string where)
        where T : class
    {
        if (term.Text(key) is not { } name) return null;
        if (known.TryGetValue(name, out T? value)) return value;
        term.Error(key, $"there is no {what} '{name}'; "
            + $"{(known.Count == 0 ? $"define it in {where}" : $"there are {string.Join(", ", known.Keys)}")}"
            + $"{MapReader.DidYouMean(name, known.Keys)}");
        return null;
    }

    private static void Define<T>(MapReader item, Dictionary<string, T> into, string what, T value)
    {
        if (item.Text("name", required: true, "customers") is { } name && !into.TryAdd(name, value)) item.Error("name",
            $"there is a {what} '{name}' already; give each its own name");
        item.Finish();
    }

    private static List<BgpCommunity> Communities(MapReader item, string key)
    {
        var list = new List<BgpCommunity>();
        foreach ((YamlText text, string path) in item.Texts(key))
        {
            if (BgpCommunity.TryParse(text.Text, out BgpCommunity community)) list.Add(community);
            else item.Errors.Add(text, path,
                $"'{text.Text}' is no community; write \"65000:100\", \"65000:1:2\" (large), \"rt:65000:100\" or no-export");
        }

        return list;
    }

    private static bool TryRule(string text, out PrefixRule? rule, out string wrong)
    {
        rule = null;
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int at = words is ["permit" or "deny", ..] ? 1 : 0;
        wrong = "it has no prefix, or one with host bits set";
        if (words.Length <= at || !IpPrefix.TryParse(words[at], out IpPrefix prefix)) return false;
        int? least = null, most = null;
        for (int i = at + 1; i < words.Length; i += 2)
        {
            wrong = "behind the prefix stand ge LENGTH and le LENGTH only";
            if (i + 1 >= words.Length || words[i] is not ("ge" or "le")
                || !int.TryParse(words[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out int length)) return false;
            wrong = $"{length} is no length from {prefix.Length} to {prefix.Address.BitLength}";
            if (length < prefix.Length || length > prefix.Address.BitLength) return false;
            if (words[i] == "ge") least = length;
            else most = length;
        }

        wrong = $"ge {least} is above le {most}";
        if (least > most) return false;

        // As on other routers: ge alone reaches to host routes.
        rule = new PrefixRule(prefix, least, most ?? (least is null ? null : prefix.Address.BitLength), words[0] != "deny");
        return true;
    }

    private sealed record CommunityList(IReadOnlyList<BgpCommunity> Communities, bool All);
}
