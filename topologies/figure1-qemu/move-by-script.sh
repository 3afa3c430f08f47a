#!/usr/bin/env bash
# Moves a virtual machine of QEMU as a script does it without a migration manager: plain `migrate` from host to host; when the machine runs at
# its new place, QEMU announces it there (RARP, and its own gratuitous ARP), and its routes go from the configuration of one PE to that of the
# other. Whatever is sent to it between its stop and the last router's new route is lost. Prints QEMU's account of the migration.
# Usage: move-by-script.sh SOURCE_QMP TARGET_QMP URI PE_A_CONFIG PE_A_PID PE_B_CONFIG PE_B_PID PREFIX...
#   SOURCE_QMP, TARGET_QMP  monitor sockets of the machine that runs, and of the one that was started with -incoming URI
#   PE_..._PID              the routers take their files anew on SIGHUP
set -euo pipefail
source_qmp="$1" target_qmp="$2" uri="$3" config_a="$4" pid_a="$5" config_b="$6" pid_b="$7"
shift 7

# Reads from a monitor until a line has WORD, and prints it; gives up when the monitor is silent for a minute.
until_said() {
  local line
  while read -r -t 60 line <&"$1"; do
    case "$line" in *'"error"'*) echo "$line" >&2; exit 1 ;; *"$2"*) echo "$line"; return ;; esac
  done
  echo "move-by-script.sh: waited in vain for $2" >&2
  exit 1
}

coproc target { socat - "UNIX-CONNECT:$target_qmp"; }
exec {target_out}<&"${target[0]}" {target_in}>&"${target[1]}"
coproc source { socat - "UNIX-CONNECT:$source_qmp"; } 2>/dev/null
exec {source_out}<&"${source[0]}" {source_in}>&"${source[1]}"
for monitor in "$target_in" "$source_in"; do echo '{"execute":"qmp_capabilities"}' >&"$monitor"; done
until_said "$target_out" '"return"' >/dev/null
until_said "$source_out" '"return"' >/dev/null

echo "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"$uri\"}}" >&"$source_in"
until_said "$source_out" '"return"' >/dev/null
until_said "$target_out" '"RESUME"' >/dev/null

# The routes follow: what PE_a has of the machine goes to PE_b.
pattern="$(printf '%s|' "$@" | sed 's/|$//; s/[.]/[.]/g')"
routes="$(mktemp)"
grep -E "prefix: \"?($pattern)[\", ]" "$config_a" > "$routes"
sed -i "/^static:/r $routes" "$config_b"
kill -HUP "$pid_b"
sed -i -E "\\#prefix: \"?($pattern)[\", ]#d" "$config_a"
kill -HUP "$pid_a"
rm -f "$routes"

echo '{"execute":"query-migrate"}' >&"$source_in"
until_said "$source_out" '"transferred"'
