# Managed by Ansible (ntier.django): changes are overwritten.
"""What a release's migrations do to the code that is live while they run, and goes on until the last host has switched.

It runs inside ``manage.py shell -c`` of a release: ``import ntier_migrations; ntier_migrations.main()``. A rollback asks with it what
lies between the schema and an older release, and undoes that.

Old code names all columns that it knows whenever it reads or writes a row, and no others. So on the new schema it fails when

* a table or column that it knows is gone or has another name,
* a column that it does not know has to be given when a row is added: NOT NULL, and no default *of the database* (Django takes the
  default of a field away from the column again as soon as the column is there),
* a column takes less than before: no NULL, a smaller or another type,
* rows have to meet a condition that it does not see to: unique, a foreign key, a check.

What the same plan makes, old code does not know, and nothing that is done to it counts. Python and SQL can't be looked into: they are
noted, and SQL that drops or renames tables or columns counts.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

from django.core.management.sql import emit_pre_migrate_signal
from django.db import DEFAULT_DB_ALIAS, connections, models, router
from django.db.migrations import operations as ops
from django.db.migrations.executor import MigrationExecutor
from django.db.models import NOT_PROVIDED
from django.db.models.constraints import CheckConstraint, UniqueConstraint
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware, make_aware

#: What the line with the answer begins with: a project's settings may print, too.
MARK = "ntier_migrations "
_WHOLE_NUMBERS = ("smallint", "integer", "bigint")
#: What ALTER TABLE may drop without taking a column away.
_NO_COLUMNS = "CONSTRAINT|DEFAULT|NOT|IDENTITY|EXPRESSION|INDEX|KEY|PRIMARY|FOREIGN|CHECK|PARTITION|PERIOD"
_NAME = r'((?:"[^"]+"|`[^`]+`|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|`[^`]+`|[\w$]+))?)'
_DROP_TABLE = re.compile(rf"\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.I)
_CREATE_TABLE = re.compile(rf"\bCREATE\s+(?:\w+\s+){{0,2}}TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", re.I)
_ALTER_TABLE = re.compile(rf"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}", re.I)
_DROP_COLUMN = re.compile(rf"\bDROP\s+(?:COLUMN\s+)?(?!(?:{_NO_COLUMNS})\b)(?:IF\s+EXISTS\s+)?{_NAME}", re.I)
_RENAME = re.compile(rf"\bRENAME\s+(?!(?:CONSTRAINT|INDEX|KEY)\b)(?:(?:COLUMN\s+)?{_NAME}\s+)?TO\b", re.I)
_SET_DEFAULT = re.compile(rf"\bALTER\s+(?:COLUMN\s+)?{_NAME}\s+SET\s+DEFAULT\b", re.I)


# --- columns ------------------------------------------------------------------------------------------------------


def column_of(field, connection):
    """Return the name of a field's column, or None for a field without any."""
    return field.column if getattr(field, "concrete", True) and field.db_type(connection) else None


def link_table(field):
    """Return the table that Django makes for a many-to-many field, or None."""
    through = getattr(field.remote_field, "through", None) if field.many_to_many else None
    return through._meta.db_table if through is not None and through._meta.auto_created else None


def has_database_default(field):
    """Return whether the database itself has a value for the column."""
    return getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED


def has_to_be_given(field):
    """Return why nobody can add a row without knowing the field, or None."""
    if field.null or getattr(field, "generated", False) or isinstance(field, models.AutoField):
        return None
    if not has_database_default(field):
        return "is NOT NULL and has no default of the database, so that the running release, which does not know it, can add no row"
    constant = not hasattr(field.db_default, "resolve_expression") or isinstance(field.db_default, models.Value)
    if field.unique and constant:
        return "is unique and has the same default for all rows, so that the running release can add one row and no second one"
    return None


def widens(old, new):
    """Return whether a column of the type *new* takes all that went into one of the type *old*, and gives it back alike."""
    old, new = (re.sub(r"\s+", " ", kind.lower()).replace("big serial", "bigserial") for kind in (old, new))
    serial = {"smallserial": "smallint", "serial": "integer", "bigserial": "bigint"}
    old, new = serial.get(old, old), serial.get(new, new)
    if old == new:
        return True
    unsigned = [kind.endswith(" unsigned") for kind in (old, new)]
    plain = [kind[:-9] if kind.endswith(" unsigned") else kind for kind in (old, new)]
    if all(kind in _WHOLE_NUMBERS for kind in plain):
        return unsigned[0] == unsigned[1] and _WHOLE_NUMBERS.index(plain[0]) < _WHOLE_NUMBERS.index(plain[1])
    lengths = [_length(kind) for kind in (old, new)]
    if None not in lengths:
        return lengths[0] <= lengths[1]
    numbers = [re.fullmatch(r"(?:numeric|decimal)\((\d+), ?(\d+)\)", kind) for kind in (old, new)]
    if all(numbers):
        (digits, places), (new_digits, new_places) = (map(int, match.groups()) for match in numbers)
        return new_places >= places and new_digits - new_places >= digits - places
    return False


def _length(kind):
    match = re.fullmatch(r"(?:varchar|character varying)(?:\((\d+)\))?|text", kind)
    return match and (float(match.group(1)) if match.group(1) else float("inf"))


def foreign_table(field):
    """Return the table in which the database looks up a column's values, or None."""
    remote = field.remote_field
    return remote.model._meta.db_table if remote is not None and getattr(field, "db_constraint", False) else None


def changes_of(old, new, connection):
    """Yield what is worse for old code once its column is that of another field."""
    if old.null and not new.null:
        yield "takes no NULL any more, which the running release may write"
    if not new.null and has_database_default(old) and not has_database_default(new):
        yield "loses its default of the database, which the running release leaves the value to"
    before, after = (field.db_parameters(connection=connection) for field in (old, new))
    if not widens(before["type"], after["type"]):
        yield f"changes from {before['type']} to {after['type']}"
    if after["check"] and after["check"] != before["check"]:
        yield f"gets the check {after['check']}, which the running release does not see to"
    if new.unique and not old.unique:
        yield "becomes unique, which the running release does not see to"
    if foreign_table(new) not in (None, foreign_table(old)):
        yield f"has to name a row of table {foreign_table(new)}, which the running release does not see to"


def names_in(condition):
    """Yield the fields that a condition is about, or None for something that can't be looked into or asks for NULL."""
    if isinstance(condition, models.Q):
        for child in condition.children:
            yield from names_in(child)
    elif isinstance(condition, tuple) and len(condition) == 2:
        path, value = condition
        plain = "isnull" not in path and value is not None and not hasattr(value, "resolve_expression")
        yield path.split("__")[0] if plain else None
    else:
        yield None


# --- SQL ----------------------------------------------------------------------------------------------------------


def statements_of(sql):
    """Yield the statements of RunSQL, without comments and the texts in them."""
    for entry in sql if isinstance(sql, (list, tuple)) else [sql]:
        text = str(entry[0] if isinstance(entry, (list, tuple)) else entry)
        text = re.sub(r"/\*.*?\*/|--[^\n]*|'(?:[^']|'')*'", " ", text, flags=re.DOTALL)
        yield from (" ".join(part.split()) for part in text.split(";") if part.strip())


def bare(name):
    """Return a name of SQL as Django has it: without its schema and quotes."""
    return re.split(r"\s*\.\s*(?=[\w$\"`]+$)", name)[-1].strip('"`')


# --- the plan -----------------------------------------------------------------------------------------------------


def subject_of(operation):
    """Return an operation as a person finds it in the file of its migration."""
    name = type(operation).__name__
    old, new = (getattr(operation, key, None) for key in ("old_name", "new_name"))
    item = f"{old} to {new}" if old and new else getattr(getattr(operation, "constraint", None), "name", None)
    item = item or getattr(operation, "name", None)
    parts = [part for part in (getattr(operation, "model_name", None), item) if isinstance(part, str)]
    return f"{name} {'.'.join(parts)}" if parts else name


class Judge:
    """Goes through the operations of a plan, one after the other, and notes what the running release can't work with.

    :ivar breaking: findings, each with C(app), C(migration), C(operation) and C(why).
    :ivar notes: the same of what can't be looked into.
    """

    def __init__(self, connection):
        self.connection = connection
        self.breaking = []
        self.notes = []
        # What this plan makes, and old code therefore does not know: tables, and columns with the field that they are now.
        self._tables = set()
        self._columns = {}
        self._place = {}

    def migration(self, migration, state, noting=True):
        """Judge a migration; *state* becomes the one after it."""
        for operation in migration.operations:
            before = state.clone()
            operation.state_forwards(migration.app_label, state)
            self._place = {"app": migration.app_label, "migration": migration.name}
            self.operation(operation, before, state, noting)

    def operation(self, operation, before, after, noting):
        """Judge one operation between two states."""
        if isinstance(operation, ops.SeparateDatabaseAndState):
            self._separate(operation, before, noting)
            return
        self._place["operation"] = subject_of(operation)
        app = self._place["app"]
        for kind, judge in self._judges():
            if isinstance(operation, kind):
                judge(operation, app, before, after)
                return
        if isinstance(operation, (ops.RunSQL, ops.RunPython)):
            if router.allow_migrate(self.connection.alias, app, **operation.hints):
                self._code(operation, noting)
        elif noting and not type(operation).__module__.startswith("django."):
            self.notes.append({**self._place, "why": "is no operation of Django's own"})

    def _judges(self):
        return (
            (ops.CreateModel, self._create_model),
            (ops.DeleteModel, self._delete_model),
            ((ops.RenameModel, ops.AlterModelTable), self._rename_table),
            (ops.AddField, self._add_field),
            (ops.RemoveField, self._remove_field),
            (ops.RenameField, self._rename_field),
            (ops.AlterField, self._alter_field),
            (ops.AlterUniqueTogether, self._unique_together),
            (ops.AlterOrderWithRespectTo, self._order),
            (ops.AddConstraint, self._add_constraint),
        )

    def _separate(self, operation, before, noting):
        state = before.clone()
        for inner in operation.database_operations:
            earlier = state.clone()
            inner.state_forwards(self._place["app"], state)
            self.operation(inner, earlier, state, noting)

    def _find(self, why, table=None, column=None):
        self.breaking.append({**self._place, "why": why, "of": (table, column)})

    def _lift(self, table, column=None):
        """Forget what was found of a thing that is new, and now gone or otherwise."""
        self.breaking = [
            found
            for found in self.breaking
            if found["of"][0] != table or found["of"][0] is None or column not in (None, found["of"][1])
        ]

    def _model(self, operation, state, name, app):
        """Return a model of a state, or None when its table is not Django's to change."""
        model = state.apps.get_model(app, name)
        return model if operation.allow_migrate_model(self.connection.alias, model) else None

    # What the operations do. The states have the models as they are before and after.

    def _create_model(self, operation, app, before, after):
        model = self._model(operation, after, operation.name, app)
        if model:
            self._tables.add(model._meta.db_table)
            self._tables.update(filter(None, map(link_table, model._meta.local_many_to_many)))

    def _delete_model(self, operation, app, before, after):
        model = self._model(operation, before, operation.name, app)
        if model:
            self._drop(model._meta.db_table)
            for table in filter(None, map(link_table, model._meta.local_many_to_many)):
                self._drop(table)

    def _drop(self, table):
        if table in self._tables:
            self._tables.discard(table)
            self._lift(table)
        else:
            self._lift(table)  # of its columns nothing more has to be said
            self._find(f"table {table} goes, which the running release uses")

    def _rename_table(self, operation, app, before, after):
        renamed = isinstance(operation, ops.RenameModel)
        old = self._model(operation, before, operation.old_name if renamed else operation.name, app)
        new = self._model(operation, after, operation.new_name if renamed else operation.name, app)
        if not (old and new):
            return
        self._moved(old._meta.db_table, new._meta.db_table)
        for field in old._meta.local_many_to_many:
            new_field = new._meta.get_field(field.name)
            if link_table(field):
                self._moved(link_table(field), link_table(new_field))
                columns = [(field.m2m_column_name(), new_field.m2m_column_name())]
                columns += [(field.m2m_reverse_name(), new_field.m2m_reverse_name())]
                for old_column, new_column in columns:
                    self._column_moved(link_table(new_field), old_column, new_column)

    def _moved(self, old, new):
        if old == new:
            return
        if old in self._tables:
            self._tables.add(new)
        else:
            self._find(f"table {old} becomes {new}, and the running release asks for {old}")
        self._columns.update({(new, column): field for (table, column), field in self._columns.items() if table == old})
        for found in self.breaking:
            if found["of"][0] == old:
                found["of"] = (new, found["of"][1])

    def _column_moved(self, table, old, new):
        if old == new or table in self._tables:
            return
        if (table, old) in self._columns:
            self._columns[table, new] = self._columns.pop((table, old))
            for found in self.breaking:
                if found["of"] == (table, old):
                    found["of"] = (table, new)
        else:
            self._find(f"column {old} of table {table} becomes {new}, and the running release asks for {old}")

    def _add_field(self, operation, app, before, after):
        model = self._model(operation, after, operation.model_name, app)
        if model:
            self._added(model._meta.db_table, model._meta.get_field(operation.name))

    def _added(self, table, field):
        if link_table(field):
            self._tables.add(link_table(field))
        column = column_of(field, self.connection)
        if column and table not in self._tables:
            self._columns[table, column] = field
            self._lift(table, column)
            if has_to_be_given(field):
                self._find(f"column {column} of table {table} {has_to_be_given(field)}", table, column)

    def _remove_field(self, operation, app, before, after):
        model = self._model(operation, before, operation.model_name, app)
        if not model:
            return
        table, field = model._meta.db_table, model._meta.get_field(operation.name)
        if link_table(field):
            self._drop(link_table(field))
        column = column_of(field, self.connection)
        if column and table not in self._tables:
            self._removed(table, column)

    def _removed(self, table, column):
        self._lift(table, column)
        if self._columns.pop((table, column), None) is None:
            self._find(f"column {column} of table {table} goes, which the running release reads and writes")

    def _rename_field(self, operation, app, before, after):
        old = self._model(operation, before, operation.model_name, app)
        new = self._model(operation, after, operation.model_name, app)
        if not (old and new):
            return
        field, new_field = old._meta.get_field(operation.old_name), new._meta.get_field(operation.new_name)
        if link_table(field) and link_table(new_field):
            self._moved(link_table(field), link_table(new_field))
        columns = [column_of(one, self.connection) for one in (field, new_field)]
        if all(columns):
            self._column_moved(new._meta.db_table, *columns)

    def _alter_field(self, operation, app, before, after):
        old = self._model(operation, before, operation.model_name, app)
        new = self._model(operation, after, operation.model_name, app)
        if not (old and new):
            return
        table = new._meta.db_table
        field, new_field = old._meta.get_field(operation.name), new._meta.get_field(operation.name)
        if link_table(field) and link_table(new_field):
            self._moved(link_table(field), link_table(new_field))
            if link_table(new_field) not in self._tables:
                self._column_moved(link_table(new_field), field.m2m_reverse_name(), new_field.m2m_reverse_name())
            return
        column, new_column = (column_of(one, self.connection) for one in (field, new_field))
        if not (column and new_column) or table in self._tables:
            return
        self._column_moved(table, column, new_column)
        if (table, new_column) in self._columns:
            self._added(table, new_field)
            return
        for change in changes_of(field, new_field, self.connection):
            self._find(f"column {new_column} of table {table} {change}")

    def _unique_together(self, operation, app, before, after):
        old = self._model(operation, before, operation.name, app)
        new = self._model(operation, after, operation.name, app)
        if not (old and new) or new._meta.db_table in self._tables:
            return
        known = {tuple(fields) for fields in old._meta.unique_together}
        for fields in new._meta.unique_together:
            if tuple(fields) not in known and not any(self._stays_null(new, name) for name in fields):
                self._unique(new._meta.db_table, fields)

    def _unique(self, table, fields):
        self._find(
            f"rows of table {table} have to be unique by {', '.join(fields)}, which the running release does not see to"
        )

    def _stays_null(self, model, name):
        """Return whether a field is a new column that is NULL in each row that old code adds."""
        if name is None:
            return False
        field = self._columns.get((model._meta.db_table, model._meta.get_field(name).column))
        return field is not None and field.null and not has_database_default(field)

    def _order(self, operation, app, before, after):
        old = self._model(operation, before, operation.name, app)
        new = self._model(operation, after, operation.name, app)
        if not (old and new) or new._meta.db_table in self._tables:
            return
        had, has = (bool(model._meta.order_with_respect_to) for model in (old, new))
        if has and not had:
            self._added(new._meta.db_table, new._meta.get_field("_order"))
        elif had and not has:
            self._removed(new._meta.db_table, "_order")

    def _add_constraint(self, operation, app, before, after):
        model = self._model(operation, after, operation.model_name, app)
        constraint = operation.constraint
        if not model or model._meta.db_table in self._tables:
            return
        table = model._meta.db_table
        if isinstance(constraint, UniqueConstraint) and constraint.fields:
            distinct = getattr(constraint, "nulls_distinct", None) is not False
            if not (distinct and any(self._stays_null(model, name) for name in constraint.fields)):
                self._unique(table, constraint.fields)
            return
        if isinstance(constraint, CheckConstraint):
            check = constraint.condition if hasattr(constraint, "condition") else constraint.check
            names = list(names_in(check))
            if names and all(self._stays_null(model, name) for name in names):
                return
        self._find(f"table {table} gets the constraint {constraint.name}, which the running release does not see to")

    def _code(self, operation, noting):
        if isinstance(operation, ops.RunPython):
            if noting and operation.code is not ops.RunPython.noop:
                self.notes.append({**self._place, "why": "runs Python, which can't be looked into"})
            return
        statements = list(statements_of(operation.sql))
        count = len(self.breaking)
        for statement in statements:
            self._statement(statement)
        if noting and statements and len(self.breaking) == count:
            self.notes.append({**self._place, "why": "runs SQL, in which nothing is seen to be dropped or renamed"})

    def _statement(self, statement):
        shown = statement if len(statement) <= 100 else statement[:97] + "..."
        for match in _CREATE_TABLE.finditer(statement):
            self._tables.add(bare(match.group(1)))
        for match in _DROP_TABLE.finditer(statement):
            if bare(match.group(1)) not in self._tables:
                self._find(f"its SQL drops a table: {shown}")
        altered = _ALTER_TABLE.search(statement)
        if not altered or bare(altered.group(1)) in self._tables:
            return
        table, rest = bare(altered.group(1)), statement[altered.end() :]
        for match in _SET_DEFAULT.finditer(rest):
            self._lift(table, bare(match.group(1)))
        for match in _DROP_COLUMN.finditer(rest):
            self._found_in_sql(table, match.group(1), f"its SQL drops a column: {shown}")
        for match in _RENAME.finditer(rest):
            self._found_in_sql(table, match.group(1), f"its SQL renames a table or column: {shown}")

    def _found_in_sql(self, table, column, why):
        if not (column and (table, bare(column)) in self._columns):
            self._find(why)


def state_of(executor):
    """Return the models as the applied migrations leave them, ready for the schema to be asked about them."""
    state = executor._create_project_state(with_applied_migrations=True)
    state.apps  # noqa: B018 - made once here, and kept up to date from then on
    return state


def text_of(found):
    """Return a finding in one line."""
    return f"{found['app']}.{found['migration']}: {found['operation']}: {found['why']}"


def look(connection):
    """Return what C(migrate) would do: C(pending), names of migrations, and the lines C(breaking) and C(notes)."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    applied = executor.loader.applied_migrations
    judge = Judge(connection)
    if applied and plan:  # with none applied there is no code yet that could suffer
        known = {app for app, _name in applied}
        state = state_of(executor)
        for migration, _backwards in plan:
            judge.migration(migration, state, noting=migration.app_label in known)
    return {
        "pending": [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan],
        "breaking": [text_of(found) for found in judge.breaking],
        "notes": [text_of(found) for found in judge.notes],
    }


# --- the way back -------------------------------------------------------------------------------------------------


def known(connection):
    """Return what this release has and replaces, C(known), pairs of application and name, and names of what it has still to apply, C(pending)."""
    executor = MigrationExecutor(connection)
    disk = executor.loader.disk_migrations
    replaced = {tuple(pair) for migration in disk.values() for pair in migration.replaces}
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return {
        "known": sorted({*disk, *replaced}),
        "pending": [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan],
    }


def newer_than(executor, older):
    """Return the applied migrations, in the order in which they run, that an older release does not know."""
    loader = executor.loader
    plan = executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True)
    keys = [(migration.app_label, migration.name) for migration, _backwards in plan]
    return [
        migration
        for key, (migration, _backwards) in zip(keys, plan)  # noqa: B905 - Python 3.9 knows no strict
        if key in loader.applied_migrations
        and key not in older
        # One that only sums up what the older release has.
        and not (migration.replaces and older.issuperset(map(tuple, migration.replaces)))
    ]


def one_way(operation, before, connection, app):
    """Return why an operation can't be undone, or None."""
    if isinstance(operation, ops.SeparateDatabaseAndState):
        state = before.clone()
        for inner in operation.database_operations:
            earlier = state.clone()
            inner.state_forwards(app, state)
            why = one_way(inner, earlier, connection, app)
            if why:
                return why
    if not operation.reversible:
        return "has no way back"
    if isinstance(operation, ops.RemoveField):
        field = before.apps.get_model(app, operation.model_name)._meta.get_field(operation.name)
        default = connection.schema_editor()._effective_default(field)
        if column_of(field, connection) and not field.null and not has_database_default(field) and default is None:
            return "takes a column away that rows would need a value for: it is NOT NULL and has no default"
    return None


def between(older, since, connection):
    """Return what lies between the schema and an older release.

    :arg older: what the older release knows, as C(known) has found it there.
    :arg since: when it was last live, as ISO time.
    :return: C(newer), names in the order in which they ran; C(breaking), why the older release can't work with them; C(one_way), which of
        them can't be undone, and why; C(lost), those that no release of the two knows and that were applied since.
    """
    older = {tuple(pair) for pair in older}
    executor = MigrationExecutor(connection)
    loader = executor.loader
    newer = newer_than(executor, older)
    names = {(migration.app_label, migration.name) for migration in newer}
    judge, fixed = Judge(connection), []
    state = executor._create_project_state()
    for migration, _backwards in executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        key = (migration.app_label, migration.name)
        if key in loader.applied_migrations and key not in names:
            migration.mutate_state(state, preserve=False)
    state.apps  # noqa: B018 - made once here, and kept up to date from then on
    for migration in newer:
        dependents = {*loader.graph.backwards_plan((migration.app_label, migration.name))} - names
        place = {"app": migration.app_label, "migration": migration.name}
        if dependents & {*loader.applied_migrations}:
            first = ".".join(sorted(dependents & {*loader.applied_migrations})[0])
            fixed.append(f"{migration.app_label}.{migration.name}: {first} builds on it, which the older release has")
        later = state.clone()
        for operation in migration.operations:
            before = later.clone()
            operation.state_forwards(migration.app_label, later)
            why = one_way(operation, before, connection, migration.app_label)
            if why:
                fixed.append(text_of({**place, "operation": subject_of(operation), "why": why}))
        judge.migration(migration, state)
    here = {*loader.disk_migrations, *(tuple(pair) for one in loader.disk_migrations.values() for pair in one.replaces)}
    apps = {app for app, _name in here | older}
    lost = [
        key
        for key, row in loader.applied_migrations.items()
        if key not in here | older
        and key[0] in apps
        and aware(getattr(row, "applied", None)) > aware(parse_datetime(since))
    ]
    return {
        "newer": [f"{migration.app_label}.{migration.name}" for migration in newer],
        "breaking": [text_of(found) for found in judge.breaking],
        "one_way": fixed,
        "lost": sorted(".".join(key) for key in lost),
    }


def aware(moment):
    """Return a time that can be compared with others; without any, one before all others."""
    if moment is None:
        return make_aware(datetime(1970, 1, 2))
    return moment if is_aware(moment) else make_aware(moment)


def reverse(older, connection):
    """Undo what an older release does not know; return the names, in the order in which it was done."""
    executor = MigrationExecutor(connection, lambda *_arguments: None)
    plan = [(migration, True) for migration in reversed(newer_than(executor, {tuple(pair) for pair in older}))]
    if plan:
        # As the command does: with it, renamed models get their content types back.
        emit_pre_migrate_signal(0, False, connection.alias, apps=state_of(executor).apps, plan=plan)
        executor.migrate([], plan=plan)
    return [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan]


def main(what="look", *arguments):
    """Print the answer of a function above as one line."""
    connection = connections[DEFAULT_DB_ALIAS]
    answer = {"look": look, "known": known, "between": between, "reverse": reverse}[what](*arguments, connection)
    print(MARK + json.dumps(answer))
