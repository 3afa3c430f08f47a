#!/usr/bin/env bash
# The one door of SdnEdge: build, demonstrate, prove, measure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'EOF'
Usage: ./build.sh COMMAND [ARGUMENTS]

  build                build Release; leaves the executable at artifacts/sdnedge
  demo  [OPTIONS]      build, then move a virtual server from data centre A to B under traffic
                       (--out DIR, --rate PPS, --blackout MS, --rtt MS, --no-hold, --keep)
  test  [FILTER]       build, then run every test; ends with "N passed, N failed, N skipped"
  peers                build, try every cell of the matrix with FRR, BIRD, GoBGP, ExaBGP and OpenBGPD, and rewrite docs/peers.md
  bench [NAME] [ARGS]  build, then measure beside peers; without a name it lists what there is
  lab   ARGUMENTS      build, then `sdnedge lab ARGUMENTS` (deploy | destroy | inspect | exec | graph)
  format               put the code into the house's format

demo, lab, and the tests that use network namespaces need root and /dev/net/tun.
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
    for unit in frr bird gobgpd exabgp openbgpd openvswitch-switch; do
      case " ${missing[*]} " in *" $unit "*|*" ${unit}2 "*) systemctl disable --quiet "$unit" 2>/dev/null || true ;; esac
    done
  fi
}

BUILD_PACKAGES=(gcc libc6-dev libsqlite3-dev)   # the linker, and what it links
LAB_PACKAGES=(iproute2 iputils-ping libpcap0.8 procps)
TEST_PACKAGES=("${LAB_PACKAGES[@]}" tshark tcpdump frr bird2 gobgpd exabgp openbgpd ethtool jq curl openssl socat)
BENCH_PACKAGES=("${LAB_PACKAGES[@]}" "${BUILD_PACKAGES[@]}" openvswitch-switch ethtool util-linux frr bird2 gobgpd)

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

build() {
  need_sdk
  install_packages "${BUILD_PACKAGES[@]}"
  local log
  log=$(mktemp)
  echo "build.sh: building (Release)"
  if ! dotnet build SdnEdge.sln -c Release -v quiet -nologo -clp:NoSummary >"$log" 2>&1; then
    grep -E 'error' "$log" | sort -u | head -30 >&2 || cat "$log" >&2
    rm -f "$log"
    fail "the build failed."
  fi
  # To machine code: a PE starts in a fraction of the time, and nothing is compiled beside the traffic. What runs from the old file goes on.
  rm -rf artifacts/bin
  echo "build.sh: compiling to machine code (only what has changed since the last time)"
  if ! dotnet publish src/SdnEdge.Cli -c Release --no-build -o artifacts/bin -v quiet -nologo >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "the ahead-of-time compilation failed."
  fi
  rm -f "$log"
  ln -sfn bin/sdnedge artifacts/sdnedge
}

run_tests() {
  local filter="${1:-}" results=artifacts/test-results started=$SECONDS code=0
  rm -rf "$results" && mkdir -p "$results"
  # What is tested is what ships.
  export SDNEDGE_BIN="$PWD/artifacts/bin/sdnedge"
  [ "$(id -u)" -eq 0 ] || echo "build.sh: not root: tests that need namespaces will be reported as skipped"
  for project in tests/*.Tests/*.csproj; do
    local name
    name=$(basename "$project" .csproj)
    echo "== $name"
    # Signals as for a program in the foreground: a shell in the background has its children ignore Ctrl-C, which some tests send.
    env --default-signal=HUP,INT,QUIT,TERM dotnet test "$project" -c Release --no-build --nologo -v quiet ${filter:+--filter "$filter"} \
      --logger "trx;LogFileName=$name.trx" --logger "console;verbosity=minimal" --results-directory "$results" \
      --blame-hang-timeout 5m 2>&1 \
      | { grep -vE '^(Test run for|A total of|Data collector|Results File|$)' || true; } || code=1
  done
  # The sums come from the result files, so that a project that crashed before reporting is a failure, not a silence.
  local passed=0 failed=0 skipped=0
  for project in tests/*.Tests/*.csproj; do
    local trx counters p f t
    trx="$results/$(basename "$project" .csproj).trx"
    if [ ! -s "$trx" ]; then
      [ -n "$filter" ] && continue
      echo "build.sh: $(basename "$project" .csproj) left no result" >&2
      failed=$((failed + 1))
      continue
    fi
    counters=$(grep -o '<Counters [^>]*>' "$trx")
    t=$(sed -E 's/.*total="([0-9]+)".*/\1/' <<<"$counters")
    p=$(sed -E 's/.*passed="([0-9]+)".*/\1/' <<<"$counters")
    f=$(grep -oE '(failed|error|timeout|aborted)="[0-9]+"' <<<"$counters" | grep -oE '[0-9]+' | awk '{s+=$1} END {print s+0}')
    passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + t - p - f))
    { grep -o '<UnitTestResult [^>]*outcome="NotExecuted"[^>]*>' "$trx" || true; } | sed -E 's/.*testName="([^"]*)".*/  skipped: \1/'
  done
  [ "$failed" -gt 0 ] && code=1
  [ $((passed + failed)) -gt 0 ] || { echo "build.sh: no test ran" >&2; code=1; }
  [ "$code" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
  echo "took $((SECONDS - started)) s"
  echo "$passed passed, $failed failed, $skipped skipped"
  return "$code"
}

command="${1:-}"
[ $# -gt 0 ] && shift
case "$command" in
  build)  build ;;
  demo)   need_sdk; need_root demo; install_packages "${LAB_PACKAGES[@]}"
          case "$*" in *provider-frr*) install_packages frr bird2 ;; esac
          build; exec artifacts/sdnedge demo "$@" ;;
  lab)    need_sdk; need_root lab; install_packages "${LAB_PACKAGES[@]}"; build; exec artifacts/sdnedge lab "$@" ;;
  test)   need_sdk; install_packages "${TEST_PACKAGES[@]}"; build; run_tests "$@" ;;
  peers)  need_sdk; need_root peers; install_packages "${TEST_PACKAGES[@]}"; build
          SDNEDGE_UPDATE_PEERS=1 dotnet test tests/SdnEdge.Router.Tests -c Release --no-build --nologo --filter FullyQualifiedName~MatrixTests ;;
  bench)  need_sdk; need_root bench; install_packages "${BENCH_PACKAGES[@]}"; build
          exec bench/SdnEdge.Benchmarks/bin/Release/net10.0/SdnEdge.Benchmarks "$@" ;;
  format) need_sdk; exec dotnet format SdnEdge.sln "$@" ;;
  ''|help|-h|--help) usage ;;
  *)      usage >&2; fail "there is no command '$command'." ;;
esac
