using System.Globalization;
using SdnEdge.Linux;

namespace SdnEdge.Standstill;

/// <summary>
/// Freezes and thaws by a plan. In each <see cref="Step"/>:
/// 1. thaws what has been frozen for its time, and looks after what is frozen;
/// 2. freezes what the plan says, as soon as its time has come.
/// All steps on one thread: the kernel gives a held thread back to none other.
/// </summary>
public sealed class Freezer(FreezePlan plan, Func<IReadOnlyList<ProcessStat>> processes)
{
    // A thread that was killed is not gone for its parent before we have looked at it.
    private const long LookNs = 5_000_000;

    private readonly List<Frozen> _frozen = [];
    private readonly HashSet<int> _held = [];
    private Freeze _next;
    private long _nextAt;

    /// <summary>Freezes of a single thread so far.</summary>
    public long Threads { get; private set; }

    /// <summary>Freezes of a whole process so far.</summary>
    public long Processes { get; private set; }

    /// <summary>The longest freeze so far, in ns: from when the kernel was asked for it until all was thawed again.</summary>
    public long LongestNs { get; private set; }

    /// <summary>Threads that the kernel did not permit to hold, or that had ended already.</summary>
    public long NotPermitted { get; private set; }

    /// <summary>Does what is due at <paramref name="now"/> (ns of <see cref="Monotonic"/>), and says when there is more to do.</summary>
    public long Step(long now)
    {
        for (int i = _frozen.Count - 1; i >= 0; i--)
        {
            if (Tend(_frozen[i], now)) _frozen.RemoveAt(i);
        }

        // After a time in which we did not run ourselves, what was missed is left out.
        if (_nextAt == 0 || now - _nextAt > 1_000_000_000)
        {
            _next = plan.Next();
            _nextAt = now + _next.GapNs;
        }
        else if (now >= _nextAt)
        {
            Begin(_next, now);
            _next = plan.Next();
            _nextAt += _next.GapNs;
        }

        return _frozen.Count == 0 ? _nextAt : Math.Min(_nextAt, now + LookNs);
    }

    /// <summary>Thaws everything, and returns when all of it runs again or has ended.</summary>
    /// <param name="now">The clock.</param>
    public void ThawAll(Func<long> now)
    {
        while (_frozen.Count > 0)
        {
            _frozen.RemoveAll(f => Tend(f with { Until = 0 }, now()));
            if (_frozen.Count > 0) Thread.Sleep(1);   // the kernel needs a moment to stop what is to be released
        }
    }

    private void Begin(Freeze freeze, long now)
    {
        IReadOnlyList<ProcessStat> there = processes();
        if (there.Count == 0) return;
        ProcessStat process = there[(int)(freeze.Process * there.Count)];
        if (process.State == 'T') return;   // frozen already, in a way that others see
        List<int> threads = ThreadsOf(process);
        if (threads.Count == 0) return;
        var frozen = new Frozen([], now, now + freeze.LengthNs);
        if (freeze.Whole)
        {
            // Threads that were started while we held the others: until there are no more.
            for (int before = -1; before != frozen.Threads.Count; threads = ThreadsOf(process))
            {
                before = frozen.Threads.Count;
                foreach (int thread in threads) Hold(thread, frozen);
            }
        }
        else
        {
            Hold(threads[(int)(freeze.Thread * threads.Count)], frozen);
        }

        if (frozen.Threads.Count == 0) return;
        _frozen.Add(frozen);
        if (freeze.Whole) Processes++;
        else Threads++;
    }

    private void Hold(int thread, Frozen frozen)
    {
        if (_held.Contains(thread)) return;
        if (HeldThread.TryHold(thread, out HoldRefusal why) is { } held)
        {
            frozen.Threads.Add(held);
            _held.Add(thread);
        }
        else if (why == HoldRefusal.NotPermitted)
        {
            NotPermitted++;
        }
    }

    // True when nothing of it is held any more.
    private bool Tend(Frozen frozen, long now)
    {
        frozen.Threads.RemoveAll(thread =>
        {
            thread.Look();
            bool over = thread.IsGone || ((now >= frozen.Until || thread.WasStopped) && thread.TryRelease());
            if (over) _held.Remove(thread.ThreadId);
            return over;
        });
        if (frozen.Threads.Count > 0) return false;
        LongestNs = Math.Max(LongestNs, now - frozen.Since);
        return true;
    }

    // The threads of exactly this process: another one may have its number by now.
    private static List<int> ThreadsOf(ProcessStat process)
    {
        try
        {
            List<int> threads = [.. Directory
                .EnumerateDirectories(string.Create(CultureInfo.InvariantCulture, $"/proc/{process.ProcessId}/task"))
                .Select(folder => int.Parse(Path.GetFileName(folder.AsSpan()), CultureInfo.InvariantCulture))
                .Order()];
            return ProcessStat.Read(process.ProcessId) is { IsAlive: true } stat && stat.StartTicks == process.StartTicks ? threads : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];   // it has ended
        }
    }

    private sealed record Frozen(List<HeldThread> Threads, long Since, long Until);
}
