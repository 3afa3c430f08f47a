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
            ApiRole role = item.Choice("role", ApiRole.Read, ("read", ApiRole.Read), ("migrate", ApiRole.Migrate),
                ("admin", ApiRole.Admin));
            if (!item.Has("role")) item.Error("role", "is missing; write role: read, migrate or admin");
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
