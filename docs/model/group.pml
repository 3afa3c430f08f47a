/*
 * A migration one by one (README.md): three servers, AT_ONCE of them on the way at once, all at site B in the end or all at site A. How one
 * of them is handed over is handover.pml's: here a move is what its pivot, its undo and its end make of it. The rules are those of
 * ManagerMachine.GoOn; a step of the manager is a record of its journal.
 */
#define N 3
#define EPOCHS 24
#define A 0
#define B 1
#define NONE 255

#ifndef AT_ONCE
#define AT_ONCE 2
#endif
#ifndef FAULTS
#define FAULTS 3                    /* so often a move is refused, or the migration aborted */
#endif

mtype = { idle, before, after, voiding, undo };             /* a server's move: none, before its pivot, behind it, .. */
mtype = { nothing, comes, takes_back, later };              /* what is to be done with a server that no move has */

typedef Journal {
    mtype move[N], todo[N];
    byte from[N];                   /* where its move began */
    byte epoch[N];
    byte at[N];                     /* the site that owns it */
    byte last;                      /* the highest epoch of the group */
    bool failed;                    /* one was undone */
    bool back;                      /* those that had moved go back */
    bool over
};
Journal journal;
bool found = false;
#ifdef OLD_JOURNAL
Journal oldCopy;
bool kept = false, restored = false;
#endif

/* The hosts of each server, at its two sites. */
bool right[N * 2];
byte ran[N * 2];                    /* the highest epoch that was run there */
byte seen[N];                       /* the highest epoch that one of its hosts has seen */
byte grants[EPOCHS] = NONE;         /* who was given the right under an epoch */
byte faults = 0;

#define HERE(x)  ((x) * 2 + journal.from[x])
#define THERE(x) ((x) * 2 + 1 - journal.from[x])
#define RUNS(x)  (journal.move[x] != idle)
#define RUNNING  (RUNS(0) + RUNS(1) + RUNS(2))
#define ANY(what) (what(0) || what(1) || what(2))
#define EACH(what) (what(0) && what(1) && what(2))

#define say printf              /* told when a counterexample is replayed */

inline check() {
    assert(!(right[0] && right[1]) && !(right[2] && right[3]) && !(right[4] && right[5]))   /* two hosts have the right to run */
}

/* The right to run, under an epoch that is nobody else's. */
inline grant(host, granted) {
    right[host] = true; ran[host] = granted; seen[host / 2] = granted;
    assert(grants[granted] == NONE || grants[granted] == host);                                /* an epoch was granted twice */
    grants[granted] = host; check()
}

#define COMES(x)      (journal.todo[x] == comes)
#define TAKES_BACK(x) (journal.todo[x] == takes_back)
#define LATER(x)      (journal.todo[x] == later)
#define AT_A(x)       (journal.at[x] == A)
#define AT_B(x)       (journal.at[x] == B)

inline begin(x) {
    journal.last++; journal.epoch[x] = journal.last; journal.from[x] = journal.at[x]; journal.move[x] = before; journal.todo[x] = nothing;
    assert(journal.last < EPOCHS)                                                           /* the model has too few epochs */
}

inline undoes(x) {
#ifdef UNDO_TAKES_OWN_NEXT
    journal.epoch[x]++;
    if :: journal.epoch[x] > journal.last -> journal.last = journal.epoch[x] :: else fi;
#else
    journal.last++; journal.epoch[x] = journal.last;
#endif
    journal.at[x] = journal.from[x]; journal.move[x] = undo;
    assert(journal.last < EPOCHS)                                                           /* the model has too few epochs */
}

/* One is undone: on the way there, so are those beside it that are before their pivot, and none begins any more. */
#ifdef PIVOTED_GIVES_WAY
#define GIVES_WAY(x) (journal.move[x] == before || journal.move[x] == after)
#else
#define GIVES_WAY(x) (journal.move[x] == before)
#endif
inline all_or_none() {
    if
    :: !journal.back ->
        journal.failed = true;
        if :: GIVES_WAY(0) -> undoes(0) :: else fi;
        if :: GIVES_WAY(1) -> undoes(1) :: else fi;
        if :: GIVES_WAY(2) -> undoes(2) :: else fi;
#ifndef STILL_BEGINS
        if :: COMES(0) -> journal.todo[0] = nothing :: else fi;
        if :: COMES(1) -> journal.todo[1] = nothing :: else fi;
        if :: COMES(2) -> journal.todo[2] = nothing :: else fi;
#endif
    :: else
    fi
}

#define GOES_ON (!journal.over && !found)
#ifdef GOES_BACK_AT_ONCE
#define MAY_GO_BACK true
#else
#define MAY_GO_BACK (RUNNING == 0)
#endif

/* The manager, for the server x. Whatever kills it, it goes on from its journal. */
proctype Move(byte x) {
    end: do
    :: d_step { GOES_ON && COMES(x) && !journal.back && RUNNING < AT_ONCE ->
        begin(x); say("server %d begins, epoch %d\n", x, journal.epoch[x]) }
    :: d_step { GOES_ON && journal.back && (TAKES_BACK(x) && RUNNING < AT_ONCE || LATER(x)) ->
        begin(x); say("server %d begins its way back, epoch %d\n", x, journal.epoch[x]) }
    :: d_step { GOES_ON && journal.move[x] == before && !right[HERE(x)] && seen[x] == journal.epoch[x] ->
        journal.move[x] = after; journal.at[x] = 1 - journal.from[x]; say("server %d: its pivot, epoch %d\n", x, journal.epoch[x]) }
    :: d_step { GOES_ON && journal.move[x] == before && faults < FAULTS ->
        faults++; undoes(x); say("server %d is refused, and undone: epoch %d\n", x, journal.epoch[x]); all_or_none() }

    /* It runs at its target, and is removed from where it was. */
    :: d_step { GOES_ON && journal.move[x] == after && right[THERE(x)] ->
        say("server %d has moved, epoch %d\n", x, journal.epoch[x]); journal.move[x] = idle;
        if :: !journal.back -> journal.todo[x] = takes_back :: else fi }
    /* All parties have been told. What could not be taken back is tried again, later. */
    :: d_step { GOES_ON && journal.move[x] == undo && right[HERE(x)] ->
        say("server %d is where it was, epoch %d\n", x, journal.epoch[x]); journal.move[x] = idle;
#ifndef BACK_IS_TRIED_ONCE
        if :: journal.back -> journal.todo[x] = later :: else fi
#endif
        }

    /* Void is asked of the target (R5): an abort behind the pivot. */
    :: d_step { GOES_ON && journal.move[x] == voiding && ran[THERE(x)] >= journal.epoch[x] ->
        say("server %d ran, epoch %d\n", x, journal.epoch[x]); journal.move[x] = after }
    :: d_step { GOES_ON && journal.move[x] == voiding && ran[THERE(x)] < journal.epoch[x] ->
        undoes(x); say("server %d is void, and undone: epoch %d\n", x, journal.epoch[x]); all_or_none() }

    /* Its hosts. */
    :: d_step { GOES_ON && journal.move[x] == before && seen[x] < journal.epoch[x] ->
        seen[x] = journal.epoch[x]; say("server %d: its hosts hear of epoch %d\n", x, seen[x]) }
    :: d_step { GOES_ON && journal.move[x] == before && seen[x] == journal.epoch[x] && right[HERE(x)] ->
        right[HERE(x)] = false; say("server %d stops, epoch %d\n", x, journal.epoch[x]) }
    :: d_step { GOES_ON && journal.move[x] == after && ran[THERE(x)] < journal.epoch[x] ->
        say("server %d runs at its target, epoch %d\n", x, journal.epoch[x]); grant(THERE(x), journal.epoch[x]) }
    :: d_step { GOES_ON && journal.move[x] == undo && ran[HERE(x)] < journal.epoch[x] ->
        say("server %d runs where it was, epoch %d\n", x, journal.epoch[x]); grant(HERE(x), journal.epoch[x]) }
    od
}

#define IS_BEFORE(x) (journal.move[x] == before)
#define IS_AFTER(x)  (journal.move[x] == after)
#ifdef GROUP_TAKEN_UP_BY_EPOCHS
#define KNOWS_MORE(x) (seen[x] > journal.last)
#else
#define KNOWS_MORE(x) (seen[x] > journal.last || IS_BEFORE(x) && ran[THERE(x)] >= journal.epoch[x])
#endif

#ifdef OLD_JOURNAL
inline keep(copy, as) {
    copy.move[0] = as.move[0]; copy.move[1] = as.move[1]; copy.move[2] = as.move[2];
    copy.todo[0] = as.todo[0]; copy.todo[1] = as.todo[1]; copy.todo[2] = as.todo[2];
    copy.from[0] = as.from[0]; copy.from[1] = as.from[1]; copy.from[2] = as.from[2];
    copy.epoch[0] = as.epoch[0]; copy.epoch[1] = as.epoch[1]; copy.epoch[2] = as.epoch[2];
    copy.at[0] = as.at[0]; copy.at[1] = as.at[1]; copy.at[2] = as.at[2];
    copy.last = as.last; copy.failed = as.failed; copy.back = as.back; copy.over = as.over
}
#endif

/* The migration as a whole. */
proctype Migration() {
    end: do
    /* A person aborts it, on its way there. */
    :: d_step { GOES_ON && !journal.back && !journal.failed && (ANY(IS_BEFORE) || ANY(IS_AFTER)) && faults < FAULTS ->
        say("a person aborts it\n"); faults++;
        if :: IS_AFTER(0) -> journal.move[0] = voiding :: else fi;
        if :: IS_AFTER(1) -> journal.move[1] = voiding :: else fi;
        if :: IS_AFTER(2) -> journal.move[2] = voiding :: else fi;
        all_or_none() }
    :: d_step { GOES_ON && journal.failed && !journal.back && MAY_GO_BACK ->
        say("those that moved go back\n"); journal.back = true }
    :: d_step { GOES_ON && RUNNING == 0 && !ANY(COMES) && (!journal.failed || journal.back && !ANY(TAKES_BACK) && !ANY(LATER)) ->
        say("it is over, epoch %d\n", journal.last); journal.over = true;
        assert(EACH(AT_A) || EACH(AT_B));                                                   /* some are here and some are there */
        assert(right[0 + journal.at[0]] && right[2 + journal.at[1]] && right[4 + journal.at[2]]) }  /* one does not run where it is */

#ifdef OLD_JOURNAL
    /* An old copy of the journal. When it is put back in the middle of the migration the hosts are asked (TakeUp); what was sent has
       arrived. */
    :: d_step { !kept && !restored -> say("a copy of the journal is made, epoch %d\n", journal.last); kept = true; keep(oldCopy, journal) }
    :: d_step { kept && !restored && oldCopy.last > 0 ->
        say("the copy is put back, epoch %d\n", oldCopy.last); kept = false; restored = true; keep(journal, oldCopy);
        if
        :: ANY(KNOWS_MORE) -> say("a host knows more: nothing moves\n"); found = true
        :: else
        fi }
#endif
    od
}

proctype Final() { timeout -> assert(journal.over || found) }                               /* it waits for ever */

init {
    d_step {
        byte i = 0;
        do
        :: i < N -> journal.move[i] = idle; journal.todo[i] = comes; right[i * 2] = true; i++
        :: else -> break
        od
    }
    atomic { run Move(0); run Move(1); run Move(2); run Migration(); run Final() }
}
