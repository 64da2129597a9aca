"""What a user sees who runs a playbook with an inventory that can't work: everything at once, and before any host is contacted."""

import concurrent.futures
import dataclasses
import datetime
import os
import subprocess
import sys

import pytest
import yaml
from clusters import FIGURE_2, FIGURE_3, ONE_BOX, ROOT, a_site, build
from test_asis import FULL, PRIMARY, WALK, files, kept
from test_certificates import certificate, key

from ansible_collections.ntier.django.plugins.action.plan import SUPPORTED, _release, check_system
from ansible_collections.ntier.django.plugins.action.preflight import (
    check_core,
    check_folders,
    check_sources,
    check_strategy,
    origin_of,
)
from ansible_collections.ntier.django.plugins.plugin_utils import asis, secrets
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

PREFLIGHT = [{"import_playbook": "ntier.django.preflight"}]
#: The cluster of those runs that were not the first.
OWN = secrets.make_cluster()
SECRETS = {"ntier_secrets": {"blog": {"secret_key": "k" * 50, "database_password": "p" * 30}}, "ntier_cluster": OWN}


def reported(local=None, missing=None, version="20.04", distribution="Ubuntu", built=False):
    """Return a play of the step that reads what the hosts reported, on facts that are made up: nobody is contacted.

    :arg local: the record that each host keeps.
    :arg missing: address → why a host has no way to it; the same for each.
    :arg built: whether a release is about to go live.
    """
    facts = {"distribution": distribution, "distribution_version": version, "distribution_major_version": version}
    facts |= {"ansible_local": {"ntier": local}} if local else {}
    return [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars_files": [str(ROOT / "playbooks/group_vars/all.yml")],
            "tasks": [
                {"ansible.builtin.set_fact": {**facts, "cacheable": True}},
                {"ansible.builtin.set_fact": {"__ntier_routes": {"missing": missing or {}}}},
                {"ntier.django.plan": {"built": built}, "run_once": True},
            ],
        }
    ]


def looked(**arguments):
    """Return a play of the same step where each host has what was found there, and C(release) and C(record), among its variables.

    :arg arguments: those of the step.
    """
    release = "{{ release }}"
    facts = {"distribution": "Debian", "distribution_version": release, "distribution_major_version": release}
    facts |= {"ansible_local": {"ntier": "{{ record | default('') }}"}}
    return [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars_files": [str(ROOT / "playbooks/group_vars/all.yml")],
            "tasks": [
                {"ansible.builtin.set_fact": {**facts, "cacheable": True}},
                {"ntier.django.plan": {"media": True, **arguments}, "run_once": True},
            ],
        }
    ]


def asked_in_vain():
    """Return a play of the step that reads which hosts did not answer, or not as they shall."""
    (play,) = looked()
    return [{**play, "tasks": [play["tasks"][0], {"ntier.django.answers": {"asked": "asked"}, "run_once": True}]}]


def grown(after, **found):
    """Return an inventory into which a box that has all has grown; C(found), host → its variables beside what the modules find there.

    The box remembers itself, runs Debian 12 and has two gigabytes of rows and of uploads. On the others nothing is yet.
    """
    result = tiers(after, ntier_memory_mb=2048, ntier_cores=2)
    for host, variables in result["all"]["hosts"].items():
        full = host == "box1"
        variables |= {"release": "12", "__ntier_routes": {"missing": {}}}
        variables["__ntier_database"] = {"found": PRIMARY if full else kept()}
        variables["__ntier_media"] = {"found": {**FULL, "sites": ["blog"]} if full else files()}
        variables |= {"record": asis.record(build(ONE_BOX), OWN["id"], host)} if full else {}
        variables |= found.get(host, {})
    return result


def record_of(cluster, **members):
    """Return what a host remembers of a cluster."""
    return {"cluster": cluster, "figure": "20-1", "serves": [], "members": members}


def both_steps(build):
    """Return a play with both steps, as they pass; without *build* as the playbook plan runs them."""
    return [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars_files": [str(ROOT / "playbooks/group_vars/all.yml")],
            "tasks": [
                {"ntier.django.preflight": {"build": build}, "run_once": True},
                {"ntier.django.plan": None, "run_once": True},
            ],
        }
    ]


def tiers(groups, **variables):
    """Return an inventory of hosts that don't exist, with addresses for documentation."""
    names = list(dict.fromkeys(name for hosts in groups.values() for name in hosts))
    hosts = {name: {"ansible_host": f"192.0.2.{number}", **variables} for number, name in enumerate(names, 1)}
    return {"all": {"hosts": hosts}, **{group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}}


def certified():
    """Return a site with a certificate that ends in five days, and its files."""
    now = datetime.datetime.now(datetime.UTC)
    times = {"start": now - datetime.timedelta(days=80), "end": now + datetime.timedelta(days=5, hours=1)}
    site = {**good_site(), "certificate": {"file": "tls/blog.pem", "key_file": "tls/blog.key"}}
    return site, {
        "inventory/tls/blog.pem": certificate("preflight", "blog.example.com", **times),
        "inventory/tls/blog.key": key("preflight"),
    }


def good_site():
    return a_site(source={"path": "../project"})


@dataclasses.dataclass
class Run:
    """One run of ansible-playbook: what it is given, and what it said."""

    playbook: list
    inventory: dict
    files: dict
    options: tuple = ()
    code: int = -1
    text: str = ""

    def start(self, folder):
        """Write the files and start the program in their folder."""
        for name, content in {"play.yml": self.playbook, "inventory/hosts.yml": self.inventory, **self.files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        (folder / "project").mkdir()
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory", "play.yml", *self.options]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "COLUMNS": "400",
            "ANSIBLE_NOCOLOR": "1",
        }
        environment.pop("ANSIBLE_VAULT_PASSWORD_FILE", None)
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self):
        """Wait for its end."""
        self.text = self.process.communicate(timeout=300)[0]
        self.code = self.process.returncode


VARIABLES = """\
ntier_sites:
  - name: blog
    domains: [blog.example.com]
    source: {path: ../project}
    setings: blog.settings
web_port: http
web_acess_log: journal
ntier_memory_mb: 2 GB
ntier_memory_shares: {databse: 50}
"""


#: Of a cluster whose hosts remember it.
OF_THE_CLUSTER = {
    "inventory/group_vars/all.yml": {"ntier_sites": [good_site()]},
    "inventory/group_vars/ntier_secrets.yml": SECRETS,
}


#: What can't be evaluated, and at the end what a role can on a host.
TEMPLATES = """\
ntier_sites: [{name: blog, domains: [blog.example.com], settings: blog.settings, source: {path: "{{ inventory_dir }}/{{ folder }}"}}]
ntier_secrets_file: "{{ lookup('ansible.builtin.file', '/nowhere/secrets') }}"
web_port: "{{ nope }}"
media_port: "{{ 80 + }}"
database_port: "{{ ansible_facts['services'].port }}"
pooler_port: "{{ pooler_port }}"
handover_port: "{{ web_leave_seconds + 1 }}"
web_ipv6: "{{ mine.ipv6 }}"
web_leave_seconds: "{{ 'x' + 1 }}"
release_hooks: [{when: before_migrate, command: "{{ nope }}"}]
mine: {ipv4: true}
memcached_memory_mb: "{{ ansible_facts['memtotal_mb'] // 2 }}"
worker_leave_seconds: "{{ release_drain_seconds + 5 }}"
certificate_days: "{{ hostvars[groups['all'][0]].mine_days | default(90) }}"
"""


def options(*values):
    """Return values as arguments of as many options -e."""
    return [word for value in values for word in ("-e", value)]


def all_runs():
    """Return name → run. Each combines what can be wrong at the same time, since each takes a second."""
    misspelt = tiers({"web": ["box1", "box2"], "webs": ["box3"], "media": ["box1"], "berlin": ["box4"]})
    site, files = certified()
    misspelt["all"]["hosts"]["box2"] = {"ansible_host": "10.0.0.300", "ansible_connection": "local"}
    return {
        "inventory": Run(
            PREFLIGHT,
            misspelt,
            {
                "inventory/group_vars/all.yml": VARIABLES,
                "inventory/group_vars/web.yml": "\n\nweb_ipv6: 'no'\ndatabase_provider: mysql\n",
                "inventory/host_vars/box2.yml": "ntier_sites: []\n",
            },
        ),
        "sources": Run(
            PREFLIGHT,
            tiers({**FIGURE_2, "database": ["db1", "db2"], "retired": ["old1"]}),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [
                        a_site("blog", source={"path": "nowhere"}),
                        a_site("shop", source={"path": "../project", "directory": "x"}),
                        a_site("wiki", source={"path": "../broken"}),
                        a_site("forum", source={"path": "."}),
                        a_site("diary", source={"git": "git@git.example.com:diary.git", "key_file": "keys/diary"}),
                        a_site(
                            "polls",
                            source={"git": "git@git.example.com:polls.git", "key_file": "hosts.yml"},
                            certificate={"file": "tls/polls.pem", "key_file": "tls/polls.key"},
                        ),
                    ]
                },
                "inventory/group_vars/ntier_secrets.yml": {
                    "ntier_secrets": {"blog": {"secret_key": "hunter2"}, "shop": {}}
                },
                "broken/.git": "gitdir: /nowhere\n",
                "broken/secret.env": "PASSWORD=hunter2\n",
            },
        ),
        "hosts": Run(
            reported(local=record_of("of-another-inventory")),
            tiers(ONE_BOX, ntier_memory_mb=300, ntier_cores=1),
            {"inventory/group_vars/all.yml": {"ntier_sites": [good_site()]}},
        ),
        "moved": Run(
            reported(
                record_of(OWN["id"], database=["box1"], media=["old1"], web=["box1"]),
                {"192.0.2.2": "Network is unreachable"},
                version="12",
                distribution="Debian",
            ),
            tiers(FIGURE_2, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {"ntier_sites": [good_site()]},
                "inventory/group_vars/ntier_secrets.yml": SECRETS,
            },
        ),
        "known again": Run(
            reported(record_of(OWN["id"], database=["box1"], media=["box1"]), version="13", distribution="Debian"),
            tiers(ONE_BOX, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {"ntier_sites": [good_site()]},
                "inventory/group_vars/ntier_secrets.yml": SECRETS,
            },
        ),
        "not built": Run(
            reported(version="12", distribution="Debian", built=True),
            tiers({**ONE_BOX, "load_balancer": ["lb1"], "web": ["box1", "web2"]}, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {"ntier_sites": [good_site()]},
                "inventory/group_vars/ntier_secrets.yml": SECRETS,
            },
        ),
        "one of two": Run(
            reported(
                record_of(OWN["id"], database=["box1"], media=["box1"]), None, "12", distribution="Debian", built=True
            ),
            tiers({**ONE_BOX, "load_balancer": ["lb1"], "web": ["box1", "web2"]}, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {"ntier_sites": [good_site()]},
                "inventory/group_vars/ntier_secrets.yml": SECRETS,
            },
            ("--limit", "box1"),
        ),
        # Of a host with another release of the system, whose PostgreSQL is one of the user's choice.
        "moving": Run(
            looked(),
            grown(
                FIGURE_3,
                box1={"__ntier_database": {"found": {**PRIMARY, "version": "16"}}, "handover_logical": "yes"},
                db1={"database_version": "17", "handover_logical": "yes"},
            ),
            OF_THE_CLUSTER,
        ),
        "jumped": Run(looked(moves=False), grown(WALK["20-4"], db1={"release": "13"}), OF_THE_CLUSTER),
        "left out": Run(
            looked(),
            grown(FIGURE_3, box1={"record": "", "__ntier_database": {}, "__ntier_media": {}}),
            OF_THE_CLUSTER,
            ("--limit", "db1,media1"),
        ),
        "given up": Run(
            looked(),
            grown(FIGURE_2, box1={"record": asis.record(build(FIGURE_2), OWN["id"], "box1")}),
            OF_THE_CLUSTER,
            ("-e", '{"ntier_given_up": ["db1"]}'),
        ),
        "away": Run(
            asked_in_vain(),
            grown(
                WALK["20-4"],
                box1={"record": asis.record(build(WALK["20-4"]), OWN["id"], "box1")},
                db1={"asked": {"unreachable": True, "msg": "Connection timed out"}},
                media1={"asked": {"failed": True, "msg": "Missing sudo password"}},
                web2={"asked": {"unreachable": True, "msg": "No route to host"}},
                lb1={"asked": {"ansible_facts": {}}},
            ),
            OF_THE_CLUSTER,
        ),
        "release": Run(
            [{"import_playbook": "ntier.django.preflight", "vars": {"ntier_releases": True}}],
            tiers(ONE_BOX),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [good_site()],
                    "release_hooks": [{"when": "later", "command": "manage.py 'x", "site": "blob"}],
                }
            },
            ("-e", "release_version=v1.2"),
        ),
        "command": Run(
            [{"import_playbook": "ntier.django.release_command"}],
            tiers(ONE_BOX),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [good_site(), {**good_site(), "name": "polls", "domains": ["polls.example.com"]}]
                }
            },
        ),
        "dropped": Run(
            [{"import_playbook": "ntier.django.release_command"}],
            tiers(ONE_BOX),
            {"inventory/group_vars/all.yml": {"ntier_sites": [good_site()]}},
            options(
                *(
                    "site=blog command=loaddata --database=default f.json",
                    "release_keep = 5",
                    "ansible_become_password=a hunter2",
                ),
                *(
                    "command=migrate x=y",
                    "command=migrate polls 0002",
                    "mine=1",
                    '{"mine": "a b"}',
                    "@inventory/hosts.yml",
                ),
                *(
                    "ntier_given_up=db1,db2",
                    "firewall_ssh_ports=[22]",
                    "web_port=080",
                    "web_ipv6=y",
                    "handover_logical=TRUE",
                ),
            ),
        ),
        "templates": Run(
            [{"import_playbook": "ntier.django.rollback"}],
            tiers(FIGURE_2),
            {"inventory/group_vars/all.yml": TEMPLATES},
            options("rollback_migrations=revert"),
        ),
        "faults without secrets": Run(
            PREFLIGHT,
            tiers(ONE_BOX),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [a_site(source={"path": "nowhere"})],
                    "web_port": "http",
                }
            },
        ),
        "planned": Run(
            both_steps(build=False),
            tiers(FIGURE_2),
            {"inventory/group_vars/all.yml": {"ntier_sites": [good_site()], "database_port": 5433}},
            options(
                "web_port=8080 web_ipv6=No",
                "ntier_memory_mb=2048",
                "ntier_cores=2",
                "handover_logical=true",
                "site=blog",
            ),
        ),
        "balanced": Run(
            both_steps(build=True),
            tiers({**ONE_BOX, "load_balancer": ["lb1"]}, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [{**site, "source": {"path": "{{ inventory_dir }}/../project"}}],
                    "ntier_secrets_file": "{{ inventory_dir }}/../secrets.yml",
                },
                "secrets.yml": SECRETS,
                **files,
            },
        ),
        "checked": Run(
            both_steps(build=True),
            tiers(ONE_BOX, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {"ntier_sites": [good_site()], "ntier_secrets_file": "../secrets.yml"},
                "secrets.yml": SECRETS,
            },
            ("--check",),
        ),
        "good": Run(
            both_steps(build=True),
            tiers(ONE_BOX, ntier_memory_mb=2048, ntier_cores=2),
            {
                "inventory/group_vars/all.yml": {
                    "ntier_sites": [good_site()],
                    "database_version": "{{ ansible_facts['x'] }}",
                    "my_own": 1,
                }
            },
        ),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return all runs after their end; some run at the same time."""
    result = all_runs()

    def run(name):
        result[name].start(folders[name])
        result[name].finish()

    folders = {name: tmp_path_factory.mktemp(name) for name in result}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        list(pool.map(run, result))
    return result


FAULTS = {
    "dropped": [
        "option -e 'site=blog command=loaddata --database=default f.json': Ansible splits it at spaces, and would drop f.json and would take"
        """ '--database' for a variable. Write -e '{"site": "blog", "command": "loaddata --database=default f.json"}'.""",
        "option -e 'release_keep = 5': Ansible splits it at spaces, and would drop 'release_keep = 5'. Write -e NAME=VALUE, without spaces",
        "an option -e: Ansible ends each value at a space, and words after ansible_become_password would be dropped. Quote such a value twice",
        """option -e 'command=migrate x=y': Ansible splits it at spaces, and would take 'x' for a variable. Write -e '{"command": "migrate x=y"}'.""",
        "option -e 'command=migrate polls 0002': Ansible splits it at spaces, and would drop 'polls 0002'."
        """ Write -e '{"command": "migrate polls 0002"}'.""",
        "variable ntier_given_up (host box1): is 'db1,db2', a text. It has to be a list: on the command line write -e"
        """ '{"ntier_given_up": ["db1", "db2"]}'.""",
        "variable firewall_ssh_ports (host box1): is '[22]', a text. It has to be a list: on the command line write -e"
        """ '{"firewall_ssh_ports": [22]}'.""",
        "variable web_port (host box1): is '080', a text. It has to be a whole number",
        "variable web_ipv6 (host box1): is 'y', a text. It has to be true or false.",
    ],
    "templates": [
        "inventory/group_vars/all.yml:1: variable ntier_sites: can't be evaluated: 'folder' is undefined. Correct the template",
        "inventory/group_vars/all.yml:2: variable ntier_secrets_file: can't be evaluated: The lookup plugin 'ansible.builtin.file' failed: Unable",
        "inventory/group_vars/all.yml:3: variable web_port: can't be evaluated: 'nope' is undefined. Correct the template",
        "inventory/group_vars/all.yml:4: variable media_port: can't be evaluated: unexpected 'end of print statement'. Correct",
        "inventory/group_vars/all.yml:5: variable database_port: can't be evaluated: a dictionary has no key 'services'. It depends on"
        " ansible_facts, which is not known before hosts are contacted. Give it a value that does not.",
        "inventory/group_vars/all.yml:6: variable pooler_port: can't be evaluated: the template refers to itself. Correct",
        "inventory/group_vars/all.yml:7: variable handover_port: can't be evaluated: can only concatenate a text (not a whole number) to a text.",
        "inventory/group_vars/all.yml:8: variable web_ipv6: can't be evaluated: a dictionary has no key 'ipv6'. Correct",
        "inventory/group_vars/all.yml:9: variable web_leave_seconds: can't be evaluated: can only concatenate a text (not a whole number)",
        "inventory/group_vars/all.yml:10: variable release_hooks: can't be evaluated: 'nope' is undefined.",
        "variable rollback_migrations (hosts box1 and db1): is 'revert'. Use one of refuse, reverse and keep.",
    ],
    "release": [
        "inventory/group_vars/all.yml:9: variable release_hooks: is ",
        "variable release_version, site blog: its source is a folder, ../project, which has no versions. Leave release_version out",
        "variable release_hooks, item 1: there is no site 'blob' in ntier_sites. Did you mean 'blog'?",
        'variable release_hooks, item 1: the command "manage.py \'x" has a quote without its second one. Close it.',
    ],
    "command": [
        "variable site: is missing, and there are the sites blog and polls. Name the one that is meant with -e site=NAME.",
        "variable command: is missing, or no text. Write it as in -e 'command=\"clearsessions --verbosity 2\"'.",
    ],
    "inventory": [
        "inventory/group_vars/all.yml:6: variable web_port: is 'http', a text. It has to be a whole number.",
        "inventory/group_vars/all.yml:8: variable ntier_memory_mb: is '2 GB', a text. It has to be a whole number.",
        "inventory/group_vars/all.yml:9: variable ntier_memory_shares: is {'databse': 50}. ",
        "inventory/group_vars/web.yml:3: variable web_ipv6: is 'no', a text. It has to be true or false",
        "inventory/group_vars/web.yml:4: variable database_provider: is 'mysql'. Use postgresql.",
        "variable ntier_sites: is [{'name': 'blog', 'domains': ['blog.example.com'], 'sourc... for box1 and [] for box2, and reaches more hosts",
        "variable database_provider: is 'mysql' for box1 and not set for box3, and reaches more hosts than the one that it is set for.",
        "group webs: is no tier, so box3 would not serve as web. Name the group 'web'.",
        "host box4: is in no tier. Put it in one of the groups load_balancer, web, media, memcached and database",
        "group database: is empty: no host would keep the sites' rows. Put a host in it",
        "group load_balancer: is empty, and box1 and box2 are 2 web hosts. Put a host in it, or keep one web host.",
        "host box2, ansible_host: '10.0.0.300' is no address. Set ansible_host of box2",
        "ntier_sites, site blog: has the unknown key 'setings'. Did you mean 'settings'?",
        "ntier_sites, site blog: has no 'settings'. Name its settings module",
    ],
    "sources": [
        "ntier_sites, site blog: source.path is FOLDER/inventory/nowhere, which is no folder on this controller. Correct the path",
        "ntier_sites, site shop: source.directory 'x' is not in FOLDER/project. Name a folder inside it",
        "ntier_sites, site wiki: source.path can't be released: FOLDER/broken lies in a git repository (FOLDER/broken/.git), but git does not list"
        " its files: not a git repository: /nowhere. Make 'git -C FOLDER/broken status' work; if this is no repository, remove FOLDER/broken/.git.",
        "ntier_sites, site forum: source.path can't be released: FOLDER/inventory is the inventory, too: Ansible reads every file in it",
        "ntier_sites, site diary: source.key_file is FOLDER/inventory/keys/diary, which is no file on this controller.",
        "ntier_sites, site polls: certificate.file is FOLDER/inventory/tls/polls.pem, which is no file on this controller.",
        "ntier_sites, site polls: certificate.key_file is FOLDER/inventory/tls/polls.key, which is no file on this controller.",
        "The inventory draws figure 20-5 (the large cluster)",
        "file FOLDER/inventory/group_vars/ntier_secrets.yml: ntier_secrets.blog has no 'database_password'. Put it back",
        "file FOLDER/inventory/group_vars/ntier_secrets.yml: ntier_secrets.shop has no 'database_password'. Put it back",
        "file FOLDER/inventory/group_vars/ntier_secrets.yml: ntier_secrets.shop has no 'secret_key'. Put it back",
    ],
    "faults without secrets": [
        "inventory/group_vars/all.yml:8: variable web_port: is 'http', a text. It has to be a whole number.",
        "ntier_sites, site blog: source.path is FOLDER/inventory/nowhere, which is no folder on this controller.",
    ],
    "hosts": [
        "host box1: runs Ubuntu 20.04. ntier.django supports Debian 12 and 13 and Ubuntu 22.04 and 24.04.",
        "host box1: it has 300 MB of memory and shall serve web, media, memcached and database for 1 site, which takes at least 552 MB.",
        "host box1: belongs to another cluster: its /etc/ansible/facts.d/ntier.fact names of-another-inventory, and this inventory's"
        " secrets none yet. Use the inventory, with the secrets file, that built the host;",
    ],
    "not built": [
        "host box1: has not been built yet, so no release can go live there. Run ntier.django.site first.",
        "host web2: has not been built yet, so no release can go live there. Run ntier.django.site first.",
    ],
    "jumped": [
        "host db1: has PostgreSQL 17, and box1 has 15, whose data it can't read. Use a host with PostgreSQL 15, or set handover_logical: true,",
        "group media: moves from box1 to media1 while visitors come to box1. Do one after the other: leave the uploads where they are until DNS",
        "group media: the uploads are still on box1, and have to move to media1 first. Run ntier.django.site, which moves them.",
    ],
    "left out": [
        "host db1: has none of the sites' rows yet, and whether box1 has them was not asked. Run it without --limit.",
        "host media1: has none of the sites' uploads yet, and whether box1 has them was not asked. Run it without --limit.",
    ],
    "away": [
        "host db1: can't be reached, and is where the sites' rows are: Connection timed out. See that it runs and takes SSH"
        " connections at 192.0.2.5, port 22, for your user: ansible -i inventory db1 -m ansible.builtin.ping tries that. Nothing is changed without it.",
        "host media1: can't be asked: Missing sudo password. See that ansible_user becomes root there without a question",
        "host web2: can't be reached: No route to host. See that it runs and takes SSH connections at 192.0.2.3, port 22, for your user: ansible -i",
    ],
    "moved": [
        *(
            f"host {name}: has no way to db1 (database) at 192.0.2.2: Network is unreachable. Connect their networks, or set ntier_address of"
            f" db1 to an address that {name} reaches."
            for name in ("box1", "db1")
        ),
        "group database: moves from box1 to db1, and there is no answer from box1 and db1. Run it without --limit",
        "group media: is without old1 now, where the sites' uploads of this cluster are, and box1 would start without any. Put old1",
    ],
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_listed_at_once(runs, name):
    run = runs[name]
    listed = [
        line.strip() for line in run.text.split("fatal:")[0].splitlines() if line.startswith("  ") and ". " in line[:6]
    ]
    found = [line.split(". ", 1)[1] for line in listed]
    expected = [fault.replace("FOLDER", str(run.folder)) for fault in FAULTS[name]]
    assert run.code != 0
    assert [fault for fault in expected if not any(line.startswith(fault) for line in found)] == [], run.text
    assert len(found) == len(expected), run.text


@pytest.mark.parametrize("name", FAULTS)
def test_no_host_was_contacted_and_the_message_says_so(runs, name):
    assert "UNREACHABLE" not in runs[name].text
    assert "unreachable=0" in runs[name].text
    assert "Ask the hosts" not in runs[name].text
    assert "no host has been changed)" in runs[name].text
    assert "Traceback" not in runs[name].text


def test_a_misspelt_variable_is_a_warning(runs):
    assert "Nothing reads the variable web_acess_log; did you mean web_access_log?" in runs["inventory"].text
    assert "Nothing reads" not in runs["good"].text


def test_certificates_that_nobody_will_use_are_a_warning(runs):
    text = "The certificates of polls wait for a host in load_balancer: without one there is no TLS"
    assert text in runs["sources"].text
    assert "wait for a host" not in runs["good"].text + runs["balanced"].text


def test_a_certificate_that_ends_soon_is_a_warning(runs):
    assert runs["balanced"].code == 0, runs["balanced"].text
    folder = runs["balanced"].folder
    said = f"[WARNING]: ntier_sites, site blog: the certificate {folder}/inventory/tls/blog.pem ends in 5 days, on "
    assert said in runs["balanced"].text, runs["balanced"].text


@pytest.mark.parametrize("name", ["sources", "dropped"])
def test_a_secret_is_not_shown(runs, name):
    assert "hunter2" not in runs[name].text


def test_a_site_that_a_playbook_does_not_read_is_a_warning(runs):
    assert "Only release, rollback and release_command read site; this run is one of all sites" in runs["planned"].text


def test_what_is_right_passes_and_shows_the_plan(runs):
    run = runs["good"]
    assert run.code == 0, run.text
    assert "Figure 20-1: one box" in run.text
    assert "box1  2048" in run.text


def test_preflight_makes_the_secrets_beside_the_inventory(runs):
    path = runs["good"].folder / "inventory/group_vars/ntier_secrets.yml"
    content = yaml.safe_load(path.read_text())
    assert set(content["ntier_secrets"]) == {"blog"}
    assert set(content["ntier_cluster"]) == set(OWN)


def test_a_run_over_a_balanced_cluster_keeps_its_secrets_and_shows_its_plan(runs):
    run = runs["balanced"]
    assert run.code == 0, run.text
    assert "Figure 20-4: a balancer before a cluster of web hosts" in run.text
    assert "everybody      →  load_balancer  ports 80 and 443" in run.text
    assert yaml.safe_load((run.folder / "secrets.yml").read_text()) == SECRETS
    assert not (run.folder / "inventory/group_vars/ntier_secrets.yml").exists()  # the user keeps a file elsewhere


def test_hosts_that_remember_this_cluster_pass(runs):
    assert runs["known again"].code == 0, runs["known again"].text
    assert "Figure 20-1: one box" in runs["known again"].text


def test_the_plan_of_a_run_says_what_moves_how_much_and_how_long_the_sites_wait(runs):
    run = runs["moving"]
    assert run.code == 0, run.text
    lines = [" ".join(line.split()) for line in run.text.splitlines()]
    first = lines.index("Moves")
    assert lines[first + 1 : first + 3] == [
        "database box1 → db1 2.0 GB some 260 s sites wait some 2 s for a restart, then less than 1 s",
        "media box1 → media1 2.0 GB in 2000 files some 110 s sites wait less than 2 s",
    ]
    assert "Begins empty" not in lines
    assert first < lines.index("Tiers")


def test_sites_begin_without_what_is_given_up(runs):
    run = runs["given up"]
    assert run.code == 0, run.text
    lines = [" ".join(line.split()) for line in run.text.splitlines()]
    first = lines.index("Begins empty")
    assert lines[first + 1 : first + 3] == ["database db1 has none of the sites' rows yet", ""]


def test_hosts_that_do_not_answer_are_named_before_anything_else_is_asked():
    """Ansible itself would end the play there, or go on without them."""
    play = yaml.safe_load((ROOT / "playbooks/preflight.yml").read_text())[1]
    (place,) = [number for number, task in enumerate(play["tasks"]) if "ntier.django.answers" in task]
    *before, facts, answers = play["tasks"][: place + 1]
    assert [task for task in before if "ansible.builtin.set_fact" not in task] == []
    assert "ntier.django.host_facts" in facts
    assert (facts["ignore_unreachable"], facts["any_errors_fatal"], play["any_errors_fatal"]) == (True, False, True)
    assert (answers["ntier.django.answers"], answers["run_once"]) == ({"asked": facts["register"]}, True)


def test_a_release_on_some_hosts_asks_nothing_of_the_others(runs):
    assert runs["one of two"].code == 0, runs["one of two"].text


@pytest.mark.parametrize(
    "name", ["inventory", "templates", "dropped", "faults without secrets", "planned", "checked", "hosts"]
)
def test_what_is_refused_planned_or_checked_makes_no_secrets(runs, name):
    assert not (runs[name].folder / "inventory/group_vars/ntier_secrets.yml").exists()


def test_secrets_are_not_added_to_while_there_are_faults(runs):
    content = yaml.safe_load((runs["sources"].folder / "inventory/group_vars/ntier_secrets.yml").read_text())
    assert content == {"ntier_secrets": {"blog": {"secret_key": "hunter2"}, "shop": {}}}


def test_a_larger_figure_is_planned_with_the_users_ports(runs):
    run = runs["planned"]
    assert run.code == 0, run.text
    assert "Figure 20-2" in run.text
    assert "192.0.2.1:8080" in run.text
    assert "192.0.2.2:5433" in run.text


def test_check_mode_passes_without_secrets(runs):
    assert runs["checked"].code == 0, runs["checked"].text


# --- without a run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.18.6", "2.9.27", "1.9", "devel"])
def test_an_ansible_that_is_too_old_is_refused(version):
    faults = Faults()
    check_core(version, faults)
    assert faults.sentences == [
        f"ansible-core on this controller: is {version}. ntier.django needs 2.19 or newer: pip install 'ansible-core>=2.19'."
    ]


@pytest.mark.parametrize("version", ["2.19.0", "2.19.0rc1", "2.20.1", "3.0.0"])
def test_an_ansible_that_is_new_enough_is_allowed(version):
    faults = Faults()
    check_core(version, faults)
    assert not faults


@pytest.mark.parametrize("name", ["free", "ansible.builtin.free", "host_pinned", "mitogen_free", "mitogen_host_pinned"])
def test_a_strategy_without_lockstep_is_a_fault(name):
    faults = Faults()
    check_strategy(name, faults)
    (sentence,) = faults.sentences
    assert name.rpartition(".")[2] in sentence
    assert "Use linear or mitogen_linear" in sentence


@pytest.mark.parametrize("name", ["linear", "ansible.builtin.linear", "mitogen_linear", "debug"])
def test_strategies_in_lockstep_are_no_fault(name):
    faults = Faults()
    check_strategy(name, faults)
    assert not faults


@pytest.mark.parametrize(
    ("distribution", "version"),
    [
        ("Debian", "11"),
        ("Debian", "14"),
        ("Debian", "13.1"),
        ("Ubuntu", "20.04"),
        ("Ubuntu", "22"),
        ("RedHat", "9"),
        ("Debian", "22.04"),
    ],
)
def test_an_operating_system_that_the_roles_dont_know_is_refused(distribution, version):
    faults = Faults()
    check_system("box1", distribution, version, faults)
    assert faults.sentences == [
        f"host box1: runs {distribution} {version}. ntier.django supports Debian 12 and 13 and Ubuntu 22.04 and 24.04."
    ]


@pytest.mark.parametrize(
    ("distribution", "version"), [(name, version) for name, versions in SUPPORTED.items() for version in versions]
)
def test_a_supported_operating_system_is_allowed(distribution, version):
    faults = Faults()
    check_system("box1", distribution, version, faults)
    assert not faults


@pytest.mark.parametrize(
    ("distribution", "version", "release"),
    [("Debian", "13.1", "13"), ("Debian", "12.11", "12"), ("Ubuntu", "24.04", "24.04")],
)
def test_debian_counts_in_majors_and_ubuntu_by_year_and_month(distribution, version, release):
    facts = {
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.split(".")[0],
    }
    assert _release(facts) == release


def test_source_folders_are_looked_for_from_the_inventory_on(tmp_path):
    (tmp_path / "blog/backend").mkdir(parents=True)
    faults = Faults()
    for location in ("blog", "./blog", str(tmp_path / "blog")):
        for directory in ("", "backend"):
            source = {"kind": "path", "location": location, "directory": directory}
            check_folders([{"name": "blog", "source": source}], str(tmp_path), faults)
    check_folders(
        [{"name": "shop", "source": {"kind": "git", "location": "nowhere", "directory": "x"}}], str(tmp_path), faults
    )
    assert not faults


def test_what_a_release_leaves_out_by_its_look_is_a_warning(tmp_path):
    files = ["blog/deploy/group_vars/a.yml", *(f"blog/secret{number}.yml" for number in range(4)), "blog/manage.py"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("$ANSIBLE_VAULT;1.1;AES256\n" if "secret" in name else "x: 1\n")
    faults = Faults()
    site = {"name": "blog", "source": {"kind": "path", "location": "blog", "directory": ""}}
    assert check_sources([site], str(tmp_path), {}, faults) == [
        f"ntier_sites, site blog: the release leaves out deploy/group_vars/a.yml of {tmp_path}/blog: Ansible's folder group_vars",
        f"ntier_sites, site blog: the release leaves out secret0.yml, secret1.yml, secret2.yml and 1 more of {tmp_path}/blog:"
        " encrypted with Ansible's vault",
    ]
    assert not faults


@pytest.mark.parametrize(
    ("files", "keys", "fault"),
    [
        (
            {"requirements.txt": "a==1 --hash=sha256:aa\nb\n"},
            {},
            "some have hashes, and b (requirements.txt, line 2) none",
        ),
        (
            {"app/requirements.txt": "--prefer-binary\n"},
            {},
            "app/requirements.txt, line 1: the option --prefer-binary is not",
        ),
        (
            {"live.txt": "-r https://x.example/r.txt\n", "requirements.txt": "a\n"},
            {"requirements": "live.txt"},
            "live.txt, line 1: ",
        ),
        ({"requirements.txt": "--proxy x\n", "uv.lock": "", "pyproject.toml": ""}, {}, None),
        ({"requirements.txt": "-f wheels\na==1\n"}, {}, None),
        ({}, {"requirements": "later.txt"}, None),
    ],
)
def test_requirements_that_can_not_be_used_are_refused_before_a_host_is_asked(tmp_path, files, keys, fault):
    for name, text in {"app/manage.py": "", **files}.items():
        (tmp_path / "blog" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "blog" / name).write_text(text)
    faults = Faults()
    site = {"name": "blog", "source": {"kind": "path", "location": "blog", "directory": "app"}, **keys}
    check_sources([site], str(tmp_path), {}, faults)
    assert len(faults) == (1 if fault else 0)
    assert fault is None or f"ntier_sites, site blog: requirements: {fault}" in faults.sentences[0]


def test_a_value_without_an_origin_has_none():
    assert origin_of("plain") is None
    assert origin_of(5) is None
