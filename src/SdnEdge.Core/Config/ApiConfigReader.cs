using System.Globalization;
using System.Text;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>Reads where a daemon's API listens and who may do what there: the same for every daemon.</summary>
public static class ApiConfigReader
{
    /// <summary>Longest path of a unix socket, bytes (sun_path of unix(7) less the zero).</summary>
    public const int MaxSocketPath = 107;

    /// <summary>Reads the section <c>api</c> of a daemon's configuration.</summary>
    public static ApiConfig Read(MapReader node)
    {
        if (node.Map("api") is not { } api) return new ApiConfig();
        string? unix = api.Text("unix", example: "/run/sdnedge/pe-a.sock");
        if (unix is not null && !unix.StartsWith('/')) api.Error("unix",
            $"'{unix}' is not an absolute path; write it as /run/sdnedge/pe-a.sock");
        else if (unix is not null && Encoding.UTF8.GetByteCount(unix) > MaxSocketPath) api.Error("unix",
            $"is {Encoding.UTF8.GetByteCount(unix)} bytes long and the kernel takes {MaxSocketPath}; choose a shorter path");
        ApiTcpConfig? tcp = api.Map("tcp") is { } map ? ReadTcp(map, "the API is not served over TCP", "use unix: instead of tcp:") : null;
        var config = new ApiConfig(unix, tcp) { Access = ReadAccess(api) };
        api.Finish();
        return config;
    }

    private static List<AccessRule> ReadAccess(MapReader api)
    {
        var rules = new List<AccessRule>();
        foreach (MapReader item in api.Maps("access"))
        {
            string? certificate = item.Text("certificate", example: "mms");
            uint? user = (uint?)item.OptionalNumber("user", 0, uint.MaxValue);
            ApiRole role = item.Choice("role", ApiRole.Read, ("read", ApiRole.Read), ("store", ApiRole.Store),
                ("migrate", ApiRole.Migrate), ("admin", ApiRole.Admin));
            if (!item.Has("role")) item.Error("role", "is missing; write role: read, store, migrate or admin");
            if (certificate is null == user is null)
                item.Error("certificate", "or user: exactly one of them says who it is; write certificate: NAME, or user: NUMBER");
            else if (rules.Exists(r => r.Certificate == certificate && r.User == user))
                item.Error(certificate is null ? "user" : "certificate", "has a rule already; keep one");
            else rules.Add(new AccessRule(certificate, user, role));
            item.Finish();
        }

        return rules;
    }

    /// <summary>Reads an address to listen on with mutual TLS: listen, certificate, key, clientCa.</summary>
    /// <param name="tcp">The section.</param>
    /// <param name="what">What there is not without it, e.g. <c>the API is not served over TCP</c>.</param>
    /// <param name="instead">What to do otherwise, e.g. <c>use unix: instead of tcp:</c>.</param>
    public static ApiTcpConfig? ReadTcp(MapReader tcp, string what, string instead)
    {
        ArgumentNullException.ThrowIfNull(tcp);
        (IpAddress Address, int Port) at = tcp.Text("listen", required: true, "\"10.255.0.1:8443\"") is { } listen
            ? ReadEndPoint(tcp, "listen", listen) : default;
        string? certificate = FileName("certificate", "pe-a.crt"), key = FileName("key", "pe-a.key");
        string? ca = FileName("clientCa", "mms-ca.crt");
        tcp.Finish();
        return certificate is null || key is null || ca is null ? null : new ApiTcpConfig(at.Address, at.Port, certificate, key, ca);

        string? FileName(string name, string file)
        {
            string? text = tcp.Text(name, example: $"/etc/sdnedge/{file}");
            if (string.IsNullOrEmpty(text)) tcp.Error(name,
                $"is missing: {what} without mutual TLS; write {name}: /etc/sdnedge/{file}, or {instead}");
            return text;
        }
    }

    /// <summary>Why a text is no address of a daemon's API, and what would be right; null = it is one.</summary>
    public static string? WhyNotApi(string api)
    {
        ArgumentNullException.ThrowIfNull(api);
        const string Right = "write \"https://10.254.0.1:8443/\", or unix:/run/sdnedge/pe-a.sock";
        if (api.StartsWith("unix:", StringComparison.Ordinal))
        {
            string path = api["unix:".Length..];
            int length = Encoding.UTF8.GetByteCount(path);
            return !path.StartsWith('/') ? $"'{path}' is not an absolute path; {Right}"
                : length > MaxSocketPath
                    ? $"the path is {length} bytes long and the kernel takes {MaxSocketPath}; choose a shorter one" : null;
        }

        if (!Uri.TryCreate(api, UriKind.Absolute, out Uri? uri) || uri.Host.Length == 0) return $"'{api}' is no address of an API; {Right}";
        if (uri.Scheme != Uri.UriSchemeHttps)
            return $"'{api}' is not https; a daemon is reached by https with certificates, or on this machine by its unix socket: {Right}";
        return uri.PathAndQuery == "/" && uri.Fragment.Length == 0 && uri.UserInfo.Length == 0
            ? null : $"'{api}' has more than a host and a port; {Right}";
    }

    /// <summary>Reads ADDRESS:PORT.</summary>
    public static (IpAddress Address, int Port) ReadEndPoint(MapReader map, string key, string text)
    {
        ArgumentNullException.ThrowIfNull(map);
        ArgumentNullException.ThrowIfNull(text);
        int colon = text.LastIndexOf(':');
        if (colon > 0 && IpAddress.TryParse(text[..colon].Trim('[', ']'), out IpAddress address)
            && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port)
                && port is > 0 and < 65536)
        {
            return (address, port);
        }

        map.Error(key, $"'{text}' is not ADDRESS:PORT; write \"10.255.0.1:8443\" or \"[fd00:ff::1]:8443\"");
        return default;
    }
}
