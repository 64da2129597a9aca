# Managed by Ansible (ntier.django): changes are overwritten.
"""Load the settings as the site does, and compare them with what they have to be: python ntier_verify.py, in a release's environment.

Nothing but the settings is loaded, neither logging nor applications, so that a fault of these is not met first. What is wrong is
written in words, with status 1; else one line with what is worth a look.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shlex
import sys
import warnings

import ntier_places
import ntier_site
from ntier_site import NTIER_SITE, OVERLAY

#: What the line with the answer begins with: a project's settings may print, too.
MARK = "ntier_verify "
ALONE = (
    f"Set settings_overlay: false for site {NTIER_SITE['name']}: its settings are left alone then, and read from the environment what "
    "the cluster knows. README, under Settings of the project's own, says which variables"
)
#: How the keys of a database are called by a person; of the password it is only said that it is another one.
DATABASE = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")


def chain(error):
    """Return what an exception and those that led to it say, one in a line."""
    lines = []
    while error and len(lines) < 10:
        text = (str(error).strip().splitlines() or [""])[0]
        lines.append(": ".join(filter(None, [type(error).__name__, text])))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n  caused by ".join(dict.fromkeys(lines))


def load():
    """Return the settings as code that asks for them now has them, and as code has them that asked before."""
    ntier_site.prepare()
    conf = importlib.import_module("django.conf")
    before = conf.settings
    before.DEBUG  # noqa: B018 - settings are loaded when one is asked for
    # Some libraries put something else in the place of the module.
    return sys.modules["django.conf"].settings, before


def _kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _expected():
    """Return name → what a setting has to be, and for the names of hosts what it has to have."""
    overlay = sys.modules.get("ntier_settings")
    engine = overlay.DATABASES["default"]["ENGINE"] if OVERLAY and overlay else None
    database = {key: NTIER_SITE["database"][key.lower()] for key in DATABASE if key != "ENGINE"}
    return {
        "DEBUG": False,
        "SECRET_KEY": NTIER_SITE["secret_key"],
        "ALLOWED_HOSTS": [name[1:] if name.startswith("*.") else name for name in NTIER_SITE["domains"]],
        "DATABASES": {**({"ENGINE": engine} if engine else {}), **database},
        "STATIC_ROOT": NTIER_SITE["static_root"],
        "MEDIA_ROOT": NTIER_SITE["media_root"],
    }


def _different(name, expected, found):
    """Return in words how a setting is not what it has to be, or None."""
    if name == "SECRET_KEY":
        return None if found == expected else "SECRET_KEY is not the site's own"
    if name == "ALLOWED_HOSTS":
        found = [found] if isinstance(found, str) else list(found or [])
        names = [host for host in expected if host not in found and "*" not in found]
        return f"ALLOWED_HOSTS lacks {', '.join(names)}" if names else None
    if name == "DATABASES":
        default = dict((found or {}).get("default") or {})
        for key, value in expected.items():
            if str(default.get(key)) != str(value):
                said = "" if key == "PASSWORD" else f": {default.get(key)!r} instead of {value!r}"
                return f"the {key} of the default database is another one{said}"
        return None
    found = found if name == "DEBUG" or not found else os.fspath(found)
    return None if found == expected else f"{name} is {found!r} instead of {expected!r}"


def differences(*both):
    """Return in words what is not as it has to be, of settings that should be alike."""
    found = {}
    for settings in both:
        for name, expected in _expected().items():
            said = _different(name, expected, getattr(settings, name, None))
            if said:
                found.setdefault(name, said)
    return list(found.values())


def asked_of_sessions(options):
    """Return the parameters that the options of a connection set in PostgreSQL, as pairs of name and value.

    Words end at blanks, and a backslash takes what follows as it is; see libpq's parameter C(options).
    """
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", options)]
    pairs = []
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word = words.pop(0)
        elif word.startswith(("-c", "--")):
            word = word[2:]
        name, _equals, value = word.partition("=")
        pairs.append((name.replace("-", "_"), value))
    return pairs


def not_handed_on(settings):
    """Return in words which options of the default database PgBouncer drops, and the database does not have for the site's role."""
    default = settings.DATABASES.get("default") or {}
    options = (default.get("OPTIONS") or {}).get("options")
    if not options:
        return []
    found = []
    # Django warns of a query before its applications are there, which none of them is part of here.
    warnings.filterwarnings("ignore", "Accessing the database", RuntimeWarning)
    with importlib.import_module("django.db").connection.cursor() as cursor:
        for name, value in asked_of_sessions(options):
            cursor.execute("SELECT current_setting(%s, true)", [name])
            before = cursor.fetchone()[0]
            # PostgreSQL's own spelling of the value, which counts for this statement alone.
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
            # Of a list PostgreSQL keeps the blanks as they were written.
            if re.sub(r"\s", "", cursor.fetchone()[0] or "") != re.sub(r"\s", "", before or ""):
                # A list of names is no text in quotes.
                plain = re.fullmatch(r'\d+|[\w$"]+(?:\s*,\s*[\w$"]+)+', value)
                said = value if plain else "'" + value.replace("'", "''") + "'"
                command = f"ALTER ROLE {default['USER']} IN DATABASE {default['NAME']} SET {name} TO {said}"
                found.append(
                    f"{name} = {value}, where the database has {before!r}. On the database's host run: "
                    f"runuser -u postgres -- psql -c {shlex.quote(command)}"
                )
        if found:
            # Its connection is not to be the next one's, which would see the old values once more.
            with contextlib.suppress(Exception):
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    return found


def _classes():
    module = sys.modules.get(NTIER_SITE["settings"])
    return [name for name, value in vars(module or object()).items() if isinstance(value, type)] if module else []


def _refuse(lines):
    sys.exit("\n".join(lines))


def main():
    """Say what is wrong, or what is worth a look."""
    module = NTIER_SITE["settings"]
    try:
        settings, before = load()
    except BaseException as error:
        if OVERLAY and "configurations" in sys.modules:
            _refuse(
                [
                    f"{module} has classes of django-configurations, and the settings overlay lies over a flat module of settings.",
                    f"{ALONE}. Name the class in the site's environment: {{DJANGO_CONFIGURATION: NAME}}.",
                    f"The class says: {chain(error)}",
                ]
            )
        _refuse([f"The settings can't be loaded from {module}:", f"  {chain(error)}"])
    wrong = differences(settings, before)
    own = getattr(sys.modules.get(module), "__dict__", {})
    if OVERLAY and "configurations" in sys.modules and not own.get("ROOT_URLCONF"):
        wrong.insert(0, f"{module} has classes of django-configurations and no flat settings")
    elif OVERLAY and not getattr(settings, "ROOT_URLCONF", None):
        classes = f"; it has the classes {', '.join(_classes())}" if _classes() else ""
        wrong.insert(0, f"{module} sets no ROOT_URLCONF, so it is no module of a project's settings{classes}")
    if OVERLAY and wrong:
        lines = ["The settings are not what the settings overlay has made of them:", *(f"  {line}" for line in wrong)]
        kinds = [_kind(one) for one in (settings, before) if not _kind(one).startswith("django.")]
        if kinds:
            lines.append(f"After the overlay they were replaced: django.conf.settings is {kinds[0]}.")
        _refuse([*lines, f"{ALONE}."])
    try:
        dropped = not_handed_on(settings)
    except Exception as error:
        _refuse(["The database can't be asked for what DATABASES has in OPTIONS['options']:", f"  {chain(error)}"])
    if dropped:
        _refuse(
            [
                "PgBouncer does not hand on what DATABASES has in OPTIONS['options']:",
                *(f"  {line}" for line in dropped),
                "Then run this again: the settings may stay as they are.",
            ]
        )
    notes = [f"{line}. With settings_overlay: false that is the project's own affair" for line in wrong]
    notes += ntier_places.not_writable(settings, os.environ["NTIER_RELEASE"])
    print(MARK + json.dumps({"notes": notes}))


if __name__ == "__main__":
    main()
