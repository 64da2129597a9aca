"""A host's memory is shared out so that it never swaps, whatever stands on it."""

import itertools

import pytest
from ansible.errors import AnsibleFilterError
from clusters import ONE_BOX, a_site, build

from ansible_collections.ntier.django.plugins.filter.sizing import sizing as sizing_filter
from ansible_collections.ntier.django.plugins.plugin_utils import sizing
from ansible_collections.ntier.django.plugins.plugin_utils.sizing import TooLittleMemory, size_host

TIERS = tuple(sizing.SHARES)
COMBINATIONS = [tiers for count in range(1, 6) for tiers in itertools.combinations(TIERS, count)]
#: Every step at the small end, where rounding and the least shares bite; then wider ones.
MEMORY = [*range(512, 1100, 7), *range(1100, 4200, 97), *range(4200, 65537, 4099), 65536]
BOX = ("web", "media", "memcached", "database")


def sizes(tiers, **more):
    """Return memory → what a host with these tiers gets, for every memory that is enough."""
    result = {}
    for memory in MEMORY:
        try:
            result[memory] = size_host(memory, 2, tiers, **more)
        except TooLittleMemory:
            continue
    return result


def least_of(tier, sites):
    return sizing.LEAST_MB[tier] + (sizing.SITE_MB * (sites - 1) if tier == "web" else 0)


@pytest.mark.parametrize("sites", [1, 3])
def test_no_more_is_given_away_than_system_and_head_room_leave(sites):
    for tiers in COMBINATIONS:
        for memory, size in sizes(tiers, sites=sites).items():
            assert size["system_mb"] == sizing.SYSTEM_MB
            assert size["head_room_mb"] == int(memory * sizing.HEAD_ROOM)
            assert sum(size["shares_mb"].values()) + size["system_mb"] + size["head_room_mb"] <= memory, tiers


@pytest.mark.parametrize("sites", [1, 3])
def test_every_tier_gets_its_least(sites):
    for tiers in COMBINATIONS:
        for memory, size in sizes(tiers, sites=sites).items():
            assert list(size["shares_mb"]) == list(tiers)
            assert all(size["shares_mb"][tier] >= least_of(tier, sites) for tier in tiers), (memory, tiers)


def test_little_is_left_over():
    for tiers in COMBINATIONS:
        for memory, size in sizes(tiers).items():
            left = memory - size["system_mb"] - size["head_room_mb"] - sum(size["shares_mb"].values())
            assert 0 <= left < len(tiers) + 1


def test_when_a_tier_moves_out_the_others_get_no_less():
    for tiers in COMBINATIONS:
        before = sizes(tiers)
        for leaving in tiers[: len(tiers) if len(tiers) > 1 else 0]:
            after = sizes([tier for tier in tiers if tier != leaving])
            for memory, size in before.items():
                for tier, share in after[memory]["shares_mb"].items():
                    assert share >= size["shares_mb"][tier], (memory, tiers, leaving)


def test_more_memory_takes_nothing_from_any_tier():
    for tiers in COMBINATIONS:
        found = list(sizes(tiers).values())
        for small, large in itertools.pairwise(found):
            assert all(large["shares_mb"][tier] >= small["shares_mb"][tier] for tier in tiers)
            for figure in ("shared_buffers_mb", "work_mem_mb", "max_connections"):
                assert large.get("database", {}).get(figure, 0) >= small.get("database", {}).get(figure, 0)


# --- too little ---------------------------------------------------------------------------------------------------


def least_memory(tiers, sites):
    """Return the memory that the message about too little of it names."""
    with pytest.raises(TooLittleMemory) as error:
        size_host(100, 2, tiers, sites=sites)
    return int(str(error.value).split("which takes at least ")[1].split(" MB")[0])


@pytest.mark.parametrize("sites", [1, 2, 7])
def test_the_memory_that_the_message_names_is_enough_and_hardly_more(sites):
    for tiers in COMBINATIONS:
        named = least_memory(tiers, sites)
        size_host(named, 2, tiers, sites=sites)
        with pytest.raises(TooLittleMemory):
            size_host(named - 2, 2, tiers, sites=sites)


def test_too_little_memory_names_host_memory_tiers_and_the_fix():
    with pytest.raises(TooLittleMemory) as error:
        size_host(512, 1, BOX, sites=2, name="box1")
    assert str(error.value) == (
        "host box1: it has 512 MB of memory and shall serve web, media, memcached and database for 2 sites,"
        " which takes at least 674 MB. Give it more memory, move a tier to another host, or take a site away"
        " (ntier_memory_mb overrides what the host reports)."
    )


def test_too_little_memory_fails_the_filter_with_the_same_words():
    with pytest.raises(AnsibleFilterError, match="host box1: it has 300 MB of memory"):
        sizing_filter(build(ONE_BOX), "box1", 300, 1)


def test_the_smallest_host_that_a_provider_rents_serves_one_site():
    size = size_host(1024, 1, BOX)
    assert size["web"]["workers"] >= 1
    assert size["database"]["shared_buffers_mb"] >= 64


# --- web ----------------------------------------------------------------------------------------------------------

CORES = (1, 2, 4, 16, 64)


@pytest.mark.parametrize("cores", CORES)
def test_workers_are_bounded_by_the_cores(cores):
    for memory in MEMORY:
        assert 1 <= size_host(memory, cores, ["web"])["web"]["workers"] <= cores + 1


@pytest.mark.parametrize("sites", [1, 2, 5])
@pytest.mark.parametrize("cores", CORES)
def test_the_workers_of_all_sites_fit_into_the_share(cores, sites):
    for memory in MEMORY:
        try:
            web = size_host(memory, cores, BOX, sites=sites)["web"]
        except TooLittleMemory:
            continue
        assert web["workers"] * sizing.WORKER_MB * sites + sizing.WEB_BASE_MB <= web["memory_mb"]
        assert web["memory_per_site_mb"] * sites <= web["memory_mb"]


def test_a_large_host_has_a_worker_more_than_cores():
    assert size_host(65536, 8, ["web"])["web"]["workers"] == 9


def test_more_sites_mean_fewer_workers_for_each():
    workers = [size_host(4096, 8, BOX, sites=sites)["web"]["workers"] for sites in (1, 2, 4, 8)]
    assert workers == sorted(workers, reverse=True)
    assert workers[0] > workers[-1]


# --- database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("sites", [1, 3, 8])
@pytest.mark.parametrize("web_hosts", [1, 2, 12])
def test_there_are_connections_for_every_pool_of_every_web_host_and_for_people(cores, sites, web_hosts):
    pool = size_host(65536, cores, ["web"], sites=sites, web_hosts=web_hosts)["web"]["pool_size"]
    database = size_host(8192, cores, ["database"], sites=sites, web_hosts=web_hosts)["database"]
    assert 1 <= pool <= sizing.POOL_LIMIT
    assert sites * web_hosts * pool + 10 <= database["max_connections"]


def test_a_web_host_more_seldom_changes_the_connections_since_that_is_a_restart():
    connections = [
        size_host(8192, 2, ["database"], web_hosts=count)["database"]["max_connections"] for count in range(1, 5)
    ]
    assert connections == [100] * 4


def test_buffers_stay_below_the_share():
    for tiers in (("database",), BOX):
        for size in sizes(tiers).values():
            database = size["database"]
            assert 64 <= database["shared_buffers_mb"] <= database["memory_mb"] // 2
            assert database["shared_buffers_mb"] <= database["effective_cache_size_mb"] <= database["memory_mb"]
            assert database["shared_buffers_mb"] + database["maintenance_work_mem_mb"] <= database["memory_mb"]
            assert database["max_wal_size_mb"] >= 512


def test_a_quarter_of_the_connections_may_sort_in_a_quarter_of_the_share():
    for tiers in (("database",), BOX):
        for web_hosts in (1, 12):
            for size in sizes(tiers, web_hosts=web_hosts).values():
                database = size["database"]
                each = database["memory_mb"] // database["max_connections"]
                assert database["work_mem_mb"] == min(64, max(2, each))
                assert database["work_mem_mb"] * database["max_connections"] <= max(
                    database["memory_mb"], 2 * database["max_connections"]
                )


def test_a_host_of_its_own_leaves_more_of_the_memory_to_the_page_cache():
    alone = size_host(8192, 4, ["database"])["database"]
    assert alone["shared_buffers_mb"] < 0.35 * alone["memory_mb"]
    assert alone["effective_cache_size_mb"] > 0.7 * alone["memory_mb"]


# --- shares -------------------------------------------------------------------------------------------------------


def test_the_user_may_weigh_the_tiers_differently():
    usual = size_host(4096, 2, BOX)["shares_mb"]
    weighed = size_host(4096, 2, BOX, shares={"memcached": 45})["shares_mb"]
    assert weighed["memcached"] > 3 * usual["memcached"]
    assert weighed["memcached"] == weighed["web"]
    assert all(weighed[tier] < usual[tier] for tier in ("web", "media", "database"))


def test_weights_may_be_texts_as_the_command_line_gives_them():
    assert size_host(4096, 2, BOX, shares={"memcached": "45"}) == size_host(4096, 2, BOX, shares={"memcached": 45})


def test_a_tier_of_no_weight_keeps_its_least():
    shares = size_host(4096, 2, BOX, shares={"media": 0})["shares_mb"]
    assert shares["media"] == sizing.LEAST_MB["media"]
    assert size_host(4096, 2, BOX, shares=dict.fromkeys(BOX, 0))["shares_mb"] == {
        tier: sizing.LEAST_MB[tier] for tier in BOX
    }


def test_weights_of_tiers_that_live_elsewhere_change_nothing():
    assert size_host(4096, 2, BOX, shares={"load_balancer": 1000}) == size_host(4096, 2, BOX)


# --- the filter ---------------------------------------------------------------------------------------------------


def test_the_filter_takes_tiers_and_sites_from_the_topology():
    cluster = build(ONE_BOX, sites=[a_site(), a_site("shop")])
    assert sizing_filter(cluster, "box1", "2048", "2") == size_host(2048, 2, BOX, sites=2, name="box1")
