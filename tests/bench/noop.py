"""What a run of `site` costs that has nothing to do."""

from __future__ import annotations

import sys

from cluster import RESULTS, ROUNDS, Demo, changes, median, playbook, recap, say


def measure(demo: Demo) -> dict:
    """Measure site on the converged demo beside as many ping tasks, with and without mitogen."""
    count = len(demo.hosts)
    say(f"site on the converged demo, {count} hosts, beside as many ping tasks; {ROUNDS} rounds in turn")
    output, _wall, _cpu = playbook("ntier.django.site")
    tasks, changed = recap(output, "ok"), recap(output, "changed")
    if changed:
        sys.exit(f"The demo was not converged; site has changed this, so run it again:\n{changes(output)}")
    each = max(1, round(tasks / count))
    say(f"  {tasks} tasks, about {each} for each host; changed={changed}")
    pings = RESULTS / "pings.yml"
    play = "---\n- name: Ping\n  hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n"
    pings.write_text(play + "    - name: Ping\n      ansible.builtin.ping:\n" * each)
    ways = {"without mitogen": False, "with mitogen": True}
    # Under its long name, which MITOGEN=0 writes, mitogen does not know the connection.
    if any(host.variables["ansible_connection"] == "community.docker.docker" for host in demo.hosts.values()):
        say("  The demo was made without mitogen, and is measured without it.")
        ways.pop("with mitogen")
    results: dict = {"tasks": tasks, "changed": changed}
    say(
        f"  {'':<17}{'site: wall':>12}{'per host':>10}{'CPU':>9}{'ping: wall':>12}{'CPU':>9}{'ratio: wall':>13}{'CPU':>7}"
    )
    for name, mitogen in ways.items():
        rounds = []
        for _round in range(ROUNDS):
            output, *site = playbook("ntier.django.site", mitogen=mitogen)
            if recap(output, "changed"):
                sys.exit(f"site changed something on a later run:\n{changes(output)}")
            rounds.append((*site, *playbook(str(pings), mitogen=mitogen)[1:]))
        wall, cpu, ping_wall, ping_cpu = (median(column) for column in zip(*rounds, strict=True))
        ratio, cpu_ratio = (median(entry[index] / entry[index + 2] for entry in rounds) for index in (0, 1))
        say(
            f"  {name:<17}{wall:>10.1f} s{wall / count:>8.1f} s{cpu:>7.1f} s{ping_wall:>10.1f} s{ping_cpu:>7.1f} s"
            f"{ratio:>13.2f}{cpu_ratio:>7.2f}"
        )
        results[name] = {
            "site_seconds": wall,
            "site_seconds_per_host": wall / count,
            "site_cpu_seconds": cpu,
            "ping_seconds": ping_wall,
            "ping_cpu_seconds": ping_cpu,
            "ratio": ratio,
            "cpu_ratio": cpu_ratio,
            "rounds": rounds,
        }
    return results
