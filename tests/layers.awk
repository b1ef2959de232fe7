# Compares every #include "..." below src/ and modules/ with the layers.
#
#   awk -v root=TREE -f layers.awk FILE...    (FILEs relative to TREE)
#
# Prints one line for each include that goes against an arrow.  A layer sees
# itself and what is listed for it; a module sees gate/module.h, all that this
# reaches, base and its own folder.
BEGIN {
    sees["base"] = "base"
    sees["io"] = "io base"
    sees["net"] = "net io base"
    sees["http"] = "http base"
    sees["conf"] = "conf base"
    sees["gate"] = "gate net io http conf base"
    # http is pure: bytes in, data out.  Nothing that could reach the system.
    impure["http"] = "^(unistd|fcntl|poll|pthread|signal|time|netdb|threads)[.]h$|^(sys|netinet|arpa|net|linux)/"

    for (i = 1; i < ARGC; i++)
        file[i] = ARGV[i]
    for (i = 1; i < ARGC; i++)
        read_includes(file[i])
    reach("src/gate/module.h")
    for (i = 1; i < ARGC; i++)
        judge(file[i])
    exit bad > 0
}

function read_includes(path,    line, number, name) {
    while ((getline line < (root "/" path)) > 0) {
        number++
        if (line !~ /^[ \t]*#[ \t]*include[ \t]*["<]/)
            continue
        name = line
        sub(/^[^"<]*/, "", name)
        sub(/[">][^">]*$/, "", name)
        count[path]++
        included[path, count[path]] = name # still begins with " or <
        at[path, count[path]] = number
    }
    close(root "/" path)
}

# Where a quoted name leads: beside the file that says it, else below src/.
function resolve(path, name,    dir) {
    dir = path
    sub(/[^\/]*$/, "", dir)
    if (name ~ /\//)
        return name ~ /^modules\// ? name : "src/" name
    return dir name
}

function reach(path,    k) {
    if (path in reached)
        return
    reached[path] = 1
    for (k = 1; k <= count[path]; k++)
        if (substr(included[path, k], 1, 1) == "\"")
            reach(resolve(path, substr(included[path, k], 2)))
}

function wrong(path, k, why) {
    printf "%s:%d: %s: %s\n", path, at[path, k], substr(included[path, k], 2), why
    bad++
}

function judge(path,    part, layer, k, name, target, to) {
    split(path, part, "/")
    layer = part[1] == "modules" ? "modules" : part[2]
    if (layer != "modules" && !(layer in sees))
        return # main and bench see everything
    for (k = 1; k <= count[path]; k++) {
        name = substr(included[path, k], 2)
        if (substr(included[path, k], 1, 1) == "<") {
            if (layer in impure && name ~ impure[layer])
                wrong(path, k, layer " is pure")
            continue
        }
        if (name == "config.h")
            continue
        target = resolve(path, name)
        split(target, part, "/")
        to = part[2]
        if (layer == "modules") {
            if (!(target in reached) && target !~ /^src\/base\// && !own_folder(path, target))
                wrong(path, k, "not reached from gate/module.h")
        } else if (part[1] != "src" || index(" " sees[layer] " ", " " to " ") == 0)
            wrong(path, k, layer " does not see " to)
    }
}

# modules/x/ is one module; so are modules/x.c and modules/x.h.
function own_folder(path, target,    mine, theirs) {
    split(path, mine, "/")
    split(target, theirs, "/")
    sub(/[.][ch]$/, "", mine[2])
    sub(/[.][ch]$/, "", theirs[2])
    return theirs[1] == "modules" && theirs[2] == mine[2]
}
