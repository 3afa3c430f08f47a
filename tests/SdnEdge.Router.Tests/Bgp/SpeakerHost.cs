using System.Diagnostics;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Bgp;
using SdnEdge.Router.Control;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>A speaker with a small control loop of its own, on a real thread with real TCP.</summary>
internal sealed class SpeakerHost : IDisposable
{
    private readonly AutoResetEvent _wake = new(false);
    private readonly Queue<Action> _calls = new();
    private readonly List<Wait> _waits = []; // the loop's
    private readonly List<(BgpPeer Peer, string Why)> _ends = []; // the loop's
    private readonly Thread _thread;
    private volatile bool _stop;

    public SpeakerHost(BgpSpeakerSettings settings, BgpTransportOptions options)
    {
        Speaker = new BgpSpeaker(settings, Rib, options, Wake);
        Speaker.Engine.SessionChanged += (peer, why) =>
        {
            if (why is not null) _ends.Add((peer, why));
        };
        Speaker.Start();
        _thread = new Thread(Loop) { IsBackground = true, Name = "control loop" };
        _thread.Start();
    }

    public LocRib Rib { get; } = new("default");

    public BgpSpeaker Speaker { get; }

    /// <summary>The loop's; follows the RIB where there is one.</summary>
    public FibPublisher? Fib { get; set; }

    public RouteOrigin Static { get; } = new(RouteSource.Static, "static");

    /// <summary>The longest time one turn of the loop took, nanoseconds.</summary>
    public long LongestTurnNs { get; private set; }

    public static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    /// <summary>Runs something on the control loop and waits for its result.</summary>
    public T Ask<T>(Func<T> call)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_calls)
        {
            _calls.Enqueue(() =>
            {
                try
                {
                    done.SetResult(call());
                }
                catch (Exception e)
                {
                    done.SetException(e);
                }
            });
        }

        _wake.Set();
        Assert.True(done.Task.Wait(Patience.Time), "the control loop does not answer");
        return done.Task.Result;
    }

    public void Do(Action call) => Ask(() =>
    {
        call();
        return true;
    });

    /// <summary>
    /// Waits until something holds at the end of a turn of the control loop; fails with the text when it does not in time.
    /// </summary>
    public void Await(Func<bool> condition, string what, int seconds = Patience.Seconds)
    {
        var wait = new Wait(condition);
        Do(() => _waits.Add(wait));
        if (wait.Held.Wait(TimeSpan.FromSeconds(seconds))) return;
        Do(() => _waits.Remove(wait));
        Assert.Fail($"not within {seconds} s: {what}; peers: {Ask(Describe)}");
    }

    /// <summary>
    /// Waits until a connection of a peer has ended for a reason with this text. What <see cref="BgpPeer.LastError"/> says is soon that the
    /// next attempt was refused.
    /// </summary>
    public void AwaitEnd(BgpPeer peer, string why, string what)
        => Await(() => _ends.Exists(e => e.Peer == peer && e.Why.Contains(why, StringComparison.Ordinal)), what);

    /// <summary>A static route that makes an address reachable, so that BGP next hops resolve.</summary>
    public void Reach(IpAddress address) => Do(() => Rib.Offer(Static, IpPrefix.Host(address), HopSpec.Via(address, "core"), null, Now));

    public BgpPeer AddPeer(BgpPeerSettings settings) => Ask(() => Speaker.AddPeer(settings, Now));

    /// <summary>Stops without a word to anybody, as a killed process would; whoever made the sockets closes them.</summary>
    public void Crash()
    {
        _stop = true;
        _wake.Set();
        _thread.Join();
    }

    public void Dispose()
    {
        Crash();
        Speaker.Dispose();
        _wake.Dispose();
    }

    private void Wake()
    {
        try
        {
            _wake.Set();
        }
        catch (ObjectDisposedException)
        {
            // A connection that is being closed has something to tell, and nobody listens any more.
        }
    }

    private string Describe() => string.Join("; ", Speaker.Engine.Peers.Select(p =>
        $"{p} {p.State} in {p.MessagesIn} out {p.MessagesOut} rx {p.Origin.Prefixes} tx {p.PrefixesSent} ended "
            + $"[{string.Join("; ", _ends.Where(e => e.Peer == p).Select(e => e.Why))}] faults [{string.Join(", ", p.Faults.Seen())}]"));

    private void Loop()
    {
        while (!_stop)
        {
            long start = Now;
            lock (_calls)
            {
                while (_calls.TryDequeue(out Action? call)) call();
            }

            Speaker.Poll(start);
            foreach (BgpPeer peer in Speaker.Engine.Peers)
            {
                if (peer.LastError is { } why && _ends.FindLast(e => e.Peer == peer).Why != why) _ends.Add((peer, why));
            }

            Rib.Converge(start);
            ReadOnlySpan<RibChange> changes = Rib.TakeChanges();
            Fib?.Apply(changes);
            Speaker.RibChanged(changes);
            Speaker.Flush();
            LongestTurnNs = Math.Max(LongestTurnNs, Now - start);
            _waits.RemoveAll(w => w.IsOver());

            // What is waited for may hang on more than this loop.
            long longest = _waits.Count > 0 ? 5_000_000 : 1_000_000_000;
            long wait = Math.Min(Speaker.NextDeadline, Now + longest) - Now;
            if (wait > 0) _wake.WaitOne(TimeSpan.FromMilliseconds((wait / 1_000_000) + 1));
        }
    }

    /// <summary>A condition that somebody waits for.</summary>
    private sealed class Wait(Func<bool> condition)
    {
        private readonly TaskCompletionSource _held = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Held => _held.Task;

        /// <summary>On the loop: it holds now, or cannot be asked.</summary>
        public bool IsOver()
        {
            try
            {
                if (!condition()) return false;
                _held.SetResult();
            }
            catch (Exception e)
            {
                _held.SetException(e);
            }

            return true;
        }
    }
}
