using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>
/// Connection collisions (RFC 4271 6.8): two speakers that connect to one another at once, in every order in which the network
/// can deliver what they say. Whatever the order, both end established, on the same connection, without a flap.
/// </summary>
public sealed class CollisionTests
{
    private const int MaxRuns = 60_000;

    [Theory]
    [InlineData(10u, 20u, RestartMode.Helper)]
    [InlineData(20u, 10u, RestartMode.Helper)]
    [InlineData(10u, 20u, RestartMode.Full)]
    [InlineData(20u, 10u, RestartMode.Full)]
    public void In_every_order_of_delivery_both_ends_agree_on_one_connection(uint idOfA, uint idOfB, RestartMode restart)
    {
        // Depth first over the choices: the next run repeats the last one up to the last choice that has another branch.
        var choices = new List<(int Taken, int Of)>();
        int runs = 0;
        do
        {
            var run = new Run(idOfA, idOfB, restart);
            int depth = 0;
            while (run.Enabled() is { Count: > 0 } enabled)
            {
                if (depth == choices.Count) choices.Add((0, enabled.Count));
                enabled[choices[depth].Taken]();
                Assert.True(++depth < 200, "it never ends");
            }

            string order = string.Join(',', choices.Take(depth).Select(c => c.Taken));
            Assert.True(run.Agreed(out string wrong), $"order {order}: {wrong}\n{run.Story}");
            while (choices.Count > 0 && choices[^1].Taken + 1 == choices[^1].Of) choices.RemoveAt(choices.Count - 1);
            if (choices.Count > 0) choices[^1] = (choices[^1].Taken + 1, choices[^1].Of);
        }
        while (choices.Count > 0 && ++runs < MaxRuns);
        Assert.True(runs > 1000, $"only {runs} orders: the model does not branch");
    }

    [Theory]
    [InlineData(RestartMode.Helper)]
    [InlineData(RestartMode.Full)]
    public void And_in_random_orders_deep_in_the_tree(RestartMode restart)
    {
        for (int seed = 0; seed < 20_000; seed++)
        {
            var random = new Random(seed);
            var run = new Run(seed % 2 == 0 ? 10u : 20u, seed % 2 == 0 ? 20u : 10u, restart);
            while (run.Enabled() is { Count: > 0 } enabled) enabled[random.Next(enabled.Count)]();
            Assert.True(run.Agreed(out string wrong), $"seed {seed}: {wrong}\n{run.Story}");
        }
    }

    private enum Word : byte
    {
        Open,
        Keepalive,
        Notification,
        Closed,
    }

    /// <summary>Two machines and their two connections.</summary>
    private sealed class Run
    {
        private readonly Side[] _sides;
        private readonly Connection[] _connections;
        private readonly List<FsmAction> _actions = [];
        private readonly List<string> _story = [];
        private long _now = 1_000_000_007;
        private bool _ticked;

        public Run(uint idOfA, uint idOfB, RestartMode restart)
        {
            _sides = [new Side(idOfA, restart), new Side(idOfB, restart)];
            _connections = [new Connection(0), new Connection(1)];
            for (int i = 0; i < 2; i++) Step(i, new FsmEvent(FsmEventKind.Start));
        }

        public string Story => string.Join('\n', _story);

        /// <summary>What may happen next.</summary>
        public List<Action> Enabled()
        {
            var enabled = new List<Action>();
            foreach (Connection c in _connections)
            {
                if (c.IsWanted && !c.IsAccepted && !c.IsRefused) enabled.Add(() => Accept(c));
                if (c.IsAccepted && !c.OpenerKnows && !c.GoneAt(c.Opener)) enabled.Add(() => Confirm(c));
                if (c.IsRefused && !c.OpenerKnows && !c.GoneAt(c.Opener)) enabled.Add(() => Confirm(c));
                for (int to = 0; to < 2; to++)
                {
                    int side = to;
                    if (c.Queue[to].Count > 0 && !c.GoneAt(to) && (to != c.Opener || (c.OpenerKnows && c.IsAccepted)))
                        enabled.Add(() => Deliver(c, side));
                }
            }

            // Only when the network is empty does the time pass that a silent connection waits.
            if (enabled.Count == 0 && !_ticked && _sides.Any(s => s.Fsm.NextDeadline <= _now + 1_000_000_000))
            {
                _ticked = true;
                enabled.Add(() =>
                {
                    _now += 1_000_000_000;
                    for (int i = 0; i < 2; i++) Step(i, new FsmEvent(FsmEventKind.Tick));
                });
            }

            return enabled;
        }

        public bool Agreed(out string wrong)
        {
            wrong = string.Join("; ",
                _sides.Select((s, i) => $"{(char)('A' + i)} {s.Fsm.State} by {s.Fsm.EstablishedSide}, up {s.Fsm.Transitions} times"));
            return _sides.All(s => s.Fsm.State == BgpState.Established && s.Fsm.Transitions == 1)
                && _sides[0].Fsm.EstablishedSide != _sides[1].Fsm.EstablishedSide;
        }

        private void Accept(Connection c)
        {
            int acceptor = 1 - c.Opener;
            if (!_sides[acceptor].Fsm.AcceptsIncoming)
            {
                _story.Add($"{Name(acceptor)} refuses {c}");
                c.IsRefused = true;
                return;
            }

            _story.Add($"{Name(acceptor)} accepts {c}");
            c.IsAccepted = true;
            Step(acceptor, new FsmEvent(FsmEventKind.Connected, ConnectionSide.Incoming));
        }

        private void Confirm(Connection c)
        {
            _story.Add($"{Name(c.Opener)} sees {c} {(c.IsRefused ? "refused" : "open")}");
            c.OpenerKnows = true;
            Step(c.Opener, new FsmEvent(c.IsRefused ? FsmEventKind.Disconnected : FsmEventKind.Connected, ConnectionSide.Outgoing));
        }

        private void Deliver(Connection c, int to)
        {
            Word word = c.Queue[to].Dequeue();
            _story.Add($"{Name(to)} gets {word} on {c}");
            ConnectionSide side = to == c.Opener ? ConnectionSide.Outgoing : ConnectionSide.Incoming;
            if (word == Word.Closed) c.Gone[to] = true;
            Step(to, word switch
            {
                Word.Open => new FsmEvent(FsmEventKind.Open, side, _sides[1 - to].Open),
                Word.Keepalive => new FsmEvent(FsmEventKind.Keepalive, side),
                Word.Notification => new FsmEvent(FsmEventKind.Notification, side, Notification: BgpNotification.Collision),
                _ => new FsmEvent(FsmEventKind.Disconnected, side),
            });
        }

        private void Step(int who, FsmEvent input)
        {
            _actions.Clear();
            _sides[who].Fsm.Step(input, _now, _actions);
            foreach (FsmAction action in _actions)
            {
                Connection c = _connections[action.Side == ConnectionSide.Outgoing ? who : 1 - who];
                _story.Add($"    {Name(who)}: {action.Kind} on {c}");
                switch (action.Kind)
                {
                    case FsmActionKind.Connect:
                        c.IsWanted = true;
                        break;
                    case FsmActionKind.SendOpen:
                        c.Queue[1 - who].Enqueue(Word.Open);
                        break;
                    case FsmActionKind.SendKeepalive:
                        c.Queue[1 - who].Enqueue(Word.Keepalive);
                        break;
                    case FsmActionKind.SendNotification:
                        c.Queue[1 - who].Enqueue(Word.Notification);
                        break;
                    case FsmActionKind.Close:
                        c.Gone[who] = true;

                        // A connect that is given up before it was accepted is seen by nobody.
                        if (!c.IsAccepted) c.IsRefused = true;
                        else if (!c.Gone[1 - who]) c.Queue[1 - who].Enqueue(Word.Closed);
                        break;
                    default:
                        break;
                }
            }
        }

        private static char Name(int who) => (char)('A' + who);
    }

    private sealed class Side(uint id, RestartMode restart)
    {
        public SessionFsm Fsm { get; } = new(
            new BgpSpeakerSettings(65000, id, IpAddress.Parse("10.255.0.1"), default),
            new BgpPeerSettings(IpAddress.Parse("10.255.0.2"), 65000) { Restart = restart }, new Random(1));

        public OpenMessage Open { get; } = new(65000, 9, id, BgpFamilies.Both, true, true)
        {
            GracefulRestart = new GracefulRestart(120, restart == RestartMode.Full ? BgpFamilies.Both : BgpFamilies.None, BgpFamilies.Both,
                Notification: true),
        };
    }

    private sealed class Connection(int opener)
    {
        public int Opener { get; } = opener;

        public bool IsWanted { get; set; }

        public bool IsAccepted { get; set; }

        public bool IsRefused { get; set; }

        public bool OpenerKnows { get; set; }

        public bool[] Gone { get; } = new bool[2];

        /// <summary>What is on its way to A and to B.</summary>
        public Queue<Word>[] Queue { get; } = [new(), new()];

        public bool GoneAt(int who) => Gone[who];

        public override string ToString() => $"{(char)('A' + Opener)}'s connection";
    }
}
