using SdnEdge.Core.Bfd;
using Xunit;
using static SdnEdge.Core.Tests.Bfd.BfdBytes;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>Two ends over a simulated path that delays, loses, and is cut and mended. Each run replays from its seed.</summary>
public sealed class BfdSimulationTests
{
    [Theory]
    [InlineData(50, 3, 50, 3)]
    [InlineData(10, 3, 10, 3)]
    [InlineData(10, 3, 300, 5)]
    [InlineData(100, 1, 100, 1)]
    public void Over_a_sound_path_they_come_up_agree_and_never_go_down(int interval1, int multiplier1, int interval2, int multiplier2)
    {
        for (int seed = 1; seed <= 20; seed++)
        {
            var path = new Path(seed, interval1, multiplier1, interval2, multiplier2);
            path.Run(4 * Second);
            Assert.All(path.Ends, e => Assert.Equal(BfdState.Up, e.State));
            path.Run(60 * Second);
            Assert.All(path.Ends, e => Assert.Equal((BfdState.Up, 0, 1, false), (e.State, e.Downs, e.Ups, e.Polling)));
            uint agreed = (uint)Math.Max(interval1, interval2) * 1000;
            Assert.All(path.Ends, e => Assert.Equal(agreed, e.TransmitInterval));
            Assert.Equal(multiplier2 * agreed * 1000L, path.Ends[0].DetectionTime);
            Assert.Equal(multiplier1 * agreed * 1000L, path.Ends[1].DetectionTime);
        }
    }

    [Fact]
    public void A_cut_is_seen_by_both_within_the_detection_time_and_mending_it_brings_both_back()
    {
        for (int seed = 1; seed <= 200; seed++)
        {
            var path = new Path(seed, 50, 3, 50, 3);
            path.Run(4 * Second);
            path.Run(seed * 7 * Ms / 3);
            long cut = path.Now;
            path.Loss = 1;
            path.Run(Second);
            foreach (BfdSession end in path.Ends)
            {
                Assert.Equal((BfdState.Down, BfdDiagnostic.DetectionTimeExpired), (end.State, end.Diagnostic));
                Assert.InRange(end.ChangedAt - cut, 99 * Ms, (150 * Ms) + Path.Delay + Ms);
            }

            path.Loss = 0;
            path.Run(4 * Second);
            Assert.All(path.Ends, e => Assert.Equal((BfdState.Up, 2), (e.State, e.Ups)));
        }
    }

    [Fact]
    public void One_direction_cut_takes_both_down_and_the_one_that_hears_knows_it_from_the_other()
    {
        var path = new Path(3, 50, 3, 50, 3);
        path.Run(4 * Second);
        path.LossTo[1] = true;
        path.Run(2 * Second);
        Assert.Equal((BfdState.Init, BfdDiagnostic.NeighborSignaledDown), (path.Ends[0].State, path.Ends[0].Diagnostic));
        Assert.Equal((BfdState.Down, BfdDiagnostic.DetectionTimeExpired), (path.Ends[1].State, path.Ends[1].Diagnostic));
    }

    [Fact]
    public void Losses_changes_and_admin_downs_in_any_order_leave_them_able_to_come_up()
    {
        for (int seed = 1; seed <= 100; seed++)
        {
            var path = new Path(seed, 50, 3, 20, 2) { Loss = 0.3 };
            var random = new Random(seed);
            for (int i = 0; i < 30; i++)
            {
                path.Run(random.NextInt64(300 * Ms));
                BfdSession end = path.Ends[random.Next(2)];
                if (random.Next(3) == 0) end.SetAdminDown(random.Next(2) == 0, path.Now);
                else end.Configure(BfdParameters.Every(random.Next(10, 200), random.Next(1, 5)));
            }

            foreach (BfdSession end in path.Ends) end.SetAdminDown(false, path.Now);
            path.Loss = 0;
            path.Run(6 * Second);
            Assert.All(path.Ends, e => Assert.True(e.State == BfdState.Up && !e.Polling, $"seed {seed}: {e.State} {e.Diagnostic}"));
            Assert.Equal(path.Ends[0].TransmitInterval,
                Math.Max(path.Ends[0].Parameters.DesiredMinTx, path.Ends[1].Parameters.RequiredMinRx));
        }
    }

    /// <summary>The two ends, and what is in flight between them. The clock moves in odd steps.</summary>
    private sealed class Path(int seed, int interval1, int multiplier1, int interval2, int multiplier2)
    {
        public const long Delay = 2_345_678;

        private readonly Random _random = new(seed);
        private readonly List<(long At, int To, byte[] Bytes)> _flying = [];
        private readonly byte[] _buffer = new byte[BfdControl.Size];

        public BfdSession[] Ends { get; } =
        [
            Session(interval1, multiplier1, 7, (ulong)seed),
            new(new BfdKey(Here, There, true), 9, BfdParameters.Every(interval2, multiplier2), (ulong)seed * 77, 0),
        ];

        public double Loss { get; set; }

        public bool[] LossTo { get; } = new bool[2];

        public long Now { get; private set; }

        public void Run(long time)
        {
            long end = Now + time;
            while (Now < end)
            {
                long next = Math.Min(Ends[0].NextDeadline, Ends[1].NextDeadline);
                foreach ((long at, _, _) in _flying) next = Math.Min(next, at);
                Now = Math.Min(end, Math.Max(next, Now) + _random.Next(30_000));
                for (int i = 0; i < 2; i++)
                {
                    foreach ((long at, int to, byte[] bytes) in _flying.ToArray())
                    {
                        if (to == i && at <= Now) Ends[i].Receive(View(bytes), Now);
                    }

                    _flying.RemoveAll(f => f.To == i && f.At <= Now);
                    Ends[i].Expire(Now);
                    while (Ends[i].TryTake(Now, _buffer))
                    {
                        if (_random.NextDouble() >= Loss && !LossTo[1 - i]) _flying.Add((Now + Delay, 1 - i, [.. _buffer]));
                    }
                }
            }
        }
    }
}
