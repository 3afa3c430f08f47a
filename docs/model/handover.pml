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
 * SERVERS=2: two servers move together, each with its host records; without writes, deaths, and an old journal.
 * GIVE_UP: one manager; a person gives parties up, which are there or not.
 * OLD_JOURNAL: one manager; an old copy of its journal is put back once, at any moment, and what is to be recovered is.
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
#ifndef SERVERS
#define SERVERS 1                   /* that move together, by one path: its PEs are asked once */
#endif

#ifdef OLD_JOURNAL
#ifndef PLAIN
#define PLAIN                       /* what the parties have seen is on the record that was lost */
#endif
#define EPOCHS (2 * MOVES + 4)      /* three more: what is settled burns one, is granted the next, and may be undone by a third */
#else
#define EPOCHS (2 * MOVES + 1)      /* 0 is the epoch before the first move; a move has one, and its undo the next */
#endif
#define NONE 255
#define FIRST_EPOCH 1

/* Stages of a move: StageTable.cs. Not here: await-window. Three are no stages: a move that has ended because somebody knows a later epoch
   (MoveOutcome.Fenced), or without a party that was given up (GivenUp), and a journal that was rebuilt, in which no move runs. */
mtype = {
    planned, prepare_target, prepare_source, mirror, switch, stop, hand_over, activate, release, hold_drain, advertise, direct_path,
    withdraw, drain, teardown_source, last_packet, teardown_target, inspect, void, resume_source, abort_source, empty_tunnel,
    abort_target, give_back, inspect_undo, ended, settle, fenced, recovered, given_up
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
#define HOST_VOID_S     1073741824
#define HOST_ALL        1073742079
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
#define ORDERS          1074266111

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
    ROW(settle,          resume_source,   false, HOST_VOID_S | HOST_VOID_T, 0);
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
#ifdef GIVE_UP
    byte gone = 0;              /* the parties that were given up */
#endif
#ifdef OLD_JOURNAL
    byte seen = 0;              /* settle: the highest epoch that the hosts had seen; the highest that anybody had seen */
    byte between = 0;
    bool pathless = false;      /* settle: no PE knew an unfinished path of it, so the move has none */
#endif
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
int done[SERVERS * MOVES * EPOCHS];     /* of a server; the PEs' answers are with the first one's */

/* What void and activate are answered. */
#define IS_VOID 1
#define HAS_RUN 2
#define REFUSED 4
#define IS_VOID_S 8                 /* of the source: only what is settled asks it */
#define HAS_RUN_S 16
byte verdict[SERVERS * MOVES * EPOCHS];

/* What a server has at a site has the site's number, and the second server's two more. */
#define SITES (2 * SERVERS)
#if SERVERS > 1
#define SITE(x) (x & 1)
#define OTHER(x) (x ^ 1)
#define LETTER(x) (x < 2 -> 65 + x : 95 + x)    /* host a is A, for the second server */
#define EACH(what) (what(0) && what(2))
#define ANY(what) (what(0) || what(2))
#else
#define SITE(x) x
#define OTHER(x) (1 - x)
#define LETTER(x) 65 + x
#define EACH(what) what(0)
#define ANY(what) what(0)
#endif

/* A host's record of the server (HostRecord.cs), by site; and the guest, which goes on when the agent is killed. */
mtype = { running, offered, stopping, resuming, retiring, away, incoming, cancelling, starting };
mtype = { absent, waiting, paused, runs };
mtype phase[SITES] = away;
byte phaseEpoch[SITES];
byte seen[SITES];
byte mayRun[SITES] = NONE;
byte ranEpoch[SITES];
byte voidEpoch[SITES];
bool isTarget[SITES];
mtype guest[SITES] = absent;
bool ram[SITES];                        /* the state that was handed over is here, complete */

/* A store's record of the volume (OwnershipTypes.cs), and how many of the acknowledged writes it has. */
mtype = { follows, owns, sealed, refuses };
mtype role[SITES] = follows;
byte storeSeen[SITES];
byte storeOwner[SITES];                 /* the epoch of its grant in force */
byte has[SITES];
byte acknowledged = 0;

/* A PE's record of its migration (PeTransitions.cs), and whether packets for the server leave by its port. */
mtype = { idle, prepared, switched, withdrawn, torn_down, released, advertised, aborted };
mtype pe[2] = idle;
byte peEpoch[2];
byte peMove[2] = NONE;
bool delivers[2];

byte deaths = 0;
byte kills = KILLS;
#ifdef GIVE_UP
int cut[2];                         /* the orders and signals that nobody takes at a site any more: they were given up, and are gone */
#endif

/*
 * An old copy of the journal (OLD_JOURNAL): it is made at any time, and at any later time it is put back, once. The manager that starts
 * from it asks first (TakeUp.cs); what it finds to be old is rebuilt from what the parties say (Recovery.cs, Settling.cs).
 */
#ifdef OLD_JOURNAL
Move oldCopy;
bool kept = false;
bool restored = false;
bool held = false;                  /* what runs by the copy is not gone on with */
bool found = false;                 /* a party knows more than the copy */
bool believed = true;               /* what the journal says now was written, or asked of all parties, since the copy was put back */
byte h = 0;
#define BELIEVED believed
#define READY    (up && !writes && !held)
#else
#define BELIEVED true
#define READY    (up && !writes)
#endif

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
#ifdef OLD_JOURNAL
#define PATHLESS journal.pathless
#else
#define PATHLESS false
#endif
#define say printf              /* told when a counterexample is replayed */

/* Parties that a person can give up (GiveUp.cs). */
#define SOURCE_HOST 1
#define TARGET_HOST 2
#define SOURCE_PE   4
#define TARGET_PE   8
#define PARTIES     15
#ifdef GIVE_UP
#define HAS_GONE(who) (journal.gone & (who))
#define OWNER_IS_GONE (journal.site == source[journal.number] && HAS_GONE(SOURCE_HOST))
#define NO_OWNER (journal.stage == given_up && OWNER_IS_GONE)
#define NO_PE (journal.stage == given_up && HAS_GONE(SOURCE_PE | TARGET_PE))
#else
#define NO_OWNER false
#define NO_PE false
#endif

/* Never two, whatever is done, in whatever order. Part of each step that changes something. */
inline check() {
    check_server(0);
#if SERVERS > 1
    check_server(2);
#endif
    assert(!(delivers[0] && delivers[1]));                             /* both PEs deliver */
    exact(peEpoch[0] <= journal.epoch && peEpoch[1] <= journal.epoch); /* a PE has seen an epoch that is not on record */

    /* ended: what the outcome says is so, and stays so whatever comes late */
    if
    :: journal.stage == ended && BELIEVED ->
        assert(delivers[journal.site] && !delivers[1 - journal.site]); /* ended, and packets go to the wrong site, or nowhere */
        assert(PATHLESS || peEpoch[0] >= journal.epoch && peEpoch[1] >= journal.epoch)    /* ended, and a PE has not heard of it */
    :: else
    fi
}

/* The same, of one server. */
inline check_server(s) {
    assert(!(guest[s] == runs && guest[s + 1] == runs));               /* two guests run */
    assert(!(mayRun[s] != NONE && mayRun[s + 1] != NONE));             /* two hosts have the right to run on disk */
    assert(!(role[s] == owns && role[s + 1] == owns));                 /* two stores accept writes */
    assert(role[s] != owns || has[s] == acknowledged);                 /* the owner lacks a write that was acknowledged */
    assert(role[s + 1] != owns || has[s + 1] == acknowledged);         /* the owner lacks a write that was acknowledged */

    /* nobody has seen an epoch that is not on record */
    exact(seen[s] <= journal.epoch && seen[s + 1] <= journal.epoch);
    exact(storeSeen[s] <= journal.epoch && storeSeen[s + 1] <= journal.epoch);

    if
    :: journal.stage == ended && BELIEVED ->
        assert(mayRun[s + journal.site] == journal.epoch);             /* ended, and the owner has not the right to run */
        assert(mayRun[s + 1 - journal.site] == NONE);                  /* ended, and the other one has the right to run */
        assert(guest[s + 1 - journal.site] == absent);                 /* ended, and a guest is left at the other one */
        assert(guest[s + journal.site] == runs || deaths > 0);         /* ended, and the guest does not run at the owner */
        assert(seen[s + 1 - journal.site] >= journal.epoch);           /* ended, and a host has not heard of the epoch */
        assert(role[s + journal.site] == owns && has[s + journal.site] == acknowledged)   /* ended, and the store is not the owner's */
#ifdef GIVE_UP
    :: journal.stage == given_up ->
        assert(mayRun[1 - journal.site] == NONE && guest[1 - journal.site] != runs);   /* given up, and the other one may run it */
        assert(HAS_GONE(TARGET_HOST) || HAS_GONE(SOURCE_HOST) || guest[1 - journal.site] == absent);   /* a guest is left */
        assert(OWNER_IS_GONE || mayRun[journal.site] == journal.epoch);    /* given up, and the owner has not the right to run */
        assert(OWNER_IS_GONE || guest[journal.site] == runs);          /* given up, and the guest does not run at the owner */
        assert(HAS_GONE(TARGET_HOST) || seen[1 - source[journal.number]] >= journal.epoch);    /* a host has not heard of the epoch */
        assert(HAS_GONE(SOURCE_HOST) || seen[source[journal.number]] >= journal.epoch);        /* a host has not heard of the epoch */
        assert(HAS_GONE(TARGET_PE) || peEpoch[1 - source[journal.number]] >= journal.epoch);   /* a PE has not heard of the epoch */
        assert(HAS_GONE(SOURCE_PE) || peEpoch[source[journal.number]] >= journal.epoch)        /* a PE has not heard of the epoch */
#endif
    :: journal.stage == recovered ->
        assert(mayRun[1 - journal.site] == NONE);                      /* rebuilt, and the other one has the right to run */
        assert(guest[1 - journal.site] != runs)                        /* rebuilt, and the guest runs at the other one */
    :: else
    fi
}

#define RUNS_HERE(s) (guest[s + x] == runs)
inline to_a_server_that_runs(x) {
    assert(EACH(RUNS_HERE) || deaths > 0)                               /* packets go to a server that does not run */
}

#define A source[v.number]
#define B (1 - source[v.number])

#define IS_MIRRORED(s) (phase[s + A] == offered && guest[s + A] == runs && guest[s + B] == waiting)
#define RUNS_AT_A(s) (guest[s + A] == runs && mayRun[s + A] == v.epoch)
#define RUNS_AT_B(s) (guest[s + B] == runs && mayRun[s + B] == v.epoch)

/* True: the looks of a stage see what they look for. */
#define LOOKS_SEE(asks) ( \
    (!(asks & SEE_TUNNEL_UP)   || (peMove[A] == v.number && peMove[B] == v.number && \
        (pe[A] == prepared || pe[A] == switched || pe[A] == withdrawn) && \
        (pe[B] == prepared || pe[B] == released || pe[B] == advertised))) && \
    (!(asks & SEE_MIRRORED)    || EACH(IS_MIRRORED)) && \
    (!(asks & SEE_HOLDING)     || (peMove[B] == v.number && pe[B] == prepared)) && \
    (!(asks & SEE_HOLD_EMPTY)  || delivers[B]) && \
    (!(asks & SEE_DIRECT_PATH) || pe[B] == advertised || pe[B] == torn_down) && \
    (!(asks & SEE_DRAINED)     || pe[A] == withdrawn || pe[A] == torn_down) && \
    (!(asks & SEE_LAST_PACKET) || GONE(SOURCE_PE) || pe[A] == torn_down || pe[A] == aborted) && \
    (!(asks & SEE_GIVEN_BACK)  || pe[B] == aborted) && \
    (!(asks & SEE_CLEAN)       || (((GONE(SOURCE_PE) || pe[A] == torn_down) && (GONE(TARGET_PE) || pe[B] == torn_down)) || \
        ((GONE(SOURCE_PE) || pe[A] == aborted) && (GONE(TARGET_PE) || pe[B] == aborted)))) && \
    (!(asks & SEE_RUNS_AT_TARGET)      || EACH(RUNS_AT_B)) && \
    (!(asks & SEE_RUNS_AT_SOURCE)      || EACH(RUNS_AT_A)))

#define OF_PE_SOURCE (PE_PREPARE_S | PE_SWITCH_S | PE_WITHDRAW_S | PE_TEARDOWN_S | PE_ABORT_S)
#define OF_PE_TARGET (PE_PREPARE_T | PE_RELEASE_T | PE_RELEASE_AFTER_SERVERS_T | PE_ADVERTISE_T | PE_TEARDOWN_T | PE_ABORT_T)

#ifdef GIVE_UP
#define GONE(who) (v.gone & (who))
#else
#define GONE(who) false
#endif
#define OF_HOSTS (HOST_ALL | SEE_RUNS_AT_TARGET | SEE_RUNS_AT_SOURCE)
#define ANSWERS_OF(s) done[OF(v.number, v.epoch) + s / 2 * MOVES * EPOCHS]
#define VERDICT_ON(s) verdict[OF(v.number, v.epoch) + s / 2 * MOVES * EPOCHS]
#define IS_REFUSED(s) (VERDICT_ON(s) & REFUSED)
#define IS_VOIDED(s) (VERDICT_ON(s) & IS_VOID)
#define RAN_AT_B(s) ((VERDICT_ON(s) & HAS_RUN) || (ANSWERS_OF(s) & HOST_ACTIVATE_T))
#define IS_JUDGED(s) (IS_VOIDED(s) || RAN_AT_B(s))
#define RUNS_BY_ANSWER(s) (ANSWERS_OF(s) & HOST_ACTIVATE_T)
#if SERVERS == 1
#define ANSWERS ANSWERS_OF(0)
#elif defined(PIVOT_WITH_ONE_STOPPED)
#define ANSWERS ((ANSWERS_OF(0) | ANSWERS_OF(2) & HOST_STOP_S) & (ANSWERS_OF(2) | ANSWERS_OF(0) & HOST_STOP_S | PE_ALL))
#elif defined(UNDO_ONLY_ONE)
#define ANSWERS (ANSWERS_OF(0) & (ANSWERS_OF(2) | HOST_RESUME_S | HOST_CANCEL_T | PE_ALL))
#else
#define ANSWERS (ANSWERS_OF(0) & (ANSWERS_OF(2) | PE_ALL))
#endif

#ifdef GIVE_UP
inline not_asked(who, what) {
    if :: GONE(who) -> r_asks = r_asks & ~(what); r_ahead = r_ahead & ~(what) :: else fi
}
#endif

/* A stage begins in a manager's memory. */
inline enter(st) {
    v.stage = st;
    ask()
}

/* What it asks. */
inline ask() {
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
#ifdef GIVE_UP
    /* What decides who may run is never taken as done. */
    not_asked(SOURCE_HOST, HOST_RESUME_S | HOST_RETIRE_S | SEE_RUNS_AT_SOURCE);
    not_asked(TARGET_HOST, HOST_CANCEL_T);
    not_asked(SOURCE_PE, OF_PE_SOURCE | SEE_DRAINED);
    not_asked(TARGET_PE, OF_PE_TARGET | SEE_DRAINED | SEE_GIVEN_BACK | SEE_LAST_PACKET);
    if :: GONE(SOURCE_PE) && GONE(TARGET_PE) -> r_asks = r_asks & ~SEE_CLEAN :: else fi;
#ifdef GIVEN_UP_HAS_STOPPED
    not_asked(SOURCE_HOST, HOST_STOP_S);
#endif
#endif
#ifdef OLD_JOURNAL
    if
    :: v.pathless -> r_asks = r_asks & OF_HOSTS; r_ahead = r_ahead & OF_HOSTS
    :: else
    fi;
#endif
    v.asks = r_asks; v.opens = (r_asks | r_ahead) & ORDERS; v.undoable = r_undo
}

#define SENDS(e) if :: v.opens != 0 -> sent[OF(v.number, e)] = sent[OF(v.number, e)] | v.opens :: else fi
#define SEND SENDS(v.epoch)

inline copy(to, from) {
    to.stage = from.stage; to.epoch = from.epoch; to.number = from.number; to.site = from.site; to.ran = from.ran;
    to.unconfirmed = from.unconfirmed; to.position = from.position; to.undoable = from.undoable; to.asks = from.asks;
#ifdef GIVE_UP
    to.gone = from.gone;
#endif
#ifdef OLD_JOURNAL
    to.seen = from.seen; to.between = from.between; to.pathless = from.pathless;
#endif
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

#ifdef OLD_JOURNAL
#define OF_SOURCE (HOST_PREPARE_S | HOST_STOP_S | HOST_RESUME_S | HOST_RETIRE_S)
#define OF_TARGET (HOST_PREPARE_T | HOST_ACTIVATE_T | HOST_CANCEL_T)
#define OVER(y) (pe[y] == idle || pe[y] == torn_down || pe[y] == aborted)
#define NO_MOVE (v.stage == planned || v.stage == ended || v.stage == fenced || v.stage == recovered)
#define HIGHER(a, b) (a > b -> a : b)

/* What shows that the journal is old: a host or a PE has seen a later epoch; the target has run an epoch that was never granted to it. */
#define TARGET_RAN (v.site == A && ranEpoch[B] > 0 && ranEpoch[B] >= (v.undoable -> v.epoch : v.epoch - 1))
#define HOSTS_KNOW_MORE (seen[A] > v.epoch || seen[B] > v.epoch || TARGET_RAN)
#define PES_KNOW_MORE (peMove[A] == v.number && peEpoch[A] > v.epoch || peMove[B] == v.number && peEpoch[B] > v.epoch)

/* Before the pivot a move is gone on with when none of them knows more. */
#if defined(TAKE_UP_UNASKED)
#define TAKES_UP_BEFORE true
#elif defined(TAKE_UP_WITHOUT_TARGET)
#define TAKES_UP_BEFORE (seen[A] <= v.epoch && !PES_KNOW_MORE)
#elif defined(TAKE_UP_BY_EPOCHS)
#define TAKES_UP_BEFORE (seen[A] <= v.epoch && seen[B] <= v.epoch && !PES_KNOW_MORE)
#elif defined(TAKE_UP_WITHOUT_PES)
#define TAKES_UP_BEFORE (!HOSTS_KNOW_MORE)
#else
#define TAKES_UP_BEFORE (!HOSTS_KNOW_MORE && !PES_KNOW_MORE)
#endif

/* A new move is planned: the parties know no later epoch and no later migration, nothing is left over of another one, and the server runs
   where the journal has it, and there alone. */
#define NEXT_NUMBER (v.stage == planned || v.stage == recovered -> v.number : v.number + 1)
#define NOT_LATER(x) (seen[x] <= v.epoch && peEpoch[x] <= v.epoch && OVER(x) && (peMove[x] == NONE || peMove[x] < NEXT_NUMBER))
#define PLAN_IS_GOOD (!restored || NOT_LATER(0) && NOT_LATER(1) && guest[v.site] == runs && mayRun[v.site] != NONE && \
    guest[1 - v.site] == absent)

/* A party refuses what it is asked: it has seen a later epoch (R1). */
#define IS_STALE ((v.opens & OF_SOURCE) && seen[A] > v.epoch || (v.opens & OF_TARGET) && seen[B] > v.epoch || \
    (v.opens & OF_PE_SOURCE) && peEpoch[A] > v.epoch && !(peMove[A] == v.number && OVER(A)) || \
    (v.opens & OF_PE_TARGET) && peEpoch[B] > v.epoch && !(peMove[B] == v.number && OVER(B)))

/* Who may run it. Refused: it runs somewhere without the right to (it is about to be paused). */
#define HAS_RIGHT(x) (mayRun[x] != NONE)
#define MAY_RECOVER (up && !writes && restored && (found || v.stage == fenced || (v.stage == planned || v.stage == ended) && !believed || \
    v.stage == recovered && (!HAS_RIGHT(v.site) || EPOCH_SEEN > v.epoch)) && \
    (HAS_RIGHT(0) || guest[0] != runs) && (HAS_RIGHT(1) || guest[1] != runs))
#define HOSTS_SEEN HIGHER(seen[0], seen[1])
#define PES_SEEN HIGHER(peEpoch[0], peEpoch[1])
#define EPOCH_SEEN HIGHER(HOSTS_SEEN, PES_SEEN)
#define LIVE(x) (peMove[x] != NONE && !OVER(x))
#define HAS_LIVE(x, st) (LIVE(x) && pe[x] == st)

/* It can be settled where it was kept; or where it was to go, if all of it is there and the network can go on to it. */
#define KEPT(x) (phase[x] == stopping)
#define HANDED(x) (phase[x] == incoming && phase[1 - x] == stopping && guest[1 - x] == paused && role[1 - x] == sealed)
#ifdef SETTLED_WITHOUT_NETWORK
#define NETWORK_AT(x) ((!LIVE(0) && !LIVE(1)) || HAS_LIVE(1 - x, switched) && HAS_LIVE(x, prepared))
#else
#define NETWORK_AT(x) (HAS_LIVE(1 - x, switched) && HAS_LIVE(x, prepared))
#endif

inline forget_answers() {
    h = 0;
    do :: h < MOVES * EPOCHS -> done[h] = 0; verdict[h] = 0; h++ :: else -> break od;
    h = 0
}

/* Nothing becomes of an order whose epoch the host would refuse: the search is smaller without it. */
inline forget_refused() {
    h = 0;
    do
    :: h < MOVES * EPOCHS ->
        if :: seen[source[h / EPOCHS]] > h % EPOCHS -> sent[h] = sent[h] & ~OF_SOURCE :: else fi;
        if :: seen[1 - source[h / EPOCHS]] > h % EPOCHS -> sent[h] = sent[h] & ~OF_TARGET :: else fi;
        h++
    :: else -> break
    od;
    h = 0
}

/* What was sent has arrived, or is lost. */
inline has_arrived(rest) {
    h = 0;
    do :: h < MOVES * EPOCHS -> sent[h] = sent[h] & rest; h++ :: else -> break od;
    h = 0
}
#ifdef LATE_AT_TAKE_UP
#define ALL_HAS_ARRIVED skip
#define ORDERS_HAVE_ARRIVED skip
#else
#define ALL_HAS_ARRIVED has_arrived(0)
#define ORDERS_HAVE_ARRIVED has_arrived(PE_ALL)
#endif
#ifdef LATE_SIGNALS
#define SIGNALS_HAVE_ARRIVED skip
#else
#define SIGNALS_HAVE_ARRIVED has_arrived(HOST_ALL)
#endif

inline rebuild() {
    v.ran = false; v.unconfirmed = false; v.undoable = false; v.asks = 0; v.opens = 0; v.pathless = false; v.seen = 0; v.between = 0;
    v.number = NEXT_NUMBER;
    if :: peMove[0] != NONE && peMove[0] >= v.number -> v.number = peMove[0] + 1 :: else fi;
    if :: peMove[1] != NONE && peMove[1] >= v.number -> v.number = peMove[1] + 1 :: else fi;
#ifndef RECOVER_KEEPS_EPOCH
    v.epoch = HIGHER(v.epoch, EPOCH_SEEN);
#endif
    found = false; held = false; writes = true; forget_refused();
    SIGNALS_HAVE_ARRIVED
}

#define VERDICT_OF(e) verdict[OF(v.number, e)]
#define SETTLE_ANSWERED(e) ((VERDICT_OF(e) & (IS_VOID | HAS_RUN)) && (VERDICT_OF(e) & (IS_VOID_S | HAS_RUN_S)))
#define RAN_ELSEWHERE(e) (VERDICT_OF(e) & (v.site == B -> HAS_RUN_S : HAS_RUN))

/* The move by which it is settled has the paths that a PE knows and has not finished. */
inline settle_at(x) {
    rebuild();
    assert(v.epoch + 3 < EPOCHS);                                       /* the model has too few epochs */
    v.pathless = !LIVE(0) && !LIVE(1);
    if
    :: LIVE(0) -> v.number = peMove[0]
    :: !LIVE(0) && LIVE(1) -> v.number = peMove[1]
    :: else -> v.number = v.number - 1
    fi;
    v.seen = HOSTS_SEEN;
#ifdef ONLY_HOSTS_EPOCH_IS_VOIDED
    v.between = v.seen;
#else
    v.between = HIGHER(v.seen, v.epoch);
#endif
#ifndef SETTLE_ONE_VOID
    v.epoch = v.epoch + 1;
#endif
    v.site = x; enter(settle);
#ifdef RECOVER_GUESSES
    v.epoch = v.epoch + 1;
    if :: x == B -> enter(activate) :: else -> enter(resume_source) fi
#endif
}
#endif

#if SERVERS > 1
#define SOME_RUN ANY(RUNS_BY_ANSWER)
#else
#define SOME_RUN false              /* else the stage would have ended */
#endif
#ifdef VOID_OF_ONE_UNDOES
#define IS_ALL_VOID (EACH(IS_JUDGED) && ANY(IS_VOIDED))
#else
#define IS_ALL_VOID EACH(IS_VOIDED)
#endif
#ifdef NO_ABORT
#define MAY_ASK_FOR_VOID ANY(IS_REFUSED)
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

#ifndef OLD_JOURNAL
    :: d_step { READY && v.stage == planned ->
        say("manager %d begins a move\n", _pid); begin(); enter(prepare_target); DECIDED }

#if MOVES > 1
    :: d_step { READY && v.stage == ended && v.number + 1 < MOVES ->
        say("manager %d begins the next move\n", _pid); v.number = v.number + 1; begin(); enter(prepare_target); DECIDED }
#endif
#else
    :: d_step { READY && NO_MOVE && v.stage != fenced && NEXT_NUMBER < MOVES && PLAN_IS_GOOD ->
        say("manager %d begins a move\n", _pid);
        if :: restored -> ALL_HAS_ARRIVED :: else fi;
        v.number = NEXT_NUMBER; v.pathless = false; v.seen = 0; v.between = 0; begin(); enter(prepare_target); DECIDED }

    /* An old copy of the journal. */
    :: d_step { !kept && !restored -> say("a copy of the journal is made: %e, epoch %d\n", journal.stage, journal.epoch);
        kept = true; copy(oldCopy, journal) }
    :: d_step { kept && oldCopy.position < journal.position ->
        say("the copy is put back, and the manager starts from it: %e, epoch %d, owner %c\n",
            oldCopy.stage, oldCopy.epoch, 65 + oldCopy.site);
        kept = false; restored = true; believed = false; copy(journal, oldCopy); copy(v, oldCopy); up = true; writes = false;
        oldCopy.stage = planned; oldCopy.epoch = 0; oldCopy.number = 0; oldCopy.site = 0; oldCopy.ran = false; oldCopy.unconfirmed = false;
        oldCopy.position = 0; oldCopy.undoable = false; oldCopy.asks = 0; oldCopy.opens = 0;
        held = !NO_MOVE; forget_answers(); forget_refused() }

    /* Is it the newest? Before the pivot both hosts must answer, and the PEs before it goes on; from the pivot on, and in an undo, nobody
       is waited for. */
    :: d_step { held && !found && (HOSTS_KNOW_MORE || PES_KNOW_MORE) ->
        say("manager %d: the journal is old, nothing moves\n", _pid); found = true }
    :: d_step { held && !found && v.undoable && TAKES_UP_BEFORE ->
        say("manager %d takes the move up in %e\n", _pid, v.stage); held = false; believed = true; ALL_HAS_ARRIVED; SEND }
    /* Without the word of a PE it is undone, and nothing else: by itself from the switch on, before that by a person. */
    :: d_step { held && !found && v.undoable && !HOSTS_KNOW_MORE ->
        say("manager %d takes the move up in %e without a PE, and undoes it\n", _pid, v.stage);
        held = false; believed = true; ORDERS_HAVE_ARRIVED; undo(); enter(resume_source); DECIDED }
    :: d_step { held && !found && v.stage == stop && !HOSTS_KNOW_MORE ->
        say("manager %d takes the move up without a PE, and undoes it: stop was not answered\n", _pid);
        held = false; believed = true; ORDERS_HAVE_ARRIVED;
        undo(); v.unconfirmed = true; enter(resume_source); row(); enter(r_next); DECIDED }
    :: d_step { held && !found && !v.undoable ->
        say("manager %d takes the move up in %e, whoever is silent\n", _pid, v.stage);
        held = false; believed = (MOVES == 1); SEND }
    :: d_step { restored && READY && !NO_MOVE && IS_STALE ->
        say("manager %d is told: stale epoch\n", _pid); v.stage = fenced; v.undoable = false; v.asks = 0; v.opens = 0; DECIDED }

    /* recover: who has the right to run it owns it. Nobody has: it is settled where a person says. */
    :: d_step { MAY_RECOVER && (HAS_RIGHT(0) || HAS_RIGHT(1)) ->
        rebuild(); v.site = (HAS_RIGHT(0) -> 0 : 1); v.stage = recovered;
        say("recover: %c has the right to run, epoch %d\n", 65 + v.site, v.epoch) }
    :: d_step { MAY_RECOVER && !HAS_RIGHT(0) && !HAS_RIGHT(1) && KEPT(0) ->
        settle_at(0); say("recover, settle at A: void %d and %d are asked\n", v.seen, v.epoch) }
#if MOVES > 1
    :: d_step { MAY_RECOVER && !HAS_RIGHT(0) && !HAS_RIGHT(1) && KEPT(1) ->
        settle_at(1); say("recover, settle at B: void %d and %d are asked\n", v.seen, v.epoch) }
    :: d_step { MAY_RECOVER && !HAS_RIGHT(0) && !HAS_RIGHT(1) && HANDED(0) && NETWORK_AT(0) ->
        settle_at(0); say("recover, settle at A, which got all of it: void %d and %d are asked\n", v.seen, v.epoch) }
#endif
    :: d_step { MAY_RECOVER && !HAS_RIGHT(0) && !HAS_RIGHT(1) && HANDED(1) && NETWORK_AT(1) ->
        settle_at(1); say("recover, settle at B, which got all of it: void %d and %d are asked\n", v.seen, v.epoch) }

    /* All hosts have answered. */
    :: d_step { READY && v.stage == settle && SETTLE_ANSWERED(v.seen) && SETTLE_ANSWERED(v.between) && SETTLE_ANSWERED(v.epoch) ->
        if
#ifndef SETTLE_IGNORES_RAN
        :: RAN_ELSEWHERE(v.seen) || RAN_ELSEWHERE(v.between) || RAN_ELSEWHERE(v.epoch) ->
            say("manager %d: nothing is settled, it ran at the other one\n", _pid); v.stage = fenced; v.asks = 0; v.opens = 0
#endif
        :: else ->
            say("manager %d: what did not run where it is to be is void\n", _pid);
#ifndef SETTLED_IS_VOIDED
            v.ran = v.site == B && ((VERDICT_OF(v.seen) | VERDICT_OF(v.between) | VERDICT_OF(v.epoch)) & HAS_RUN);
#endif
            v.epoch = v.epoch + 1;
            if :: v.site == B -> enter(activate) :: else -> enter(resume_source) fi
        fi;
        DECIDED }
#endif

    /* A stage ends when all that it asks for has taken effect. */
    :: d_step { READY && v.stage != planned && v.stage != void && v.stage != ended &&
            v.stage != settle && v.stage != fenced && v.stage != recovered && v.stage != given_up &&
            ((ANSWERS & v.asks) == (v.asks & ORDERS)) && LOOKS_SEE(v.asks) ->
        say("manager %d: %e is done\n", _pid, v.stage); row();
        if
        :: r_next == hand_over -> v.site = B; enter(activate)      /* the pivot; nothing is to be handed over that cannot be undone */
#ifdef GIVE_UP
        :: r_next == ended && v.gone != 0 -> v.stage = given_up; v.asks = 0; v.opens = 0; v.undoable = false
#endif
        :: else -> enter(r_next)
        fi;
        if
        :: v.asks == 0 && v.stage != ended && !GONE(PARTIES) -> row(); enter(r_next)
        :: else
        fi;
        DECIDED }

    /* Before the pivot: a refusal, an abort, a deadline. */
    :: d_step { READY && v.undoable ->
        say("manager %d undoes the move in %e\n", _pid, v.stage); undo(); enter(resume_source); DECIDED }

    /* The deadline of stop, and its answer is not here. */
    :: d_step { READY && v.stage == stop ->
        say("manager %d undoes the move: stop was not answered in time\n", _pid);
        undo(); v.unconfirmed = true; enter(resume_source); row(); enter(r_next); DECIDED }

#ifdef GIVE_UP
    /* A party is given up, or all that the move has at a site; once. Before the pivot the move is undone; after it only the source's can
       be: the target may run. */
#ifdef TARGET_IS_GIVEN_UP
#define MAY_BE_GIVEN_UP(who) (v.stage != planned && v.stage != ended && v.stage != given_up && v.gone == 0)
#else
#define MAY_BE_GIVEN_UP(who) (v.stage != planned && v.stage != ended && v.stage != given_up && v.gone == 0 && \
    (v.site == A || !((who) & (TARGET_HOST | TARGET_PE))))
#endif
#ifdef GIVEN_UP_HAS_STOPPED
#define IS_UNDONE_WITHOUT(who) (v.undoable && !(v.stage == stop && (who) == SOURCE_HOST))
#else
#define IS_UNDONE_WITHOUT(who) (v.undoable || v.site == B && ((who) & (TARGET_HOST | TARGET_PE)))
#endif
#define GIVES_UP(who, what, site) \
    :: d_step { READY && MAY_BE_GIVEN_UP(who) -> say("party %d is given up, and is there\n", who); \
        v.gone = v.gone | (who); \
        if :: IS_UNDONE_WITHOUT(who) -> undo(); enter(resume_source) :: else -> ask() fi; \
        DECIDED } \
    :: d_step { READY && MAY_BE_GIVEN_UP(who) -> say("party %d is given up, and is gone\n", who); \
        v.gone = v.gone | (who); cut[site] = cut[site] | (what); \
        if :: IS_UNDONE_WITHOUT(who) -> undo(); enter(resume_source) :: else -> ask() fi; \
        DECIDED }
    GIVES_UP(SOURCE_HOST, HOST_ALL, A)
    GIVES_UP(TARGET_HOST, HOST_ALL, B)
    GIVES_UP(SOURCE_PE,   PE_ALL,   A)
    GIVES_UP(TARGET_PE,   PE_ALL,   B)
    GIVES_UP(SOURCE_HOST | SOURCE_PE, ORDERS, A)
    GIVES_UP(TARGET_HOST | TARGET_PE, ORDERS, B)
#endif

    /* After it: the target is asked for its word (R5), for an abort or because it refuses. */
    :: d_step { READY && v.stage == activate && !v.ran && !SOME_RUN && MAY_ASK_FOR_VOID ->
        say("manager %d asks for void\n", _pid); enter(void); DECIDED }

#ifdef SILENCE_IS_VOID
    :: d_step { READY && v.stage == void ->
        say("manager %d takes silence for void\n", _pid); undo(); enter(resume_source); DECIDED }
#else
    :: d_step { READY && v.stage == void && IS_ALL_VOID ->
        say("manager %d is told: void\n", _pid); undo(); enter(resume_source); DECIDED }
#endif
    :: d_step { READY && v.stage == void && EACH(IS_JUDGED) && ANY(RAN_AT_B) ->
        say("manager %d is told: it ran\n", _pid); v.ran = true;
#if SERVERS > 1 && !defined(GRANTED_ANEW_WITH_SAME_EPOCH)
        /* What was void is granted anew. */
        if :: ANY(IS_VOIDED) -> v.epoch = v.epoch + 1 :: else fi;
#endif
        enter(activate); DECIDED }

    /* The record is on disk; or the journal has gone on without this manager. */
    :: d_step { up && writes && v.position == journal.position ->
        say("journal (manager %d): %e, epoch %d, owner %c\n", _pid, v.stage, v.epoch, 65 + v.site);
#ifdef OLD_JOURNAL
        if :: v.epoch != journal.epoch || v.number != journal.number -> forget_answers() :: else fi;
#endif
        v.position = v.position + 1; copy(journal, v); writes = false; SEND;
#ifdef OLD_JOURNAL
        if :: v.stage == settle || v.stage == recovered || v.stage == prepare_target -> believed = true :: else fi;
        if :: v.stage == settle -> SENDS(v.seen); SENDS(v.between) :: else fi;
#endif
        granted[v.epoch] = v.site;
        if :: v.stage == prepare_target -> source[v.number] = v.site :: else fi;
        check() }
#if MANAGERS > 1
    :: d_step { up && writes && v.position != journal.position ->
#ifdef APPEND_ANYWHERE
        say("manager %d appends behind what it has not read, and goes on with %e, epoch %d\n", _pid, v.stage, v.epoch);
        v.position = journal.position; SEND; writes = false
#else
        say("manager %d: another was there first\n", _pid); copy(v, journal); writes = false
#endif
        }
#endif

#if KILLS > 0
    /* Killed, with what it had not written. */
    :: d_step { up && kills > 0 -> say("manager %d is killed\n", _pid); kills--; up = false; writes = false; forget() }
#endif
    od
}

#if SERVERS > 1
#define K (k % (MOVES * EPOCHS))
#else
#define K k
#endif
#ifdef UNDO_ONLY_ONE
#define SENT(bit)  (sent[K] & (bit) & (k == K -> ORDERS : ORDERS & ~(HOST_RESUME_S | HOST_CANCEL_T)))
#elif defined(GIVE_UP)
#define SENT(bit)  (sent[K] & (bit) & ~cut[x])
#else
#define SENT(bit)  (sent[K] & (bit))
#endif
#ifdef OLD_JOURNAL
/* Answers to what is not asked any more are dropped: nobody looks at them, and the search is smaller. */
#define IS_ASKED (journal.number == m && journal.epoch == e)
#define IS_ASKED_FOR(bit) (IS_ASKED && !held && (journal.opens & (bit)))
#define DONE(bit)  if :: IS_ASKED_FOR(bit) -> done[k] = done[k] | (bit) :: else fi
#define VOID_IS_OPEN(bit) (!(done[k] & (bit)) && (IS_ASKED || journal.stage == settle && journal.number == m && \
    (journal.seen == e || journal.between == e)) || e > voidEpoch[x] && e > ranEpoch[x] || e > seen[x])
#else
#define IS_ASKED true
#define IS_ASKED_FOR(bit) true
#define DONE(bit)  done[k] = done[k] | (bit)
#define VOID_IS_OPEN(bit) OPEN(bit)
#endif
#define VOID_DONE(bit) done[k] = done[k] | (bit)
#define OPEN(bit)  (IS_ASKED_FOR(bit) && !(done[k] & (bit)))
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
/* A target that has said void of what it was prepared for may be granted a higher epoch without another prepare. */
#if defined(OLD_JOURNAL) || SERVERS > 1
#define PREPARED_FOR (phaseEpoch[x] == e || phaseEpoch[x] < e && voidEpoch[x] >= phaseEpoch[x])
#else
#define PREPARED_FOR (phaseEpoch[x] == e)
#endif

/* What was done before is answered again. */
#ifdef OLD_JOURNAL
#define HOST_AGAIN(bit, is_so) \
    :: d_step { SENT(bit) && OPEN(bit) && HOST_FENCE && is_so -> say("host %c: order %d, done before\n", 65 + x, bit); DONE(bit) }
#define PE_AGAIN(bit, is_so) \
    :: d_step { SENT(bit) && OPEN(bit) && peMove[x] == m && (PE_FENCE || pe[x] == torn_down) && is_so -> \
        say("PE %c: signal %d, done before\n", 65 + x, bit); PE_SEES_EPOCH; DONE(bit) }
#else
#define HOST_AGAIN(bit, is_so)
#define PE_AGAIN(bit, is_so)
#endif

proctype Host(byte x, m, e) {
    byte k = OF(m, e) + x / 2 * MOVES * EPOCHS;

    end: do
    /* R1: whatever is refused, its epoch counts. */
    :: d_step { SENT(HOST_ALL) && e > seen[x] &&
            ((SITE(x) == source[m] && (sent[K] & (HOST_PREPARE_S | HOST_STOP_S | HOST_RESUME_S | HOST_RETIRE_S | HOST_VOID_S))) ||
                (SITE(x) != source[m] && (sent[K] & (HOST_PREPARE_T | HOST_ACTIVATE_T | HOST_VOID_T | HOST_CANCEL_T)))) ->
        say("host %c hears of epoch %d\n", LETTER(x), e); seen[x] = e; check() }

    /* ---- source ---- */
    :: d_step { SENT(HOST_PREPARE_S) && SITE(x) == source[m] && HOST_FENCE && mayRun[x] != NONE && guest[x] == runs &&
            !(phase[x] == offered && phaseEpoch[x] == e) ->
        say("host %c: prepare %d, as source\n", LETTER(x), e);
        SYNCED; phase[x] = offered; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = false; DONE(HOST_PREPARE_S);
        STORE_SEES_EPOCH; check() }

    /* stop: R4, the right goes, on disk, before the driver is asked. */
    :: d_step { SENT(HOST_STOP_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == offered && phaseEpoch[x] == e ->
        say("host %c: stop %d, the right to run is gone\n", LETTER(x), e); SYNC_STOP; phase[x] = stopping;
#ifndef STOP_KEEPS_RIGHT
        mayRun[x] = NONE;
#endif
        check() }
    :: d_step { SENT(HOST_STOP_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e && guest[x] == runs ->
        say("host %c: stop %d, the guest is paused\n", LETTER(x), e); guest[x] = paused; check() }

    /* ... drained, handed over, sealed: then it is answered. */
    :: d_step { SENT(HOST_STOP_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e &&
            guest[x] == paused && guest[OTHER(x)] == waiting &&
#ifndef NO_DRAIN
            has[OTHER(x)] == has[x] &&
#endif
            !ram[OTHER(x)] && role[x] == owns && STORE_FENCE ->
        say("host %c: stop %d, handed over and sealed; answered\n", LETTER(x), e); ram[OTHER(x)] = true;
#ifndef NO_SEAL
        role[x] = sealed; STORE_SEES_EPOCH;
#endif
        DONE(HOST_STOP_S); check() }
#ifdef STOP_BEFORE_PAUSED
    :: d_step { SENT(HOST_STOP_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == stopping && phaseEpoch[x] == e &&
            OPEN(HOST_STOP_S) && guest[OTHER(x)] == waiting ->
        say("host %c: stop %d is answered, and the guest runs\n", LETTER(x), e);
        ram[OTHER(x)] = true; role[x] = sealed; DONE(HOST_STOP_S); check() }
#endif

    /* resume: R2, it undoes only what has a lower epoch. It goes on running, or the store owns the volume again and it goes on. */
    :: d_step { SENT(HOST_RESUME_S) && SITE(x) == source[m] && HOST_FENCE && voidEpoch[x] < e &&
            (phase[x] == running || phase[x] == offered || phase[x] == starting) && guest[x] == runs && e > phaseEpoch[x] ->
        say("host %c: resume %d, it goes on running\n", LETTER(x), e);
        SYNCED; phase[x] = running; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = e; ranEpoch[x] = e; isTarget[x] = false;
        DONE(HOST_RESUME_S); check() }
    :: d_step { SENT(HOST_RESUME_S) && SITE(x) == source[m] && HOST_FENCE && voidEpoch[x] < e && guest[x] != runs &&
            ((phase[x] == running || phase[x] == offered || phase[x] == starting || phase[x] == stopping || phase[x] == resuming) &&
                e > phaseEpoch[x] || phase[x] == running && phaseEpoch[x] == e && !isTarget[x]) ||
            SENT(HOST_RESUME_S) && SITE(x) == source[m] && HOST_FENCE && voidEpoch[x] < e && guest[x] == runs &&
                (phase[x] == stopping || phase[x] == resuming) && e > phaseEpoch[x] ->
        say("host %c: resume %d, the right to run is back\n", LETTER(x), e);
        SYNCED; phase[x] = resuming; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = e; ranEpoch[x] = e; isTarget[x] = false; check() }
    :: d_step { SENT(HOST_RESUME_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == resuming && phaseEpoch[x] == e &&
            (role[x] == sealed || role[x] == owns) && storeOwner[x] < e && STORE_FENCE ->
        say("store %c: unpark %d\n", LETTER(x), e); role[x] = owns; storeOwner[x] = e; STORE_SEES_EPOCH; check() }
    :: d_step { SENT(HOST_RESUME_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == resuming && phaseEpoch[x] == e &&
            role[x] == owns && storeOwner[x] == e ->
        say("host %c: resume %d, the guest runs\n", LETTER(x), e);
        assert(guest[x] != absent || deaths > 0);                       /* what was kept of it is gone */
        exact(granted[e] == SITE(x));
        guest[x] = runs; phase[x] = running; DONE(HOST_RESUME_S); check() }

    /* retire: R7 */
    :: d_step { SENT(HOST_RETIRE_S) && SITE(x) == source[m] && HOST_FENCE &&
            (mayRun[x] == NONE || (e > phaseEpoch[x] && guest[x] != runs)) &&
            (phase[x] == stopping || phase[x] == resuming || phase[x] == retiring && phaseEpoch[x] < e) ->
        say("host %c: retire %d\n", LETTER(x), e); SYNCED; phase[x] = retiring; phaseEpoch[x] = e; SEES_EPOCH; mayRun[x] = NONE; check() }
    :: d_step { SENT(HOST_RETIRE_S) && SITE(x) == source[m] && HOST_FENCE && phase[x] == retiring && phaseEpoch[x] == e && STORE_FENCE ->
        say("host %c: retire %d, the guest is killed, the store released\n", LETTER(x), e);
        guest[x] = absent; role[x] = refuses; STORE_SEES_EPOCH; phase[x] = away; isTarget[x] = false; DONE(HOST_RETIRE_S); check() }

    /* ---- target ---- */
    :: d_step { SENT(HOST_PREPARE_T) && SITE(x) != source[m] && HOST_FENCE && voidEpoch[x] < e && mayRun[x] == NONE &&
            (phase[x] == away || phase[x] == incoming || phase[x] == cancelling) && guest[x] != runs &&
            !(guest[x] == paused && phase[x] == away) &&
            !(phase[x] == incoming && phaseEpoch[x] == e && guest[x] == waiting) &&
#ifndef PREPARE_AGAIN
            !(phase[x] == incoming && phaseEpoch[x] == e) &&
#endif
            STORE_FENCE ->
        say("host %c: prepare %d, as target; a guest waits\n", LETTER(x), e);
        SYNCED; phase[x] = incoming; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = true; guest[x] = waiting; ram[x] = false;
        STORE_SEES_EPOCH;
        if :: role[x] == refuses -> role[x] = follows :: else fi;
        DONE(HOST_PREPARE_T); check() }

    /* activate: R6, the promise is on disk before the driver is asked. */
    :: d_step { SENT(HOST_ACTIVATE_T) && SITE(x) != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && PREPARED_FOR &&
            phase[x] == incoming && guest[x] != absent ->
        say("host %c: activate %d, will run\n", LETTER(x), e);
        SYNC_WILL_RUN; phase[x] = starting; phaseEpoch[x] = e; mayRun[x] = e; ranEpoch[x] = e; SEES_EPOCH; check() }
    :: d_step { SENT(HOST_ACTIVATE_T) && SITE(x) != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] == e &&
            (phase[x] == starting || phase[x] == running) && role[x] == follows && STORE_FENCE ->
        say("store %c: grant %d\n", LETTER(x), e); exact(granted[e] == SITE(x));
        role[x] = owns; storeOwner[x] = e; STORE_SEES_EPOCH; check() }
    :: d_step { SENT(HOST_ACTIVATE_T) && SITE(x) != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] == e &&
            (phase[x] == starting || phase[x] == running) && role[x] == owns && (guest[x] == waiting &&
            ram[x] || guest[x] == absent || guest[x] == paused) ->
        say("host %c: activate %d, the guest runs\n", LETTER(x), e);
        assert(guest[x] == waiting || deaths > 0);                      /* a cold start, and nobody had died */
        exact(granted[e] == SITE(x));
        guest[x] = runs; phase[x] = running; DONE(HOST_ACTIVATE_T); check() }

    :: d_step { SENT(HOST_ACTIVATE_T) && SITE(x) != source[m] && HOST_FENCE && IS_ASKED && !(verdict[k] & REFUSED) &&
            (voidEpoch[x] >= e || phaseEpoch[x] == e && phase[x] == incoming && guest[x] == absent) ->
        say("host %c refuses activate %d\n", LETTER(x), e); verdict[k] = verdict[k] | REFUSED; SEES_EPOCH; check() }

    /* void: R5, from disk and for ever. */
    :: d_step { SENT(HOST_VOID_T) && SITE(x) != source[m] && VOID_IS_OPEN(HOST_VOID_T) ->
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
        say("host %c: void %d, answer %d (1 void, 2 ran)\n", LETTER(x), e, verdict[k]); VOID_DONE(HOST_VOID_T); check() }

#ifdef OLD_JOURNAL
    :: d_step { SENT(HOST_VOID_S) && SITE(x) == source[m] && VOID_IS_OPEN(HOST_VOID_S) ->
        if
        :: e == voidEpoch[x] || (e > ranEpoch[x] && e < voidEpoch[x]) -> verdict[k] = verdict[k] | IS_VOID_S
        :: e != voidEpoch[x] && e <= ranEpoch[x] -> verdict[k] = verdict[k] | HAS_RUN_S
        :: e > voidEpoch[x] && e > ranEpoch[x] -> voidEpoch[x] = e; SEES_EPOCH; verdict[k] = verdict[k] | IS_VOID_S
        fi;
        say("host %c: void %d, answer %d (8 void, 16 ran)\n", LETTER(x), e, verdict[k]); VOID_DONE(HOST_VOID_S); check() }
#endif

#if defined(OLD_JOURNAL) || SERVERS > 1
    /* It runs, and what was void is granted anew: it goes on under that epoch. */
    :: d_step { SENT(HOST_ACTIVATE_T) && SITE(x) != source[m] && HOST_FENCE && voidEpoch[x] < e && isTarget[x] && phaseEpoch[x] < e &&
            ranEpoch[x] == phaseEpoch[x] && (phase[x] == starting || phase[x] == running) ->
        say("host %c: activate %d, instead of %d\n", LETTER(x), e, phaseEpoch[x]);
        phaseEpoch[x] = e; mayRun[x] = e; ranEpoch[x] = e; SEES_EPOCH;
        if :: role[x] == owns -> storeOwner[x] = e; STORE_SEES_EPOCH :: else fi;
        if :: phase[x] == running && guest[x] == runs -> DONE(HOST_ACTIVATE_T) :: else -> phase[x] = starting fi;
        check() }
#endif

#define IS_IN_PHASE(p) (phase[x] == p && phaseEpoch[x] == e)
    HOST_AGAIN(HOST_PREPARE_S,  (SITE(x) == source[m] && IS_IN_PHASE(offered) && guest[x] == runs))
    HOST_AGAIN(HOST_STOP_S,     (SITE(x) == source[m] && IS_IN_PHASE(stopping) && role[x] == sealed))
    HOST_AGAIN(HOST_RESUME_S,   (SITE(x) == source[m] && IS_IN_PHASE(running) && !isTarget[x] && guest[x] == runs))
    HOST_AGAIN(HOST_RETIRE_S,   (SITE(x) == source[m] && IS_IN_PHASE(away) && !isTarget[x]))
    HOST_AGAIN(HOST_PREPARE_T,  (SITE(x) != source[m] && IS_IN_PHASE(incoming) && voidEpoch[x] < e && guest[x] == waiting))
    HOST_AGAIN(HOST_ACTIVATE_T, (SITE(x) != source[m] && IS_IN_PHASE(running) && voidEpoch[x] < e && isTarget[x] && guest[x] == runs))
    HOST_AGAIN(HOST_CANCEL_T,   (SITE(x) != source[m] && IS_IN_PHASE(away) && isTarget[x]))

    /* cancel */
    :: d_step { SENT(HOST_CANCEL_T) && SITE(x) != source[m] && HOST_FENCE && mayRun[x] == NONE &&
            (phase[x] == away || phase[x] == incoming || phase[x] == cancelling) && e > phaseEpoch[x] ->
        say("host %c: cancel %d\n", LETTER(x), e);
        SYNCED; phase[x] = cancelling; phaseEpoch[x] = e; SEES_EPOCH; isTarget[x] = true; check() }
    :: d_step { SENT(HOST_CANCEL_T) && SITE(x) != source[m] && HOST_FENCE && phase[x] == cancelling && phaseEpoch[x] == e && STORE_FENCE ->
        say("host %c: cancel %d, the guest is gone\n", LETTER(x), e);
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
#ifndef OLD_JOURNAL
#define OVER(y) (pe[y] == idle || pe[y] == torn_down || pe[y] == aborted)
#endif
#define IS_IN(from) ((from == idle && peMove[x] != m && OVER(x)) || (from != idle && peMove[x] == m && pe[x] == from))
#define TUNNEL_IS_UP (peMove[1 - x] == m && pe[1 - x] == prepared)
#ifdef SERVERS_UNSEEN
#define SERVERS_ANSWER true
#else
#define SERVERS_ANSWER EACH(RUNS_HERE)
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

    PE_AGAIN(PE_PREPARE_S, (x == source[m] && (pe[x] == prepared || pe[x] == switched || pe[x] == withdrawn || pe[x] == torn_down)))
    PE_AGAIN(PE_SWITCH_S, (x == source[m] && (pe[x] == switched || pe[x] == withdrawn || pe[x] == torn_down)))
    PE_AGAIN(PE_WITHDRAW_S, (x == source[m] && (pe[x] == withdrawn || pe[x] == torn_down)))
    PE_AGAIN(PE_TEARDOWN_S, (x == source[m] && pe[x] == torn_down))
    PE_AGAIN(PE_PREPARE_T, (x != source[m] && (pe[x] == prepared || pe[x] == released || pe[x] == advertised || pe[x] == torn_down)))
    PE_AGAIN(PE_ADVERTISE_T, (x != source[m] && (pe[x] == advertised || pe[x] == torn_down)))
    PE_AGAIN(PE_TEARDOWN_T, (x != source[m] && pe[x] == torn_down))

    /* A higher epoch counts from the moment it is seen, whatever becomes of the signal. */
    :: d_step { SENT(PE_ALL) && e > peEpoch[x] && peMove[x] == m && !OVER(x) &&
            ((x == source[m] && (sent[k] & (PE_PREPARE_S | PE_SWITCH_S | PE_WITHDRAW_S | PE_TEARDOWN_S | PE_ABORT_S))) ||
                (x != source[m] && (sent[k] & (PE_PREPARE_T | PE_RELEASE_T | PE_RELEASE_AFTER_SERVERS_T | PE_ADVERTISE_T
                    | PE_TEARDOWN_T | PE_ABORT_T)))) ->
        say("PE %c hears of epoch %d\n", 65 + x, e); peEpoch[x] = e; check() }
    od
}

/* What happens by itself at site x. */
#if W > 0 || G > 0 || defined(OLD_JOURNAL)
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
#ifdef OLD_JOURNAL
    /* The agent was killed while it stopped the guest, and nobody says stop again: a person stops it, lest recover be refused. */
    :: d_step { restored && (found || journal.stage == fenced || journal.stage == recovered) && mayRun[x] == NONE && guest[x] == runs ->
        say("guest %c: a person stops it, it runs without the right to\n", 65 + x); guest[x] = paused; check() }
#endif
#if defined(OLD_JOURNAL) && !defined(NOBODY_FINISHES)
    /* The journal was rebuilt, and the agent was killed between its promise to run and the run: a person has it finished (host start). */
    :: d_step { journal.stage == recovered && mayRun[x] != NONE && guest[x] != runs && (phase[x] == starting || phase[x] == resuming) ->
        say("host %c: a person has it run, as it has promised\n", 65 + x);
        role[x] = owns; storeOwner[x] = mayRun[x]; guest[x] = runs; phase[x] = running; check() }
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
#endif

/*
 * What nobody leads any more a person ends, signal by signal (EndByHand.cs): backwards while the server runs at the source, forwards once
 * it runs at the target. The journal was rebuilt, and no move runs.
 */
#ifdef OLD_JOURNAL
#define S source[n]
#define T (1 - source[n])
#define AT(y, st) (peMove[y] == n && pe[y] == st)
#define UNFINISHED(y) (peMove[y] == n && !OVER(y))
#define ONLY_FORWARD (AT(S, withdrawn) || AT(S, torn_down) || AT(T, released) || AT(T, advertised) || AT(T, torn_down))
#define BACKWARDS (guest[S] == runs && !ONLY_FORWARD)
#define FORWARDS (guest[T] == runs)
#define BY_HAND(bit, is_next) \
    :: d_step { journal.stage == recovered && (UNFINISHED(S) || UNFINISHED(T)) && is_next && !(sent[OF(n, PES_SEEN)] & bit) -> \
        say("a person sends signal %d of move %d by hand\n", bit, n); sent[OF(n, PES_SEEN)] = sent[OF(n, PES_SEEN)] | bit }
proctype Person(byte n) {
    end: do
    BY_HAND(PE_ABORT_S,     (BACKWARDS && UNFINISHED(S)))
    BY_HAND(PE_ABORT_T,     (BACKWARDS && !UNFINISHED(S)))
    BY_HAND(PE_RELEASE_T,   (FORWARDS && AT(T, prepared)))
    BY_HAND(PE_ADVERTISE_T, (FORWARDS && AT(T, released)))
    BY_HAND(PE_WITHDRAW_S,  (FORWARDS && AT(S, switched) && AT(T, advertised)))
    BY_HAND(PE_TEARDOWN_S,  (FORWARDS && AT(S, withdrawn)))
    BY_HAND(PE_TEARDOWN_T,  (FORWARDS && AT(T, advertised) && !UNFINISHED(S)))
    od
}
#endif

/* Nobody can do anything any more. */
#define RUNS_SOMEWHERE(s) (guest[s] == runs || guest[s + 1] == runs)
#define RUNS_AT_OWNER(s) (guest[s + journal.site] == runs)
proctype Final() {
    timeout -> say("nobody can do anything any more: %e, epoch %d, owner %c\n", journal.stage, journal.epoch, 65 + journal.site);
    assert(journal.stage == ended || journal.stage == recovered || journal.stage == given_up);    /* the move waits for ever */
    assert(EACH(RUNS_SOMEWHERE) || NO_OWNER);                           /* the server runs nowhere, for ever */
    assert((EACH(RUNS_AT_OWNER) || NO_OWNER) && (delivers[journal.site] || NO_PE));  /* the server is not where the journal has it */
    assert(has[journal.site] == acknowledged);                          /* an acknowledged write is lost */
    assert(pe[0] != prepared && pe[1] != prepared || NO_PE)             /* something of it is left over */
}

init {
    d_step {
        phase[0] = running; mayRun[0] = 0; guest[0] = runs; role[0] = owns; delivers[0] = true; granted[0] = 0;
#if SERVERS > 1
        phase[2] = running; mayRun[2] = 0; guest[2] = runs; role[2] = owns;
#endif
        peMove[0] = NONE; peMove[1] = NONE
    }
    atomic {
        byte i = 0, j, n = 0;
        do :: n < MANAGERS -> run Manager(); n++ :: else -> break od;
        do
        :: i < MOVES ->
            j = FIRST_EPOCH;
            do
            :: j < EPOCHS ->
                run Host(0, i, j); run Host(1, i, j); run Pe(0, i, j); run Pe(1, i, j);
#if SERVERS > 1
                run Host(2, i, j); run Host(3, i, j);
#endif
                j++
            :: else -> break
            od;
            i++
        :: else -> break
        od;
#ifdef OLD_JOURNAL
        i = 0;
        do :: i < MOVES -> run Person(i); i++ :: else -> break od;
#endif
#if W > 0 || G > 0 || defined(OLD_JOURNAL)
        run Site(0); run Site(1);
#endif
        run Final()
    }
}
