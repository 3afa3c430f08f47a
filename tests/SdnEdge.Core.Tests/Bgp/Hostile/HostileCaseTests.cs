using System.Runtime.CompilerServices;
using System.Text;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Testing.Bgp;
using SdnEdge.Testing.Bgp.Fuzz;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>
/// Every hostile input, by clause, on a real session, over iBGP and eBGP. Before each the peer has announced four routes:
/// two that most cases name again, an IPv6 one, and one that no case names.
/// </summary>
public sealed class HostileCaseTests
{
    private const string Bystander = "10.99.0.0/16";
    private const string Server6 = "fd00:1:1::10/128";

    private static readonly (string Title, HostileCase[] Cases)[] Sections =
    [
        ("Message header", [.. HostileMessages.Headers()]),
        ("OPEN", [.. HostileMessages.Opens()]),
        ("UPDATE: framing", [.. HostileUpdates.Framing()]),
        ("UPDATE: flags", [.. HostileUpdates.Flags()]),
        ("UPDATE: missing and repeated attributes", [.. HostileUpdates.MissingOrTwice()]),
        ("UPDATE: attributes of RFC 4271", [.. HostileUpdates.Rfc4271()]),
        ("UPDATE: other families", [.. HostileExtensions.Multiprotocol()]),
        ("UPDATE: 4-octet AS numbers", [.. HostileExtensions.FourOctetAs()]),
        ("UPDATE: communities and reflection", [.. HostileExtensions.Communities()]),
        ("UPDATE: VPN routes", [.. HostileVpn.Routes()]),
        ("UPDATE: tunnel encapsulation", [.. HostileVpn.Tunnels()]),
        ("UPDATE: attributes we do not know", [.. HostileExtensions.Unknown()]),
        ("Extended messages", [.. HostileExtended.All()]),
        ("Other messages, and messages out of turn", [.. HostileMessages.Others()]),
    ];

    private static readonly Dictionary<string, HostileCase> ByName =
        Sections.SelectMany(s => s.Cases).ToDictionary(c => c.Name, StringComparer.Ordinal);

    public static TheoryData<string, bool> Cases()
    {
        var data = new TheoryData<string, bool>();
        foreach (HostileCase one in ByName.Values)
        {
            if ((one.On & On.Internal) != 0) data.Add(one.Name, false);
            if ((one.On & On.External) != 0) data.Add(one.Name, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void By_clause(string name, bool external)
    {
        HostileCase one = ByName[name];
        HostileBytes bytes = one.Bytes(external);
        var session = new RawSession(external, one.AsSize == 4, one.Extended);
        session.Connect(one.State);
        if (one.State == BgpState.Established)
        {
            session.Receive(new UpdateSketch(external, one.AsSize).Nlri("18 0A0101 18 0A0102 10 0A63").Build());
            session.Receive(new UpdateSketch(external, one.AsSize).Mp().Build());
            session.Receive(new UpdateSketch(external, one.AsSize).Vpn(tunnel: external ? null : UpdateSketch.Tunnel).Build());
            Assert.Equal(4, session.Peer.Origin.Prefixes);
            Assert.Equal(1, session.Peer.VpnReceived);
            Assert.Equal(external, session.Red.Best(IpPrefix.Parse("10.1.1.0/24")) is null);
        }

        session.Receive(bytes.Message);
        session.Turn();

        if (one.Fault != BgpFault.None) Assert.Equal(1, session.Peer.Faults[one.Fault]);
        else Assert.Empty(session.Peer.Faults.Seen());
        if (one.Does == FaultAction.SessionReset)
        {
            Assert.Equal(1, session.Closed);
            Assert.NotEqual(BgpState.Established, session.Peer.State);
            Assert.Equal(0, session.Peer.Origin.Prefixes);
            string expected = one.Notification + (one.Data ?? Convert.ToHexString(bytes.Offender));
            Assert.Equal(expected, session.Notification is { } sent ? Convert.ToHexString(sent) : "");
            return;
        }

        Assert.Equal(0, session.Closed);
        Assert.Null(session.Notification);
        if (one.State == BgpState.OpenSent)
        {
            Assert.Equal(BgpState.OpenConfirm, session.Peer.State);
            return;
        }

        Assert.Equal(BgpState.Established, session.Peer.State);
        Assert.NotNull(session.Rib.Best(IpPrefix.Parse(Bystander)));
        bool kept = one.Does < FaultAction.TreatAsWithdraw;
        Assert.Equal(kept || !bytes.NamesV4, session.Rib.Best(IpPrefix.Parse("10.1.1.0/24")) is not null);
        Assert.Equal(kept || !bytes.NamesV6, session.Rib.Best(IpPrefix.Parse(Server6)) is not null);
        Assert.Equal(kept || one.NamesNothing || !bytes.NamesVpn, session.Peer.VpnReceived > 0);
        if (one.Path is not null) Assert.Equal(one.Path, session.Rib.Best(IpPrefix.Parse("10.1.1.0/24"))!.Value.Attributes!.AsPathText());
    }

    [Fact]
    public void Every_fault_has_a_case_and_its_action_is_the_one_in_the_table()
    {
        // These sessions are on no link: LinkPeerTests has that one.
        var missing = Enum.GetValues<BgpFault>().Except(ByName.Values.Select(c => c.Fault)).Except([BgpFault.NextHopOffLink]).ToList();
        Assert.Empty(missing);
        foreach (HostileCase one in ByName.Values.Where(c => c.Fault != BgpFault.None))
        {
            Assert.True(one.Does == BgpFaults.ActionOf(one.Fault), one.Name);
        }
    }

    [Fact]
    public void The_oracle_of_the_fuzzer_judges_the_cases_as_the_table_does()
    {
        int judged = 0;
        foreach (HostileCase one in ByName.Values)
        {
            foreach (bool external in (bool[])[false, true])
            {
                if ((one.On & (external ? On.External : On.Internal)) == 0 || one.State != BgpState.Established || one.Extended) continue;
                HostileBytes bytes = one.Bytes(external);
                if (bytes.Message.Length is < 23 or > BgpLimits.MaxMessage || bytes.Message[18] != 2
                    || bytes.Message.Length != (bytes.Message[16] << 8) + bytes.Message[17]) continue;
                var oracle = new UpdateOracle(external, one.AsSize, external ? RawSession.ExternalAs : RawSession.OurAs, RawSession.OurAs);
                UpdateVerdict verdict = oracle.Judge(bytes.Message[19..]);
                UpdateVerdict expected =
                    one.Does switch { FaultAction.SessionReset => UpdateVerdict.Reset,
                        FaultAction.TreatAsWithdraw => UpdateVerdict.Withdraw, _ => UpdateVerdict.Take };
                Assert.True(expected == verdict, $"{one.Name}: {verdict}");
                Assert.True(verdict == UpdateVerdict.Reset || oracle.Clean == (one.Fault == BgpFault.None), one.Name);
                judged++;
            }
        }

        Assert.True(judged > 250, $"{judged}");
    }

    [Fact]
    public void The_document_lists_what_the_cases_expect()
    {
        var text = new StringBuilder(
            """
            # Hostile input

            What this speaker does with wrong, odd or malicious input from a BGP peer, by clause. Each line is a test
            (`tests/SdnEdge.Core.Tests/Bgp/Hostile`), run on a real session, over iBGP and eBGP unless it says otherwise, with
            routes in place that must survive. The counter is the name of the fault in `BgpPeer.Faults`. This file is written by
            the tests: `SDNEDGE_UPDATE_GOLDEN=1 dotnet test tests/SdnEdge.Core.Tests --filter FullyQualifiedName~HostileCaseTests`.

            - **taken**: nothing is wrong with it, or nothing that may matter.
            - **ignored**: the attribute, or the message where it is not an UPDATE, counts for nothing; the rest counts.
            - **withdrawn**: the routes of the message are treated as withdrawn (RFC 7606 2); session and all other routes stay.
            - **reset**: NOTIFICATION with this code and subcode, and what it carries; the session ends.

            """);
        foreach ((string title, HostileCase[] cases) in Sections)
        {
            text.Append("\n## ").Append(title).Append("\n\n| RFC | what comes | what we do | counter |\n|---|---|---|---|\n");
            foreach (HostileCase one in cases)
                text.Append("| ").Append(one.Clause).Append(" | ").Append(one.Input).Append(Where(one)).Append(" | ").Append(What(one))
                    .Append(" | ").Append(one.Fault == BgpFault.None ? "" : $"{one.Fault}").Append(" |\n");
        }

        string path = Path.Combine(Root(), "docs", "hostile-input.md");
        if (Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_GOLDEN") == "1") File.WriteAllText(path, text.ToString());
        Assert.Equal(text.ToString(), File.ReadAllText(path));
    }

    private static string Where(HostileCase one) => (one.On, one.AsSize) switch
    {
        (On.External, _) => " (eBGP)",
        (On.Internal, _) when one.State == BgpState.Established => " (iBGP)",
        (_, 2) => " (2-octet speaker)",
        _ => "",
    };

    private static string What(HostileCase one) => one.Does switch
    {
        FaultAction.None => "taken",
        FaultAction.AttributeDiscard => "ignored",
        FaultAction.TreatAsWithdraw => "withdrawn",
        _ when one.Notification.Length == 0 => "the session ends",
        _ => $"reset {Convert.ToInt32(one.Notification[..2], 16)}/{Convert.ToInt32(one.Notification[2..], 16)}" + one.Data switch
        {
            null => " + attribute",
            { Length: 0 } => "",
            { Length: > 8 } => " + message",
            _ => $" + {one.Data}",
        },
    };

    private static string Root([CallerFilePath] string here = "")
        => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", ".."));
}
