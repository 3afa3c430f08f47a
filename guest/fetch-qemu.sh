#!/usr/bin/env bash
# Puts QEMU 10 of Debian's backports beside the system's own one, into OUT/qemu: nothing is installed, nothing of the system changes.
# Debian 12's own QEMU (7.2) corrupts a guest's memory when it migrates live without KVM; 9.0 and later do not.
# The archive is the one that this machine's own sources name.
# Usage: fetch-qemu.sh OUT
set -euo pipefail
out="$(mkdir -p "$1" && cd "$1" && pwd)"
packages=(qemu-system-x86 qemu-system-common qemu-system-data seabios)

[ -x "$out/qemu/usr/bin/qemu-system-x86_64" ] && exit 0
work="$out/apt"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/preferences.d"

# The first archive that has Debian itself.
uri="$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 'Component: main' | awk '$2 ~ /^bookworm$/ { print $1; exit }')"
[ -n "$uri" ] || { echo "fetch-qemu.sh: this machine's apt knows no archive of Debian 12: \`apt-get indextargets\` names none; is it Debian 12, and was \`apt-get update\` run?" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri bookworm-backports main" > "$work/sources.list"
cat > "$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/preferences.d";
Dir::State::lists "$work/lists";
Dir::Cache::archives "$work/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Get::List-Cleanup "0";
CONF
export APT_CONFIG="$work/apt.conf"
apt-get -qq update
cd "$work/archives"
apt-get -qq -o APT::Sandbox::User=root download "${packages[@]/%//bookworm-backports}"
rm -rf "$out/qemu.new"
for deb in "$work"/archives/*.deb; do dpkg-deb -x "$deb" "$out/qemu.new"; done
rm -rf "$out/qemu" && mv "$out/qemu.new" "$out/qemu"
rm -rf "$work"
