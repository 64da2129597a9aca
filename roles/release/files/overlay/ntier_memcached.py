# Managed by Ansible (ntier.django): changes are overwritten.
"""Django's cache on several memcached servers, any of which may go and come back without a visitor noticing.

pymemcache alone does not keep that promise with Django: closing the connections after each request makes it take a failed
server for a repaired one, so that page after page waits for it, some of them twice; and once it has given a server
up, the keys go to other servers, at another moment in each process, so that web hosts read and write one key in
different places. Here:

* The server of a key follows from the list of servers alone. One that is away is not replaced: its keys are misses.
* What one thread finds out all threads of the process know. Only a page that is first to ask a dead server waits, once.
* A thread in the background, not the next visitor, asks several times a second whether the server is back.
* What could not be written or deleted meanwhile is deleted before the server is used again: a server that was only cut off
  still has the old values, for instance the session of somebody who has signed out.
* Connections outlive requests: a new one for each would use up the ports of a busy web host.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import socket
import struct
import threading
import time

from django.core.cache.backends import memcached
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache.client.rendezvous import RendezvousHash
from pymemcache.exceptions import MemcacheUnexpectedCloseError

#: Seconds between two questions to a server that is away. A server that only stood still answers other processes with old values meanwhile.
RETRY_SECONDS = 0.2
#: Seconds in which a server that stood still does what it received before it stopped.
SETTLE_SECONDS = 0.1
#: So many keys are remembered for a server that is away; when there are more, it is emptied before it is used again.
LOST_KEYS = 10_000
#: Keys to delete at once: the answers have to fit into the server's send buffer, since nobody reads them before the end.
BATCH = 500
#: Bytes of a key.
LONGEST_KEY = 250
#: What a key may not have in it: white space, control characters, and what can't be written as UTF-8.
REFUSED = re.compile(r"[\s\x00-\x20\x7f-\x9f\ud800-\udfff]")
#: Commands after whose loss the server's value is an old one.
WRITES = ("set", "replace", "append", "prepend", "cas", "incr", "decr", "delete")

_log = logging.getLogger("ntier.memcached")


def _score(text, _seed):
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


class _Hash(RendezvousHash):
    """Highest random weight, as pymemcache has it, with a hash in C: its own one in Python takes fifty times as long.

    The server of a key depends neither on the order of the list nor on which of the servers are alive. One server more takes its
    share from all others alike; no other key moves.
    """

    def __init__(self):
        super().__init__(hash_function=_score)

    def get_node(self, key):
        """Return the server of a key."""
        return max(self.nodes, key=lambda node: (self.hash_function(f"{node}-{key}"), str(node)), default=None)


class _Connection(Client):
    """A connection that is cut when it is closed.

    A command that got no answer would otherwise be sent again by the kernel until it arrives, which may be long after the server
    is back, and overwrite a newer value.
    """

    def _connect(self):
        super()._connect()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Servers(HashClient):
    """All servers of one cache, for all threads of a process."""

    client_class = _Connection

    def __init__(self, servers, **options):
        self._lock = threading.Lock()
        # Server that is away → keys whose change it missed, or None for too many of them.
        self._away = {}
        fixed = {"hasher": _Hash, "use_pooling": True, "ignore_exc": True}
        super().__init__(servers, **{"pool_idle_timeout": 60, **options, **fixed})

    def away(self):
        """Ask every server; return those that do not answer as C(host:port)."""
        for client in self.clients.values():
            self._safely_run_func(client, client.version, None)
        with self._lock:
            return sorted(str(self._make_client_key(server)) for server in self._away)

    # HashClient does everything through these two; default_val is what a command returns that finds nothing.

    def _safely_run_func(self, client, func, default_val, *args, **kwargs):
        name = func.__name__
        keys = None if name == "flush_all" else args[:1] if name in WRITES else ()
        return self._run(client, functools.partial(func, *args, **kwargs), default_val, keys)

    def _safely_run_set_many(self, client, values, *args, **kwargs):
        command = functools.partial(client.set_many, values, *args, **kwargs)
        return self._run(client, command, list(values), list(values))

    def _run(self, client, command, otherwise, keys):
        if client.server in self._away:
            self._miss(client, keys)
            return otherwise
        try:
            return self._ask(client, command)
        except (OSError, MemcacheUnexpectedCloseError) as error:
            self._miss(client, keys, error)
        except Exception as error:
            # Too large a value, one that this release can't read, …: no reason for an error page either.
            _log.warning("memcached: %s: %s", type(error).__name__, error)
        return otherwise

    @staticmethod
    def _ask(client, command):
        # A server that was restarted has closed all idle connections: each of them fails once, and at once.
        for _connection in client.client_pool.free:
            try:
                return command()
            except (ConnectionError, MemcacheUnexpectedCloseError):
                continue
        return command()

    def _miss(self, client, keys, error=None):
        """Note that a server is away, which *error* tells, and the keys whose change it missed; C(None) stands for all."""
        if error is None and keys is not None and not keys:
            return
        server = client.server
        with self._lock:
            new = server not in self._away
            self._away[server] = _merged(self._away.get(server, set()), keys)
        if not new:
            return
        pool = client.client_pool
        while pool.free:
            pool.destroy(pool.get())
        _log.warning("memcached %s is away: %s", self._make_client_key(server), error or "an answer was lost")
        try:
            threading.Thread(target=self._watch, args=(client,), name="ntier-memcached", daemon=True).start()
        except RuntimeError:  # the process ends, or has no thread left: the next page finds out anew
            with self._lock:
                del self._away[server]

    def _watch(self, client):
        """Wait until a server answers, make it forget what it missed, and use it again."""
        server = client.server
        time.sleep(RETRY_SECONDS)
        while True:
            with self._lock:
                lost, self._away[server] = self._away[server], set()
            try:
                self._forget(client, lost)
            except Exception:
                with self._lock:
                    self._away[server] = _merged(self._away[server], lost)
                time.sleep(RETRY_SECONDS)
                continue
            with self._lock:
                # Empty, unless somebody missed more meanwhile.
                if self._away[server] == set():
                    del self._away[server]
                    break
        _log.warning("memcached %s is back", self._make_client_key(server))

    @classmethod
    def _forget(cls, client, keys):
        client.version()
        # At once, for those who ask already, and again when nothing can come that was sent before.
        cls._delete(client, keys)
        time.sleep(SETTLE_SECONDS)
        cls._delete(client, keys)

    @staticmethod
    def _delete(client, keys):
        if keys is None:
            client.flush_all(noreply=False)
            return
        keys = list(keys)
        for start in range(0, len(keys), BATCH):
            client.delete_many(keys[start : start + BATCH], noreply=False)


def _merged(lost, keys):
    if lost is None or keys is None or len(lost) + len(keys) > LOST_KEYS:
        return None
    return lost.union(keys)


_servers = {}
# A child must not talk over its parent's connections.
os.register_at_fork(after_in_child=_servers.clear)


class PyMemcacheCache(memcached.PyMemcacheCache):
    """Django's class of this name with the servers above."""

    def __init__(self, server, params):
        super().__init__(server, params)
        self._place = repr((self._servers, self._options))

    @property
    def _cache(self):
        """Return the one client of the process, where Django has one for each thread."""
        if self._place not in _servers:
            _servers.setdefault(self._place, Servers(self.client_servers, **self._options))
        return _servers[self._place]

    def make_key(self, key, version=None):
        """Return the key of a value; one that memcached would refuse, as other caches do not, by its hash."""
        made = super().make_key(key, version=version)
        text = str(made)
        if len(text.encode(errors="replace")) <= LONGEST_KEY and not REFUSED.search(text):
            return made
        return f"ntier:sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

    def close(self, **kwargs):
        """Keep the connections when a request ends."""

    def away(self):
        """Return the servers that do not answer."""
        return self._cache.away()
