#!/bin/sh
# change_over.sh OLD NEW PORT: one web server takes a port over from another, both configured. Nobody answers in between, for as long as the
# new one takes to start: the old one lets go of the port at once, and ends what it has begun meanwhile.
old=$1 new=$2 port=$3
set -e
systemctl daemon-reload
systemctl enable --quiet "$new"
if systemctl is-active --quiet "$new"; then
    systemctl disable --quiet --now "$old"
    exec systemctl reload "$new"
fi
systemctl stop --no-block "$old"
for _ in $(seq 500); do
    [ -n "$(ss -Hltn "sport = :$port")" ] || break
    sleep 0.03
done
systemctl restart "$new" || {
    journalctl --unit "$new" --lines 15 --output cat --no-pager >&2
    exit 1
}
systemctl disable --quiet "$old"
