/*
 * The hand-over of a server between two sites: who may run it, who may write its volume, who delivers its packets.
 * README.md in this folder says in words what this is, what is left out, and what was found.
 *
 *   spin -a handover.pml && gcc -O2 -DSAFETY -o pan pan.c && ./pan        (check.sh does all of it)
 *
 * 1. The network is a set. What was once sent may be delivered at any time later, any number of times, in any order, or never.
 *    So `sent` only grows, and so does `done`, the answers. A manager that sleeps and repeats itself can add nothing to that.
 * 2. A party is what it has on its disk, and its effects (a guest that runs, a port that gets packets). Every step begins from that
 *    alone. Killing a party and bringing it back is therefore possible between any two steps and needs no step of its own; where a
 *    record is not on the disk before what depends on it (a mutant), there is a kill.
 * 3. Each step changes something, and nothing changes for ever (./pan of a build with -DNP finds no cycle). So a run ends, when
 *    nobody can do anything any more; all parties are back then and every message that matters has got through. `Final` looks at
 *    every end: if the rules left somebody waiting for ever, it would be there.
 *
 * Mutants (-DNAME) take one rule out each; check.sh has them all. G = guests that may die, W = writes, KILLS = managers killed.
 */
#ifndef MOVES
#define MOVES 1
#endif
#ifndef W
#define W 1
#endif
#ifndef G
#define G 0
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef MANAGERS
#define MANAGERS 2
#endif

#define EPOCHS (2 * MOVES + 1)      /* 0 is the epoch before the first move; a move has one, and its undo the next */
#define NONE 255
#define FIRST_EPOCH 1

/* Stages of a move: StageTable.cs. Not here: await-window and settle. */
mtype = {
    planned, prepare_target, prepare_source, mirror, switch, stop, hand_over, activate, release, hold_drain, advertise, direct_path,
    withdraw, drain, teardown_source, last_packet, teardown_target, inspect, void, resume_source, abort_source, empty_tunnel,
    abort_target, give_back, inspect_undo, ended
};

/* Commands to hosts and PEs: one bit each. S = the source's, T = the target's. */
#define HOST_PREPARE_S  1
#define HOST_PREPARE_T  2
#define HOST_STOP_S     4
#define HOST_ACTIVATE_T 8
#define HOST_VOID_T     16
#define HOST_RESUME_S   32
#define HOST_CANCEL_T   64
#define HOST_RETIRE_S   128
#define HOST_ALL        255
#define PE_PREPARE_S    256
#define PE_PREPARE_T    512
#define PE_SWITCH_S     1024
#define PE_RELEASE_AFTER_SERVERS_T 2048
#define PE_RELEASE_T    4096
#define PE_ADVERTISE_T  8192
#define PE_WITHDRAW_S   16384
#define PE_TEARDOWN_S   32768
#define PE_TEARDOWN_T   65536
#define PE_ABORT_S      131072
#define PE_ABORT_T      262144
#define PE_ALL          524032
#define ORDERS          524287

/* Looks. */
#define SEE_TUNNEL_UP   524288
#define SEE_MIRRORED    1048576
#define SEE_HOLDING     2097152
#define SEE_HOLD_EMPTY  4194304
#define SEE_DIRECT_PATH 8388608
#define SEE_DRAINED     16777216
#define SEE_LAST_PACKET 33554432
#define SEE_GIVEN_BACK  67108864
#define SEE_CLEAN       134217728
#define SEE_RUNS_AT_TARGET      268435456
#define SEE_RUNS_AT_SOURCE      536870912

/*
 * The stage table: what must have taken effect before a stage ends, what is asked meanwhile, what comes next, and whether the move
 * can be undone there without asking anybody. HandOverModelTests compares each row with StageTable.cs; this is the table that runs.
 */
#define ROW(st, nx, before_pivot, asks, meanwhile) \
    :: (v.stage == st) -> r_next = nx; r_undo = before_pivot; r_asks = asks; r_ahead = meanwhile
inline row() {
    if
    ROW(planned,         prepare_target,  false, 0, 0);
    ROW(prepare_target,  prepare_source,  true,  PE_PREPARE_T | HOST_PREPARE_T, PE_PREPARE_S | HOST_PREPARE_S | SEE_TUNNEL_UP);
    ROW(prepare_source,  mirror,          true,  PE_PREPARE_S | HOST_PREPARE_S, SEE_TUNNEL_UP);
    ROW(mirror,          switch,          true,  SEE_TUNNEL_UP | SEE_MIRRORED, 0);
    ROW(switch,          stop,            true,  PE_SWITCH_S, 0);
    ROW(stop,            hand_over,       true,  HOST_STOP_S | SEE_HOLDING, 0);
    ROW(hand_over,       activate,        false, 0, 0);
    ROW(activate,        release,         false, HOST_ACTIVATE_T, PE_RELEASE_AFTER_SERVERS_T);
    ROW(release,         hold_drain,      false, PE_RELEASE_T, SEE_HOLD_EMPTY | HOST_RETIRE_S);
    ROW(hold_drain,      advertise,       false, SEE_HOLD_EMPTY, HOST_RETIRE_S);
    ROW(advertise,       direct_path,     false, PE_ADVERTISE_T, HOST_RETIRE_S);
    ROW(direct_path,     withdraw,        false, SEE_DIRECT_PATH, HOST_RETIRE_S);
    ROW(withdraw,        drain,           false, PE_WITHDRAW_S, HOST_RETIRE_S);
    ROW(drain,           teardown_source, false, SEE_DRAINED, HOST_RETIRE_S);
    ROW(teardown_source, last_packet,     false, PE_TEARDOWN_S, HOST_RETIRE_S);
    ROW(last_packet,     teardown_target, false, SEE_LAST_PACKET, HOST_RETIRE_S);
    ROW(teardown_target, inspect,         false, PE_TEARDOWN_T, HOST_RETIRE_S);
    ROW(inspect,         ended,           false, HOST_RETIRE_S | SEE_CLEAN | SEE_RUNS_AT_TARGET, 0);
    ROW(void,            resume_source,   false, HOST_VOID_T, 0);
    ROW(resume_source,   abort_source,    false, HOST_RESUME_S, HOST_CANCEL_T);
    ROW(abort_source,    empty_tunnel,    false, PE_ABORT_S, HOST_CANCEL_T);
    ROW(empty_tunnel,    abort_target,    false, SEE_LAST_PACKET, HOST_CANCEL_T);
    ROW(abort_target,    give_back,       false, PE_ABORT_T, HOST_CANCEL_T);
    ROW(give_back,       inspect_undo,    false, SEE_GIVEN_BACK, HOST_CANCEL_T);
    ROW(inspect_undo,    ended,           false, HOST_CANCEL_T | SEE_CLEAN | SEE_RUNS_AT_SOURCE, 0);
    ROW(ended,           ended,           false, 0, 0);
    fi
}

/* The rows that differ where a stop was not confirmed in time: the source host is told, too, and waited for at the end. */
#define ROW_UNCONFIRMED(st, nx, before_pivot, asks, meanwhile) :: (v.stage == st) -> r_asks = asks; r_ahead = meanwhile
inline row_unconfirmed() {
    if
    ROW_UNCONFIRMED(resume_source, abort_source, false, 0, HOST_CANCEL_T);
    ROW_UNCONFIRMED(abort_source,  empty_tunnel, false, PE_ABORT_S, HOST_RESUME_S | HOST_CANCEL_T);
    ROW_UNCONFIRMED(empty_tunnel,  abort_target, false, SEE_LAST_PACKET, HOST_RESUME_S | HOST_CANCEL_T);
    ROW_UNCONFIRMED(abort_target,  give_back,    false, PE_ABORT_T, HOST_RESUME_S | HOST_CANCEL_T);
    ROW_UNCONFIRMED(give_back,     inspect_undo, false, SEE_GIVEN_BACK, HOST_RESUME_S | HOST_CANCEL_T);
    ROW_UNCONFIRMED(inspect_undo,  ended,        false, HOST_RESUME_S | HOST_CANCEL_T | SEE_CLEAN | SEE_RUNS_AT_SOURCE, 0);
    :: else
    fi
}

/* A move as the journal, or a manager's memory, has it. */
typedef Move {
    mtype stage = planned;
    byte epoch = 0;
    byte number = 0;            /* which move of the run */
    byte site = 0;              /* the site that owns the epoch */
    bool ran = false;           /* the target has said for ever that it ran (R5) */
    bool unconfirmed = false;   /* StopUnconfirmed: its deadline came before the answer to stop */
    byte position = 0;          /* of the journal (R8) */
    bool undoable = false;      /* of the stage's row */
    int asks = 0;               /* of the stage's row */
    int opens = 0               /* the same, and what is asked meanwhile */
};

#define OF(m, e) ((m) * EPOCHS + (e))
Move journal;
byte source[MOVES];                 /* the site, 0 or 1, that is the source of a move */
byte granted[EPOCHS] = NONE;        /* for the checks: the site to which the journal has granted the epoch */
int sent[MOVES * EPOCHS];
int done[MOVES * EPOCHS];

/* What void and activate are answered. */
#define IS_VOID 1
#define HAS_RUN 2
#define REFUSED 4
byte verdict[MOVES * EPOCHS];

/* A host's record of the server (HostRecord.cs), by site; and the guest, which goes on when the agent is killed. */
mtype = { running, offered, stopping, resuming, retiring, away, incoming, cancelling, starting };
mtype = { absent, waiting, paused, runs };
mtype phase[2] = away;
byte phaseEpoch[2];
byte seen[2];
byte mayRun[2] = NONE;
byte ranEpoch[2];
byte voidEpoch[2];
bool isTarget[2];
mtype guest[2] = absent;
bool ram[2];                        /* the state that was handed over is here, complete */

/* A store's record of the volume (OwnershipTypes.cs), and how many of the acknowledged writes it has. */
mtype = { follows, owns, sealed, refuses };
mtype role[2] = follows;
byte storeSeen[2];
byte storeOwner[2];                 /* the epoch of its grant in force */
byte has[2];
byte acknowledged = 0;

/* A PE's record of its migration (PeTransitions.cs), and whether packets for the server leave by its port. */
mtype = { idle, prepared, switched, withdrawn, torn_down, released, advertised, aborted };
mtype pe[2] = idle;
byte peEpoch[2];
byte peMove[2] = NONE;
bool delivers[2];

byte deaths = 0;
byte kills = KILLS;

/* The row of a stage, within one step. */
mtype r_next = planned;
bool r_undo = false;
int r_asks = 0, r_ahead = 0;
#define NO_ROW r_next = planned; r_undo = false; r_asks = 0; r_ahead = 0

#ifdef PLAIN
#define exact(x) skip
#else
#define exact(x) assert(x)
#endif
#define say printf              /* told when a counterexample is replayed */

/* Never two, whatever is done, in whatever order. Part of each step that changes something. */
inline check() {
    assert(!(guest[0] == runs && guest[1] == runs));                   /* two guests run */
    assert(!(mayRun[0] != NONE && mayRun[1] != NONE));                 /* two hosts have the right to run on disk */
    assert(!(role[0] == owns && role[1] == owns));                   /* two stores accept writes */
    assert(!(delivers[0] && delivers[1]));                             /* both PEs deliver */
    assert(role[0] != owns || has[0] == acknowledged);                 /* the owner lacks a write that was acknowledged */
    assert(role[1] != owns || has[1] == acknowledged);                 /* the owner lacks a write that was acknowledged */

    /* nobody has seen an epoch that is not on record */
    exact(seen[0] <= journal.epoch && seen[1] <= journal.epoch);
    exact(peEpoch[0] <= journal.epoch && peEpoch[1] <= journal.epoch);
    exact(storeSeen[0] <= journal.epoch && storeSeen[1] <= journal.epoch);

    /* ended: what the outcome says is so, and stays so whatever comes late */
    if
    :: journal.stage == ended ->
        assert(mayRun[journal.site] == journal.epoch);                 /* ended, and the owner has not the right to run */
        assert(mayRun[1 - journal.site] == NONE);                      /* ended, and the other one has the right to run */
        assert(guest[1 - journal.site] == absent);                     /* ended, and a guest is left at the other one */
        assert(guest[journal.site] == runs || deaths > 0);             /* ended, and the guest does not run at the owner */
        assert(seen[1 - journal.site] >= journal.epoch);               /* ended, and a host has not heard of the epoch */
        assert(role[journal.site] == owns && has[journal.site] == acknowledged);   /* ended, and the store is not the owner's */
        assert(delivers[journal.site] && !delivers[1 - journal.site]); /* ended, and packets go to the wrong site, or nowhere */
        assert(peEpoch[0] >= journal.epoch && peEpoch[1] >= journal.epoch)         /* ended, and a PE has not heard of the epoch */
    :: else
    fi
}

inline to_a_server_that_runs(x) {
    assert(guest[x] == runs || deaths > 0)                              /* packets go to a server that does not run */
}

#define A source[v.number]
#define B (1 - source[v.number])

/* True: the looks of a stage see what they look for. */
#define LOOKS_SEE(asks) ( \
    (!(asks & SEE_TUNNEL_UP)   || (peMove[A] == v.number && peMove[B] == v.number && pe[A] == prepared && pe[B] == prepared)) && \
    (!(asks & SEE_MIRRORED)    || (phase[A] == offered && guest[A] == runs && guest[B] == waiting)) && \
    (!(asks & SEE_HOLDING)     || (peMove[B] == v.number && pe[B] == prepared)) && \
    (!(asks & SEE_HOLD_EMPTY)  || delivers[B]) && \
    (!(asks & SEE_DIRECT_PATH) || pe[B] == advertised) && \
    (!(asks & SEE_DRAINED)     || pe[A] == withdrawn) && \
    (!(asks & SEE_LAST_PACKET) || pe[A] == torn_down || pe[A] == aborted) && \
    (!(asks & SEE_GIVEN_BACK)  || pe[B] == aborted) && \
    (!(asks & SEE_CLEAN)       || ((pe[A] == torn_down && pe[B] == torn_down) || (pe[A] == aborted && pe[B] == aborted))) && \
    (!(asks & SEE_RUNS_AT_TARGET)      || (guest[B] == runs && mayRun[B] == v.epoch)) && \
    (!(asks & SEE_RUNS_AT_SOURCE)      || (guest[A] == runs && mayRun[A] == v.epoch)))

#define ANSWERS done[OF(v.number, v.epoch)]
#define VERDICT verdict[OF(v.number, v.epoch)]

/* A stage begins in a manager's memory. */
inline enter(st) {
    v.stage = st;
    row();
    if :: v.unconfirmed -> row_unconfirmed() :: else fi;
#ifdef UNDO_ONLY_WHO_ANSWERED
    /* who has not answered prepare is neither asked to undo it nor looked at */
    if
    :: v.site == A && v.epoch > 0 ->
        if
        :: !(done[OF(v.number, v.epoch - 1)] & HOST_PREPARE_T) -> r_asks = r_asks & ~HOST_CANCEL_T; r_ahead = r_ahead & ~HOST_CANCEL_T
        :: else
        fi;
        if
        :: !(done[OF(v.number, v.epoch - 1)] & PE_PREPARE_T) -> r_asks = r_asks & ~(PE_ABORT_T | SEE_CLEAN | SEE_GIVEN_BACK)
        :: else
        fi
    :: else
    fi;
#endif
#ifdef RETIRE_AT_PIVOT
    if :: v.stage == activate -> r_ahead = r_ahead | HOST_RETIRE_S :: else fi;
#endif
#ifdef RELEASE_AT_PIVOT
    if :: v.stage == activate -> r_ahead = r_ahead | PE_RELEASE_T :: else fi;
#endif
    v.asks = r_asks; v.opens = (r_asks | r_ahead) & ORDERS; v.undoable = r_undo
}

#define SEND sent[OF(v.number, v.epoch)] = sent[OF(v.number, v.epoch)] | v.opens

inline copy(to, from) {
    to.stage = from.stage; to.epoch = from.epoch; to.number = from.number; to.site = from.site; to.ran = from.ran;
    to.unconfirmed = from.unconfirmed; to.position = from.position; to.undoable = from.undoable; to.asks = from.asks;
    to.opens = from.opens
}

inline forget() {
    v.stage = planned; v.epoch = 0; v.number = 0; v.site = 0; v.ran = false; v.unconfirmed = false; v.position = 0;
    v.undoable = false; v.asks = 0; v.opens = 0
}

/* The move begins: one epoch higher than any used for the group (R1). */
inline begin() {
#ifndef MOVE_REUSES_EPOCH
    v.epoch = v.epoch + 1;
#else
    if :: v.number == 0 -> v.epoch = v.epoch + 1 :: else fi;
#endif
    v.ran = false; v.unconfirmed = false
}

/* The source is granted the next epoch; the one that the target was promised is burnt (R2). */
inline undo() {
#ifndef UNDO_WITH_SAME_EPOCH
    v.epoch = v.epoch + 1;
#endif
    v.site = A
}

#ifdef COMMANDS_BEFORE_RECORD
#define DECIDED NO_ROW; writes = true; SEND
#else
#define DECIDED NO_ROW; writes = true
#endif

#ifdef NO_ABORT
#define MAY_ASK_FOR_VOID (VERDICT & REFUSED)
#else
#define MAY_ASK_FOR_VOID true
#endif

/*
 * A manager: reads the journal at some time, decides from what it has read, writes, and only then asks. There are two on one journal:
 * whichever has not the last word has slept and wakes up with what it knew. An append that names another position than the journal's
 * is refused (R8); the manager then reads anew. The record of the step that ends `stop` is the pivot.
 */
proctype Manager() {
    Move v;
    bool up = false, writes = false;

    end: do
    :: d_step { !up -> say("manager %d starts and reads the journal: %e, epoch %d\n", _pid, journal.stage, journal.epoch);
        up = true; copy(v, journal) }

    :: d_step { up && !writes && v.stage == planned ->
        say("manager %d begins a move\n", _pid); begin(); enter(prepare_target); DECIDED }

#if MOVES > 1
    :: d_step { up && !writes && v.stage == ended && v.number + 1 < MOVES ->
        say("manager %d begins the next move\n", _pid); v.number = v.number + 1; begin(); enter(prepare_target); DECIDED }
#endif

    /* A stage ends when all that it asks for has taken effect. */
    :: d_step { up && !writes && v.stage != planned && v.stage != void && v.stage != ended &&
            ((ANSWERS & v.asks) == (v.asks & ORDERS)) && LOOKS_SEE(v.asks) ->
        say("manager %d: %e is done\n", _pid, v.stage); row();
        if
        :: r_next == hand_over -> v.site = B; enter(activate)      /* the pivot; nothing is to be handed over that cannot be undone */
        :: else -> enter(r_next)
        fi;
        if
        :: v.asks == 0 && v.stage != ended -> row(); enter(r_next)
        :: else
        fi;
        DECIDED }

    /* Before the pivot: a refusal, an abort, a deadline. */
    :: d_step { up && !writes && v.undoable ->
        say("manager %d undoes the move in %e\n", _pid, v.stage); undo(); enter(resume_source); DECIDED }

    /* The deadline of stop, and its answer is not here. */
    :: d_step { up && !writes && v.stage == stop ->
        say("manager %d undoes the move: stop was not answered in time\n", _pid);
        undo(); v.unconfirmed = true; enter(resume_source); row(); enter(r_next); DECIDED }

    /* After it: the target is asked for its word (R5), for an abort or because it refuses. */
    :: d_step { up && !writes && v.stage == activate && !v.ran && MAY_ASK_FOR_VOID ->
        say("manager %d asks for void\n", _pid); enter(void); DECIDED }

#ifdef SILENCE_IS_VOID
    :: d_step { up && !writes && v.stage == void ->
        say("manager %d takes silence for void\n", _pid); undo(); enter(resume_source); DECIDED }
#else
    :: d_step { up && !writes && v.stage == void && (VERDICT & IS_VOID) ->
        say("manager %d is told: void\n", _pid); undo(); enter(resume_source); DECIDED }
#endif
    :: d_step { up && !writes && v.stage == void && ((VERDICT & HAS_RUN) || (ANSWERS & HOST_ACTIVATE_T)) ->
        say("manager %d is told: it ran\n", _pid); v.ran = true; enter(activate); DECIDED }

    /* The record is on disk; or the journal has gone on without this manager. */
    :: d_step { up && writes && v.position == journal.position ->
        say("journal (manager %d): %e, epoch %d, owner %c\n", _pid, v.stage, v.epoch, 65 + v.site);
        v.position = v.position + 1; copy(journal, v); writes = false; SEND;
        granted[v.epoch] = v.site;
        if :: v.stage == prepare_target -> source[v.number] = v.site :: else fi;
        check() }
    :: d_step { up && writes && v.position != journal.position ->
#ifdef APPEND_ANYWHERE
        say("manager %d appends behind what it has not read, and goes on with %e, epoch %d\n", _pid, v.stage, v.epoch);
        v.position = journal.position; SEND; writes = false
#else
        say("manager %d: another was there first\n", _pid); copy(v, journal); writes = false
#endif
        }

    /* Killed, with what it had not written. */
    :: d_step { up && kills > 0 -> say("manager %d is killed\n", _pid); kills--; up = false; writes = false; forget() }
    od
}

#define SENT(bit)  (sent[k] & (bit))
#define DONE(bit)  done[k] = done[k] | (bit)
#define OPEN(bit)  (!(done[k] & (bit)))
#ifdef HOST_TAKES_LOWER_EPOCH
#define HOST_FENCE true
#else
#define HOST_FENCE (e >= seen[x])
#endif
#ifdef STORE_TAKES_LOWER_EPOCH
#define STORE_FENCE true
#else
#define STORE_FENCE (e >= storeSeen[x])
#endif
#ifdef PE_TAKES_LOWER_EPOCH
#define PE_FENCE true
#else
#define PE_FENCE (e >= peEpoch[x])
#endif
#define SEES_EPOCH   if :: e > seen[x] -> seen[x] = e :: else fi
#define STORE_SEES_EPOCH   if :: e > storeSeen[x] -> storeSeen[x] = e :: else fi

/* The disk of a host, where a record is not synced before what depends on it: what was there before is kept, and a kill brings it back. */
#if defined(STOP_NOT_DURABLE) || defined(WILL_RUN_NOT_DURABLE) || defined(VOID_NOT_DURABLE)
#define LAZY_DISK
bool lazy[2];
mtype diskPhase[2];
byte diskPhaseEpoch[2], diskSeen[2], diskMay[2], diskRan[2], diskVoid[2];
#define UNSYNCED lazy[x] = true; diskPhase[x] = phase[x]; diskPhaseEpoch[x] = phaseEpoch[x]; diskSeen[x] = seen[x]; \
    diskMay[x] = mayRun[x]; diskRan[x] = ranEpoch[x]; diskVoid[x] = voidEpoch[x]
#define SYNCED   lazy[x] = false
#else
#define UNSYNCED skip
#define SYNCED   skip
#endif
#ifdef STOP_NOT_DURABLE
#define SYNC_STOP UNSYNCED
#else
#define SYNC_STOP SYNCED
#endif
#ifdef WILL_RUN_NOT_DURABLE
#define SYNC_WILL_RUN UNSYNCED
#else
#define SYNC_WILL_RUN SYNCED
#endif
#ifdef VOID_NOT_DURABLE
#define SYNC_VOID UNSYNCED
#else
#define SYNC_VOID SYNCED
#endif

/*
 * The agent of the host at site x, and its store, for what comes with epoch e of move m (HostPlans.cs, VolumesDriver.cs,
 * OwnershipMachine.Orders.cs). A record and what follows it are steps of their own, so that a kill may come between.
 */
proctype Host(byte x, m, e) {
    byte k = OF(m, e);

    end: do
    /* R1: whatever is refused, its epoch counts. */
    :: d_step { SENT(HOST_ALL) && e > seen[x] &&
            ((x == source[m] && (sent[k] & (HOST_PREPARE_S | HOST_STOP_S | HOST_RESUME_S | HOST_RETIRE_S))) ||
                (x != source[m] && (sent[k] & (HOST_PREPARE_T | HOST_ACTIVATE_T | HOST_VOID_T | HOST_CANCEL_T)))) ->
        say("host %c hears of epoch %d\n", 65 + x, e); seen[x] = e; check() }

    /* ---- source ---- */
    :: d_step { SENT(HOST_PREPARE_S) && x == source[m] && HOST_FENCE && mayRun[x] != NONE && guest[x] == runs &&
            !(phase[x] == offered && phaseEpoch[x] == e) ->
        say("host %c: prepare %d, as source\n", 65 + x, e);
        SYNCED; phase[x] = offered; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = false; DONE(HOST_PREPARE_S);
        STORE_SEES_EPOCH; check() }

    /* stop: R4, the right goes, on disk, before the driver is asked. */
    :: d_step { SENT(HOST_STOP_S) && x == source[m] && HOST_FENCE && phase[x] == offered && phaseEpoch[x] == e ->
        say("host %c: stop %d, the right to run is gone\n", 65 + x, e); SYNC_STOP; phase[x] = stopping;
#ifndef STOP_KEEPS_RIGHT
        mayRun[x] = NONE;
#endif
        check() }
    :: d_step { SENT(HOST_STOP_S) && x == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e && guest[x] == runs ->
        say("host %c: stop %d, the guest is paused\n", 65 + x, e); guest[x] = paused; check() }

    /* ... drained, handed over, sealed: then it is answered. */
    :: d_step { SENT(HOST_STOP_S) && x == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e &&
            guest[x] == paused && guest[1 - x] == waiting &&
#ifndef NO_DRAIN
            has[1 - x] == has[x] &&
#endif
            !ram[1 - x] && role[x] == owns && STORE_FENCE ->
        say("host %c: stop %d, handed over and sealed; answered\n", 65 + x, e); ram[1 - x] = true;
#ifndef NO_SEAL
        role[x] = sealed; STORE_SEES_EPOCH;
#endif
        DONE(HOST_STOP_S); check() }
#ifdef STOP_BEFORE_PAUSED
    :: d_step { SENT(HOST_STOP_S) && x == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e && OPEN(HOST_STOP_S) &&
            guest[1 - x] == waiting ->
        say("host %c: stop %d is answered, and the guest runs\n", 65 + x, e);
        ram[1 - x] = true; role[x] = sealed; DONE(HOST_STOP_S); check() }
#endif

    /* resume: R2, it undoes only what has a lower epoch. It goes on running, or the store owns the volume again and it goes on. */
    :: d_step { SENT(HOST_RESUME_S) && x == source[m] && HOST_FENCE && voidEpoch[x] < e &&
            (phase[x] == running || phase[x] == offered || phase[x] == starting) && guest[x] == runs && e > phaseEpoch[x] ->
        say("host %c: resume %d, it goes on running\n", 65 + x, e);
        SYNCED; phase[x] = running; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = e; ranEpoch[x] = e; isTarget[x] = false;
        DONE(HOST_RESUME_S); check() }
    :: d_step { SENT(HOST_RESUME_S) && x == source[m] && HOST_FENCE && voidEpoch[x] < e && guest[x] != runs &&
            ((phase[x] == running || phase[x] == offered || phase[x] == starting || phase[x] == stopping || phase[x] == resuming) &&
                e > phaseEpoch[x] || phase[x] == running && phaseEpoch[x] == e && !isTarget[x]) ||
            SENT(HOST_RESUME_S) && x == source[m] && HOST_FENCE && voidEpoch[x] < e && guest[x] == runs &&
                phase[x] == stopping && e > phaseEpoch[x] ->
        say("host %c: resume %d, the right to run is back\n", 65 + x, e);
        SYNCED; phase[x] = resuming; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = e; ranEpoch[x] = e; isTarget[x] = false; check() }
    :: d_step { SENT(HOST_RESUME_S) && x == source[m] && HOST_FENCE && phase[x] == resuming && phaseEpoch[x] == e &&
            (role[x] == sealed || role[x] == owns) && storeOwner[x] < e && STORE_FENCE ->
        say("store %c: unpark %d\n", 65 + x, e); role[x] = owns; storeOwner[x] = e; STORE_SEES_EPOCH; check() }
    :: d_step { SENT(HOST_RESUME_S) && x == source[m] && HOST_FENCE && phase[x] == resuming && phaseEpoch[x] == e &&
            role[x] == owns && storeOwner[x] == e ->
        say("host %c: resume %d, the guest runs\n", 65 + x, e);
        assert(guest[x] != absent || deaths > 0);                       /* what was kept of it is gone */
        exact(granted[e] == x);
        guest[x] = runs; phase[x] = running; DONE(HOST_RESUME_S); check() }

    /* retire: R7 */
    :: d_step { SENT(HOST_RETIRE_S) && x == source[m] && HOST_FENCE && (mayRun[x] == NONE || (e > phaseEpoch[x] && guest[x] != runs)) &&
            (phase[x] == stopping || phase[x] == resuming || phase[x] == retiring && phaseEpoch[x] < e) ->
        say("host %c: retire %d\n", 65 + x, e); SYNCED; phase[x] = retiring; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = NONE; check() }
    :: d_step { SENT(HOST_RETIRE_S) && x == source[m] && HOST_FENCE && phase[x] == retiring && phaseEpoch[x] == e && STORE_FENCE ->
        say("host %c: retire %d, the guest is killed, the store released\n", 65 + x, e);
        guest[x] = absent; role[x] = refuses; STORE_SEES_EPOCH; phase[x] = away; isTarget[x] = false; DONE(HOST_RETIRE_S); check() }

    /* ---- target ---- */
    :: d_step { SENT(HOST_PREPARE_T) && x != source[m] && HOST_FENCE && voidEpoch[x] < e && mayRun[x] == NONE &&
            (phase[x] == away || phase[x] == incoming || phase[x] == cancelling) && guest[x] != runs &&
            !(guest[x] == paused && phase[x] == away) &&
            !(phase[x] == incoming && phaseEpoch[x] == e && guest[x] == waiting) &&
#ifndef PREPARE_AGAIN
            !(phase[x] == incoming && phaseEpoch[x] == e) &&
#endif
            STORE_FENCE ->
        say("host %c: prepare %d, as target; a guest waits\n", 65 + x, e);
        SYNCED; phase[x] = incoming; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = true; guest[x] = waiting; ram[x] = false;
        STORE_SEES_EPOCH;
        if :: role[x] == refuses -> role[x] = follows :: else fi;
        DONE(HOST_PREPARE_T); check() }

    /* activate: R6, the promise is on disk before the driver is asked. */
    :: d_step { SENT(HOST_ACTIVATE_T) && x != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] == e &&
            phase[x] == incoming && guest[x] != absent ->
        say("host %c: activate %d, will run\n", 65 + x, e);
        SYNC_WILL_RUN; phase[x] = starting; mayRun[x] = e; ranEpoch[x] = e; SEES_EPOCH; check() }
    :: d_step { SENT(HOST_ACTIVATE_T) && x != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] == e &&
            (phase[x] == starting || phase[x] == running) && role[x] == follows && STORE_FENCE ->
        say("store %c: grant %d\n", 65 + x, e); exact(granted[e] == x);
        role[x] = owns; storeOwner[x] = e; STORE_SEES_EPOCH; check() }
    :: d_step { SENT(HOST_ACTIVATE_T) && x != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] == e &&
            (phase[x] == starting || phase[x] == running) && role[x] == owns && (guest[x] == waiting &&
            ram[x] || guest[x] == absent || guest[x] == paused) ->
        say("host %c: activate %d, the guest runs\n", 65 + x, e);
        assert(guest[x] == waiting || deaths > 0);                      /* a cold start, and nobody had died */
        exact(granted[e] == x);
        guest[x] = runs; phase[x] = running; DONE(HOST_ACTIVATE_T); check() }

    :: d_step { SENT(HOST_ACTIVATE_T) && x != source[m] && HOST_FENCE && !(verdict[k] & REFUSED) &&
            (voidEpoch[x] >= e || phaseEpoch[x] == e && phase[x] == incoming && guest[x] == absent) ->
        say("host %c refuses activate %d\n", 65 + x, e); verdict[k] = verdict[k] | REFUSED; SEES_EPOCH; check() }

    /* void: R5, from disk and for ever. */
    :: d_step { SENT(HOST_VOID_T) && x != source[m] && OPEN(HOST_VOID_T) ->
        if
#ifdef VOID_THOUGH_IT_RAN
        :: true -> verdict[k] = verdict[k] | IS_VOID
#else
        :: e == voidEpoch[x] || (e > ranEpoch[x] && e < voidEpoch[x]) -> verdict[k] = verdict[k] | IS_VOID
        :: e != voidEpoch[x] && e <= ranEpoch[x] -> verdict[k] = verdict[k] | HAS_RUN
        :: e > voidEpoch[x] && e > ranEpoch[x] ->
#ifndef VOID_IS_FORGOTTEN
            SYNC_VOID; voidEpoch[x] = e;
#endif
            SEES_EPOCH; verdict[k] = verdict[k] | IS_VOID
#endif
        fi;
        say("host %c: void %d, answer %d (1 void, 2 ran)\n", 65 + x, e, verdict[k]); DONE(HOST_VOID_T); check() }

    /* cancel */
    :: d_step { SENT(HOST_CANCEL_T) && x != source[m] && HOST_FENCE && mayRun[x] == NONE &&
            (phase[x] == away || phase[x] == incoming || phase[x] == cancelling) && e > phaseEpoch[x] ->
        say("host %c: cancel %d\n", 65 + x, e); SYNCED; phase[x] = cancelling; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = true; check() }
    :: d_step { SENT(HOST_CANCEL_T) && x != source[m] && HOST_FENCE && phase[x] == cancelling && phaseEpoch[x] == e && STORE_FENCE ->
        say("host %c: cancel %d, the guest is gone\n", 65 + x, e);
        guest[x] = absent; ram[x] = false; STORE_SEES_EPOCH; phase[x] = away; DONE(HOST_CANCEL_T); check() }
    od
}

/*
 * The PE at site x, for what comes with epoch e of move m (PeMigrationFsm.cs). An accepted signal is carried out and on disk before it
 * is answered: one step.
 */
#ifdef PE_NOT_DURABLE
bool peLazy[2];
mtype peDisk[2];
#define PE_UNSYNCED if :: !peLazy[x] -> peLazy[x] = true; peDisk[x] = pe[x] :: else fi
#else
#define PE_UNSYNCED skip
#endif

#define PE_SEES_EPOCH if :: e > peEpoch[x] -> peEpoch[x] = e :: else fi
#define OVER(y) (pe[y] == idle || pe[y] == torn_down || pe[y] == aborted)
#define IS_IN(from) ((from == idle && peMove[x] != m && OVER(x)) || (from != idle && peMove[x] == m && pe[x] == from))
#define TUNNEL_IS_UP (peMove[1 - x] == m && pe[1 - x] == prepared)
#ifdef SERVERS_UNSEEN
#define SERVERS_ANSWER true
#else
#define SERVERS_ANSWER (guest[x] == runs)
#endif
#ifdef ACCEPTED_IS_DONE
#define PE_ACCEPTS(bit, from, needs, side) \
    :: d_step { SENT(bit) && OPEN(bit) && x side source[m] && PE_FENCE && IS_IN(from) && needs -> \
        say("PE %c: what takes it from %e to the next state is answered, and not done\n", 65 + x, from); DONE(bit); check() }
#else
#define PE_ACCEPTS(bit, from, needs, side)
#endif
#define PE_ROW(bit, from, to, needs, effect, side) \
    :: d_step { SENT(bit) && x side source[m] && PE_FENCE && IS_IN(from) && needs -> \
        say("PE %c: epoch %d, %e -> %e\n", 65 + x, e, from, to); \
        PE_UNSYNCED; peMove[x] = m; pe[x] = to; PE_SEES_EPOCH; effect; DONE(bit); check() } \
    PE_ACCEPTS(bit, from, needs, side)
#define PE_SOURCE(bit, from, to, needs, effect) PE_ROW(bit, from, to, needs, effect, ==)
#define PE_TARGET(bit, from, to, needs, effect) PE_ROW(bit, from, to, needs, effect, !=)
#define LET_GO delivers[x] = true; to_a_server_that_runs(x)

/* idle: the migration is not known here. HandOverModelTests compares the rows with PeTransitions.cs. */
proctype Pe(byte x, m, e) {
    byte k = OF(m, e);

    end: do
    PE_SOURCE(PE_PREPARE_S,  idle,       prepared,   true,           skip)
    PE_SOURCE(PE_ABORT_S,    idle,       aborted,    true,           skip)
    PE_SOURCE(PE_SWITCH_S,   prepared,   switched,   TUNNEL_IS_UP,   delivers[x] = false)
    PE_SOURCE(PE_ABORT_S,    prepared,   aborted,    true,           skip)
    PE_SOURCE(PE_WITHDRAW_S, switched,   withdrawn,  true,           skip)
    PE_SOURCE(PE_ABORT_S,    switched,   aborted,    true,           delivers[x] = true)
    PE_SOURCE(PE_TEARDOWN_S, withdrawn,  torn_down,  true,           skip)

    PE_TARGET(PE_PREPARE_T,  idle,       prepared,   true,           skip)
    PE_TARGET(PE_ABORT_T,    idle,       aborted,    true,           skip)
    PE_TARGET(PE_RELEASE_T,  prepared,   released,     true,           LET_GO)
    PE_TARGET(PE_RELEASE_AFTER_SERVERS_T, prepared, released, SERVERS_ANSWER, LET_GO)
    PE_TARGET(PE_ABORT_T,    prepared,   aborted,    true,           skip)
    PE_TARGET(PE_ADVERTISE_T, released,    advertised, true,           skip)
    PE_TARGET(PE_TEARDOWN_T, advertised, torn_down,  true,           skip)

    /* What was carried out before is answered again: a release that was carried out as one for when the servers answer; an abort
       with a higher epoch. */
    :: d_step { SENT(PE_RELEASE_T) && OPEN(PE_RELEASE_T) && x != source[m] && PE_FENCE && peMove[x] == m &&
            (pe[x] == released || pe[x] == advertised || pe[x] == torn_down) ->
        say("PE %c: release %d, again\n", 65 + x, e); PE_SEES_EPOCH; DONE(PE_RELEASE_T); check() }
    :: d_step { SENT(PE_ABORT_S) && x == source[m] && peMove[x] == m && pe[x] == aborted && (OPEN(PE_ABORT_S) || e > peEpoch[x]) ->
        say("PE %c: abort %d, again\n", 65 + x, e); PE_SEES_EPOCH; DONE(PE_ABORT_S); check() }
    :: d_step { SENT(PE_ABORT_T) && x != source[m] && peMove[x] == m && pe[x] == aborted && (OPEN(PE_ABORT_T) || e > peEpoch[x]) ->
        say("PE %c: abort %d, again\n", 65 + x, e); PE_SEES_EPOCH; DONE(PE_ABORT_T); check() }

    /* A higher epoch counts from the moment it is seen, whatever becomes of the signal. */
    :: d_step { e > peEpoch[x] && peMove[x] == m && !OVER(x) &&
            ((x == source[m] && (sent[k] & (PE_PREPARE_S | PE_SWITCH_S | PE_WITHDRAW_S | PE_TEARDOWN_S | PE_ABORT_S))) ||
                (x != source[m] && (sent[k] & (PE_PREPARE_T | PE_RELEASE_T | PE_RELEASE_AFTER_SERVERS_T | PE_ADVERTISE_T
                    | PE_TEARDOWN_T | PE_ABORT_T)))) ->
        say("PE %c hears of epoch %d\n", 65 + x, e); peEpoch[x] = e; check() }
    od
}

/* What happens by itself at site x. */
proctype Site(byte x) {
#if W > 0
    byte written = 0;
#endif

    end: do
#if W > 0
    /* The guest writes, and the store answers when it has it; the other store gets it some time later. A store that is not the owner
       does not answer: the write waits there. */
    :: d_step { guest[x] == runs && role[x] == owns && written < W ->
        say("guest %c writes, and is answered\n", 65 + x);
        written++; has[x]++; acknowledged++; check() }
    :: d_step { role[x] == owns && (role[1 - x] == follows || role[1 - x] == refuses) && has[1 - x] < has[x] ->
        say("store %c has the write of the other one\n", 66 - x); has[1 - x]++; check() }
#endif
#if G > 0
    /* A guest dies; who may run it and is not in the middle of a move starts it again (R4: only with the right on disk). */
    :: d_step { guest[x] != absent && deaths < G -> say("guest %c dies\n", 65 + x); deaths++; guest[x] = absent; ram[x] = false; check() }
    :: d_step { guest[x] == absent && mayRun[x] != NONE && phase[x] == running && role[x] == owns ->
        say("host %c starts its guest again\n", 65 + x); guest[x] = runs; check() }
#endif
#ifdef RESTART_RESUMES_GUEST
    :: d_step { guest[x] == paused -> say("host %c has been started again, and its guest with it\n", 65 + x); guest[x] = runs; check() }
#endif
#ifdef LAZY_DISK
    :: d_step { lazy[x] -> lazy[x] = false }
    :: d_step { lazy[x] ->
        say("host %c is killed before its record was on disk\n", 65 + x);
        lazy[x] = false; phase[x] = diskPhase[x]; phaseEpoch[x] = diskPhaseEpoch[x]; seen[x] = diskSeen[x];
        mayRun[x] = diskMay[x]; ranEpoch[x] = diskRan[x]; voidEpoch[x] = diskVoid[x]; check() }
#endif
#ifdef SEAL_NOT_DURABLE
    :: d_step { role[x] == sealed -> say("store %c is killed before its seal was on disk\n", 65 + x); role[x] = owns; check() }
#endif
#ifdef PE_NOT_DURABLE
    :: d_step { peLazy[x] -> peLazy[x] = false }
    :: d_step { peLazy[x] -> say("PE %c is killed before its record was on disk\n", 65 + x); peLazy[x] = false; pe[x] = peDisk[x];
        if :: peMove[x] != NONE && pe[x] == prepared -> delivers[x] = (x == source[peMove[x]]) :: else fi; check() }
#endif
    od
}

/* Nobody can do anything any more. */
proctype Final() {
    timeout -> say("nobody can do anything any more: %e, epoch %d, owner %c\n", journal.stage, journal.epoch, 65 + journal.site);
    assert(journal.stage == ended);                                     /* the move waits for ever */
    assert(guest[0] == runs || guest[1] == runs);                       /* the server runs nowhere, for ever */
    assert(guest[journal.site] == runs && delivers[journal.site]);      /* the server is not where the journal has it */
    assert(has[journal.site] == acknowledged);                          /* an acknowledged write is lost */
    assert(pe[0] != prepared && pe[1] != prepared)                      /* something of it is left over */
}

init {
    d_step {
        phase[0] = running; mayRun[0] = 0; guest[0] = runs; role[0] = owns; delivers[0] = true; granted[0] = 0;
        peMove[0] = NONE; peMove[1] = NONE
    }
    atomic {
        byte i = 0, j, n = 0;
        do :: n < MANAGERS -> run Manager(); n++ :: else -> break od;
        do
        :: i < MOVES ->
            j = FIRST_EPOCH;
            do
            :: j < EPOCHS -> run Host(0, i, j); run Host(1, i, j); run Pe(0, i, j); run Pe(1, i, j); j++
            :: else -> break
            od;
            i++
        :: else -> break
        od;
        run Site(0); run Site(1); run Final()
    }
}
