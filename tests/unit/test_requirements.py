"""What is installed is what was resolved: the real uv and pip, and indexes on this machine."""

import base64
import contextlib
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

from ansible_collections.ntier.django.plugins.module_utils import requirements
from ansible_collections.ntier.django.plugins.module_utils.requirements import RequirementError
from ansible_collections.ntier.django.plugins.modules.release_build import Builder, BuildError

UV = shutil.which("uv")
SECRET = "s3cret-of-the-index"


# --- reading ------------------------------------------------------------------------------------------------------


def write(folder, files):
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_requirement_file_is_read_with_those_that_it_names(tmp_path):
    write(
        tmp_path,
        {
            "r.txt": "# all\n-r more/base.txt\nDjango[argon2]==5.2 ; python_version > '3'  # why\n-f ./wheels\n--pre\n",
            "more/base.txt": "-c limits.txt\n--extra-index-url=https://b.example/simple\nidna==3.10 \\\n  --hash=sha256:aa \\\n  --hash sha256:bb\n-e ../lib\n",
            "more/limits.txt": "six<2\n-r ../r.txt\n",
        },
    )
    found = requirements.read(str(tmp_path / "r.txt"), str(tmp_path))
    assert [(entry.name, entry.text, entry.hashes) for entry in found.entries] == [
        ("idna", "idna==3.10", ["sha256:aa", "sha256:bb"]),
        (None, "-e ../lib", []),
        ("django", "Django[argon2]==5.2 ; python_version > '3'", []),
    ]
    assert found.entries[0].where == "more/base.txt, line 3"
    assert [entry.text for entry in found.constraints] == ["six<2"]
    assert found.options == [
        ("--extra-index-url", "https://b.example/simple"),
        ("--find-links", "./wheels"),
        ("--pre", ""),
    ]


@pytest.mark.parametrize(
    "option", ["--prefer-binary", "--use-feature=fast-deps", "--global-option x", "--proxy http://x"]
)
def test_an_option_that_would_get_lost_is_refused_by_name(tmp_path, option):
    write(tmp_path, {"a.txt": "-r b.txt\n", "b.txt": f"six\n{option}\n"})
    with pytest.raises(
        RequirementError, match=rf"b\.txt, line 2: the option {option.split('=')[0].split()[0]} is not supported"
    ):
        requirements.read(str(tmp_path / "a.txt"), str(tmp_path))


def test_a_file_at_an_address_is_refused_and_its_password_not_shown(tmp_path):
    write(tmp_path, {"a.txt": "-r https://me:hunter2@a.example/r.txt\n"})
    with pytest.raises(RequirementError, match=r"https://\*\*\*@a\.example/r\.txt") as error:
        requirements.read(str(tmp_path / "a.txt"))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a==1 --hash=sha256:aa\nb==2\n", "b==2 (r.txt, line 2) none"),
        ("--require-hashes\na==1\n", "a==1 (r.txt, line 2) none"),
        ("a==1 --hash=sha256:aa\n-e .\n", "-e . (r.txt, line 2) none"),
        ("a==1 --hash=sha256:aa\ngit+https://me:pw@h/x\n", "git+https://***@h/x (r.txt, line 2) none"),
        ("a==1 --hash=sha256:aa\n" + "".join(f"b{n}==1\n" for n in range(5)), "and 2 more none"),
    ],
)
def test_hashes_for_some_and_not_for_all_are_refused(tmp_path, text, named):
    write(tmp_path, {"r.txt": text})
    with pytest.raises(RequirementError) as error:
        requirements.hashes_of(requirements.read(str(tmp_path / "r.txt"), str(tmp_path)))
    assert named in str(error.value)


def test_a_constraint_may_bring_the_hash(tmp_path):
    write(tmp_path, {"r.txt": "a\n-c c.txt\n", "c.txt": "A==1 --hash=sha256:aa\n"})
    assert requirements.hashes_of(requirements.read(str(tmp_path / "r.txt"))) == {"a": ["sha256:aa"]}


# --- real programs ------------------------------------------------------------------------------------------------


def wheel(folder, name, version, where="", requires=()):
    """Make a wheel whose module says where it was made; return its hash."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\nWHERE = {where!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {item}\n" for item in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(zipfile.ZipInfo(inner, (2020, 1, 1, 0, 0, 0)), text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if "private" not in path.parts:  # an index that names no hashes, as some do
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{path.name}#sha256={digest}">{path.name}</a>\n')
    return f"sha256:{digest}"


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    """Serve three indexes and a folder of wheels: a public one that lures, a private one, one behind a password."""
    top = tmp_path_factory.mktemp("indexes")
    base = ("gunicorn", "pymemcache", "psycopg", "django", "idna", "lib")
    hashes = {name: wheel(top / "public" / name, name, "99.0", "public") for name in base}
    hashes["dep"] = wheel(top / "public/dep", "dep", "1.0", "public")
    hashes["needs"] = wheel(top / "public/needs", "needs", "1.0", "public", ["dep"])
    hashes["beta"] = wheel(top / "public/beta", "beta", "1.0b1", "public")
    wheel(top / "public/company", "company", "9.0", "public")
    wheel(top / "public/company", "company", "1.0", "public")
    hashes["company"] = wheel(top / "private/company", "company", "1.0", "private")
    wheel(top / "locked/company", "company", "1.0", "locked")
    hashes["links"] = wheel(top / "links", "company", "1.5", "links")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(top), **options)

        def do_GET(self):
            asked.append(self.path)
            want = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
            if self.path.startswith("/locked") and self.headers.get("Authorization") != want:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=x")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"at": f"127.0.0.1:{server.server_address[1]}", "hashes": hashes, "asked": asked, "folder": top}
    server.shutdown()
    server.server_close()


@pytest.fixture
def release(tmp_path, indexes, monkeypatch):
    """Return a function that builds a release of these files and returns where each package came from."""
    for name in ("PIP_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)

    def build(files, index="", **source):
        folder = tmp_path / "release"
        at = indexes["at"]
        (folder / "app").mkdir(parents=True)
        write(folder / "app", {name: text.replace("AT", at) for name, text in files.items()})
        site = {"name": "blog", "source": {"kind": "path", "location": "/x", "directory": "", "index": "", **source}}
        site |= {"settings": "blog.settings", "python": sys.executable, "requirements": "", "packages": []}
        builder = Builder(
            site,
            str(folder),
            UV,
            str(tmp_path / "pip"),
            str(tmp_path / "cache"),
            "blog.settings",
            index.replace("AT", at),
        )
        if "uv.lock" in files:
            (folder / "app/uv.lock").unlink()
            subprocess.run([UV, "lock", "-q", "--python", sys.executable], cwd=folder / "app", check=True)
            lock = (folder / "app/uv.lock").read_text()
            (folder / "app/uv.lock").write_text(lock.replace(*(files["uv.lock"].split() or ["", ""])))
        (tmp_path / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
        (tmp_path / "pip").chmod(0o755)
        builder.environment.update(PIP_CONFIG_FILE=os.devnull, UV_NO_CONFIG="")
        builder.environment.pop("UV_NO_CONFIG")
        try:
            builder.build()
        finally:
            for path in folder.iterdir():
                if path.is_file():
                    assert SECRET not in path.read_text()
        found = {}
        for path in folder.glob("venv/lib/*/site-packages/*.py"):
            with contextlib.suppress(KeyError):
                values = {}
                exec(path.read_text(), values)
                found[path.stem] = f"{values['VERSION']} {values['WHERE']}"
        return found

    return build


needs_uv = pytest.mark.skipif(not UV, reason="uv is not installed")
PUBLIC = "--index-url http://AT/public/\n"


@needs_uv
def test_a_file_with_the_right_hashes_is_installed(release, indexes):
    found = release({"requirements.txt": f"{PUBLIC}idna==99.0 --hash={indexes['hashes']['idna']}\n"})
    assert found["idna"] == "99.0 public"


@needs_uv
def test_a_wrong_hash_is_refused(release):
    with pytest.raises(BuildError, match=r"(?s)wheels: .*DO NOT MATCH THE HASHES"):
        release({"requirements.txt": f"{PUBLIC}idna==99.0 --hash=sha256:{'0' * 64}\n"})


@needs_uv
def test_a_wrong_hash_in_a_file_that_the_file_names_is_refused(release):
    files = {"requirements.txt": "-r base/all.txt\n", "base/all.txt": f"{PUBLIC}idna==99.0 --hash=sha256:{'0' * 64}\n"}
    with pytest.raises(BuildError, match="DO NOT MATCH THE HASHES"):
        release(files)


@needs_uv
def test_a_package_that_the_hashes_leave_out_is_refused(release, indexes):
    with pytest.raises(BuildError, match=r"they have hashes, and need dep==1\.0, of which they have none"):
        release({"requirements.txt": f"{PUBLIC}needs==1.0 --hash={indexes['hashes']['needs']}\n"})


@needs_uv
def test_some_hashes_are_refused_before_anything_is_asked(release, indexes):
    indexes["asked"].clear()
    with pytest.raises(BuildError, match="some have hashes"):
        release({"requirements.txt": f"{PUBLIC}idna==99.0 --hash=sha256:{'0' * 64}\nlib\n"})
    assert indexes["asked"] == []


@needs_uv
@pytest.mark.parametrize("line", ["--extra-index-url http://AT/private/", "--extra-index-url=http://AT/private"])
def test_what_the_private_index_has_never_comes_from_the_public_one(release, indexes, line):
    indexes["asked"].clear()
    found = release({"requirements.txt": f"{PUBLIC}{line}\ncompany\nlib\n"})
    assert (found["company"], found["lib"]) == ("1.0 private", "99.0 public")
    assert not [path for path in indexes["asked"] if path.startswith("/public/company/") and path.endswith(".whl")]


@needs_uv
def test_an_index_of_the_projects_own_configuration_counts_for_what_is_downloaded(release):
    pyproject = (
        "[project]\nname = 'x'\nversion = '1'\ndependencies = ['company', 'lib']\n"
        "[[tool.uv.index]]\nname = 'private'\nurl = 'http://AT/private/'\nexplicit = true\n"
        "[[tool.uv.index]]\nname = 'public'\nurl = 'http://AT/public/'\ndefault = true\n"
        "[tool.uv.sources]\ncompany = {index = 'private'}\n"
    )
    found = release({"pyproject.toml": pyproject})
    assert (found["company"], found["lib"]) == ("1.0 private", "99.0 public")


LOCKED = (
    "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.10'\ndependencies = ['company', 'lib']\n"
    "[[tool.uv.index]]\nname = 'private'\nurl = 'http://AT/private/'\nexplicit = true\n"
    "[[tool.uv.index]]\nname = 'public'\nurl = 'http://AT/public/'\ndefault = true\n"
    "[tool.uv.sources]\ncompany = {index = 'private'}\n"
)


@needs_uv
def test_what_uv_has_locked_comes_from_where_it_was_locked(release):
    found = release({"pyproject.toml": LOCKED, "uv.lock": ""})
    assert (found["company"], found["lib"]) == ("1.0 private", "99.0 public")


@needs_uv
def test_the_hashes_that_uv_has_locked_are_verified(release, indexes):
    wrong = f"{indexes['hashes']['lib']} sha256:{'0' * 64}"
    with pytest.raises(BuildError, match="DO NOT MATCH THE HASHES"):
        release({"pyproject.toml": LOCKED, "uv.lock": wrong})


@needs_uv
def test_find_links_are_followed(release):
    files = {"requirements.txt": f"{PUBLIC}--find-links http://AT/links/\ncompany==1.5\n"}
    assert release(files)["company"] == "1.5 links"


@needs_uv
def test_a_folder_of_wheels_in_the_source_is_found(release, indexes):
    folder = indexes["folder"]
    files = {
        "requirements.txt": f"{PUBLIC}-r base/x.txt\n",
        "base/x.txt": f"--find-links {folder}/links\ncompany==1.5\n",
    }
    assert release(files)["company"] == "1.5 links"


@needs_uv
def test_pre_releases_come_where_they_are_asked_for(release):
    assert release({"requirements.txt": f"{PUBLIC}--pre\nbeta\n"})["beta"] == "1.0b1 public"


@needs_uv
@pytest.mark.parametrize("way", ["file", "key"])
def test_a_password_opens_the_index_and_is_kept_out_of_lock_and_messages(release, way):
    address = f"http://me:{SECRET}@AT/locked/"
    line = f"--extra-index-url {address}\n" if way == "file" else ""
    found = release({"requirements.txt": f"{PUBLIC}{line}company\n"}, index=address if way == "key" else "")
    assert found["company"] == "1.0 locked"


@needs_uv
def test_a_password_that_does_not_open_the_index_is_not_shown(release):
    with pytest.raises(BuildError) as error:
        release({"requirements.txt": f"{PUBLIC}--extra-index-url http://me:{SECRET}@AT/nowhere/\nmissing-package\n"})
    assert SECRET not in str(error.value)
