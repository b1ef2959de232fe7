# Prints the list of causes of headgate.ini(5) from src/http/cause.h:
#
#   awk -f tests/docs/causes.awk src/http/cause.h
#
# A row is ROW(name, status, "RFC 9209 type", "meaning", "advice"), perhaps
# over several lines.
/^#define CAUSE_LIST/ { inside = 1; next }
inside {
    line = $0
    more = line ~ /\\$/
    sub(/[ \t]*\\$/, "", line)
    sub(/^[ \t]+/, "", line)
    text = text (text == "" ? "" : " ") line
    if (!more)
        inside = 0
}

# The next "..." of text, which loses it.  Pieces side by side are one.
function quoted(    piece, all) {
    do {
        sub(/^[^"]*"/, "", text)
        piece = substr(text, 1, index(text, "\"") - 1)
        text = substr(text, length(piece) + 2)
        all = all piece
    } while (text ~ /^[ \t]*"/)
    return all
}

# A setting's name is written as it is, also in front.
function sentence(s) {
    if (s !~ /^[a-z0-9]+_/)
        s = toupper(substr(s, 1, 1)) substr(s, 2)
    return s (s ~ /[?.]$/ ? "" : ".")
}

END {
    print ".Bl -tag -width Ds"
    while (match(text, /ROW\(/)) {
        text = substr(text, RSTART + RLENGTH)
        name = text
        sub(/,.*/, "", name)
        sub(/^[^,]*,[ \t]*/, "", text)
        status = text
        sub(/,.*/, "", status)
        proxy = quoted()
        meaning = quoted()
        advice = quoted()
        printf(".It Li %s%s%s\n", name, (status == 0 ? "" : " , " status), \
            (proxy == "" ? "" : " Pq Li " proxy))
        print sentence(meaning)
        print advice == "normal" ? "This is normal." : sentence(advice)
    }
    print ".El"
}
