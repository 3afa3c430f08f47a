using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>By which address an ingress PE is known to flush markers and gates.</summary>
public sealed class MarkerSenderTests
{
    private const string V4 = "10.255.0.3", V6 = "fd00:ff::3", Embedded = "64:ff9b:1::10.255.0.3";

    [Theory]
    [InlineData(V4 + " " + V6, false, V4, V6)]
    [InlineData(V6 + " " + V4, false, V4, V6)]
    [InlineData(V4, false, V4, null)]
    [InlineData(V4, true, V4, Embedded)]
    [InlineData(V6 + " " + V4, true, V4, Embedded)]
    [InlineData(V6, true, null, V6)]
    [InlineData(V4 + " 10.255.0.33", true, V4, Embedded)]
    public void It_is_the_loopback_of_the_family_and_in_a_VRF_the_end_of_the_VPN_tunnels(string loopbacks, bool vpn, string? v4, string? v6)
    {
        IpAddress[] all = [.. loopbacks.Split(' ').Select(IpAddress.Parse)];
        Assert.Equal(Address(v4), MarkerSender.Of(all, IpFamily.V4, vpn));
        Assert.Equal(Address(v6), MarkerSender.Of(all, IpFamily.V6, vpn));
    }

    [Fact]
    public void The_far_end_of_a_tunnel_is_its_sender_in_both_families()
    {
        Assert.Equal(IpAddress.Parse(Embedded), MarkerSender.OfEndpoint(IpAddress.Parse(V4), IpFamily.V6));
        Assert.Equal(IpAddress.Parse(V4), MarkerSender.OfEndpoint(IpAddress.Parse(V4), IpFamily.V4));
        Assert.Equal(IpAddress.Parse(V6), MarkerSender.OfEndpoint(IpAddress.Parse(V6), IpFamily.V6));
        Assert.True(MarkerSender.OfEndpoint(IpAddress.Parse(V6), IpFamily.V4).IsNone);
        Assert.True(MarkerSender.Of([], IpFamily.V4, vpn: true).IsNone);
    }

    private static IpAddress Address(string? text) => text is null ? default : IpAddress.Parse(text);
}
