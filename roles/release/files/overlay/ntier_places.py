# Managed by Ansible (ntier.django): changes are overwritten.
"""Where a project keeps its files: what it computes from its own MEDIA_ROOT and STATIC_ROOT moves with these."""

from __future__ import annotations

import os
import pathlib

#: Settings that name what is read, from the project's own folders or by the names of modules.
READ = ("STATICFILES_DIRS", "STATICFILES_FINDERS", "TEMPLATES", "FIXTURE_DIRS", "LOCALE_PATHS", "INSTALLED_APPS")


def _folder(value):
    """Return a folder as an absolute path that ends with a slash, or None for what names none."""
    return (
        os.path.join(os.path.abspath(value), "") if isinstance(value, (str, pathlib.PurePath)) and str(value) else None
    )


def is_path(value):
    """Return whether a value is an absolute path."""
    return isinstance(value, (str, pathlib.PurePath)) and os.path.isabs(value)


class Move:
    """The way from where a project would have its files to where they are.

    :arg roots: pairs of the project's folder, which may be anything, and the folder in its place.
    :arg urls: pairs of the URLs of the same.
    :arg code: the folder of the code: a folder that holds it is no place for files.
    """

    def __init__(self, roots, urls, code):
        pairs = [(_folder(old), new) for old, new in roots]
        # A folder may lie in the other one.
        self._roots = sorted(
            [(old, new) for old, new in pairs if old and not os.path.join(code, "").startswith(old)], reverse=True
        )
        self._urls = [(f"/{old.lstrip('/')}", new) for old, new in urls if isinstance(old, str) and old.strip("/")]

    def path(self, path):
        """Return a path where it is now."""
        found = os.path.join(os.path.abspath(path), "")
        for old, new in self._roots:
            # A file that comes with the code is read there.
            if found.startswith(old) and not os.path.isfile(path):
                moved = os.path.join(new, found[len(old) :])
                moved = moved if str(path).endswith("/") else moved.rstrip("/")
                return moved if isinstance(path, str) else type(path)(moved)
        return path

    def value(self, value):
        """Return a setting with every absolute path in it where that is now."""
        # Not of a derived class: that may be made in another way.
        kind = type(value)
        if kind is dict:
            return {key: self.value(item) for key, item in value.items()}
        if kind in (list, tuple, set):
            return kind(self.value(item) for item in value)
        return self.path(value) if is_path(value) else value

    def storage(self, storage):
        """Return an entry of STORAGES with its folder, which may be relative, and its URL where they are now."""
        if not isinstance(storage, dict) or not isinstance(storage.get("OPTIONS"), dict):
            return storage
        options = dict(storage["OPTIONS"])
        if _folder(options.get("location")):
            options["location"] = self.path(options["location"])
        url = options.get("base_url")
        for old, new in self._urls if isinstance(url, str) else []:
            if f"/{url.lstrip('/')}".startswith(old):
                options["base_url"] = new + f"/{url.lstrip('/')}"[len(old) :]
                break
        return {**storage, "OPTIONS": options}

    def settings(self, values):
        """Return all settings with what lies in the folders of files where it is now."""
        moved = {name: value if name in READ else self.value(value) for name, value in values.items()}
        if isinstance(moved.get("STORAGES"), dict):
            moved["STORAGES"] = {name: self.storage(entry) for name, entry in moved["STORAGES"].items()}
        return moved


def _writable(path, release):
    """Return whether the site can write a file or into a folder that may not be there yet, once the release is root's."""
    place = os.path.realpath(path)
    if f"{place}{os.sep}".startswith(f"{release}{os.sep}"):
        return False
    while not os.path.exists(place) and place != os.sep:
        place = os.path.dirname(place)
    return os.access(place, os.W_OK)


def _written(settings):
    """Yield the setting and the path of each file and folder that Django writes."""
    for name, handler in ((getattr(settings, "LOGGING", None) or {}).get("handlers") or {}).items():
        if isinstance(handler, dict) and handler.get("filename"):
            yield f"LOGGING, handler {name}", handler["filename"]
    for kind in ("CACHES", "STORAGES", "DATABASES"):
        for name, entry in (getattr(settings, kind, None) or {}).items():
            where = {
                "CACHES": entry.get("LOCATION") if "filebased" in str(entry.get("BACKEND")) else None,
                "STORAGES": (entry.get("OPTIONS") or {}).get("location"),
                "DATABASES": entry.get("NAME") if "sqlite" in str(entry.get("ENGINE")) else None,
            }[kind]
            if (
                isinstance(where, (str, pathlib.PurePath))
                and str(where)
                and not str(where).startswith((":memory:", "file:"))
            ):
                yield f"{kind}, {name}", where
    engine = str(getattr(settings, "SESSION_ENGINE", ""))
    for name, used in (
        ("MEDIA_ROOT", True),
        ("FILE_UPLOAD_TEMP_DIR", True),
        ("EMAIL_FILE_PATH", True),
        ("SESSION_FILE_PATH", engine.endswith(".file")),
    ):
        where = getattr(settings, name, None)
        if used and isinstance(where, (str, pathlib.PurePath)) and str(where):
            yield name, where


def _maybe_written(settings):
    """Yield the setting and the path of each folder of the project's own that is not there, so that it would be made."""
    for name in dir(settings):
        value = getattr(settings, name, None) if name.isupper() and name not in READ else None
        if (
            is_path(value)
            and name.endswith(("_ROOT", "_DIR", "_PATH", "_FOLDER", "_DIRECTORY"))
            and not os.path.lexists(value)
        ):
            yield name, value


def not_writable(settings, release):
    """Return a sentence for each place that the project would write and can't, such as one in the folder of its own code."""
    found = {}
    for name, path in (*_written(settings), *_maybe_written(settings)):
        if name not in found and not _writable(path, os.path.realpath(release)):
            found[name] = f"{name}: {path} can't be written by the site"
    return list(found.values())
