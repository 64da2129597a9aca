#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take a web host out of HAProxy without breaking a request, and bring it back.

This is not done by C(community.general.haproxy): it looks every second at the most, so that a release would wait at each host for
nothing; it takes a server that is DOWN for one without requests, and waits in vain for one that goes down on the way; it brings
servers back that a person has put into maintenance; and it drains the last server that is up, which turns its visitors away.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Take a web host out of HAProxy without breaking a request, and bring it back
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Runs on the balancer and speaks with HAProxy at its admin socket.
  - A drained server gets no new requests, finishes those that it has, and stays under its health checks.
  - What is not there needs nothing done, be it HAProxy, a backend or the server in it. So does a server in maintenance, which a person has put there.
options:
  server:
    description: Name of the server in HAProxy's backends.
    type: str
    required: true
  backends:
    description: Backends that the server is to be taken out of or brought back to.
    type: list
    elements: str
    required: true
  state:
    description:
      - With V(drained) the server gets no new requests, and the module waits until none is in flight. A server stays where no other one takes visitors.
      - With V(ready) a drained server gets requests again as soon as it answers its health checks.
    type: str
    choices: [drained, ready]
    required: true
  up:
    description: Backends in which the server has to be up before the module goes on, with O(state=ready).
    type: list
    elements: str
    default: []
  seconds:
    description:
      - How long to wait, in seconds. Requests that are in flight longer do not fail the module, since the app server lets them end, too; a server that is
        not up by then does.
    type: int
    default: 30
  socket:
    description: HAProxy's admin socket.
    type: path
    default: /run/haproxy/admin.sock
attributes:
  check_mode:
    description: Says what would be changed, and waits for nothing.
    support: full
"""

EXAMPLES = r"""
- name: Send the visitors of two sites to the other web hosts
  ntier.django.drain:
    server: web1
    backends: [site_polls, site_shop]
    state: drained
  delegate_to: lb1

- name: Let them in again
  ntier.django.drain:
    server: web1
    backends: [site_polls, site_shop]
    up: [site_polls, site_shop]
    state: ready
  delegate_to: lb1
"""

RETURN = r"""
running:
  description: Whether HAProxy runs.
  type: bool
  returned: success
up:
  description: Backends in which the server took visitors, or would have but for being drained, when the module began.
  type: list
  elements: str
  returned: success
kept:
  description: Backends in which the server was not drained, because no other one takes visitors.
  type: list
  elements: str
  returned: with O(state=drained)
in_flight:
  description: How many requests were still in flight when the time was over.
  type: int
  returned: with O(state=drained)
seconds:
  description: How long the module waited.
  type: float
  returned: success
"""

import csv  # noqa: E402
import socket  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

#: Bits of HAProxy's administrative state of a server.
MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20
DRAINED = 0x08
INTERVAL = 0.1


class BalancerError(Exception):
    """HAProxy can't be asked, or does not do what it is asked for; the message says what and why."""


class NotRunning(BalancerError):
    """Nobody listens at the socket."""


class Balancer:
    """HAProxy at its admin socket, as far as one server is concerned."""

    def __init__(self, path, server):
        self.path, self.server = path, server

    def ask(self, command):
        """Return HAProxy's answer to one command."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                connection.connect(self.path)
                connection.sendall(command.encode() + b"\n")
                parts: list[bytes] = []
                while True:
                    part = connection.recv(65536)
                    if not part:
                        return b"".join(parts).decode(errors="replace")
                    parts.append(part)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(f"nobody listens at {self.path}") from error
        except OSError as error:
            raise BalancerError(f"HAProxy can't be asked at {self.path}: {error}") from error

    def look(self, backends):
        """Return backend → the server's state there; see L(merge)."""
        return merge(self.ask("show stat -1 4 -1"), self.ask("show servers state"), self.server, backends)

    def set_state(self, backend, state):
        """Bring the server to a state, or raise."""
        answer = self.ask(f"set server {backend}/{self.server} state {state}").strip()
        if answer:
            raise BalancerError(f"HAProxy did not bring {backend}/{self.server} to the state {state}: {answer}")

    def wait(self, backends, done, seconds):
        """Look until it is done twice in a row, or the time is over; return the last state and how long it took.

        Twice: a request is counted a moment after HAProxy has chosen its server.
        """
        started, in_row = time.monotonic(), 0
        while True:
            found = self.look(backends)
            in_row = in_row + 1 if done(found) else 0
            took = time.monotonic() - started
            if in_row == 2 or took >= seconds:
                return found, round(took, 1)
            time.sleep(INTERVAL)


def merge(statistics, states, server, backends):
    """Return of HAProxy's answers what concerns one server.

    :arg statistics: the answer to C(show stat), a table in CSV.
    :arg states: the answer to C(show servers state): a line with the version, the names of the columns, the columns.
    :return: backend → C(up), C(in_flight), C(drained), C(maintenance), C(others) (whether another server takes
        visitors), C(said) (status and last check in words). Backends without the server are left out.
    """
    lines = [line.lstrip("# ").split() for line in states.splitlines() if line.strip()][1:]
    columns, rows = (lines[0], lines[1:]) if lines else ([], [])
    wanted = [columns.index(name) for name in ("be_name", "srv_name", "srv_admin_state")] if rows else []
    bits = {}
    for row in rows:
        backend, name, state = (row[place] for place in wanted)
        bits[backend, name] = int(state)
    result = {}
    takers: dict[str, list[bool]] = {}
    for row in csv.DictReader(statistics.lstrip("# ").splitlines()):
        backend, name = row["pxname"], row["svname"]
        state = bits.get((backend, name))
        if backend not in backends or state is None:
            continue
        up = row["status"].startswith(("UP", "DRAIN", "no check"))
        if name != server:
            takers.setdefault(backend, []).append(up and not state)
            continue
        checked = " ".join(filter(None, [row.get("check_status"), row.get("last_chk")])) or "no check yet"
        result[backend] = {
            "up": up and not state & MAINTENANCE,
            "in_flight": int(row["scur"] or 0),
            "drained": bool(state & DRAINED),
            "maintenance": bool(state & MAINTENANCE),
            "said": f"{row['status']}, {checked}",
        }
    for backend, entry in result.items():
        entry["others"] = any(takers.get(backend, []))
    return result


def drain(balancer, params, check_mode):
    """Take the server out; return what the module returns."""
    found = balancer.look(params["backends"])
    kept = [name for name, entry in found.items() if not entry["others"] and not entry["drained"]]
    todo = [
        name for name, entry in found.items() if not entry["drained"] and not entry["maintenance"] and name not in kept
    ]
    result = {"changed": bool(todo), "up": [name for name, entry in found.items() if entry["up"]], "kept": kept}
    if check_mode:
        return {**result, "in_flight": 0, "seconds": 0}
    for name in todo:
        balancer.set_state(name, "drain")
    emptied = [name for name in found if name not in kept]

    def flying(now):
        return sum(now[name]["in_flight"] for name in emptied if name in now)

    left, took = balancer.wait(emptied, lambda now: not flying(now), params["seconds"]) if emptied else (found, 0)
    return {**result, "in_flight": flying(left), "seconds": took}


def bring_back(balancer, params, check_mode):
    """Give the server requests again; return what the module returns."""
    found = balancer.look(params["backends"])
    todo = [name for name, entry in found.items() if entry["drained"] and not entry["maintenance"]]
    result = {"changed": bool(todo), "up": [name for name, entry in found.items() if entry["up"]], "seconds": 0}
    if check_mode:
        return result
    for name in todo:
        balancer.set_state(name, "ready")
    awaited = [name for name in params["up"] if name in found and not found[name]["maintenance"]]

    def missing(now):
        return [name for name in awaited if name in now and (now[name]["drained"] or not now[name]["up"])]

    if awaited:
        now, result["seconds"] = balancer.wait(awaited, lambda now: not missing(now), params["seconds"])
        if missing(now):
            said = "; ".join(f"{name}: {now[name]['said']}" for name in missing(now))
            raise BalancerError(
                f"the balancer's health check has not found {params['server']} up within {params['seconds']} seconds ({said})"
            )
    return result


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "server": {"type": "str", "required": True},
            "backends": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "ready"], "required": True},
            "up": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 30},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        },
        supports_check_mode=True,
    )
    params = module.params
    act = drain if params["state"] == "drained" else bring_back
    try:
        result = act(Balancer(params["socket"], params["server"]), params, module.check_mode)
    except NotRunning:
        # Then it sends nobody anywhere, and starts without a memory of what was drained.
        empty = {"kept": [], "in_flight": 0} if params["state"] == "drained" else {}
        module.exit_json(changed=False, running=False, up=[], seconds=0, **empty)
    except BalancerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(running=True, **result)


if __name__ == "__main__":
    main()
