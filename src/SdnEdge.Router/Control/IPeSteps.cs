using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Bfd;

namespace SdnEdge.Router.Control;

/// <summary>
/// The moments at which one part of a PE has something for others. What happens then, step by step, stands in one place: PeRouter.Steps.cs.
/// Called on the control loop's thread, or before it starts.
/// </summary>
internal interface IPeSteps
{
    /// <summary>A worker has given a packet to the control loop. The frame is valid during the call only.</summary>
    void Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now);

    /// <summary>A flush marker was among them: without its outer headers, valid during the call only.</summary>
    /// <param name="packet">The marker.</param>
    /// <param name="tunnel">The tunnel that it came out of; null: none.</param>
    /// <param name="now">The time.</param>
    void MarkerCame(in PuntInfo info, ReadOnlySpan<byte> packet, long now);

    /// <summary>What has changed in the RIBs goes into the FIBs, and on to the peers.</summary>
    void Publish(long now);

    /// <summary>A port is about to go; no packet is received from it any more.</summary>
    void PortGoes(PortEntry port);

    /// <summary>A neighbour is the next hop of a route, so that it should be known before the first packet needs it. False: not possible
    /// yet, ask again.</summary>
    bool NextHopWanted(Adjacency neighbor);

    /// <summary>A neighbour is a next hop no more.</summary>
    void NextHopUnwanted(Adjacency neighbor);

    /// <summary>A router has advertised itself on a port where a BGP peer is known by its link alone.</summary>
    void RouterHeard(string port, IpAddress address, long now);

    /// <summary>The configuration has a route anew that was out of use for a migration.</summary>
    void Reconfigured(string vrf, IpPrefix prefix);

    /// <summary>A tunnel goes up or down.</summary>
    void TunnelHealthChanged(string tunnel, bool up);

    /// <summary>The last prefix of a group has been armed, and that took more than the first round.</summary>
    void FullyArmed(string group);

    /// <summary>What was asked back from a group's target is here, or it did not say so in time.</summary>
    /// <param name="group">The group.</param>
    /// <param name="inOrder">True: the target has said that nothing is left with it.</param>
    void ReturnEnded(string group, bool inOrder);

    /// <summary>A BFD session was told about.</summary>
    void BfdHeard(BfdConfig session, in BfdStatus status, in BfdStatus before);

    /// <summary>A BFD session is configured no more.</summary>
    void BfdGone(BfdConfig session);

    /// <summary>Network devices have changed.</summary>
    void DevicesChanged();

    /// <summary>What armed backups watch has changed.</summary>
    void WatchChanged();

    /// <summary>This process forwards, after the keeper did.</summary>
    void TakenBack();
}
