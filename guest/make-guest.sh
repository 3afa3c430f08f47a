#!/usr/bin/env bash
# Makes the test guest: OUT/vmlinuz (Debian's cloud kernel), OUT/initrd (busybox, the kernel's modules for virtio, app.c and disk.c), and
# OUT/qemu-ahead, which is the QEMU of fetch-qemu.sh before ordinary programs: a guest that waits behind a compiler measures the compiler.
# Needs busybox-static, cpio, gcc. Nothing is installed.
# Usage: make-guest.sh OUT
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
out="$(mkdir -p "$1" && cd "$1" && pwd)"
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk)

newer=(-newer "$out/initrd" \( -name '*.c' -o -name '*.h' -o -name init -o -name make-guest.sh \))
[ ! -e "$out/initrd" ] || [ -n "$(find "$here" "${newer[@]}")" ] || exit 0
if [ ! -e "$out/vmlinuz" ]; then
  package="$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')"
  [ -n "$package" ] || { echo "make-guest.sh: apt knows no linux-image-cloud-amd64: run \`apt-get update\`" >&2; exit 1; }
  rm -rf "$out/kernel" && mkdir -p "$out/kernel"
  (cd "$out/kernel" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
  cp "$out"/kernel/boot/vmlinuz-* "$out/vmlinuz.new"
  mv "$out/vmlinuz.new" "$out/vmlinuz"
fi

root="$out/root"
rm -rf "$root" && mkdir -p "$root/bin" "$root/modules"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$here/init" "$root/init"
gcc -O2 -static -Wall -Wextra -Werror -pthread -o "$root/app" "$here/app.c" "$here/disk.c"
for module in "${modules[@]}"; do
  cp "$(find "$out/kernel" -name "$module.ko" | head -1)" "$root/modules/"
  echo "$module.ko" >> "$root/modules/order"
done
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n) > "$out/initrd.new"
cat > "$out/qemu-ahead.new" <<'AHEAD'
#!/bin/sh
{ echo -15 >/proc/self/autogroup; renice -n -10 -p $$ >/dev/null; } 2>/dev/null
exec "$(dirname "$0")/qemu/usr/bin/qemu-system-x86_64" "$@"
AHEAD
chmod +x "$out/qemu-ahead.new"
mv "$out/qemu-ahead.new" "$out/qemu-ahead"
mv "$out/initrd.new" "$out/initrd"
rm -rf "$root"
