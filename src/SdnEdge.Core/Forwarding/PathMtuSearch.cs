namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Finds the largest packet that a path carries, by probes of chosen sizes that are answered or lost (RFC 8899), and by what routers
/// on the way say (RFC 1191, RFC 8201). Sizes are bytes of the probe's own IP packet. Pure.
/// <list type="bullet">
/// <item>A size is refused when <see cref="MaxProbes"/> of it in a row were lost while another, smaller one was answered: a path that
/// carries nothing says nothing about sizes.</item>
/// <item>Until a size was refused, all of <see cref="Largest"/> is taken to pass.</item>
/// <item>A refused size is tried again after <see cref="RaiseAfterNs"/>.</item>
/// </list>
/// </summary>
public sealed class PathMtuSearch
{
    /// <summary>What every path is taken to carry, bytes (RFC 8899 5.1.2, BASE_PLPMTU).</summary>
    public const int BaseBytes = 1200;

    /// <summary>Losses in a row that refuse a size (RFC 8899 5.1.2, MAX_PROBES).</summary>
    public const int MaxProbes = 3;

    /// <summary>Time after which a larger size is tried again: 10 minutes (RFC 8899 5.1.1, RFC 1191 6.3), in nanoseconds.</summary>
    public const long RaiseAfterNs = 600_000_000_000;

    private int _refused, _told;
    private bool _narrow;
    private int _candidateLosses, _candidateLost, _confirmedLosses;
    private long _firstCandidateLoss, _firstConfirmedLoss;
    private long _confirmedAt = -1, _aliveAt = -1, _aliveSince = -1;
    private long _raiseAt = long.MaxValue;

    /// <summary>Starts a search.</summary>
    /// <param name="largest">Size that is wanted, and that the first link carries, bytes.</param>
    public PathMtuSearch(int largest) => (Largest, _refused) = (largest, largest + 1);

    /// <summary>The size that is wanted, bytes.</summary>
    public int Largest { get; private set; }

    /// <summary>The largest size known to pass, bytes; 0 = none yet.</summary>
    public int Confirmed { get; private set; }

    /// <summary>What may be sent, bytes; 0 = <see cref="Largest"/>, nothing speaks against it.</summary>
    public int Limit => _narrow ? Confirmed : 0;

    /// <summary>The least size that is known not to pass, bytes; 0 = none.</summary>
    public int Refused => _refused > Largest ? 0 : _refused;

    /// <summary>What is probed to see whether the path carries anything, bytes.</summary>
    public int Base => Math.Min(Math.Min(BaseBytes, Largest), _told > 0 ? _told : int.MaxValue);

    /// <summary>True when the size in force has been lost, and it is not known yet whether anything else passes.</summary>
    public bool InDoubt => _confirmedLosses > 0 && Confirmed > Base;

    /// <summary>The size to try next, bytes; 0 = the search is at its end.</summary>
    public int Candidate
    {
        get
        {
            if (Confirmed >= Largest || _refused - Confirmed <= 1) return 0;
            if (_refused > Largest) return Largest;
            if (Confirmed == 0) return Base < _refused ? 0 : _refused - 1; // first: does anything pass?
            return Confirmed + ((_refused - Confirmed) / 2);
        }
    }

    /// <summary>A probe was answered, in time or late.</summary>
    /// <param name="size">Its size, bytes.</param>
    /// <param name="sequence">Its place among the probes sent.</param>
    /// <param name="now">Nanoseconds.</param>
    public void Answered(int size, long sequence, long now)
    {
        if (_aliveSince < 0) _aliveSince = sequence;
        _aliveAt = Math.Max(_aliveAt, sequence);
        if (size >= Confirmed)
        {
            if (size > Confirmed) _candidateLosses = 0;
            Confirmed = size;
            _confirmedAt = Math.Max(_confirmedAt, sequence);
            _confirmedLosses = 0;
            if (size >= _refused) _refused = Largest + 1; // it has become wider
            if (size >= Largest) (_narrow, _told) = (false, 0);
            if (_narrow && Candidate == 0 && _raiseAt == long.MaxValue) _raiseAt = now + RaiseAfterNs;
        }

        Judge(now);
    }

    /// <summary>A probe was not answered in time.</summary>
    /// <param name="size">Its size, bytes.</param>
    /// <param name="sequence">Its place among the probes sent.</param>
    /// <param name="now">Nanoseconds.</param>
    public void Lost(int size, long sequence, long now)
    {
        if (size == Confirmed)
        {
            if (sequence < _confirmedAt) return; // a later one came back
            if (_confirmedLosses++ == 0) _firstConfirmedLoss = sequence;
        }
        else if (size > Confirmed && size < _refused)
        {
            if (sequence < _aliveSince) return; // sent before there was a path at all
            if (size != _candidateLost) (_candidateLost, _candidateLosses) = (size, 0);
            if (_candidateLosses++ == 0) _firstCandidateLoss = sequence;
        }

        Judge(now);
    }

    /// <summary>A router on the way says that packets larger than this do not pass.</summary>
    /// <param name="bytes">The size, as it is for a probe's packet.</param>
    /// <param name="now">Nanoseconds.</param>
    public void Told(int bytes, long now)
    {
        if (bytes <= 0 || bytes >= Largest || (_narrow && bytes >= Confirmed)) return;
        if (bytes < BaseBytes) _told = bytes;
        Narrow(bytes + 1, bytes, now);
    }

    /// <summary>Other packets are wanted, or the first link carries another size.</summary>
    public void Want(int largest)
    {
        if (largest == Largest) return;
        bool all = _refused > Largest;
        Largest = largest;
        if (all || _refused > largest) _refused = largest + 1;
        Confirmed = Math.Min(Confirmed, largest);
        _narrow &= Confirmed < largest;
    }

    /// <summary>Time goes on: what was refused long ago is tried again.</summary>
    public void Poll(long now)
    {
        if (now < _raiseAt) return;
        _raiseAt = long.MaxValue;
        (_refused, _told, _candidateLosses) = (Largest + 1, 0, 0);
    }

    /// <summary>Nothing comes back any more: what is known of the path is no longer true.</summary>
    public void Forget()
    {
        (Confirmed, _refused, _narrow, _told) = (0, Largest + 1, false, 0);
        (_candidateLosses, _confirmedLosses) = (0, 0);
        (_confirmedAt, _aliveAt, _aliveSince, _raiseAt) = (-1, -1, -1, long.MaxValue);
    }

    // Losses count when something sent behind the first of them was answered.
    private void Judge(long now)
    {
        if (_confirmedLosses >= MaxProbes && _aliveAt > _firstConfirmedLoss && Confirmed > Base) Narrow(Confirmed, Base, now);
        if (_candidateLosses >= MaxProbes && _aliveAt > _firstCandidateLoss) Narrow(_candidateLost, Confirmed, now);
    }

    private void Narrow(int refused, int confirmed, long now)
    {
        _refused = refused;
        Confirmed = confirmed;
        _narrow = true;
        (_candidateLosses, _confirmedLosses) = (0, 0);
        _raiseAt = Candidate == 0 ? now + RaiseAfterNs : long.MaxValue;
    }
}
