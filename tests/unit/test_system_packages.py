"""What of the distribution a build lacks, from what compilers and their kin print; and what its result is linked to."""

import subprocess
import zipfile

import pytest

from ansible_collections.ntier.django.plugins.module_utils import system_packages
from ansible_collections.ntier.django.plugins.modules import release_build
from ansible_collections.ntier.django.plugins.modules.release_build import BuildError


@pytest.mark.parametrize(
    ("output", "package"),
    [
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "build-essential"),
        ("error: command '/usr/bin/aarch64-linux-gnu-g++' failed: No such file or directory", "build-essential"),
        ("unable to execute 'gcc': No such file or directory", "build-essential"),
        ("ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]", "build-essential"),
        ("CMake Error at CMakeLists.txt:2: No CMAKE_CXX_COMPILER could be found.", "build-essential"),
        ("error: linker `cc` not found", "build-essential"),
        ("src/_mod.c:11:10: fatal error: Python.h: No such file or directory", "python3-dev"),
        ("Error: pg_config executable not found.", "libpq-dev"),
        ("couldn't run 'pg_config' --includedir: [Errno 2] No such file or directory: 'pg_config'", "libpq-dev"),
        ("./psycopg/psycopg.h:36:10: fatal error: libpq-fe.h: No such file or directory", "libpq-dev"),
        ("/usr/bin/ld: cannot find -lpq: No such file or directory", "libpq-dev"),
        ("Package 'libpq', required by 'virtual:world', not found", "libpq-dev"),
        ("/bin/sh: 1: mysql_config: not found", "default-libmysqlclient-dev"),
        ("Exception: Can not find valid pkg-config name.\n  Specify MYSQLCLIENT_CFLAGS", "default-libmysqlclient-dev"),
        ("Error: Please make sure the libxml2 and libxslt development packages are installed.", "libxml2-dev"),
        ("Error: Please make sure the libxml2 and libxslt development packages are installed.", "libxslt1-dev"),
        ("The headers or library files could not be found for jpeg,", "libjpeg-dev"),
        ("__main__.RequiredDependencyException: zlib", "zlib1g-dev"),
        ("Modules/common.h:15:10: fatal error: lber.h: No such file or directory", "libldap2-dev"),
        ("fatal error: 'sasl/sasl.h' file not found", "libsasl2-dev"),
        (
            "Could not run curl-config: [Errno 2] No such file or directory: 'curl-config'",
            "libcurl4-openssl-dev",
        ),
        ("Package cairo was not found in the pkg-config search path.", "libcairo2-dev"),
        ("No package 'xmlsec1' found", "libxmlsec1-dev"),
        ('../meson.build:31:12: ERROR: Dependency "openblas" not found, tried pkgconfig', "libopenblas-dev"),
        ("Could NOT find OpenSSL, try to set the path", "libssl-dev"),
        ("error: can't find Rust compiler", "cargo"),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", "cargo"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "cmake"),
        ("/bin/sh: 1: krb5-config: not found", "libkrb5-dev"),
        ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory", "libffi-dev"),
    ],
)
def test_what_a_build_lacks_is_known_from_its_output(output, package):
    found = system_packages.needed(f"  building 'x' extension\n  {output}\n  error: subprocess-exited-with-error\n")
    assert package in found
    assert set(system_packages.BASE) <= set(found)


@pytest.mark.parametrize(
    "output",
    [
        "",
        "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'",
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
        "ModuleNotFoundError: No module named 'numpy'",
        "src/x.c:3:10: fatal error: ours/private.h: No such file or directory",
        "src/x.c:30:1: error: expected ';' before 'return'",
    ],
)
def test_a_build_that_fails_for_something_else_asks_for_nothing(output):
    assert system_packages.needed(output) == []


def test_only_what_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setattr(
        system_packages,
        "_query",
        lambda *_arguments: "gcc install ok installed\npkg-config deinstall ok config-files\n",
    )
    assert system_packages.missing(["gcc", "pkg-config", "python3-dev"]) == ["pkg-config", "python3-dev"]
    assert system_packages.missing([]) == []


def test_libraries_count_of_what_was_compiled_here(tmp_path, monkeypatch):
    """A wheel for every Linux has its libraries in it."""
    wheels, packages = tmp_path / "wheels", tmp_path / "venv/lib/python3.13/site-packages"
    wheels.mkdir()
    packages.mkdir(parents=True)
    for name, inside in {
        "ours-1-cp313-cp313-linux_x86_64.whl": "ours/_c.so",
        "theirs-1-cp313-cp313-manylinux_2_17_x86_64.whl": "theirs/_t.so",
    }.items():
        with zipfile.ZipFile(wheels / name, "w") as archive:
            archive.writestr(inside, "")
        (packages / inside).parent.mkdir()
        (packages / inside).touch()
    asked = []

    def run(command, **_options):
        asked.append(command[-1])
        if command[0] == "ldd":
            said = "\tlinux-vdso.so.1 (0x7)\n\tlibpq.so.5 => /lib/libpq.so.5 (0x7)\n\tlibssl.so.3 => /lib/libssl.so.3 (0x7)\n"
        elif command[0] == "objdump":
            said = "Dynamic Section:\n  NEEDED               libpq.so.5\n"
        else:
            said = "libpq5:amd64: /usr/lib/libpq.so.5\n"
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(system_packages.subprocess, "run", run)
    assert system_packages.linked(str(wheels), str(tmp_path / "venv")) == ["libpq5"]
    assert asked[0] == str(packages / "ours/_c.so")
    assert not any("theirs" in word for word in asked)


@pytest.mark.parametrize(("installed", "ends"), [([], "exit"), (["gcc"], "fail")])
def test_the_module_asks_for_what_is_missing_and_fails_when_nothing_is(monkeypatch, tmp_path, installed, ends):
    class Ended(Exception):
        pass

    class Module:
        def __init__(self, argument_spec):
            given = {"site": {"source": {}}, "folder": str(tmp_path), "uv": "/opt/uv", "pip": "/opt/pip"}
            given["cache"] = str(tmp_path / "cache")
            self.no_log_values = set()
            self.params = {name: given.get(name, spec.get("default")) for name, spec in argument_spec.items()}

        def exit_json(self, **result):
            raise Ended("exit", result)

        def fail_json(self, **result):
            raise Ended("fail", result)

    def build(_self):
        raise BuildError("wheels: it failed", "unable to execute 'gcc': No such file or directory")

    monkeypatch.setattr(release_build, "AnsibleModule", Module)
    monkeypatch.setattr(release_build.os, "umask", lambda _mask: None)
    monkeypatch.setattr(release_build.Builder, "build", build)
    monkeypatch.setattr(release_build.system_packages, "needed", lambda _output: ["gcc"])
    monkeypatch.setattr(
        release_build.system_packages, "missing", lambda names: [name for name in names if name not in installed]
    )
    with pytest.raises(Ended) as end:
        release_build.main()
    assert end.value.args[0] == ends
    assert end.value.args[1].get("build_needs") == (None if installed else ["gcc"])
