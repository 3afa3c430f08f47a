using System.Diagnostics;
using System.Text.Json;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>One path to a prefix, as the peer's own table has it.</summary>
/// <param name="From">Address of the neighbour it was learnt from; "local" when it is the peer's own.</param>
/// <param name="LocalPref">LOCAL_PREF; null when the table does not say.</param>
/// <param name="Best">Whether the peer uses this path. False throughout where the peer selects none.</param>
/// <param name="AsPath">AS numbers with a space between; empty for an empty path.</param>
/// <param name="NextHop">Next hop.</param>
/// <param name="Stale">Kept while the neighbour restarts (RFC 4724).</param>
internal sealed record PeerPath(string From, uint? LocalPref, bool Best, string AsPath, string NextHop, bool Stale = false);

/// <summary>How a peer is configured towards us, beyond both families and 4-octet AS numbers.</summary>
internal sealed record PeerOptions
{
    /// <summary>Our iBGP speakers are its route-reflector clients (RFC 4456).</summary>
    public bool Reflect { get; init; }

    /// <summary>TCP-MD5 secret (RFC 2385) of the session with 10.255.0.1; null for none.</summary>
    public string? Md5 { get; init; }

    /// <summary>The session with 10.255.0.2 demands a TTL of 255 (RFC 5082).</summary>
    public bool Gtsm { get; init; }

    /// <summary>Prefixes of one family accepted from 10.255.0.4 before the session is ended; null for no limit.</summary>
    public int? MaxPrefix { get; init; }

    /// <summary>Graceful restart (RFC 4724) as restarter and helper, where the peer has it.</summary>
    public bool GracefulRestart { get; init; }
}

/// <summary>
/// A BGP speaker of another make at 10.255.0.3, AS 65000, in a <see cref="PeerRig"/>. Its neighbours: 10.255.0.1, .2 and .4 by
/// iBGP, and 10.255.0.5 of AS 4200000005. It originates 10.2.3.0/24 and fd00:2:3::/64 with MED 50, two communities, a large and
/// an extended one.
/// </summary>
internal abstract class PeerDaemon(PeerRig rig, PeerOptions options)
{
    /// <summary>AS of our speaker at 10.255.0.5: one that two octets do not hold.</summary>
    public const uint OtherAs = 4_200_000_005;

    public static readonly IpPrefix Own4 = IpPrefix.Parse("10.2.3.0/24");
    public static readonly IpPrefix Own6 = IpPrefix.Parse("fd00:2:3::/64");

    protected PeerRig Rig { get; } = rig;

    protected PeerOptions Options { get; } = options;

    protected Process? Main { get; set; }

    /// <summary>Numbers of our speakers that are its iBGP neighbours.</summary>
    protected static IEnumerable<int> Internal => [1, 2, 4];

    /// <summary>Name and version, as the program itself says it.</summary>
    public static string NameOf(string make)
    {
        (string name, string[] command) = make switch
        {
            "frr" => ("FRR", (string[])["/usr/lib/frr/bgpd", "--version"]),
            "bird" => ("BIRD", ["/usr/sbin/bird", "--version"]),
            "gobgp" => ("GoBGP", ["gobgpd", "--version"]),
            "exabgp" => ("ExaBGP", ["exabgp", "--version"]),
            _ => ("OpenBGPD", ["/usr/sbin/bgpd", "-V"]),
        };
        string said = PeerRig.TryRun(command[0], command[1..]).Text;
        return $"{name} {System.Text.RegularExpressions.Regex.Match(said, "[0-9]+\\.[0-9.]*[0-9]").Value}";
    }

    public static PeerDaemon Make(string make, PeerRig rig, PeerOptions? options = null)
    {
        options ??= new PeerOptions();
        return make switch
        {
            "frr" => new FrrPeer(rig, options),
            "bird" => new BirdPeer(rig, options),
            "gobgp" => new GobgpPeer(rig, options),
            "exabgp" => new ExabgpPeer(rig, options),
            "openbgpd" => new OpenbgpdPeer(rig, options),
            _ => throw new ArgumentException($"no peer of make {make}", nameof(make)),
        };
    }

    /// <summary>Starts it; returns when it answers.</summary>
    public abstract void Start();

    /// <summary>The paths its table holds to exactly this prefix; none when it has none, or cannot answer yet.</summary>
    public abstract IReadOnlyList<PeerPath> Paths(IpPrefix prefix);

    /// <summary>Takes back its own two routes.</summary>
    public abstract void WithdrawOwn();

    /// <summary>Sends ROUTE-REFRESH (RFC 2918) for IPv4 to our speaker i.</summary>
    public abstract void AskRefresh(int i);

    /// <summary>Ends the session with our speaker i by a NOTIFICATION: cease.</summary>
    public abstract void Cease(int i);

    /// <summary>Lets the session with our speaker i start again, after the peer had ended it for too many prefixes.</summary>
    public abstract void Reset(int i);

    /// <summary>What failure messages should show.</summary>
    public override string ToString() => Rig.Said;

    /// <summary>Ends it without a word to anybody.</summary>
    public virtual void Kill()
    {
        // With a bound: what it has started may hold its output open.
        Main!.Kill();
        Assert.True(Main.WaitForExit(Patience.Time), "it ends when killed");
    }

    /// <summary>
    /// Starts it again after <see cref="Kill"/>, as one whose forwarding has gone on (RFC 4724), where it can claim that.
    /// </summary>
    public abstract void StartAgain();

    protected string At(string file) => Path.Combine(Rig.Folder, file);

    /// <summary>Writes a file of the peer's configuration; returns its path.</summary>
    protected string Write(string file, string text)
    {
        File.WriteAllText(At(file), text);
        return At(file);
    }

    /// <summary>Runs a program in the peer's namespace.</summary>
    protected string InPeer(params string[] command) => PeerRig.TryRun("ip", ["netns", "exec", Rig.Theirs, .. command]).Text;

    protected static string Nets(IpPrefix prefix) => prefix.Address.IsV4 ? "ipv4" : "ipv6";

    /// <summary>The JSON in a program's answer; null when it was cut short, as while a daemon starts.</summary>
    protected static JsonElement? Json(string text)
    {
        int start = text.AsSpan().IndexOfAny('{', '[');
        if (start < 0) return null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(text[start..]);
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
