#!/bin/sh
# The layers hold: no include and no call goes upward.
#
# First the tree as it is, then the check itself: an include planted in a copy
# of the tree must be reported, a call planted in a copy of a layer's library
# must fail the link of that layer's unit test.
set -u
src=${HG_SRCDIR:-.}
build=${HG_BUILDDIR:-.}
scratch=$build/tests/layers.tmp
count=0

result() { # STATUS NAME
    count=$((count + 1))
    if [ "$1" = 0 ]; then echo "ok $count - $2"; else echo "not ok $count - $2"; fi
}

# The arrows, as refusals: what each layer must not see.
forbidden() {
    case $1 in
    base) echo "io net http conf gate" ;;
    io) echo "net http conf gate" ;;
    net) echo "http conf gate" ;;
    http) echo "io net conf gate" ;;
    conf) echo "io net http gate" ;;
    gate) echo "modules" ;;
    esac
}

includes_hold() { # TREE
    (cd "$1" && find src modules -name '*.[ch]' | sort) |
        xargs "${AWK:-awk}" -v root="$1" -f "$src/tests/layers.awk"
}

rm -rf "$scratch"
mkdir -p "$scratch"

includes_hold "$src" >"$scratch/found"
result $? "every include in src and modules follows the arrows"
sed 's/^/# /' "$scratch/found"

# --- a planted include is caught --------------------------------------------

mkdir "$scratch/tree"
cp -R "$src/src" "$src/modules" "$scratch/tree"
chmod -R u+w "$scratch/tree"

plant() { # FILE HEADER
    mkdir -p "$scratch/tree/${1%/*}"
    printf '#include %s\n' "$2" >"$scratch/tree/$1"
    includes_hold "$scratch/tree" >"$scratch/found"
    status=$?
    rm "$scratch/tree/$1"
    [ $status != 0 ] && grep -q "^$1:1:" "$scratch/found"
}

for layer in base io net http conf; do
    for upper in $(forbidden $layer); do
        plant "src/$layer/planted.h" "\"$upper/planted.h\""
        result $? "$layer must not include $upper"
    done
done
plant src/gate/planted.c '"modules/planted.h"'
result $? "gate must not include a module"
plant src/http/planted.c '<sys/socket.h>'
result $? "http must not include a system's sockets"
plant modules/planted.c '"net/planted.h"'
result $? "a module must not include what gate/module.h does not reach"
plant modules/planted/planted.c '"modules/other/other.h"'
result $? "a module must not include another's"
if plant modules/planted/planted.c '"gate/module.h"'; then status=1; else status=0; fi
result $status "a module may include gate/module.h"

# --- a planted call fails the link ------------------------------------------

# The command that make would link a layer's unit test with, for a copy of the
# layer's library with one more member, which calls the given function.
link_with_call() { # LAYER FUNCTION
    printf 'int %s(void);\nint planted(void);\nint planted(void)\n{\n    return %s();\n}\n' \
        "$2" "$2" >"$scratch/planted.c"
    ${CC:-cc} -fPIE -w -c -o "$scratch/planted.o" "$scratch/planted.c" || return 2
    cp "$build/lib$1.a" "$scratch/lib$1.a"
    ar r "$scratch/lib$1.a" "$scratch/planted.o" 2>/dev/null || return 2
    sed "s| lib$1\\.a | $scratch/lib$1.a |; s| -o tests/[^ ]*| -o $scratch/linked|" \
        "$scratch/link.$1" >"$scratch/link"
    grep -q "$scratch/lib$1.a" "$scratch/link" || return 2
    (cd "$build" && sh "$scratch/link") >"$scratch/linked.log" 2>&1
}

functions_of() { # LIBRARY
    nm -g --defined-only "$build/lib$1.a" 2>/dev/null | awk '$2 == "T" { print $3 }'
}

# How make links a layer's unit test; net, which has none, is put where io is.
link_line() { # LAYER
    case $1 in
    net) link_line io | sed 's| libio\.a | libnet.a |; s| libbase\.a | libio.a libbase.a |' ;;
    *)
        program=tests/unit/$1/$1
        [ -x "$build/$program" ] || return
        (cd "$build" && MAKEFLAGS='' make -n V=1 -W "lib$1.a" "$program") 2>/dev/null |
            grep -e " -o $program " | tail -n 1
        ;;
    esac
}

for layer in base io net http conf gate; do
    [ -f "$build/lib$layer.a" ] || continue
    link_line $layer >"$scratch/link.$layer"
    [ -s "$scratch/link.$layer" ] || continue

    own=$(functions_of $layer | head -n 1)
    [ -n "$own" ] || continue
    link_with_call $layer "$own"
    result $? "$layer links with a call inside it"
    for upper in $(forbidden $layer); do
        call=$(functions_of "$upper" | head -n 1)
        [ -n "$call" ] || continue
        if link_with_call $layer "$call"; then
            status=1
        else
            grep -q "undefined reference to .$call'" "$scratch/linked.log"
            status=$?
        fi
        result $status "$layer does not link with a call to $call of $upper"
    done
done

rm -rf "$scratch"
echo "1..$count"
