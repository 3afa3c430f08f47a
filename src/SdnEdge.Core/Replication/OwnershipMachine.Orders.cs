namespace SdnEdge.Core.Replication;

// The orders: how each begins, and what is done once its record is on disk.
public static partial class OwnershipMachine
{
    /// <summary>Why this copy may not become the owner's by this order; null = it may. The manager asks the same before it
    /// grants.</summary>
    /// <param name="order">A grant.</param>
    /// <param name="copy">The copy.</param>
    public static string? NotPromotable(OwnershipOrder order, CopyFacts copy)
    {
        ArgumentNullException.ThrowIfNull(order);
        ArgumentNullException.ThrowIfNull(copy);
        if (order.ForcedBy is not null)
        {
            return copy.IsConsistent || copy.LastConsistent is not null ? null
                : "the copy was never consistent: there is nothing here that an owner once had; finish the first copy, or restore another";
        }

        if (!copy.IsConsistent && copy.LastConsistent is null)
        {
            return "the first copy is under way: there is nothing here yet that an owner once had; wait for its end, or start the server "
                + "where the owner is";
        }

        if (!copy.IsConsistent)
        {
            return $"the copy is being resynchronized and is no state that an owner once had; its last consistent point is "
                + $"{copy.LastConsistent}: wait for the end, or force that point by name";
        }

        if (order.IsStale) return "the copy is on record as stale: acknowledged writes are missing here; repair the owner, or force "
            + "it by name";
        if (order.Expected is not { } expected || expected == copy.Durable) return null;
        return copy.Durable.Sequence < expected.Sequence
            ? $"the sealed owner ended at sequence {expected.Sequence}, this copy is durable up to {copy.Durable.Sequence}: drain it first"
            : $"the sealed owner ended at {expected}, this copy is at {copy.Durable}: the histories differ; resynchronize it";
    }

    private static OwnershipState Begin(OwnershipState state, CopyFacts copy, List<OwnershipCommand> commands)
    {
        OwnershipOrder order = state.Current!;
        OwnershipRecord record = state.Record;
        ulong epoch = order.Epoch;

        // R5: an old epoch's verdict is asked for after newer ones were seen, and is the same for ever.
        if (order.Kind == OwnershipOrderKind.Void) return BeginVoid(state, commands);
        if (epoch < record.Seen)
        {
            return Refused(state, OwnershipRefusalKind.StaleEpoch,
                $"{order.Kind} carries epoch {epoch}, but {record.Seen} was seen for this volume; ask the manager that holds the "
                    + "newest one",
                commands);
        }

        OwnershipRecord next = record with { Seen = epoch };
        switch (order.Kind)
        {
            case OwnershipOrderKind.Prepare:
                if (next.Role == OwnerRole.Released) next = next with { Role = OwnerRole.Replica };
                return WriteOrRepeat(state, next, commands);

            case OwnershipOrderKind.Seal when record.Role == OwnerRole.Owner:
                // Writes wait from here on, before anything is on disk: none may get a sequence behind the one that is answered.
                commands.Add(new StopAdmission());
                return state with { IsClosed = true };
            case OwnershipOrderKind.Seal:
                return WriteOrRepeat(state, next, commands);

            case OwnershipOrderKind.Unpark when record.Role is OwnerRole.Owner or OwnerRole.Sealed:
                if (record.Voided.Contains(epoch)) return RefusedVoid(state, commands);
                if (record.Role == OwnerRole.Owner && record.GrantedEpoch == epoch && !state.IsClosed) return Answered(state, true,
                    commands);
                return Write(state, next with
                {
                    Role = OwnerRole.Owner, Granted = With(record.Granted, epoch), OwnerEpoch = epoch, SealedAt = null,
                }, commands);

            case OwnershipOrderKind.Release:
                if (record.Role == OwnerRole.Owner && record.GrantedEpoch >= epoch)
                {
                    return Refused(state, OwnershipRefusalKind.WrongRole,
                        $"this store is the owner under epoch {record.GrantedEpoch} itself; release "
                        + "it with the epoch of the next owner", commands);
                }

                return WriteOrRepeat(state, next with { Role = OwnerRole.Released, OwnerEpoch = order.OwnerEpoch ?? epoch }, commands);

            case OwnershipOrderKind.Cancel when record.Role is OwnerRole.Replica or OwnerRole.Released:
                return WriteOrRepeat(state, next, commands);

            case OwnershipOrderKind.Grant:
                return BeginGrant(state, next, copy, commands);

            default:
                return Refused(state, OwnershipRefusalKind.WrongRole, $"{order.Kind} is not for a store that is {record.Role}"
                    + (order.Kind == OwnershipOrderKind.Cancel ? "; seal it under a higher epoch first" : ""), commands);
        }
    }

    private static OwnershipState BeginGrant(OwnershipState state, OwnershipRecord next, CopyFacts copy, List<OwnershipCommand> commands)
    {
        OwnershipOrder order = state.Current!;
        OwnershipRecord record = state.Record;
        if (record.Voided.Contains(order.Epoch)) return RefusedVoid(state, commands);
        if (record.Role == OwnerRole.Sealed || state.IsClosed)
        {
            return Refused(state, OwnershipRefusalKind.WrongRole,
                "this store is sealed; unpark it under a higher epoch, or release it and let it "
                + "follow before it is granted again", commands);
        }

        if (record.Role == OwnerRole.Owner)
        {
            if (order.Epoch != record.GrantedEpoch)
            {
                return Refused(state, OwnershipRefusalKind.WrongRole,
                    $"this store is the owner under epoch {record.GrantedEpoch}; a higher one is "
                    + "given by unpark", commands);
            }

            // The same grant again, or the next client of the same epoch.
            if (order.Generation < record.Generation || (order.Generation == record.Generation && order.Client == record.Client))
            {
                return order.Generation < record.Generation
                    ? Refused(state, OwnershipRefusalKind.StaleEpoch, $"generation {record.Generation} of this grant was seen, this is "
                        + $"{order.Generation}", commands)
                    : Answered(state, true, commands);
            }

            return Write(state, next with { Generation = order.Generation, Client = order.Client }, commands);
        }

        if (NotPromotable(order, copy) is { } reason) return Refused(state, OwnershipRefusalKind.NotPromotable, reason, commands);
        return Write(state, next with
        {
            Role = OwnerRole.Owner, Granted = With(record.Granted, order.Epoch), OwnerEpoch = order.Epoch, SealedAt = null,
            Generation = order.Generation, Client = order.Client, ForcedBy = order.ForcedBy, PromotedBy = order.PromotedBy,
        }, commands) with { RewindTo = copy.IsConsistent ? null : copy.LastConsistent };
    }

    private static OwnershipState BeginVoid(OwnershipState state, List<OwnershipCommand> commands)
    {
        ulong epoch = state.Current!.Epoch;
        if (state.Record.Granted.Contains(epoch)) return Answered(state, true, commands, GrantVerdict.Ran);
        if (state.Record.Voided.Contains(epoch)) return Answered(state, true, commands, GrantVerdict.Void);
        return Write(state, state.Record with
        {
            Seen = Math.Max(state.Record.Seen, epoch), Voided = With(state.Record.Voided, epoch),
        }, commands);
    }

    private static OwnershipState RefusedVoid(OwnershipState state, List<OwnershipCommand> commands)
        => Refused(state, OwnershipRefusalKind.VoidEpoch,
        $"epoch {state.Current!.Epoch} was said to be void here and is never granted; take a "
            + "higher one", commands);

    private static OwnershipState WriteOrRepeat(OwnershipState state, OwnershipRecord next, List<OwnershipCommand> commands)
        => next == state.Record ? Answered(state, true, commands) : Write(state, next, commands);

    // The record of the current order, or of an owner that was seen, is on disk.
    private static OwnershipState Written(OwnershipState state, List<OwnershipCommand> commands)
    {
        switch (state.Current?.Kind)
        {
            case null:
                return state;
            case OwnershipOrderKind.Unpark:
                state = state with { IsClosed = false };
                commands.Add(new BeginEpoch(state.Record.GrantedEpoch));
                break;
            case OwnershipOrderKind.Grant:
                commands.Add(new CloseOthers(state.Record.Client));
                commands.Add(new BeginEpoch(state.Record.GrantedEpoch, state.RewindTo));
                state = state with { RewindTo = null };
                break;
            case OwnershipOrderKind.Release:
                // What was closed by a seal is refused now, not parked.
                state = state with { IsClosed = false };
                commands.Add(new RefuseParked());
                break;
            case OwnershipOrderKind.Cancel:
                commands.Add(new CloseOthers(null));
                break;
            case OwnershipOrderKind.Void:
                return Answered(state, false, commands, GrantVerdict.Void);
        }

        return Answered(state, false, commands);
    }
}
