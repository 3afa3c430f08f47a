using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

// The loop, and what the machines want done.
internal sealed partial class ReplicatedVolume
{
    private async Task RunAsync()
    {
        try
        {
            Task<bool> more = _inputs.Reader.WaitToReadAsync(_stop.Token).AsTask();
            while (!_stop.IsCancellationRequested)
            {
                await Task.WhenAny(more, Task.Delay(s_look, _stop.Token)).ConfigureAwait(false);
                if (more.IsCompleted)
                {
                    if (!await more.ConfigureAwait(false)) return;
                    more = Task.FromResult(true);
                }

                Look();
                while (_inputs.Reader.TryRead(out object? input))
                {
                    switch (input)
                    {
                        case PrimaryInput primary:
                            Take(primary);
                            break;
                        case OwnershipInput ownership:
                            Take(ownership);
                            break;
                        case OwnershipOrder order:
                            Take(new OwnershipOrderArrived(order, Copy()));
                            break;
                        case VolumeGap taken:
                            LetGo(taken);
                            break;
                        case ReportAnswered answer:
                            TakeReport(answer);
                            break;
                    }
                }

                if (_primary is { } at && PrimaryMachine.NextDeadline(at) <= Monotonic.Now) Take(new Tick());
                if (more.IsCompleted) more = _inputs.Reader.WaitToReadAsync(_stop.Token).AsTask();
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
        catch (Exception e)
        {
            // A mistake of ours: nothing is admitted any more, and it is said.
            Volatile.Write(ref _admitted, null);
            _around.Tell("fault", $"nothing is taken any more: the store made a mistake ({e.GetType().Name}: {e.Message}); start it again");
        }
    }

    // What the log has become.
    private void Look()
    {
        if (_primary is null) return;
        VolumeLog log = Volume.Log;
        ulong last, durable;
        long end;
        lock (log.Gate) (last, durable, end) = (log.LastSequence, log.DurableSequence, log.EndPosition);
        if (last > _primary.Last) Take(new Appended(last, end));
        if (durable > _primary.LocalDurable) Take(new LocalSynced(durable));
        LookAtRoom();
    }

    private CopyFacts Copy()
    {
        ReplicaRecord record = _replica.State.OnDisk;
        bool consistent = IsOwner || record.Phase == CopyPhase.Following;
        LogPoint durable = Durable;
        return new CopyFacts(consistent, durable, record.LastConsistent ?? (consistent ? durable : null));
    }

    private void Take(PrimaryInput input)
    {
        if (_primary is null)
        {
            // Not the owner: nobody waits for what it was asked.
            if (input is ModeAsked mode) Fail(mode.Ticket, "this store does not own the volume; ask the one that does");
            if (input is DrainAsked drain) FailDrain(drain.Ticket, "this store does not own the volume; ask the one that does");
            return;
        }

        if (input is ModeAsked asked) Modes.Asked(_primary.Record.Epoch, asked.Mode, _primary.Lag.LagBytes, Monotonic.Now);
        (PrimaryState next, IReadOnlyList<PrimaryCommand> commands) = PrimaryMachine.Step(_primary, input, Monotonic.Now);
        lock (_lock) _primary = next;

        // A weaker mode holds at once; a stronger one is switched to under the same lock (Flip).
        if (next.InForce < _gate.Mode) Volume.WithSequenceLock(_ => _gate.Mode = next.InForce);
        _gate.IsSlow = next.InForce == ReplicationMode.Async && next.WriteLimit < next.Last;
        _gate.Open(next.WriteLimit, next.BarrierLimit);
        Retain(input, next);
        foreach (PrimaryCommand command in commands) Carry(command);
    }

    private void Carry(PrimaryCommand command)
    {
        switch (command)
        {
            case WritePrimary(var record):
                try
                {
                    _files.Write(record);
                }
                catch (IOException e)
                {
                    Take(new PrimarySyncFailed(e.Message));
                    break;
                }

                Take(new PrimarySynced());
                break;
            case FlipMode(var mode):
                Flip(mode);
                break;
            case AskProof(var proof):
                if (_session?.AskProof(proof) == false) _around.Tell("proof-late",
                    $"a proof at sequence {proof.Point.Sequence} could not be asked "
                    + "for: a later record is on its way; it is asked for again with the next link");
                _reader.Wake();
                break;
            case ModeReached(var ticket, var mode, var through):
                Modes.Reached(mode, Monotonic.Now);
                _around.Tell("mode", $"{Word(mode)}{(through > 0 ? $", the replica has everything up to sequence {through}" : "")}");
                if (TakeMode(ticket) is { } reached) reached.TrySetResult();
                break;
            case ModeGivenUp(var ticket, var reason):
                Fail(ticket, reason);
                break;
            case DrainProved(var ticket, var proof):
                lock (_lock)
                {
                    if (_drains.Remove(ticket, out TaskCompletionSource<DrainProof>? proved)) proved.TrySetResult(proof);
                }

                break;
            case DrainRefused(var ticket, var reason):
                FailDrain(ticket, reason);
                break;
            case RaiseAlarm(var alarm, var detail):
                _around.Tell("alarm", $"{Word(alarm)}: {detail}");
                break;
            case ClearAlarm(var alarm):
                _around.Tell("alarm-over", Word(alarm));
                break;
            case ReportStale(var epoch, var mark):
                Report(epoch, mark.Generation, mark.From);
                break;
            case ReportInSync(var epoch, var generation, _):
                Report(epoch, generation, null);
                break;
            default:
                throw new InvalidOperationException($"no command {command.GetType().Name}");
        }
    }

    // The switch holds from a sequence on; its proof is of the last record before it. Between the two nothing is sent.
    private void Flip(ReplicationMode mode)
    {
        // What can be applied before is: from the switch on every answer waits for this.
        _ = Volume.Drain(Volume.Log.LastSequence, out _);
        ulong last = 0;
        _reader.Ceiling = Volume.Log.LastSequence;
        try
        {
            Volume.WithSequenceLock(newest => (last, _gate.Mode) = (newest, mode));
            Modes.InForce(mode, Monotonic.Now);
            if (Volume.Drain(last, out int error) is { } proof)
            {
                _reader.Ceiling = proof.Sequence;
                Take(new ModeFlipped(proof.Sequence == 0 ? LogPoint.Start : new LogPoint(proof.Sequence, proof.Epoch, proof.Chain),
                    proof.Root));
                return;
            }

            _around.Tell("fault", $"the mode cannot be switched: the volume cannot be read up to sequence {last}: "
                + $"{RawFile.Describe(error)}");
        }
        finally
        {
            _reader.Ceiling = ulong.MaxValue;
        }
    }

    private void Take(OwnershipInput input)
    {
        (OwnershipState next, IReadOnlyList<OwnershipCommand> commands) = OwnershipMachine.Step(_ownership, input);
        lock (_lock) _ownership = next;
        if (next.IsClosed || next.Record.Role != OwnerRole.Owner) Volatile.Write(ref _admitted, null);
        foreach (OwnershipCommand command in commands) Carry(command);
        if (commands.Count > 0) Publish();
    }

    private void Carry(OwnershipCommand command)
    {
        switch (command)
        {
            case StopAdmission:
                StopAdmitting();
                break;
            case WriteOwnership(var record):
                try
                {
                    _files.Write(record);
                }
                catch (IOException e)
                {
                    Take(new OwnershipSyncFailed(e.Message));
                    break;
                }

                Take(new OwnershipSynced());
                break;
            case BeginEpoch(var epoch, var from):
                if (from is not null) PutBack();
                if (Volume.Log.Epoch < epoch) _ = Volume.BeginEpoch(epoch, out _);
                if (_primary is null || _primary.Record.Epoch != epoch) BeginOwning();
                break;
            case CloseOthers(var client):
                _around.Disconnect(c => client is not null && c == client);
                break;
            case RefuseParked:
                EndOwning();
                break;
            case AnswerOwnership(var ticket, var reply):
                _around.Tell(Word(reply.Kind), $"epoch {reply.Epoch}, {Word(reply.Role)}{(reply.Repeated ? ", repeated" : "")}");
                lock (_lock)
                {
                    if (_orders.Remove(ticket, out TaskCompletionSource<OwnershipReply>? answer)) answer.TrySetResult(reply);
                }

                break;
            case RefuseOwnership(var ticket, var refusal):
                _around.Tell("refused", refusal.Detail);
                lock (_lock)
                {
                    if (_orders.Remove(ticket, out TaskCompletionSource<OwnershipReply>? answer))
                        answer.TrySetException(new OwnershipRefusedException(refusal));
                }

                break;
        }
    }

    // Nobody is let in any more; those inside get their sequence in no time or make it durable, as is done here next.
    private void StopAdmitting()
    {
        // Whoever comes in from here on sees that nobody is let in.
        Interlocked.MemoryBarrier();
        var spin = default(SpinWait);
        while (Volatile.Read(ref _inside) > 0) spin.SpinOnce();

        // What waits for room in the log has no sequence yet. A server that stands still has nothing of that kind.
        long until = Environment.TickCount64 + (long)s_room.TotalMilliseconds;
        while (Volume.IsParking && Environment.TickCount64 < until) Thread.Sleep(1);
        if (Volume.IsParking)
        {
            Take(new AdmissionStopFailed($"requests have waited {s_room.TotalSeconds} s for room in the log; make room on its disk, then "
                + $"ask again"));
            return;
        }

        int error = Volume.Log.Commit();
        if (error != 0) Take(new AdmissionStopFailed(RawFile.Describe(error)));
        else Take(new AdmissionStopped(_reader.Last));
    }

    // Who waits looks again.
    private void Publish()
    {
        TaskCompletionSource changed;
        lock (_lock)
        {
            OwnershipRecord record = _ownership.Record;
            Volatile.Write(ref _admitted, record.Role == OwnerRole.Owner && !_ownership.IsClosed ? record.Client : null);
            (changed, _changed) = (_changed, new(TaskCreationOptions.RunContinuationsAsynchronously));
        }

        changed.TrySetResult();
    }

    private TaskCompletionSource? TakeMode(long ticket)
    {
        lock (_lock) return _modes.Remove(ticket, out TaskCompletionSource? reached) ? reached : null;
    }

    private void Fail(long ticket, string reason) => TakeMode(ticket)?.TrySetException(new IOException(reason));

    private void FailDrain(long ticket, string reason)
    {
        lock (_lock)
        {
            if (_drains.Remove(ticket, out TaskCompletionSource<DrainProof>? proved)) proved.TrySetException(new IOException(reason));
        }
    }

    private static string Word<T>(T value) where T : struct, Enum
        => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
