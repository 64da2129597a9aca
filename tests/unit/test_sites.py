"""What a user may say of a site, and what is refused."""

import pytest
from clusters import a_site, three_sites

from ansible_collections.ntier.django.plugins.plugin_utils import sites
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, shown

PACKAGE = {"package": "some-shop==1.2"}
GIT = {"git": "https://git.example.com/blog.git"}


def normal(*given):
    """Return sites with all keys set; fail when one of them is refused."""
    faults = Faults()
    result = sites.normalise_sites(list(given), faults)
    assert faults.sentences == []
    return result


def faults_of(*given):
    faults = Faults()
    sites.normalise_sites(list(given), faults)
    return faults.sentences


def without(key):
    return {name: value for name, value in a_site().items() if name != key}


# --- what is allowed ----------------------------------------------------------------------------------------------


def test_a_site_needs_four_keys_and_has_defaults_for_the_others():
    assert normal(a_site()) == [
        {
            "name": "blog",
            "domains": ["blog.example.com"],
            "source": {"kind": "path", "location": "/src/blog", "directory": ""},
            "settings": "blog.settings",
            "prefix": "",
            "wsgi": "",
            "asgi": "",
            "python": "python3",
            "requirements": "",
            "packages": [],
            "environment": {},
            "database": {"name": "blog", "user": "blog", "extensions": []},
            "upload_limit_mb": 20,
            "timeout_seconds": 30,
            "workers": 0,
            "threads": 0,
            "anonymous_cache_seconds": 0,
            "page_cache_seconds": 0,
            "processes": [],
            "hashed_static": True,
            "settings_overlay": True,
            "media_domain": "",
            "certificate": {},
            "health_path": "/",
            "uid": 22531,
        }
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (GIT, {"kind": "git", "location": GIT["git"], "version": "HEAD", "directory": "", "key_file": ""}),
        (
            {**GIT, "version": "release/1.2", "directory": "backend", "key_file": "/keys/blog"},
            {
                "kind": "git",
                "location": GIT["git"],
                "version": "release/1.2",
                "directory": "backend",
                "key_file": "/keys/blog",
            },
        ),
        ({"path": "../blog", "directory": "src"}, {"kind": "path", "location": "../blog", "directory": "src"}),
        (PACKAGE, {"kind": "package", "location": "some-shop==1.2", "index": ""}),
    ],
)
def test_every_kind_of_source(source, expected):
    assert normal(a_site(source=source))[0]["source"] == expected


@pytest.mark.parametrize(
    "package", ["shop==1", "some-shop[redis]==1.2.post1", "some_shop==2!1.0+local", "Shop==1.0rc1"]
)
def test_a_package_with_an_exact_version_is_allowed(package):
    assert normal(a_site(source={"package": package}))[0]["source"]["location"] == package


@pytest.mark.parametrize(
    "domain", ["example.com", "localhost", "*.example.com", "a-b.example.com", "192.0.2.1", "[2001:db8::1]"]
)
def test_a_domain(domain):
    assert normal(a_site(domains=[domain]))[0]["domains"] == [domain]


def test_domains_are_compared_in_lower_case():
    assert normal(a_site(domains=["WWW.Example.com"]))[0]["domains"] == ["www.example.com"]


@pytest.mark.parametrize("prefix", ["/shop", "/shop/2", "/~me", "/a.b-c_d"])
def test_a_prefix(prefix):
    assert normal(a_site(prefix=prefix))[0]["prefix"] == prefix


@pytest.mark.parametrize("name", ["blog_rows", "_blog", "b" * 63])
def test_a_database_name(name):
    assert normal(a_site(database={"name": name}))[0]["database"] == {"name": name, "user": "blog", "extensions": []}


def test_a_database_user_of_its_own():
    database = {"name": "rows", "user": "writer", "extensions": ["pg_trgm"]}
    assert normal(a_site(database=database))[0]["database"] == database


@pytest.mark.parametrize("domain", ["media.example.com", "localhost", "a-b.example.com"])
def test_a_media_domain(domain):
    assert normal(a_site(media_domain=domain))[0]["media_domain"] == domain


def test_a_media_domain_is_compared_in_lower_case():
    assert normal(a_site(media_domain="Media.Example.com"))[0]["media_domain"] == "media.example.com"


@pytest.mark.parametrize(
    "certificate",
    [{}, {"file": "certificates/blog.pem", "key_file": "/keys/blog.key"}, {"acme": "admin@example.com"}],
)
def test_every_way_to_a_certificate(certificate):
    assert normal(a_site(certificate=certificate))[0]["certificate"] == certificate


@pytest.mark.parametrize("uid", [1000, 24711, 59999])
def test_a_number_of_the_users_own(uid):
    assert normal(a_site(uid=uid))[0]["uid"] == uid


def test_the_number_of_a_sites_user_follows_from_its_name_and_from_nothing_else():
    names = [f"site{number}" for number in range(50)]
    found = {name: normal(a_site(name, prefix="/x", workers=3))[0]["uid"] for name in names}
    assert found == {name: normal(a_site(name))[0]["uid"] for name in reversed(names)}
    assert len(set(found.values())) == len(names)
    assert all(20000 <= number < 40000 for number in found.values())


def test_the_names_that_a_certificate_has_to_cover():
    (site,) = normal(a_site(domains=["B.example.com", "a.example.com", "b.example.com"], media_domain="m.example.com"))
    assert sites.certificate_names(site) == ["b.example.com", "a.example.com", "m.example.com"]
    assert sites.certificate_names(normal(a_site())[0]) == ["blog.example.com"]


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "DATABASE_URL", "DEBUG", "PYTHONHASHSEED", "MY_NTIER_SITE", "ntier_site"]
)
def test_every_other_variable_of_the_environment_is_the_users(name):
    assert normal(a_site(environment={name: "x"}))[0]["environment"] == {name: "x"}


@pytest.mark.parametrize("value", ["", 'say "hi"', "50 %", "$HOME", "back\\slash", "tab\there", 5, 1.5, True])
def test_a_value_of_the_environment(value):
    assert normal(a_site(environment={"GREETING": value}))[0]["environment"] == {"GREETING": value}


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("name", "Give it a short name"),
        ("domains", "List the host names"),
        ("source", "source: {git: URL}, {path: FOLDER} or {package: NAME==VERSION}"),
        ("settings", "settings: mysite.settings"),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_a_site_without_a_required_key_is_refused(key, fix, empty):
    (fault,) = faults_of({**a_site(), key: None} if empty else without(key))
    where = "ntier_sites, item 1" if key == "name" else "ntier_sites, site blog"
    assert fault.startswith(f"{where}: has no '{key}'. ")
    assert fix in fault


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("domain", "Did you mean 'domains'?"),
        ("setting", "Did you mean 'settings'?"),
        ("timeout", "A site has the keys"),
        ("enviroment", "Did you mean 'environment'?"),
        ("upload_limit", "Did you mean 'upload_limit_mb'?"),
        ("color", "A site has the keys name, domains, source"),
    ],
)
def test_an_unknown_key_is_refused(key, fix):
    (fault,) = faults_of(a_site(**{key: "x"}))
    assert fault.startswith(f"ntier_sites, site blog: has the unknown key '{key}'. ")
    assert fix in fault
    assert not fault.endswith("?.")


@pytest.mark.parametrize("key", [key for key, (_types, default) in sites.SITE_KEYS.items() if default is not ...])
def test_an_optional_key_without_a_value_is_refused(key):
    (fault,) = faults_of(a_site(**{key: None}))
    assert fault.startswith(f"ntier_sites, site blog: '{key}' is empty. Give it a value, or leave the key out")


WRONG = {
    str: [1, 1.5, True, ["x"], {"x": 1}],
    int: ["1", 1.5, True, [1]],
    bool: [1, "yes", [True]],
    list: ["x", {"x": 1}, 1, True],
    dict: ["x", ["x"], 1, True],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, (types, _default) in sites.SITE_KEYS.items() for value in WRONG[types[0]]]
)
def test_a_value_of_a_wrong_type_is_refused(key, value):
    faults = faults_of({**a_site(), key: value})
    assert len(faults) == 1
    assert f": '{key}' is {value!r}, a" in faults[0]
    assert "It has to be a" in faults[0]


def test_true_is_no_number_of_workers():
    assert faults_of(a_site(workers=True)) == [
        "ntier_sites, site blog: 'workers' is True, a boolean. It has to be a whole number."
    ]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("blog", "is a text, not a list of sites"),
        ({"blog": {}}, "is a dictionary, not a list of sites"),
        (None, "is empty, not a list of sites"),
        ([], "no site is given"),
        (["blog"], "item 1: is a text, not a dictionary"),
        ([a_site(), None], "item 2: is empty, not a dictionary"),
    ],
)
def test_something_else_than_a_list_of_sites_is_refused(value, what):
    faults = Faults()
    sites.normalise_sites(value, faults)
    (fault,) = faults.sentences
    assert fault.startswith("ntier_sites")
    assert what in fault


# --- names of accounts, groups and folders that are there already ---------------------------------------------------

#: What `getent passwd` and `getent group` list: a fresh Debian 12 and Ubuntu 24.04, with the packages that the roles install.
OF_THE_SYSTEM = (
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup", "list", "irc",
    "_apt", "nobody", "systemd-network", "messagebus", "adm", "tty", "disk", "kmem", "dialout", "fax", "voice", "cdrom", "floppy", "tape",
    "sudo", "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff", "users", "nogroup", "input", "sgx",
    "kvm", "render", "crontab", "netdev", "systemd-journal", "systemd-timesync", "_ssh", "sshd", "polkitd", "ssl-cert", "postgres",
    "memcache", "haproxy", "_chrony", "_rpc", "statd", "uuidd", "tcpdump", "landscape", "pollinate", "tss", "syslog", "dnsmasq", "lxd",
    "rdma", "usbmux",
)  # fmt: skip
OF_IMAGES = ("admin", "debian", "ubuntu", "vagrant", "ec2-user", "azureuser")
OF_DAEMONS = ("docker", "redis", "rabbitmq", "mysql", "nginx", "git")


@pytest.mark.parametrize("name", [*OF_THE_SYSTEM, *OF_IMAGES, *OF_DAEMONS])
def test_a_site_takes_no_account_over_that_hosts_are_known_to_have(name):
    (fault,) = [fault for fault in faults_of(a_site(name=name)) if "the name" in fault]
    assert f"the name '{name}'" in fault


@pytest.mark.parametrize("name", ["public", "none"])
def test_a_site_whose_name_is_no_role_to_postgresql(name):
    (fault,) = faults_of(a_site(name=name))
    assert f"the database user '{name}' belongs to" in fault and f"database: {{user: {name}_site}}" in fault
    assert faults_of(a_site(name=name, database={"user": f"{name}_site"})) == []


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "what", "fix"),
    [
        ({"name": "Blog"}, "the name 'Blog' can't be a system user", "lower-case letters"),
        ({"name": "1blog"}, "the name '1blog' can't be a system user", "a letter first"),
        ({"name": "my-blog"}, "the name 'my-blog' can't be a system user", "digits and '_'"),
        ({"name": "b" * 32}, "can't be a system user", "Use 1 to 31"),
        ({"name": "blog\n"}, "the name 'blog\\n' can't be a system user", "Use 1 to 31"),
        ({"name": "root"}, "the name 'root' belongs to the system", "Choose another name, such as root_site."),
        ({"name": "media"}, "the name 'media' can't be a folder of its own: /srv/media is", "such as media_site."),
        ({"domains": []}, "'domains' is an empty list", "List the host names"),
        ({"domains": ["https://example.com"]}, "the domain 'https://example.com' is no host name", "Write example.com."),
        ({"domains": ["example.com:8000"]}, "the domain 'example.com:8000' is no host name", "Write example.com."),
        ({"domains": ["example.com/shop"]}, "the domain 'example.com/shop' is no host name", "Write example.com."),
        ({"domains": ["example.com\n"]}, "is no host name", "Write example.com."),
        ({"domains": ["example.com."]}, "is no host name", "Write example.com."),
        ({"domains": ["münchen.example"]}, "is no host name", "Write xn--mnchen-3ya.example."),
        ({"domains": ["*"]}, "is no host name", "*.example.com stands for every name below one."),
        ({"domains": ["www.*.com"]}, "is no host name", "A '*' stands for the first part"),
        ({"domains": ["::1"]}, "is no host name", "Write [::1]."),
        ({"domains": ["[:::]"]}, "is no IPv6 address in brackets", "Write one, as in [2001:db8::7]."),
        ({"domains": ["192.0.2.300"]}, "is no IPv4 address", "Correct it."),
        ({"domains": ["a" * 64 + ".example"]}, "is no host name", "no part of it has more than 63 characters"),
        ({"domains": ["my_site.example.com"]}, "'my_site.example.com' is no host name", "Host names have no '_'. Write my-site.example.com"),
        ({"domains": [5]}, "the domain 5 is a whole number and no host name", "Write it in quotes"),
        ({"prefix": "shop"}, "the prefix 'shop' has no slash in front", "Write prefix: /shop"),
        ({"prefix": "shop/"}, "the prefix 'shop/' has no slash in front", "Write prefix: /shop."),
        ({"prefix": "/shop/"}, "the prefix '/shop/' is no path", "none at the end"),
        ({"prefix": "/"}, "the prefix '/' is no path", "Write it as /shop"),
        ({"prefix": "//shop"}, "the prefix '//shop' is no path", "Write it as /shop"),
        ({"prefix": "/a b"}, "the prefix '/a b' is no path", "Write it as /shop"),
        ({"prefix": "/a;b"}, "the prefix '/a;b' is no path", "Write it as /shop"),
        ({"prefix": "/shop/../admin"}, "the prefix '/shop/../admin' is no path", "Write it as /shop"),
        ({"settings": "blog/settings.py"}, "settings 'blog/settings.py' is no module name", "mysite.settings"),
        ({"settings": ""}, "settings '' is no module name", "mysite.settings"),
        ({"wsgi": "blog.wsgi"}, "wsgi 'blog.wsgi' is no application", "mysite.wsgi:application"),
        ({"health_path": "up"}, "health_path 'up' has no slash in front", "Write /up."),
        ({"health_path": "/a b"}, "health_path '/a b' is no path", "with %20 for a blank"),
        ({"health_path": "//up"}, "health_path '//up' is no path", "as a browser sends it"),
        ({"python": "rm -rf"}, "python 'rm -rf' is no version of Python", "such as 3.13"),
        ({"python": "2.7"}, "python '2.7' is too old for Django", "such as 3.13"),
        ({"prefix": "/_ntier"}, "the prefix '/_ntier' is the collection's own", "Choose another."),
        ({"prefix": "/.well-known/acme-challenge/x"}, "is the collection's own", "Choose another."),
        ({"settings": False}, "'settings' is False, a boolean", "It has to be a text: write it in quotes."),
        ({"workers": 1001}, "'workers' is 1001", "The most is 1000."),
        ({"upload_limit_mb": 1 << 30}, "'upload_limit_mb' is 1073741824", "The most is 1048576."),
        ({"packages": ["; rm"]}, "packages has '; rm', which is no requirement", "requirement file"),
        ({"database": {"extensions": ["pg_trgm; DROP TABLE x"]}}, "is no name of an extension", "such as pg_trgm."),
        ({"source": {"git": "my project"}}, "source.git 'my project' is no address", "Write its URL"),
        ({"source": {"git": "ext::sh -c whoami"}}, "is no address of a repository", "Write its URL"),
        ({"source": {"git": "https://me:hunter2@git.example.com/a b"}}, "'https://***@git.example.com/a b'", "Write its URL"),
        ({"source": {"git": "../mysite"}}, "is a path, which the web hosts would look for on themselves", "source: {path: FOLDER}"),
        ({"source": {"git": "https://git.example.com/x", "version": "v1..2"}}, "is no branch, tag or commit", "such as main"),
        ({"upload_limit_mb": 0}, "'upload_limit_mb' is 0", "The least is 1"),
        ({"timeout_seconds": 0}, "'timeout_seconds' is 0", "The least is 1"),
        ({"workers": -1}, "'workers' is -1", "The least is 0"),
        ({"threads": -1}, "'threads' is -1", "The least is 0"),
        ({"anonymous_cache_seconds": -5}, "'anonymous_cache_seconds' is -5", "The least is 0"),
        ({"page_cache_seconds": -1}, "'page_cache_seconds' is -1", "The least is 0"),
        ({"media_domain": "https://m.example.com"}, "the media_domain 'https://m.example.com' is no host name", "Write m.example.com."),
        ({"media_domain": "m.example.com:80"}, "the media_domain 'm.example.com:80' is no host name", "Write m.example.com."),
        ({"media_domain": "m.example.com/x"}, "the media_domain 'm.example.com/x' is no host name", "Write m.example.com."),
        ({"media_domain": "my_media.example.com"}, "'my_media.example.com' is no host name", "Write my-media.example.com"),
        ({"media_domain": "[2001:db8::1]"}, "the media_domain '[2001:db8::1]' is no host name", "Write it without"),
        ({"media_domain": "*.example.com"}, "the media_domain '*.example.com' is no single name", "Write one, as in media.example.com."),
        ({"media_domain": "blog.example.com"}, "the media_domain blog.example.com is a domain of site blog", "such as media.example.com."),
        ({"media_domain": "Blog.Example.com"}, "the media_domain blog.example.com is a domain of site blog", "Give the media a host"),
        ({"uid": 999}, "'uid' is 999", "Use a number from 1000 to 59999, or leave the key out."),
        ({"uid": 60000}, "'uid' is 60000", "Use a number from 1000 to 59999"),
        ({"uid": -1}, "'uid' is -1", "Use a number from 1000 to 59999"),
        ({"certificate": {"file": "a.pem"}}, "'certificate' has file", "Write certificate: {file: …, key_file: …} or {acme: …}, or leave the key out."),
        ({"certificate": {"key_file": "a.key"}}, "'certificate' has key_file", "Write certificate: {file: …, key_file: …} or"),
        ({"certificate": {"file": "a", "key_file": "b", "acme": "c@d.e"}}, "'certificate' has file, key_file and acme", "Write certificate:"),
        ({"certificate": {"path": "a.pem"}}, "'certificate' has path", "Write certificate:"),
        ({"certificate": {"file": "", "key_file": "b"}}, "certificate.file is ''", "Give it a text."),
        ({"certificate": {"file": "a", "key_file": None}}, "certificate.key_file is None", "Give it a text."),
        ({"certificate": {"acme": 5}}, "certificate.acme is 5", "Give it a text."),
        ({"certificate": {"acme": "admin"}}, "certificate.acme is 'admin'", "mail address that the authority may write to"),
        ({"certificate": {"acme": "a@b c.de"}}, "certificate.acme is 'a@b c.de'", "Give it the mail address"),
        (
            {"certificate": {"acme": "a@example.com"}, "domains": ["example.com", "*.example.com"]},
            "no authority certifies *.example.com over HTTP, as certificate.acme asks for it",
            "Give it a certificate with file and key_file, or take the domain out.",
        ),
        ({"packages": [5]}, "packages has 5", "sentry-sdk"),
        ({"packages": ["--index-url https://me:pw@x.example/"]}, "packages has '--index-url https://***@x.example/'", "options"),
        ({"packages": ["a\n-i https://x.example/"]}, "packages has ", "options"),
        (
            {"source": {"package": "some-shop==1", "index": "--index-url=https://x.example"}},
            "source.index is no address of a package index",
            "https://packages.example.com/simple",
        ),
        ({"environment": {"A B": "x"}}, "environment has 'A B', which is no variable name", "Use letters"),
        ({"environment": {"1A": "x"}}, "environment has '1A'", "Use letters"),
        ({"environment": {5: "x"}}, "environment has 5", "Use letters"),
        ({"environment": {"NTIER_SITE": "x"}}, "environment sets NTIER_SITE, which is how", "Leave it out"),
        ({"environment": {"NTIER_RELEASE": "x"}}, "environment sets NTIER_RELEASE, which is how", "Leave it out"),
        ({"environment": {"NTIER_SETTINGS": "x"}}, "environment sets NTIER_SETTINGS, which is how", "Leave it out"),
        ({"environment": {"DJANGO_SETTINGS_MODULE": "x"}}, "environment sets DJANGO_SETTINGS_MODULE", "Leave it out"),
        ({"environment": {"PYTHONPATH": "/x"}}, "environment sets PYTHONPATH", "Leave it out"),
        ({"environment": {"SCRIPT_NAME": "/x"}}, "environment sets SCRIPT_NAME", "Leave it out"),
        ({"environment": {"A": None}}, "environment A is None", "one line of text"),
        ({"environment": {"A": ["x"]}}, "environment A is ['x']", "one line of text"),
        ({"environment": {"A": {"x": 1}}}, "environment A is {'x': 1}", "one line of text"),
        ({"environment": {"A": "x\ny"}}, "environment A is 'x\\ny'", "one line of text"),
        ({"environment": {"A": "x\ry"}}, "environment A is 'x\\ry'", "one line of text"),
        ({"environment": {"A": "x\0y"}}, "environment A is 'x\\x00y'", "one line of text"),
    ],
)  # fmt: skip
def test_a_value_that_cant_work_is_refused(more, what, fix):
    (fault,) = faults_of({**a_site(), **more})
    assert fault.startswith(("ntier_sites, site ", "ntier_sites, item 1: the name"))
    assert fault.isprintable()
    assert what in fault
    assert fix in fault.split(what)[1]


@pytest.mark.parametrize(
    "more",
    [
        *({"domains": [name]} for name in ("example.com", "*.example.com", "[2001:db8::7]", "192.0.2.7", "localhost")),
        *(
            {"python": text}
            for text in ("python3", "3.13", "3.13.1", "cpython@3.12", ">=3.11", "/opt/python/bin/python3")
        ),
        *(
            {"source": {"git": text}}
            for text in (
                *(
                    "https://git.example.com/x.git",
                    "ssh://git@git.example.com:2222/x.git",
                    "git@git.example.com:me/x.git",
                ),
                *("gitea:me/x.git", "file:///srv/git/x.git", "/srv/git/x.git", "https://me:word@git.example.com/x.git"),
            )
        ),
        {"prefix": "/.well-known/ours"},
        {"packages": ["-e ./libs/ours", "./libs/ours", "git+https://git.example.com/x.git", "sentry-sdk~=2.0"]},
        {"database": {"extensions": ["uuid-ossp", "pg_trgm"]}},
        {"health_path": "/health/?full=1"},
    ],
)
def test_values_that_work_are_taken(more):
    assert faults_of({**a_site(), **more}) == []


@pytest.mark.parametrize(
    ("source", "what", "fix"),
    [
        ({}, "has a source without git, path or package", "Keep exactly one"),
        ({"svn": "x"}, "has a source without git, path or package", "Keep exactly one"),
        ({**GIT, **PACKAGE}, "has 2 sources, git and package", "Keep exactly one"),
        ({**GIT, **PACKAGE, "path": "x"}, "has 3 sources, git, path and package", "Keep exactly one"),
        ({**GIT, "branch": "main"}, "a git source has no key 'branch'", "It has git, version, directory and key_file"),
        ({"path": "x", "version": "main"}, "a path source has no key 'version'", "It has path and directory"),
        ({**GIT, "version": 1.2}, "source.version is 1.2", "quote it"),
        ({"path": ""}, "source.path is ''", "Give it a text"),
        ({"path": None}, "source.path is None", "Give it a text"),
        ({"git": ["x"]}, "source.git is ['x']", "Give it a text"),
        (
            {**GIT, "version": "--upload-pack=x"},
            "source.version '--upload-pack=x' is no branch, tag or commit",
            "main or v1.2",
        ),
        ({"git": "--upload-pack=x"}, "source.git '--upload-pack=x' is no address of a repository", "Write its URL"),
        (
            {"path": "x", "directory": "../y"},
            "source.directory '../y' leads out of the source",
            "Name a folder inside it",
        ),
        ({"path": "x", "directory": "a/../../y"}, "source.directory 'a/../../y' leads out", "Name a folder inside it"),
        ({**GIT, "directory": "/etc"}, "source.directory '/etc' leads out of the source", "Name a folder inside it"),
        ({"package": "some-shop"}, "the package 'some-shop' names no exact version", "Write 'some-shop==VERSION'"),
        ({"package": "some-shop>=1.2"}, "the package 'some-shop>=1.2' names no exact version", "'some-shop==VERSION'"),
        ({"package": "some-shop==1.*"}, "the package 'some-shop==1.*' names no exact version", "'some-shop==VERSION'"),
        ({"package": "shop[a]~=1"}, "the package 'shop[a]~=1' names no exact version", "Write 'shop==VERSION'"),
        ({"package": ">=1"}, "the package '>=1' names no exact version", "Write 'some-shop==VERSION'"),
    ],
)
def test_a_source_that_cant_work_is_refused(source, what, fix):
    (fault,) = faults_of(a_site(source=source))
    assert fault.startswith(f"ntier_sites, site blog: {what}")
    assert fix in fault


@pytest.mark.parametrize(
    ("database", "what", "fix"),
    [
        ({"name": "1a"}, "PostgreSQL would not take the database name '1a'", "no digit first"),
        ({"name": "Upper"}, "PostgreSQL would not take the database name 'Upper'", "lower-case"),
        ({"name": "a" * 64}, "PostgreSQL would not take the database name", "1 to 63"),
        ({"name": "my-rows"}, "PostgreSQL would not take the database name 'my-rows'", "'_'"),
        ({"name": ""}, "PostgreSQL would not take the database name ''", "1 to 63"),
        ({"name": "rows\n"}, "PostgreSQL would not take the database name", "1 to 63"),
        ({"name": 5}, "PostgreSQL would not take the database name 5", "1 to 63"),
        ({"name": None}, "PostgreSQL would not take the database name None", "1 to 63"),
        ({"user": "My User"}, "PostgreSQL would not take the database user 'My User'", "1 to 63"),
        ({"name": "postgres"}, "the database name 'postgres' belongs to PostgreSQL", "database: {name: blog_site}"),
        ({"name": "template1"}, "the database name 'template1' belongs to PostgreSQL", "database: {name: blog_site}"),
        ({"name": "pg_x"}, "the database name 'pg_x' belongs to PostgreSQL", "database: {name: blog_site}"),
        (
            {"name": "pgbouncer"},
            "the database name 'pgbouncer' belongs to PostgreSQL, PgBouncer or ntier.django",
            "{name: blog_site}",
        ),
        ({"user": "postgres"}, "the database user 'postgres' belongs to PostgreSQL", "database: {user: blog_site}"),
        ({"user": "public"}, "the database user 'public' belongs to PostgreSQL", "database: {user: blog_site}"),
        ({"user": "none"}, "the database user 'none' belongs to PostgreSQL", "database: {user: blog_site}"),
        ({"user": "ntier_handover"}, "the database user 'ntier_handover' belongs to", "database: {user: blog_site}"),
        ({"host": "db1"}, "database has the unknown key 'host'", "It has name, user and extensions"),
        ({"extensions": "pg_trgm"}, "database.extensions is 'pg_trgm'", "Give it a list of names"),
        ({"extensions": [5]}, "database.extensions is [5]", "Give it a list of names"),
    ],
)
def test_a_database_that_cant_work_is_refused(database, what, fix):
    (fault,) = faults_of(a_site(database=database))
    assert fault.startswith(f"ntier_sites, site blog: {what}")
    assert fix in fault


# --- sites beside each other --------------------------------------------------------------------------------------


def test_two_sites_of_one_name_are_refused():
    assert faults_of(a_site(), a_site(domains=["other.example.com"])) == [
        "ntier_sites, site blog: two sites have this name. Give each site a name of its own."
    ]


@pytest.mark.parametrize(("prefix", "address"), [("", "www.example.com/"), ("/shop", "www.example.com/shop")])
def test_two_sites_at_one_address_are_refused(prefix, address):
    one, two = (a_site(name, domains=["www.example.com"], prefix=prefix) for name in ("blog", "shop"))
    assert faults_of(one, two) == [
        f"ntier_sites, site shop: site blog answers at {address} already. Give one of them another domain or prefix."
    ]


def test_the_same_address_in_capitals_is_the_same_address():
    assert len(faults_of(a_site(domains=["a.example.com"]), a_site("shop", domains=["A.EXAMPLE.com"]))) == 1


def test_one_domain_with_two_prefixes_is_allowed():
    assert faults_of(a_site(), a_site("shop", domains=["blog.example.com"], prefix="/shop")) == []


@pytest.mark.parametrize("taken", ["/static", "/media", "/static/shop"])
def test_a_prefix_inside_the_files_of_another_site_is_refused(taken):
    (fault,) = faults_of(a_site(), a_site("shop", domains=["blog.example.com"], prefix=taken))
    assert fault.startswith(
        f"ntier_sites, site shop: the prefix '{taken}' lies in the files of site blog at blog.example.com. "
    )


def test_such_a_prefix_is_allowed_where_no_other_site_lives():
    assert faults_of(a_site(), a_site("shop", prefix="/media")) == []


def test_a_media_domain_that_is_another_sites_domain_is_refused():
    assert faults_of(a_site(media_domain="shop.example.com"), a_site("shop")) == [
        "ntier_sites, site blog: the media_domain shop.example.com is a domain of site shop."
        " Give the media a host name of their own, such as media.example.com."
    ]


def test_two_sites_with_their_files_at_one_place_are_refused():
    assert faults_of(a_site(media_domain="m.example.com"), a_site("shop", media_domain="M.example.com")) == [
        "ntier_sites, site shop: site blog has its files at m.example.com already. Give one of them another media_domain."
    ]
    one, two = (a_site(name, prefix="/x", media_domain="m.example.com") for name in ("blog", "shop"))
    (fault,) = faults_of(one, two)
    assert fault.startswith("ntier_sites, site shop: site blog has its files at m.example.com/x already. ")


def test_one_media_domain_with_two_prefixes_is_allowed():
    one, two = (a_site(name, prefix=f"/{name}", media_domain="m.example.com") for name in ("blog", "shop"))
    assert faults_of(one, two, a_site("diary", media_domain="m.example.com")) == []


def test_two_sites_whose_users_have_one_number_are_refused():
    assert faults_of(a_site(), a_site("shop", uid=normal(a_site())[0]["uid"])) == [
        "ntier_sites, site shop: its user would have the number 22531, as that of site blog."
        " Set uid of one of them to a number that is free on every host."
    ]


def test_two_names_that_happen_to_give_one_number_are_refused_and_a_uid_helps():
    numbers = {}
    for number in range(20000):
        name = f"s{number}"
        other = numbers.setdefault(normal(a_site(name))[0]["uid"], name)
        if other != name:
            break
    (fault,) = faults_of(a_site(other), a_site(name))
    assert fault.startswith(f"ntier_sites, site {name}: its user would have the number ")
    assert faults_of(a_site(other, uid=1000), a_site(name)) == []


@pytest.mark.parametrize(("key", "word"), [("name", "database"), ("user", "database user")])
def test_two_sites_with_one_database_or_user_are_refused(key, word):
    (fault,) = faults_of(a_site(), a_site("shop", database={"name": "shop", "user": "shop", key: "blog"}))
    assert fault.startswith(f"ntier_sites, site shop: site blog has the {word} 'blog' already. ")
    assert "of its own" in fault


def test_all_faults_of_all_sites_are_listed_at_once():
    faults = faults_of({"name": "Blog"}, a_site("shop", prefix="x", timeout_seconds="1"), "news")
    assert len(faults) == 7


# --- virtual hosts ------------------------------------------------------------------------------------------------


def test_the_longest_prefix_comes_first():
    given = [
        a_site(name, domains=["d.example.com"], prefix=prefix)
        for name, prefix in [("a", ""), ("b", "/x"), ("c", "/x/y")]
    ]
    assert sites.virtual_hosts(given) == [{"domains": ["d.example.com"], "sites": ["c", "b", "a"]}]


def test_domains_with_the_same_sites_stand_together():
    (host,) = sites.virtual_hosts(normal(a_site(domains=["a.example.com", "b.example.com"])))
    assert host == {"domains": ["a.example.com", "b.example.com"], "sites": ["blog"]}


def test_sites_that_share_only_some_of_their_domains():
    assert sites.virtual_hosts(normal(*three_sites())) == [
        {"domains": ["www.example.com"], "sites": ["shop", "blog"]},
        {"domains": ["example.com"], "sites": ["blog"]},
        {"domains": ["diary.example.com"], "sites": ["diary"]},
    ]


def test_a_domain_that_is_given_twice_is_served_once():
    assert sites.virtual_hosts(normal(a_site(domains=["a.example.com", "A.example.com"]))) == [
        {"domains": ["a.example.com"], "sites": ["blog"]}
    ]


def test_a_value_is_shown_without_the_passwords_of_its_addresses():
    assert shown("https://me:hunter2@git.example.com/a.git") == "'https://***@git.example.com/a.git'"
    assert shown([{"git": "https://t0ken@x.example/a"}]) == "[{'git': 'https://***@x.example/a'}]"
