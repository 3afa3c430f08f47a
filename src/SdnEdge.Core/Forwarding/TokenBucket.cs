namespace SdnEdge.Core.Forwarding;

/// <summary>
/// A token bucket (RFC 4443 2.4 f): lets <c>burst</c> through at once and then a steady rate. Exact in nanoseconds at any
/// rate of the clock: what a short step leaves over is kept.
/// </summary>
public struct TokenBucket
{
    private const long Second = 1_000_000_000;

    private readonly long _perSecond, _burst;
    private long _filledAt, _tokens, _rest;
    private bool _started;

    /// <summary>Makes a full bucket.</summary>
    /// <param name="perSecond">Tokens a second; 0 = only the burst, ever.</param>
    /// <param name="burst">Most tokens the bucket holds, at least 1.</param>
    public TokenBucket(int perSecond, int burst) => (_perSecond, _burst, _tokens) = (perSecond, burst, burst);

    /// <summary>Takes one token; false when there is none now. A clock that steps back adds nothing.</summary>
    public bool TryTake(long now)
    {
        if (!_started) (_started, _filledAt) = (true, now);
        long elapsed = now - _filledAt;
        if (elapsed > 0)
        {
            _filledAt = now;
            // A second fills any bucket of less than a second's rate; more would overflow the product below.
            Int128 gained = ((Int128)elapsed * _perSecond) + _rest;
            Int128 tokens = _tokens + (gained / Second);
            bool full = tokens >= _burst;
            _tokens = full ? _burst : (long)tokens;
            _rest = full ? 0 : (long)(gained % Second);
        }

        if (_tokens == 0) return false;
        _tokens--;
        return true;
    }
}
