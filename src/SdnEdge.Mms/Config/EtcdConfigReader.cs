using System.Net;
using SdnEdge.Core.Config;

namespace SdnEdge.Mms.Config;

/// <summary>Reads <c>journal:</c> where it names an etcd.</summary>
internal static class EtcdConfigReader
{
    private const string Right = "write \"https://10.254.0.11:2379/\"";

    public static EtcdConfig Read(MapReader journal)
    {
        bool insecure = journal.Flag("insecure", false);
        var members = new List<string>();
        foreach ((YamlText text, string path) in journal.Texts("etcd"))
        {
            if (WhyNot(text.Text, insecure) is { } why) journal.Errors.Add(text, path, why);
            else if (members.Contains(text.Text)) journal.Errors.Add(text, path, $"'{text.Text}' is there already; each member once");
            else members.Add(text.Text);
        }

        if (!journal.Has("etcd")) journal.Error("etcd", "is missing: the client addresses of its members; write etcd: [ "
            + "\"https://10.254.0.11:2379/\" ], or journal: FILE for one manager alone");
        else if (insecure && members.Count > 0 && members.TrueForAll(m => m.StartsWith("https:", StringComparison.OrdinalIgnoreCase)))
            journal.Error("insecure", "has no effect: all members are reached by https; take it out");
        var usual = new EtcdConfig([]);
        string prefix = journal.Text("prefix", example: usual.Prefix) ?? usual.Prefix;
        if (prefix is not ['/', _, ..] || prefix.EndsWith('/') || prefix.Any(c => char.IsControl(c) || char.IsWhiteSpace(c)))
            journal.Error("prefix", $"'{prefix}' is no prefix of keys; write it as {usual.Prefix}: a slash first, none last, no blanks");
        var config = new EtcdConfig(members, prefix, (int)journal.Number("leaseSeconds", 1, 60, usual.LeaseSeconds));
        journal.Finish();
        return config;
    }

    private static string? WhyNot(string text, bool insecure)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) || uri.Host.Length == 0 || uri.Scheme is not ("http" or "https"))
            return $"'{text}' is no client address of an etcd; {Right}";
        if (uri.PathAndQuery != "/" || uri.Fragment.Length > 0 || uri.UserInfo.Length > 0)
            return $"'{text}' has more than a host and a port; {Right}";
        bool isHere = uri.IsLoopback || (IPAddress.TryParse(uri.Host, out IPAddress? address) && IPAddress.IsLoopback(address));
        return uri.Scheme == "https" || insecure || isHere ? null
            : $"'{text}' is not https: whoever reaches that address may move servers; {Right}, or insecure: true beside it when nobody but "
                + "friends can";
    }
}
