#!/bin/bash
# The completions offer the options that the programs have: all, and no others.
src=${HG_SRCDIR:-.}
build=${HG_BUILDDIR:-.}
count=0

options_in() { grep -oE '(^|[^a-zA-Z0-9-])--?[a-zA-Z][a-z-]*' | grep -oE -e '--?[a-zA-Z][a-z-]*' | sort -u; }

offered() { # COMMAND LINE...: what bash is offered for the empty last word
    COMP_WORDS=("$@" '')
    COMP_CWORD=$#
    COMPREPLY=()
    "_${1//-/_}" "$1" '' "${!#}"
    printf '%s\n' "${COMPREPLY[@]}"
}

same() { # NAME: compares the files found and wanted
    count=$((count + 1))
    if cmp -s "$found" "$wanted" && [ -s "$wanted" ]; then
        echo "ok $count - $1"
    else
        diff "$wanted" "$found" | sed 's/^/# /'
        echo "not ok $count - $1"
    fi
}

mkdir -p "$build/tests/docs"
found=$build/tests/docs/completions.found
wanted=$build/tests/docs/completions.wanted
# shellcheck source=contrib/completions/headgate.bash
. "$src/contrib/completions/headgate.bash"

"$build/headgate" -h | options_in >"$wanted"
offered headgate | options_in >"$found"
same "bash knows headgate's options"

"$build/headgate" ctl -h | options_in >"$wanted"
offered headgate ctl | options_in >"$found"
same "bash knows the options of headgate ctl"

"$build/headgate" ctl -h | sed -n 's/^ *\([a-z]\{4,\}\) .*/\1/p' | sort -u >"$wanted"
offered headgate ctl | grep -v '^-' | sort -u >"$found"
same "bash knows the commands of headgate ctl"

"$build/headgate-bench" -h | options_in >"$wanted"
{ offered headgate-bench; offered headgate-bench 1mrc http://a; offered headgate-bench load http://a; } |
    options_in >"$found"
same "bash knows headgate-bench's options"

{ "$build/headgate" -h; "$build/headgate" ctl -h; "$build/headgate-bench" -h; } | options_in >"$wanted"
grep -oE "'[*]?--?[a-zA-Z][a-z-]*\[" "$src/contrib/completions/_headgate" | options_in >"$found"
same "zsh knows the options of all"

rm -f "$found" "$wanted"
echo "1..$count"
