using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Tests.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>
/// Moves among PEs that have their real speakers, routing tables and migration machines, in a full mesh or around a route reflector: a
/// packet
/// from any of them finds its way at every moment, in whatever order the routes arrive. The signals come in the manager's order; its own
/// rules are tested with its machines.
/// </summary>
public class MovePathTests
{
    private static readonly IpPrefix s_server = IpPrefix.Parse("10.1.1.10/32");

    [Property(MaxTest = 400)]
    public void A_packet_from_any_PE_reaches_the_server_or_waits_for_it_at_every_moment(int seed) => new World(seed).Run();

    /// <summary>What a PE's redirect group does with packets for the server.</summary>
    private enum Way
    {
        /// <summary>The route decides.</summary>
        Route,

        /// <summary>Source, switched: into the tunnel.</summary>
        Tunnel,

        /// <summary>Target, armed: what comes out of the tunnel is held.</summary>
        Hold,

        /// <summary>Target, released: to the port.</summary>
        Port,

        /// <summary>Target, given up: what comes out of the tunnel leaves by the route.</summary>
        Return,
    }

    private sealed class World
    {
        private readonly SimNetwork _net = new();
        private readonly Random _random;
        private readonly Pe[] _pes, _ends;
        private readonly HashSet<(SimSpeaker From, SimSpeaker To)> _late = [];
        private readonly List<(Pe Pe, string Id, SignalKind Kind, SignalRequest Request)> _sent = [];
        private Pe _source;
        private Pe _target;
        private Pe? _live;
        private int _epoch;

        public World(int seed)
        {
            _random = new Random(seed);
            int size = 3 + _random.Next(4);
            bool reflected = size > 3 && _random.Next(3) == 0;
            _pes = [.. Enumerable.Range(1, size).Select(i => new Pe(_net.Add(i)))];

            // A reflector prefers its own route to the one that it should reflect: it cannot be the source of a move.
            _ends = reflected ? _pes[..^1] : _pes;
            SimSpeaker reflector = _pes[^1].Speaker;
            for (int a = 0; a < size; a++)
            {
                for (int b = 0; b < size; b++)
                {
                    if (a == b || (reflected && a != size - 1 && b != size - 1)) continue;
                    SimSpeaker speaker = _pes[a].Speaker;
                    speaker.Peer(_pes[b].Speaker, with: s => s with { ReflectorClient = reflected && speaker == reflector });
                }
            }

            (_source, _target, _live) = (_pes[0], _pes[1], _pes[0]);
            _pes[0].Configure();
            _net.Settle();
            _net.IsLate = (from, to) => _late.Contains((from, to));
            Check();
        }

        /// <summary>One to three moves, each from where the last one ended; some are given up.</summary>
        public void Run()
        {
            for (int n = 1 + _random.Next(3); n > 0; n--)
            {
                _source = _live!;
                do _target = _ends[_random.Next(_ends.Length)];
                while (_target == _source);
                _epoch++;
                Pe end = Move($"m{_epoch}") ? _target : _source;
                Until(() => Array.TrueForAll(_pes, p => p.NextHop == end.Speaker.Address), "everybody takes the direct path");
                Assert.Equal(end, _live);
                Assert.All(_pes, p => Assert.Equal((Way.Route, null), (p.Way, p.Tunnel)));
            }
        }

        /// <summary>True: moved; false: given up before the pivot.</summary>
        private bool Move(string id)
        {
            int giveUp = _random.Next(10);
            MovingPrefix[] prefixes = [new(s_server.ToString(), "dc")];
            Accepted(_target, id, SignalKind.Prepare,
                new SignalRequest(_epoch, MigrationRole.Target, "default", prefixes, _source.Speaker.Address.ToString(), 7));
            if (giveUp == 0) return Undo(id, sourceAsked: false);
            Accepted(_source, id, SignalKind.Prepare,
                new SignalRequest(_epoch, MigrationRole.Source, "default", prefixes, _target.Speaker.Address.ToString(), 7));
            _source.Result(id, new TunnelHealth(true), _net.Now);
            _target.Result(id, new TunnelHealth(true), _net.Now);
            if (giveUp == 1) return Undo(id);
            Accepted(_source, id, SignalKind.Switch, new SignalRequest(_epoch, LocalPref: _random.Next(2) == 0 ? 150 : null));
            if (giveUp == 2) return Undo(id);
            ServerIsAt(null);
            if (giveUp == 3) return Undo(id);
            ServerIsAt(_target);
            Accepted(_target, id, SignalKind.Release, new SignalRequest(_epoch));
            bool early = _random.Next(2) == 0;
            if (early) _target.Result(id, new HoldDrained(), _net.Now);
            Accepted(_target, id, SignalKind.Advertise, new SignalRequest(_epoch, LocalPref: 200));
            Until(() => Array.TrueForAll(_pes, p => p == _source || p == _target || p.NextHop == _target.Speaker.Address), "all go direct");
            Accepted(_source, id, SignalKind.Withdraw, new SignalRequest(_epoch));

            // Its own clients need a route before its tunnel goes.
            Until(() => Send(_source, id, SignalKind.Teardown, new SignalRequest(_epoch)), "the source tears down");
            if (!early) _target.Result(id, new HoldDrained(), _net.Now);
            Accepted(_target, id, SignalKind.Teardown, new SignalRequest(_epoch));
            return true;
        }

        // The server runs at the source before the source switches back, and only then does the target give back what it held.
        private bool Undo(string id, bool sourceAsked = true)
        {
            _epoch++;
            ServerIsAt(_source);
            if (sourceAsked) Accepted(_source, id, SignalKind.Abort, new SignalRequest(_epoch));
            Accepted(_target, id, SignalKind.Abort, new SignalRequest(_epoch));
            _target.Result(id, new HoldDrained(), _net.Now);
            Pass();
            return false;
        }

        private void ServerIsAt(Pe? pe)
        {
            _live = pe;
            Pass();
        }

        private void Accepted(Pe pe, string id, SignalKind kind, SignalRequest request) => Assert.True(Send(pe, id, kind, request));

        private bool Send(Pe pe, string id, SignalKind kind, SignalRequest request)
        {
            PeStep step = pe.Signal(id, kind, request, _net.Now);
            Assert.True(step.Refusal is null or { Reason: PeRefusalReason.NoOtherRoute }, step.Refusal?.Detail);
            if (step.Refusal is null) _sent.Add((pe, id, kind, request));
            Pass();
            return step.Refusal is null;
        }

        /// <summary>Some routes arrive and others do not yet, and a copy of an old signal may come.</summary>
        private void Pass()
        {
            Check();
            SimSpeaker[] speakers = [.. _pes.Select(p => p.Speaker)];
            _late.Clear();
            foreach (SimSpeaker from in speakers)
            {
                foreach (SimSpeaker to in speakers)
                {
                    if (_random.Next(2) == 0) _late.Add((from, to));
                }
            }

            for (int rounds = _random.Next(4); rounds > 0; rounds--)
            {
                _net.Round();
                Check();
            }

            if (_sent.Count == 0 || _random.Next(4) > 0) return;
            (Pe pe, string id, SignalKind kind, SignalRequest request) = _sent[_random.Next(_sent.Count)];
            Assert.Empty(pe.Signal(id, kind, request, _net.Now).Commands);
        }

        private void Until(Func<bool> isSo, string what)
        {
            for (int i = 0; i < 1000; i++)
            {
                if (isSo()) return;
                Pass();
            }

            Assert.Fail($"never: {what}; {this}");
        }

        private void Check()
        {
            foreach (Pe ingress in _pes)
            {
                (Pe at, bool tunnelled) = (ingress, false);
                for (int hops = 0; ; hops++)
                {
                    Assert.True(hops <= 3, $"a loop from {ingress}; {this}");
                    IpAddress? next = at.Decide(tunnelled, out bool held);
                    if (held) break;
                    Assert.True(next is not null, $"a packet from {ingress} is dropped at {at}; {this}");
                    if (next == at.Speaker.Address)
                    {
                        Assert.True(at == _live, $"a packet from {ingress} comes out at {at}; {this}");
                        break;
                    }

                    tunnelled = at.Way == Way.Tunnel && !tunnelled;
                    at = Array.Find(_pes, p => p.Speaker.Address == next)!;
                }
            }
        }

        public override string ToString() => $"the server is at {_live?.ToString() ?? "none"}; "
            + string.Join(", ", _pes.Select(p => $"{p}: {p.Way} {p.NextHop}"));
    }

    /// <summary>A PE of one prefix, one group and one tunnel. It carries out the machine's commands at once.</summary>
    private sealed class Pe(SimSpeaker speaker)
    {
        private readonly PeMigrationFsm _machine = new();
        private readonly RouteOrigin _static = new(RouteSource.Static, "static"), _moved = new(RouteSource.Migration, "moved");
        private long _number;

        public SimSpeaker Speaker { get; } = speaker;

        public Way Way { get; private set; }

        /// <summary>The other end of the tunnel; null: there is none.</summary>
        public IpAddress? Tunnel { get; private set; }

        /// <summary>The PE that the route leads to, this one where it leads to its port; null: there is no route.</summary>
        public IpAddress? NextHop => Speaker.Rib.Best(s_server) is not { } route ? null
            : route.Origin.Source == RouteSource.Bgp ? route.Hop.Spec.Address : Speaker.Address;

        /// <summary>The configuration has the server at this PE.</summary>
        public void Configure()
        {
            Speaker.Rib.Offer(_static, s_server, HopSpec.Connected("dc"), null, 0);
            Speaker.Engine.Advertise(s_server, 100);
        }

        public PeStep Signal(string id, SignalKind kind, SignalRequest request, long now)
        {
            PeStep step = _machine.Do(id, kind, request, now, new PeFacts(Unrouted: NextHop is null ? s_server : null));
            Carry(step);
            return step;
        }

        public void Result(string id, PeResult result, long now) => Carry(_machine.Result(id, result, now));

        /// <summary>Where a packet goes from here: to another PE or, this one's address, to its port; null: it is dropped.</summary>
        public IpAddress? Decide(bool tunnelled, out bool held)
        {
            held = tunnelled && Way == Way.Hold;
            if (tunnelled && Tunnel is null) return null;
            if (Way == Way.Port) return Speaker.Address;
            if (Way == Way.Tunnel && !tunnelled) return Tunnel;

            // What came out of the tunnel does not go back to where it came from, unless it is given back.
            return tunnelled && NextHop == Tunnel && Way != Way.Return ? null : NextHop;
        }

        public override string ToString() => Speaker.Address.ToString();

        private void Carry(PeStep step)
        {
            foreach (PeCommand command in step.Commands)
            {
                switch (command)
                {
                    case CreateTunnel c:
                        Tunnel = c.Peer;
                        break;
                    case RemoveTunnel:
                        Tunnel = null;
                        break;
                    case ArmHold:
                        Way = Way.Hold;
                        break;
                    case SwitchToTunnel:
                        Way = Way.Tunnel;
                        break;
                    case ReleaseHold:
                        Way = Way.Port;
                        break;
                    case ReturnHold:
                        Way = Way.Return;
                        break;
                    case ArmGroup or SwitchBack or RemoveGroup:
                        Way = Way.Route;
                        break;
                    case TellWith c:
                        Speaker.Engine.Advertise(s_server, c.LocalPref, move: _number);
                        break;
                    case AdvertisePrefixes c:
                        _number = c.Move;
                        Speaker.Rib.Offer(_moved, s_server, HopSpec.Connected("dc"), null, 0);
                        Speaker.Engine.Advertise(s_server, c.LocalPref, move: c.Move);
                        break;
                    case WithdrawPrefixes:
                        Speaker.Rib.Withdraw(_static, s_server, 0);
                        Speaker.Rib.Withdraw(_moved, s_server, 0);
                        Speaker.Engine.Withdraw(s_server);
                        break;
                    case FlushTunnel:
                        break;
                    default:
                        throw new InvalidOperationException($"{command} is not expected here");
                }
            }
        }
    }
}
