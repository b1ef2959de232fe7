#!/bin/sh
# No setting and no cause without a test from outside.  Each setting must be
# named by an integration test or a story of the simulator, each cause by an
# integration test, which provokes it for real; that each is met in a story,
# too, the simulator sees to.
set -u
src=${HG_SRCDIR:-.}
build=${HG_BUILDDIR:-.}

real() {
    sed 's/^ *#.*//' "$src"/tests/integration/test_*.py
}

tests() {
    cat "$src"/tests/integration/*.py "$src"/tests/sim/*.c
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

untold=
for key in $settings; do
    tests | grep -Eq "(^|[^a-z_]|\\\\n)$key *=|\"$key\"" || untold="$untold $key"
done
unmet=
for cause in $causes; do
    real | grep -Eq "(^|[^a-z0-9_])$cause([^a-z0-9_]|\$)" || unmet="$unmet $cause"
done
echo 1..2
verdict 1 "every_setting_is_named_by_a_test_from_outside" "$untold"
verdict 2 "every_cause_is_provoked_by_a_test_from_outside" "$unmet"
[ -z "$untold$unmet" ]
