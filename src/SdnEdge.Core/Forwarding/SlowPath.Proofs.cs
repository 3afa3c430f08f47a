using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <content>
/// Proof that nothing is left on the way to a neighbour. A solicitation that is sent behind the last packet for it, by the same port, is
/// answered when that packet has arrived: links and queues keep the order. ARP and ND answers do not say which solicitation they are
/// for, so those that were sent before are counted, and so many answers do not count.
/// </content>
public sealed partial class SlowPath
{
    // The next solicitation of a proof; the server's own answer takes far less on a local link.
    private const long ProofRetryNs = 20_000_000;

    // What has not been answered for so long never will be.
    private const long UnansweredForNs = 3_000_000_000;

    private readonly Dictionary<(int Port, IpAddress Address), Proof> _proofs = [];

    /// <summary>
    /// Begins to ask a neighbour until an answer came that is behind everything sent to it before this call; then
    /// <see cref="SlowPathActionKind.Proved"/>. It goes on until then, or until <see cref="EndProof"/> or until the neighbour is forgotten.
    /// </summary>
    /// <param name="port">Port of the neighbour.</param>
    /// <param name="address">Its address.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    /// <param name="everyNs">Asks so often, and any answer will do: it is only asked whether the neighbour is there. Null: as
    /// above.</param>
    /// <returns>False: there is no such port, it has no address to ask with, or there is no room for one more neighbour.</returns>
    public bool Prove(int port, IpAddress address, long now, SlowPathActions actions, long? everyNs = null)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on) || (on.SourceFor(address).IsNone && address.IsV4)) return false;
        if (!_neighbors.TryGetValue((port, address), out Neighbor? neighbor))
        {
            neighbor = Add(port, address);
            if (neighbor is null) return false;
            Schedule(neighbor, now + _options.FirstRetryNs);
        }

        int before = everyNs is not null || now - neighbor.AskedAt > UnansweredForNs ? 0 : neighbor.Unanswered;
        long every = everyNs ?? ProofRetryNs;
        _proofs[(port, address)] = new Proof(neighbor, every) { Missing = before + 1, NextAt = now + every };
        Solicit(on, neighbor, unicast: neighbor.Mac is not null, now, actions);
        return true;
    }

    /// <summary>Nobody waits for the proof any more.</summary>
    public void EndProof(int port, IpAddress address) => _proofs.Remove((port, address));

    private long NextProofAt
    {
        get
        {
            long next = long.MaxValue;
            foreach (Proof proof in _proofs.Values) next = Math.Min(next, proof.NextAt);
            return next;
        }
    }

    private void PollProofs(long now, SlowPathActions actions)
    {
        foreach (Proof proof in _proofs.Values)
        {
            if (proof.NextAt > now || !_ports.TryGetValue(proof.Neighbor.Port, out SlowPathPort? port)) continue;
            proof.NextAt = now + proof.EveryNs;
            Solicit(port, proof.Neighbor, unicast: proof.Neighbor.Mac is not null, now, actions);
        }
    }

    private void Answered(Neighbor neighbor, SlowPathActions actions)
    {
        if (neighbor.Unanswered > 0) neighbor.Unanswered--;
        if (!_proofs.TryGetValue((neighbor.Port, neighbor.Address), out Proof? proof) || --proof.Missing > 0) return;
        _proofs.Remove((neighbor.Port, neighbor.Address));
        actions.Proved(neighbor.Port, neighbor.Address);
    }

    private sealed class Proof(Neighbor neighbor, long everyNs)
    {
        public long EveryNs { get; } = everyNs;

        public Neighbor Neighbor { get; } = neighbor;

        /// <summary>Answers that have to come: those to earlier solicitations, and one.</summary>
        public int Missing { get; set; }

        public long NextAt { get; set; }
    }
}
