using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>What a run has seen.</summary>
internal sealed record PairCounts(
    long Ends, long InsideAnOperation, long Answered, long Unanswered, long Gone, long Tails, long Grown = 0)
{
    public static PairCounts None { get; } = new(0, 0, 0, 0, 0, 0);

    public static PairCounts operator +(PairCounts a, PairCounts b) => new(a.Ends + b.Ends, a.InsideAnOperation + b.InsideAnOperation,
        a.Answered + b.Answered, a.Unanswered + b.Unanswered, a.Gone + b.Gone, a.Tails + b.Tails, a.Grown + b.Grown);

    public override string ToString() => $"{Ends} ends of a store, {InsideAnOperation} inside an operation of its disk; {Answered} "
        + $"requests answered, {Unanswered} open at the end; {Gone} gone that were not promised; {Tails} times the copy had "
        + $"more than its owner was left with; {Grown} times the volume was made larger";
}

/// <summary>
/// A volume at two stores, written by one client in all modes; a store ends at any operation of its disk, again and again, by a kill or a
/// power cut, and comes back.
/// <code>
/// 1. the owner has every request that was answered (kill), that was answered as durable (power cut)
/// 2. the copy has every request that was answered in sync mode, that was answered as durable in semantic mode
/// 3. each of the two is the state after a prefix of the requests
/// 4. what was not answered because the copy was away is answered when it is back
/// 5. both then prove to be equal, and are
/// </code>
/// </summary>
internal sealed class PairRun : IAsyncDisposable
{
    private readonly TwoSites _two = new();
    private readonly int _seed;
    private readonly bool _power;
    private readonly Random _random;
    private readonly Requests _requests;
    private int _mustA, _mustB;
    private ReplicationMode _mode = ReplicationMode.Async;
    private PairCounts _counts = PairCounts.None;
    private long _grown;

    private PairRun(int seed, bool power)
    {
        (_seed, _power, _random) = (seed, power, new Random(seed));
        _requests = new Requests(PairSite.Size, _random);
    }

    private PairSite A => _two.A;

    private PairSite B => _two.B;

    /// <summary>Runs a seed; a failure says what was wrong.</summary>
    /// <param name="seed">Everything but the threads' course comes from it.</param>
    /// <param name="lives">How often a store ends.</param>
    /// <param name="power">By power cuts, not by kills.</param>
    public static async Task<PairCounts> GoAsync(int seed, int lives, bool power)
    {
        await using var run = new PairRun(seed, power);
        try
        {
            return await run.LivesAsync(lives);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"seed {seed}, {(power ? "power cut" : "kill")} {run._counts.Ends}: {e.Message}\n"
                + string.Join('\n', run.A.Told.Distinct().TakeLast(12).Concat(run.B.Told.Distinct().TakeLast(12))), e);
        }
    }

    public ValueTask DisposeAsync() => _two.DisposeAsync();

    private async Task<PairCounts> LivesAsync(int lives)
    {
        await _two.StartAsync(_seed);
        for (int life = 0; life < lives; life++) await LifeAsync();
        return _counts with { Grown = _grown };
    }

    private async Task LifeAsync()
    {
        await Patience.UntilAsync(() => A.Replicated!.Primary is { IsConnected: true }, () => "the link is not made");
        _mode = (ReplicationMode)_random.Next(3);
        await A.Replicated!.ModeAsync(_mode, default).WaitAsync(Patience.Time);
        PairSite[] victims = _random.Next(_power ? 3 : 2) switch { 0 => [A], 1 => [B], _ => [A, B] };
        foreach (PairSite victim in victims) victim.Disk.CutAfter(_random.Next(_random.Next(1, 500)));
        List<Task> open = await WriteAsync(victims);
        _counts += PairCounts.None with
        {
            Ends = victims.Length, InsideAnOperation = victims.Count(v => v.Disk.IsOff),
        };
        foreach (PairSite victim in victims) await victim.EndAsync();
        if (victims.Contains(A)) await Task.WhenAll(open).WaitAsync(Patience.Time);
        _counts += PairCounts.None with { Unanswered = open.Count(t => !t.IsCompleted) };

        // The copy first: what it has behind the owner's end is no more known afterwards.
        if (victims.Contains(B)) B.Reopen(_power, _random.Next());
        else await B.QuietAsync().WaitAsync(Patience.Time);
        if (victims.Contains(B) || victims.Contains(A)) _ = _requests.Verify($"the copy ({_mode})", await B.ReadAsync(), _mustB);
        if (victims.Contains(A))
        {
            A.Reopen(_power, _random.Next());
            int last = _requests.Verify($"the owner ({_mode})", await A.ReadAsync(), _mustA);
            _counts += PairCounts.None with { Gone = _requests.Drop(last) };
        }

        bool tail = B.Volume.Log.LastSequence > A.Volume.Log.LastSequence;
        if (tail && !_power) throw new InvalidOperationException("the copy has records that its owner does not have, after a kill");
        if (victims.Contains(B)) _two.StartB();
        if (victims.Contains(A)) _two.StartA();
        await Task.WhenAll(open).WaitAsync(Patience.Time);
        if (tail) _counts += PairCounts.None with { Tails = 1 };
        await AgreeAsync();
    }

    // Both are equal, and are the state after all requests that are left. What the copy had more than its owner is a branch.
    private async Task AgreeAsync()
    {
        _ = await A.Replicated!.DrainAsync(default).WaitAsync(Patience.Time);
        byte[] atA = await A.ReadAsync(), atB = await B.ReadAsync();
        _ = _requests.Verify("the owner, at rest,", atA, _requests.Last);
        if (!atA.AsSpan().SequenceEqual(atB)) throw new InvalidOperationException("both have proved to be equal, and are not");
        if (_random.Next(8) == 0 && !(A.Volume.Check(default).IsGood && B.Volume.Check(default).IsGood))
            throw new InvalidOperationException("a volume finds itself not as it was written");
        _requests.Rest(atA);
    }

    // Writes with some requests open at a time until a victim has ended, or enough was written. What is open still.
    private async Task<List<Task>> WriteAsync(PairSite[] victims)
    {
        IBlockDevice device = _two.Client();
        Task ended = Task.WhenAny(victims.Select(v => v.Disk.Ended));
        int count = _random.Next(5, 250), depth = 1 + _random.Next(8);
        List<Task> open = [];
        int answered = 0;
        for (int i = 0; i < count && !ended.IsCompleted; i++)
        {
            open.RemoveAll(t => t.IsCompletedSuccessfully);
            while (open.Count >= depth && !ended.IsCompleted)
            {
                await Task.WhenAny([.. open, ended]);
                open.RemoveAll(t => t.IsCompletedSuccessfully);
            }

            open.Add(IssueAsync(device, victims, () => Interlocked.Increment(ref answered)));
            if (_random.Next(6) == 0) await Task.Delay(1);   // the client's pace
        }

        _counts += PairCounts.None with { Answered = answered };
        return open;
    }

    private Task IssueAsync(IBlockDevice device, PairSite[] victims, Action answered)
    {
        int kind = _random.Next(60);
        if (kind == 59 && _requests.Size < 1 << 20) return GrowAsync();
        kind %= 20;
        if (kind == 0) return AwaitAsync(device.FlushAsync(default), _requests.Answered, durable: true);
        Request next = _requests.Next(zeros: kind == 1);
        bool durable = kind is 2 or 3;
        return next.Bytes is { } bytes
            ? AwaitAsync(device.WriteAsync(next.Offset, bytes, durable ? BlockFlags.ForceUnitAccess : BlockFlags.None, default),
                next.Number,
                durable)
            : AwaitAsync(device.WriteZeroesAsync(next.Offset, next.Length, BlockFlags.NoHole, default), next.Number, durable: false);

        // As the store does it: both get ready, then the record is one request among the others.
        Task GrowAsync()
        {
            int size = _requests.Size + (_random.Next(8) == 0 ? 2 << 20 : 4096 * (1 + _random.Next(40)));
            try
            {
                A.Volume.PrepareSize(size);
            }
            catch (VolumeException) when (A.Disk.IsOff)
            {
                return Task.CompletedTask;
            }

            // Nothing was written since both were proved to be equal: it might be handed over.
            if (A.Replicated!.EnterAsOwner("resize") is not null) return Task.CompletedTask;
            try
            {
                _grown++;
                return AwaitAsync(A.Volume.GrowAsync(size, default), _requests.Grow(size).Number, durable: true);
            }
            finally
            {
                A.Replicated!.LeaveAsOwner();
            }
        }

        async Task AwaitAsync(ValueTask<BlockResult> request, int through, bool durable)
        {
            ReplicationMode mode = _mode;
            BlockResult result = await request;
            if (result != BlockResult.Ok)
            {
                if (!victims.Contains(A)) throw new InvalidOperationException($"the owner runs, and answers a request with {result}");
                return;
            }

            answered();
            if (!_power || durable || mode == ReplicationMode.Sync) Requests.Raise(ref _mustA, through);
            if (mode == ReplicationMode.Sync || (mode == ReplicationMode.Semantic && durable)) Requests.Raise(ref _mustB, through);
            _requests.Answer(through);
        }
    }
}
