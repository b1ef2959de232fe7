# What run.sh and test.sh share: saying what happens, installing what is
# missing, building.  Sourced with $top set to the project's directory.
# shellcheck shell=sh disable=SC2034,SC2154

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') green=$(printf '\033[32m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' green='' red='' plain=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '%s==>%s %s\n' "$bold" "$plain" "$*"; }
die() {
    printf '%s%s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

jobs=$( (nproc || getconf _NPROCESSORS_ONLN) 2>/dev/null || echo 2)
logs=$top/build/logs

# What a purpose needs: a package, and what proves that it is there: a command,
# a file, or a pkg-config module.  So a compiler from elsewhere counts too.
needs() { # PURPOSE
    case $1 in
    build)
        cat <<'LIST'
gcc             gcc
libc6-dev       /usr/include/stdlib.h
make            make
autoconf        autoreconf
automake        automake
pkg-config      pkg-config
liburing-dev    pc:liburing
libinih-dev     pc:inih
libssl-dev      pc:openssl
libnghttp2-dev  pc:libnghttp2
libc-ares-dev   pc:libcares
LIST
        ;;
    test)
        cat <<'LIST'
check           pc:check
python3         /usr/bin/python3
python3-requests /usr/lib/python3/dist-packages/requests
python3-h2      /usr/lib/python3/dist-packages/h2
python3-hpack   /usr/lib/python3/dist-packages/hpack
python3-grpcio  /usr/lib/python3/dist-packages/grpc
python3-httpx   /usr/lib/python3/dist-packages/httpx
python3-aiohttp /usr/lib/python3/dist-packages/aiohttp
python3-uvicorn /usr/lib/python3/dist-packages/uvicorn
curl            curl
wget            wget
apache2-utils   ab
wrk             wrk
nghttp2-client  nghttp
nghttp2-server  nghttpd
nginx           nginx
dnsmasq-base    dnsmasq
nodejs          node
node-ws         /usr/share/nodejs/ws
mandoc          mandoc
xz-utils        xz
procps          ps
valgrind        valgrind
LIST
        ;;
    ci) echo "clang clang" ;;
    all)
        cat <<'LIST'
testssl.sh      testssl
debootstrap     debootstrap
gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc
libc6-dev-arm64-cross /usr/aarch64-linux-gnu/include/stdlib.h
qemu-user       qemu-aarch64
golang-go       go
LIST
        ;;
    esac
}

present() { # PROBE
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    /*) [ -e "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

missing_packages() { # PURPOSE...
    for purpose; do
        needs "$purpose"
    done | while read -r package probe; do
        present "$probe" || printf '%s ' "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# A package that brings a service (nginx) must not start it on this machine.
no_services() { # on|off
    policy=/usr/sbin/policy-rc.d
    case $1 in
    on)
        [ -e $policy ] && return
        printf '#!/bin/sh\n# Written by headgate while it installs packages.\nexit 101\n' |
            as_root tee $policy >/dev/null
        as_root chmod 755 $policy
        trap 'no_services off' EXIT
        trap 'exit 1' INT TERM HUP
        ;;
    off)
        grep -q 'Written by headgate' $policy 2>/dev/null && as_root rm -f $policy
        trap - EXIT INT TERM HUP
        ;;
    esac
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$logs/install.log" 2>&1
}

install_packages() { # PURPOSE...
    packages=$(missing_packages "$@")
    if [ -z "$packages" ]; then
        say "    everything needed is there"
        return
    fi
    command -v apt-get >/dev/null ||
        die "This is not Debian; install the likes of these, then run again: $packages"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "As root, run:  apt-get install $packages"
    fi
    say "    installing $packages"
    mkdir -p "$logs"
    : >"$logs/install.log"
    no_services on
    # shellcheck disable=SC2086 # a list of words
    if ! { apt update && apt install --no-install-recommends $packages; }; then
        tail -n 15 "$logs/install.log" >&2
        die "apt-get could not install $packages"
    fi
    no_services off
    # shellcheck disable=SC2046
    packages=$(missing_packages "$@")
    [ -z "$packages" ] || die "Still missing after installing: $packages"
}

# ./configure, when it is not there or older than what it is made from; a source that is new
# below modules/NAME counts.
generate() {
    if [ -x "$top/configure" ] && [ -f "$top/Makefile.in" ] && [ -f "$top/modules/modules.am" ]; then
        "$top/autogen.sh" --modules || return
        newer=$(find "$top/configure.ac" "$top/Makefile.am" "$top/src" "$top/modules" "$top/tests" \
            "$top/man" "$top/etc" "$top/contrib" \
            \( -name '*.am' -o -name configure.ac -o -name modules.list \) -newer "$top/Makefile.in")
        [ -n "$newer" ] || return 0
    fi
    "$top/autogen.sh"
}

# configure_in DIR OPTION...: configures build/DIR, again only for other options.
configure_in() {
    (
        mkdir -p "$top/build/$1" && cd "$top/build/$1" && shift || exit 1
        [ -f Makefile ] && [ "$(cat .options 2>/dev/null)" = "$*" ] && exit 0
        rm -f .options
        "$top/configure" -q "$@" && printf '%s' "$*" >.options
    )
}

# quietly NAME COMMAND...: the output goes to a log, of which the end is shown on failure.
quietly() {
    name=$1
    shift
    mkdir -p "$logs"
    "$@" </dev/null >"$logs/$name.log" 2>&1 && return
    tail -n 40 "$logs/$name.log" >&2
    die "$name failed; all of it is in $logs/$name.log"
}
