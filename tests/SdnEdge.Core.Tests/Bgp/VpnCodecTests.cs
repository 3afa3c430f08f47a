using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>VPN routes, route distinguishers and the tunnel encapsulation attribute on the wire.</summary>
public sealed class VpnCodecTests
{
    private static readonly UpdateContext Internal = new(FourOctetAs: true, External: false, 65000, BgpFamilies.All);

    [Theory]
    [InlineData("65000:7", 0x0000_FDE8_0000_0007)]
    [InlineData("65000:4294967295", 0x0000_FDE8_FFFF_FFFF)]
    [InlineData("10.255.0.1:7", 0x0001_0AFF_0001_0007)]
    [InlineData("4200000000:7", 0x0002_FA56_EA00_0007)]
    public void A_route_distinguisher_is_read_and_written_in_each_of_its_forms(string text, ulong value)
    {
        Assert.True(RouteDistinguisher.TryParse(text, out RouteDistinguisher read));
        Assert.Equal(value, read.Value);
        Assert.Equal(text, read.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("65000")]
    [InlineData("65000:")]
    [InlineData("65000:4294967296")]
    [InlineData("10.255.0.1:65536")]
    [InlineData("4200000000:65536")]
    [InlineData("65000:7:1")]
    [InlineData("fd00::1:7")]
    public void What_is_no_route_distinguisher_is_refused(string text) => Assert.False(RouteDistinguisher.TryParse(text, out _));

    [Fact]
    public void A_VPN_route_has_the_bytes_of_RFC_4364_and_8277()
    {
        var message = new byte[4096];
        PathAttributes attributes = Attributes(new GreTunnelRoute(7, IpAddress.Parse("10.255.0.1")));
        ReadOnlySpan<(VpnPrefix, uint)> routes =
            [(new VpnPrefix(RouteDistinguisher.Parse("65000:1"), IpPrefix.Parse("10.1.1.0/24")), VpnLabel.ImplicitNull)];
        int length = new UpdateEncoder().AnnounceVpn(message, attributes, true, IpAddress.Parse("10.255.0.1"), ref routes);
        string hex = Convert.ToHexString(message.AsSpan(23, length - 23));
        Assert.StartsWith("900E0020" + "000180" + "0C" + "0000000000000000" + "0AFF0001" + "00" + "70" + "000031" + "0000FDE800000001"
            + "0A0101", hex, StringComparison.Ordinal);
        Assert.EndsWith("C017" + "16" + "0002" + "0012" + "0104" + "00000007" + "060A" + "00000000" + "0001" + "0AFF0001", hex,
            StringComparison.Ordinal);

        routes = [(new VpnPrefix(RouteDistinguisher.Parse("65000:1"), IpPrefix.Parse("10.1.1.0/24")), 0)];
        length = UpdateEncoder.WithdrawVpn(message, ref routes);
        Assert.Equal("0000" + "0016" + "900F0012" + "000180" + "70" + "800000" + "0000FDE800000001" + "0A0101",
            Convert.ToHexString(message.AsSpan(19, length - 19)));
    }

    [Property(MaxTest = 300)]
    public void VPN_routes_read_back_are_what_was_written(bool v6, bool hop6,
        NonEmptyArray<(ulong Rd, ulong High, ulong Low, byte Length, uint Label)> raw, uint key)
    {
        var sent = raw.Get.Select(r => (new VpnPrefix(new RouteDistinguisher(r.Rd), Prefix(v6, r.High, r.Low, r.Length)),
            r.Label & 0xFFFFF)).ToList();
        IpAddress hop = IpAddress.Parse(v6 && hop6 ? "fd00:ff::2" : "10.255.0.2");
        PathAttributes attributes = Attributes(new GreTunnelRoute(key, hop));
        var table = new AttributeTable();
        var faults = new BgpFaultCounters();
        var message = new byte[4096];
        var got = new List<(VpnPrefix, uint)>();
        ReadOnlySpan<(VpnPrefix, uint)> rest = sent.ToArray();
        while (rest.Length > 0)
        {
            int length = new UpdateEncoder().AnnounceVpn(message, attributes, true, hop, ref rest);
            Assert.InRange(length, 1, 4096);
            UpdateMessage update = new UpdateDecoder(table, faults).Decode(message.AsSpan(19, length - 19), Internal);
            Assert.Equal(hop, update.VpnNextHop);
            Assert.Equal(attributes, update.Attributes);
            Assert.True(GreTunnelRoute.TryFind(update.Attributes!.Find(AttributeCode.TunnelEncapsulation), out GreTunnelRoute tunnel));
            Assert.Equal(new GreTunnelRoute(key, hop), tunnel);
            var reader = new VpnNlriReader(update.VpnNlri, update.VpnFamily);
            while (reader.MoveNext()) got.Add((reader.Current, reader.Label));
        }

        Assert.Equal(sent, got);

        // And the same taken back.
        got.Clear();
        rest = sent.ToArray();
        while (rest.Length > 0)
        {
            int length = UpdateEncoder.WithdrawVpn(message, ref rest);
            UpdateMessage update = new UpdateDecoder(table, faults).Decode(message.AsSpan(19, length - 19), Internal);
            Assert.Equal((IpFamily)0, update.VpnEndOfRib);
            var reader = new VpnNlriReader(update.VpnWithdrawn, update.VpnWithdrawnFamily);
            while (reader.MoveNext()) got.Add((reader.Current, 0));
        }

        Assert.Equal(sent.Select(s => s.Item1), got.Select(g => g.Item1));
        Assert.Empty(faults.Seen());
    }

    [Property(MaxTest = 1000)]
    public void No_bytes_crash_the_decoder_of_VPN_routes_or_tunnels(byte[] bytes, bool v6)
    {
        IpFamily family = v6 ? IpFamily.V6 : IpFamily.V4;
        var reader = new VpnNlriReader(bytes, family);
        int routes = 0;
        while (reader.MoveNext()) routes++;
        if (VpnNlriReader.IsWellFormed(bytes, family)) Assert.Equal(bytes.Length > 0, routes > 0);
        bool whole = GreTunnelRoute.IsWellFormed(bytes);
        if (GreTunnelRoute.TryFind(bytes, out GreTunnelRoute tunnel))
            Assert.True(tunnel.Endpoint.IsNone || UpdateDecoder.IsHost(tunnel.Endpoint));
        byte[] value = new byte[GreTunnelRoute.MaxSize];
        if (whole) Assert.True(GreTunnelRoute.IsWellFormed([.. bytes, .. value[..new GreTunnelRoute(1, default).Write(value)]]));
    }

    [Fact]
    public void OPEN_offers_the_families_of_VPNs_and_End_of_RIB_and_refresh_name_them()
    {
        var message = new byte[256];
        int length = new OpenMessage(65000, 9, 1, BgpFamilies.All, true, true).Write(message);
        Assert.Contains("010400010080" + "010400020080", Convert.ToHexString(message.AsSpan(0, length)), StringComparison.Ordinal);
        Assert.Equal(BgpFault.None, OpenMessage.Parse(message.AsSpan(19, length - 19), out OpenMessage? open));
        Assert.Equal(BgpFamilies.All, open!.Families);
        length = MessageWriter.RouteRefresh(message, BgpFamilies.Vpn6);
        Assert.Equal("00020080", Convert.ToHexString(message.AsSpan(19, length - 19)));
        length = UpdateEncoder.EndOfRib(message, BgpFamilies.Vpn4);
        Assert.Equal("00000006800F03000180", Convert.ToHexString(message.AsSpan(19, length - 19)));
        Assert.Equal(IpFamily.V4,
            new UpdateDecoder(new AttributeTable(), new BgpFaultCounters()).Decode(message.AsSpan(19, length - 19), Internal).VpnEndOfRib);
    }

    [Theory]
    [InlineData("vpn-10.255.0.2-7", "10.255.0.2", 7u)]
    [InlineData("vpn-fd00:ff::2-4294967295", "fd00:ff::2", uint.MaxValue)]
    public void A_tunnels_name_says_where_it_goes(string name, string endpoint, uint key)
    {
        Assert.Equal(name, VpnTunnelName.Of(IpAddress.Parse(endpoint), key));
    }

    private static PathAttributes Attributes(GreTunnelRoute tunnel)
    {
        var value = new byte[GreTunnelRoute.MaxSize];
        AttributeBuilder builder = new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path().LocalPref(100)
            .Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.TunnelEncapsulation,
                value.AsSpan(0, tunnel.Write(value)));
        return new AttributeTable().Intern(builder.Build());
    }

    private static IpPrefix Prefix(bool v6, ulong high, ulong low, byte length) => v6
        ? new IpPrefix(IpAddress.FromV6(new UInt128(high, low)), length % 129)
        : new IpPrefix(IpAddress.FromV4((uint)low), length % 33);
}
