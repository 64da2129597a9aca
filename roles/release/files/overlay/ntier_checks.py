# Managed by Ansible (ntier.django): changes are overwritten.
"""The system checks of a project before its migrations have run: C(check --deploy), without what only a migrated database can tell.

It runs inside ``manage.py shell -c`` of a release: ``import ntier_checks; ntier_checks.main()``.

A check may send queries to the database, on purpose or because it imports code that does. Before the first migration, and before those of
the release, such a check can't be trusted: tables and columns that it needs are not there yet. So its errors are put off, and the answer
names it: the release runs all checks again when it has migrated. Every other error counts at once, so that a broken project never
migrates.
"""

from __future__ import annotations

import functools
import json

from django.core import checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.signals import connection_created

#: What the line with the answer begins with: a project's settings may print, too.
MARK = "ntier_checks "


class Queries:
    """Notes queries on every connection, those of other threads among them."""

    def __init__(self):
        self.sent = self.failed = False
        connection_created.connect(self._watch)
        for connection in connections.all():
            self._watch(connection)

    def _watch(self, connection, **_arguments):
        if self not in connection.execute_wrappers:
            connection.execute_wrappers.append(self)

    def __call__(self, execute, sql, params, many, context):
        """Run a query, and note it."""
        self.sent = True
        try:
            return execute(sql, params, many, context)
        except Exception:
            self.failed = True
            raise


def name_of(check):
    """Return the name by which a person finds a check."""
    return f"{getattr(check, '__module__', '')}.{getattr(check, '__qualname__', type(check).__name__)}"


def put_off(check, queries, asked):
    """Return a check in whose place errors are left out if it sends queries; its name then goes to the list *asked*."""

    @functools.wraps(check)
    def checked(*arguments, **options):
        queries.sent = False
        try:
            found = check(*arguments, **options)
            if isinstance(found, str) or not hasattr(found, "__iter__"):
                return found  # Django says what is wrong with that
            found = list(found)
        except Exception:
            # A module whose import failed at a query may fail in another way when it is imported again.
            if not (queries.sent or queries.failed):
                raise
            found = []
        if not queries.sent:
            return found
        asked.append(name_of(check))
        return [message for message in found if not message.is_serious(checks.ERROR)]

    return checked


def main():
    """Run the checks; fail as the command C(check) does, or print the names of the checks that have to run again as one line."""
    asked, queries = [], Queries()
    for kind in ("registered_checks", "deployment_checks"):
        setattr(registry, kind, {put_off(check, queries, asked) for check in getattr(registry, kind)})
    call_command("check", deploy=True, fail_level="ERROR", databases=[DEFAULT_DB_ALIAS])
    print(MARK + json.dumps({"asked": sorted(set(asked))}))
