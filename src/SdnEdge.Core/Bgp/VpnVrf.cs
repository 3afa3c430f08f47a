using System.Globalization;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>What BGP is to know of a VRF (RFC 4364 4.3).</summary>
/// <param name="Name">Name of the VRF.</param>
/// <param name="Rd">Distinguisher of the routes it tells; no other VRF of this router has it.</param>
/// <param name="Key">GRE key by which packets for it come from other PEs.</param>
public sealed record VpnVrfSettings(string Name, RouteDistinguisher Rd, uint Key)
{
    /// <summary>Route targets of which a route must carry one to come in.</summary>
    public IReadOnlyList<BgpCommunity> Import { get; init; } = [];

    /// <summary>Route targets that its routes carry.</summary>
    public IReadOnlyList<BgpCommunity> Export { get; init; } = [];

    /// <summary>True when both say the same.</summary>
    public bool Equals(VpnVrfSettings? other) => other is not null && Name == other.Name && Rd == other.Rd && Key == other.Key
        && Import.SequenceEqual(other.Import) && Export.SequenceEqual(other.Export);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Rd, Key);
}

/// <summary>
/// Tunnels of VPN routes, one for each far end and key, by name: made while a route of some VRF goes through them. A name is
/// <c>vpn-10.255.0.2-7</c>, and <c>tunnel:</c> before it where a next hop names it as its port.
/// </summary>
public static class VpnTunnelName
{
    private const string Start = "vpn-";

    /// <summary>What stands before the name of a tunnel where a port's name is expected; no port can be called so.</summary>
    public const string AsPort = "tunnel:";

    /// <summary>The name of the tunnel to an endpoint with a key.</summary>
    public static string Of(IpAddress endpoint, uint key) => string.Create(CultureInfo.InvariantCulture, $"{Start}{endpoint}-{key}");
}

/// <summary>A VRF as the engine has it: its settings, its table, and what it tells.</summary>
internal sealed class VpnVrf(VpnVrfSettings settings, LocRib rib)
{
    private PathAttributes? _last;
    private bool _lastImports;

    public VpnVrfSettings Settings { get; private set; } = settings;

    public LocRib Rib { get; } = rib;

    /// <summary>What is told, by prefix.</summary>
    public Dictionary<IpPrefix, VpnOwnRoute> Own { get; } = [];

    /// <summary>Whether routes with these attributes come in. An UPDATE's routes share them, so the last answer is kept.</summary>
    public bool Imports(PathAttributes attributes)
    {
        if (ReferenceEquals(_last, attributes)) return _lastImports;
        _last = attributes;
        _lastImports = false;
        foreach (BgpCommunity target in Settings.Import) _lastImports |= target.IsOn(attributes);
        return _lastImports;
    }

    public void Change(VpnVrfSettings next)
    {
        Settings = next;
        _last = null;
    }
}

/// <summary>A route that a VRF tells.</summary>
/// <param name="LocalPref">LOCAL_PREF.</param>
/// <param name="Move">Number of the move that brought it here; 0: none.</param>
/// <param name="Learned">What a CE told of it; null: it is our own.</param>
/// <param name="MoveTag">Tag of that move, while flush markers are wanted; null: none.</param>
internal readonly record struct VpnOwnRoute(uint LocalPref, long Move, PathAttributes? Learned, uint? MoveTag);
