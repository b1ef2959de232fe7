#!/bin/sh
# Builds headgate and tests it.
#
#   contrib/test.sh         installs what is missing, builds, runs the whole suite
#   contrib/test.sh --ci    what every change must pass: both compilers, without options, instructions, distcheck, sanitizers
#   contrib/test.sh --all   that, and mutants, long seeds, arm64 and Debian 13
#
# An integration test that fails is tried once more, alone, and named below its
# stage (`make check` by itself tries nothing twice).  The last line is
# `N passed, N failed`.
# shellcheck disable=SC2317 # stages are called by name
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=contrib/lib.sh
. "$top/contrib/lib.sh"

mode=suite
case ${1:-} in
'') ;;
--ci) mode=ci ;;
--all) mode=all ;;
-h | --help)
    sed -n 's/^# \{0,1\}//p' "$0" | sed 1d | sed '/^shellcheck/,$d'
    exit 0
    ;;
*)
    say "usage: contrib/test.sh [--ci | --all]" >&2
    exit 2
    ;;
esac

passed=0
failed=0
started=$(date +%s)
HG_SECOND_TRIES=2
export HG_SECOND_TRIES

finish() { # STATUS
    seconds=$(($(date +%s) - started))
    say "    $((seconds / 60)) min $((seconds % 60)) s in all"
    say "$passed passed, $failed failed"
    exit "$1"
}

# The sums automake prints under each test run: `# PASS:  12`.
tally() { # LOG KIND...
    log=$1
    shift
    for kind; do
        sed -n "s/^# $kind: *\([0-9][0-9]*\)\$/\1/p" "$log"
    done | awk '{ n += $1 } END { print n + 0 }'
}

# The failed points of the stage's test runs, each below what its test said.
what_failed() {
    find "$top/build" -name test-suite.log -newer "$logs/.begun" -exec awk '
        /^# / { said = said $0 "\n"; next }
        /^(not ok|Bail out)/ { printf "%s%s\n", said, $0 }
        /^ERROR: / { print }
        { said = "" }' '{}' +
}

# stage NAME COMMAND...: times it, counts its tests, ends everything when it fails.
stage() {
    name=$1
    shift
    printf '%s==>%s %-12s ' "$bold" "$plain" "$name"
    log=$logs/$name.log
    begun=$(date +%s)
    : >"$logs/.begun"
    ("$@") </dev/null >"$log" 2>&1
    status=$?
    good=$(tally "$log" PASS XFAIL)
    bad=$(tally "$log" FAIL XPASS ERROR)
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ $status = 0 ] && [ "$bad" = 0 ]; then
        tests=
        [ "$good" = 0 ] || tests=", $good tests"
        printf '%sok%s  %4d s%s\n' "$green" "$plain" $(($(date +%s) - begun)) "$tests"
        find "$top/build" -path '*integration*.log' -newer "$logs/.begun" \
            -exec sed -n 's/^# second try:/    passed at the second try:/p' '{}' +
        return
    fi
    printf '%sFAILED%s after %d s\n\n' "$red" "$plain" $(($(date +%s) - begun))
    [ "$bad" != 0 ] || failed=$((failed + 1))
    what_failed | head -n 60
    [ "$bad" != 0 ] || grep -E 'error:|undefined reference' "$log" | head -n 10
    [ "$bad" != 0 ] || tail -n 30 "$log"
    say ""
    say "${red}The stage \"$name\" failed.${plain} Its whole log: $log"
    finish 1
}

in_dir() { # DIR TARGET
    make -C "$top/build/$1" -j"$jobs" "$2"
}

configured() { # DIR
    case $1 in
    default) configure_in default ;;
    gcc) configure_in gcc --enable-werror ;;
    clang) configure_in clang CC=clang CFLAGS=-O1 --enable-werror ;;
    # Whatever can be left out is left out.
    least) configure_in least CFLAGS=-O0 --enable-werror --without-tls --without-http2 --without-cares \
        --without-uring ;;
    # Without -Werror: gcc under UBSan warns of conversions that it otherwise sees through.
    asan) configure_in asan --enable-sanitizers CFLAGS="-O1 -g" ;;
    tsan) configure_in tsan --enable-tsan CFLAGS="-O1 -g" ;;
    esac
}

# configure uses one processor, whatever it is given.
configure_all() {
    generate || return
    { configured clang && configured least; } &
    configured gcc && configured asan && configured tsan && wait $!
}

build_in() { # DIR
    generate && configured "$1" && in_dir "$1" all
}

seeds() { # COUNT DIR TARGET
    HG_SIM_SEEDS=$1
    export HG_SIM_SEEDS
    in_dir "$2" "$3"
}

# Unoptimised: this is about what is in the archive, not about speed.
distribution() {
    make -C "$top/build/gcc" -j"$jobs" distcheck-unit DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O0
}

with_clang() { build_in clang && in_dir clang check-unit; }

without_options() { build_in least && seeds 100 least check-alone; }

with_sanitizers() { build_in asan && seeds 500 asan check-alone; }

# OpenSSL, and HTTP/2 both ways, where a byte too many or too few is seen.
tls_with_sanitizers() {
    make -C "$top/build/asan" -j1 check check_PROGRAMS= \
        TESTS="$(cd "$top" && echo tests/integration/test_tls*.py tests/integration/test_trailers.py \
            tests/integration/test_websocket.py tests/integration/test_h2_origin.py \
            tests/integration/test_http2.py tests/integration/test_grpc.py)"
}

testssl() {
    HG_LONG=1 make -C "$top/build/gcc" check check_PROGRAMS= TESTS=tests/integration/test_testssl.py
}

with_tsan() { in_dir tsan check-threads; }

# Where the figures are from, being unable to compare with them is a failure.
instructions() {
    if grep -q 'VERSION_ID="12"' /etc/os-release && [ "$(uname -m)" = x86_64 ]; then
        HG_INSTRUCTIONS=required
        export HG_INSTRUCTIONS
    fi
    in_dir gcc check-instructions
}

mutants() { in_dir gcc mutants; }

long_seeds() { seeds "${HG_LONG_SEEDS:-200000}" gcc check-sim; }

# The whole suite in a fresh Debian 13, from what is checked out here.
debian13() {
    root=$top/build/trixie
    [ "$(id -u)" = 0 ] || { echo "debootstrap and chroot need root"; return 1; }
    [ -f "$root/etc/debian_version" ] || debootstrap --variant=minbase --include=git,ca-certificates \
        trixie "$root" "${HG_MIRROR:-http://deb.debian.org/debian}" || return 1
    rm -rf "$root/headgate"
    mkdir "$root/headgate"
    (cd "$top" && git ls-files -z | xargs -0 tar cf -) | tar xf - -C "$root/headgate" || return 1
    # A mount namespace of its own takes the mounts away, whatever happens.
    unshare -m sh -c "mount --bind /proc '$root/proc' && mount --rbind /dev '$root/dev' &&
        chroot '$root' /headgate/contrib/test.sh"
}

mkdir -p "$logs"
install() { install_packages build test "$@"; }

step "What is needed"
case $mode in
suite) install ;;
ci) install ci ;;
all) install ci all ;;
esac
say "    $(($(date +%s) - started)) s"

if [ $mode = suite ]; then
    stage build build_in default
    stage check in_dir default check
    finish 0
fi

stage configure configure_all
stage gcc build_in gcc
stage check in_dir gcc check
stage instructions instructions
stage distcheck distribution
stage clang with_clang
stage least without_options
stage sanitizers with_sanitizers
stage threads with_tsan
if [ $mode = all ]; then
    stage asan-tls tls_with_sanitizers
    stage testssl testssl
    stage mutants mutants
    stage seeds long_seeds
    stage baseline "$top/contrib/cross.sh" baseline
    stage arm64 "$top/contrib/cross.sh" arm64
    stage debian13 debian13
fi
finish 0
