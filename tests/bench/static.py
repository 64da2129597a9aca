"""What the media host gives, beside an nginx that nobody configured."""

from __future__ import annotations

from cluster import ROUNDS, SECONDS, Demo, Host, Load, median, say

PORT = 8099
FILES = """
# Of Django's own, so that it compresses as such files do.
cd {root}/static
mkdir -p bench
head -c 10240 $(ls admin/css/base*.css | head -n 1) > bench/small.0123456789ab.css
gzip -9 -k -f bench/small.0123456789ab.css
head -c 5242880 /dev/urandom > bench/large.0123456789ab.bin
chown -R --reference=. bench
chmod -R u=rwX,go=rX bench
"""
PLAIN = """
# Debian's own configuration and site, in another place and at another port, with none of our files.
mkdir -p /run/bench
sed -e 's#^pid .*#pid /run/bench/pid;#' -e 's#/var/log/nginx/#/var/log/nginx/bench-#' \\
    -e 's#/etc/nginx/conf.d/[*].conf#/run/bench/site#' -e '/sites-enabled/d' -e '/modules-enabled/d' \\
    /etc/nginx/nginx.conf > /run/bench/nginx.conf
cat > /run/bench/site <<END
server {{
    listen {port} default_server;
    root {root};
    server_name _;
    location / {{
        try_files \\$uri \\$uri/ =404;
    }}
}}
END
nginx -q -t -c /run/bench/nginx.conf
systemctl reset-failed bench 2> /dev/null || true
systemd-run --quiet --unit=bench nginx -c /run/bench/nginx.conf -g 'daemon off;'
nft insert rule inet ntier input tcp dport {port} accept comment '"bench"'
"""
CLEAN = """
systemctl stop bench 2> /dev/null || true
for rule in $(nft -a list chain inet ntier input | sed -n 's/.*comment "bench".* # handle //p'); do
    nft delete rule inet ntier input handle $rule
done
rm -rf /run/bench /var/log/nginx/bench-* {root}/static/bench
"""


def load(generator: Host, media: Host, url: str, *headers: str, connections: int) -> tuple[Load, float]:
    """Ask for a file as fast as it comes; return what it gave, and the media host's milliseconds of CPU per request."""
    before = media.cpu()
    given = generator.load(url, *headers, connections=connections)
    return given, (media.cpu() - before) * 1000 / given.requests


def measure(demo: Demo) -> dict:
    """Measure a small file, plain and compressed, and a large one: plain nginx, ours, and ours through the balancer."""
    media, balancer = demo.tier("media")[0], demo.tier("load_balancer")[0]
    root = f"/srv/media/{demo.site}"
    say(f"Static files of {media.name}, {SECONDS} s each, {ROUNDS} rounds in turn; load generator on {balancer.name}")
    host = f"Host: {demo.domain}"
    small, large = "/static/bench/small.0123456789ab.css", "/static/bench/large.0123456789ab.bin"
    wanted: dict[str, tuple[str, tuple[str, ...], int]] = {
        "10 KB": (small, (host,), 16),
        "10 KB, compressed": (small, (host, "Accept-Encoding: gzip"), 16),
        "5 MB": (large, (host,), 4),
    }
    ways = {
        "plain nginx": f"http://{media.address}:{PORT}",
        "media host": f"http://{media.address}",
        "through the balancer": f"https://{balancer.address}",
    }
    rounds: list[dict[tuple[str, str], tuple[Load, float]]] = []
    try:
        media.sh(FILES.format(root=root))
        media.sh(PLAIN.format(root=root, port=PORT))
        for path, headers, connections in wanted.values():  # warm
            for base in ways.values():
                balancer.load(base + path, *headers, connections=connections, seconds=1)
        for number in range(ROUNDS):
            entry = {}
            for what, (path, headers, connections) in wanted.items():
                for way in list(ways) if number % 2 == 0 else list(reversed(ways)):
                    entry[what, way] = load(balancer, media, ways[way] + path, *headers, connections=connections)
            rounds.append(entry)
    finally:
        media.sh(CLEAN.format(root=root))
    results: dict = {}
    say(
        f"  {'':<19}{'':<22}{'requests/s':>11}{'MB/s':>8}{'bytes sent':>12}{'CPU ms':>8}"
        f"{'ratio: requests/s':>19}{'CPU':>6}"
    )
    for what in wanted:
        for way in ways:
            loads = [entry[what, way] for entry in rounds]
            rate, speed = (
                median(given.per_second for given, _cpu in loads),
                median(g.mb_per_second for g, _cpu in loads),
            )
            size, cpu = (
                median(given.bytes / given.requests for given, _cpu in loads),
                median(cpu for _given, cpu in loads),
            )
            beside = [entry[what, "plain nginx"] for entry in rounds]
            pairs = list(zip(loads, beside, strict=True))
            ratio = median(ours[0].per_second / plain[0].per_second for ours, plain in pairs)
            cpu_ratio = median(ours[1] / plain[1] for ours, plain in pairs)
            say(
                f"  {what:<19}{way:<22}{rate:>11.1f}{speed:>8.1f}{size:>12.0f}{cpu:>8.2f}{ratio:>19.2f}{cpu_ratio:>6.2f}"
            )
            results.setdefault(what, {})[way] = {
                "per_second": rate,
                "mb_per_second": speed,
                "bytes": size,
                "cpu_ms": cpu,
                "ratio": ratio,
                "cpu_ratio": cpu_ratio,
                "rounds": [given.per_second for given, _cpu in loads],
            }
    return {"static": results}
