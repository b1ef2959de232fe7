# Picks rows of modules.list.
#
#   want   the modules asked for, comma-separated; empty: all; "none": none
#   out    "names": print their names on a line
#          "table": print modules_table.c
#
# Rows come out in the order of modules.list, so a table does not depend on
# how --with-modules was spelled.
BEGIN {
    if (want != "" && want != "none") {
        asked = split(want, list, /[ ,]+/)
        for (i = 1; i <= asked; i++)
            if (list[i] != "")
                wanted[list[i]] = 1
    }
}

/^[ \t]*(#|$)/ { next }

NF < 3 {
    printf "%s:%d: a row is NAME SYMBOL SOURCE...\n", FILENAME, FNR > "/dev/stderr"
    failed = 1
    next
}

$1 in known {
    printf "%s:%d: module %s is listed twice\n", FILENAME, FNR, $1 > "/dev/stderr"
    failed = 1
    next
}

{
    known[$1] = 1
    all = all " " $1
    if (want == "none" || (want != "" && !($1 in wanted)))
        next
    names[++count] = $1
    symbols[count] = $2
}

END {
    for (name in wanted)
        if (!(name in known)) {
            printf "no module %s; there are:%s\n", name, all > "/dev/stderr"
            failed = 1
        }
    if (failed)
        exit 1
    if (out == "names") {
        for (i = 1; i <= count; i++)
            printf "%s%s", (i > 1 ? " " : ""), names[i]
        printf "\n"
        exit 0
    }
    print "/* The modules of this binary.  Written by configure from modules/modules.list. */"
    print "#include \"modules/modules_table.h\"\n"
    print "#include <stddef.h>\n"
    for (i = 1; i <= count; i++)
        printf "extern const struct module %s;\n", symbols[i]
    if (count)
        printf "\n"
    print "const struct module *const modules_table[] = {"
    for (i = 1; i <= count; i++)
        printf "    &%s,\n", symbols[i]
    print "    NULL,\n};"
}
