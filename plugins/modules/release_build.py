#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build a release: resolve, wheels, virtual environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Turn a site's source into a release
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Resolves the project's requirements together with what every site needs, builds wheels of them once, and installs those and nothing else into
    a virtual environment of the release's own.
  - Each package is fetched from the index that it was resolved from, and has to have one of the hashes that the requirements name; without any, of
    those that the index named.
  - Packages that an earlier release of the site has installed from the same requirements are used again; see M(ntier.django.release_seal).
  - Where a package has to be compiled, and compiler, headers or programs of the distribution are missing, it returns which packages of the distribution
    have them. Install these and run it again.
  - Run it as the site's user, in a folder that belongs to it. What it leaves is complete, or it fails with the program's own last lines.
options:
  site:
    description: One entry of the list C(build) that M(ntier.django.release_state) returns.
    type: dict
    required: true
  folder:
    description: Folder of the release. The source lies in its sub-folder C(app).
    type: path
    required: true
  uv:
    description: Path of uv.
    type: path
    required: true
  pip:
    description: Path of pip, which builds the wheels.
    type: path
    required: true
  cache:
    description: Folder in which uv and pip keep what they have downloaded.
    type: path
    required: true
  settings:
    description: The site's settings module, where a project without requirements may hint at its version of Django.
    type: str
    default: ""
  index:
    description: Address of a further package index; it may have a password in it, which is not shown.
    type: str
    default: ""
    version_added: 1.2.0
  prebuilt:
    description:
      - Whether the folder has project and settings of another host's build already, so that only a virtual environment is made, of packages that this
        host has or of the wheels in the folder.
    type: bool
    default: false
attributes:
  check_mode:
    description: The module does nothing in check mode.
    support: none
"""

EXAMPLES = r"""
- name: Build the release
  ntier.django.release_build:
    site: "{{ __release_site }}"
    folder: "/srv/{{ __release_site.name }}/releases/{{ __release_site.release }}"
    uv: /opt/ntier/tools/bin/uv
    pip: /opt/ntier/tools/bin/pip
    cache: "/srv/{{ __release_site.name }}/cache"
  become: true
  become_user: "{{ __release_site.name }}"
"""

RETURN = r"""
requirements:
  description: Where the project's requirements were found.
  type: str
  returned: success
packages:
  description: How many packages the release has.
  type: int
  returned: success
shared:
  description: Whether an earlier release had the same packages, so that none has been installed.
  type: bool
  returned: success
wheels_missing:
  description: Whether nothing has been made, since this host has neither the packages nor wheels of them.
  type: bool
  returned: success
build_needs:
  description: Packages of the distribution without which nothing could be built; empty when the release is complete.
  type: list
  elements: str
  returned: success
linked:
  description: Packages of the distribution with libraries that packages compiled on the building host are linked to. Every host of the release needs them.
  type: list
  elements: str
  returned: when the release is complete
seconds:
  description: Step → seconds that it took.
  type: dict
  returned: success
"""

import glob  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import environments, lfs, releases, system_packages  # noqa: E402
from ansible_collections.ntier.django.plugins.module_utils import requirements as files  # noqa: E402

#: Runs every site that names no other: what comes first in PATH may be another one, without what the distribution's has.
SYSTEM_PYTHON = "/usr/bin/python3"
#: What a cache may have of lists of versions and the like, beside what was downloaded for one release and the next.
CACHE_BYTES = 64 << 20


#: In the folder of wheels: the packages of the distribution that they are linked to, a line each.
LINKED = "system-packages"


class BuildError(Exception):
    """A step of the build failed; the message says which and why.

    :ivar output: all that the program printed.
    """

    def __init__(self, message, output=""):
        super().__init__(message)
        self.output = output


class Builder:
    """One release in the making."""

    def __init__(self, site, folder, uv, pip, cache, settings, index=""):
        self.index = index or site["source"].get("index") or ""
        self.file, self.hashes, self.credentials = files.File(), {}, files.credentials_in(self.index)
        self.site, self.folder, self.uv, self.pip, self.settings = site, folder, uv, pip, settings
        self.app = os.path.join(folder, "app")
        self.project = os.path.join(folder, "project")
        self.lock = os.path.join(folder, "requirements.lock")
        self.wheels = os.path.join(folder, "wheels")
        self.python = os.path.join(folder, "venv/bin/python")
        self.seconds = {}
        self.caches = [os.path.join(cache, name) for name in ("uv", "pip")]
        home = os.path.dirname(cache)
        self.environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if key in ("PATH", "LANG", "http_proxy", "https_proxy", "no_proxy")
            },
            "HOME": home,
            "UV_CACHE_DIR": os.path.join(cache, "uv"),
            "UV_PYTHON_INSTALL_DIR": os.path.join(home, "python"),
            "UV_NO_PROGRESS": "1",
            "PIP_CACHE_DIR": os.path.join(cache, "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }

    def step(self, name, command, **environment):
        """Run a program with more variables of the environment; return its output, or raise with its last lines."""
        started = time.time()
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                cwd=self.project if os.path.isdir(self.project) else self.folder,
                env={**self.environment, **environment},
                timeout=1800,
                check=False,
            )
        except OSError as error:
            raise BuildError(f"{name}: {command[0]} can't be run: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{name}: {command[0]} was not done after half an hour") from error
        self.seconds[name] = round(self.seconds.get(name, 0) + time.time() - started, 1)
        if done.returncode:
            program = " ".join(
                [os.path.basename(command[0]), *[word for word in command[1:3] if not word.startswith(("-", "/"))]]
            )
            output = done.stderr + done.stdout
            said = files.masked(releases.last_lines(output))
            raise BuildError(f"{name}: {program} ended with exit status {done.returncode}:\n{said}", output)
        return done.stdout

    def link_project(self):
        """Point C(project) at the folder that Python imports the project from."""
        pointers = lfs.pointers(self.app) if self.site["source"]["kind"] == "git" else []
        if pointers:
            raise BuildError(
                f"source: {', '.join(pointers[:3])}{' and others' if pointers[3:] else ''} in the repository: a pointer of Git LFS, and not the file itself."
                " Add git-lfs to release_system_packages, so that git fetches the files"
            )
        directory = self.site["source"].get("directory") or ""
        target = os.path.join(self.app, directory)
        if not os.path.isdir(target):
            raise BuildError(f"source: it has no folder '{directory}'; correct source.directory")
        os.symlink(os.path.join("app", directory).rstrip("/"), self.project)

    def requirements(self):
        """Return how to tell uv the project's requirements, and where they were found."""
        if self.site["source"]["kind"] == "package":
            return self._write([self.site["source"]["location"]]), self.site["source"]["location"]
        if self.site.get("requirements"):
            path = self._find(self.site["requirements"])
            if not path:
                raise BuildError(
                    f"requirements: the source has no file {self.site['requirements']}; correct 'requirements' of the site"
                )
            return [path], self.site["requirements"]
        if self._find("uv.lock") and self._find("pyproject.toml"):
            path = os.path.join(self.folder, "exported.txt")
            self.step(
                "requirements",
                [
                    self.uv,
                    "export",
                    "--frozen",
                    "--no-dev",
                    "--no-emit-project",
                    "--project",
                    os.path.dirname(self._find("uv.lock")),
                    "-o",
                    path,
                ],
            )
            return [path], "uv.lock"
        for name in releases.REQUIREMENT_FILES:
            if self._find(name):
                return [self._find(name)], name
        pyproject = self._find("pyproject.toml")
        if pyproject and self._has_project(pyproject):
            return [pyproject], "pyproject.toml"
        for name in ("poetry.lock", "Pipfile.lock"):
            if self._find(name):
                raise BuildError(
                    f"requirements: {name} is not read; export it to requirements.txt, or name a file in 'requirements' of the site"
                )
        return self._write([releases.wanted_django(self._settings_text())]), "nothing, so Django alone"

    def _find(self, name):
        """Return a file of the project: of its own folder, or of the source's top."""
        for folder in (self.project, self.app):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
        return None

    @staticmethod
    def _has_project(path):
        with open(path, encoding="utf-8") as file:
            return re.search(r"^\[project\]", file.read(), flags=re.MULTILINE) is not None

    def _settings_text(self):
        path = os.path.join(self.project, *self.settings.split("."))
        for name in (f"{path}.py", os.path.join(path, "__init__.py")):
            if os.path.isfile(name):
                with open(name, encoding="utf-8", errors="replace") as file:
                    return file.read()
        return ""

    def _write(self, lines, name="requirements.in"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        return [path]

    def read(self, own):
        """Take over what the requirement files say of hashes and indexes."""
        for path in own:
            if not path.endswith((".toml", ".py", ".cfg")):
                file = files.read(path, self.app if path.startswith(f"{self.app}/") else os.path.dirname(path))
                # What uv exports has hashes wherever there can be one: a repository or a folder has none.
                wanted = files.hashes_of(file, complete=os.path.basename(path) != "exported.txt")
                for name, values in wanted.items():
                    self.hashes.setdefault(name, []).extend(values)
                self.file.options += file.options
                self.file.entries += file.entries
        for name in ("pyproject.toml", "uv.toml"):
            if self._find(name):
                self._note_credentials(self._find(name))
        for path in own:
            self._note_credentials(path)
        for _option, value in self.file.options:
            self.credentials.update(files.credentials_in(value))

    def _note_credentials(self, path):
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                self.credentials.update(files.credentials_in(file.read()))

    def _place(self, own):
        """Return the exported requirements as files that also say which index uv.lock took each of them from."""
        with open(self._find("uv.lock"), encoding="utf-8") as file:
            places = files.registries(file.read())
        placed = [entry for entry in self.file.entries if entry.name in places]
        if not placed:
            return own
        rest = [entry.text for entry in self.file.entries if entry.name not in places]
        os.makedirs(os.path.join(self.folder, "locked"), exist_ok=True)
        text = files.pinned_project(placed, places, self.credentials)
        return self._write(text.splitlines(), "locked/pyproject.toml") + (
            self._write(rest, "exported.in") if rest else []
        )

    def _compile(self, lock):
        """Return the command that resolves requirements to a lock file, which says where each package comes from."""
        command = [
            self.uv,
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--generate-hashes",
            "--emit-index-annotation",
            "--emit-index-url",
            "--emit-find-links",
            "--emit-build-options",
            "--python",
            self.python,
            "--output-file",
            lock,
        ]
        command += ["--prerelease", "allow"] if self.file.values("--pre") else []
        for host in self.file.values("--trusted-host"):
            command += ["--trusted-host", host]
        if files.passwords_in(self.index):
            self.environment["UV_INDEX"] = self.index  # not where every user of the host can read it
        elif self.index:
            command += ["--index", self.index]
        return command

    def _check_complete(self, own):
        """Fail when hashes are asked for, and a package that the requirements need is not among them."""
        lock = os.path.join(self.folder, "own.in")
        self.step("resolve", self._compile(lock) + own)
        with open(lock, encoding="utf-8") as file:
            lock = files.read_lock(file.read())
        missing = sorted(entry.text for entry in lock.entries if not set(entry.keys) & set(self.hashes))
        if missing:
            raise BuildError(
                f"requirements: they have hashes, and need {', '.join(missing)}, of which they have none. Add what is missing with"
                " its hash, as 'uv pip compile --generate-hashes' does"
            )

    def resolve(self, own):
        """Write the lock file: the project's own requirements first, then with what it lacks to run here."""
        self.read([path for path in own if os.path.isfile(path)])
        command = self._compile(self.lock)
        if any(os.path.basename(path) == "exported.txt" for path in own):
            own = self._place(own)
        elif self.hashes:
            self._check_complete(own)
        extra = self._write([*releases.base_packages(self.site), *(self.site.get("packages") or [])], "base.in")
        self.step("resolve", command + own + extra)
        with open(self.lock, encoding="utf-8") as file:
            lock = file.read()
        driver = releases.driver_for(lock)
        if driver:
            self.step("resolve", command + own + extra + self._write([driver], "driver.in"))
        with open(self.lock, encoding="utf-8") as file:
            return len(releases.package_names(file.read()))

    def _wanted(self, lock):
        """Return the lock with the hashes of the user's own files where they have some."""
        for entry in lock.entries:
            entry.hashes = next((self.hashes[key] for key in entry.keys if key in self.hashes), entry.hashes)
        return lock

    def build_wheels(self):
        """Fetch each package from where it was resolved, or fail; build what is no wheel yet."""
        with open(self.lock, encoding="utf-8") as file:
            lock = self._wanted(files.read_lock(file.read()))
        for number, (text, hashed) in enumerate(files.batches(lock, self.credentials, self.file)):
            (path,) = self._write(text.splitlines(), f"wheels{number}.in")
            wheel = [self.pip, "--python", self.python, "wheel", "--quiet", "--no-deps"]
            wheel += ["--require-hashes"] if hashed else []
            self.step("wheels", [*wheel, "--wheel-dir", self.wheels, "--requirement", path])

    def build(self):
        """Do all steps; return what the module returns."""
        try:
            return self._build()
        except files.RequirementError as error:
            raise BuildError(str(error)) from error
        finally:
            # Addresses in them may have passwords.
            self._clean_lock()
            shutil.rmtree(os.path.join(self.folder, "locked"), ignore_errors=True)
            for path in glob.glob(os.path.join(self.folder, "*.in")) + glob.glob(
                os.path.join(self.folder, "exported.txt")
            ):
                os.unlink(path)

    def _clean_lock(self):
        """Keep of the lock file what was chosen, with the hashes that counted, and not the options that led there."""
        if os.path.isfile(self.lock):
            with open(self.lock, encoding="utf-8") as file:
                lock = self._wanted(files.read_lock(file.read()))
            with open(self.lock, "w", encoding="utf-8") as file:
                file.write(files.write_lock(lock))

    def _build(self):
        # What is left of a build that lacked packages of the distribution.
        for path in (self.wheels, os.path.dirname(os.path.dirname(self.python))):
            shutil.rmtree(path, ignore_errors=True)
        if os.path.islink(self.project):
            os.unlink(self.project)
        self.link_project()
        self.make_environment()
        own, found = self.requirements()
        count = self.resolve(own)
        key = self.key()
        shared = environments.is_whole(self.folder, key)
        if key:
            environments.write_key(self.folder, key)
        if shared:
            environments.use(self.folder, key)
        else:
            self.build_wheels()
            self.install_wheels()
            linked = system_packages.linked(self.wheels, os.path.join(self.folder, "venv"))
            self._write(linked, os.path.join("wheels", LINKED))
        return self._finish(found, count, shared)

    def key(self):
        """Return the key of the packages that the lock file asks for, None if no other release may use them."""
        with open(self.lock, encoding="utf-8") as file:
            lock = self._wanted(files.read_lock(file.read()))
        python = self.step("environment", [self.python, "-c", environments.IDENTITY])
        return environments.key_of(lock, [*lock.options, *self.file.options], python)

    def install(self):
        """Make an environment of what another host has built; return what the module returns."""
        key = environments.read_key(self.folder)
        shared = environments.is_whole(self.folder, key)
        if not shared and not glob.glob(os.path.join(self.wheels, "*.whl")):
            return {"wheels_missing": True, "seconds": self.seconds}
        self.make_environment()
        if shared:
            environments.use(self.folder, key)
        else:
            self.install_wheels()
        return self._finish("the leader's wheels", len(glob.glob(os.path.join(self.wheels, "*.whl"))), shared)

    def _finish(self, found, count, shared):
        """Compile the project's code, and return what the module returns."""
        # The running site can't write next to its code, so what Python would keep there is made now. Code that this Python
        # can't compile may be a template or a test; if it matters, the check of the settings says so.
        subprocess.run(
            [self.python, "-m", "compileall", "-q", self.app],
            cwd=self.folder,
            capture_output=True,
            timeout=600,
            check=False,
        )
        wheels = glob.glob(os.path.join(self.wheels, "*.whl"))
        self.bound_caches(2 * sum(os.path.getsize(wheel) for wheel in wheels) + CACHE_BYTES)
        result = {"requirements": found, "packages": count, "seconds": self.seconds}
        return {**result, "shared": shared, "wheels_missing": False, "build_needs": [], "linked": self.linked()}

    def linked(self):
        """Return the packages of the distribution that the wheels are linked to."""
        try:
            with open(os.path.join(self.wheels, LINKED), encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def make_environment(self):
        """Make an empty virtual environment."""
        python = self.site.get("python") or "python3"
        python = SYSTEM_PYTHON if python == "python3" else python
        self.step("environment", [self.uv, "venv", "--quiet", "--python", python, os.path.join(self.folder, "venv")])

    def install_wheels(self):
        """Install the wheels and nothing else."""
        # The wheels by name, and not the lock file: it may name folders of the source and repositories, which are wheels by now.
        wheels = sorted(glob.glob(os.path.join(self.wheels, "*.whl")))
        install = [self.uv, "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--compile-bytecode"]
        # uv unpacks a wheel for each path that it finds it under, so what it caches here is of no use to another release. In the
        # release's own folder the environment has its files by hard links, and loses nothing with the cache.
        unpacked = os.path.join(self.folder, "unpacked")
        self.step("install", [*install, "--python", self.python, *wheels], UV_CACHE_DIR=unpacked)
        shutil.rmtree(unpacked, ignore_errors=True)

    def bound_caches(self, most):
        """Start a cache anew that has grown beyond a number of bytes: the next release downloads once more what it needs."""
        for folder in self.caches:
            if releases.bytes_in(folder) > most:
                shutil.rmtree(folder, ignore_errors=True)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "dict", "required": True},
            "folder": {"type": "path", "required": True},
            "uv": {"type": "path", "required": True},
            "pip": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "settings": {"type": "str", "default": ""},
            "index": {"type": "str", "default": ""},
            "prebuilt": {"type": "bool", "default": False},
        },
    )
    for word in files.passwords_in(module.params.get("index")):
        module.no_log_values.add(word)
    os.umask(0o027)
    prebuilt = module.params.pop("prebuilt")
    builder = Builder(**module.params)
    try:
        result = builder.install() if prebuilt else builder.build()
    except BuildError as error:
        needs = [] if prebuilt else system_packages.missing(system_packages.needed(error.output))
        if needs:
            module.exit_json(changed=True, build_needs=needs, seconds=builder.seconds)
        module.fail_json(msg=str(error), seconds=builder.seconds)
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
