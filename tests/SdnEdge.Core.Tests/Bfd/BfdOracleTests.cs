using FsCheck.Xunit;
using SdnEdge.Core.Bfd;
using Xunit;
using static SdnEdge.Core.Tests.Bfd.BfdBytes;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>The machine beside a slow reading of the RFC, line by line, over any history of packets, silences and changes.</summary>
public sealed class BfdOracleTests
{
    [Property(MaxTest = 400)]
    public void The_machine_does_what_a_literal_reading_of_the_RFC_does((byte Kind, byte A, byte B, ushort Pause)[] history)
    {
        BfdSession session = Session();
        var oracle = new Oracle();
        long now = 0;
        foreach ((byte kind, byte a, byte b, ushort pause) in history)
        {
            now += pause * 3_333L; // up to 218 ms, never a round number of anything
            session.Expire(now);
            oracle.Clock(now);
            switch (kind % 8)
            {
                case 0:
                    var parameters = new BfdParameters((uint)((a % 5) + 1) * 20_000, (uint)((b % 5) + 1) * 20_000, (byte)((a % 3) + 1));
                    session.Configure(parameters);
                    oracle.Configure(parameters);
                    break;
                case 1 when b % 4 == 0:
                    session.SetAdminDown(a % 2 == 0, now);
                    oracle.SetAdminDown(a % 2 == 0);
                    break;
                default:
                    // Mostly the packet that a peer in step would send, so that sessions do come up.
                    BfdState state = (a & 0x10) == 0
                        ? session.State switch { BfdState.Down => BfdState.Down, BfdState.Init => BfdState.Init, _ => BfdState.Up }
                        : (BfdState)(a & 3);
                    BfdControl packet = Says(state, tx: ((b & 3) + 1) * 25, rx: (b >> 2 & 3) * 30, multiplier: (b >> 4 & 3) + 1,
                        poll: (b & 0x40) != 0, final: (b & 0x80) != 0, demand: (a & 0x60) == 0x60, mine: 9u + (uint)(a >> 7));
                    session.Hear(packet, now);
                    oracle.Hear(packet, now);
                    break;
            }

            Assert.Equal(oracle.ToString(),
                $"{session.State} {session.Diagnostic} {session.RemoteDiscriminator} tx {session.TransmitInterval} detect "
                + $"{session.DetectionTime} poll {session.Polling}");
            foreach (BfdControl sent in session.Take(now))
            {
                Assert.Equal((oracle.State, oracle.ToldTx, oracle.ToldRx), (sent.State, sent.DesiredMinTx, sent.RequiredMinRx));
                Assert.False(sent.Poll && sent.Final);
            }
        }
    }

    /// <summary>RFC 5880 6.8 in its own words, nothing derived, nothing cached.</summary>
    private sealed class Oracle
    {
        private readonly Queue<BfdParameters> _changes = new();
        private BfdParameters _set = BfdParameters.Every(50, 3);
        private uint _remoteMinRx = 1, _remoteTx, _remoteDiscr, _oldTx = 1_000_000, _oldRx = 50_000;
        private int _remoteMultiplier;
        private long? _heardAt;
        private long _longest;
        private bool _poll;
        private BfdDiagnostic _diagnostic;

        public BfdState State { get; private set; } = BfdState.Down;

        public uint ToldTx => State == BfdState.Up ? _set.DesiredMinTx : Math.Max(1_000_000, _set.DesiredMinTx);

        public uint ToldRx => _set.RequiredMinRx;

        // 6.8.2, and 6.8.3: an increase is not used before the poll has ended.
        private uint Transmit => _remoteMinRx == 0 ? 0 : Math.Max(_poll ? Math.Min(_oldTx, ToldTx) : ToldTx, _remoteMinRx);

        // 6.8.4, and 6.8.3: a reduction is not used before the poll has ended.
        private long Detection => 1000L * _remoteMultiplier * Math.Max(_poll ? Math.Max(_oldRx, ToldRx) : ToldRx, _remoteTx);

        public void Hear(BfdControl p, long now)
        {
            _remoteDiscr = p.MyDiscriminator;
            (_remoteMinRx, _remoteTx, _remoteMultiplier) = (p.RequiredMinRx, p.DesiredMinTx, p.DetectMultiplier);
            if (p.Final && _poll)
            {
                _poll = false;
                if (_changes.TryDequeue(out BfdParameters next)) Configure(next);
            }

            if (State == BfdState.AdminDown) return;
            BfdState was = State;
            if (p.State == BfdState.AdminDown)
            {
                if (State != BfdState.Down) GoDown(BfdDiagnostic.NeighborSignaledDown);
            }
            else if (State == BfdState.Down)
            {
                if (p.State == BfdState.Down) State = BfdState.Init;
                else if (p.State == BfdState.Init) State = BfdState.Up;
            }
            else if (State == BfdState.Init)
            {
                if (p.State is BfdState.Init or BfdState.Up) State = BfdState.Up;
            }
            else if (p.State == BfdState.Down)
            {
                GoDown(BfdDiagnostic.NeighborSignaledDown);
            }

            if (State == BfdState.Up && was != BfdState.Up)
            {
                _diagnostic = BfdDiagnostic.None;
                (_oldTx, _oldRx, _poll) = (1_000_000, ToldRx, _set.DesiredMinTx != 1_000_000);
            }

            (_heardAt, _longest) = (now, Detection);
        }

        public void Clock(long now)
        {
            _longest = Math.Max(_longest, Detection);
            if (_heardAt is not { } heard || now < heard + _longest) return;
            _heardAt = null;
            _remoteDiscr = 0;
            _remoteMinRx = 1;
            if (State is BfdState.Init or BfdState.Up) GoDown(BfdDiagnostic.DetectionTimeExpired);
        }

        public void Configure(BfdParameters p)
        {
            if (_poll)
            {
                _changes.Clear();
                _changes.Enqueue(p);
                return;
            }

            (uint tx, uint rx) = (ToldTx, ToldRx);
            _set = p;
            if (State == BfdState.Up && (tx != ToldTx || rx != ToldRx)) (_oldTx, _oldRx, _poll) = (tx, rx, true);
            _longest = Math.Max(_longest, Detection);
        }

        public void SetAdminDown(bool down)
        {
            if (down == (State == BfdState.AdminDown)) return;
            GoDown(down ? BfdDiagnostic.AdministrativelyDown : BfdDiagnostic.None);
            State = down ? BfdState.AdminDown : BfdState.Down;
        }

        public override string ToString() => $"{State} {_diagnostic} {_remoteDiscr} tx {Transmit} detect {Detection} poll {_poll}";

        private void GoDown(BfdDiagnostic why)
        {
            (State, _diagnostic, _poll) = (BfdState.Down, why, false);
            if (_changes.TryDequeue(out BfdParameters next)) _set = next;
        }
    }
}
