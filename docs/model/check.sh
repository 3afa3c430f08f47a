#!/usr/bin/env bash
# Checks the model of the hand-over (README.md): what must hold does, and every rule that is taken out gives a counterexample.
#   check.sh [--update] [--deep]      --update rewrites counterexamples/; --deep searches the large ones, too (half an hour)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

MEMORY_MIB=4000      # of one search; it fails rather than taking more
SECONDS_EACH=1800
update=no
deep=no
model=handover.pml   # the one that is searched
for option in "$@"; do
  case "$option" in
    --update) update=yes ;;
    --deep) deep=yes ;;
    *) echo "check.sh: there is no option '$option'; there are --update and --deep" >&2; exit 2 ;;
  esac
done
for tool in spin gcc; do
  command -v "$tool" >/dev/null || { echo "check.sh: $tool is missing: install the Debian package $tool" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
wrong() { echo "  WRONG: $*"; failed=$((failed + 1)); }

# Makes the search program in a folder of its own: FOLDER "GCC OPTIONS" DEFINITION...
make_pan() {
  local folder="$1" options="$2"
  shift 2
  mkdir "$folder"
  cp "$model" "$folder/"
  # shellcheck disable=SC2086  # options are several words
  (cd "$folder" && spin -a "$@" "$model" >spin.txt && gcc -O2 -w -DMEMLIM=$MEMORY_MIB $options -o pan pan.c) \
    || { cat "$folder/spin.txt"; echo "check.sh: the model cannot be compiled" >&2; exit 1; }
}

# Searches everything: NAME "PAN OPTIONS" "GCC OPTIONS" DEFINITION...
holds() {
  local name="$1" pan_options="$2" options="$3" out="$work/$1/out" code=0
  shift 3
  # With PRINTF the search says each step that it takes, as a counterexample does; each line is kept once.
  make_pan "$work/$name" "$options -DPRINTF" "$@"
  # shellcheck disable=SC2086
  (cd "$work/$name" && timeout $SECONDS_EACH ./pan $pan_options 2>&1 | LC_ALL=C awk '!($0 in seen) { seen[$0]; print }' >out) || code=$?
  printf '%-22s %10s states, depth %4s, %5s MiB, %6s s   %s\n' "$name" \
    "$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$out" | head -1)" "$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' "$out")" \
    "$(sed -n 's/^ *\([0-9]*\)\.[0-9]*\ttotal actual memory usage.*/\1/p' "$out")" \
    "$(sed -n 's/.*elapsed time \([0-9.e+]*\) seconds.*/\1/p' "$out" | head -1)" "$*"
  [ "$code" -ne 124 ] || wrong "$name was not done in $SECONDS_EACH s"
  if ! grep -q 'errors: [1-9]' "$out" \
      && grep -qE 'max search depth too small|out of memory|reached -DMEMLIM|Search not completed' "$out"; then
    wrong "$name: not everything was searched"
  fi
  grep -q 'errors: 0$' "$out" || { wrong "$name does not hold"; replay "$work/$name" "$@"; }
  # (With a claim, as for cycles, Spin does not run to the ends, and so not to what looks at them.)
  if [[ $options != *-DNP* ]]; then
    steps "$@" >>"$work/steps"
    cat "$out" >>"$work/said"
  fi
}

# What each step of the model says, as a pattern: DEFINITION...
# Spin's own list of what was not reached is of no use: to it all steps of a loop are one, whichever of them was taken.
steps() {
  cpp -P "$@" "$model" | grep -o 'printf("[^"]*"[^;]*' | LC_ALL=C awk -F'"' '
    {
      text = $2; sub(/\\n$/, "", text); gsub(/[][().*+?{}|^$\\]/, "\\\\&", text)
      count = split($3, arguments, ",")
      out = ""; n = 1
      while (match(text, /%[dce]/)) {
        kind = substr(text, RSTART + 1, 1); value = arguments[++n]; gsub(/[ )]/, "", value)
        if (kind == "d" && value !~ /^[0-9]+$/) value = "[0-9]+"
        out = out substr(text, 1, RSTART - 1) (kind == "c" ? "." : kind == "d" ? value : ".*")
        text = substr(text, RSTART + 2)
      }
      print "^" out text "$"
    }' | sort -u
}

# A step that no run of any search takes would be one that the model only seems to have.
all_are_taken() {
  local pattern
  LC_ALL=C sort -u -o "$work/said" "$work/said"
  sort -u "$work/steps" | while IFS= read -r pattern; do
    LC_ALL=C grep -aqE -- "$pattern" "$work/said" || echo "    $pattern"
  done >"$work/not-taken"
  [ ! -s "$work/not-taken" ] || { wrong "steps that no run takes:"; cat "$work/not-taken"; }
}

# The steps of a counterexample: FOLDER DEFINITION...
replay() {
  local folder="$1"
  shift
  (cd "$folder" && spin -t -T -k "$model.trail" "$@" "$model" 2>&1 | awk -v model="$model" '
    /^spin: warning/ { next }
    index($0, "spin: " model ":") == 1 && /:[0-9]+, Error: assertion violated/ && !over {
      split($0, at, /[:,]/)
      for (i = 1; i <= at[3]; i++) getline line < model
      sub(/.*\/\* /, "", line); sub(/ \*\/.*/, "", line); print "WRONG: " line; over = 1 }
    /^spin: trail ends/ { over = 1 }
    !over { print }')
}

# Without a rule there is a counterexample, the shortest one: RULE MUTANT DEFINITION...
breaks() {
  local rule="$1" mutant="$2" kept="counterexamples/$2.txt" folder="$work/$2"
  shift 2
  # (A short search is done sooner than a compiler that optimizes.)
  make_pan "$folder" "-O0 -DSAFETY -DCOLLAPSE -DBFS" -DPLAIN "-D$mutant" "$@"
  (cd "$folder" && timeout $SECONDS_EACH ./pan >out 2>&1) || true
  if [ ! -e "$folder/$model.trail" ]; then
    wrong "without $mutant ($rule) nothing breaks"
    return
  fi
  { echo "$mutant: $rule"; echo; replay "$folder" -DPLAIN "-D$mutant" "$@"; } > "$folder/kept"
  printf '%-22s breaks in %3d steps   %s\n' "$mutant" "$(($(wc -l < "$folder/kept") - 3))" "$rule"
  if [ "$update" = yes ]; then
    mkdir -p counterexamples
    cp "$folder/kept" "$kept"
  elif ! cmp -s "$folder/kept" "$kept"; then
    wrong "$kept is another one: ./build.sh model --update rewrites it"
  fi
}

# It was tried, and nothing breaks; README.md says why. Should it break one day, the words there are wrong: RULE MUTANT DEFINITION...
is_second_line() {
  local rule="$1" mutant="$2" folder="$work/$2"
  shift 2
  make_pan "$folder" "-DSAFETY -DCOLLAPSE" -DPLAIN "-D$mutant" "$@"
  (cd "$folder" && timeout $SECONDS_EACH ./pan -m100000 >out 2>&1) || true
  if grep -q 'errors: 0$' "$folder/out"; then
    printf '%-22s nothing breaks         %s\n' "$mutant" "$rule"
  else
    wrong "without $mutant ($rule) something breaks now; README.md says that nothing does"
    replay "$folder" -DPLAIN "-D$mutant" "$@"
  fi
}

ALL="-DSAFETY -DCOLLAPSE"
OLD="-DMANAGERS=1 -DKILLS=0 -DOLD_JOURNAL"

echo "What must hold (1 write, 1 kill of a manager, 2 managers, no guest dies, unless said otherwise):"
holds two-managers    "-m100000" "$ALL"
holds guests-die      "-m100000" "$ALL" -DMANAGERS=1 -DG=1
holds nobody-aborts   "-m100000" "$ALL" -DMANAGERS=1 -DG=1 -DNO_ABORT
holds two-moves       "-m100000" "$ALL" -DMANAGERS=1 -DMOVES=2
holds old-journal     "-m100000" "$ALL -DJOINPROCS" $OLD -DW=0
holds old-and-writes  "-m100000" "$ALL -DJOINPROCS" $OLD
holds two-servers     "-m100000" "$ALL -DJOINPROCS" -DMANAGERS=1 -DSERVERS=2 -DW=0
holds given-up        "-m100000" "$ALL" -DMANAGERS=1 -DKILLS=0 -DGIVE_UP -DW=0
holds no-cycle        "-m100000 -l" "-DNP -DCOLLAPSE" -DMANAGERS=1 -DG=1
if [ "$deep" = yes ]; then
  holds two-and-deaths  "-m100000" "$ALL" -DG=1
  holds moves-and-deaths "-m100000" "$ALL" -DMANAGERS=1 -DG=1 -DMOVES=2
  holds more-of-all     "-m100000" "$ALL" -DW=2 -DKILLS=2
fi
all_are_taken

echo "A group, one by one (3 servers; a move is refused, or the migration aborted, 3 times):"
model=group.pml
GROUP="-DAT_ONCE=2"
: >"$work/steps"; : >"$work/said"
holds group-one-at-once "-m100000" "$ALL" -DAT_ONCE=1
holds group-two-at-once "-m100000" "$ALL" $GROUP
holds group-old-journal "-m100000" "$ALL" $GROUP -DFAULTS=1 -DOLD_JOURNAL
all_are_taken
breaks "group: what is undone takes an epoch higher than any of the group" UNDO_TAKES_OWN_NEXT $GROUP
breaks "group: when one is undone no other one begins" STILL_BEGINS $GROUP
breaks "group: those behind their pivot are not undone with it" PIVOTED_GIVES_WAY $GROUP
breaks "group: those that have moved go back when no move runs" GOES_BACK_AT_ONCE $GROUP
breaks "group: what could not be taken back is tried again" BACK_IS_TRIED_ONCE $GROUP
breaks "group, an old copy: a target that ran the epoch knows more" GROUP_TAKEN_UP_BY_EPOCHS $GROUP -DFAULTS=1 -DOLD_JOURNAL
model=handover.pml

echo "Without a rule:"
ONE="-DMANAGERS=1 -DKILLS=0"
TWICE="$ONE -DMOVES=2"
breaks "R1: a move takes a new epoch" MOVE_REUSES_EPOCH $TWICE
breaks "R1: a host refuses what is of an older epoch" HOST_TAKES_LOWER_EPOCH $ONE
breaks "R1: a PE refuses what is of an older epoch" PE_TAKES_LOWER_EPOCH $TWICE
breaks "R1, R4: what stop promises is on disk before stop is answered" STOP_NOT_DURABLE $ONE
breaks "R2: an undo carries the next epoch" UNDO_WITH_SAME_EPOCH $ONE
breaks "R3: the undo goes to everybody who may have been asked" UNDO_ONLY_WHO_ANSWERED $ONE
breaks "R4: stop takes the right to run" STOP_KEEPS_RIGHT $ONE
breaks "R4: nothing is continued by a start of the agent" RESTART_RESUMES_GUEST $ONE
breaks "R5: only the target's word is void, not its silence" SILENCE_IS_VOID $ONE
breaks "R5: void is for ever: the host refuses what it has said to be void" VOID_IS_FORGOTTEN $ONE
breaks "R5: void is on disk before it is answered" VOID_NOT_DURABLE $ONE
breaks "R5: what ran is not void" VOID_THOUGH_IT_RAN $ONE
breaks "R6: the promise to run is on disk before the guest runs" WILL_RUN_NOT_DURABLE $ONE
breaks "R7: what the source kept is killed when the target runs, not before" RETIRE_AT_PIVOT $ONE
breaks "R8: an append names the position that it expects" APPEND_ANYWHERE -DKILLS=0
breaks "the pivot is on disk before anybody acts on it" COMMANDS_BEFORE_RECORD -DMANAGERS=1
breaks "stop is answered only when paused was seen" STOP_BEFORE_PAUSED $ONE
breaks "stop is answered only when all acknowledged writes are at the target" NO_DRAIN $ONE
breaks "the source's store is sealed before the target's is granted" NO_SEAL $ONE
breaks "a seal is durable" SEAL_NOT_DURABLE $ONE
breaks "release only after the servers run" RELEASE_AT_PIVOT $ONE
breaks "a release for when the servers answer waits for them" SERVERS_UNSEEN $ONE
breaks "a PE's part is durable" PE_NOT_DURABLE $ONE
breaks "a signal is done when it has been carried out" ACCEPTED_IS_DONE $ONE
breaks "found by the model: what waits at the target is not prepared twice" PREPARE_AGAIN $ONE -DG=1

# Two servers together.
TOGETHER="$ONE -DSERVERS=2 -DW=0"
breaks "together: the pivot waits for both to have stopped" PIVOT_WITH_ONE_STOPPED $TOGETHER
breaks "together: what is undone is undone for both" UNDO_ONLY_ONE $TOGETHER
breaks "together: it is undone after the pivot only if both are void" VOID_OF_ONE_UNDOES $TOGETHER
breaks "together: what is void is granted anew with the next epoch" GRANTED_ANEW_WITH_SAME_EPOCH $TOGETHER

# A party is given up.
GIVEN="$ONE -DGIVE_UP -DW=0"
breaks "given up: after the pivot a target's host is not given up on a person's word" TARGET_IS_GIVEN_UP $GIVEN
breaks "given up: a source's host that is given up has not stopped by that" GIVEN_UP_HAS_STOPPED $GIVEN

# An old copy of the journal.
breaks "an old copy: its parties are asked before a move is gone on with" TAKE_UP_UNASKED $OLD -DW=0
breaks "an old copy: before the pivot the target's host must have answered" TAKE_UP_WITHOUT_TARGET $OLD -DW=0
breaks "an old copy: a target that ran the epoch knows more, though it has seen no later one" TAKE_UP_BY_EPOCHS $OLD -DW=0
breaks "recover: where no host has the right to run, nothing is granted unasked" RECOVER_GUESSES $OLD -DW=0
breaks "recover: no epoch is lower than any that was seen" RECOVER_KEEPS_EPOCH $OLD -DW=0
breaks "settle: the epoch behind the last one that was seen is void, too" SETTLE_ONE_VOID $OLD -DW=0
breaks "settle: a host that says that it ran ends it" SETTLE_IGNORES_RAN $OLD -DW=0

breaks "found: void of what the hosts had seen, not of what PEs had" ONLY_HOSTS_EPOCH_IS_VOIDED $OLD -DW=0
breaks "found: what ran where it is settled can be voided" SETTLED_IS_VOIDED $OLD -DW=0
breaks "found: it is settled at the target only where the network can go on to it" SETTLED_WITHOUT_NETWORK $OLD -DW=0
breaks "found: before the pivot a move does not go on without the word of a PE" TAKE_UP_WITHOUT_PES $OLD -DW=0
breaks "found: what a host has promised to run can be finished without a migration" NOBODY_FINISHES $OLD -DW=0
echo "Without what is taken for granted (README.md):"
breaks "taken for granted: what was sent has arrived when a move is taken up or begun" LATE_AT_TAKE_UP $OLD -DW=0
breaks "taken for granted: signals to PEs have arrived when recover asks" LATE_SIGNALS $OLD -DW=0
is_second_line "R1: a store refuses what is of an older epoch" STORE_TAKES_LOWER_EPOCH $TWICE

if [ "$failed" -gt 0 ]; then
  echo "check.sh: $failed things are wrong with the model (above)" >&2
  exit 1
fi
echo "all of it holds; took $SECONDS s"
