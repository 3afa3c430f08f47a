using System.Diagnostics;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Bgp;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>A speaker with a small control loop of its own, on a real thread with real TCP.</summary>
internal sealed class SpeakerHost : IDisposable
{
    private readonly AutoResetEvent _wake = new(false);
    private readonly Queue<Action> _calls = new();
    private readonly Thread _thread;
    private volatile bool _stop;

    public SpeakerHost(BgpSpeakerSettings settings, BgpTransportOptions options)
    {
        Speaker = new BgpSpeaker(settings, Rib, options, () => _wake.Set());
        Speaker.Start();
        _thread = new Thread(Loop) { IsBackground = true, Name = "control loop" };
        _thread.Start();
    }

    public LocRib Rib { get; } = new("default");

    public BgpSpeaker Speaker { get; }

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
        Assert.True(done.Task.Wait(TimeSpan.FromSeconds(30)), "the control loop does not answer");
        return done.Task.Result;
    }

    public void Do(Action call) => Ask(() =>
    {
        call();
        return true;
    });

    /// <summary>Waits until something holds on the control loop; fails with the text when it does not in time.</summary>
    public void Await(Func<bool> condition, string what, int seconds = 20)
    {
        long until = Now + (seconds * 1_000_000_000L);
        while (!Ask(condition))
        {
            Assert.True(Now < until, $"not within {seconds} s: {what}; peers: {Ask(Describe)}");
            Thread.Sleep(5);
        }
    }

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

    private string Describe() => string.Join("; ", Speaker.Engine.Peers.Select(p =>
        $"{p} {p.State} in {p.MessagesIn} out {p.MessagesOut} rx {p.Origin.Prefixes} tx {p.PrefixesSent} last '{p.LastError}' faults [{string.Join(", ", p.Faults.Seen())}]"));

    private void Loop()
    {
        var changes = new List<RibChange>();
        while (!_stop)
        {
            long start = Now;
            lock (_calls)
            {
                while (_calls.TryDequeue(out Action? call)) call();
            }

            Speaker.Poll(start);
            changes.Clear();
            Rib.TakeChanges(changes);
            Speaker.RibChanged(changes);
            Speaker.Flush();
            LongestTurnNs = Math.Max(LongestTurnNs, Now - start);
            long wait = Math.Min(Speaker.NextDeadline, Now + 1_000_000_000) - Now;
            if (wait > 0) _wake.WaitOne(TimeSpan.FromMilliseconds((wait / 1_000_000) + 1));
        }
    }
}
