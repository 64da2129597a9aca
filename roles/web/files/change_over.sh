#!/bin/sh
# change_over.sh OLD NEW PORT [APP_SERVER...]: one web server takes a port over from another, both configured. Nobody answers in between, for as
# long as the new one takes to start: the old one lets go of the port at once, and ends what it has begun meanwhile. App servers that the new
# one can't talk to are stopped before it could.
old=$1 new=$2 port=$3
shift 3
set -e
stop_app_servers() {
    [ $# = 0 ] || systemctl stop "$old" # until then it may wait for their answers
    [ $# = 0 ] || systemctl stop "$@"
}
systemctl daemon-reload
systemctl enable --quiet "$new"
if systemctl is-active --quiet "$new"; then
    systemctl disable --quiet --now "$old"
    stop_app_servers "$@"
    exec systemctl reload "$new"
fi
systemctl stop --no-block "$old"
for _ in $(seq 500); do
    [ -n "$(ss -Hltn "sport = :$port")" ] || break
    sleep 0.03
done
stop_app_servers "$@"
systemctl restart "$new" || {
    journalctl --unit "$new" --lines 15 --output cat --no-pager >&2
    exit 1
}
systemctl disable --quiet "$old"
