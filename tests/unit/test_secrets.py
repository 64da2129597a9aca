"""The secrets of sites and cluster: made once beside the inventory, and never lost."""

import multiprocessing
import os
import stat
import uuid

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar, trust_as_template
from cryptography import x509

from ansible_collections.ntier.django.plugins.plugin_utils import authority, secrets
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

KEYS = {"database_password", "secret_key"}
WHOLE = {"database_password": "p", "secret_key": "k"}
CLUSTER = secrets.make_cluster()
CLUSTER_KEYS = {"id", "authority_key", "authority_certificate"}


@pytest.fixture
def path(tmp_path):
    """Return where the file shall be; not even its folder is there yet."""
    return tmp_path / "inventory" / "group_vars" / "ntier_secrets.yml"


def loader_with(password=None):
    loader = DataLoader()
    if password:
        loader.set_vault_secrets([("default", VaultSecret(password.encode()))])
    return loader


def look_up(path, *sites, password=None, check_mode=False, **options):
    """Return the secrets as a run would have them, with the vault password that it was given."""
    plugin = lookup_loader.get("ntier.django.secrets", loader=loader_with(password), templar=None)
    (result,) = plugin.run([list(sites)], {"ansible_check_mode": check_mode}, path=str(path), **options)
    return result


def fault_of(path, *sites, **options):
    with pytest.raises(AnsibleLookupError) as error:
        look_up(path, *sites, **options)
    text = str(error.value)
    assert text.count("The inventory can't work as it is") == 1
    return text


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump({"ntier_secrets": content}))


def write_cluster(path, cluster, sites=None):
    write(
        path, yaml.safe_dump({"ntier_secrets": {"blog": WHOLE if sites is None else sites}, "ntier_cluster": cluster})
    )


def sites_in(path):
    return yaml.safe_load(path.read_text())["ntier_secrets"]


def cluster_in(path):
    return yaml.safe_load(path.read_text())["ntier_cluster"]


# --- made once ----------------------------------------------------------------------------------------------------


def test_the_first_run_makes_the_file_for_its_owner_alone(path):
    made = look_up(path, "blog", "shop")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sites_in(path) == made
    assert set(made) == {"blog", "shop"}
    assert all(set(entry) == KEYS for entry in made.values())
    assert path.read_text().startswith(secrets.HEADING)


def test_every_secret_is_long_plain_and_different(path):
    made = [value for entry in look_up(path, "blog", "shop").values() for value in entry.values()]
    assert len(set(made)) == 4
    assert all(len(value) >= 40 and value.isalnum() and value.isascii() for value in made)


def test_nothing_but_the_file_is_left_in_the_folder(path):
    look_up(path, "blog")
    assert list(path.parent.iterdir()) == [path]


def test_the_second_run_has_the_same_secrets_and_leaves_the_file_alone(path):
    made = look_up(path, "blog")
    before = path.stat()
    assert look_up(path, "blog") == made
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_new_site_gets_secrets_and_the_others_keep_theirs(path):
    made = look_up(path, "blog")
    assert look_up(path, "blog", "shop")["blog"] == made["blog"]
    assert set(sites_in(path)) == {"blog", "shop"}


def test_a_site_that_is_out_of_the_inventory_for_now_keeps_its_secrets(path):
    made = look_up(path, "blog", "shop")
    look_up(path, "diary")
    assert look_up(path, "blog", "shop") == made
    assert set(sites_in(path)) == {"blog", "shop", "diary"}


def test_only_the_sites_that_were_asked_for_are_returned(path):
    look_up(path, "blog", "shop")
    assert set(look_up(path, "shop")) == {"shop"}


def test_secrets_that_a_person_wrote_are_kept_even_when_they_look_like_numbers(path):
    write(path, "ntier_secrets: {blog: {database_password: 123, secret_key: 'a: #b'}}")
    assert look_up(path, "blog", "shop")["blog"] == {"database_password": "123", "secret_key": "a: #b"}
    assert look_up(path, "blog")["blog"] == {"database_password": "123", "secret_key": "a: #b"}


def test_the_lookup_works_in_a_template(path):
    template = trust_as_template("{{ lookup('ntier.django.secrets', ['blog'], path=where) }}")
    templar = Templar(loader=DataLoader(), variables={"where": str(path), "ansible_check_mode": False})
    assert templar.template(template) == look_up(path, "blog")


# --- check mode ---------------------------------------------------------------------------------------------------


def test_check_mode_writes_nothing_and_returns_stand_ins(path):
    assert look_up(path, "blog", check_mode=True) == {"blog": dict.fromkeys(KEYS, secrets.PLACEHOLDER)}
    assert not path.parent.exists()


def test_check_mode_returns_the_secrets_that_are_there(path):
    made = look_up(path, "blog")
    before = path.read_text()
    found = look_up(path, "blog", "shop", check_mode=True)
    assert found == {**made, "shop": dict.fromkeys(KEYS, secrets.PLACEHOLDER)}
    assert path.read_text() == before


def test_check_mode_does_not_encrypt(path):
    made = look_up(path, "blog")
    assert look_up(path, "blog", check_mode=True, password="pw") == made
    assert path.read_text().startswith(secrets.HEADING)


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"blog": {"secret_key": "k"}}, "ntier_secrets.blog has no 'database_password'. Put it back from a copy"),
        ({"blog": {**WHOLE, "secret_key": ""}}, "ntier_secrets.blog has no 'secret_key'. Put it back"),
        ({"blog": {**WHOLE, "secret_key": "a\nb"}}, "ntier_secrets.blog.secret_key has a line break"),
        (
            {"blog": {**WHOLE, "key": "x"}},
            "ntier_secrets.blog has the unknown key 'key'. It has database_password and secret_key",
        ),
        ({"blog": "secret"}, "ntier_secrets.blog is a text. Give it the keys database_password and secret_key"),
        (["blog"], "has no dictionary 'ntier_secrets'. Start it with 'ntier_secrets:'"),
        ("blog: {}\n", "has no dictionary 'ntier_secrets'. Start it with 'ntier_secrets:'"),
        ("ntier_secrets: {blog\n", "can't be read: "),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(path, content, what):
    write(path, content)
    before = path.read_bytes()
    text = fault_of(path, "blog", "shop")
    assert f"file {path}: {what}" in text
    assert path.read_bytes() == before


def test_all_faults_of_the_file_are_listed_at_once(path):
    write(path, {"blog": {}, "shop": {"secret_key": "k"}})
    assert "(3 faults; no host has been changed)" in fault_of(path, "blog", "shop")


@pytest.mark.parametrize("damage", [{"old": {"secret_key": "k"}}, {"old": "secret"}])
def test_a_damaged_entry_of_another_site_is_not_lost_when_the_file_is_written_anew(path, damage):
    write(path, {"blog": WHOLE, **damage})
    before = path.read_bytes()
    assert "ntier_secrets.old" in fault_of(path, "blog", "shop")
    assert path.read_bytes() == before


def test_what_else_a_person_keeps_in_the_file_is_not_lost_when_it_is_written_anew(path):
    write(path, "smtp_password: x\nntier_secrets: {}\n")
    assert f"file {path}: has 'smtp_password' beside 'ntier_secrets'. Move it to another file" in fault_of(path, "blog")
    assert "smtp_password: x" in path.read_text()


def test_an_empty_file_is_filled(path):
    write(path, "")
    assert look_up(path, "blog") == sites_in(path)


def test_a_message_never_shows_a_secret():
    faults = Faults()
    content = {
        "ntier_secrets": {"blog": {"database_password": "hunter2\n", "secret_key": "hunter2", "more": "hunter2"}}
    }
    secrets.check(content, ["blog"], "f", False, faults)
    assert len(faults) == 2
    assert "hunter2" not in str(faults.sentences)


# --- a file that the user keeps -----------------------------------------------------------------------------------


def test_a_supplied_file_is_read_and_never_written(path):
    write(path, {"blog": WHOLE})
    path.chmod(0o400)
    before = path.stat()
    assert look_up(path, "blog", supplied=True, password="pw") == {"blog": WHOLE}
    assert (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_mode,
    )


def test_a_supplied_file_may_hold_more_than_this(path):
    write(path, "smtp_password: x\nntier_secrets: {blog: {database_password: p, secret_key: k}, old: {}}\n")
    assert look_up(path, "blog", supplied=True) == {"blog": WHOLE}


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_supplied_file_without_a_site_is_refused(path, check_mode):
    write(path, {"blog": WHOLE})
    text = fault_of(path, "blog", "shop", supplied=True, check_mode=check_mode)
    assert (
        f"file {path}: has no secrets for site shop. Add database_password and secret_key below ntier_secrets.shop."
        in text
    )
    assert sites_in(path) == {"blog": WHOLE}


def test_a_supplied_file_that_is_not_there_is_refused(path):
    text = fault_of(path, "blog", supplied=True)
    assert f"file {path}: does not exist. Write it, or leave ntier_secrets_file out" in text
    assert not path.exists()


# --- vault --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("supplied", [True, False])
def test_a_folder_in_the_place_of_the_file_is_refused(path, supplied):
    """As an empty ntier_secrets_file is one, too."""
    path.mkdir(parents=True)
    assert f"file {path}: can't be read: Is a directory. Name a file that you may read" in fault_of(
        path, "blog", supplied=supplied
    )
    assert list(path.iterdir()) == []


def decrypted(path, password):
    return VaultLib([("default", VaultSecret(password.encode()))]).decrypt(path.read_bytes()).decode()


def test_with_a_vault_password_the_file_is_encrypted_from_the_start(path):
    made = look_up(path, "blog", password="pw")
    assert path.read_text().startswith("$ANSIBLE_VAULT;")
    assert yaml.safe_load(decrypted(path, "pw"))["ntier_secrets"] == made
    assert look_up(path, "blog", password="pw") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_plain_file_is_encrypted_once_there_is_a_vault_password(path):
    made = look_up(path, "blog", "shop")
    assert look_up(path, "blog", password="pw") == {"blog": made["blog"]}
    assert yaml.safe_load(decrypted(path, "pw"))["ntier_secrets"] == made


def test_a_new_site_is_added_to_an_encrypted_file(path):
    made = look_up(path, "blog", password="pw")
    assert look_up(path, "blog", "shop", password="pw")["blog"] == made["blog"]
    assert set(yaml.safe_load(decrypted(path, "pw"))["ntier_secrets"]) == {"blog", "shop"}


@pytest.mark.parametrize(
    ("password", "why"), [("other", "Decryption failed"), (None, "A vault password must be specified")]
)
def test_a_wrong_vault_password_is_refused_with_the_file_and_the_fix(path, password, why):
    look_up(path, "blog", password="pw")
    before = path.read_bytes()
    text = fault_of(path, "blog", password=password)
    assert f"file {path}: can't be read: {why}" in text
    assert "give the vault password that it was encrypted with" in text
    assert path.read_bytes() == before


# --- the cluster --------------------------------------------------------------------------------------------------


def test_the_cluster_gets_an_id_and_an_authority_with_the_first_run(path):
    found = look_up(path, "blog", cluster=True)
    assert set(found) == {"sites", "cluster"}
    assert set(found["cluster"]) == CLUSTER_KEYS
    assert found == {"sites": sites_in(path), "cluster": cluster_in(path)}
    assert uuid.UUID(found["cluster"]["id"]).version == 4
    assert authority.wrong(found["cluster"]["authority_key"], found["cluster"]["authority_certificate"]) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_keys_are_written_for_people_to_copy(path):
    look_up(path, "blog", cluster=True)
    assert "  authority_key: |\n    -----BEGIN PRIVATE KEY-----\n" in path.read_text()


def test_the_authority_bears_the_clusters_id():
    made = secrets.make_cluster()
    certificate = x509.load_pem_x509_certificate(made["authority_certificate"].encode())
    assert certificate.subject.rfc4514_string() == f"CN=ntier cluster {made['id']}"


def test_the_second_run_has_the_same_cluster_and_leaves_the_file_alone(path):
    made = look_up(path, "blog", cluster=True)
    before = path.stat()
    assert look_up(path, "blog", cluster=True) == made
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_of_an_older_version_gets_the_cluster_and_keeps_its_secrets(path):
    made = look_up(path, "blog", "shop")
    found = look_up(path, "blog", cluster=True)
    assert found["sites"] == {"blog": made["blog"]}
    assert sites_in(path) == made
    assert cluster_in(path) == found["cluster"]


def test_who_asks_for_sites_alone_gets_no_cluster_and_loses_none(path):
    made = look_up(path, "blog", cluster=True)
    assert set(look_up(path, "blog", "shop")) == {"blog", "shop"}
    assert cluster_in(path) == made["cluster"]


def test_a_cluster_needs_no_site(path):
    made = look_up(path, cluster=True)
    assert made["sites"] == {}
    assert look_up(path, cluster=True) == made


def test_with_a_vault_password_the_cluster_is_encrypted_too(path):
    made = look_up(path, "blog", cluster=True, password="pw")
    assert path.read_text().startswith("$ANSIBLE_VAULT;")
    assert yaml.safe_load(decrypted(path, "pw"))["ntier_cluster"] == made["cluster"]
    assert look_up(path, "blog", cluster=True, password="pw") == made


def test_a_cluster_is_added_to_an_encrypted_file(path):
    made = look_up(path, "blog", password="pw")
    found = look_up(path, "blog", cluster=True, password="pw")
    assert found["sites"] == made
    assert yaml.safe_load(decrypted(path, "pw"))["ntier_cluster"] == found["cluster"]


def test_check_mode_returns_a_cluster_that_works_and_keeps_it_nowhere(path):
    found = look_up(path, "blog", cluster=True, check_mode=True)
    assert found["sites"] == {"blog": dict.fromkeys(KEYS, secrets.PLACEHOLDER)}
    assert found["cluster"]["id"] == "00000000-0000-0000-0000-000000000000"
    assert authority.wrong(found["cluster"]["authority_key"], found["cluster"]["authority_certificate"]) is None
    assert not path.parent.exists()
    made = look_up(path, "blog", cluster=True)["cluster"]
    assert all(made[key] != found["cluster"][key] for key in CLUSTER_KEYS)


def test_check_mode_has_one_stand_in_for_all_who_ask(path):
    assert look_up(path, cluster=True, check_mode=True) == look_up(path, cluster=True, check_mode=True)


def test_check_mode_returns_the_cluster_that_is_there(path):
    made = look_up(path, "blog", cluster=True)
    before = path.read_text()
    assert look_up(path, "blog", "shop", cluster=True, check_mode=True)["cluster"] == made["cluster"]
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("cluster", "what"),
    [
        ("x", "ntier_cluster is a text. Put it back from a copy of the file, or take ntier_cluster out: a new one"),
        ({**CLUSTER, "id": ""}, "ntier_cluster has no 'id'. Put it back from a copy"),
        ({**CLUSTER, "id": "main"}, "ntier_cluster.id is 'main', which is no UUID"),
        ({**CLUSTER, "authority_key": None}, "ntier_cluster has no 'authority_key'"),
        ({**CLUSTER, "authority_certificate": "x"}, "ntier_cluster.authority_certificate is not in PEM"),
        (
            {**CLUSTER, "key": "x"},
            "ntier_cluster has the unknown key 'key'. It has id, authority_key and authority_certificate",
        ),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_damaged_cluster_is_refused_and_left_alone(path, cluster, what, check_mode):
    write_cluster(path, cluster)
    before = path.read_bytes()
    text = fault_of(path, "blog", cluster=True, check_mode=check_mode)
    assert f"file {path}: {what}" in text
    assert "PRIVATE KEY" not in text
    assert path.read_bytes() == before


def test_a_key_of_another_authority_is_found_before_anything_is_done(path):
    """The preflight asks in check mode first."""
    write_cluster(path, {**CLUSTER, "authority_key": secrets.make_cluster()["authority_key"]})
    text = fault_of(path, "blog", cluster=True, check_mode=True)
    assert f"file {path}: ntier_cluster has an authority_key that does not fit its authority_certificate. Put" in text


def test_a_damaged_cluster_is_not_lost_when_the_file_is_written_anew_for_a_site(path):
    write_cluster(path, {"id": CLUSTER["id"]})
    before = path.read_bytes()
    assert "ntier_cluster has no 'authority_key'" in fault_of(path, "blog", "shop")
    assert path.read_bytes() == before


def test_faults_of_sites_and_cluster_are_listed_together(path):
    write_cluster(path, {}, sites={})
    assert "(5 faults; no host has been changed)" in fault_of(path, "blog", cluster=True)


def test_a_supplied_file_may_hold_the_cluster(path):
    write_cluster(path, CLUSTER)
    for check_mode in (True, False):
        found = look_up(path, "blog", cluster=True, supplied=True, check_mode=check_mode)
        assert found == {"sites": {"blog": WHOLE}, "cluster": CLUSTER}


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_supplied_file_without_the_cluster_is_refused_with_the_way_to_make_one(path, check_mode):
    write(path, {"blog": WHOLE})
    text = fault_of(path, "blog", cluster=True, supplied=True, check_mode=check_mode)
    assert f"file {path}: has no 'ntier_cluster' beside 'ntier_secrets'. Add id (as uuidgen prints one)" in text
    assert "openssl req -x509 -newkey ec " in text


def test_a_supplied_file_that_is_not_there_is_one_fault(path):
    assert "(1 fault; no host has been changed)" in fault_of(path, "blog", cluster=True, supplied=True)


# --- at the same time ---------------------------------------------------------------------------------------------


def look_up_at_once(path, start, site, found):
    start.wait()
    found.put(look_up(path, "common", site, cluster=True))


def test_processes_that_come_at_the_same_time_agree(path):
    context = multiprocessing.get_context("fork")
    found, start = context.Queue(), context.Barrier(8)
    workers = [
        context.Process(target=look_up_at_once, args=(path, start, f"site{number}", found)) for number in range(8)
    ]
    for worker in workers:
        worker.start()
    results = [found.get(timeout=20) for _worker in workers]
    for worker in workers:
        worker.join()
    kept = sites_in(path)
    assert set(kept) == {"common", *(f"site{number}" for number in range(8))}
    assert all(kept[site] == entry for result in results for site, entry in result["sites"].items())
    assert all(result["cluster"] == cluster_in(path) for result in results)
    assert os.listdir(path.parent) == [path.name]
