# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of the distribution that a build of Python packages needs, and those that its result is linked to.

Nothing names a distribution's package in the output of a failed build. What it names is a header, a program, a module of pkg-config or a library
for the linker; C(PACKAGES) says which package has it. Names are those of Debian and Ubuntu.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import zipfile

#: What nearly every build needs. Without it a build stops before it looks for anything else.
BASE = ("build-essential", "pkg-config", "python3-dev")

#: Package → what a build names when the package is missing. C(-lx) is a library for the linker; a folder in a header's name counts.
PACKAGES = {
    "build-essential": "cc c++ gcc g++ make",
    "pkg-config": "pkg-config pkgconf pkgconfig",
    "python3-dev": "Python.h pyconfig.h python3-config -lpython3",
    "cargo": "cargo rustc rust",
    "cmake": "cmake",
    "default-libmysqlclient-dev": "mysql.h mysql_config mariadb_config mysqlclient libmariadb -lmysqlclient -lmariadb",
    "freetds-dev": "sqlfront.h sybdb.h -lsybdb",
    "gfortran": "gfortran f95",
    "libaio-dev": "libaio.h",
    "libasound2-dev": "alsa/asoundlib.h alsa",
    "libavformat-dev": "libavformat/avformat.h libavformat",
    "libblas-dev": "cblas.h blas -lblas",
    "libbz2-dev": "bzlib.h bzip2 -lbz2",
    "libcairo2-dev": "cairo.h cairo/cairo.h cairo -lcairo",
    "libcups2-dev": "cups/cups.h cups-config cups",
    "libcurl4-openssl-dev": "curl/curl.h curl-config libcurl -lcurl",
    "libdb-dev": "db.h -ldb",
    "libdbus-1-dev": "dbus/dbus.h dbus-1",
    "libenchant-2-dev": "enchant.h enchant-2",
    "libev-dev": "ev.h -lev",
    "libevent-dev": "event2/event.h event.h libevent",
    "libffi-dev": "ffi.h libffi -lffi",
    "libfreetype-dev": "ft2build.h freetype2 freetype freetype-config -lfreetype",
    "libfuse-dev": "fuse.h fuse",
    "libgdal-dev": "gdal.h ogr_api.h cpl_port.h gdal-config gdal -lgdal",
    "libgdbm-dev": "gdbm.h -lgdbm",
    "libgeos-dev": "geos_c.h geos-config geos -lgeos_c",
    "libgirepository1.0-dev": "girepository.h gobject-introspection-1.0",
    "libglib2.0-dev": "glib.h glib-2.0 gobject-2.0",
    "libgmp-dev": "gmp.h gmp -lgmp",
    "libgpgme-dev": "gpgme.h gpgme-config gpgme",
    "libgraphviz-dev": "graphviz/cgraph.h cgraph.h libcgraph -lcgraph",
    "libgraphicsmagick++1-dev": "Magick++.h",
    "libhdf5-dev": "hdf5.h hdf5 libhdf5.so -lhdf5",
    "libhunspell-dev": "hunspell.hxx hunspell.hpp hunspell/hunspell.hxx hunspell -lhunspell",
    "libicu-dev": "unicode/utypes.h icu-config icu-i18n icu-uc -licui18n",
    "libimagequant-dev": "libimagequant.h imagequant",
    "libjpeg-dev": "jpeglib.h jpeg libjpeg -ljpeg",
    "libkrb5-dev": "krb5.h gssapi.h gssapi/gssapi.h gssapi/gssapi_ext.h krb5-config krb5 krb5-gssapi -lgssapi_krb5",
    "liblapack-dev": "lapacke.h lapack -llapack",
    "liblcms2-dev": "lcms2.h lcms2 lcms",
    "libldap2-dev": "ldap.h lber.h ldap -lldap -llber",
    "liblz4-dev": "lz4.h liblz4 -llz4",
    "liblzma-dev": "lzma.h liblzma -llzma",
    "libmagic-dev": "magic.h",
    "libmemcached-dev": "libmemcached/memcached.h libmemcached -lmemcached",
    "libmpc-dev": "mpc.h",
    "libmpfr-dev": "mpfr.h mpfr",
    "libmupdf-dev": "mupdf/fitz.h",
    "libncurses-dev": "ncurses.h curses.h ncurses -lncurses",
    "libopenblas-dev": "openblas -lopenblas",
    "libopenjp2-7-dev": "openjpeg.h libopenjp2 jpeg2000",
    "libpango1.0-dev": "pango/pango.h pango pangocairo",
    "libpcre2-dev": "pcre2.h pcre2-config libpcre2-8",
    "libpng-dev": "png.h libpng -lpng",
    "libpoppler-cpp-dev": "poppler/cpp/poppler-document.h poppler-cpp",
    "libpq-dev": "libpq-fe.h postgres_ext.h pg_config pg_config.h libpq -lpq",
    "libproj-dev": "proj.h proj_api.h proj -lproj",
    "libqpdf-dev": "qpdf/QPDF.hh qpdf/Constants.h libqpdf",
    "librdkafka-dev": "librdkafka/rdkafka.h rdkafka.h rdkafka -lrdkafka",
    "libre2-dev": "re2/re2.h re2",
    "libreadline-dev": "readline/readline.h readline -lreadline",
    "librrd-dev": "rrd.h librrd",
    "libsasl2-dev": "sasl/sasl.h sasl.h libsasl2 -lsasl2",
    "libsecp256k1-dev": "secp256k1.h libsecp256k1",
    "libsnappy-dev": "snappy.h snappy-c.h snappy -lsnappy",
    "libsodium-dev": "sodium.h libsodium -lsodium",
    "libspatialindex-dev": "spatialindex/capi/sidx_api.h -lspatialindex",
    "libsqlite3-dev": "sqlite3.h sqlite3 -lsqlite3",
    "libssh2-1-dev": "libssh2.h libssh2",
    "libssl-dev": "openssl/ssl.h openssl/opensslv.h openssl/evp.h openssl/crypto.h openssl/err.h openssl/opensslconf.h openssl/bio.h"
    " openssl libssl libcrypto -lssl -lcrypto",
    "libsystemd-dev": "systemd/sd-daemon.h systemd/sd-journal.h libsystemd -lsystemd",
    "libtiff-dev": "tiff.h tiffio.h libtiff-4 tiff -ltiff",
    "libudev-dev": "libudev.h libudev",
    "libusb-1.0-0-dev": "libusb.h libusb-1.0/libusb.h libusb-1.0",
    "libvips-dev": "vips/vips.h vips vips-cpp",
    "libwebp-dev": "webp/decode.h webp/encode.h libwebp webp -lwebp",
    "libxapian-dev": "xapian.h xapian-config",
    "libxml2-dev": "libxml/xmlversion.h libxml/xpath.h libxml/tree.h libxml/parser.h xml2-config libxml-2.0 libxml2 -lxml2",
    "libxmlsec1-dev": "xmlsec/xmlsec.h xmlsec1 xmlsec1-config xmlsec1-openssl -lxmlsec1",
    "libxslt1-dev": "libxslt/xslt.h libxslt/xsltconfig.h xslt-config libxslt libexslt -lxslt -lexslt",
    "libyaml-dev": "yaml.h yaml-0.1 -lyaml",
    "libzbar-dev": "zbar.h zbar",
    "libzmq3-dev": "zmq.h libzmq",
    "libzstd-dev": "zstd.h libzstd -lzstd",
    "ninja-build": "ninja",
    "portaudio19-dev": "portaudio.h portaudio-2.0",
    "protobuf-compiler": "protoc",
    "swig": "swig",
    "tesseract-ocr": "tesseract",
    "unixodbc-dev": "sql.h sqlext.h odbc_config odbc -lodbc",
    "zlib1g-dev": "zlib.h zlib -lz",
}

#: How programs say that they miss something; the first group has its name.
MISSING = (
    r"error: '?([\w./+-]+\.(?:h|hh|hpp|hxx))'?(?:: No such file or directory| file not found)",
    r"cannot find (-l[\w+.-]+)",
    r"command '(?:[\w./-]*/)?(?:\w+-linux-gnu-)?([\w+.-]+)' failed: No such file or directory",
    r"unable to execute '?(?:\w+-linux-gnu-)?([\w+.-]+)'?: No such file or directory",
    r"No such file or directory: '(?:\w+-linux-gnu-)?([\w+.-]+)'",
    r"sh: (?:\d+: |line \d+: )?([\w+.-]+): (?:command )?not found",
    r"(?:[Cc]ould ?n[o']t|[Uu]nable to|[Ff]ailed to) (?:run|find|execute|invoke|locate) [`'\"]?([\w+.-]+)",
    r"\b([\w+.-]+) executable not found",
    r"linker `(\w+)` not found",
    r"No CMAKE_(\w+?)_COMPILER could be found",
    r"Unknown compiler\(s\): \[\['([\w+.-]+)'",
    r"Did not find (pkg-config)",
    r"Could NOT find (\w+)",
    r"Dependency \"?([\w+.-]+)\"? not found",
    r"Dependency lookup for ([\w+.-]+) with method",
    r"Package '?([\w+.-]+)'?(?:, required by '[^']*',)? (?:was )?not found",
    r"No package '([\w+.-]+)' found",
    r"PackageNotFoundError: ([\w+.-]+) not found",
    r"headers or library files could not be found for ([\w+.-]+)",
    r"RequiredDependencyException: ([\w+.-]+)",
    r"is the (\w[\w+.-]*) (?:library|development) (?:package )?installed",
    r"([\w+.-]+) and \w+ development packages are installed",
    r"\w+ and ([\w+.-]+) development packages are installed",
    r"can't find (Rust) compiler",
    r"(Cargo), the Rust package manager, is not installed",
    r"need a (C) compiler",
    r"name\.\s+Specify (MYSQLCLIENT)_CFLAGS",
)
#: What the patterns find of a language, and the program that compiles it.
COMPILERS = {"c": "cc", "cxx": "c++"}
_PROVIDED = {name.lower(): package for package, names in PACKAGES.items() for name in names.split()}
#: A wheel that was built on this host and not for every Linux.
LOCAL_WHEEL = re.compile(r"-linux_\w+\.whl$")


def needed(output: str) -> list[str]:
    """Return the packages that a failed build asks for, as its output tells; none if it failed for something else."""
    found: set[str] = set()
    for pattern in MISSING:
        for match in re.finditer(pattern, output):
            name = match[1].lower()
            name = COMPILERS.get(name, name)
            # A header is known by its path, or else by its name alone.
            package = _PROVIDED.get(name) or _PROVIDED.get(name.rpartition("/")[2])
            found.update([package] if package else [])
    return sorted(found.union(BASE)) if found else []


def _query(*arguments: str) -> str:
    done = subprocess.run(
        ["dpkg-query", *arguments], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    return done.stdout


def missing(names: list[str]) -> list[str]:
    """Return those packages that are not installed on this host."""
    if not names:
        return []
    there = {
        line.split()[0]
        for line in _query("--show", "--showformat=${Package} ${Status}\\n", *names).splitlines()
        if line.endswith(" installed")
    }
    return [name for name in names if name not in there]


def linked(wheels: str, environment: str) -> list[str]:
    """Return the packages with the libraries that compiled code is linked to, of wheels that were built on this host.

    :arg wheels: the folder with all wheels. Those for every Linux have their libraries in them.
    :arg environment: the virtual environment that they are installed in.
    """
    libraries: set[str] = set()
    for wheel in sorted(glob.glob(os.path.join(wheels, "*.whl"))):
        if not LOCAL_WHEEL.search(wheel):
            continue
        with zipfile.ZipFile(wheel) as archive:
            names = {os.path.basename(name) for name in archive.namelist() if re.search(r"\.so(\.[\d.]+)?$", name)}
        for folder, _folders, files in os.walk(os.path.join(environment, "lib")):
            for name in names.intersection(files):
                libraries.update(_libraries(os.path.join(folder, name)))
    return sorted(set(filter(None, map(_package_of, sorted(libraries)))))


def _libraries(path: str) -> set[str]:
    """Return the libraries that a file itself is linked to; what these need in turn is their packages' affair."""
    found = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    places = dict(re.findall(r"(\S+) => (/\S+)", found.stdout))
    try:
        own = subprocess.run(["objdump", "--private-headers", path], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # compiled by something else than the distribution's compiler
        return set(places.values())
    return {places[name] for name in re.findall(r"NEEDED\s+(\S+)", own.stdout) if name in places}


def _package_of(library: str) -> str:
    """Return the package of a library, an empty text if it is of none; dpkg may know it without the C(/usr) that links lead to."""
    real = os.path.realpath(library)
    for path in (real, real.removeprefix("/usr"), library):
        owner = _query("--search", path).partition(": ")[0]
        if owner:
            return owner.split(":")[0].split(",")[0]
    return ""
