#!/bin/sh
# What `make install` puts where, and what it must not touch.
set -u
build=${HG_BUILDDIR:-.}
dest=$build/tests/docs/install.tmp
count=0

result() { # STATUS NAME
    count=$((count + 1))
    if [ "$1" = 0 ]; then echo "ok $count - $2"; else echo "not ok $count - $2"; fi
}

run_make() {
    (cd "$build" && MAKEFLAGS='' make -s "$@" DESTDIR="$dest") >"$build/tests/docs/install.out" 2>&1
    status=$?
    [ $status = 0 ] || sed 's/^/# /' "$build/tests/docs/install.out"
    return $status
}

# The directories as configured: make knows.
directory() {
    sed -n "s|^$1 = ||p" "$build/Makefile" |
        sed -e "s|\${datarootdir}|$(sed -n 's|^datarootdir = ||p' "$build/Makefile")|" \
            -e "s|\${exec_prefix}|$(sed -n 's|^exec_prefix = ||p' "$build/Makefile")|" \
            -e "s|\${prefix}|$(sed -n 's|^prefix = ||p' "$build/Makefile")|"
}

rm -rf "$dest"
mkdir -p "$build/tests/docs"
ini=$dest$(directory sysconfdir)/headgate/headgate.ini

run_make install
result $? "make install works"
for file in "$dest$(directory sbindir)/headgate" "$ini" "${ini%/*}/conf.d/1mrc.ini" \
    "${ini%/*}/conf.d/static.ini.example" \
    "$dest$(directory bindir)/headgate-bench" "$dest$(directory mandir)/man8/headgate.8" \
    "$dest$(directory mandir)/man5/headgate.ini.5" \
    "$dest$(directory datadir)/bash-completion/completions/headgate-bench"; do
    test -e "$file"
    result $? "it installs ${file##*/}"
done
grep -q '^enabled = no' "${ini%/*}/conf.d/1mrc.ini"
result $? "1mrc is off as installed"
"$dest$(directory sbindir)/headgate" -t -c "$ini" >"$build/tests/docs/install.out" 2>&1
result $? "what was installed loads"

unit=$dest$(directory systemdsystemunitdir)/headgate.service
if [ -f "$unit" ]; then
    grep -q "^ExecStart=$(directory sbindir)/headgate -c $(directory sysconfdir)/headgate/headgate.ini\$" "$unit"
    result $? "the unit starts what was installed"
    if grep -q '@[a-z]*@' "$unit"; then false; else true; fi
    result $? "nothing in the unit is left to be filled in"
fi

echo '# mine' >"$ini"
echo '# mine' >"${ini%/*}/conf.d/1mrc.ini"
run_make install
result $? "make install works over an installation"
test "$(cat "$ini")" = '# mine'
result $? "it keeps an existing headgate.ini"
test "$(cat "${ini%/*}/conf.d/1mrc.ini")" = '# mine'
result $? "it keeps an existing conf.d/1mrc.ini"

run_make uninstall
result $? "make uninstall works"
left=$(find "$dest" ! -type d | sort)
test "$left" = "$(printf '%s\n' "${ini%/*}/conf.d/1mrc.ini" "$ini" | sort)"
result $? "and leaves only what the administrator wrote"
[ "$(printf '%s' "$left" | wc -l)" = 1 ] || printf '%s\n' "$left" | sed 's/^/# /'

rm -rf "$dest" "$build/tests/docs/install.out"
echo "1..$count"
