#!/usr/bin/python3
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the sites' files from the host that keeps them to another one while the sites go on.

C(ntier-media-move lead) runs on the host that has the files, or, on the way back to a web host, on that one; C(ntier-media-move follow)
on every other host that uses them, until all of them use the new place. No file is ever in two places that both take uploads:

1. The leader copies what it has to the new host, over NFS, as the user of each site, so that nobody needs more rights than before. It
   repeats that until a pass finds next to nothing. The kernel says what has changed since the last pass, so only the first one looks
   at all files, however many there are.
2. A round: on every host the processes of the sites' users are stopped (SIGSTOP) as soon as none of them has a file there open for
   writing. Their sockets go on taking connections, so a request waits and none fails. The leader copies what the last pass has left, so
   both places hold the same, down to the folder that a site has made a moment ago.
3. The verdict: a link that can be made only once, in the folder where the hosts meet, on the new host. Who has waited too long makes it
   say C(abort), and everybody goes on with the old place; the leader makes it say C(switch), and from then on there is only forward.
4. Each host mounts the new place where the sites look, and lets them go on when all have. The host that had the files does so too, and
   so it serves the new ones to whoever still asks it.
5. What a program wrote into the old place nevertheless is found by comparing it with the list of the round, and copied. A file that has
   another content in both places stays where it was kept, and is reported.

A run that was killed lets the processes go on (C(ntier-media-move thaw), from the unit), and the next one goes on from the verdict. Needs
nothing but Python, and systemd for the mounts.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import math
import os
import pwd
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

JOB = "/etc/ntier-media-move/job.json"
STATE = "/var/lib/ntier-media-move/state.json"
REPORT = "/var/lib/ntier-media-move/report.json"
LIST = "/var/lib/ntier-media-move/list.json"
#: What the round has changed of the list, which is written before: the sites do not wait for a long file.
REST = "/var/lib/ntier-media-move/rest.json"
#: Where the new place, and what a mount hides, can be seen beside the folder that the sites use.
ASIDE = "/run/ntier-media-move"
#: Where the hosts meet, and where parts of files and replaced ones are: below each site's folder, beside what is served.
MEETING = ".ntier-move"
UNITS = ("srv-media.mount", "srv-media.automount")
#: Seconds between two looks at something that takes milliseconds.
LOOK = 0.005
#: The same while nothing is under way, which may be hours.
IDLE = 0.05
#: The bounds of the steps, in seconds.
BOUNDS = {
    "present": 120,  # until every host takes part
    "pause": 2,  # that the sites' processes are stopped before the verdict
    "settle": 2,  # that a host which uses the new place waits for the others
    "switch": 60,  # until all hosts use the new place
    "retry": 0.5,  # between two rounds
}
#: Seconds that systemd may need to mount the new place.
MOUNTING = 5
ATTEMPTS = 20
#: A pass that finds no more than this is followed by a round.
FEW = 20
PASSES = 50
#: Files that are looked at at the same time.
LOOKING = 16
#: Files that are copied at the same time: over a network each of them is some ten questions, which wait for their answers.
COPYING = 8
#: Passes after which a look at all files that takes long is what it takes.
LOOKS = 8
BLOCK = 1 << 20


class Fault(Exception):
    """Something is not as it has to be; the message says what, where, and what to do."""


# --- what is decided: pure functions ------------------------------------------------------------------------------


def same(one, other):
    """Return whether two entries of L(listing) are of the same content, as far as size and time say; of a folder, its mode."""
    if one is None or other is None or one[0] != other[0]:
        return False
    if one[0] == "folder":
        return one[3] == other[3]
    if one[0] == "link":
        return one[4] == other[4]
    # Some file systems keep no fractions of a second.
    whole = one[2] % 10**9 == 0 or other[2] % 10**9 == 0
    times = (one[2] // 10**9 == other[2] // 10**9) if whole else one[2] == other[2]
    return one[1] == other[1] and one[3] == other[3] and times


def steps(source, target):
    """Return what makes the target like the source, in the order in which it can be done.

    :arg source: path → entry, as L(listing) returns them; so is C(target).
    :return: pairs of C(remove), C(folder), C(file) or C(link), and the path.
    """
    gone = [path for path, entry in target.items() if path not in source or source[path][0] != entry[0]]
    result = [("remove", path) for path in sorted(gone, key=lambda path: -path.count("/"))]
    missing = [path for path, entry in source.items() if not same(entry, target.get(path))]
    result += [("folder", path) for path in sorted(missing) if source[path][0] == "folder"]
    result += [(source[path][0], path) for path in sorted(missing) if source[path][0] in ("file", "link")]
    return result


def late_steps(before, now, target):
    """Return what was written into the old place after the round.

    A file of the round's list that the new place lacks has been removed there, by a site. Folders come with their files.

    :arg before: the list of the round; C(now), the same of the old place now; C(target), of the new one.
    :return: paths to copy, and paths whose content differs in both places.
    """
    copies, conflicts = [], []
    for path in sorted(now):
        entry = now[path]
        if entry[0] not in ("file", "link") or same(entry, before.get(path)) or same(entry, target.get(path)):
            continue
        # Nobody has touched the new one since the round: the old one is its next version.
        if path not in target or same(target[path], before.get(path)):
            copies.append(path)
        else:
            conflicts.append(path)
    return copies, conflicts


def mounts_of(text, folder):
    """Return what is mounted on a folder, the lowest first: pairs of type and source.

    :arg text: the content of C(/proc/self/mountinfo).
    """
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if "-" not in fields or len(fields) < 10:
            continue
        rest = fields[fields.index("-") + 1 :]
        if unescaped(fields[4]) == folder and not itself(unescaped(fields[3]), folder):
            found.append((rest[0], unescaped(rest[1])))
    return found


def itself(root, folder):
    """Return whether a folder was mounted on itself, which changes nothing of what one sees there.

    :arg root: what of its file system was mounted, as a path there.
    """
    return root != "/" and folder.endswith(root)


def unescaped(text):
    """Return a path of the kernel's list as it is: it writes spaces and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def writing(flags):
    """Return whether a file is open for writing.

    :arg flags: the content of a file below C(/proc/PID/fdinfo).
    """
    found = re.search(r"^flags:\s*([0-7]+)", flags, flags=re.MULTILINE)
    return bool(found) and int(found.group(1), 8) & os.O_ACCMODE != os.O_RDONLY


def verdict_of(words):
    """Return what has been decided, from the verdicts of all rounds: C(switch), or C("") as long as it may still be."""
    return "switch" if "switch" in words else ""


def shown(paths):
    """Return some of many paths, for a sentence."""
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more


# --- files --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def identity(user, group):
    """Be another user: NFS servers know root as nobody, and a site reaches no file but its own.

    :arg user: number of the user; nobody becomes anybody without being root. C(group), number of the group.
    """
    if os.geteuid() != 0 or user == 0:
        yield
        return
    own, groups, mask = os.getegid(), os.getgroups(), os.umask(0)
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own)
        os.setgroups(groups)
        os.umask(mask)


def listing(root, start=""):
    """Return what is below a folder: path → C([kind, size, time, mode, target of a link]).

    :arg start: a folder below it, of which alone is listed what is there.
    :return: that, and the paths that can't be read or are neither files, folders nor links.
    """
    found, odd = {}, []
    waiting = [start]
    with ThreadPoolExecutor(LOOKING) as pool:
        while waiting:
            folder = waiting.pop()
            try:
                opened = os.open(os.path.join(root, folder), os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                if not folder:
                    raise  # nothing is not the same as no files
                continue
            except PermissionError:
                if not folder:
                    raise
                odd.append(folder)
                continue
            try:
                names = [name for name in os.listdir(opened) if os.path.join(folder, name) != MEETING]
                # Over a network each of them is a question, and one after the other would wait for each answer.
                shares = [names[start::LOOKING] for start in range(min(LOOKING, len(names)))]
                for entries in pool.map(functools.partial(entries_of, opened), shares):
                    for name, entry in entries.items():
                        path = os.path.join(folder, name)
                        if not entry[0]:
                            odd.append(path)
                            continue
                        if entry[0] == "folder":
                            waiting.append(path)
                        found[path] = entry
            finally:
                os.close(opened)
    return found, odd


def entries_of(folder, names):
    """Return name → what L(listing) says of it, in an open folder; C("") as the kind of what is none of those that can be copied."""
    found = {}
    for name in names:
        try:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(about.st_mode) else ""
        except FileNotFoundError:
            continue  # it has just been removed
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(stat.S_IFMT(about.st_mode), "")
        size = about.st_size if kind == "file" else 0
        found[name] = [kind, size, about.st_mtime_ns, stat.S_IMODE(about.st_mode) & 0o777, target]
    return found


def seen(root, paths):
    """Return what L(listing) says of some paths below a folder, and of all that is below them."""
    found, odd, last = {}, [], None
    for path in sorted(paths, key=lambda path: path.split("/")):
        if last is not None and path.startswith(last + "/"):
            continue  # listed with its folder
        try:
            entry = entries_of(None, [os.path.join(root, path)]).get(os.path.join(root, path))
        except NotADirectoryError:
            continue  # a folder above it has become something else, which is listed by itself
        except PermissionError:
            odd.append(path)
            continue
        if entry is None:
            continue
        if not entry[0]:
            odd.append(path)
            continue
        found[path] = entry
        if entry[0] == "folder":
            more, strange = listing(root, path)
            found.update(more)
            odd += strange
            last = path
    return found, odd


class Watch:
    """Says which paths below a folder have changed, so that nobody has to look at all of them: the kernel knows, see inotify(7).

    It knows what is written on this host, by programs, and for other hosts that have the folder over the network. Of a folder that this host
    has over the network itself it knows what is written here, by the same mount.

    :arg root: the folder.
    """

    #: What is asked for: changes of content, rights and names. Of a folder, and not of what a link leads to.
    MODIFIED, RIGHTS, WRITTEN, MOVED, MADE, REMOVED = 0x2, 0x4, 0x8, 0xC0, 0x100, 0x200
    FOLDERS_ONLY, NO_LINKS = 0x1000000, 0x2000000
    #: What is told beside that: more has happened than the kernel remembers, a folder is gone, it is one.
    TOO_MANY, GONE, FOLDER = 0x4000, 0x8000, 0x40000000
    CLOSED_AT_EXEC, AT_ONCE = os.O_CLOEXEC, os.O_NONBLOCK

    def __init__(self, root):
        self.root = root
        self.kernel = ctypes.CDLL(None, use_errno=True)
        self.descriptor = -1
        self.folders = {}
        self.usable = True

    def changed(self):
        """Return the paths that have changed since the last call; None for all, as at first.

        A path may be a folder's: then anything below it may have changed.
        """
        if not self.usable:
            return None
        try:
            if self.descriptor < 0:
                self._begin()
                return None
            return self._told()
        except OSError:
            # The kernel watches no more folders than fs.inotify.max_user_watches.
            self.end()
            self.usable = False
            return None

    def end(self):
        """Be told nothing any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self.folders = -1, {}

    def _begin(self):
        self.descriptor = self._call(self.kernel.inotify_init1, self.CLOSED_AT_EXEC | self.AT_ONCE)
        self._cover("")

    @staticmethod
    def _call(function, *words):
        result = function(*words)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _cover(self, start):
        """Watch a folder and all below it. Each is watched before somebody looks at it, so that nothing happens in between."""
        events = self.MODIFIED | self.RIGHTS | self.WRITTEN | self.MOVED | self.MADE | self.REMOVED
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            path = os.path.join(self.root, folder) if folder else self.root
            try:
                watch = self._call(
                    self.kernel.inotify_add_watch,
                    self.descriptor,
                    os.fsencode(path),
                    events | self.FOLDERS_ONLY | self.NO_LINKS,
                )
                self.folders[watch] = folder
                with os.scandir(path) as entries:
                    waiting += [
                        os.path.join(folder, entry.name)
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False) and os.path.join(folder, entry.name) != MEETING
                    ]
            except (FileNotFoundError, NotADirectoryError):
                if not folder:
                    raise

    def _told(self):
        """Read what the kernel has to say."""
        paths, lost = set(), False
        while True:
            try:
                text = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                break
            position = 0
            while position < len(text):
                watch, event, _pair, size = struct.unpack_from("iIII", text, position)
                name = text[position + 16 : position + 16 + size].rstrip(b"\0")
                position += 16 + size
                if event & self.TOO_MANY:
                    lost = True
                elif event & self.GONE:
                    self.folders.pop(watch, None)
                elif watch in self.folders:
                    path = os.path.join(self.folders[watch], os.fsdecode(name)) if name else self.folders[watch]
                    if path and path.split("/")[0] != MEETING:
                        paths.add(path)
                        if event & self.FOLDER and event & (self.MOVED | self.MADE):
                            self._cover(path)
        if lost:
            self._cover("")
            return None
        return paths


class Copier:
    """Makes one site's folder at the new place like the one at the old place.

    :arg source: the site's folder at the old place; C(target), at the new one.
    :arg watch: a L(Watch) of the source; without one, each look is one at all files.
    """

    def __init__(self, source, target, watch=None):
        self.source, self.target, self.watch = source, target, watch
        self.place = os.path.join(target, MEETING)
        self.here = self.there = None
        #: Paths whose entries of the source are others than at the last L(mark).
        self.touched = set()
        #: What this run has put there: anything else is kept when it has to make room.
        self.own = {}
        self.bytes, self.counting = 0, threading.Lock()

    def end(self):
        """Watch nothing any more."""
        if self.watch:
            self.watch.end()

    def changed(self):
        """Return the paths of the source that have changed since the last call, None for all."""
        return self.watch.changed() if self.watch else None

    def look(self, changed=None):
        """List the source, and the target when this run has not done so yet; return the first list, and the steps that are to be done.

        :arg changed: what L(changed) has returned: paths of the source, beside which nothing has to be looked at.
        """
        whole = changed is None or self.here is None
        found, odd = listing(self.source) if whole else seen(self.source, changed)
        if self.there is None:
            os.makedirs(self.place, mode=0o700, exist_ok=True)
            self.there, _odd = listing(self.target)
        if odd:
            raise Fault(
                f"Below {self.source} there is what the site's user can't read, or what is no file: {shown(odd)}. Remove it, or hand it over to the user"
            )
        if whole:
            before, self.here = self.here or {}, found
            self.touched.update(path for path in {*before, *found} if before.get(path) != found.get(path))
            return self.here, steps(self.here, self.there)
        paths = {*changed, *found, *self._below(changed)}
        for path in paths:
            if path in found:
                self.here[path] = found[path]
            else:
                self.here.pop(path, None)
        self.touched |= paths
        return self.here, steps(
            {path: self.here[path] for path in paths if path in self.here},
            {path: self.there[path] for path in paths if path in self.there},
        )

    def _below(self, paths):
        """Return what was known below those of some paths that were folders."""
        folders = tuple(
            f"{path}/"
            for path in paths
            if any(path in known and known[path][0] == "folder" for known in (self.here, self.there))
        )
        return [path for path in {*self.here, *self.there} if path.startswith(folders)] if folders else []

    def mark(self):
        """Return what the source has now, by the last look, and begin to note what differs from that."""
        self.touched = set()
        return self.here or {}

    def rest(self):
        """Return what differs from what L(mark) has returned: path → entry, None of what is gone."""
        return {path: self.here.get(path) for path in self.touched}

    def apply(self, here, todo, until=None):
        """Take steps, up to a moment of the monotonic clock; return whether all were taken.

        What is removed and the folders come one after the other, since each may need the one before; then the files, several at a time.
        """

        def in_time():
            return until is None or time.monotonic() <= until

        def share(number):
            for path in contents[number::COPYING]:
                if not in_time():
                    return False
                self._replace(path, here[path], f"part-{number}")
            return True

        contents = [path for what, path in todo if what in ("file", "link")]
        for what, path in todo:
            if what in ("file", "link"):
                continue
            if not in_time():
                return False
            if what == "remove":
                self._make_room(path)
            else:
                self._folder(path, here[path])
        if len(contents) < 2:
            return share(0)
        with ThreadPoolExecutor(min(COPYING, len(contents))) as pool:
            return all(list(pool.map(share, range(COPYING))))

    def _make_room(self, path):
        full = os.path.join(self.target, path)
        entry = self.there.pop(path, None)
        self_made = entry is not None and same(entry, self.own.pop(path, None))
        try:
            if entry is not None and entry[0] == "folder":
                os.rmdir(full)
            elif self_made:
                os.unlink(full)
            else:
                kept = os.path.join(self.place, "kept", path)
                os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
                os.replace(full, kept)
        except FileNotFoundError:
            pass

    def _folder(self, path, entry):
        full = os.path.join(self.target, path)
        try:
            os.mkdir(full, entry[3])
        except FileExistsError:
            about = os.lstat(full)
            if stat.S_IMODE(about.st_mode) & 0o777 != entry[3]:
                os.chmod(full, entry[3] | (about.st_mode & stat.S_ISGID))
        self.there[path] = self.own[path] = entry

    def _replace(self, path, entry, part_name):
        if path in self.there and not same(self.there[path], self.own.get(path)):
            self._make_room(path)
        part = os.path.join(self.place, part_name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        source = os.path.join(self.source, path)
        try:
            if entry[0] == "link":
                os.symlink(entry[4], part)
            else:
                self._content(source, part, entry)
            os.replace(part, os.path.join(self.target, path))
        except FileNotFoundError:
            if os.path.lexists(source):
                raise
            return  # removed meanwhile; the next look sees it
        except PermissionError as error:
            raise Fault(
                f"{error.filename} can't be copied by the site's user: {error.strerror}. Hand it over to the user"
            ) from error
        self.there[path] = self.own[path] = entry

    def _content(self, source, part, entry):
        new_one = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with (
            open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as old,
            open(os.open(part, new_one, 0o600), "wb") as new,
        ):
            shutil.copyfileobj(old, new, BLOCK)
            with self.counting:
                self.bytes += new.tell()
            os.fchmod(new.fileno(), entry[3])
        # The time that was listed: a file that has changed since then differs, and is copied again.
        os.utime(part, ns=(entry[2], entry[2]))


def pick_up(source, target, before):
    """Copy what was written into the old place of a site after the round; return the paths copied, and those in conflict."""
    now, _odd = listing(source)
    there, _odd = listing(target)
    copies, conflicts = late_steps(before, now, there)
    copier = Copier(source, target)
    copier.there = there
    # What is replaced is as it was in the round, so nothing of it is lost.
    copier.own = dict(there)
    os.makedirs(copier.place, mode=0o700, exist_ok=True)
    for path in copies:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in there and folder in now:
                copier.apply(now, [("folder", folder)])
        copier.apply(now, [(now[path][0], path)])
    return copies, conflicts


def late_files(copiers, lists):
    """Copy what was written into the old place of all sites after the round; return the paths copied, and those in conflict.

    :arg copiers: site → the context of its user, and its L(Copier); C(lists), the lists of the round.
    """
    late, conflicts = [], []
    for name, (user, copier) in copiers.items():
        with user():
            copies, both = pick_up(copier.source, copier.target, lists.get(name, {}))
        late += [f"{name}/{path}" for path in copies]
        conflicts += [f"{name}/{path}" for path in both]
    return late, conflicts


def write(path, content):
    """Write a file of this program, whole or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def read(path):
    """Return what a file of this program says; nothing when there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def forget_lists():
    """Begin with nothing written down of what there was."""
    for path in (LIST, REST):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def keep_lists(number, copiers, more):
    """Write down what the sites have: all of it while they go on, and nothing but the rest while they wait.

    :arg number: of the round, 0 while they go on; C(copiers), site → the context of its user, and its L(Copier).
    :arg more: what else is written down.
    """
    if number:
        rest = {name: copier.rest() for name, (_user, copier) in copiers.items()}
        return write(REST, {"id": more["id"], "sites": rest})
    with contextlib.suppress(FileNotFoundError):
        os.unlink(REST)
    return write(LIST, {**more, "sites": {name: copier.mark() for name, (_user, copier) in copiers.items()}})


def kept_lists():
    """Return what was written down of the round: C(id), C(sites), and what else there was; nothing when nothing was."""
    written, rest = read(LIST), read(REST)
    if rest and rest.get("id") == written.get("id"):
        for name, changes in rest["sites"].items():
            known = written["sites"].setdefault(name, {})
            for path, entry in changes.items():
                if entry is None:
                    known.pop(path, None)
                else:
                    known[path] = entry
    return written


# --- where the hosts meet -----------------------------------------------------------------------------------------


class Meeting:
    """A folder on the new host in which all hosts that take part leave notes for each other.

    :arg folder: its path here; C(user), a context in which it can be written.
    """

    def __init__(self, folder, user=contextlib.nullcontext):
        self.folder, self.user = folder, user

    def open(self):
        """Make the folder."""
        with self.user():
            for folder in (os.path.dirname(self.folder), self.folder):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)

    def note(self, name, text=""):
        """Leave a note; one that is there already is left as it is. Return what the note says that is there now."""
        draft = f"{name}.draft-{os.uname().nodename}-{os.getpid()}-{id(self)}"
        with self.user():
            with open(os.path.join(self.folder, draft), "w", encoding="utf-8") as file:
                file.write(text)
            try:
                # Of two hosts that do this at the same time, one is refused.
                os.link(os.path.join(self.folder, draft), os.path.join(self.folder, name))
                return text
            except FileExistsError:
                pass
            finally:
                os.unlink(os.path.join(self.folder, draft))
        return self.said(name)

    def said(self, name):
        """Return what a note says; None when there is none."""
        with self.user():
            try:
                with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                    return file.read()
            except FileNotFoundError:
                return None

    def names(self, prefix):
        """Return what follows a prefix in the names of the notes."""
        with self.user():
            try:
                found = os.listdir(self.folder)
            except FileNotFoundError:
                return []  # the leader has ended, and taken it away
        return [name[len(prefix) :] for name in found if name.startswith(prefix) and ".draft-" not in name]

    def close(self):
        """Take the folder away, so that a later move between the same hosts begins with nothing decided."""
        with self.user():
            shutil.rmtree(self.folder, ignore_errors=True)

    def rounds(self):
        """Return the number of the last round, 0 before the first."""
        return max([int(name) for name in self.names("round-")], default=0)

    def decided(self):
        """Return what was decided in any round, see L(verdict_of)."""
        return verdict_of([self.said(f"verdict-{number}") for number in self.names("verdict-")])


# --- this host ----------------------------------------------------------------------------------------------------


class Host:
    """What happens on this host: processes that stop and go on, and the folder that the sites use.

    :arg folder: that folder; C(server), the address of the new host as the mount has it; C(users), numbers of the sites' users.
    :arg patience: seconds after which processes that were stopped go on, whatever this program waits for then.
    """

    def __init__(
        self, folder, server, users, patience=10, units="/etc/systemd/system", prepared="/etc/ntier-media-move"
    ):
        self.folder, self.server, self.users, self.patience = folder, server, set(users), patience
        self.units, self.prepared = units, prepared
        self.guard = None
        self.loaded = False
        self.stopped = []

    def processes(self):
        """Return the processes of the sites' users."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    # The owner of the folder would be root for a process that has changed its user by itself.
                    with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file:
                        user = re.search(r"^Uid:\s*(\d+)", file.read(), flags=re.MULTILINE)
                    if user and int(user.group(1)) in self.users:
                        found.append(int(name))
        return found

    @staticmethod
    def still(process):
        """Return whether no thread of a process runs, and none is in the middle of a call."""
        try:
            threads = os.listdir(f"/proc/{process}/task")
            for thread in threads:
                with open(f"/proc/{process}/task/{thread}/stat", encoding="utf-8", errors="replace") as file:
                    if file.read().rpartition(")")[2].split()[0] not in ("T", "t", "Z", "X"):
                        return False
        except (FileNotFoundError, ProcessLookupError):
            pass
        return True

    def freeze(self, until):
        """Stop the sites' processes, up to a moment of the monotonic clock; return a sentence about what is in the way."""
        # A call to a server that has vanished does not come back, so somebody else has to look at the clock.
        if self.guard is None or self.guard.poll() is not None:
            command = f"sleep {self.patience}; exec {sys.executable} {os.path.abspath(__file__)} thaw"
            self.guard = subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
        # First all at once, so that none can start another meanwhile; and then whoever has become a site's since.
        self.signal(signal.SIGSTOP)
        self.stopped = self.processes()
        while True:
            moving = [process for process in self.stopped if not self.still(process)]
            if not moving:
                return self.busy(self.stopped)
            if time.monotonic() > until:
                return f"process {moving[0]} of a site does not stop, as one that waits for a disk"
            for process in moving:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGSTOP)
            time.sleep(LOOK)

    def signal(self, number):
        """Send a signal to all processes of the sites' users at once, as only these users themselves can."""
        for user in self.users - {0}:
            child = os.fork()
            if not child:
                try:
                    os.setresuid(user, user, user)
                    os.kill(-1, number)
                except OSError:
                    pass  # they have none; or one is not root, and nobody else
                finally:
                    os._exit(0)
            os.waitpid(child, 0)

    def thaw(self):
        """Let the sites' processes go on; return when they did, on the monotonic clock."""
        # First those who are known: everything else takes a while, in which they would wait.
        self.proceed(self.stopped)
        gone_on = time.monotonic()
        self.signal(signal.SIGCONT)
        if self.guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.guard.pid, signal.SIGKILL)
            self.guard.wait()
            self.guard = None
        self.proceed(self.processes())
        return gone_on

    @staticmethod
    def proceed(processes):
        """Let processes go on."""
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def strangers(self):
        """Return the processes of all others, such as of somebody who puts files there by hand."""
        known = {os.getpid(), *self.processes()}
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in known]

    def busy(self, processes):
        """Return a sentence about a file below the folder that one of these processes has open for writing, empty when there is none."""
        for name in processes:
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{name}/fd"):
                    with contextlib.suppress(OSError):
                        path = os.readlink(f"/proc/{name}/fd/{number}")
                        if not path.startswith(self.folder + "/"):
                            continue
                        with open(f"/proc/{name}/fdinfo/{number}", encoding="utf-8") as file:
                            if writing(file.read()):
                                return f"process {name} has {path} open for writing"
        return ""

    def mounts(self):
        """Return what is mounted on the folder, see L(mounts_of)."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return mounts_of(file.read(), self.folder)

    def there(self):
        """Return whether the sites here use the new place."""
        found = self.mounts()
        return bool(found) and found[-1] == ("nfs4", f"{self.server}:{self.folder}")

    def ready(self):
        """Do what can be done before anybody is stopped: systemd takes a second to read all units. Not while it has another mount here."""
        if not self.mounts():
            self._load()

    def _load(self):
        """Have systemd know the units of the new place."""
        for unit in UNITS:
            shutil.copyfile(os.path.join(self.prepared, unit), os.path.join(self.units, unit + ".part"))
            os.replace(os.path.join(self.units, unit + ".part"), os.path.join(self.units, unit))
        systemctl("daemon-reload")
        self.loaded = True

    def switch(self):
        """Mount the new place on the folder. Nobody runs who would look at it meanwhile."""
        covered = bool(self.mounts())
        if not covered and mounted(self.folder, plain=True):
            # What a move to this host has left, on which nothing can be mounted when somebody looks.
            call("umount", "-l", self.folder)
        if not self.loaded:
            self._load()
        if covered:
            systemctl("stop", UNITS[0])
        systemctl("start", UNITS[1], UNITS[0])
        if not self.there():
            raise Fault(
                f"{self.folder} of this host does not show the files of {self.server}. See: systemctl status {UNITS[0]}"
            )

    def stay(self):
        """Have the new place after a restart of the host, too."""
        systemctl("enable", UNITS[1])


class Home(Host):
    """A host that uses files over the network now, and shall have them itself."""

    def there(self):
        """Return whether the sites here use what lies on this host."""
        return all(kind not in ("nfs4", "autofs") for kind, _source in self.mounts())

    def ready(self):
        """Nothing has to be known before."""

    def switch(self):
        """Lay the folder bare. Nobody runs who would look at it meanwhile."""
        for unit in reversed(UNITS):
            if os.path.exists(os.path.join(self.units, unit)):
                systemctl("stop", unit)
        for _number in range(10):
            if self.there():
                break
            call("umount", "-l", self.folder)
        # Services that have started under the mount may not write into what they see without it: their view of the host is read-only.
        call("mount", "--bind", self.folder, self.folder)
        if not self.there():
            raise Fault(f"{self.folder} of this host still shows the files of another one. See: findmnt {self.folder}")

    def stay(self):
        """Have the files here after a restart of the host, too."""
        if os.path.exists(os.path.join(self.units, UNITS[1])):
            systemctl("disable", UNITS[1])
        for unit in UNITS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.units, unit))
        systemctl("daemon-reload")


def systemctl(*words):
    """Ask systemd for something."""
    done = subprocess.run(["systemctl", *words], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Fault(f"systemctl {' '.join(words)}: {done.stdout.decode(errors='replace').strip()}")


# --- a run --------------------------------------------------------------------------------------------------------


class Run:
    """One host's part.

    :arg name: of the host; C(host), a L(Host); C(meeting), a L(Meeting); C(bounds), other values than those of C(BOUNDS).
    """

    def __init__(self, name, host, meeting, bounds=None, say=None):
        self.name, self.host, self.meeting = name, host, meeting
        self.bounds = {**BOUNDS, **(bounds or {})}
        self.say = say or (lambda _step: None)
        self.pause = 0.0
        #: Of the last round, what was done and how many milliseconds after its beginning.
        self.parts, self.began = {}, None

    def _begin(self):
        """Note that the sites' processes are about to be stopped; return the moment."""
        self.parts, self.began = {}, time.monotonic()
        return self.began

    def _did(self, what, when=None):
        """Note what has been done while the sites' processes are stopped, and when on the monotonic clock, if not now."""
        if self.began is not None:
            self.parts[what] = round(((when or time.monotonic()) - self.began) * 1000)

    def follow(self):
        """Take part in rounds until this host uses the new place."""
        self.meeting.open()
        seen = self.meeting.rounds()
        if not self.host.there() and not self.meeting.decided():
            self.host.ready()
        self.meeting.note(f"present-{self.name}")
        while not self.host.there() and not self.meeting.decided():
            number = self.meeting.rounds()
            if number > seen:
                seen = number
                self._take_part(number)
            time.sleep(IDLE)
        self._arrive()

    def _take_part(self, number):
        """Stop for a round, and go on when it is decided. After C(switch) the processes are left stopped: see L(_arrive)."""
        start = self._begin()
        until = start + self.bounds["pause"]
        verdict = None
        try:
            reason = self.host.freeze(until)
            self._did("stopped")
            self.meeting.note(f"{'busy' if reason else 'stopped'}-{number}-{self.name}", reason)
            while not reason and verdict is None:
                verdict = self.meeting.said(f"verdict-{number}")
                if verdict is None and time.monotonic() > until:
                    verdict = self.meeting.note(f"verdict-{number}", "abort")
                time.sleep(LOOK)
            self._did("decided")
        finally:
            self.pause = max(self.pause, time.monotonic() - start)
            if verdict != "switch":
                self.host.thaw()

    def _arrive(self, catch_up=None, alone=False):
        """Use the new place, once it is decided; the sites' processes are stopped meanwhile, and go on whatever happens.

        :arg catch_up: what copies the files that were written here since, where the run that decided was killed.
        :arg alone: whether no other host takes part, so that there is nobody to wait for.
        """
        start = time.monotonic()
        try:
            if not self.host.there():
                self.host.freeze(start + self.bounds["pause"])
                if catch_up:
                    catch_up()
                self.host.switch()
                self._did("switched")
            if not alone:
                self.meeting.note(f"switched-{self.name}")
                self._settle(start + self.bounds["settle"])
                self._did("settled")
        finally:
            gone_on = self.host.thaw() or time.monotonic()
            self.pause += gone_on - start
            self._did("gone on", gone_on)
        self.meeting.note(f"switched-{self.name}")
        self.host.stay()

    def _settle(self, until):
        """Wait for the others: what a site writes now shall be seen wherever somebody looks."""
        others = set(self.meeting.names("present-"))
        while others - set(self.meeting.names("switched-")) and time.monotonic() < until:
            time.sleep(LOOK)

    def lead(self, copiers, followers, keep=None, catch_up=None):
        """Move the files; return the list of the round, site by site, or None when it was decided by an earlier run.

        :arg copiers: site → the context of its user, and its L(Copier). C(followers), names of the other hosts.
        :arg keep: is called with 0 before each round, and with its number before it is decided, to write down what there is.
        :arg catch_up: see L(_arrive).
        """
        self.keep = keep or (lambda _number: None)
        self.meeting.open()
        self._wait_present(followers)
        lists = None
        if not self.host.there() and not self.meeting.decided():
            last = self.meeting.rounds()
            # Of a run that was killed: whoever is still stopped for it goes on.
            if last and self.meeting.note(f"verdict-{last}", "abort") == "switch":
                return self._end(None, followers, catch_up)
            self.say("copying")
            self.host.ready()
            self._approach(copiers)
            lists = self._rounds(copiers, followers)
            for _user, copier in copiers.values():
                copier.end()
        return self._end(lists, followers, catch_up)

    def _end(self, lists, followers, catch_up):
        self.say("switching")
        self._arrive(catch_up if lists is None else None, alone=not followers)
        until = time.monotonic() + self.bounds["switch"]
        while True:
            missing = sorted({*followers, self.name} - set(self.meeting.names("switched-")))
            if not missing:
                return lists
            if time.monotonic() > until:
                raise Fault(
                    f"{shown(missing)} does not use the new place yet. See: journalctl -u ntier-media-move.service there, then run site again"
                )
            time.sleep(LOOK)

    def _wait_present(self, followers):
        self.meeting.note(f"present-{self.name}")
        until = time.monotonic() + self.bounds["present"]
        while True:
            missing = sorted(set(followers) - set(self.meeting.names("present-")))
            if not missing:
                return
            if time.monotonic() > until:
                raise Fault(
                    f"{shown(missing)} does not take part. See: journalctl -u ntier-media-move.service there, then run site again"
                )
            time.sleep(LOOK)

    def _approach(self, copiers):
        """Copy until a pass finds next to nothing, and a look at all files is short enough for a round."""
        shortest = float("inf")
        for number in range(PASSES):
            found, looked, began = 0, 0.0, time.monotonic()
            for user, copier in copiers.values():
                with user():
                    start = time.monotonic()
                    here, todo = copier.look(copier.changed())
                    looked += time.monotonic() - start
                    copier.apply(here, todo)
                found += len(todo)
            shortest = min(shortest, looked)
            # Where uploads never cease, a pass that is as short as a round may be is the best there is.
            done = found <= FEW or time.monotonic() - began < self.bounds["pause"] / 4
            # A machine that is busy just now has another chance.
            if done and (looked <= self.bounds["pause"] / 2 or number >= LOOKS):
                break
        if shortest > self.bounds["pause"] / 2:
            raise Fault(
                f"A look at all files takes {shortest:.1f} s, and the sites would have to wait that long: the kernel does not watch so many folders. Raise"
                f" fs.inotify.max_user_watches on {self.name}, or give media_move_pause_seconds a value above {math.ceil(2 * shortest)}"
            )
        self.keep(0)

    def _rounds(self, copiers, followers):
        reason = ""
        for _attempt in range(ATTEMPTS):
            lists, reason = self._round(copiers, followers)
            if lists is not None:
                return lists
            time.sleep(self.bounds["retry"])
            self._approach(copiers)
        raise Fault(
            f"There was no moment without an upload in {ATTEMPTS} attempts: {reason}. The files stay where they are"
        )

    def _round(self, copiers, followers):
        """Hold a round; return the lists, or None and why it was given up."""
        number = self.meeting.rounds() + 1
        # While nobody waits yet.
        reason = self.host.busy(self.host.strangers())
        if reason:
            return None, reason
        start = self._begin()
        until = start + self.bounds["pause"]
        verdict = None
        try:
            # All hosts stop at the same time, not one after the other.
            self.meeting.note(f"round-{number}")
            reason = self.host.freeze(until)
            if reason:
                return None, reason
            self._did("stopped")
            reason = self._wait_stopped(number, followers, until)
            self._did("all stopped")
            lists = None if reason else self._rest(number, copiers, until)
            self._did("copied")
            if not reason and lists is None:
                reason = f"copying the rest takes more than {self.bounds['pause']} s"
            verdict = self.meeting.note(f"verdict-{number}", "abort" if reason else "switch")
            self._did("decided")
            return (lists, "") if verdict == "switch" else (None, reason or "a host has waited too long")
        finally:
            self.pause = max(self.pause, time.monotonic() - start)
            if verdict != "switch":
                self.host.thaw()
                if verdict is None:
                    self.meeting.note(f"verdict-{number}", "abort")

    def _wait_stopped(self, number, followers, until):
        while True:
            for name in self.meeting.names(f"busy-{number}-"):
                return f"on {name} {self.meeting.said(f'busy-{number}-{name}')}"
            missing = sorted(set(followers) - set(self.meeting.names(f"stopped-{number}-")))
            if not missing:
                return ""
            if time.monotonic() > until:
                return f"{shown(missing)} did not stop in time"
            time.sleep(LOOK)

    def _rest(self, number, copiers, until):
        """Copy what the last pass has left; return what there is, or None when there is no time for it."""
        lists = {}
        for site, (user, copier) in copiers.items():
            with user():
                here, todo = copier.look(copier.changed())
                if not copier.apply(here, todo, until) or time.monotonic() > until:
                    return None
            lists[site] = here
        self.keep(number)
        return lists if time.monotonic() <= until else None


# --- what the host's part consists of -----------------------------------------------------------------------------


def context_of(name, folder):
    """Return a context in which files of a site are read and written: its user, with the group of its folder."""
    user, group = pwd.getpwnam(name).pw_uid, os.stat(folder).st_gid
    return lambda: identity(user, group)


def aside(job, name="new"):
    """Mount the new place, or the old one, where no site looks; never by way of what the sites use, and with nothing remembered."""
    place = f"{ASIDE}/{name}"
    server = job["server" if name == "new" else "old_server"]
    os.makedirs(place, mode=0o755, exist_ok=True)
    if not mounted(place):
        options = (
            "rw" if name == "new" else "ro"
        ) + ",hard,vers=4.2,timeo=50,retrans=2,actimeo=0,lookupcache=none,nosharecache,nodev,nosuid,noexec"
        call("mount", "-t", "nfs4", "-o", options, f"{server}:{job['folder']}", place)
    return place


def below(folder):
    """Return where a folder can be seen as it is below what is mounted on it."""
    place = f"{ASIDE}/below"
    os.makedirs(place, mode=0o755, exist_ok=True)
    if not mounted(place):
        call("mount", "--bind", os.path.dirname(folder), place)
        # What is mounted over there later shall not be seen here as well.
        call("mount", "--make-private", place)
    return os.path.join(place, os.path.basename(folder))


def mounted(place, plain=False):
    """Return whether something is mounted on a folder; C(plain), be it the folder itself."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    return any(line.split(" ")[4] == place for line in text.splitlines()) if plain else bool(mounts_of(text, place))


def call(*words):
    """Run a program of the system."""
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Fault(f"{' '.join(words)}: {done.stdout.decode(errors='replace').strip()}")


def run_of(job, place, kind=None):
    """Return this host's part; C(kind), the class of the host."""
    first = job["sites"][0]
    users = [pwd.getpwnam(name).pw_uid for name in job["sites"]]
    meeting = Meeting(f"{place}/{first}/{MEETING}/{job['id']}", context_of(first, f"{place}/{first}"))
    bounds = {**BOUNDS, **job.get("bounds", {})}
    host = (kind or Host)(job["folder"], job["server"], users, bounds["pause"] + bounds["settle"] + MOUNTING)
    return Run(job["name"], host, meeting, bounds, lambda step: write(STATE, {"id": job["id"], "step": step}))


def follow(job):
    """Take part until this host uses the new place."""
    run = run_of(job, aside(job))
    run.follow()
    return {"outcome": "done", "reason": "", "pause_ms": round(run.pause * 1000), "parts_ms": run.parts}


def lead(job):
    """Move the files from this host, and put aside what is left of them here; or move them to this one."""
    if job.get("back"):
        return fetch(job)
    place = aside(job)
    run = run_of(job, place)
    source = job["folder"]
    if not run.host.there():
        # What an earlier move between the same hosts has written down says nothing about this one.
        run.meeting.open()
        if not run.meeting.decided():
            fit(run.host, job, place)
            forget_lists()
            write(STATE, {"id": job["id"], "step": ""})
    # Where the sites here see the new place already there is nothing to copy: it would be copied onto itself.
    copiers = {
        name: (
            context_of(name, f"{place}/{name}"),
            Copier(f"{source}/{name}", f"{place}/{name}", Watch(f"{source}/{name}")),
        )
        for name in job["sites"]
        if os.path.isdir(f"{source}/{name}")
    }
    started = time.monotonic()
    run.lead(
        copiers,
        job["followers"],
        lambda number: keep_lists(number, copiers, {"id": job["id"], "kept": unused(source)}),
        lambda: late_files(copiers, kept_lists().get("sites", {})),
    )
    # Without it nothing is known to have been removed since.
    written = kept_lists() or {"id": job["id"], "kept": unused(source), "sites": {}}
    write(LIST, written)
    run.say("switched")
    report = leave(job, place, written)
    files = sum(entry[0] == "file" for found in written["sites"].values() for entry in found.values())
    report.update(
        outcome="done",
        reason="",
        pause_ms=round(run.pause * 1000),
        parts_ms=run.parts,
        seconds=round(time.monotonic() - started),
        files=files,
        bytes=sum(copier.bytes for _user, copier in copiers.values()),
    )
    run.meeting.close()
    run.say("done")
    return report


def fetch(job):
    """Move the files to this host, which uses them over the network. What is left of them there is put aside by L(shelve)."""
    written, state = read(LIST), read(STATE)
    if state == {"id": job["id"], "step": "done"} and "report" in written and Home(job["folder"], "", []).there():
        return written["report"]
    source, place = aside(job, "old"), below(job["folder"])
    ours = state.get("id") == job["id"] and state.get("step") in ("switching", "switched")
    host = Home(job["folder"], "", [])
    if host.there() and not ours:
        raise Fault(
            f"{host.folder} of this host shows its own files already, so there is nothing to fetch. See: findmnt {host.folder}"
        )
    sites = [name for name in job["sites"] if os.path.isdir(f"{source}/{name}")]
    if not host.there():
        prepare(source, place, sites)
    run = run_of(job, place, Home)
    run.meeting.open()
    if not host.there() and not run.meeting.decided():
        forget_lists()
        write(STATE, {"id": job["id"], "step": ""})
    # Nobody else writes them, and what is written here goes by way of the folder that the sites use.
    alone = not host.there() and not job["followers"]
    copiers = {
        name: (
            context_of(name, f"{place}/{name}"),
            Copier(f"{source}/{name}", f"{place}/{name}", Watch(f"{job['folder']}/{name}") if alone else None),
        )
        for name in sites
    }
    started = time.monotonic()
    run.lead(
        copiers,
        job["followers"],
        lambda number: keep_lists(number, copiers, {"id": job["id"]}),
        lambda: late_files(copiers, kept_lists().get("sites", {})),
    )
    written = kept_lists() or {"id": job["id"], "sites": {}}
    run.say("switched")
    late, conflicts = late_files(copiers, written["sites"])
    report = {
        "outcome": "done",
        "reason": "",
        "late": late,
        "conflicts": conflicts,
        "kept": job["folder"],
        "pause_ms": round(run.pause * 1000),
        "parts_ms": run.parts,
        "seconds": round(time.monotonic() - started),
        "files": sum(entry[0] == "file" for found in written["sites"].values() for entry in found.values()),
        "bytes": sum(copier.bytes for _user, copier in copiers.values()),
    }
    write(LIST, {**written, "report": report})
    run.meeting.close()
    run.say("done")
    return report


def prepare(source, place, sites):
    """Let the sites' users into the folder below the mount, as the role media has it."""
    subprocess.run(["chattr", "-i", place], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chmod(place, 0o755)
    for name in sites:
        about = os.stat(f"{source}/{name}")
        os.makedirs(f"{place}/{name}", exist_ok=True)
        os.chown(f"{place}/{name}", about.st_uid, about.st_gid)
        os.chmod(f"{place}/{name}", stat.S_IMODE(about.st_mode))


def shelve(job):
    """Put aside what another host has fetched from here."""
    folder = job["folder"]
    if mounted(folder):
        raise Fault(f"On {folder} of this host something is mounted, and only a plain folder can be put aside")
    if not any(os.path.isdir(os.path.join(folder, name)) for name in job["sites"]):
        return {"changed": False, "kept": ""}
    kept = unused(folder)
    put_aside(folder, kept)
    return {"changed": True, "kept": kept}


def fit(host, job, place):
    """Refuse to lead where the files are not in a folder of this host, or where the new place is no other one."""
    found = host.mounts()
    if found:
        raise Fault(
            f"On {host.folder} of this host {found[-1][1]} ({found[-1][0]}) is mounted, and only a plain folder can be handed over"
        )
    for name in job["sites"]:
        if not os.path.isdir(f"{place}/{name}"):
            raise Fault(f"{host.server} has no folder for the site {name}. Run site again, which makes it")
    # What has just been made over there is seen here: the new place is the old one.
    if os.path.lexists(f"{host.folder}/{job['sites'][0]}/{MEETING}/{job['id']}"):
        raise Fault(f"{host.server} shows the folder of this host itself. Look at the addresses in the inventory")


def leave(job, place, written):
    """Pick up what was written late, and put the old files aside; return C(late), C(conflicts), C(kept)."""
    here, lists = below(job["folder"]), written["sites"]
    kept = os.path.join(os.path.dirname(here), os.path.basename(written["kept"]))
    late, conflicts = [], []
    # Before and after: who still had the folder open may have written in between.
    for source in (here, kept):
        if source == kept:
            put_aside(here, kept)
        for name in job["sites"]:
            if not os.path.isdir(f"{source}/{name}"):
                continue
            with context_of(name, f"{place}/{name}")():
                copies, both = pick_up(f"{source}/{name}", f"{place}/{name}", lists.get(name, {}))
            late += [f"{name}/{path}" for path in copies]
            conflicts += [f"{name}/{path}" for path in both if f"{name}/{path}" not in conflicts]
    close(here)
    return {"late": late, "conflicts": conflicts, "kept": written["kept"]}


def unused(folder):
    """Return a path beside a folder for what it holds, one that nothing has yet."""
    path = base = f"{folder}-kept-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{base}.{number}"
    return path


def put_aside(here, kept):
    """Move everything in a folder into another one, of which nothing is overwritten. The folder itself is in use."""
    os.makedirs(kept, mode=0o755, exist_ok=True)
    for name in os.listdir(here):
        goal, number = os.path.join(kept, name), 1
        while os.path.lexists(goal):
            number += 1
            goal = os.path.join(kept, f"{name}.{number}")
        os.rename(os.path.join(here, name), goal)


def close(here):
    """Let nobody write into the folder below the mount, not even root where the file system knows how."""
    if stat.S_IMODE(os.stat(here).st_mode) != 0:
        os.chmod(here, 0)
    subprocess.run(["chattr", "+i", here], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end():
    """Unmount what was mounted aside."""
    changed = False
    for name in ("new", "old", "below"):
        place = f"{ASIDE}/{name}"
        if mounted(place):
            call("umount", "-l", place)
            changed = True
        with contextlib.suppress(OSError):
            os.rmdir(place)
    return {"changed": changed}


def thaw(job):
    """Let the sites' processes go on, after a run that was killed."""
    users = []
    for name in job.get("sites", []):
        with contextlib.suppress(KeyError):
            users.append(pwd.getpwnam(name).pw_uid)
    Host(job.get("folder", ""), "", users).thaw()


def main(words):
    """Do what the command line says."""
    # What it creates has the modes that it asks for, whatever the umask of who runs it.
    os.umask(0o022)
    job = read(JOB)
    what = words[0] if len(words) == 1 else ""
    if what == "thaw":
        thaw(job)
        return 0
    if what == "end":
        print(json.dumps(end()))
        return 0
    if what not in ("lead", "follow", "shelve"):
        print("usage: ntier-media-move lead | follow | shelve | thaw | end", file=sys.stderr)
        return 2
    if what == "shelve":
        try:
            print(json.dumps(shelve(job)))
        except (Fault, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    try:
        report = lead(job) if what == "lead" else follow(job)
    except (Fault, OSError) as error:
        step = read(STATE).get("step", "") if what == "lead" else ""
        outcome = "unfinished" if step in ("switching", "switched") else "given back"
        write(REPORT, {"id": job.get("id", ""), "outcome": outcome, "reason": str(error)})
        print(f"{outcome}: {error}", file=sys.stderr)
        return 1
    write(REPORT, {**report, "id": job["id"]})
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
