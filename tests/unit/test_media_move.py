"""The program that moves the sites' files: what it decides, what it copies, and how hosts agree on the moment to switch."""

import ast
import collections
import contextlib
import importlib.util
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
from clusters import ROOT
from rendering import of, render


def load():
    spec = importlib.util.spec_from_file_location("ntier_media_move", ROOT / "roles/media_move/files/media_move.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mover = load()
FILE = ["file", 3, 1_000_000_001, 0o640, ""]
LATER = ["file", 3, 2_000_000_002, 0o640, ""]
FOLDER = ["folder", 0, 5, 0o750, ""]
QUICK = {"present": 5, "pause": 1, "settle": 1, "switch": 5, "retry": 0.01}


# --- what is to be copied -----------------------------------------------------------------------------------------


def test_folders_come_before_their_files_and_files_go_before_their_folders():
    source = {"a": FOLDER, "a/b": FOLDER, "a/b/x": FILE, "l": ["link", 0, 5, 0o777, "a"]}
    assert mover.steps(source, {}) == [("folder", "a"), ("folder", "a/b"), ("file", "a/b/x"), ("link", "l")]
    assert [path for what, path in mover.steps({}, source) if what == "remove"][-2:] != ["a/b", "a/b/x"]
    gone = [path for _what, path in mover.steps({}, source)]
    assert gone.index("a/b/x") < gone.index("a/b") < gone.index("a")


def test_what_is_the_same_is_left_alone():
    tree = {"a": FOLDER, "a/x": FILE}
    assert mover.steps(tree, dict(tree)) == []
    assert mover.steps(tree, {"a": [*FOLDER[:2], 99, *FOLDER[3:]], "a/x": FILE}) == []  # a folder's time says nothing


@pytest.mark.parametrize(
    "other",
    [LATER, ["file", 4, *FILE[2:]], [*FILE[:3], 0o600, ""], FOLDER, ["link", 0, 5, 0o777, "x"]],
)
def test_what_differs_is_copied_anew(other):
    found = mover.steps({"x": FILE}, {"x": other})
    assert found[-1] == ("file", "x")
    assert (("remove", "x") in found) == (other[0] != "file")


def test_a_file_system_without_fractions_of_a_second_is_no_difference():
    assert mover.same(FILE, ["file", 3, 1_000_000_000, 0o640, ""])
    assert not mover.same(FILE, ["file", 3, 2_000_000_000, 0o640, ""])


@pytest.mark.parametrize(
    ("before", "now", "target", "copies", "conflicts"),
    [
        ({}, {"x": FILE}, {}, ["x"], []),  # written late
        ({"x": FILE}, {"x": FILE}, {}, [], []),  # removed at the new place: it does not come back
        ({"x": FILE}, {"x": LATER}, {"x": FILE}, ["x"], []),  # changed late
        ({"x": FILE}, {"x": FILE}, {"x": LATER}, [], []),  # changed at the new place
        ({"x": FILE}, {"x": LATER}, {"x": ["file", 9, 3, 0o640, ""]}, [], ["x"]),  # both
        ({}, {"x": FILE}, {"x": LATER}, [], ["x"]),  # the same name in both places
        ({}, {"x": FILE}, {"x": FILE}, [], []),  # picked up by an earlier run
        ({}, {"a": FOLDER}, {}, [], []),
    ],
)
def test_what_was_written_late_is_told_from_what_the_sites_did_at_the_new_place(before, now, target, copies, conflicts):
    assert mover.late_steps(before, now, target) == (copies, conflicts)


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        (place / "shop/media").mkdir(parents=True)
    return old / "shop", new / "shop"


def copied(old, new, copier=None):
    copier = copier or mover.Copier(str(old), str(new))
    here, todo = copier.look()
    copier.apply(here, todo)
    return copier, todo


def tree_of(root):
    return mover.listing(str(root))[0]


def alike(old, new):
    one, other = tree_of(old), tree_of(new)
    return one.keys() == other.keys() and all(mover.same(one[path], other[path]) for path in one)


def test_a_copy_has_content_time_and_mode(places):
    old, new = places
    (old / "media/a b").mkdir()
    (old / "media/a b/ü.png").write_bytes(b"x" * 3_000_000)
    os.chmod(old / "media/a b/ü.png", 0o640)
    (old / "media/link").symlink_to("/etc/passwd")
    copier, _todo = copied(old, new)
    assert alike(old, new)
    assert (new / "media/a b/ü.png").read_bytes() == b"x" * 3_000_000
    assert os.readlink(new / "media/link") == "/etc/passwd"
    assert copier.bytes == 3_000_000
    assert copied(old, new, copier)[1] == []
    assert copied(old, new)[1] == []  # nor does another run find anything


def test_a_pass_takes_what_changed_and_removes_what_went(places):
    old, new = places
    for name in ("kept", "gone", "changed"):
        (old / "media" / name).write_text("one")
    copier, _todo = copied(old, new)
    (old / "media/gone").unlink()
    (old / "media/changed").write_text("three")
    assert sorted(copied(old, new, copier)[1]) == [("file", "media/changed"), ("remove", "media/gone")]
    assert alike(old, new)
    assert not (new / mover.MEETING / "kept").exists()


def test_what_this_run_has_not_written_is_put_aside_never_lost(places):
    old, new = places
    (old / "media/x").write_text("the old place's")
    (new / "media/x").write_text("somebody's")
    (new / "media/only").write_text("somebody's, too")
    copied(old, new)
    assert alike(old, new)
    assert (new / mover.MEETING / "kept/media/x").read_text() == "somebody's"
    assert (new / mover.MEETING / "kept/media/only").read_text() == "somebody's, too"


def test_a_file_that_becomes_a_folder_and_back(places):
    old, new = places
    (old / "media/x").write_text("file")
    copier, _todo = copied(old, new)
    (old / "media/x").unlink()
    (old / "media/x/y").mkdir(parents=True)
    (old / "media/x/y/z").write_text("deep")
    copied(old, new, copier)
    assert alike(old, new)
    (old / "media/x/y/z").unlink()
    (old / "media/x/y").rmdir()
    (old / "media/x").rmdir()
    (old / "media/x").write_text("file again")
    copied(old, new, copier)
    assert alike(old, new)


def test_a_file_that_changes_while_it_is_copied_is_copied_again(places):
    old, new = places
    (old / "media/x").write_text("short")
    copier = mover.Copier(str(old), str(new))
    here, todo = copier.look()
    (old / "media/x").write_text("much longer")
    copier.apply(here, todo)
    assert copied(old, new, copier)[1] == [("file", "media/x")]
    assert alike(old, new)


def test_files_are_copied_several_at_a_time_and_none_is_mixed_up_with_another(places, monkeypatch):
    old, new = places
    for number in range(4 * mover.COPYING):
        (old / f"media/{number}").write_text(f"content of {number}")
    copier = mover.Copier(str(old), str(new))
    together, plain = threading.Barrier(mover.COPYING, timeout=10), copier._content

    def content(*words):
        together.wait()  # breaks where fewer are under way
        plain(*words)

    monkeypatch.setattr(copier, "_content", content)
    copied(old, new, copier)
    assert alike(old, new)
    assert all((new / f"media/{number}").read_text() == f"content of {number}" for number in range(4 * mover.COPYING))
    assert copier.bytes == sum(path.stat().st_size for path in (new / "media").iterdir())
    assert list((new / mover.MEETING).iterdir()) == []


def test_a_file_that_can_not_be_copied_ends_the_pass_with_its_name(places, monkeypatch):
    old, new = places
    for number in range(20):
        (old / f"media/{number}").write_text("x")
    copier = mover.Copier(str(old), str(new))
    plain = copier._content

    def content(source, part, entry):
        if source.endswith("/13"):
            raise PermissionError(13, "Permission denied", source)
        plain(source, part, entry)

    monkeypatch.setattr(copier, "_content", content)
    with pytest.raises(mover.Fault, match=r"media/13 can't be copied by the site's user: Permission denied"):
        copied(old, new, copier)


def test_a_file_that_vanishes_while_it_is_copied_is_no_fault(places):
    old, new = places
    (old / "media/x").write_text("short")
    copier = mover.Copier(str(old), str(new))
    here, todo = copier.look()
    (old / "media/x").unlink()
    assert copier.apply(here, todo)
    assert copied(old, new, copier)[1] == []
    assert alike(old, new)


# --- what the kernel says of a folder ---


@pytest.fixture
def watched(places):
    """A copier whose source is watched, and that has copied what there was."""
    old, new = places
    (old / "media/many").mkdir()
    for number in range(50):
        (old / f"media/many/{number}").write_text("x")
    copier = mover.Copier(str(old), str(new), mover.Watch(str(old)))
    assert watched_pass(copier) is None
    yield old, new, copier
    copier.end()
    assert copier.watch.descriptor == -1


def watched_pass(copier):
    """Let a copier make a pass; return which paths it was told of."""
    changed = copier.changed()
    here, todo = copier.look(changed)
    copier.apply(here, todo)
    return changed


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (lambda root: None, set()),
        (lambda root: (root / "new").write_text("n"), {"media/new"}),
        (lambda root: (root / "many/7").write_text("longer"), {"media/many/7"}),
        (lambda root: os.chmod(root / "many/7", 0o600), {"media/many/7"}),
        (lambda root: (root / "many/7").unlink(), {"media/many/7"}),
        (lambda root: os.replace(root / "many/7", root / "many/8"), {"media/many/7", "media/many/8"}),
        (lambda root: os.replace(root / "many", root / "few"), {"media/many", "media/few"}),
        (lambda root: (root / "link").symlink_to("many"), {"media/link"}),
        (lambda root: (root / "a/b").mkdir(parents=True), {"media/a", "media/a/b"}),
    ],
)
def test_nothing_is_looked_at_but_what_the_kernel_names(watched, change, paths):
    old, new, copier = watched
    change(old / "media")
    # Of a folder inside of a new one the kernel may tell or not: it depends on who was first.
    told = watched_pass(copier)
    assert told == paths or (told | {"media/a/b"}) == paths
    assert alike(old, new)
    assert timeless(copier.here) == timeless(tree_of(old))


def timeless(tree):
    """Leave out the times of folders, which change with what is in them and say nothing."""
    return {path: [*entry[:2], 0, *entry[3:]] if entry[0] == "folder" else entry for path, entry in tree.items()}


def test_what_is_made_in_a_folder_while_it_is_new_is_told_later(watched):
    old, new, copier = watched
    (old / "media/a").mkdir()
    changed = copier.changed()
    (old / "media/a/x").write_text("x")
    here, todo = copier.look(changed)
    copier.apply(here, todo)
    (old / "media/a/x").write_text("after the look")
    assert watched_pass(copier) >= {"media/a/x"}
    assert alike(old, new)


def test_a_folder_that_was_renamed_is_known_by_its_new_name(watched):
    old, new, copier = watched
    (old / "media/many/deep").mkdir()
    watched_pass(copier)
    os.replace(old / "media/many", old / "media/few")
    watched_pass(copier)
    (old / "media/few/deep/x").write_text("x")
    assert watched_pass(copier) == {"media/few/deep/x"}
    assert alike(old, new)


def test_whatever_is_done_the_passes_keep_both_places_alike(watched):
    """By chance, with names that files, folders and links take from each other."""
    old, new, copier = watched
    chance = random.Random(42)
    names = ["a", "b", "many", "many/7", "a/c", "a/c/d", "b/e", "many/f"]
    done = collections.Counter()
    for _pass in range(150):
        for _change in range(chance.randrange(1, 6)):
            one, other = old / "media" / chance.choice(names), old / "media" / chance.choice(names)
            kind, act = chance.choice(
                [
                    ("write", lambda one=one: one.write_text("x" * chance.randrange(99))),
                    ("folder", lambda one=one: one.mkdir()),
                    ("rename", lambda one=one, other=other: os.replace(one, other)),
                    ("link", lambda one=one: one.symlink_to("many")),
                    ("remove", lambda one=one: one.unlink()),
                    ("clear", lambda one=one: shutil.rmtree(one)),
                    ("mode", lambda one=one: os.chmod(one, chance.choice([0o700, 0o755]), follow_symlinks=True)),
                ]
            )
            with contextlib.suppress(OSError):
                act()
                done[kind] += 1
        assert watched_pass(copier) is not None
        assert timeless(copier.here) == timeless(tree_of(old))
        assert alike(old, new)
    assert min(done.values()) > 5, done


def test_after_more_than_the_kernel_remembers_all_files_are_looked_at_once(watched, monkeypatch):
    old, new, copier = watched
    read = os.read
    lost = [mover.struct.pack("iIII", -1, mover.Watch.TOO_MANY, 0, 0)]
    monkeypatch.setattr(mover.os, "read", lambda *words: (read(*words), lost.pop())[1] if lost else read(*words))
    (old / "media/a").mkdir()
    assert watched_pass(copier) is None
    assert alike(old, new)
    (old / "media/a/x").write_text("x")
    assert watched_pass(copier) == {"media/a/x"}
    assert alike(old, new)


@pytest.mark.parametrize("at", ["inotify_init1", "inotify_add_watch"])
def test_where_the_kernel_watches_no_more_all_files_are_looked_at_each_time(places, at):
    old, new = places
    watch = mover.Watch(str(old))
    kernel = watch.kernel

    class Full:
        def __getattr__(self, name):
            return (lambda *_words: -1) if name == at else getattr(kernel, name)

    watch.kernel = Full()
    copier = mover.Copier(str(old), str(new), watch)
    for name in "abc":
        (old / "media" / name).write_text("x")
        assert watched_pass(copier) is None
        assert alike(old, new)
    assert watch.descriptor == -1


def test_what_the_site_s_user_can_t_read_is_named_when_it_is_new(watched):
    old, _new, copier = watched
    os.mkfifo(old / "media/pipe")
    with pytest.raises(mover.Fault, match=r"media/pipe\. Remove it"):
        watched_pass(copier)


def test_the_round_writes_down_nothing_but_the_rest(watched, tmp_path, monkeypatch):
    old, _new, copier = watched
    for name in ("LIST", "REST"):
        monkeypatch.setattr(mover, name, str(tmp_path / name.lower()))
    copiers = {"shop": (contextlib.nullcontext, copier)}
    mover.keep_lists(0, copiers, {"id": "old-new", "kept": "/srv/kept"})
    assert mover.kept_lists() == {"id": "old-new", "kept": "/srv/kept", "sites": {"shop": copier.here}}
    (old / "media/many/7").unlink()
    (old / "media/new").write_text("n")
    watched_pass(copier)
    mover.keep_lists(1, copiers, {"id": "old-new"})
    assert mover.read(mover.REST)["sites"]["shop"] == {"media/many/7": None, "media/new": copier.here["media/new"]}
    assert mover.kept_lists() == {"id": "old-new", "kept": "/srv/kept", "sites": {"shop": copier.here}}
    # What belongs to an earlier list says nothing of the next one.
    mover.keep_lists(0, copiers, {"id": "old-new", "kept": "/srv/kept"})
    assert mover.read(mover.REST) == {}
    mover.forget_lists()
    assert mover.kept_lists() == {}


def test_an_old_place_that_is_away_is_not_an_empty_one(places):
    old, new = places
    (new / "media/x").write_text("x")
    with pytest.raises(FileNotFoundError):
        mover.Copier(str(old) + "-away", str(new)).look()
    assert (new / "media/x").exists()


def test_what_is_no_file_is_named(places):
    old, new = places
    os.mkfifo(old / "media/pipe")
    with pytest.raises(mover.Fault, match="media/pipe"):
        mover.Copier(str(old), str(new)).look()


def test_copying_ends_when_its_time_is_over(places):
    old, new = places
    (old / "media/x").write_text("x")
    copier = mover.Copier(str(old), str(new))
    here, todo = copier.look()
    assert copier.apply(here, todo, until=time.monotonic() - 1) is False
    assert copier.apply(here, todo, until=time.monotonic() + 60) is True


def test_late_files_are_picked_up_with_their_folders_and_conflicts_are_left(places):
    old, new = places
    for name in ("both", "gone", "same"):
        (old / "media" / name).write_text("one")
    copied(old, new)
    before = tree_of(old)
    (old / "media/2026/11").mkdir(parents=True)
    (old / "media/2026/11/late.png").write_text("late")
    (old / "media/both").write_text("old side")
    (new / "media/both").write_text("new side's own")
    (new / "media/gone").unlink()
    copies, conflicts = mover.pick_up(str(old), str(new), before)
    assert (copies, conflicts) == (["media/2026/11/late.png"], ["media/both"])
    assert (new / "media/2026/11/late.png").read_text() == "late"
    assert (new / "media/both").read_text() == "new side's own"
    assert (old / "media/both").read_text() == "old side"
    assert not (new / "media/gone").exists()
    assert mover.pick_up(str(old), str(new), before) == ([], ["media/both"])


def test_the_old_files_are_put_aside_and_none_overwrites_another(tmp_path):
    here, kept = tmp_path / "media", tmp_path / "media-kept"
    for content in ("first", "second"):
        (here / "shop").mkdir(parents=True, exist_ok=True)
        (here / "shop/x").write_text(content)
        mover.put_aside(str(here), str(kept))
        assert list(here.iterdir()) == []
    assert sorted(path.read_text() for path in kept.rglob("x")) == ["first", "second"]


# --- mounts and processes -----------------------------------------------------------------------------------------

MOUNTS = """\
29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 29 0:35 / /srv/media rw,relatime shared:20 - autofs systemd-1 rw,fd=42,pgrp=1,timeout=0
41 40 0:50 / /srv/media rw,noatime shared:30 - nfs4 10.0.0.31:/srv/media rw,vers=4.2
42 29 0:51 / /srv/with\\040space rw - nfs4 [fd00::31]:/srv/media rw
broken
"""


def test_the_kernel_s_list_of_mounts_is_read():
    assert mover.mounts_of(MOUNTS, "/srv/media") == [("autofs", "systemd-1"), ("nfs4", "10.0.0.31:/srv/media")]
    assert mover.mounts_of(MOUNTS, "/srv/with space") == [("nfs4", "[fd00::31]:/srv/media")]
    assert mover.mounts_of(MOUNTS, "/srv") == []


def test_a_host_knows_whether_it_uses_the_new_place(monkeypatch):
    host = mover.Host("/srv/media", "10.0.0.31", [])
    for found, there in (
        ([], False),
        ([("autofs", "systemd-1")], False),
        ([("autofs", "systemd-1"), ("nfs4", "10.0.0.30:/srv/media")], False),
        ([("autofs", "systemd-1"), ("nfs4", "10.0.0.31:/srv/media")], True),
    ):
        monkeypatch.setattr(host, "mounts", lambda found=found: found)
        assert host.there() is there


@pytest.mark.parametrize(
    ("flags", "expected"), [("0100000", False), ("0100001", True), ("02100002", True), ("0102001", True)]
)
def test_a_file_that_is_open_for_writing_is_told_from_one_that_is_read(flags, expected):
    assert mover.writing(f"pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n") is expected


@pytest.fixture
def process():
    """Return a function that starts a Python process, which ends with the test."""
    started = []

    def start(code):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def host_of(folder, *processes):
    host = mover.Host(str(folder), "10.0.0.31", [])
    host.processes = lambda: [child.pid for child in processes]
    return host


def test_processes_stop_with_all_their_threads_and_go_on(process, tmp_path):
    code = (
        "import threading, time, pathlib\n"
        f"path = pathlib.Path({str(tmp_path)!r}) / 'beat'\n"
        "def beat():\n"
        "    while True:\n"
        "        path.write_text(str(time.time())); time.sleep(0.005)\n"
        "threading.Thread(target=beat).start()\n"
        "time.sleep(0.1); print('ready', flush=True)\n"
        "beat()\n"
    )
    child = process(code)
    host = host_of(tmp_path / "media", child)
    assert not host.still(child.pid)
    assert host.freeze(time.monotonic() + 10) == ""
    assert host.still(child.pid)
    before = (tmp_path / "beat").read_text()
    time.sleep(0.1)
    assert (tmp_path / "beat").read_text() == before
    host.thaw()
    until = time.monotonic() + 10
    while (tmp_path / "beat").read_text() in (before, "") and time.monotonic() < until:
        time.sleep(0.01)
    assert (tmp_path / "beat").read_text() != before


def test_an_upload_that_is_being_written_is_seen_and_one_that_is_read_is_not(process, tmp_path):
    (tmp_path / "x").write_text("x")
    reader = process(f"import time; f = open({str(tmp_path / 'x')!r}); print('ready', flush=True); time.sleep(60)")
    host = host_of(tmp_path, reader)
    assert host.freeze(time.monotonic() + 10) == ""
    writer = process(f"import time; f = open({str(tmp_path / 'x')!r}, 'a'); print('ready', flush=True); time.sleep(60)")
    assert host.busy(host.strangers()) == f"process {writer.pid} has {tmp_path}/x open for writing"
    assert host.busy([reader.pid]) == ""
    host = host_of(tmp_path, reader, writer)
    assert host.busy(host.strangers()) == ""
    assert host.freeze(time.monotonic() + 10) == f"process {writer.pid} has {tmp_path}/x open for writing"
    assert host_of(tmp_path / "x", writer).busy([writer.pid]) == ""


def state_of(process):
    return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have processes of other users")
def test_all_processes_of_the_sites_users_stop_at_once_and_nobody_else(tmp_path):
    """Also those that nobody has found yet."""
    site, other = 59_731, 59_732  # no host has them
    children = [
        subprocess.Popen(["/bin/sleep", "60"], user=user, group=user, extra_groups=[]) for user in (site, site, other)
    ]
    host = mover.Host(str(tmp_path), "10.0.0.31", [site])
    host.processes = list
    try:
        assert host.freeze(time.monotonic() + 10) == ""
        assert [state_of(child) for child in children] == ["T", "T", "S"]
        host.thaw()
        assert {state_of(child) for child in children} == {"S"}
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_process_that_is_gone_is_still():
    assert mover.Host.still(2**22 + 1)


# --- how hosts agree ----------------------------------------------------------------------------------------------


class FakeHost:
    """A host whose mount is a note, and whose processes write when they are not stopped."""

    def __init__(self, reason="", slow=0.0, fails=0):
        self.frozen, self.on_new, self.made_ready, self.history = False, False, False, []
        self.reason, self.slow, self.fails = reason, slow, fails

    def strangers(self):
        return []

    def busy(self, _processes):
        return ""

    def freeze(self, _until):
        time.sleep(self.slow)
        if self.reason:
            return self.reason
        self.frozen = True
        self.history.append("freeze")
        return ""

    def thaw(self):
        self.frozen = False
        self.history.append("thaw")

    def ready(self):
        assert not self.frozen
        self.made_ready = True

    def there(self):
        return self.on_new

    def switch(self):
        assert self.frozen
        assert self.made_ready
        if self.fails:
            self.fails -= 1
            raise mover.Fault("no mount")
        self.on_new = True
        self.history.append("switch")

    def stay(self):
        self.history.append("stay")


class Copy:
    """A copier that counts, and that sees to it that nobody runs when it copies the rest."""

    def __init__(self, hosts=(), todo=(), took=True):
        self.hosts, self.todo, self.took = hosts, todo, took
        self.looks, self.bytes = 0, 0

    def changed(self):
        return None

    def end(self):
        self.ended = True

    def look(self, _changed=None):
        self.looks += 1
        return {"x": FILE}, list(self.todo)

    def apply(self, _here, _todo, until=None):
        if until is not None:
            assert all(host.frozen for host in self.hosts)
        return self.took


def copiers_of(copier):
    return {"shop": (contextlib.nullcontext, copier)}


def parts(folder, hosts, **bounds):
    return {
        name: mover.Run(name, host, mover.Meeting(str(folder)), {**QUICK, **bounds}) for name, host in hosts.items()
    }


def move(folder, hosts, copier=None, leader="old", **bounds):
    """Run all parts; return what the leader returned or raised, and the parts."""
    runs = parts(folder, hosts, **bounds)
    threads = [threading.Thread(target=run.follow, daemon=True) for name, run in runs.items() if name != leader]
    for thread in threads:
        thread.start()
    copier = copier or Copy(list(hosts.values()))
    try:
        found = runs[leader].lead(copiers_of(copier), [name for name in hosts if name != leader])
    except mover.Fault as fault:
        found = fault
    else:
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    return found, runs


class SlowLook(Copy):
    """One whose looks take long, the first ones at least."""

    def __init__(self, slow, **more):
        super().__init__(**more)
        self.slow = slow

    def look(self, _changed=None):
        if self.looks < self.slow:
            time.sleep(0.3)
        return super().look()


def test_a_machine_that_is_busy_just_now_has_another_chance(tmp_path):
    hosts = {"old": FakeHost(), "web2": FakeHost()}
    found, _runs = move(tmp_path / "meeting", hosts, SlowLook(3), pause=0.5)
    assert found == {"shop": {"x": FILE}}
    assert all(host.on_new for host in hosts.values())


def test_all_hosts_stop_the_rest_is_copied_and_all_switch_before_any_goes_on(tmp_path):
    hosts = {"old": FakeHost(), "web1": FakeHost(), "web2": FakeHost(slow=0.05)}
    lists, runs = move(tmp_path / "meet", hosts)
    assert lists == {"shop": {"x": FILE}}
    for host in hosts.values():
        assert host.on_new
        assert not host.frozen
        assert host.history[-1] == "stay"
        assert "switch" in host.history
        assert "thaw" not in host.history[: host.history.index("switch")]
    assert all(0 < run.pause < 3 for run in runs.values())


def test_one_host_alone_needs_nobody(tmp_path):
    host = FakeHost()
    assert move(tmp_path / "meet", {"old": host})[0] == {"shop": {"x": FILE}}
    assert host.history[0] == "freeze"
    assert host.history[-2:] == ["thaw", "stay"]


def test_where_no_other_host_takes_part_nobody_waits_for_notes(tmp_path, monkeypatch):
    """Each takes a while over a network."""
    host, frozen = FakeHost(), {}
    leave = mover.Meeting.note

    def note(meeting, name, text=""):
        frozen[name] = host.frozen
        return leave(meeting, name, text)

    monkeypatch.setattr(mover.Meeting, "note", note)
    found, runs = move(tmp_path / "meet", {"old": host})
    assert found is not None
    assert [name for name, state in frozen.items() if state] == ["verdict-1"]
    assert runs["old"].meeting.names("switched-") == ["old"]


def test_somebody_who_puts_files_there_by_hand_is_waited_for_before_anybody_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(mover, "ATTEMPTS", 3)
    host = FakeHost()
    host.busy = lambda _processes: "process 7 has /srv/media/x open for writing"
    found, _runs = move(tmp_path / "meet", {"old": host})
    assert "process 7 has /srv/media/x open for writing" in str(found)
    assert host.history == []


def test_an_upload_in_the_middle_is_waited_for_and_everybody_goes_on_meanwhile(tmp_path):
    busy = FakeHost(reason="process 7 has /srv/media/x open for writing")
    hosts = {"old": FakeHost(), "web1": busy}
    timer = threading.Timer(0.2, lambda: setattr(busy, "reason", ""))
    timer.start()
    lists, _runs = move(tmp_path / "meet", hosts, retry=0.1)
    assert lists is not None
    assert hosts["old"].history.count("freeze") > 1
    assert hosts["old"].history[:2] == ["freeze", "thaw"]
    assert all(host.on_new and not host.frozen for host in hosts.values())


@pytest.mark.parametrize("where", ["old", "web1"])
def test_an_upload_that_never_ends_leaves_everything_as_it_was(tmp_path, monkeypatch, where):
    monkeypatch.setattr(mover, "ATTEMPTS", 3)
    hosts = {"old": FakeHost(), "web1": FakeHost()}
    hosts[where].reason = "process 7 has /srv/media/x open for writing"
    found, _runs = move(tmp_path / "meet", hosts)
    assert "process 7 has /srv/media/x open for writing" in str(found)
    assert str(found).endswith("The files stay where they are")
    time.sleep(0.1)
    assert not any(host.on_new or host.frozen for host in hosts.values())


def test_a_leader_that_vanishes_in_a_round_keeps_nobody_waiting(tmp_path):
    host = FakeHost()
    meeting = mover.Meeting(str(tmp_path / "meet"))
    meeting.open()
    run = mover.Run("web1", host, meeting, {**QUICK, "pause": 0.2})
    thread = threading.Thread(target=run.follow, daemon=True)
    thread.start()
    while not meeting.names("present-"):
        time.sleep(0.01)
    meeting.note("round-1")
    until = time.monotonic() + 5
    while "thaw" not in host.history and time.monotonic() < until:
        time.sleep(0.01)
    assert host.history == ["freeze", "thaw"]
    assert meeting.said("verdict-1") == "abort"
    # The leader wakes up, and learns that it has come too late.
    assert meeting.note("verdict-1", "switch") == "abort"
    assert meeting.decided() == ""
    meeting.note("verdict-2", "switch")
    thread.join(5)
    assert host.on_new
    assert not host.frozen


def test_a_rest_that_takes_too_long_is_copied_while_the_sites_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(mover, "ATTEMPTS", 2)
    host = FakeHost()
    found, _runs = move(tmp_path / "meet", {"old": host}, Copy(took=False))
    assert "copying the rest takes more than 1 s" in str(found)
    assert not host.frozen
    assert not host.on_new


def test_a_host_that_does_not_come_is_named_and_nobody_is_stopped(tmp_path):
    host = FakeHost()
    run = mover.Run("old", host, mover.Meeting(str(tmp_path / "meet")), {**QUICK, "present": 0.05})
    with pytest.raises(mover.Fault, match="web9 does not take part"):
        run.lead(copiers_of(Copy()), ["web9"])
    assert host.history == []


def test_so_many_files_that_a_look_takes_too_long_are_refused_beforehand(tmp_path):
    host = FakeHost()
    copier = Copy()
    copier.look = lambda _changed: (time.sleep(0.1), ({}, []))[1]
    found, _runs = move(tmp_path / "meet", {"old": host}, copier, pause=0.1)
    assert "Raise fs.inotify.max_user_watches on old, or give media_move_pause_seconds a value above" in str(found)
    assert host.history == []


def test_after_the_verdict_there_is_only_forward(tmp_path):
    """A run that was killed after the verdict is gone on with, and copies nothing over the new place."""
    hosts = {"old": FakeHost(fails=1), "web1": FakeHost()}
    found, _runs = move(tmp_path / "meet", hosts)
    assert "no mount" in str(found)
    assert not hosts["old"].frozen
    copier = Copy()
    lists, _runs = move(tmp_path / "meet", hosts, copier)
    assert lists is None
    assert copier.looks == 0
    assert all(host.on_new and not host.frozen for host in hosts.values())


def test_where_the_new_place_is_seen_already_nothing_is_copied_whatever_the_notes_say(tmp_path):
    host, copier = FakeHost(), Copy()
    host.on_new = True
    assert move(tmp_path / "meet", {"old": host}, copier)[0] is None
    assert copier.looks == 0


def test_a_later_move_between_the_same_hosts_begins_anew(tmp_path):
    meeting = mover.Meeting(str(tmp_path / "meet"))
    meeting.open()
    meeting.note("verdict-1", "switch")
    meeting.close()
    assert meeting.names("verdict-") == []
    meeting.open()
    assert meeting.decided() == ""


def test_of_many_verdicts_at_the_same_time_one_holds(tmp_path):
    meetings = [mover.Meeting(str(tmp_path / "meet")) for _number in range(8)]
    meetings[0].open()
    said = []
    start = threading.Barrier(8)

    def decide(number):
        start.wait()
        said.append(meetings[number].note("verdict-1", f"word {number}"))

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert len(set(said)) == 1
    assert os.listdir(tmp_path / "meet") == ["verdict-1"]


# --- the leader's part as a whole ---------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return a job, with a host whose mounts are folders of the test."""
    folder, new = tmp_path / "srv/media", tmp_path / "new"
    for place in (folder, new):
        (place / "shop/media").mkdir(parents=True)
    (folder / "shop/media/x").write_text("x")
    for name in ("JOB", "STATE", "REPORT", "LIST", "REST"):
        monkeypatch.setattr(mover, name, str(tmp_path / name.lower()))
    host = FakeHost()
    host.folder, host.server = str(folder), "10.0.0.31"
    host.mounts = lambda: []
    monkeypatch.setattr(mover, "Host", lambda *_words: host)
    monkeypatch.setattr(mover, "aside", lambda _job: str(new))
    monkeypatch.setattr(mover, "below", lambda _folder: str(folder))
    monkeypatch.setattr(mover, "context_of", lambda *_words: contextlib.nullcontext)
    monkeypatch.setattr(mover.pwd, "getpwnam", lambda _name: os.stat_result([0] * 10) and _User())
    monkeypatch.setattr(mover.subprocess, "run", lambda *_words, **_more: None)
    job = {
        "id": "old-new",
        "name": "old",
        "server": "10.0.0.31",
        "folder": str(folder),
        "sites": ["shop"],
        "followers": [],
        "bounds": QUICK,
    }
    pathlib.Path(mover.JOB).write_text(json.dumps(job))
    yield job, host, folder, new
    os.chmod(folder, 0o755)


class _User:
    pw_uid = 12345


def state():
    return mover.read(mover.STATE)


def test_the_files_move_and_the_old_ones_are_kept_in_a_closed_place(stage, capsys):
    _job, host, folder, new = stage
    switch = host.switch

    def late():
        switch()
        (folder / "shop/media/late").write_text("late")

    host.switch = late
    assert mover.main(["lead"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {key: report[key] for key in ("outcome", "late", "conflicts", "files", "bytes")} == {
        "outcome": "done",
        "late": ["shop/media/late"],
        "conflicts": [],
        "files": 1,
        "bytes": 1,
    }
    assert re.fullmatch(rf"{folder}-kept-\d{{8}}-\d{{6}}", report["kept"])
    assert pathlib.Path(report["kept"], "shop/media/x").read_text() == "x"
    assert (new / "shop/media/x").read_text() == "x"
    assert (new / "shop/media/late").read_text() == "late"
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0
    assert state() == {"id": "old-new", "step": "done"}
    assert os.listdir(new / "shop" / mover.MEETING) == []


def looks_before_the_switch(host, monkeypatch, source):
    """Return a list that the numbers of looks at all files of a place are added to when the host switches."""
    listing, switch, looks, found = mover.listing, host.switch, [], []
    monkeypatch.setattr(mover, "listing", lambda root, start="": looks.append((root, start)) or listing(root, start))

    def counted():
        found.append(looks.count((str(source), "")))
        switch()

    host.switch = counted
    return found


def test_all_files_are_looked_at_once_before_anybody_waits(stage, monkeypatch):
    _job, host, folder, _new = stage
    found = looks_before_the_switch(host, monkeypatch, folder / "shop")
    assert mover.main(["lead"]) == 0
    assert found == [1]


def test_another_run_changes_nothing_more(stage, capsys):
    _job, _host, folder, new = stage
    assert mover.main(["lead"]) == 0
    first = json.loads(capsys.readouterr().out)
    (new / "shop/media/x").unlink()
    assert mover.main(["lead"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["kept"] == first["kept"]
    assert again["late"] == []
    assert not (new / "shop/media/x").exists()
    assert len(list(folder.parent.iterdir())) == 2


@pytest.mark.parametrize("step", ["copying", "switching", "switched", "done"])
def test_a_run_that_was_killed_at_a_step_is_gone_on_with(stage, monkeypatch, capsys, step):
    _job, host, folder, new = stage
    write = mover.write

    def killed(path, content):
        write(path, content)
        if path == mover.STATE and content["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(mover, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        mover.main(["lead"])
    monkeypatch.setattr(mover, "write", write)
    mover.thaw({})
    host.thaw()
    assert mover.main(["lead"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert state() == {"id": "old-new", "step": "done"}
    assert (new / "shop/media/x").read_text() == "x"
    assert pathlib.Path(report["kept"], "shop/media/x").read_text() == "x"
    assert host.on_new
    assert not host.frozen
    assert [path for path in folder.parent.iterdir() if path != folder] == [pathlib.Path(report["kept"])]


def killed_once_decided(monkeypatch):
    """Run until it is decided, and no further; the sites go on with the old place."""
    write = mover.write

    def killed(path, content):
        write(path, content)
        if path == mover.STATE and content["step"] == "switching":
            raise KeyboardInterrupt

    monkeypatch.setattr(mover, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        mover.main(["lead"])
    monkeypatch.setattr(mover, "write", write)


def test_what_is_written_between_the_decision_and_the_switch_of_a_later_run_is_never_missed(stage, monkeypatch, capsys):
    _job, host, folder, new = stage
    killed_once_decided(monkeypatch)
    host.thaw()
    (folder / "shop/media/between").write_text("between")
    switch, seen = host.switch, []
    host.switch = lambda: seen.append((host.frozen, (new / "shop/media/between").exists())) or switch()
    assert mover.main(["lead"]) == 0
    assert seen == [(True, True)]
    assert json.loads(capsys.readouterr().out)["files"] == 1


def test_the_same_move_after_a_way_back_copies_anew(stage, capsys):
    _job, host, folder, new = stage
    assert mover.main(["lead"]) == 0
    os.chmod(folder, 0o755)
    host.on_new = False
    (folder / "shop/media").mkdir(parents=True)
    (folder / "shop/media/second").write_text("second")
    assert mover.main(["lead"]) == 0
    assert (new / "shop/media/second").read_text() == "second"
    assert len(list(folder.parent.glob("media-kept-*/shop/media/second"))) == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda host, _folder, _new: setattr(host, "mounts", lambda: [("ext4", "/dev/vdb1")]), "only a plain folder can be handed over"),
        (lambda _host, _folder, new: (new / "shop").rename(new / "other"), "has no folder for the site shop"),
        (lambda _host, folder, _new: (folder / "shop/.ntier-move/old-new").mkdir(parents=True), "shows the folder of this host itself"),
    ],
)  # fmt: skip
def test_what_can_t_be_moved_is_refused_before_anybody_stops(stage, capsys, monkeypatch, prepare, sentence):
    _job, host, folder, new = stage
    monkeypatch.setattr(mover.Meeting, "open", lambda _self: None)
    prepare(host, folder, new)
    assert mover.main(["lead"]) == 1
    assert sentence in capsys.readouterr().err
    report = mover.read(mover.REPORT)
    assert (report["outcome"], report["id"]) == ("given back", "old-new")
    assert host.history == []
    assert (folder / "shop/media/x").exists()


# --- the way back to a web host -----------------------------------------------------------------------------------

BOUND = "60 29 254:0 /srv/media /srv/media rw shared:1 - ext4 /dev/vda1 rw\n"


def test_a_folder_that_is_mounted_on_itself_is_a_plain_one():
    assert mover.mounts_of(BOUND, "/srv/media") == []
    assert mover.mounts_of(BOUND.replace(" /srv/media /srv", " /media /srv"), "/srv/media") == []  # /srv is a disk
    assert mover.mounts_of(BOUND.replace(" /srv/media /srv", " /@media /srv"), "/srv/media") == [("ext4", "/dev/vda1")]
    assert mover.mounts_of(BOUND + MOUNTS, "/srv/media")[-1] == ("nfs4", "10.0.0.31:/srv/media")


@pytest.mark.parametrize(
    ("found", "there"),
    [
        ([], True),
        ([("ext4", "/dev/vdb1")], True),
        ([("autofs", "systemd-1")], False),
        ([("autofs", "systemd-1"), ("nfs4", "10.0.0.31:/srv/media")], False),
    ],
)
def test_a_host_knows_whether_it_uses_its_own_files(monkeypatch, found, there):
    home = mover.Home("/srv/media", "", [])
    monkeypatch.setattr(home, "mounts", lambda: found)
    assert home.there() is there


@pytest.mark.parametrize(
    ("covered", "before", "after"),
    [
        ([], [("daemon-reload",)], []),
        ([("nfs4", "10.0.0.30:/srv/media")], [], [("daemon-reload",), ("stop", "srv-media.mount")]),
    ],
)
def test_systemd_reads_the_new_units_before_anybody_is_stopped(tmp_path, monkeypatch, covered, before, after):
    """Unless it has the old place under the same name: what it mounts for whoever asks shall be that one until the verdict."""
    prepared, units = tmp_path / "prepared", tmp_path / "units"
    for folder in (prepared, units):
        folder.mkdir()
    for unit in mover.UNITS:
        (prepared / unit).write_text(unit)
    said, found = [], list(covered)

    def systemctl(*words):
        said.append(words)
        if "srv-media.mount" in words and words[0] == "start":
            found[:] = [("nfs4", "10.0.0.31:/srv/media")]

    monkeypatch.setattr(mover, "systemctl", systemctl)
    monkeypatch.setattr(mover, "mounted", lambda *_words, **_more: False)
    host = mover.Host("/srv/media", "10.0.0.31", [], units=str(units), prepared=str(prepared))
    monkeypatch.setattr(host, "mounts", lambda: list(found))
    host.ready()
    assert said == before
    said.clear()
    host.switch()
    assert said == [*after, ("start", "srv-media.automount", "srv-media.mount")]
    assert sorted(path.name for path in units.iterdir()) == sorted(mover.UNITS)


def test_a_folder_is_laid_bare_and_its_units_go_when_the_sites_go_on(tmp_path, monkeypatch):
    for unit in mover.UNITS:
        (tmp_path / unit).write_text("")
    found = [("autofs", "systemd-1"), ("nfs4", "10.0.0.31:/srv/media")]
    said = []
    monkeypatch.setattr(mover, "systemctl", lambda *words: said.append(words))
    monkeypatch.setattr(mover, "call", lambda *words: said.append(words) or (words[0] == "umount" and found.pop()))
    home = mover.Home("/srv/media", "", [], units=str(tmp_path))
    monkeypatch.setattr(home, "mounts", lambda: list(found))
    home.switch()
    assert said == [
        ("stop", "srv-media.automount"),
        ("stop", "srv-media.mount"),
        ("umount", "-l", "/srv/media"),
        ("umount", "-l", "/srv/media"),
        ("mount", "--bind", "/srv/media", "/srv/media"),
    ]
    said.clear()
    home.stay()
    assert said == [("disable", "srv-media.automount"), ("daemon-reload",)]
    assert list(tmp_path.iterdir()) == []
    home.stay()


@pytest.fixture
def home_stage(stage, tmp_path, monkeypatch):
    """Return what C(stage) does for the way back: the files are in the folder C(new), and come to an empty one."""
    job, host, folder, new = stage
    (folder / "shop/media/x").unlink()
    for name in ("shop/media", "shop"):
        (folder / name).rmdir()
    (new / "shop/media/x").write_text("x")
    monkeypatch.setattr(mover, "aside", lambda _job, _name: str(new))
    monkeypatch.setattr(mover, "Home", lambda *_words: host)
    pathlib.Path(mover.JOB).write_text(json.dumps({**job, "back": True, "old_server": "10.0.0.11"}))
    return host, folder, new


def test_the_files_come_back_and_stay_where_they_were_until_they_are_put_aside(home_stage, monkeypatch, capsys):
    host, folder, new = home_stage
    switch = host.switch

    def late():
        switch()
        (new / "shop/media/late").write_text("late")

    host.switch = late
    assert mover.main(["lead"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["outcome"], report["late"], report["files"]) == ("done", ["shop/media/late"], 1)
    assert (folder / "shop/media/x").read_text() == "x"
    assert (folder / "shop/media/late").read_text() == "late"
    assert (new / "shop/media/x").read_text() == "x"
    assert not host.frozen
    # Once more, though the old place is away now: what was done is said again.
    monkeypatch.setattr(mover, "aside", None)
    assert mover.main(["lead"]) == 0
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize(("followers", "looks"), [([], [1]), (["web2"], [2])])
def test_on_the_way_back_the_kernel_is_asked_where_nobody_else_writes(home_stage, monkeypatch, followers, looks):
    host, _folder, new = home_stage
    job = json.loads(pathlib.Path(mover.JOB).read_text())
    pathlib.Path(mover.JOB).write_text(json.dumps({**job, "followers": followers}))
    found = looks_before_the_switch(host, monkeypatch, new / "shop")
    monkeypatch.setattr(mover.Run, "_wait_present", lambda *_words: None)
    monkeypatch.setattr(mover.Run, "_wait_stopped", lambda *_words: "")
    monkeypatch.setattr(mover.Meeting, "names", lambda *_words: [*followers, "old"])
    monkeypatch.setattr(mover.Meeting, "rounds", lambda _meeting: 0)
    monkeypatch.setattr(mover.Meeting, "decided", lambda _meeting: "")
    assert mover.main(["lead"]) == 0
    assert found == looks


@pytest.mark.parametrize("step", ["copying", "switching", "switched", "done"])
def test_a_way_back_that_was_killed_at_a_step_is_gone_on_with(home_stage, monkeypatch, capsys, step):
    host, folder, _new = home_stage
    write = mover.write

    def killed(path, content):
        write(path, content)
        if path == mover.STATE and content["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(mover, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        mover.main(["lead"])
    monkeypatch.setattr(mover, "write", write)
    host.thaw()
    assert mover.main(["lead"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "done"
    assert state() == {"id": "old-new", "step": "done"}
    assert (folder / "shop/media/x").read_text() == "x"
    assert host.on_new


def test_nor_on_the_way_back(home_stage, monkeypatch):
    host, folder, new = home_stage
    killed_once_decided(monkeypatch)
    host.thaw()
    (new / "shop/media/between").write_text("between")
    switch, seen = host.switch, []
    host.switch = lambda: seen.append((host.frozen, (folder / "shop/media/between").exists())) or switch()
    assert mover.main(["lead"]) == 0
    assert seen == [(True, True)]


def test_a_host_that_has_its_own_files_fetches_none(home_stage, capsys):
    host, folder, _new = home_stage
    host.on_new = True
    assert mover.main(["lead"]) == 1
    assert "so there is nothing to fetch" in capsys.readouterr().err
    assert not (folder / "shop").exists()
    assert host.history == []


def test_what_was_fetched_is_put_aside_once(stage, monkeypatch, capsys):
    _job, _host, folder, _new = stage
    monkeypatch.setattr(mover, "mounted", lambda _folder: False)
    assert mover.main(["shelve"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert pathlib.Path(first["kept"], "shop/media/x").read_text() == "x"
    assert list(folder.iterdir()) == []
    assert mover.main(["shelve"]) == 0
    assert json.loads(capsys.readouterr().out) == {"changed": False, "kept": ""}
    monkeypatch.setattr(mover, "mounted", lambda _folder: True)
    assert mover.main(["shelve"]) == 1
    assert "only a plain folder can be put aside" in capsys.readouterr().err


@of("media_move/job.json.j2")
def test_on_the_way_back_the_target_leads():
    own = {"media_move_back": True, "media_move_followers": [], "inventory_hostname": "media1"}
    job = json.loads(render("media_move/job.json.j2", **own))
    assert (job["back"], job["old_server"], job["followers"]) == (True, "10.0.0.11", [])
    assert "ntier-media-move lead\n" in render("media_move/ntier-media-move.service.j2", **own)


def test_a_program_without_a_part_says_what_there_is(stage, capsys):
    assert mover.main([]) == 2
    assert "lead | follow" in capsys.readouterr().err


# --- what the role writes -----------------------------------------------------------------------------------------


@of("media_move/job.json.j2")
def test_every_host_is_told_the_same_but_its_name():
    job = json.loads(render("media_move/job.json.j2"))
    assert job == {
        "id": "box1-media1",
        "name": "box1",
        "server": "10.0.0.31",
        "old_server": "10.0.0.11",
        "back": False,
        "folder": "/srv/media",
        "sites": ["shop"],
        "followers": ["web2"],
        "bounds": {"pause": 2},
    }
    other = json.loads(render("media_move/job.json.j2", inventory_hostname="web2"))
    assert other == {**job, "name": "web2"}


def test_an_address_of_ipv6_is_written_as_mounts_have_it():
    target = {"name": "media1", "address": "fd00::31"}
    assert json.loads(render("media_move/job.json.j2", media_move_target=target))["server"] == "[fd00::31]"


@of("media_move/ntier-media-move.service.j2")
def test_a_host_has_its_part_and_lets_processes_go_on_when_the_program_is_killed():
    own = render("media_move/ntier-media-move.service.j2")
    assert "ExecStart=/usr/local/sbin/ntier-media-move lead\n" in own
    assert "ExecStopPost=/usr/local/sbin/ntier-media-move thaw\n" in own
    assert "Restart=on-abnormal\n" in own
    other = render("media_move/ntier-media-move.service.j2", inventory_hostname="web2")
    assert "ExecStart=/usr/local/sbin/ntier-media-move follow\n" in other


def test_the_role_and_the_program_agree_on_paths_and_bounds():
    variables = (ROOT / "roles/media_move/vars/main.yml").read_text()
    assert f"__media_move_configuration: {os.path.dirname(mover.JOB)}\n" in variables
    client = (ROOT / "roles/media_client/vars/main.yml").read_text()
    assert f"__media_client_next: {os.path.dirname(mover.JOB)}\n" in client
    for unit in mover.UNITS:
        assert f": {unit}\n" in client
    assert (
        f"media_move_pause_seconds: {mover.BOUNDS['pause']}\n"
        in (ROOT / "roles/media_move/defaults/main.yml").read_text()
    )


def test_the_program_speaks_python_3_9():
    source = (ROOT / "roles/media_move/files/media_move.py").read_text()
    ast.parse(source, feature_version=(3, 9))
