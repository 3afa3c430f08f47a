#!/usr/bin/env bash
# The one door of SdnEdge: build, demonstrate, prove, measure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'EOF'
Usage: ./build.sh COMMAND [ARGUMENTS]

  build                build Release with all analyzers; leaves the executable at artifacts/sdnedge
  demo  [OPTIONS]      build, then move a virtual machine of QEMU with its memory and its disk from data centre A to B and back, under
                       traffic and while it writes (--out DIR, --rate PPS, --rtt MS, --no-hold, --keep; --compare: the same machine by a
                       script beside it; --vm stand-in: without QEMU and disk, the quick one, --blackout MS)
  test  [OPTIONS] [FILTER]
                       build everything with all analyzers, then run every test; ends with "N passed, N failed, N skipped".
                       FILTER: only the tests whose full name contains it (or an expression of `dotnet test --filter`); then only
                       what they need is built, without analyzers, and compiled to machine code only if one of them runs the executable
                       --standstill SEED  freeze threads and processes of the run at random meanwhile; the seed chooses which (needs root)
                       --rerun-failed     run a failed test once more, by itself; one that then passes counts as passed and is named FLAKY
  peers                build, try every cell of the matrix with FRR, BIRD, GoBGP, ExaBGP and OpenBGPD, and rewrite docs/peers.md
  bench [NAME] [ARGS]  build, then measure beside peers; without a name it lists what there is
  model [OPTIONS]      check the model of the hand-over with Spin: that it holds, and that every rule taken out of it gives a counterexample
                       (--deep: the large searches, too; --update: rewrite docs/model/counterexamples); docs/model/README.md
  guest                put QEMU and the virtual machine of the lab into artifacts/guest; demo and test do so by themselves
  lab   ARGUMENTS      build, then `sdnedge lab ARGUMENTS` (deploy | destroy | inspect | exec | graph)
  format               put the code into the house's format

demo, lab, bench and the tests that use network namespaces need root and /dev/net/tun.
EOF
}

fail() { echo "build.sh: $*" >&2; exit 1; }

need_sdk() {
  command -v dotnet >/dev/null 2>&1 \
    || fail "the .NET 10 SDK is missing: install it (package dotnet-sdk-10.0) so that \`dotnet\` is on the PATH."
  dotnet --list-sdks | grep -q '^10\.' \
    || fail "the .NET 10 SDK is missing: \`dotnet --list-sdks\` shows $(dotnet --list-sdks | cut -d' ' -f1 | paste -sd, | sed 's/^$/none/')."
}

need_root() {
  [ "$(id -u)" -eq 0 ] || fail "\`./build.sh $1\` makes network namespaces and TAP devices and needs root: run it with sudo."
  [ -c /dev/net/tun ] || fail "/dev/net/tun is missing: load the kernel's tun module (modprobe tun)."
}

# Debian packages, by what needs them. Only what is missing is installed, and nothing that comes with a package is started
# or enabled: FRR, BIRD and Open vSwitch run inside the lab's namespaces only.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || { echo "build.sh: not installed, and not root, so left out: ${missing[*]}" >&2; return 0; }
  command -v apt-get >/dev/null 2>&1 || fail "this needs the Debian packages ${missing[*]}, and apt-get is not here to install them."
  echo "build.sh: installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d made=no log
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy" && made=yes
  fi
  log=$(mktemp)
  # shellcheck disable=SC2064  # expand now: the paths are known now
  trap "[ $made = no ] || rm -f '$policy'; rm -f '$log'" EXIT
  # A fresh machine has no package lists yet; refresh them only when they are needed.
  if ! { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 \
      || { apt-get update -qq >>"$log" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; }; }; then
    tail -15 "$log" >&2
    fail "apt-get could not install ${missing[*]} (its last words are above)."
  fi
  [ "$made" = no ] || rm -f "$policy"
  rm -f "$log"
  trap - EXIT
  # What a package enables for the next boot is taken back: the user did not ask for a routing daemon on the machine.
  if [ -d /run/systemd/system ]; then
    for unit in frr bird gobgpd exabgp openbgpd openvswitch-switch prometheus etcd etcd2; do
      case " ${missing[*]} " in *" $unit "*|*" ${unit}2 "*) systemctl disable --quiet "$unit" 2>/dev/null || true ;; esac
    done
  fi
}

BUILD_PACKAGES=(gcc libc6-dev libsqlite3-dev)   # the linker, and what it links
LAB_PACKAGES=(iproute2 iputils-ping libpcap0.8 procps)
MODEL_PACKAGES=(spin gcc libc6-dev)
GUEST_PACKAGES=(gcc libc6-dev qemu-system-x86 busybox-static cpio)   # the last two and the compiler make the guest
TEST_PACKAGES=("${LAB_PACKAGES[@]}" tshark tcpdump frr bird2 gobgpd exabgp openbgpd ethtool jq curl openssl socat libvirt-daemon
  libvirt-daemon-driver-qemu libvirt-clients libnbd-bin python3-libnbd fuse3 nbdkit fio qemu-utils e2fsprogs prometheus bsdutils etcd-server
  "${GUEST_PACKAGES[@]}")
BENCH_PACKAGES=("${LAB_PACKAGES[@]}" "${BUILD_PACKAGES[@]}" openvswitch-switch ethtool util-linux frr bird2 gobgpd
  nbdkit fio qemu-utils libnbd-bin)

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

# Runs dotnet without a word. When it fails: its errors, each once, and the sentence that says what failed.
quietly() {
  local sentence="$1" log
  shift
  log=$(mktemp)
  if ! dotnet "$@" -v quiet -nologo -clp:NoSummary >"$log" 2>&1; then
    { grep -E 'error' "$log" | sort -u | head -30; } >&2 || cat "$log" >&2
    rm -f "$log"
    fail "$sentence"
  fi
  rm -f "$log"
}

# Analyzers judge what is to land: `build` and `test` run them. Where something is only to be run they are left out, since they take
# longer than all the rest of the build; the next build that runs them judges what they have not seen (Directory.Build.targets).
UNJUDGED=-p:RunAnalyzers=false

# Builds a project or a solution: TARGET [OPTION...].
compile() {
  echo "build.sh: building ${1##*/} (Release)"
  quietly "the build failed." build "$@" -c Release
}

# Builds sdnedge and what it needs, nothing else, and compiles it to machine code: a PE starts in a fraction of the time, and nothing is
# compiled beside the traffic. What runs from the old file goes on.
publish() {
  need_sdk
  install_packages "${BUILD_PACKAGES[@]}"
  rm -rf artifacts/bin
  echo "build.sh: building sdnedge and compiling it to machine code (only what has changed since the last time)"
  quietly "the build failed." publish src/SdnEdge.Cli -c Release -o artifacts/bin "$@"
  ln -sfn bin/sdnedge artifacts/sdnedge
}

# Whether FILTER may select a test of a project: PROJECT FILTER. Each word between the dots of a name stands in the project's text.
may_select() {
  local folder filter="$2" word words
  folder=$(dirname "$1")
  [[ $filter != FullyQualifiedName~* ]] || filter="${filter#*~}"
  [[ $filter != *[\&\|\=\!\~\(\)\\]* ]] || return 0   # an expression: only the test runner can tell
  IFS='.+' read -ra words <<<"$filter"
  for word in "${words[@]}"; do
    grep -rqiF --include='*.cs' --exclude-dir=obj --exclude-dir=bin -e "$word" "$folder" || return 1
  done
}

# Whether FILTER selects a test that runs the executable, of projects that are built: FILTER PROJECT...
runs_executable() {
  local filter="$1" project listed
  shift
  for project in "$@"; do
    grep -rqF --include='*.cs' '[Trait("needs", "executable")]' "$(dirname "$project")" || continue
    # When it cannot be asked, rather too much is compiled than too little.
    listed=$(dotnet test "$project" -c Release --no-build --nologo --list-tests --filter "($filter)&(needs=executable)" 2>/dev/null) || return 0
    if grep -q '^    ' <<<"$listed"; then return 0; fi
  done
  return 1
}

# Runs the selected tests of a project: PROJECT FILTER RESULT. RESULT.trx is left, and no more said than fails.
run_project() {
  local project="$1" filter="$2" result="$3"
  # Signals as for a program in the foreground: a shell in the background has its children ignore Ctrl-C, which some tests send.
  env --default-signal=HUP,INT,QUIT,TERM dotnet test "$project" -c Release --no-build --nologo -v quiet ${filter:+--filter "$filter"} \
    ${STANDSTILL_MARK:+-e "$STANDSTILL_MARK"} --logger "trx;LogFileName=$result.trx" --logger "console;verbosity=minimal" \
    --results-directory "$RESULTS" --blame-hang-timeout 10m 2>&1 \
    | { grep -vE '^(Test run for|A total of|Data collector|Results File|$)' || true; }
}

# Runs the projects that the other lane has not started, one after the other, and prints the output of each when it is done:
# FILTER PROJECT... A project that fails leaves RESULTS/NAME.failed.
run_projects() {
  local filter="$1" project name
  shift
  for project in "$@"; do
    name=$(basename "$project" .csproj)
    mkdir "$RESULTS/$name.begun" 2>/dev/null || continue
    run_project "$project" "$filter" "$name" > "$RESULTS/$name.said" || : > "$RESULTS/$name.failed"
    printf '== %s\n%s\n' "$name" "$(<"$RESULTS/$name.said")"
  done
}

# Runs projects in two lanes, the longest first: FILTER PROJECT...
run_in_two_lanes() {
  local filter="$1" long project other
  local -a all=()
  shift
  for long in Lab Storage Mms Host; do
    for project in "$@"; do [[ $project != */SdnEdge.$long.Tests.csproj ]] || all+=("$project"); done
  done
  all+=("$@")   # the long ones a second time: they have been started by then
  run_projects "$filter" "${all[@]}" &
  other=$!
  run_projects "$filter" "${all[@]}"
  wait "$other"
}

# What a result file says, a line a test: outcome, full name of the method, name of the test as it is shown, between tabs.
outcomes() {
  awk 'BEGIN { RS = "<" }
    function value(name) { return match($0, " " name "=\"[^\"]*\"") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4) : "" }
    function plain(text) { gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&amp;/, "\\&", text); return text }
    /^UnitTestResult / { n++; test[n] = value("testId"); outcome[n] = value("outcome"); shown[n] = plain(value("testName")) }
    /^UnitTest / { id = value("id") }
    /^TestMethod / { name = plain(value("name")); sub(/\(.*/, "", name); class = value("className"); method[id] = index(name, class ".") == 1 ? name : class "." name }
    END { for (i = 1; i <= n; i++) printf "%s\t%s\t%s\n", outcome[i], method[test[i]], shown[i] }' "$1"
}

# A project that ended before its tests did (crashed, or was ended because a test hung) says so in its result file.
was_aborted() { grep -q 'test run was aborted\|Test host process crashed' "$1"; }

# Runs what failed once more, each test by itself: PROJECT RESULT. Those that pass are named, and their methods written to RESULT.flaky.
rerun_failed() {
  local project="$1" result="$2" method again=0
  local -a methods
  mapfile -t methods < <(outcomes "$RESULTS/$result.trx" | awk -F '\t' '$1 == "Failed" { print $2 }' | sort -u)
  : > "$RESULTS/$result.flaky"
  if [ ${#methods[@]} -gt 10 ]; then
    echo "build.sh: ${#methods[@]} tests of $result failed: too many to be chance, so none is run again"
    return
  fi
  for method in "${methods[@]}"; do
    again=$((again + 1))
    echo "-- once more: $method"
    if run_project "$project" "FullyQualifiedName=$method" "$result.again$again" \
        && outcomes "$RESULTS/$result.again$again.trx" | grep '^Passed' >/dev/null; then
      echo "$method" >> "$RESULTS/$result.flaky"
      outcomes "$RESULTS/$result.trx" | awk -F '\t' -v m="$method" '$1 == "Failed" && $2 == m { print "FLAKY: " $3 }'
    fi
  done
}

start_standstill() {
  STANDSTILL_MARK="SDNEDGE_STANDSTILL=$$-$(date +%s%N)"
  tests/SdnEdge.Standstill/bin/Release/net10.0/standstill --seed "$1" --mark "$STANDSTILL_MARK" --while $$ > "$RESULTS/standstill" 2>&1 &
  STANDSTILL=$!
  trap 'kill "$STANDSTILL" 2>/dev/null' EXIT
}

# Ends it and says what it did; false when it could not do it.
end_standstill() {
  local code=0
  kill "$STANDSTILL" 2>/dev/null || true
  wait "$STANDSTILL" || code=$?
  trap - EXIT
  cat "$RESULTS/standstill"
  return "$code"
}

# Whether `demo` moves a virtual machine: unless it is told otherwise, or has a topology without one.
moves_guest() {
  case " $* " in
    *" --vm stand-in "*|*" --vm=stand-in "*|*" --help "*|*" -h "*) return 1 ;;
    *" --vm qemu "*|*" --vm=qemu "*|*-qemu.clab.yml*) return 0 ;;
    *" -t "*|*" --topology "*|*" --topology="*)
      local topology
      topology=$(sed -E 's/.* (-t|--topology)[ =]([^ ]+) .*/\2/' <<< " $* ")
      [ -e "topologies/$topology-qemu.clab.yml" ] ;;
  esac
}

make_guest() {
  export SDNEDGE_GUEST="$PWD/artifacts/guest"
  guest/fetch-qemu.sh "$SDNEDGE_GUEST" || fail "QEMU of Debian's backports could not be fetched (the reason is above)."
  guest/make-guest.sh "$SDNEDGE_GUEST" || fail "the test guest could not be made (the reason is above)."
}

run_tests() {
  local filter="" seed="" rerun=no started=$SECONDS code=0 project name
  local -a projects=() builds=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --standstill)
        seed="${2:-}"
        [[ $seed =~ ^[0-9]{1,9}$ ]] || fail "--standstill needs a SEED, a number below 1000000000, not '$seed'."
        [ "$(id -u)" -eq 0 ] || fail "--standstill freezes processes and needs root: run it with sudo."
        shift ;;
      --rerun-failed) rerun=yes ;;
      -*) usage >&2; fail "\`test\` has no option '$1'." ;;
      *) [ -z "$filter" ] || fail "one FILTER at most: '$filter' and '$1' are two."; filter="$1" ;;
    esac
    shift
  done
  RESULTS="$PWD/artifacts/test-results"
  STANDSTILL_MARK=""
  rm -rf "$RESULTS" && mkdir -p "$RESULTS"

  for project in tests/*.Tests/*.csproj; do
    [ -n "$filter" ] && ! may_select "$project" "$filter" || projects+=("$project")
  done
  [ ${#projects[@]} -gt 0 ] || fail "no test has '$filter' in its name."
  # What is tested is what ships. A test that runs it and does not say so finds nothing, rather than what was built some time ago.
  export SDNEDGE_BIN="$PWD/artifacts/bin/sdnedge"
  if [ -z "$filter" ]; then
    compile SdnEdge.sln
    publish --no-build
  else
    builds=("${projects[@]}")
    [ -z "$seed" ] || builds+=(tests/SdnEdge.Standstill/SdnEdge.Standstill.csproj)
    # A solution of the selected projects: what they share is built once.
    { printf '{ "solution": { "path": "%s", "projects": [' "../SdnEdge.sln"; printf '"%s",' "${builds[@]}" | sed 's/,$//'; echo ' ] } }'; } \
      > artifacts/selected.slnf
    compile artifacts/selected.slnf "$UNJUDGED"
    if runs_executable "$filter" "${projects[@]}"; then
      publish "$UNJUDGED"
    else
      SDNEDGE_BIN="$PWD/artifacts/only-for-tests-that-need-executable/sdnedge"
    fi
  fi

  # Guests of QEMU, for the tests that move one.
  case " ${projects[*]} " in *SdnEdge.Host.Tests.csproj*|*SdnEdge.Lab.Tests.csproj*) make_guest ;; esac

  [ "$(id -u)" -eq 0 ] || echo "build.sh: not root: tests that need namespaces will be reported as skipped"
  [ -z "$seed" ] || start_standstill "$seed"
  run_in_two_lanes "$filter" "${projects[@]}"
  if [ "$rerun" = yes ]; then
    for project in "${projects[@]}"; do
      name=$(basename "$project" .csproj)
      [ ! -e "$RESULTS/$name.failed" ] || [ ! -s "$RESULTS/$name.trx" ] || was_aborted "$RESULTS/$name.trx" || rerun_failed "$project" "$name"
    done
  fi

  # The sums come from the result files, so that a project that crashed before reporting is a failure, not a silence.
  local passed=0 failed=0 skipped=0 trx p f s k
  for project in "${projects[@]}"; do
    name=$(basename "$project" .csproj)
    trx="$RESULTS/$name.trx"
    if [ ! -s "$trx" ]; then
      [ -n "$filter" ] && [ ! -e "$RESULTS/$name.failed" ] && continue   # the filter selects none of its tests
      echo "build.sh: $name left no result" >&2
      failed=$((failed + 1))
      continue
    fi
    [ -e "$RESULTS/$name.flaky" ] || : > "$RESULTS/$name.flaky"
    read -r p f s k < <(outcomes "$trx" | awk -F '\t' -v flaky="$RESULTS/$name.flaky" '
      BEGIN { while ((getline line < flaky) > 0) again[line] = 1 }
      { if ($1 == "Passed") p++; else if ($1 == "NotExecuted") s++; else if ($1 == "Failed" && ($2 in again)) k++; else f++ }
      END { print p + 0, f + 0, s + 0, k + 0 }')
    if was_aborted "$trx"; then
      echo "build.sh: $name crashed or hung: not all of its tests have run" >&2
      f=$((f + 1))
    elif [ -e "$RESULTS/$name.failed" ] && [ $((f + k)) -eq 0 ]; then
      echo "build.sh: the test runner of $name failed, though none of its tests did" >&2
      f=$((f + 1))
    fi
    passed=$((passed + p + k)); failed=$((failed + f)); skipped=$((skipped + s))
    outcomes "$trx" | awk -F '\t' '$1 == "NotExecuted" { print "  skipped: " $3 }'
  done
  [ "$failed" -eq 0 ] || code=1
  [ $((passed + failed)) -gt 0 ] || { echo "build.sh: no test ran" >&2; failed=1; code=1; }
  echo "took $((SECONDS - started)) s"
  if [ -n "$seed" ] && ! end_standstill; then
    failed=$((failed + 1)); code=1
  fi
  echo "$passed passed, $failed failed, $skipped skipped"
  return "$code"
}

command="${1:-}"
[ $# -gt 0 ] && shift
case "$command" in
  build)  publish ;;
  demo)   need_sdk; need_root demo; install_packages "${LAB_PACKAGES[@]}"
          case "$*" in *provider-frr*|*ce-switchover*) install_packages frr bird2 ;; *managers*) install_packages etcd-server ;; esac
          if moves_guest "$@"; then install_packages "${GUEST_PACKAGES[@]}"; make_guest; fi
          case " $* " in *" --compare "*) install_packages socat ;; esac
          publish "$UNJUDGED"; exec artifacts/sdnedge demo "$@" ;;
  lab)    need_sdk; need_root lab; install_packages "${LAB_PACKAGES[@]}"
          case "$*" in *managers*) install_packages etcd-server ;; esac
          publish "$UNJUDGED"; exec artifacts/sdnedge lab "$@" ;;
  guest)  install_packages "${GUEST_PACKAGES[@]}"; make_guest ;;
  model)  install_packages "${MODEL_PACKAGES[@]}"; exec docs/model/check.sh "$@" ;;
  test)   need_sdk; install_packages "${TEST_PACKAGES[@]}"; run_tests "$@" ;;
  peers)  need_sdk; need_root peers; install_packages "${TEST_PACKAGES[@]}"
          for project in tests/SdnEdge.Router.Tests tests/SdnEdge.Lab.Tests; do compile "$project" "$UNJUDGED"; done
          for project in tests/SdnEdge.Router.Tests tests/SdnEdge.Lab.Tests; do
            SDNEDGE_UPDATE_PEERS=1 dotnet test "$project" -c Release --no-build --nologo --filter FullyQualifiedName~MatrixTests
          done ;;
  bench)  need_sdk; need_root bench; install_packages "${BENCH_PACKAGES[@]}"; compile bench/SdnEdge.Benchmarks "$UNJUDGED"; publish "$UNJUDGED"
          case "$*" in *--managers*|takeover*) install_packages etcd-server curl ;; esac
          if [ "${1:-}" = guests ]; then install_packages "${GUEST_PACKAGES[@]}"; make_guest; fi
          exec bench/SdnEdge.Benchmarks/bin/Release/net10.0/SdnEdge.Benchmarks "$@" ;;
  format) need_sdk; exec dotnet format SdnEdge.sln "$@" ;;
  ''|help|-h|--help) usage ;;
  *)      usage >&2; fail "there is no command '$command'." ;;
esac
