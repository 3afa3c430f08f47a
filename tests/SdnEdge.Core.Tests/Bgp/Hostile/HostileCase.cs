using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>Which sessions a case is for.</summary>
[Flags]
public enum On
{
    Internal = 1,
    External = 2,
    Both = Internal | External,
}

/// <summary>One hostile input: what comes, and what is expected of us.</summary>
/// <param name="Clause">RFC and section.</param>
/// <param name="Input">What comes, in words.</param>
/// <param name="Does">What we do; None: it is taken.</param>
/// <param name="Fault">The counter that says so; None: none.</param>
/// <param name="Bytes">The message for a kind of session, and the attribute at fault.</param>
public sealed record HostileCase(string Clause, string Input, FaultAction Does, BgpFault Fault, Func<bool, HostileBytes> Bytes)
{
    /// <summary>Kinds of sessions it comes on.</summary>
    public On On { get; init; } = On.Both;

    /// <summary>Octets of an AS number on the session.</summary>
    public int AsSize { get; init; } = 4;

    /// <summary>State in which it comes.</summary>
    public BgpState State { get; init; } = BgpState.Established;

    /// <summary>Code and subcode of the NOTIFICATION sent, as hex.</summary>
    public string Notification { get; init; } = "";

    /// <summary>Data of the NOTIFICATION, as hex; null: the attribute at fault.</summary>
    public string? Data { get; init; } = "";

    /// <summary>AS path that the route is expected to have; null: not looked at.</summary>
    public string? Path { get; init; }

    /// <summary>Extended messages are agreed on (RFC 8654).</summary>
    public bool Extended { get; init; }

    /// <summary>It names none of the routes that were there before.</summary>
    public bool NamesNothing { get; init; }

    public string Name => $"{Clause}: {Input}";

    /// <summary>A case of an UPDATE made of a right one.</summary>
    public static HostileCase Update(string clause, string input, FaultAction does, BgpFault fault, Func<UpdateSketch, UpdateSketch> change,
        int asSize = 4) =>
        new(clause, input, does, fault, external =>
        {
            UpdateSketch sketch = change(new UpdateSketch(external, asSize));
            return new HostileBytes(sketch.Build(), sketch.Offender, sketch.NamesV4, sketch.NamesV6) { NamesVpn = sketch.NamesVpn };
        })
        { AsSize = asSize };

    /// <summary>A case of any other message.</summary>
    public static HostileCase Message(string clause, string input, FaultAction does, BgpFault fault, byte[] bytes) =>
        new(clause, input, does, fault, _ => new HostileBytes(bytes, [], false, false));
}

/// <summary>Bytes of a case.</summary>
/// <param name="Message">What is sent.</param>
/// <param name="Offender">The attribute at fault.</param>
/// <param name="NamesV4">The message announces IPv4 routes.</param>
/// <param name="NamesV6">The message announces the IPv6 route.</param>
public sealed record HostileBytes(byte[] Message, byte[] Offender, bool NamesV4, bool NamesV6)
{
    /// <summary>The message announces the VPN route.</summary>
    public bool NamesVpn { get; init; }
}
