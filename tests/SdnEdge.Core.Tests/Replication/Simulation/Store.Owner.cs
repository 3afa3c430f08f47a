using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

// Ownership, and the answers to the guest.
internal sealed partial class Store
{
    private readonly Dictionary<long, Action<PrimaryCommand>> _asked = [];

    private const long GivingWay = -1;
    private ulong _givesWayTo;

    // The other store was promoted by a person.
    private void GiveWay(ulong epoch)
    {
        world.Count("gives way");
        _givesWayTo = epoch;
        ulong seen = Math.Max(epoch, Ownership.Record.Seen);
        var kind = Ownership.Record.Role == OwnerRole.Owner ? OwnershipOrderKind.Seal : OwnershipOrderKind.Release;
        StepOwnership(new OwnershipOrderArrived(new(GivingWay, kind, seen) { OwnerEpoch = epoch }, Facts));
    }

    /// <summary>An order of the manager, as it arrives.</summary>
    public void Deliver(OwnershipOrder order)
    {
        if (!IsUp) return;
        world.Tell($"store {Name} <- {order.Kind} {order.Epoch}");
        StepOwnership(new OwnershipOrderArrived(order, Facts));
    }

    /// <summary>A request of the manager to the owner's machine.</summary>
    public void Ask(long ticket, PrimaryInput input, Action<PrimaryCommand> answer)
    {
        if (!IsUp || Primary is null) return;
        _asked[ticket] = answer;
        StepPrimary(input);
    }

    public void AskDrain(long ticket, Action<PrimaryCommand> answer)
        => Ask(ticket, new DrainAsked(ticket, Last, World.Root(Content())), answer);

    public void StepOwnership(OwnershipInput input)
    {
        (Ownership, IReadOnlyList<OwnershipCommand> commands) = OwnershipMachine.Step(Ownership, input);
        foreach (OwnershipCommand command in commands) Carry(command);
    }

    public void StepPrimary(PrimaryInput input)
    {
        if (Primary is null) return;
        Retain(input);
        (Primary, IReadOnlyList<PrimaryCommand> commands) = PrimaryMachine.Step(Primary, input, world.Now);
        foreach (PrimaryCommand command in commands) Carry(command);
        Answer();
    }

    private void Carry(OwnershipCommand command)
    {
        switch (command)
        {
            case StopAdmission:
                LogPoint last = Last;
                After(DiskDelay, () =>
                {
                    Synced(last);
                    StepPrimary(new LocalSynced(DurableLast.Sequence));
                    StepOwnership(new AdmissionStopped(last));
                });
                break;
            case WriteOwnership(var record):
                if (world.Mutant == Mutant.AnswersBeforeDisk)
                {
                    After(150 * World.Ms, () => _ownershipOnDisk = record);
                    StepOwnership(new OwnershipSynced());
                    break;
                }

                After(DiskDelay, () =>
                {
                    _ownershipOnDisk = record;
                    StepOwnership(new OwnershipSynced());
                });
                break;
            case BeginEpoch(var epoch, _):
                Begin(epoch);
                break;
            case CloseOthers(var client):
                foreach (Request request in _parked.Where(r => r.Guest.Identity != client).ToList())
                {
                    _parked.Remove(request);
                    StepOwnership(new ParkedChanged(-1, -4096));
                    Submit(request);
                }

                break;
            case RefuseParked:
                foreach ((Request request, _) in _pending) request.Guest.Done(request, false);
                _pending.Clear();
                Break();
                if (Primary is not null || Replica is null)
                {
                    _replicaOnDisk = new ReplicaRecord(Guid.Empty, CopyPhase.Following);
                    Follow();
                }

                break;
            case AnswerOwnership(GivingWay, var gave):
                // Sealed: everything that has a sequence is durable; then it follows.
                if (gave.Kind == OwnershipOrderKind.Seal) GiveWay(_givesWayTo);
                break;
            case RefuseOwnership(GivingWay, _):
                break;
            case AnswerOwnership(var ticket, var reply):
                world.Post(Site, () => world.Manager.Answered(ticket, reply, null));
                break;
            case RefuseOwnership(var ticket, var refusal):
                world.Tell($"store {Name} refuses: {refusal.Kind} {refusal.Detail}");
                world.Post(Site, () => world.Manager.Answered(ticket, null, refusal));
                break;
        }

        Reconsider();
    }

    private void Begin(ulong epoch)
    {
        bool wasOwner = Primary is not null;
        if (!wasOwner || Primary!.Record.Epoch < epoch) Break();
        if (wasOwner)
        {
            bool raised = Primary!.Record.Epoch < epoch;
            StepPrimary(new EpochRaised(epoch));
            if (!raised) return;
        }
        else
        {
            if (_replicaOnDisk.Phase != CopyPhase.Following) Rewind();
            _primaryOnDisk = new PrimaryRecord(Guid.Empty, epoch, ReplicationMode.Async);
            (_kept, _replicaOnDisk) = (null, new ReplicaRecord(Guid.Empty, CopyPhase.Following));
        }

        world.Began(this, Last, world.Manager.IsPlanned && !wasOwner, Ownership.Record.ForcedBy is not null && !wasOwner, wasOwner);
        if (wasOwner) Append(LogRecordKind.Epoch, 0, 0, epoch);
        else Own(epoch);
        world.Tell($"store {Name} is the owner under epoch {epoch} from {Last} on");
    }

    private void Admit(Request request)
    {
        Admission admission = OwnershipMachine.Admit(Ownership, request.Guest.Identity, world.Now);
        switch (admission)
        {
            case Admission.Admit when Primary is not null:
                LogPoint point = Append(request.IsFlush ? LogRecordKind.Barrier : LogRecordKind.Write, request.Block, request.Value,
                    Primary.Record.Epoch);
                _pending.Add((request, point));
                Answer();
                break;
            case Admission.NotPermitted:
                request.Guest.Done(request, false);
                break;
            case Admission.HoldConnection:
                After(20 * World.Ms, () => Submit(request));
                break;
            default:
                _parked.Add(request);
                StepOwnership(new ParkedChanged(1, 4096));
                break;
        }
    }

    // The role, the grant or the lease may have changed.
    private void Reconsider()
    {
        for (int i = 0; i < _parked.Count;)
        {
            Request request = _parked[i];
            Admission admission = OwnershipMachine.Admit(Ownership with { Parked = 0, ParkedBytes = 0 }, request.Guest.Identity, world.Now);
            if (admission == Admission.Park || (admission == Admission.Admit && Primary is null))
            {
                i++;
                continue;
            }

            _parked.RemoveAt(i);
            (Ownership, _) = OwnershipMachine.Step(Ownership, new ParkedChanged(-1, -4096));
            if (request.Guest.Waits(request)) Admit(request);
        }

        Answer();
    }

    private void Answer()
    {
        for (int i = 0; i < _pending.Count && Primary is { } primary;)
        {
            (Request request, LogPoint point) = _pending[i];
            ulong limit = request.IsFlush ? primary.BarrierLimit : primary.WriteLimit;
            if (world.Mutant == Mutant.RemoteAloneAnswers && primary.InForce == ReplicationMode.Sync) limit = Math.Max(limit,
                primary.Durable);
            bool may = world.Mutant == Mutant.LeaseAtAdmissionOnly ? Ownership.Record.Role is OwnerRole.Owner or OwnerRole.Sealed
                : OwnershipMachine.MayAnswer(Ownership, request.Guest.Identity, world.Now);
            if (point.Sequence > limit || !may)
            {
                i++;
                continue;
            }

            _pending.RemoveAt(i);
            if (!request.Guest.Waits(request)) continue;
            ReplicationMode promise = primary.Record.Mode;
            bool holds = point.Sequence >= primary.InForceFrom;
            world.Acknowledged(new Ack(primary.Record.Epoch, point, request.IsFlush,
                holds && (promise == ReplicationMode.Sync || (promise == ReplicationMode.Semantic && request.IsFlush)),
                request.IsFlush || (holds && promise == ReplicationMode.Sync && primary.InForce == ReplicationMode.Sync)), this,
                    request.Guest);
            request.Guest.Done(request, true);
        }
    }

    private void Carry(PrimaryCommand command)
    {
        switch (command)
        {
            case WritePrimary(var record):
                After(DiskDelay, () =>
                {
                    if (Primary is null) return;
                    _primaryOnDisk = record;
                    StepPrimary(new PrimarySynced());
                });
                break;
            case FlipMode:
                // Behind the step that asked for it, and before anything else.
                world.Count("flips");
                After(0, () => StepPrimary(new ModeFlipped(Last, World.Root(Content()))));
                break;
            case AskProof(var proof):
                SendProofRequest(proof);
                break;
            case ReportStale(var epoch, var mark):
                if (world.Mutant == Mutant.UnreportedStale) After(0, () => StepPrimary(new StaleConfirmed(mark.Generation)));
                else Report(() => world.Manager.Stale(epoch, mark.Generation), () => new StaleConfirmed(mark.Generation));
                break;
            case ReportInSync(var epoch, var generation, _):
                Report(() => world.Manager.InSync(epoch, generation), () => new InSyncConfirmed(generation));
                break;
            case ModeReached(var ticket, _, _) when _asked.Remove(ticket, out Action<PrimaryCommand>? asked):
                asked(command);
                break;
            case ModeGivenUp(var ticket, _) when _asked.Remove(ticket, out Action<PrimaryCommand>? asked):
                asked(command);
                break;
            case DrainProved(var ticket, _) when _asked.Remove(ticket, out Action<PrimaryCommand>? asked):
                asked(command);
                break;
            case DrainRefused(var ticket, var reason) when _asked.Remove(ticket, out Action<PrimaryCommand>? asked):
                world.Tell($"store {Name}: drain refused: {reason}");
                asked(command);
                break;
            case RaiseAlarm(var alarm, var detail):
                world.Count(alarm.ToString());
                world.Tell($"store {Name} alarm {alarm}: {detail}");
                if (alarm == ReplicationAlarm.CopiesDiffer) world.Fail($"store {Name}: {detail}");
                break;
        }
    }

    private void Report(Func<bool> deliver, Func<PrimaryInput> confirmed)
    {
        int life = _life;
        ulong epoch = Primary!.Record.Epoch;
        world.Post(Site, () =>
        {
            if (!world.Manager.IsUp || !deliver()) return;
            world.Post(Site, () =>
            {
                if (life == _life && Primary?.Record.Epoch == epoch) StepPrimary(confirmed());
            });
        });
    }
}
