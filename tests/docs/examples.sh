#!/bin/sh
# Every configuration we ship or print is one that headgate takes: etc/, each
# example beside it, the demo, and the README's.  What -T prints of each is a
# configuration again, and the same one.
set -u
src=${HG_SRCDIR:-.}
build=${HG_BUILDDIR:-.}
scratch=$build/tests/docs/examples.tmp
count=0

result() { # STATUS NAME
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        sed 's/^/# /' "$scratch/out"
        echo "not ok $count - $2"
    fi
}

headgate() { "$build/headgate" "$@" >"$scratch/out" 2>&1; }

# Without the lines that say where a value came from: the copy is another file.
settings_of() { # FILE
    headgate -T -c "$1" && grep -v '^[[:space:]]*#' "$scratch/out"
}

# Whether this binary was built with every module that a directory's files name.
built_for() { # DIRECTORY
    find "$1" -name '*.ini' -exec \
        sed -n 's/^handler = \([a-z0-9]*\).*/\1/p; s/^\[module \(.*\)\]/\1/p' '{}' + | sort -u |
        while read -r module; do
            "$build/headgate" -V | grep -q "^module *$module:" || exit 1
        done
}

skip() { # NAME
    count=$((count + 1))
    echo "ok $count - $1 # SKIP a module it names is not built"
}

loads() { # FILE NAME
    if ! built_for "${1%/*}"; then
        skip "$2"
        return
    fi
    headgate -t -c "$1"
    result $? "$2 loads and passes its tests"
    headgate -T -c "$1" && cp "$scratch/out" "${1%.ini}.printed.ini" &&
        settings_of "$1" >"$scratch/first" && settings_of "${1%.ini}.printed.ini" >"$scratch/second" &&
        [ -s "$scratch/first" ] && diff "$scratch/first" "$scratch/second" >"$scratch/out"
    result $? "what -T prints of $2 reads back the same"
    rm -f "${1%.ini}.printed.ini"
}

rm -rf "$scratch"
mkdir -p "$scratch/etc/conf.d" "$scratch/demo" "$scratch/readme"
cp "$src/etc/headgate.ini" "$scratch/etc"
cp "$src"/etc/conf.d/* "$scratch/etc/conf.d"
cp -R "$src/contrib/demo.ini" "$src/contrib/demo" "$scratch/demo"
awk '/^```ini/ { inside = 1; next } /^```/ { inside = 0 } inside' "$src/README.md" >"$scratch/readme/my.ini"
chmod -R u+w "$scratch"
built_for "$scratch/etc/conf.d" || rm "$scratch/etc/conf.d/1mrc.ini"

loads "$scratch/etc/headgate.ini" "etc as installed"
for example in "$scratch"/etc/conf.d/*.ini.example; do
    name=${example##*/}
    cp "$example" "${example%.example}"
    loads "$scratch/etc/headgate.ini" "etc with $name"
    rm "${example%.example}"
done
for example in "$scratch"/etc/conf.d/*.ini.example; do
    cp "$example" "${example%.example}"
done
loads "$scratch/etc/headgate.ini" "etc with all examples"
loads "$scratch/demo/demo.ini" "the demo"
loads "$scratch/readme/my.ini" "the README's configuration"

# The check itself: a mistake is one.
sed 's/^handler = respond/handler = respnd/' "$src/etc/headgate.ini" >"$scratch/etc/headgate.ini"
if headgate -t -c "$scratch/etc/headgate.ini"; then false; else true; fi
result $? "a mistake in it would have been noticed"
# Lines of -t are FILE:LINE:COLUMN: error: ...; the line of that handler.
line=$(grep -n 'respnd' "$scratch/etc/headgate.ini" | cut -d: -f1)
grep -q "headgate.ini:$line:[0-9]*: error: .*did you mean \"respond\"" "$scratch/out"
result $? "with its place and what was meant"

rm -rf "$scratch"
echo "1..$count"
