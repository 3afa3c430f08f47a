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
        ApiTcpConfig? tcp = api.Map("tcp") is { } map ? ReadTcp(map) : null;
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

    private static ApiTcpConfig? ReadTcp(MapReader tcp)
    {
        string? listen = tcp.Text("listen", required: true, "\"10.255.0.1:8443\"");
        IpAddress address = default;
        int port = 0;
        if (listen is not null)
        {
            int colon = listen.LastIndexOf(':');
            bool good = colon > 0 && IpAddress.TryParse(listen[..colon].Trim('[', ']'), out address)
                && int.TryParse(listen.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is > 0
                    and < 65536;
            if (!good) tcp.Error("listen", $"'{listen}' is not ADDRESS:PORT; write \"10.255.0.1:8443\" or \"[fd00:ff::1]:8443\"");
        }

        string? certificate = ReadFileName(tcp, "certificate", "pe-a.crt"), key = ReadFileName(tcp, "key", "pe-a.key"),
            ca = ReadFileName(tcp, "clientCa", "mms-ca.crt");
        tcp.Finish();
        return certificate is null || key is null || ca is null ? null : new ApiTcpConfig(address, port, certificate, key, ca);
    }

    private static string? ReadFileName(MapReader tcp, string key, string file)
    {
        string? text = tcp.Text(key, example: $"/etc/sdnedge/{file}");
        if (string.IsNullOrEmpty(text)) tcp.Error(key,
            $"is missing: the API is not served over TCP without mutual TLS; write {key}: /etc/sdnedge/{file}, or use unix: instead of "
            + $"tcp:");
        return text;
    }
}
