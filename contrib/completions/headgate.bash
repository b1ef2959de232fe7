# bash completion for headgate and headgate-bench

_headgate() {
    local word=$2 previous=$3
    case $previous in
    -c)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -X '!*.ini' -- "$word"; compgen -d -- "$word")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W '-c -t -T -V -h --help-settings' -- "$word") ;;
    esac
}
complete -F _headgate headgate

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
