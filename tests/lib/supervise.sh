#!/bin/sh
# Stands in for the service manager: supervise.sh PIDFILE COMMAND [ARGUMENT]... starts the command,
# writes its process id to PIDFILE, and starts it again 100 ms after it has ended, for ever. On
# SIGTERM it passes the signal on, waits for the command and ends, too.
set -u
if [ $# -lt 2 ]; then
        echo "usage: $0 PIDFILE COMMAND [ARGUMENT]..." >&2
        exit 2
fi
pidfile=$1
shift
child=
stopping=

stop() {
        stopping=1
        [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

while [ -z "$stopping" ]; do
        "$@" &
        child=$!
        echo "$child" >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
        # A signal for us ends the wait early: then the command is still waited for.
        while :; do
                wait "$child"
                kill -0 "$child" 2>/dev/null || break
        done
        child=
        [ -n "$stopping" ] || sleep 0.1
done
rm -f "$pidfile"
