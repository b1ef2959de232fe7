# bash completion for headgate and headgate-bench

_headgate() {
    local word=$2 previous=$3
    case $previous in
    -c) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -X '!*.ini' -- "$word"; compgen -d -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W '-c -t -T -V -h --help-settings' -- "$word") ;;
    esac
}
complete -F _headgate headgate

_headgate_bench() {
    local word=$2
    case ${COMP_WORDS[1]}:$COMP_CWORD in
    *:1) mapfile -t COMPREPLY < <(compgen -W '1mrc load -h -V' -- "$word") ;;
    1mrc:*) mapfile -t COMPREPLY < <(compgen -W 'http:// -n -c -t --pipeline --users --prefix --clients --no-verify' -- "$word") ;;
    load:*) mapfile -t COMPREPLY < <(compgen -W 'http:// --rate --slo --json' -- "$word") ;;
    esac
}
complete -F _headgate_bench headgate-bench
