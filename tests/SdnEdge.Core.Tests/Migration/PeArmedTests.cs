using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;
using static SdnEdge.Core.Tests.Migration.PeExecutionTests;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>A source that switches by itself when what it watches fails.</summary>
public sealed class PeArmedTests
{
    private const string Id = "m1";
    private static readonly WatchedPart[] Watch = [new WatchedPart(Bfd: "10.1.1.10"), new WatchedPart(Carrier: "eth1")];

    [Fact]
    public void It_flips_by_one_store_and_goes_back_by_three_steps()
    {
        PeMigrationFsm fsm = Armed();
        Assert.Equal<PeCommand>([new SwitchToTunnel(Id)], fsm.Result(Id, new WatchFailed(), 2).Commands);
        Assert.Equal(PeMigrationState.Flipped, fsm.Find(Id)!.State);
        Assert.Empty(fsm.Result(Id, new WatchFailed(), 3).Commands);
        uint tag = fsm.Find(Id)!.Tag;
        Assert.Equal<PeCommand>([new GiveBack(Id, "mig-m1", tag)], fsm.Result(Id, new WatchIsBack(), 4).Commands);
        Assert.Equal(PeMigrationState.Returning, fsm.Find(Id)!.State);
        Assert.Empty(fsm.Result(Id, new WatchFailed(), 5).Commands);
        Assert.Equal<PeCommand>([new ArmAgain(Id, "mig-m1")], fsm.Result(Id, new Returned(), 6).Commands);
        Assert.Equal(PeMigrationState.Prepared, fsm.Find(Id)!.State);
        Assert.Equal<PeCommand>([new SwitchToTunnel(Id)], fsm.Result(Id, new WatchFailed(), 7).Commands);
    }

    [Fact]
    public void A_switch_confirms_a_flip_and_is_refused_while_it_is_taken_back()
    {
        PeMigrationFsm fsm = Armed();
        fsm.Result(Id, new WatchFailed(), 2);
        fsm.Result(Id, new TunnelHealth(false), 3);
        Assert.Equal<PeCommand>([new SwitchToTunnel(Id)], fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 4).Commands);
        Assert.Equal(PeMigrationState.Switched, fsm.Find(Id)!.State);
        Assert.Empty(fsm.Result(Id, new WatchIsBack(), 5).Commands);

        fsm = Armed();
        fsm.Result(Id, new WatchFailed(), 2);
        fsm.Result(Id, new WatchIsBack(), 3);
        PeRefusal refusal = fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 4).Refusal!;
        Assert.Equal((PeRefusalReason.WrongState, true),
            (refusal.Reason, refusal.Detail.Contains("is returning at its source", StringComparison.Ordinal)));
    }

    [Fact]
    public void It_does_not_flip_while_its_tunnel_is_down_or_a_signal_is_being_carried_out_and_says_why()
    {
        PeMigrationFsm fsm = Armed();
        fsm.Result(Id, new TunnelHealth(false), 2);
        Assert.Empty(fsm.Result(Id, new WatchFailed(), 3).Commands);
        Assert.Equal("no full-size probe has come back through tunnel mig-m1 to 10.255.0.2", fsm.WouldFlip(Id));
        fsm.Result(Id, new TunnelHealth(true), 4);
        Assert.Null(fsm.WouldFlip(Id));
        fsm.Signal(Id, SignalKind.Abort, new SignalRequest(1), 5);
        Assert.Empty(fsm.Result(Id, new WatchFailed(), 6).Commands);
        Assert.Equal("abort is being carried out", fsm.WouldFlip(Id));
        fsm.Result(Id, new ExecutionFailed(SignalKind.Abort), 7);
        Assert.Empty(fsm.Result(Id, new WatchFailed(), 8).Commands);
        Assert.Equal("abort was begun and not carried out to its end", fsm.WouldFlip(Id));
    }

    [Fact]
    public void A_repetition_with_other_parts_to_watch_is_a_conflict()
    {
        PeMigrationFsm fsm = Armed();
        SignalRequest prepare = Request(MigrationRole.Source, SignalKind.Prepare);
        Assert.True(fsm.Do(Id, SignalKind.Prepare, prepare with { Watch = [.. Watch] }, 2).Repeated);
        Assert.Equal(PeRefusalReason.Conflict, fsm.Do(Id, SignalKind.Prepare, prepare with { Watch = [Watch[0]] }, 3).Refusal!.Reason);
    }

    private static readonly Gen<int> AnyStep = Gen.Choose(0, 13);

    /// <summary>
    /// Whatever comes in whatever order, and with a restart behind any of it: packets go where the state says, a confirmed switch is never
    /// taken back but by an abort, and where it ends nothing is left.
    /// </summary>
    [Property(MaxTest = 2000)]
    public Property Packets_go_where_the_state_says() => Prop.ForAll(AnyStep.ListOf().ToArbitrary(), steps =>
    {
        PeMigrationFsm fsm = Armed();
        var tables = new Tables { Way = "native", IsThere = true };
        long epoch = 1;
        bool confirmed = false;
        foreach (int step in steps)
        {
            PeMigrationState before = fsm.Find(Id)!.State;
            switch (step)
            {
                case 0 or 1 or 2:
                    tables.Obey(fsm.Result(Id, new WatchFailed(), 2).Commands);
                    break;
                case 3 or 4:
                    tables.Obey(fsm.Result(Id, new WatchIsBack(), 2).Commands);
                    break;
                case 5 or 6:
                    tables.Obey(fsm.Result(Id, new Returned(), 2).Commands);
                    break;
                case 7:
                    fsm.Result(Id, new TunnelHealth(false), 2);
                    break;
                case 8:
                    fsm.Result(Id, new TunnelHealth(true), 2);
                    break;
                case 9:
                    PeStep switched = fsm.Do(Id, SignalKind.Switch, new SignalRequest(epoch), 2);
                    tables.Obey(switched.Commands);
                    confirmed |= switched.Refusal is null;
                    break;
                case 10:
                    tables.Obey(fsm.Do(Id, SignalKind.Abort, new SignalRequest(++epoch), 2).Commands);
                    break;
                case 11:
                    tables.Obey(fsm.Do(Id, SignalKind.Withdraw, new SignalRequest(epoch), 2).Commands);
                    break;
                default:
                    fsm = PeMigrationFsm.Restore(PeStateFile.Read(PeStateFile.Write(fsm.Save(), "pe-a"), "pe-a", out _)!,
                        out IReadOnlyList<Restoration> toDo);
                    tables = new Tables { Way = "native" };
                    foreach (Restoration part in toDo) tables.Obey(part.Commands);
                    break;
            }

            PeMigrationState state = fsm.Find(Id)!.State;
            string way = state switch
            {
                PeMigrationState.Flipped or PeMigrationState.Switched or PeMigrationState.Withdrawn => "tunnel",
                PeMigrationState.Returning => "waits",
                _ => "native",
            };
            if (tables.Way != way) return false.Label($"{state}, and packets go {tables.Way}");
            if (tables.IsThere == fsm.Find(Id)!.Finished)
                return false.Label($"{state}, and its parts are{(tables.IsThere ? "" : " not")} there");
            if (confirmed && step != 10 && state is PeMigrationState.Prepared or PeMigrationState.Flipped or PeMigrationState.Returning)
                return (!confirmed).Label($"confirmed, and {state}");
            if (before == PeMigrationState.Aborted && state != PeMigrationState.Aborted) return false.Label($"aborted, and then {state}");
        }

        return true.ToProperty();
    });

    private static PeMigrationFsm Armed()
    {
        var fsm = new PeMigrationFsm();
        Assert.Null(fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare) with { Watch = Watch }, 1).Refusal);
        fsm.Result(Id, new TunnelHealth(true), 1);
        return fsm;
    }

    /// <summary>Where packets for the prefixes go, and whether there is anything of the migration.</summary>
    private sealed class Tables
    {
        public string Way { get; set; } = "native";

        public bool IsThere { get; set; }

        public void Obey(IEnumerable<PeCommand> commands)
        {
            foreach (PeCommand command in commands)
            {
                switch (command)
                {
                    case ArmGroup: (Way, IsThere) = ("native", true); break;
                    case SwitchToTunnel: Way = "tunnel"; break;
                    case GiveBack: Way = "waits"; break;
                    case SwitchBack or ArmAgain: Way = "native"; break;
                    case RemoveGroup: (Way, IsThere) = ("native", false); break;
                }
            }
        }
    }
}
