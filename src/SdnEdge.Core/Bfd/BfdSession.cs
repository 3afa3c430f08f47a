using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bfd;

/// <summary>Whom a session watches, and how.</summary>
/// <param name="Peer">The other end.</param>
/// <param name="Local">Our address.</param>
/// <param name="Multihop">False: the peer is on a link of ours (RFC 5881); true: RFC 5883.</param>
/// <param name="Place">Where these addresses are meant.</param>
public readonly record struct BfdKey(IpAddress Peer, IpAddress Local, bool Multihop, BfdPlace Place = default)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Peer} from {Local}{(Multihop ? ", multihop" : "")}";
}

/// <summary>
/// Where addresses are meant: those of two VRFs, and the link-local ones of two links, may be the same. A number that is the same in
/// the PE, in its BFD process and in the PE's successor: a 64-bit hash (FNV-1a) of the names. 0: the default VRF.
/// </summary>
public readonly record struct BfdPlace(ulong Number)
{
    /// <summary>The place of a session.</summary>
    /// <param name="vrf">Name of the VRF; null: the default one.</param>
    /// <param name="port">Name of the port, for a link-local address; null: the VRF is enough.</param>
    public static BfdPlace Of(string? vrf, string? port)
    {
        if (vrf is null && port is null) return default;
        ulong hash = 14695981039346656037;
        foreach (char c in $"{vrf}\n{port}") hash = (hash ^ c) * 1099511628211;
        return new BfdPlace(hash);
    }
}

/// <summary>What an operator sets.</summary>
/// <param name="DesiredMinTx">Microseconds between packets we would like to send, 1 and up.</param>
/// <param name="RequiredMinRx">Microseconds between packets we can take; 0: we want none.</param>
/// <param name="DetectMultiplier">The peer gives us up after so many intervals, 1 to 255.</param>
public readonly record struct BfdParameters(uint DesiredMinTx, uint RequiredMinRx, byte DetectMultiplier)
{
    /// <summary>The same interval both ways.</summary>
    public static BfdParameters Every(int milliseconds, int multiplier)
        => new((uint)milliseconds * 1000, (uint)milliseconds * 1000, (byte)multiplier);
}

/// <summary>
/// One session in asynchronous mode, RFC 5880 6.8: no clock, no socket, no allocation. The driver's turn:
/// <code>
/// for each packet that waits: session.Receive(packet, now)    // all of them, before the clock may judge
/// session.Expire(now)                                         // nothing heard for the detection time
/// while (session.TryTake(now, buffer)) send(buffer)           // answers to polls, changes of state, periodic packets
/// sleep until session.NextDeadline
/// </code>
/// The names of the state variables are those of RFC 5880 6.8.1. Times are nanoseconds, intervals microseconds.
/// </summary>
public sealed class BfdSession
{
    private const long Never = long.MaxValue;

    private ulong _random;
    private BfdParameters _parameters;
    private BfdParameters? _waitingParameters;
    private uint _desiredMinTx = BfdLimits.SlowTxMicroseconds; // told to the peer
    private uint _txInForce = BfdLimits.SlowTxMicroseconds; // used until a poll that raised it has ended
    private uint _requiredMinRx; // told to the peer
    private uint _rxInForce; // used until a poll that lowered it has ended
    private uint _remoteMinRx = 1, _remoteDesiredMinTx;
    private byte _remoteDetectMultiplier;
    private bool _remoteDemand, _polling, _finalDue, _sendNow;
    private long _lastSentAt, _sendAt, _lastHeardAt, _expiresAt = Never, _creditUsed;

    /// <summary>Makes a session, Down; its first packet is due at <paramref name="now"/>.</summary>
    /// <param name="key">Whom it watches.</param>
    /// <param name="discriminator">Our name for it: not zero, no other session's.</param>
    /// <param name="parameters">What the operator set.</param>
    /// <param name="seed">Of the jitter; any value.</param>
    /// <param name="now">The time.</param>
    /// <param name="controlPlaneIndependent">It goes on when the control plane ends (the C bit, RFC 5880 4.1).</param>
    public BfdSession(BfdKey key, uint discriminator, BfdParameters parameters, ulong seed, long now, bool controlPlaneIndependent = false)
    {
        ArgumentOutOfRangeException.ThrowIfZero(discriminator);
        ArgumentOutOfRangeException.ThrowIfZero(parameters.DetectMultiplier);
        ArgumentOutOfRangeException.ThrowIfZero(parameters.DesiredMinTx);
        Key = key;
        LocalDiscriminator = discriminator;
        ControlPlaneIndependent = controlPlaneIndependent;
        _parameters = parameters;
        _requiredMinRx = _rxInForce = parameters.RequiredMinRx;
        _desiredMinTx = _txInForce = Math.Max(parameters.DesiredMinTx, BfdLimits.SlowTxMicroseconds);
        _random = seed | 1;
        _sendAt = now;
        ChangedAt = now;
    }

    /// <summary>Whom it watches.</summary>
    public BfdKey Key { get; }

    /// <summary>It goes on when the control plane ends; the peer is told by the C bit.</summary>
    public bool ControlPlaneIndependent { get; }

    /// <summary>The peer's goes on when its control plane ends, as it last said.</summary>
    public bool RemoteControlPlaneIndependent { get; private set; }

    /// <summary>bfd.SessionState.</summary>
    public BfdState State { get; private set; } = BfdState.Down;

    /// <summary>
    /// bfd.RemoteSessionState: what the peer said last. Silence makes Down of it, but not of AdminDown: that is why the peer is
    /// silent, and some say it once only.
    /// </summary>
    public BfdState RemoteState { get; private set; } = BfdState.Down;

    /// <summary>bfd.LocalDiscr.</summary>
    public uint LocalDiscriminator { get; }

    /// <summary>bfd.RemoteDiscr; zero while unknown.</summary>
    public uint RemoteDiscriminator { get; private set; }

    /// <summary>bfd.LocalDiag: why this end last left Up.</summary>
    public BfdDiagnostic Diagnostic { get; private set; }

    /// <summary>What the peer last said of why it left Up.</summary>
    public BfdDiagnostic RemoteDiagnostic { get; private set; }

    /// <summary>When <see cref="State"/> last changed.</summary>
    public long ChangedAt { get; private set; }

    /// <summary>What the operator set; a change that waits for a poll to end is already in here.</summary>
    public BfdParameters Parameters => _waitingParameters ?? _parameters;

    /// <summary>Microseconds between packets sent, before jitter (RFC 5880 6.8.2); 0: none are sent.</summary>
    public uint TransmitInterval => _remoteMinRx == 0 ? 0 : Math.Max(_txInForce, _remoteMinRx);

    /// <summary>Nanoseconds of silence after which the session goes down (RFC 5880 6.8.4); 0 until the peer was heard.</summary>
    public long DetectionTime => _remoteDetectMultiplier * 1000L * Math.Max(_rxInForce, _remoteDesiredMinTx);

    /// <summary>A poll sequence is under way.</summary>
    public bool Polling => _polling;

    /// <summary>When a valid packet was last taken.</summary>
    public long LastHeardAt => _lastHeardAt;

    /// <summary>Packets taken.</summary>
    public long Received { get; private set; }

    /// <summary>Packets handed out for sending.</summary>
    public long Sent { get; private set; }

    /// <summary>Times it came up.</summary>
    public long Ups { get; private set; }

    /// <summary>Times it left Up.</summary>
    public long Downs { get; private set; }

    /// <summary>Those of <see cref="Downs"/> that an operator wanted, here or there: they say nothing about the path (RFC 5882
    /// 3.2).</summary>
    public long AdministrativeDowns { get; private set; }

    /// <summary>Nanoseconds of credit that kept it from expiring while the driver itself had been held up.</summary>
    public long CreditGiven { get; private set; }

    /// <summary>When the driver must look again; <see cref="long.MaxValue"/>: when a packet comes.</summary>
    public long NextDeadline => _finalDue || _sendNow ? 0 : Math.Min(_expiresAt, MayTransmit ? _sendAt : Never);

    // RFC 5880 6.8.7: not to a peer that wants none, nor periodically to one in demand mode.
    private bool MayTransmit => _remoteMinRx != 0 && (_polling || !(_remoteDemand && State == BfdState.Up && RemoteState == BfdState.Up));

    /// <summary>
    /// Takes a packet that <see cref="BfdView.Parse"/> found good and that is for this session: the rest of RFC 5880 6.8.6.
    /// Returns why it was discarded, if so.
    /// </summary>
    public BfdDiscard Receive(in BfdView packet, long now)
    {
        if (packet.HasAuthentication) return BfdDiscard.Authentication;
        BfdControl c = packet.Control;
        RemoteDiscriminator = c.MyDiscriminator;
        RemoteState = c.State;
        RemoteDiagnostic = c.Diagnostic;
        RemoteControlPlaneIndependent = c.ControlPlaneIndependent;
        _remoteDemand = c.Demand;
        uint before = TransmitInterval;
        _remoteMinRx = c.RequiredMinRx;
        _remoteDesiredMinTx = c.DesiredMinTx;
        _remoteDetectMultiplier = c.DetectMultiplier;
        if (_polling && c.Final) EndPoll();
        if (State == BfdState.AdminDown)
        {
            Reschedule(before);
            return BfdDiscard.AdminDown;
        }

        switch (State, c.State)
        {
            case (BfdState.Init or BfdState.Up, BfdState.AdminDown):
            case (BfdState.Up, BfdState.Down):
                Change(BfdState.Down, BfdDiagnostic.NeighborSignaledDown, now);
                break;
            case (BfdState.Down, BfdState.Down):
                Change(BfdState.Init, Diagnostic, now);
                break;
            case (BfdState.Down, BfdState.Init):
            case (BfdState.Init, BfdState.Init or BfdState.Up):
                Change(BfdState.Up, BfdDiagnostic.None, now);
                break;
            default:
                break;
        }

        _finalDue |= c.Poll;
        Received++;
        _lastHeardAt = now;
        _creditUsed = 0;
        _expiresAt = now + DetectionTime;
        Reschedule(before);
        return BfdDiscard.None;
    }

    /// <summary>
    /// Judges by the clock: a session that heard nothing for the detection time goes down (RFC 5880 6.8.4) and forgets the
    /// peer's discriminator (6.8.1). Call it after all packets that wait were taken. True when it did.
    /// </summary>
    public bool Expire(long now)
    {
        if (now < _expiresAt) return false;
        _expiresAt = Never;
        RemoteDiscriminator = 0;
        if (RemoteState != BfdState.AdminDown) RemoteState = BfdState.Down;
        _remoteDemand = false;
        uint before = TransmitInterval;
        _remoteMinRx = 1;
        _polling = false;
        bool down = State is BfdState.Init or BfdState.Up;
        if (down) Change(BfdState.Down, BfdDiagnostic.DetectionTimeExpired, now);
        Reschedule(before);
        return down;
    }

    /// <summary>
    /// The driver itself was held up for <paramref name="stall"/> ns until now, and with it perhaps those who hand it packets:
    /// a session that would expire now, or sooner after than it was held up, is given as long again for what waits to arrive.
    /// Of one silence no more than the detection time is given in all, so that a dead peer is found after twice that at worst.
    /// Returns the credit given, ns.
    /// </summary>
    public long Credit(long stall, long now)
    {
        if (_expiresAt == Never || State is not (BfdState.Init or BfdState.Up)) return 0;
        long wanted = Math.Min(stall, DetectionTime - _creditUsed);
        long credit = Math.Max(0, Math.Min(wanted, now + wanted - _expiresAt));
        _expiresAt += credit;
        _creditUsed += credit;
        CreditGiven += credit;
        return credit;
    }

    /// <summary>
    /// Writes the next packet that is due, if one is: an answer to a poll, news of a changed state, or the periodic one.
    /// Schedules the one after it, with the jitter of RFC 5880 6.8.7.
    /// </summary>
    /// <param name="now">The time.</param>
    /// <param name="to">At least <see cref="BfdControl.Size"/> bytes.</param>
    public bool TryTake(long now, Span<byte> to)
    {
        bool final = _finalDue;
        if (!final)
        {
            if (!MayTransmit)
            {
                _sendNow = false;
                return false;
            }

            if (!_sendNow && now < _sendAt) return false;
        }

        // A packet carries P or F, never both (RFC 5880 6.5).
        new BfdControl(State, LocalDiscriminator, RemoteDiscriminator, _desiredMinTx, _requiredMinRx, _parameters.DetectMultiplier,
            Diagnostic, _polling && !final, final, ControlPlaneIndependent).Emit(to);
        Sent++;
        if (final)
        {
            // It also tells the state; the periodic packets keep their time.
            _finalDue = false;
            if (!_polling) _sendNow = false;
            return true;
        }

        _sendNow = false;
        _lastSentAt = now;
        _sendAt = now + Jittered(TransmitInterval);
        return true;
    }

    /// <summary>
    /// New parameters. While Up they are agreed by a poll sequence (RFC 5880 6.8.3): a longer transmit interval and a shorter
    /// receive interval are used once it has ended. A change during a poll waits for that poll's end.
    /// </summary>
    public void Configure(BfdParameters parameters)
    {
        ArgumentOutOfRangeException.ThrowIfZero(parameters.DetectMultiplier);
        ArgumentOutOfRangeException.ThrowIfZero(parameters.DesiredMinTx);
        if (_polling)
        {
            _waitingParameters = parameters;
            return;
        }

        uint before = TransmitInterval;
        _parameters = parameters;
        Apply();
        Reschedule(before);
    }

    /// <summary>Takes the session down, or lets it come up again; the peer is told at once (RFC 5880 6.8.16). True when that changed
    /// something.</summary>
    public bool SetAdminDown(bool down, long now)
    {
        if (down == (State == BfdState.AdminDown)) return false;
        uint before = TransmitInterval;
        Change(down ? BfdState.AdminDown : BfdState.Down, down ? BfdDiagnostic.AdministrativelyDown : BfdDiagnostic.None, now);
        Reschedule(before);
        return true;
    }

    private void Change(BfdState next, BfdDiagnostic diagnostic, long now)
    {
        bool wasUp = State == BfdState.Up;
        State = next;
        Diagnostic = diagnostic;
        ChangedAt = now;
        _sendNow = true;
        if (next == BfdState.Up)
        {
            Ups++;
            Apply();
        }
        else if (wasUp)
        {
            Downs++;
            if (next == BfdState.AdminDown || (diagnostic == BfdDiagnostic.NeighborSignaledDown
                && RemoteState == BfdState.AdminDown)) AdministrativeDowns++;
            if (_waitingParameters is { } waiting) (_parameters, _waitingParameters) = (waiting, null);
            _polling = false;
            Apply();
        }
    }

    // RFC 5880 6.8.3: what is told, and what is in force until the peer has said that it knows.
    private void Apply()
    {
        bool up = State == BfdState.Up;
        (uint tx, uint rx) = (_desiredMinTx, _requiredMinRx);
        _desiredMinTx = up ? _parameters.DesiredMinTx : Math.Max(_parameters.DesiredMinTx, BfdLimits.SlowTxMicroseconds);
        _requiredMinRx = _parameters.RequiredMinRx;
        _txInForce = up ? Math.Min(_txInForce, _desiredMinTx) : _desiredMinTx;
        _rxInForce = up ? Math.Max(_rxInForce, _requiredMinRx) : _requiredMinRx;
        if (_expiresAt != Never) _expiresAt = Math.Max(_expiresAt, _lastHeardAt + DetectionTime);
        if (!up || (tx == _desiredMinTx && rx == _requiredMinRx)) return;
        _polling = true;
        _sendNow = true;
    }

    private void EndPoll()
    {
        _polling = false;
        _txInForce = _desiredMinTx;
        _rxInForce = _requiredMinRx;
        if (_waitingParameters is not { } waiting) return;
        _waitingParameters = null;
        _parameters = waiting;
        Apply();
    }

    // A new interval counts from the packet before: sooner, if it is shorter (RFC 5880 6.8.2).
    private void Reschedule(uint before)
    {
        uint interval = TransmitInterval;
        if (interval == before || interval == 0) return;
        long next = _lastSentAt + Jittered(interval);
        _sendAt = before == 0 ? next : interval < before ? Math.Min(_sendAt, next) : Math.Max(_sendAt, next);
    }

    // 75 to 100 % of the interval, 75 to 90 % when one lost packet is one too many (RFC 5880 6.8.7). Xorshift: no state but a word.
    private long Jittered(uint microseconds)
    {
        _random ^= _random << 13;
        _random ^= _random >> 7;
        _random ^= _random << 17;
        long full = microseconds * 1000L;
        long spread = _parameters.DetectMultiplier == 1 ? full * 15 / 100 : full / 4;
        return full - (full / 4) + (long)(((UInt128)_random * (ulong)(spread + 1)) >> 64);
    }
}
