#!/bin/sh
# No setting and no cause without a test from outside: each must be named by an
# integration test or a story of the simulator.  What cannot happen yet is
# listed here, and named when it can.
set -u
src=${HG_SRCDIR:-.}
build=${HG_BUILDDIR:-.}
later=""
elsewhere="file_error" # by stories that let the disk fail

tests() { # HTTP/2 is a pure session first: its causes are provoked there
    cat "$src"/tests/integration/*.py "$src"/tests/sim/*.c "$src"/tests/unit/http/test_h2*.c
}

verdict() { # NUMBER NAME UNTESTED
    if [ -z "$3" ]; then
        echo "ok $1 - $2"
    else
        echo "# no test names: $3"
        echo "not ok $1 - $2"
    fi
}

settings=$("$build/headgate" --help-settings | sed -n 's/^  \([a-z][a-z0-9_]*\) (.*/\1/p' | sort -u)
causes=$(sed -n 's/^ *ROW(\([a-z0-9_]*\), [0-9].*/\1/p' "$src/src/http/cause.h")
[ -n "$settings" ] && [ -n "$causes" ] || exit 1

missing=
for key in $settings; do
    tests | grep -Eq "(^|[^a-z_]|\\\\n)$key *=|\"$key\"" || missing="$missing $key"
done
echo 1..2
verdict 1 "every_setting_is_named_by_a_test_from_outside" "$missing"

untold=$missing
missing=
known=
for cause in $causes; do
    if tests | grep -Eq "(^|[^a-z_])(CAUSE_)?$cause([^a-z_]|\$)"; then
        case " $later " in *" $cause "*) known="$known $cause" ;; esac
    else
        case " $later $elsewhere " in *" $cause "*) ;; *) missing="$missing $cause" ;; esac
    fi
done
verdict 2 "every_cause_is_named_by_a_test_from_outside" "$missing"
[ -z "$known" ] || echo "# excused, and no longer need be:$known"
[ -z "$untold$missing" ]
