#!/bin/sh
# Plants the bugs of mutants.txt one by one in a copy of the tree, builds what
# depends on them, and plays the stories that must notice.  Fails if any
# survives, or can no longer be planted.  `mutants.sh [WORD]`: only those whose
# name has the word in it.
#
# HG_SRCDIR is the tree (read only), HG_BUILDDIR where to work.
# HG_MUTANTS_CONFIGURE: more for configure.
srcdir=${HG_SRCDIR:-.} build=${HG_BUILDDIR:-.}/mutants word=$1
seeds=${HG_MUTANTS_SEEDS:-1000}
tree=$build/tree out=$build/out rules=$srcdir/tests/sim/mutants.txt
killed=0 survived=0

die() { echo "mutants: $*" >&2; exit 1; }

prepare() {
    mkdir -p "$tree" "$out" || die "no place to work in $build"
    (cd "$srcdir" && tar cf - --exclude='./build*' --exclude=./mutants --exclude=./.git \
        --exclude='*.o' --exclude='*.a' --exclude=./config.status --exclude=./Makefile \
        --exclude=./config.h --exclude=.deps --exclude=./autom4te.cache .; ) | (cd "$tree" && tar xf -)
    # tar leaves out build-aux with the pattern above; configure needs it.
    cp -R "$srcdir/build-aux" "$tree/" || die "no build-aux: run ./autogen.sh"
    tree=$(cd "$tree" && pwd)
    # What an earlier run planted last may still be built in.
    for file in $(sed -n 's/^file *//p' "$rules" | sort -u); do
        touch "$tree/$file" || die "$file is not there"
    done
    (cd "$out" && { [ -f Makefile ] ||
        "$tree/configure" -q CFLAGS='-O1 -g' $HG_MUTANTS_CONFIGURE >configure.out; }) ||
        die "configure failed, see $out"
    make -C "$out" -s tests/sim/sim >"$out/make.out" 2>&1 || die "see $out/make.out"
    "$out/tests/sim/sim" --seeds 200 >"$out/play.out" 2>&1 || die "fails unplanted, see $out/play.out"
}

# Replaces the first occurrence; fails when there is none.
plant() { # file from to
    FROM=$2 TO=$3 awk '
        !done && (i = index($0, ENVIRON["FROM"])) {
            $0 = substr($0, 1, i - 1) ENVIRON["TO"] substr($0, i + length(ENVIRON["FROM"]))
            done = 1
        }
        { print }
        END { exit !done }' "$srcdir/$1" >"$tree/$1.new" || return 1
    cat "$tree/$1.new" >"$tree/$1"
}

heal() { # file
    rm -f "$tree/$1.new"
    cat "$srcdir/$1" >"$tree/$1"
}

# Prints who noticed, or why nobody could; fails with 1 when nobody did, 2 when nobody could.
hunt() { # plays
    for play in $1; do
        case $play in
        unit/*)
            make -C "$out" -s "tests/$play" >"$out/make.out" 2>&1 || { echo "does not compile"; return 2; }
            (cd "$out" && timeout 120 "tests/$play") >"$out/play.out" 2>&1 || { echo "$play"; return 0; } ;;
        *)
            make -C "$out" -s tests/sim/sim >"$out/make.out" 2>&1 || { echo "does not compile"; return 2; }
            "$out/tests/sim/sim" --story "$play" --seeds "$seeds" --patience 20 >"$out/play.out" 2>&1
            case $? in
            0) ;;
            1) echo "$play, seed $(sed -n 's/.*--seed \([0-9]*\).*/\1/p' "$out/play.out")"; return 0 ;;
            *) echo "$play cannot be played"; return 2 ;;
            esac ;;
        esac
    done
    # Where unit tests alone were to notice it has what was planted before.
    make -C "$out" -s tests/sim/sim >"$out/make.out" 2>&1 || { echo "does not compile"; return 2; }
    "$out/tests/sim/sim" >"$out/play.out" 2>&1 || {
        echo "only $(sed -n 's/.*--story \([^ ]*\) --seed \([0-9]*\).*/\1, seed \2/p' \
            "$out/play.out" | head -n 1)"
        return 0
    }
    echo nobody
    return 1
}

try() { # name file from to plays
    case $1 in *"$word"*) ;; *) return ;; esac
    if ! plant "$2" "$3" "$4"; then
        by="cannot be planted" verdict=SURVIVES survived=$((survived + 1))
    elif by=$(hunt "$5"); then
        verdict=killed killed=$((killed + 1))
    else
        verdict=SURVIVES survived=$((survived + 1))
    fi
    heal "$2"
    printf '%-8s  %-62s  %s\n' "$verdict" "$1" "$by"
}

prepare
name=
while read -r key value; do
    case $key in
    mutant) name=$value ;;
    file) file=$value ;;
    from) from=$value ;;
    to) to=$value ;;
    plays) try "$name" "$file" "$from" "$to" "$value" </dev/null ;;
    esac
done <"$rules"
echo "$killed killed, $survived survived"
[ "$survived" -eq 0 ] && { [ -n "$word" ] || [ "$killed" -ge 20 ]; }
