# bash completion for headgate and headgate-bench

_headgate() {
    local word=$2 previous=$3
    if [[ ${COMP_WORDS[1]} == ctl && $COMP_CWORD -gt 1 ]]; then
        _headgate_ctl "$@"
        return
    fi
    case $previous in
    -c)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -X '!*.ini' -- "$word"; compgen -d -- "$word")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W 'ctl -c -t -T -V -h --help-settings' -- "$word") ;;
    esac
}
complete -F _headgate headgate

# Groups and servers are those of the headgate that runs, if it may be asked.
_headgate_ctl() {
    local word=$2 previous=$3 i
    local -a asks=("${COMP_WORDS[0]}" ctl) words=()
    case $previous in
    -c | -s)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --wait)
        mapfile -t COMPREPLY < <(compgen -W '30s 5m' -- "$word")
        return
        ;;
    esac
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --wait) ((i++)) ;;
        -c | -s) asks+=("${COMP_WORDS[i]}" "${COMP_WORDS[++i]}") ;;
        -*) ;;
        *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    case ${words[0]}:${#words[@]} in
    :0) mapfile -t COMPREPLY < <(compgen -W 'upstream stats reload -c -s --json --wait -h' -- "$word") ;;
    upstream:1)
        mapfile -t COMPREPLY < <(compgen -W "$("${asks[@]}" upstream 2>/dev/null |
            awk 'NR > 1 { print $1 }' | sort -u)" -- "$word")
        ;;
    upstream:2)
        mapfile -t COMPREPLY < <(compgen -W "$("${asks[@]}" upstream "${words[1]}" 2>/dev/null |
            awk 'NR > 1 { print $2 }')" -- "$word")
        ;;
    upstream:3) mapfile -t COMPREPLY < <(compgen -W 'drain down up weight=' -- "$word") ;;
    esac
}

_headgate_bench() {
    local word=$2 previous=$3
    local both='-n -c -t --pipeline --engine --timeout --json -q'
    local mrc='--users --prefix --clients --no-verify'
    local load='--rate -d -X -H --body --close --slo'
    local words
    case $previous:${COMP_WORDS[1]}:$COMP_CWORD in
    *:1) words='1mrc load -h -V' ;;
    --engine:*) words='auto uring epoll' ;;
    -X:*) words='GET HEAD POST PUT PATCH DELETE' ;;
    *:2) words='http://' ;;
    *:1mrc:*) words="$mrc $both" ;;
    *:load:*) words="$load $both" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _headgate_bench headgate-bench
