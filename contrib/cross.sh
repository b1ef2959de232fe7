#!/bin/sh
# Builds headgate for another architecture and runs the unit tests there, emulated.
#
#   contrib/cross.sh            Debian 12 on arm64: cross-compiled, run by qemu-aarch64
#   contrib/cross.sh baseline   the parsers on an x86-64 CPU without AVX2 and SSE4.2
#
# Needs gcc-aarch64-linux-gnu, qemu-user and debootstrap, which contrib/test.sh --all
# installs.  The libraries of the other architecture are unpacked below build/arm64
# and nowhere else: nothing of them is installed.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=contrib/lib.sh
. "$top/contrib/lib.sh"

suite=bookworm
triplet=aarch64-linux-gnu
root=$top/build/arm64/root
packages=libc6-dev,libinih-dev,liburing-dev,libssl-dev,libnghttp2-dev,libc-ares-dev,check,libsubunit-dev

# Unpacked, not set up: a compiler and an emulator look for files, no more.
unpack() {
    [ -e "$root/.complete" ] && return
    [ "$(id -u)" = 0 ] || die "debootstrap needs root"
    rm -rf "$root"
    debootstrap --arch=arm64 --foreign --variant=minbase --include="$packages" \
        "$suite" "$root" "${HG_MIRROR:-http://deb.debian.org/debian}"
    for package in "$root"/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$root"
    done
    : >"$root/.complete"
}

arm64() {
    unpack
    generate
    PKG_CONFIG_SYSROOT_DIR=$root
    PKG_CONFIG_LIBDIR=$root/usr/lib/$triplet/pkgconfig:$root/usr/share/pkgconfig
    export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR
    configure_in arm64/out --host=$triplet --enable-werror \
        PKG_CONFIG=pkg-config CC="$triplet-gcc --sysroot=$root" CFLAGS="-O2 -g"
    make -C "$top/build/arm64/out" -j"$jobs" all
    # io_uring is not emulated, so the tests of that engine are not among them.
    make -C "$top/build/arm64/out" -j"$jobs" check-unit LOG_COMPILER="qemu-aarch64 -L $root"
}

# What needs more than the baseline is chosen at run time, and only the parsers do.
baseline() {
    [ "$(uname -m)" = x86_64 ] || die "This machine is no x86-64"
    generate
    configure_in gcc --enable-werror
    make -C "$top/build/gcc" -j"$jobs" check check_PROGRAMS=tests/unit/http/http \
        TESTS=tests/unit/http/http LOG_COMPILER="qemu-x86_64 -cpu qemu64"
}

# An emulated CPU takes its time.
CK_TIMEOUT_MULTIPLIER=100
export CK_TIMEOUT_MULTIPLIER

case ${1:-arm64} in
arm64 | baseline) "${1:-arm64}" ;;
*)
    say "usage: contrib/cross.sh [arm64 | baseline]" >&2
    exit 2
    ;;
esac
