using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>Where a move or a fail-over is.</summary>
internal enum Stage
{
    Idle, Preparing, Syncing, Stopping, Draining, Sealing, Confirming, Granting, Starting, Releasing, Undoing, Fencing, Voiding,
}

/// <summary>
/// The manager, as far as the stores see it: it moves the volume, undoes, voids, and fails over. Its journal's fields survive a crash; an
/// append is one assignment of them (R8).
/// </summary>
internal sealed class Manager(World world)
{
    public const long LeaseTime = 300 * World.Ms;

    private readonly Dictionary<long, Action<OwnershipReply?, OwnershipRefusal?>> _open = [];
    private readonly HashSet<string> _done = [];

    // The journal.
    private Stage _stage;
    private ulong _highest = 1, _ownerEpoch = 1, _epoch;
    private LogPoint? _sealedAt;
    private (ulong Epoch, ulong Generation, bool IsSet) _stale;
    private bool _byPerson;
    private bool _forced, _noLease, _guestDead, _isVoiding, _wasStale;
    private int _target;

    private long _ticket, _since, _leaseGiven, _life;

    public int OwnerSite { get; private set; }

    public bool IsPlanned { get; private set; }

    public bool IsUp { get; private set; }

    public void Start()
    {
        IsUp = true;
        _leaseGiven = world.Now;
        _since = world.Now;
        _done.Clear();
        long life = ++_life;
        void Again()
        {
            if (life != _life || !IsUp) return;
            Act();
            world.At(world.Random.Next(20, 60) * World.Ms, Again);
        }

        world.At(World.Ms, Again);
    }

    public void Crash(long down)
    {
        if (!IsUp) return;
        world.Tell("the manager crashes");
        IsUp = false;
        _open.Clear();
        world.At(down, Start);
    }

    public void RenewLease(Store store, Action answer)
    {
        if (!IsUp || store.Site != OwnerSite || _noLease) return;
        _leaseGiven = world.Now;
        answer();
    }

    /// <summary>A report of an owner; only that of the owner on record counts.</summary>
    public bool Stale(ulong epoch, ulong generation)
    {
        if (epoch != _ownerEpoch) return false;
        if (epoch > _stale.Epoch || (epoch == _stale.Epoch && generation > _stale.Generation)) _stale = (epoch, generation, true);
        world.Tell($"manager: the replica is stale ({epoch}, {generation})");
        world.Count("stale");
        return true;
    }

    public bool InSync(ulong epoch, ulong generation)
    {
        if (epoch != _ownerEpoch) return false;
        if (_stale.Epoch == epoch && _stale.Generation == generation) _stale.IsSet = false;
        world.Count("in sync again");
        return true;
    }

    public void Answered(long ticket, OwnershipReply? reply, OwnershipRefusal? refusal)
    {
        if (IsUp && _open.Remove(ticket, out Action<OwnershipReply?, OwnershipRefusal?>? then)) then(reply, refusal);
    }

    private void Go(Stage stage)
    {
        world.Tell($"manager: {_stage} -> {stage} (epoch {_epoch}, owner {OwnerSite} under {_ownerEpoch})");
        _stage = stage;
        _since = world.Now;
        _done.Clear();
        _open.Clear();
    }

    private bool TimedOut(long ms) => world.Now - _since > ms * World.Ms;

    // Sent at every look until it is answered; the answer counts in this stage only.
    private bool Ordered(int site, OwnershipOrderKind kind, ulong epoch, Action<OwnershipReply?, OwnershipRefusal?>? then = null,
        Func<OwnershipOrder, OwnershipOrder>? more = null)
    {
        string key = $"{site} {kind} {epoch}";
        if (_done.Contains(key)) return true;
        var order = new OwnershipOrder(++_ticket, kind, epoch);
        order = more?.Invoke(order) ?? order;
        _open[order.Ticket] = (reply, refusal) =>
        {
            if (reply is not null) _done.Add(key);
            then?.Invoke(reply, refusal);
        };
        world.Post(site, () => world.Stores[site].Deliver(order));
        return false;
    }

    private void Act()
    {
        int other = 1 - OwnerSite;
        switch (_stage)
        {
            case Stage.Idle when TimedOut(world.Random.Next(100, 900)):
                Decide();
                break;
            case Stage.Idle:
                Ask(OwnerSite, t => new ModeAsked(t, world.Mode), _ => { });
                break;
            case Stage.Preparing:
                if (Ordered(OwnerSite, OwnershipOrderKind.Prepare, _epoch) & Ordered(other, OwnershipOrderKind.Prepare,
                    _epoch)) Go(Stage.Syncing);
                else if (TimedOut(1200)) Undo();
                break;
            case Stage.Syncing:
                Ask(OwnerSite, t => new ModeAsked(t, ReplicationMode.Sync), answer =>
                {
                    if (answer is ModeReached) Go(Stage.Stopping);
                });
                if (TimedOut(1500)) Undo();
                break;
            case Stage.Stopping:
                long life = _life;
                world.Guest.Stop(() =>
                {
                    if (IsUp && life == _life && _stage == Stage.Stopping) Go(world.Mutant == Mutant.GrantWithoutPoint ? Stage.Sealing
                        : Stage.Draining);
                });
                if (TimedOut(800)) Undo();
                break;
            case Stage.Draining:
                AskDrain();
                if (TimedOut(800) || world.Random.Next(40) == 0) Undo();
                break;
            case Stage.Sealing:
                Ordered(OwnerSite, OwnershipOrderKind.Seal, _epoch, (reply, _) =>
                {
                    if (reply?.SealedAt is not { } point) return;
                    _sealedAt = point;
                    if (world.Mutant == Mutant.GrantWithoutPoint) Pivot(planned: true);
                    else Go(Stage.Confirming);
                });
                if (TimedOut(800) || world.Random.Next(40) == 0) Undo();
                break;
            case Stage.Confirming:
                AskCopy(other, copy =>
                {
                    if (copy.IsConsistent && copy.Durable == _sealedAt) Pivot(planned: true);
                });
                if (TimedOut(800) || world.Random.Next(30) == 0) Undo();
                break;
            case Stage.Granting:
                Ordered(OwnerSite, OwnershipOrderKind.Grant, _epoch, (reply, refusal) =>
                {
                    if (reply is not null) Go(Stage.Starting);
                    else if (_byPerson) world.Tell("it is promoted again");
                    else if (refusal!.Kind != OwnershipRefusalKind.StoreFailed) Void();
                }, o => o with
                {
                    Client = ClientIdentity.Process(world.Guests.Count + 1, (ulong)(world.Guests.Count + 1) * 100),
                    Expected = IsPlanned && world.Mutant != Mutant.GrantWithoutPoint ? _sealedAt : null,
                    PromotedBy = _byPerson ? "a person" : null, IsStale = _wasStale,
                    ForcedBy = _forced || world.Mutant == Mutant.PromotesResync ? "the operator" : null,
                });
                if (!_byPerson && (TimedOut(2000) || world.Random.Next(60) == 0)) Void();
                break;
            case Stage.Starting:
                var guest = new Guest(world, world.Stores[OwnerSite], world.Guests.Count + 1);
                world.Guests.Add(guest);
                world.Guest = guest;
                guest.Run();
                _guestDead = false;
                _noLease = false;
                Go(Stage.Releasing);
                break;
            case Stage.Releasing:
                // Nobody tells the old owner that a person has promoted the other one: it hears of it by itself.
                if (_byPerson) world.Count("promoted");
                if (_byPerson || Ordered(other, OwnershipOrderKind.Release, _ownerEpoch)) Go(Stage.Idle);
                break;
            case Stage.Fencing:
                Fence();
                break;
            case Stage.Undoing:
                Undoing(other);
                break;
        }
    }

    private void Decide()
    {
        _epoch = ++_highest;
        (_forced, _isVoiding, _sealedAt, _byPerson) = (false, false, null, false);
        if (world.Random.Next(3) != 0)
        {
            IsPlanned = true;
            Go(Stage.Preparing);
            return;
        }

        IsPlanned = false;
        _byPerson = world.Random.Next(3) == 0;
        _noLease = true;
        if (!world.UsesLease || world.Random.Next(2) == 0) world.Stores[OwnerSite].Crash(world.Random.Next(200, 1500) * World.Ms);
        if (!world.UsesLease)
        {
            world.Guest.Kill();
            _guestDead = true;
        }

        Go(Stage.Fencing);
    }

    // An outage: the guest is dead, or the lease of its store has run out; then the copy is looked at.
    private void Fence()
    {
        if (world.UsesLease && world.Now < _leaseGiven + LeaseTime) return;
        if (TimedOut(2000))
        {
            Undo();
            return;
        }

        AskCopy(1 - OwnerSite, copy =>
        {
            var order = new OwnershipOrder(0, OwnershipOrderKind.Grant, _epoch) { IsStale = _stale.IsSet };
            if (OwnershipMachine.NotPromotable(order, copy) is not null)
            {
                world.Count(_stale.IsSet ? "not promoted, stale" : "not promoted, not consistent");
                if (world.Mutant == Mutant.PromotesResync && copy.LastConsistent is not null)
                {
                    Pivot(planned: false);
                    return;
                }

                if (world.Random.Next(3) != 0 || (!copy.IsConsistent && copy.LastConsistent is null))
                {
                    Undo();
                    return;
                }

                _forced = true;
            }

            Pivot(planned: false);
        });
    }

    private void Pivot(bool planned)
    {
        (_target, OwnerSite) = (OwnerSite, 1 - OwnerSite);
        _ownerEpoch = _epoch;

        // Whether the copy was stale is decided in the same append: a report that comes later is of an owner that is none any more (R8).
        _wasStale = _stale.IsSet && !planned;
        _stale = default;
        Go(Stage.Granting);
    }

    // R5: nobody has said "run" at the target, and from now on nobody will. The second pivot.
    private void Void()
    {
        world.Count("voided");
        OwnerSite = _target;
        _isVoiding = true;
        Undo();
    }

    // R2: giving up is a record too, under an epoch of its own.
    private void Undo()
    {
        _epoch = ++_highest;
        _ownerEpoch = _epoch;
        if (_wasStale && _isVoiding) _stale = (_epoch, 0, true);
        Go(Stage.Undoing);
    }

    private void Undoing(int other)
    {
        if (_isVoiding && !Ordered(other, OwnershipOrderKind.Seal, _epoch)) return;
        bool done = Ordered(OwnerSite, OwnershipOrderKind.Unpark, _epoch, (_, refusal) =>
        {
            if (refusal is { Kind: OwnershipRefusalKind.WrongRole })
                world.Fail($"an undo is refused, and nobody owns the volume: {refusal.Detail}");
        });
        if (done) _noLease = false;
        bool released = _isVoiding ? done && Ordered(other, OwnershipOrderKind.Release, _epoch) : Ordered(other,
            OwnershipOrderKind.Cancel, _epoch);
        if (!done || !released) return;
        if (!_guestDead)
        {
            world.Guest.Continue();
            Go(Stage.Idle);
            return;
        }

        // The guest is dead: it starts anew where it was, as another client.
        int number = world.Guests.Count + 1;
        Ordered(OwnerSite, OwnershipOrderKind.Grant, _epoch, (reply, _) =>
        {
            if (reply is null || !_guestDead) return;
            var guest = new Guest(world, world.Stores[OwnerSite], number);
            world.Guests.Add(guest);
            world.Guest = guest;
            guest.Run();
            _guestDead = false;
            Go(Stage.Idle);
        }, o => o with { Client = ClientIdentity.Process(number, (ulong)number * 100), Generation = (uint)number });
    }

    private void Ask(int site, Func<long, PrimaryInput> input, Action<PrimaryCommand> then)
    {
        long ticket = ++_ticket, life = _life, since = _since;
        Stage stage = _stage;
        world.Post(site, () => world.Stores[site].Ask(ticket, input(ticket), answer => world.Post(site, () =>
        {
            if (IsUp && life == _life && stage == _stage && since == _since) then(answer);
        })));
    }

    private void AskDrain()
    {
        long ticket = ++_ticket, life = _life, since = _since;
        int site = OwnerSite;
        world.Post(site, () => world.Stores[site].AskDrain(ticket, answer => world.Post(site, () =>
        {
            if (IsUp && life == _life && _stage == Stage.Draining && since == _since && answer is DrainProved) Seal();
        })));
    }

    private void Seal()
    {
        Go(Stage.Sealing);

        // QEMU may let its guest run on by itself after a migration that failed: what it writes until the seal is in the sealed history.
        if (world.Random.Next(6) != 0) return;
        world.Count("ran on by itself");
        world.Guest.Continue();
    }

    private void AskCopy(int site, Action<CopyFacts> then)
    {
        long life = _life, since = _since;
        Stage stage = _stage;
        world.Post(site, () =>
        {
            if (!world.Stores[site].IsUp) return;
            CopyFacts facts = world.Stores[site].Facts;
            world.Post(site, () =>
            {
                if (IsUp && life == _life && stage == _stage && since == _since) then(facts);
            });
        });
    }
}
