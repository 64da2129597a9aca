# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site's source folder on the controller: which files belong to it, and a name for exactly this content."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pwd
import re
import stat
import subprocess
import tarfile
import typing as t

from ansible_collections.ntier.django.plugins.module_utils import lfs

#: Never part of a project: what tools, and Django's own development server, leave behind in it.
JUNK_FOLDERS = {
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".idea",
    ".vscode",
}
JUNK_ENDINGS = (".pyc", ".pyo", ".swp", ".sqlite3", "~")
#: Ansible's own, whoever's inventory it belongs to: on a web host it would only be a leak.
ANSIBLE_FOLDERS = {"group_vars", "host_vars", ".ansible", "ansible_collections"}
ANSIBLE_FILES = re.compile(r"ansible\.cfg|\.?(ansible[._-]?)?vault[._-]?pass(word|wd)?([._-].*)?", re.IGNORECASE)
#: What an inventory in use is called in messages, and in the paths that the lookup C(private_paths) returns.
INVENTORY = "the inventory"

#: Folders of the system itself. A project lies below one of them, but is none.
_SYSTEM_FOLDERS = {
    "/",
    *(f"/{name}" for name in ("bin", "boot", "dev", "etc", "home", "lib", "opt", "proc", "root", "run", "sbin", "srv")),
    *("/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/www", "/usr/local", "/Users"),
}
#: Variables that lead git to another repository than the one that the folder lies in, as in a hook.
_MISLEADING = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CEILING_DIRECTORIES",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
}
#: git ends well after these, but what it prints is not the whole truth.
_GIT_DOUBTS = re.compile(r"^(?:warning|error): (?:could not open directory|unable to access) .*", re.MULTILINE)

_VAULT = b"$ANSIBLE_VAULT;"
_OPENSSH_KEY = re.compile(rb"\s*-----BEGIN OPENSSH PRIVATE KEY-----")
#: The secrets of a cluster in whatever file, such as a copy that somebody kept.
_SECRETS = re.compile(rb"^[ \t]*[\"']?ntier_(?:secrets|cluster)[\"']?[ \t]*:", re.MULTILINE)
_SECRET = re.compile(rb"\b(?:authority_key|secret_key|database_password)[\"']?[ \t]*:")
#: Files of an inventory that is not in use in this run. Looked for only where inventories keep their text.
_INVENTORY_ENDINGS = ("", ".yml", ".yaml", ".json", ".ini", ".toml")
_INVENTORY = re.compile(
    rb"^[ \t]*[\"']?ntier_sites[\"']?[ \t]*:"
    rb"|^[ \t]*\$ANSIBLE_VAULT;1\.\d"
    rb"|\bansible_(?:host|connection|user|password|ssh_pass|ssh_private_key_file|become_pass|become_password)[\"']?[ \t]*[:=]",
    re.MULTILINE,
)
#: Larger files hold no secrets of this kind, and reading them takes a while.
_LARGEST = 1 << 20


class SourceError(Exception):
    """The folder can't be released: C(what) is wrong with it, and the C(fix)."""

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(f"{what}. {fix}.")


@dataclasses.dataclass
class Content:
    """The files of a project, and those that look as if they belonged to it but must not leave the controller."""

    #: Relative and sorted.
    names: list[str]
    #: Name → what it is, for files that are known by their name or content alone. A user wants to hear of them.
    guessed: dict[str, str]


def look(folder: str, private: t.Mapping[str, str] | None = None) -> Content:
    """Return which files of a folder on the controller make up a project.

    In a git work tree these are the files that git tracks or would offer to track, so that F(.gitignore) is respected;
    elsewhere all but what tools leave behind. What belongs to Ansible and not to the project is left out.

    :arg private: files and folders that never belong to a release, path → what it is; the lookup C(private_paths) knows them.
    :raises SourceError: when the folder can't be a project's, or its files can't be told apart.
    :raises OSError: when the folder can't be read.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder} is no folder")
    _check_place(folder)
    known, around = _identities(folder, private or {})
    result = Content([], {})
    seen: dict[str, str | None] = {}
    for name in project_files(folder):
        what = _known(folder, name, known, seen)
        if what is not None:
            if around and what == INVENTORY:
                raise SourceError(
                    f"{folder} lies in the inventory {around}, and Ansible reads {os.path.join(folder, name)} as a part of it",
                    "Move the project out of that folder, or name the inventory's file with -i instead of its folder",
                )
            continue
        what = _guess(folder, name)
        if what is not None:
            result.guessed[name] = what
            continue
        _check_content(folder, name)
        result.names.append(name)
    return result


def files_of(folder: str, private: t.Mapping[str, str] | None = None) -> list[str]:
    """Return the files of a project folder, relative and sorted; see L(look)."""
    return look(folder, private).names


def project_files(folder: str) -> list[str]:
    """Return the files of a folder, relative and sorted, whether they may leave the controller or not."""
    names = _git_files(folder)
    if names is None:
        names = walk(folder)
    for name in [name for name in names if _is_folder(os.path.join(folder, name))]:  # a repository inside this one
        names.remove(name)
        names += [os.path.join(name, inner) for inner in project_files(os.path.join(folder, name))]
    return _own(folder, names)


def walk(folder: str) -> list[str]:
    """Return all files of a folder but what tools leave behind, relative; a git repository inside it as the folder that it is."""

    def fail(error: OSError) -> None:
        raise error

    names = []
    for path, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name not in JUNK_FOLDERS]
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        inner = [name for name in folders if name not in links and os.path.lexists(os.path.join(path, name, ".git"))]
        folders[:] = [name for name in folders if name not in inner]
        names += [os.path.relpath(os.path.join(path, name), folder) for name in [*files, *links, *inner]]
    return names


def _own(folder: str, names: t.Iterable[str]) -> list[str]:
    names = set(names)
    # Virtual environments, whatever they are called.
    junk = tuple(name.removesuffix("pyvenv.cfg") for name in names if name.endswith("/pyvenv.cfg"))
    return sorted(
        name
        for name in names
        if not name.endswith(JUNK_ENDINGS) and not name.startswith(junk) and os.path.lexists(os.path.join(folder, name))
    )


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


# --- git ----------------------------------------------------------------------------------------------------------


def _git(folder: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git for the repository that the folder lies in, whatever the environment says of another one."""
    environment = {key: value for key, value in os.environ.items() if key not in _MISLEADING}
    environment |= {"LC_ALL": "C", "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False, env=environment)


def _repository(folder: str) -> str | None:
    """Return the nearest F(.git) of the folder or of one above it; git may or may not take it for a repository."""
    path = os.path.realpath(folder)
    while True:
        marker = os.path.join(path, ".git")
        if os.path.lexists(marker):
            return marker
        if all(os.path.exists(os.path.join(path, name)) for name in ("HEAD", "objects", "refs")):
            raise SourceError(
                f"{folder} lies in the bare git repository {path}, which has no files of a project",
                "Clone it and name the clone, or give its address as source.git",
            )
        if path == os.path.dirname(path):
            return None
        path = os.path.dirname(path)


def _git_files(folder: str) -> list[str] | None:
    """Return what git tracks or would track of the folder; None where there is no repository.

    :raises SourceError: when there is one and git does not answer: then nobody knows what it ignores.
    """
    marker = _repository(folder)
    if marker is None:
        return None
    try:
        done = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except OSError as error:
        raise SourceError(
            f"{folder} lies in a git repository ({marker}), but git can't be run on this controller: {error.strerror}."
            " Without it nobody knows which files git ignores",
            "Install git on this controller",
        ) from error
    words = done.stderr.decode(errors="replace")
    doubt = _GIT_DOUBTS.search(words)
    if done.returncode or doubt:
        raise SourceError(*_refusal(folder, marker, doubt.group() if doubt and not done.returncode else words))
    if not done.stdout and not os.path.samefile(folder, os.path.dirname(marker)):
        ignored = _git(folder, "check-ignore", "-v", "--", os.path.realpath(folder))
        if ignored.returncode == 0:
            rule = ignored.stdout.decode(errors="replace").split("\t")[0]
            raise SourceError(
                f"git ignores {folder} as a whole ({rule}), so nobody knows which of its files belong to the project",
                "Take it out of that file, run 'git init' in it, or move it out of the repository",
            )
    # ./ is a submodule that is not there
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name not in (b"", b"./")]


def _refusal(folder: str, marker: str, words: str) -> tuple[str, str]:
    """Return what is wrong and the fix where git has an answer, but not the one that was asked for."""
    lines = [re.sub(r"^(?:fatal|error|warning): ", "", line.strip()) for line in words.splitlines() if line.strip()]
    what = f"{folder} lies in a git repository ({marker}), but git does not list its files: "
    if "dubious ownership" in words:
        named = re.search(r"git config --global --add safe\.directory (.+)", words)
        place = named.group(1).strip() if named else os.path.dirname(marker)
        return what + lines[0], f"If you trust it, run: git config --global --add safe.directory {place}"
    return (
        what + (" ".join(lines[:3]) or "it says nothing"),
        f"Make 'git -C {folder} status' work; if this is no repository, remove {marker}",
    )


def _tracked(path: str) -> bool:
    """Return whether git tracks a file."""
    try:
        done = _git(os.path.dirname(path), "--literal-pathspecs", "ls-files", "--error-unmatch", "--", path)
    except OSError:
        return False
    return done.returncode == 0


# --- what must not leave the controller ---------------------------------------------------------------------------


def _check_place(folder: str) -> None:
    """Raise when the folder is no project's, but a person's or the system's."""
    path = os.path.realpath(folder)
    fix = "Name the folder that has manage.py, or the git repository that it lies in"
    if path in _SYSTEM_FOLDERS:
        raise SourceError(f"{folder} is a folder of the system, and not of a project", fix)
    homes = {os.path.realpath(os.path.expanduser("~"))}
    with contextlib.suppress(KeyError):  # a user without an account, as in some containers
        homes.add(os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir))
    for home in homes - {"/"}:
        if home == path:
            raise SourceError(f"{folder} is the home directory {home}", fix)
        if home.startswith(path.rstrip("/") + "/"):
            raise SourceError(f"{folder} holds the home directory {home}", fix)
    if os.path.isdir(os.path.join(path, ".ssh")):
        raise SourceError(f"{folder} has a folder .ssh, as home directories have", fix)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _identities(folder: str, private: t.Mapping[str, str]) -> tuple[dict[tuple[int, int], str], str | None]:
    """Return what is private by the number of its inode, so that no link and no spelling hides it.

    :return: the numbers with what they are; and the inventory that the folder itself lies in.
    """
    above = {}
    path = os.path.realpath(folder)
    while True:
        above[_identity(path)] = path
        if path == os.path.dirname(path):
            break
        path = os.path.dirname(path)
    own = _identity(folder)
    known: dict[tuple[int, int], str] = {}
    around = None
    for path, what in private.items():
        number = _identity(path)
        if number is None:
            continue
        if number in above:
            if what == INVENTORY and number == own:
                raise SourceError(
                    f"{folder} is the inventory, too: Ansible reads every file in it, so the project can't be told from it",
                    "Name the inventory's file with -i instead of its folder, or move the inventory to a folder of its own",
                )
            around = path if what == INVENTORY else around
            continue
        known.setdefault(number, what)
    return known, around


def _known(folder: str, name: str, known: t.Mapping[tuple[int, int], str], seen: dict[str, str | None]) -> str | None:
    """Return what a file is that the run itself uses, or None.

    :arg seen: the folders that were asked for before, with the answer.
    """
    status = os.lstat(os.path.join(folder, name))
    found = known.get((status.st_dev, status.st_ino))
    above = os.path.dirname(name)
    if found is None and above:
        if above not in seen:
            seen[above] = _known(folder, above, known, seen)
        found = seen[above]
    return found


def _guess(folder: str, name: str) -> str | None:
    """Return what a file is that belongs to Ansible by its name or content, or None.

    :raises SourceError: for what may belong to the project or to the person who runs this.
    """
    parts = name.split("/")
    for part in parts[:-1]:
        if part in ANSIBLE_FOLDERS:
            return f"Ansible's folder {part}"
    if ANSIBLE_FILES.fullmatch(parts[-1]):
        return "a file of Ansible's"
    path = os.path.join(folder, name)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    with open(path, "rb") as file:
        head = file.read(_LARGEST)
        whole = not file.read(1)
    if head.startswith(_VAULT):
        return "encrypted with Ansible's vault"
    if _OPENSSH_KEY.match(head) and not _tracked(path):
        raise SourceError(
            f"{path} is a private key of SSH, which a release would bring to every web host",
            "Move it out of the folder or let git ignore it; if the project itself uses it, let git track it",
        )
    if whole and _SECRETS.search(head) and _SECRET.search(head):
        return "secrets of a cluster"
    if whole and os.path.splitext(name)[1].lower() in _INVENTORY_ENDINGS and _INVENTORY.search(head):
        return "a file of an inventory"
    return None


def _check_content(folder: str, name: str) -> None:
    """Raise for a file that stands for another one, which would not come to the web hosts with it."""
    path = os.path.join(folder, name)
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        leaves = os.path.isabs(target) or os.path.normpath(os.path.join(os.path.dirname(name), target)).startswith("..")
        # One that leads nowhere here does not lead to less elsewhere.
        if leaves and os.path.exists(path):
            inside = os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/")
            raise SourceError(
                f"{path} is a link to {target}, which leads out of the project's folder and nowhere on a web host",
                "Make it a relative link that stays in the folder"
                if inside
                else "Put the files themselves in its place, or let git ignore it. Where both lie in one repository, name its top as source.path"
                " and the project's folder in it as source.directory",
            )
    elif stat.S_ISREG(status.st_mode) and status.st_size < lfs.LARGEST and lfs.is_pointer(path):
        raise SourceError(
            f"{path} is a pointer of Git LFS, and not the file itself",
            f"Run 'git lfs pull' in {folder}, which fetches the files",
        )


# --- the content --------------------------------------------------------------------------------------------------


def digest(folder: str, private: t.Mapping[str, str] | None = None) -> str:
    """Return twelve hexadecimal digits that stand for names, modes and content of a project folder's files."""
    return digest_of(folder, files_of(folder, private))


def digest_of(folder: str, names: t.Iterable[str]) -> str:
    """Return twelve hexadecimal digits that stand for names, modes and content of these files of a folder."""
    total = hashlib.sha256()
    for name in names:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        total.update(os.fsencode(name) + b"\0" + (b"x" if status.st_mode & stat.S_IXUSR else b"-"))
        if stat.S_ISLNK(status.st_mode):
            total.update(b"l" + os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                total.update(hashlib.sha256(file.read()).digest())
    return total.hexdigest()[:12]


def plain_digest(folder: str) -> str:
    """Return the same for a folder that is no project's, such as one of the collection: all of its files."""
    return digest_of(folder, _own(folder, walk(folder)))


def pack(folder: str, archive: t.BinaryIO, private: t.Mapping[str, str] | None = None) -> int:
    """Write a gzipped tar of a project folder's files, owned by root, and return how many there are."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if entry.mode & stat.S_IXUSR else 0o644
        return entry

    names = files_of(folder, private)
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=3) as tar:
        for name in names:
            tar.add(os.path.join(folder, name), arcname=name, recursive=False, filter=neutral)
    return len(names)
