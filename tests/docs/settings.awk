# Brings what headgate --help-settings prints and what headgate.ini(5) says to
# one form, a line for each setting:
#
#   SECTION | KEY | default VALUE | required | also in [server] | at restart
#
# with what does not hold left out.  -v from=help or -v from=man.
function emit(section, key, fallback, rest) {
    printf "%s | %s%s%s%s%s\n", section, key, fallback == "" ? "" : " | default " fallback, \
        rest ~ /required/ ? " | required" : "", \
        rest ~ /also in \[server\]/ ? " | also in [server]" : "", \
        rest ~ /at restart/ ? " | at restart" : ""
}

from == "help" && /^\[/ { section = $0 }
# "  name (type) = default  required  also in [server]  at restart"
from == "help" && /^  [a-z]/ {
    line = substr($0, 3)
    key = line
    sub(/ .*/, "", key)
    sub(/^[a-z0-9_]+ \(/, "", line)
    sub(/^[^()]*(\([^()]*\)[^()]*)*\)/, "", line) # the type
    rest = fallback = ""
    if (match(line, /  (required|also in|at restart)/)) {
        rest = substr(line, RSTART)
        line = substr(line, 1, RSTART - 1)
    }
    if (line ~ /^ = /)
        fallback = substr(line, 4)
    emit(section, key, fallback, rest)
}

# .Ss \(lBlistener NAME\(rB
from == "man" && /^\.S[hs] / {
    section = substr($0, 5)
    gsub(/\\\(lB/, "[", section)
    gsub(/\\\(rB/, "]", section)
}
# .It Ic name No = Ar type Pq default Li value , at restart
from == "man" && section ~ /^\[/ && /^\.It Ic / {
    line = $0
    key = $3
    rest = fallback = ""
    if (match(line, / Pq /)) {
        rest = substr(line, RSTART + 4)
        if (rest ~ /^default Li /) {
            fallback = rest
            sub(/^default Li /, "", fallback)
            sub(/ , .*/, "", fallback)
            gsub(/"/, "", fallback)
        }
    }
    emit(section, key, fallback, rest)
}
