using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>The number of prefixes a peer may tell: a warning on the way, then cease/1 (RFC 4486) and a rest.</summary>
public sealed partial class BgpEngine
{
    /// <summary>True when the peer's session had to end.</summary>
    private bool IsOverLimit(BgpPeer peer, IpFamily family, long now)
    {
        bool v4 = family == IpFamily.V4;
        if ((v4 ? peer.Settings.LimitV4 : peer.Settings.LimitV6) is not { } limit) return false;
        int count = v4 ? peer.Origin.PrefixesV4 : peer.Origin.PrefixesV6;
        if (count > limit.Maximum)
        {
            // | AFI (2) | SAFI (1) | limit (4) |
            var data = new byte[7];
            data[1] = (byte)family;
            data[2] = 1;
            BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(3), (uint)limit.Maximum);
            string next = limit.RestartSeconds > 0 ? $"starts again in {limit.RestartSeconds} s" : "waits for a reset by the operator";
            Step(peer, new FsmEvent(FsmEventKind.PrefixLimit, peer.Fsm.EstablishedSide, Data: data,
                Reason: $"more than {limit.Maximum} {(v4 ? "IPv4" : "IPv6")} prefixes; {next}",
                    WaitNs: limit.RestartSeconds * 1_000_000_000L), now);
            return true;
        }

        bool high = (long)count * 100 >= (long)limit.Maximum * limit.WarnPercent;
        if (!high)
        {
            peer.Warned &= ~family.Flag();
        }
        else if ((peer.Warned & family.Flag()) == 0)
        {
            peer.Warned |= family.Flag();
            Warned?.Invoke(peer, $"{count} {(v4 ? "IPv4" : "IPv6")} prefixes, {limit.WarnPercent} % of the limit of {limit.Maximum}");
        }

        return false;
    }
}
