# Managed by Ansible (ntier.django): changes are overwritten.
"""Static files storages: all releases share one folder of files, and each release keeps its own lists of their names.

Django's ManifestFilesMixin, and with it WhiteNoise's and a project's own storages, writes the list beside the files, where the
next release's collectstatic would overwrite it while the old release still reads it. L(keep_lists_in_release) gives every such
storage a place in the release's folder C(manifests) instead: one folder for each storage, with C(location), which says where its
files lie (relative to STATIC_ROOT; empty where they are not on this host), and C(lists).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import posixpath
import sys

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestFilesMixin, ManifestStaticFilesStorage
from django.contrib.staticfiles.utils import matches_patterns
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

#: What a line of collectstatic's output begins with that names a file without a hash.
UNHASHED = "No hash in the name of "
NO_UTF8 = "it is not in UTF-8"
#: Bytes that are compared at once.
CHUNK = 1 << 16


def _described(storage):
    """Return where a storage keeps what it stores: relative to STATIC_ROOT for a folder below it, or else in words."""
    if isinstance(storage, FileSystemStorage):
        # By the names alone where they tell it: to follow links asks the media server, and pages have to go on without it.
        folder = os.path.relpath(os.path.abspath(storage.location), os.path.abspath(settings.STATIC_ROOT))
        if folder.split(os.sep)[0] != os.pardir:
            return folder
        place = os.path.realpath(storage.location)
        if place.startswith(os.path.realpath(os.environ["NTIER_RELEASE"]) + os.sep):
            return place
        folder = os.path.relpath(place, os.path.realpath(settings.STATIC_ROOT))
        return place if folder.split(os.sep)[0] == os.pardir else folder
    kind = type(storage)
    place = [str(getattr(storage, name, "") or "") for name in ("bucket_name", "location")]
    return " ".join([f"{kind.__module__}.{kind.__qualname__}", *place])


class ReleaseList(FileSystemStorage):
    """Keeps the lists of one storage in the release.

    A list that the release lacks is read where the storage would have it: a release that was collected before lists were kept
    here finds its own there.
    """

    def __init__(self, storage, own):
        release = os.path.realpath(os.environ["NTIER_RELEASE"])
        # What lies behind the redirection of its own list.
        self._own = super(ManifestFilesMixin, own) if isinstance(own, ManifestFilesMixin) else own
        self._files = _described(storage)
        key = self._files if own is storage else f"{self._files}\n{_described(own)}"
        self._folder = os.path.join(release, "manifests", hashlib.sha256(key.encode()).hexdigest()[:16])
        # What a project puts into its own folder on purpose is in the release already, and is put there as well.
        self._copied = _described(own).startswith(f"{release}{os.sep}")
        self._local = isinstance(storage, FileSystemStorage)
        super().__init__(location=os.path.join(self._folder, "lists"))

    def _open(self, name, mode="rb"):
        try:
            return super()._open(name, mode)
        except FileNotFoundError:
            return self._own._open(name, mode)

    def get_available_name(self, name, max_length=None):
        """Return the name itself: a list is replaced."""
        return name

    def delete(self, name):
        """Leave the list for L(_save) to replace."""

    def _save(self, name, content):
        """Write a list. The code of a live release can't be changed; to collect the same files again there is no need to."""
        text = content.read()
        text = text.encode() if isinstance(text, str) else text
        path = self.path(name)
        if _content(path) == _parsed(text):
            return name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.path.join(self._folder, "location"), "w", encoding="utf-8") as file:
            file.write(self._files if self._local else "")
        with open(path, "wb") as file:
            file.write(text)
        if self._copied:
            if self._own.exists(name):
                self._own.delete(name)
            self._own._save(name, ContentFile(text))
        return name


def _parsed(text):
    """Return what a list says, however it is written, or its text when it is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _content(path):
    """Return what the list in a file says, or None without one."""
    try:
        with open(path, "rb") as file:
            return _parsed(file.read())
    except FileNotFoundError:
        return None


class _ListStorage:
    """The attribute C(manifest_storage) of every storage that has a list: whatever is set there, the release keeps the list."""

    def __get__(self, storage, owner=None):
        if storage is None:
            return self
        own, kept = storage.__dict__.get("_ntier_list", (storage, None))
        if kept is None:
            kept = ReleaseList(storage, own)
            storage.__dict__["_ntier_list"] = (own, kept)
        return kept

    def __set__(self, storage, own):
        storage.__dict__["_ntier_list"] = (own, None)


def keep_lists_in_release():
    """Have every storage with a list keep it in the release, whichever class it is of and whoever makes it."""
    ManifestFilesMixin.manifest_storage = _ListStorage()
    # Storages of before Django 4.0, and those that are written like them, do with themselves what the others do with that.
    for method in ("_open", "_save", "exists", "delete"):
        _redirect(method)


def _redirect(method):
    """Have a method of the storages work on the list in the release where it is asked for the list."""

    def redirected(self, name, *args, **kwargs):
        files = super(ManifestFilesMixin, self) if name != self.manifest_name else self.manifest_storage
        return getattr(files, method)(name, *args, **kwargs)

    setattr(ManifestFilesMixin, method, redirected)


def collect_by_content():
    """Have collectstatic copy what differs from what is there, where it goes by times: a package that is pinned back is older."""
    command = importlib.import_module("django.contrib.staticfiles.management.commands.collectstatic").Command
    by_time = command.delete_file

    def delete_file(self, path, prefixed_path, source_storage):
        """Make way for a file that has to be copied, and return whether it has to be."""
        there = self.storage.path(prefixed_path) if self.local else ""
        if self.symlink or not os.path.isfile(there) or os.path.islink(there):
            return by_time(self, path, prefixed_path, source_storage)
        with source_storage.open(path) as new, open(there, "rb") as old:
            if _same(new, old):
                self.unmodified_files.append(prefixed_path)
                self.log(f"Skipping '{path}' (the same content)")
                return False
        if self.dry_run:
            self.log(f"Pretending to delete '{path}'")
        else:
            self.log(f"Deleting '{path}'")
            self.storage.delete(prefixed_path)
        return True

    command.delete_file = delete_file


def _same(one, other):
    """Return whether two open files have the same content."""
    if os.fstat(other.fileno()).st_size != getattr(one, "size", None):
        return False
    while True:
        part = one.read(CHUNK)
        if part != other.read(CHUNK):
            return False
        if not part:
            return True


class ReleaseStaticFilesStorage(ManifestStaticFilesStorage):
    """Static files under names that bear a hash of their content, for projects that were not written for it.

    A reference to a file that is not there stays as it was written, where Django's own class would refuse the whole project. A file
    that can't be rewritten, such as one in another encoding than UTF-8, keeps its name and is named in the output of collectstatic.
    """

    manifest_strict = False

    def __init__(self, *args, **kwargs):
        #: Name of a file that keeps it → why.
        self.kept = {}
        # File → files that it refers to.
        self._references = {}
        self._source = ""
        # Files that changed once more in the pass that is under way, or was the last one.
        self._unsettled = set()
        super().__init__(*args, **kwargs)

    def hashed_name(self, name, content=None, filename=None):
        """Return the name with the hash, or the name as it is when there is no such file or it keeps its name."""
        if name in self.kept:
            return name
        try:
            return super().hashed_name(name, content, filename)
        except ValueError:
            return name

    def url_converter(self, name, *args, **kwargs):
        """Return Django's function for the references in a file, which notes where they lead."""
        convert = super().url_converter(name, *args, **kwargs)

        def noted(match):
            self._source = name
            try:
                return convert(match)
            except SuspiciousFileOperation as error:
                raise ValueError(f"{match.group(0)} leads out of the static files") from error

        return noted

    def _stored_name(self, name, hashed_files):
        target = self.clean_name(posixpath.normpath(name))
        self._references.setdefault(self._source, set()).add(target)
        return super()._stored_name(name, hashed_files)

    def _post_process(self, *args, **kwargs):
        self._unsettled = set()
        for name, hashed_name, processed, changed in super()._post_process(*args, **kwargs):
            if isinstance(processed, Exception):
                # Django would go on with this file, and with the content of the one before it.
                raise _CanNotBeHashed(name, processed)
            if changed:
                self._unsettled.add(name)
            yield name, hashed_name, processed, changed

    def post_process(self, paths, dry_run=False, **options):
        """Give the files their names; begin anew without each one that can't be rewritten."""
        # Older versions of Django end at such a file without its name.
        self.kept = {name: NO_UTF8 for name, place in paths.items() if not dry_run and not self._is_text(name, *place)}
        passes = self.max_post_process_passes
        while True:
            rest = {name: place for name, place in paths.items() if name not in self.kept}
            try:
                found = list(self._settled(rest, dry_run, options))
                break
            except _CanNotBeHashed as error:
                self.kept[error.name] = error.reason
            except RuntimeError:
                circle = [name for name in self._unsettled if self._leads_to(name, name)]
                if not circle and self.max_post_process_passes > len(paths) + passes:
                    circle = self._unsettled
                self.kept.update(dict.fromkeys(circle, "its @import leads back to it"))
                # References that lead far are no circle, and take more passes.
                self.max_post_process_passes *= 1 if circle else 2
        self.max_post_process_passes = passes
        yield from found
        for name, reason in sorted(self.kept.items()):
            sys.stderr.write(f"{UNHASHED}{name}: {reason}\n")

    def _is_text(self, name, storage, path):
        if not matches_patterns(name, self._patterns):
            return True
        with storage.open(path) as file:
            try:
                file.read().decode("utf-8")
            except UnicodeDecodeError:
                return False
        return True

    def _settled(self, paths, dry_run, options):
        for name, hashed_name, processed in super().post_process(paths, dry_run=dry_run, **options):
            if isinstance(processed, RuntimeError):
                raise processed
            yield name, hashed_name, processed

    def save_manifest(self):
        """Write the list; what keeps its name is found under it."""
        self.hashed_files.update({self.hash_key(self.clean_name(name)): name for name in self.kept})
        super().save_manifest()

    def _leads_to(self, start, end):
        seen, found = set(), [start]
        while found:
            targets = self._references.get(found.pop(), set()) - seen
            if end in targets:
                return True
            seen |= targets
            found += targets
        return False


class _CanNotBeHashed(Exception):
    """A file can't be rewritten."""

    def __init__(self, name, error):
        super().__init__(name)
        self.name = name
        self.reason = (str(error).splitlines() or [type(error).__name__])[0]
