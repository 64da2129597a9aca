#!/bin/sh
# change_over.sh OLD NEW PORT: one web server takes a port over from another, both configured. Nobody answers in between, for as long as the
# new one takes to start: the old one lets go of the port at once, and ends what it has begun meanwhile. Whoever comes then is not refused but
# left without an answer, so that his kernel asks again after a second, and after two more. Without nftables he is refused.
old=$1 new=$2 port=$3 held=
set -e
hold() {
    [ -x /usr/sbin/nft ] || return 0
    # It ends by itself, should this be killed.
    ! /usr/sbin/nft -f - <<END || held=yes
table inet ntier_hold
delete table inet ntier_hold
table inet ntier_hold {
    set ports {
        type inet_service
        flags timeout
        elements = { $port timeout 20s }
    }
    chain input {
        type filter hook input priority filter - 5
        tcp flags & (syn | ack) == syn tcp dport @ports drop
    }
}
END
}
let_in() {
    [ -z "$held" ] || /usr/sbin/nft delete table inet ntier_hold
    held=
}
listening() { [ -n "$(ss -Hltn "sport = :$port")" ]; }
systemctl daemon-reload
systemctl enable --quiet "$new"
if systemctl is-active --quiet "$new"; then
    systemctl disable --quiet --now "$old"
    exec systemctl reload "$new"
fi
trap let_in EXIT
hold
systemctl stop --no-block "$old"
for _ in $(seq 500); do
    listening || break
    sleep 0.03
done
systemctl restart "$new" || {
    journalctl --unit "$new" --lines 15 --output cat --no-pager >&2
    exit 1
}
# Not every one says when it listens.
for _ in $(seq 500); do
    ! listening || break
    sleep 0.03
done
let_in
systemctl disable --quiet "$old"
