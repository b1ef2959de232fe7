#!/bin/sh
# Makes ./configure from a fresh checkout.  With --modules only the build
# fragment of the modules, which `make` asks for when modules.list changed.
set -eu
cd "$(dirname "$0")"

missing() {
    echo "autogen.sh: $1 is missing: apt install $2" >&2
    exit 1
}

# modules.list -> modules.am: automake wants every source by name.
modules_fragment() {
    echo "# Written by autogen.sh from modules.list."
    grep -v '^[[:space:]]*\(#\|$\)' modules/modules.list | while read -r name symbol sources; do
        if [ -z "$sources" ]; then
            echo "modules/modules.list: $name: a row is NAME SYMBOL SOURCE..." >&2
            exit 1
        fi
        echo
        echo "# $name ($symbol)"
        for pattern in $sources; do
            for file in modules/$pattern; do
                if [ ! -f "$file" ]; then
                    echo "modules/modules.list: $name: there is no $file" >&2
                    exit 1
                fi
                echo "libmodules_a_SOURCES += $file"
            done
        done
    done
}

modules_fragment >modules/modules.am.tmp || { rm -f modules/modules.am.tmp; exit 1; }
# What is as it was stays as old as it is, so that nothing is made again because of it.
if cmp -s modules/modules.am.tmp modules/modules.am &&
    [ -n "$(find modules/modules.am -newer modules/modules.list)" ]; then
    rm -f modules/modules.am.tmp
else
    mv -f modules/modules.am.tmp modules/modules.am
fi
[ "${1:-}" = --modules ] && exit 0

command -v autoreconf >/dev/null || missing autoconf autoconf
command -v automake >/dev/null || missing automake automake
command -v pkg-config >/dev/null || missing pkg-config pkg-config
autoreconf --install --force
