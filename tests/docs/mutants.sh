#!/bin/sh
# Every bug of tests/sim/mutants.txt can still be planted, and whoever is to notice exists: code
# moves on, and a bug that is not planted is noticed by nobody.
set -u
src=${HG_SRCDIR:-.}
rules=$src/tests/sim/mutants.txt

# Stories as "story NAME", unit tests as "unit/LAYER/PROGRAM", mutants as lines of five words and more.
wrong=$({
    sed -n 's/^ *{"\([a-z0-9_]*\.[a-z0-9_]*\)",.*/story \1/p' "$src"/tests/sim/*.c
    cat "$src"/tests/unit/*/*.am | tr ' \t' '\n\n' | sed -n 's,^tests/\(unit/[^.]*\)$,story \1,p'
    cat "$rules"
} | awk -v src="$src" '
    function complain(what) { print name ": " what }
    function holds(file, text,    line, n, i) {
        if (!(file in lines)) {
            n = 0
            while ((getline line < (src "/" file)) > 0)
                content[file, ++n] = line
            close(src "/" file)
            lines[file] = n
        }
        for (i = 1; i <= lines[file]; i++)
            if (index(content[file, i], text))
                return 1
        return 0
    }
    function rest() { sub(/^[a-z]+ */, ""); return $0 }
    $1 == "story" { stories[$2] = 1 }
    $1 == "mutant" {
        name = rest(); file = from = to = ""; all++
        if (name in names) complain("is there twice")
        names[name] = 1
    }
    $1 == "file" { file = rest() }
    $1 == "from" { from = rest() }
    $1 == "to" { to = rest() }
    $1 == "plays" {
        if (from == to) complain("changes nothing")
        if (!holds(file, from)) complain(file " has no line with " from)
        for (i = 2; i <= NF; i++)
            if (!($i in stories)) complain("there is no " $i)
        planted++
    }
    END {
        if (all < 100 || all != planted) print all " bugs, " planted " that somebody is to notice"
    }')

# A small tree with one bug, and a player who knows no story.
unplayed() {
    work=$(mktemp -d "${HG_BUILDDIR:-.}/mutants.XXXXXX") || return 1
    mkdir -p "$work/tree/build-aux" "$work/tree/tests/sim" "$work/bin" "$work/mutants/out/tests/sim"
    echo 'one' >"$work/tree/one.c"
    printf '%s\n' 'mutant a bug' 'file one.c' 'from one' 'to two' 'plays no.story' >"$work/tree/tests/sim/mutants.txt"
    printf '#!/bin/sh\nexit 0\n' >"$work/bin/make"
    printf '#!/bin/sh\ncase $1 in --story) exit 2 ;; esac\n' >"$work/mutants/out/tests/sim/sim"
    chmod +x "$work/bin/make" "$work/mutants/out/tests/sim/sim"
    : >"$work/mutants/out/Makefile"
    PATH=$work/bin:$PATH HG_SRCDIR=$work/tree HG_BUILDDIR=$work "$src/tests/sim/mutants.sh" bug 2>&1
    status=$?
    rm -rf "$work"
    return $status
}
said=$(unplayed)
case $?:$said in
0:*) noticed=not ;;
*'a bug '*' no.story cannot be played'*) noticed= ;;
*) noticed=not ;;
esac

echo 1..2
[ -z "$wrong" ] || echo "$wrong" | sed 's/^/# /'
[ -n "$wrong" ] && printf 'not '
echo "ok 1 - every_bug_can_be_planted"
[ -z "$noticed" ] || { echo "$said" | sed 's/^/# /'; printf 'not '; }
echo "ok 2 - a_story_that_cannot_be_played_notices_nothing"
[ -z "$wrong$noticed" ]
