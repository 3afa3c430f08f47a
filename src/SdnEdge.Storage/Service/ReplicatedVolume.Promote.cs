using System.Buffers.Binary;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Service;

// What a person decides where a site is lost, and what follows from it by itself.
internal sealed partial class ReplicatedVolume
{
    private const string HeardFile = "owner-answered";

    private ulong _heardKept;
    private string _ended = "";

    /// <summary>What was put aside of this volume.</summary>
    public VolumeBranches Branches => _files.Branches;

    /// <summary>What a person who promotes the copy has to know.</summary>
    public PromotionFacts Facts() => new(Volume.Metadata.Name, Peer, Ownership.Record.Role, Copy(), _replica.State.Following > 0,
        _replica.OwnerAnswered);

    /// <summary>Makes this store the owner, because that of the other site is lost; returns when it is.</summary>
    /// <param name="force">The volume's name, where something is lost by it.</param>
    /// <param name="epoch">The epoch; 0 = the next.</param>
    /// <param name="client">Who may write; null = nobody before a grant.</param>
    /// <param name="who">Who promotes it, for people.</param>
    /// <param name="cancel">Ends the waiting; it is done nevertheless.</param>
    /// <exception cref="OwnershipRefusedException">It is refused: the message says what would be lost.</exception>
    public Task<OwnershipReply> PromoteAsync(string? force, ulong epoch, ClientIdentity? client, string who, CancellationToken cancel)
    {
        if (Promotion.Refusal(Facts(), force, out bool cannot) is { } why)
            throw new OwnershipRefusedException(new(cannot ? OwnershipRefusalKind.WrongRole : OwnershipRefusalKind.NotPromotable, why));
        OwnershipRecord now = Ownership.Record;
        ulong next = Math.Max(now.Seen, Math.Max(now.OwnerEpoch, now.GrantedEpoch)) + 1;
        if (epoch > 0 && epoch < next)
        {
            throw new OwnershipRefusedException(new(OwnershipRefusalKind.StaleEpoch,
                $"epoch {epoch} was seen or granted before; {next} is the next"));
        }

        return OrderAsync(OwnershipOrderKind.Grant, Math.Max(epoch, next), order => order with
        {
            Client = client, ForcedBy = force is null ? null : who, PromotedBy = who,
        }, cancel);
    }

    /// <summary>Replica: a copy of everything is made, whatever the histories say. Owner: it gives the volume up to the other store, which
    /// has said that it is the owner under a higher epoch.</summary>
    /// <param name="force">The volume's name, where this store is the owner.</param>
    /// <param name="cancel">Ends the waiting; it is done nevertheless.</param>
    /// <exception cref="OwnershipRefusedException">It is refused: the message says what would be lost.</exception>
    public async Task ResyncAsync(string? force, CancellationToken cancel)
    {
        OwnershipRecord now = Ownership.Record;
        string name = Volume.Metadata.Name;
        if (now.Role is not (OwnerRole.Owner or OwnerRole.Sealed))
        {
            await CopyAnewAsync(cancel).ConfigureAwait(false);
            _around.Tell("resync", $"a copy of everything was asked for; it begins when {Peer} connects");
            return;
        }

        ulong epoch = _replica.RefusedEpoch;
        if (epoch <= now.GrantedEpoch)
        {
            throw new OwnershipRefusedException(new(OwnershipRefusalKind.WrongRole,
                $"this store owns {name} under epoch {now.GrantedEpoch}, and {Peer} has not said that it owns it under a higher one: "
                + "there is nothing to follow; promote it there first"));
        }

        if (force != name)
        {
            throw new OwnershipRefusedException(new(OwnershipRefusalKind.NotPromotable,
                $"this store owns {name} under epoch {now.GrantedEpoch}, {Peer} under {epoch}; --force {name} gives it up here: writes of "
                + "clients are refused from then on, and what only this store has goes aside as a branch"));
        }

        await GiveUpAsync(epoch, cancel).ConfigureAwait(false);
    }

    private async Task CopyAnewAsync(CancellationToken cancel)
    {
        // The connection there is ends; the next one begins with a copy.
        await _followed.CancelAsync().ConfigureAwait(false);
        await _following.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            _followed.Dispose();
            _followed = new CancellationTokenSource();
            await _replica.CopyAnewAsync(cancel).ConfigureAwait(false);
        }
        finally
        {
            _following.Release();
        }
    }

    // The other store was promoted by a person, under a higher epoch: this one gives way.
    private async Task GiveWayAsync(CancellationToken cancel)
    {
        ulong epoch = _replica.RefusedEpoch;
        if (!OwnershipMachine.GivesWay(Ownership.Record, epoch, _replica.RefusedIsFinal)) return;
        _around.Tell("gives-way", $"{Peer} was promoted under epoch {epoch}: this store gives {Volume.Metadata.Name} up and follows it");
        try
        {
            await GiveUpAsync(epoch, cancel).ConfigureAwait(false);
        }
        catch (OwnershipRefusedException e)
        {
            _around.Tell("fault", $"it cannot give {Volume.Metadata.Name} up: {e.Message}");
        }
    }

    // Sealed first: whoever is inside has its sequence, and everything that was answered goes aside.
    private async Task GiveUpAsync(ulong epoch, CancellationToken cancel)
    {
        ulong seen = Math.Max(epoch, Ownership.Record.Seen);
        if (Ownership.Record.Role == OwnerRole.Owner)
            await OrderAsync(OwnershipOrderKind.Seal, seen, order => order, cancel).ConfigureAwait(false);
        await OrderAsync(OwnershipOrderKind.Release, seen, order => order with { OwnerEpoch = epoch }, cancel).ConfigureAwait(false);
    }

    private Task<OwnershipReply> OrderAsync(
        OwnershipOrderKind kind, ulong epoch, Func<OwnershipOrder, OwnershipOrder> with, CancellationToken cancel)
    {
        long ticket = Interlocked.Increment(ref _tickets);
        var answer = new TaskCompletionSource<OwnershipReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _orders.Add(ticket, answer);
        Post(with(new OwnershipOrder(ticket, kind, epoch)));
        return answer.Task.WaitAsync(cancel);
    }

    // What the owner has answered is known after a restart of this store, too.
    private void KeepHeard()
    {
        ulong heard = _replica.OwnerAnswered;
        if (heard == _heardKept) return;
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, heard);
        try
        {
            CheckedFile.Write(Path.Combine(_files.Folder, HeardFile), bytes);
            _heardKept = heard;
        }
        catch (IOException e)
        {
            _around.Tell("fault", $"how far the owner was cannot be written: {e.Message}");
        }
    }

    private ulong Heard()
    {
        try
        {
            return CheckedFile.Read(Path.Combine(_files.Folder, HeardFile)) is { Length: 8 } bytes
                ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;
        }
        catch (IOException)
        {
            return 0;
        }
    }

    // A promotion that was forced in the middle of a copy. Its record is on disk, so that this is repeated after a crash.
    private void PutBack()
    {
        string name = Volume.Metadata.Name;
        if (Volume.IsCopying)
        {
            int error = Volume.GoBack(VolumeReplicaSink.KeptPoint);
            if (error != 0)
                throw new IOException($"volume {name} cannot be put back to its last consistent point: {RawFile.Describe(error)}");
            _around.Tell("put-back", $"it is what it was at sequence {Volume.Log.LastSequence}, before the copy that was broken off");
        }

        if (Volume.Points.Any(p => p.Name == VolumeReplicaSink.KeptPoint)) Volume.DropPoint(VolumeReplicaSink.KeptPoint);
    }
}
