#!/bin/sh
# Builds headgate and serves contrib/demo.ini:  contrib/run.sh [PORT]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=contrib/lib.sh
. "$top/contrib/lib.sh"

port=${1:-8080}
case $port in
-h | --help)
    say "usage: contrib/run.sh [PORT]    installs what is missing, builds, serves contrib/demo.ini on PORT (8080)"
    exit 0
    ;;
'' | *[!0-9]* | ??????*)
    say "usage: contrib/run.sh [PORT]" >&2
    exit 2
    ;;
esac

step "What is needed"
install_packages build
step "Building in build/default (the first time takes a minute)"
quietly autogen generate
quietly configure configure_in default
quietly make make -C "$top/build/default" -j"$jobs" all

bin=$top/build/default
cat <<TRY

${bold}headgate serves contrib/demo.ini on http://localhost:$port${plain}   (Ctrl-C ends it)

Try, in another terminal:

  curl -i localhost:$port/hello                    # a response from the INI file
  curl -i localhost:$port/                         # a file from disk
  curl -i -d '{"userId":"u1","value":3.5}' localhost:$port/event
  curl -s localhost:$port/stats                    # exact, whatever the load
  curl -i localhost:$port/api/anything             # forwarded to an upstream
  $bin/headgate-bench 1mrc http://localhost:$port  # a million events, verified
  $bin/headgate -T -c contrib/demo.ini             # the configuration in effect

TRY
HTTP_PORT=$port
export HTTP_PORT
exec "$bin/headgate" -c "$top/contrib/demo.ini"
