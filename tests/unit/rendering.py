"""Templates of roles, rendered as Ansible renders them, with the values that the wiring gives. For the test files of all roles."""

import ast
import functools
import re

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, generate_ansible_template_vars, trust_as_template
from clusters import ROOT, build, three_sites, wired

from ansible_collections.ntier.django.plugins.plugin_utils.processes import units
from ansible_collections.ntier.django.plugins.plugin_utils.sizing import size_host
from ansible_collections.ntier.django.plugins.plugin_utils.topology import PROVIDERS

FACTS = {
    "Debian 12": {"distribution": "Debian", "distribution_major_version": "12", "distribution_version": "12.9"},
    "Debian 13": {"distribution": "Debian", "distribution_major_version": "13", "distribution_version": "13.1"},
    "Ubuntu 22.04": {"distribution": "Ubuntu", "distribution_major_version": "22", "distribution_version": "22.04"},
    "Ubuntu 24.04": {"distribution": "Ubuntu", "distribution_major_version": "24", "distribution_version": "24.04"},
}
TEMPLATES = sorted(f"{path.parents[1].name}/{path.name}" for path in ROOT.glob("roles/*/templates/*"))
SIZE = size_host(4096, 2, ("web", "media", "memcached", "database"), sites=3)
#: What the roles are told on one box with three sites.
WIRING = wired(build(sites=three_sites()), size=SIZE)
#: A site's worker, and a timer of it.
BACKGROUND = [
    {
        "name": "shop",
        "processes": [
            {"name": "worker", "command": "celery -A shop worker", "memory_mb": 256},
            {"name": "clear", "command": "manage.py clearsessions", "schedule": "daily"},
        ],
    }
]
#: From the box to a database host.
HANDOVER = {
    "handover_source": {"name": "box1", "address": "10.0.0.11", "port": 5432},
    "handover_target": {"name": "db1", "address": "10.0.0.21", "port": 5432},
    "handover_poolers": [{"name": "box1", "address": "10.0.0.11"}],
    "handover_databases": [{"name": "shop", "user": "shop"}],
    "handover_version": "15",
}
#: From the box to a media host.
MEDIA_MOVE = {
    "media_move_source": {"name": "box1", "address": "10.0.0.11"},
    "media_move_target": {"name": "media1", "address": "10.0.0.31"},
    "media_move_followers": ["web2"],
    "media_move_sites": ["shop"],
}
#: What the tasks loop over, where it is not the site shop of the list C({role}_sites).
ITEMS = {
    "release/environment.j2": {"__release_site": {"name": "diary"}},
    **{
        f"handover/{name}.j2": HANDOVER
        for name in ("agent.json", "plan.json", "source.conf", "ntier-handover.service", "ntier-handover-agent.service")
    },
    **{f"media_move/{name}.j2": MEDIA_MOVE for name in ("job.json", "ntier-media-move.service")},
    "worker/process.service.j2": {"__worker_unit": units(BACKGROUND)[0]},
    "worker/process.timer.j2": {"__worker_unit": units(BACKGROUND)[1]},
}
#: Templates that are another provider's of the tier web than the default.
PROVIDED = {
    "web/lighttpd.conf.j2": "lighttpd_uwsgi",
    "web/lighttpd-service.conf.j2": "lighttpd_uwsgi",
    "web/apache.conf.j2": "apache_mod_wsgi",
    "web/apache-service.conf.j2": "apache_mod_wsgi",
    "web/django-daemons@.service.j2": "apache_mod_wsgi",
}
#: Formats that know no comment.
WITHOUT_COMMENT = (
    "handover/agent.json.j2",
    "handover/plan.json.j2",
    "media_move/job.json.j2",
    "release/settings.json.j2",
    "pooler/ntier-users.txt.j2",
    "record/ntier.fact.j2",
)


def of(template):
    """Note that a test looks at the content of a template."""
    assert template in TEMPLATES, f"no role has the template {template}"
    return lambda function: function


def looked_at():
    """Return the templates that a test of any test file looks at: read from the text, as most files are not loaded in one run."""
    found = set()
    for path in (ROOT / "tests/unit").glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            statement.targets[0].id: statement.value.value
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and isinstance(statement.value, ast.Constant)
        }
        for function in tree.body:
            for mark in getattr(function, "decorator_list", []):
                if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "of":
                    (given,) = mark.args
                    found.add(given.value if isinstance(given, ast.Constant) else names[given.id])
    return found


@functools.cache
def wired_variables():
    """Return the variables that the roles' defaults read, as the playbooks derive them from the wiring."""
    derived = DataLoader().load_from_file(str(ROOT / "playbooks/group_vars/all.yml"), trusted_as_template=True)
    templar = Templar(DataLoader(), {**derived, "__ntier_wiring": WIRING})
    return {name: templar.template(value) for name, value in derived.items() if "ntier_wiring." in value}


@functools.cache
def variables_of(role):
    """Return a role's variables as it would have them in site.yml, with those of the tier's default provider."""
    result = {**wired_variables()}
    for name in ("defaults/main.yml", "vars/main.yml", f"vars/{PROVIDERS.get(role, [''])[0]}.yml"):
        if (ROOT / "roles" / role / name).exists():
            result |= DataLoader().load_from_file(str(ROOT / "roles" / role / name), trusted_as_template=True)
    return result


def item_of(template):
    """Return what the task that writes a file for each site loops over."""
    role = template.split("/", maxsplit=1)[0]
    sites = WIRING.get(f"{role}_sites") or []
    return ITEMS.get(template) or {f"__{role}_site": site for site in sites if site["name"] == "shop"}


def web_of(provider, tiers=None, host="box1", sites=None, **more):
    """Return what the role web is told on one host of a cluster with three sites and another provider, as variables of its own."""
    sites = sites or [{**site, "anonymous_cache_seconds": 0} for site in three_sites()]
    wiring = wired(build(tiers, sites=sites, providers={"web": provider}), host, size=SIZE)
    keys = ("web_sites", "web_virtual_hosts", "web_media_servers", "web_media_virtual_hosts")
    path = str(ROOT / f"roles/web/vars/{provider}.yml")
    return {
        **DataLoader().load_from_file(path, trusted_as_template=True),
        "web_provider": provider,
        **{key: wiring[key] for key in keys},
        "web_balancers": wiring["trusted_proxies"],
        **more,
    }


def render(template, system="Debian 13", **more):
    """Return the text that Ansible would bring to a host; an undefined variable is an error."""
    return render_anew(template, system, **more) if more else render_once(template, system)


def render_anew(template, system, **more):
    """Return the text of a template, with other values in some of its variables."""
    role, name = template.split("/")
    path = ROOT / "roles" / role / "templates" / name
    variables = {
        **variables_of(role),
        "inventory_hostname": "box1",
        "ansible_check_mode": False,
        "ansible_facts": {**FACTS[system], "packages": {}},
        **item_of(template),
        **(web_of(PROVIDED[template]) if template in PROVIDED else {}),
        **generate_ansible_template_vars(path=name, fullpath=str(path), dest_path=f"/etc/{path.stem}"),
        **more,
    }
    templar = Templar(DataLoader(), variables)
    return templar.template(
        trust_as_template(path.read_text()), escape_backslashes=False, overrides={"trim_blocks": True}
    )


render_once = functools.cache(render_anew)


def settings_in(text):
    """Return name → value of lines such as C(name = value)."""
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line and not line.startswith("#"))


def servers(text):
    """Return name → text of each server block of an nginx configuration."""
    blocks = re.findall(r"^server {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL)
    return {re.search(r"server_name (.*);", block)[1]: block for block in blocks}


def locations(block):
    """Return match → text of each location, in their order."""
    return dict(re.findall(r"^    location (.*?) {\n(.*?)^    }", block, flags=re.MULTILINE | re.DOTALL))
