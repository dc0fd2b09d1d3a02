"""Where a URL that a stranger chose may lead: the public internet, and nowhere else.

A table of our own, since `ipaddress`'s properties changed from one Python to the next and know no
cloud: the IANA registries (https://www.iana.org/assignments/iana-ipv4-special-registry,
https://www.iana.org/assignments/iana-ipv6-special-registry), multicast, and what clouds keep behind
public numbers.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

FORBIDDEN_V4 = {
    IPv4Network("0.0.0.0/8"): "this network, unspecified",
    IPv4Network("10.0.0.0/8"): "private",
    IPv4Network("100.64.0.0/10"): "carrier-grade NAT; AWS services live here too",
    IPv4Network("127.0.0.0/8"): "loopback; Lambda's Runtime API is 127.0.0.1:9001",
    IPv4Network("168.63.129.16/32"): "Azure's wire server",
    IPv4Network(
        "169.254.0.0/16"
    ): "link-local: instance and container credentials (.169.254, .170.2, .79.129)",
    IPv4Network("172.16.0.0/12"): "private",
    IPv4Network("192.0.0.0/24"): "IETF protocol assignments",
    IPv4Network("192.0.2.0/24"): "documentation",
    IPv4Network("192.31.196.0/24"): "AS112",
    IPv4Network("192.52.193.0/24"): "AMT",
    IPv4Network("192.88.99.0/24"): "6to4 relays",
    IPv4Network("192.168.0.0/16"): "private",
    IPv4Network("192.175.48.0/24"): "AS112",
    IPv4Network("198.18.0.0/15"): "benchmarking",
    IPv4Network("198.51.100.0/24"): "documentation",
    IPv4Network("203.0.113.0/24"): "documentation",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved, broadcast",
}

# Only this is global unicast. So loopback, unique-local (fd00:ec2::254 is the metadata service),
# link-local, multicast, v4-mapped (::ffff:0:0/96), v4-compatible (::/96) and NAT64 (64:ff9b::/96,
# 64:ff9b:1::/48) need no row of their own: none of them may carry a v4 address past the other
# table.
GLOBAL_V6 = IPv6Network("2000::/3")
FORBIDDEN_V6 = {
    IPv6Network("2001::/23"): "IETF protocol assignments: Teredo, ORCHID, benchmarking",
    IPv6Network("2001:db8::/32"): "documentation",
    IPv6Network("2002::/16"): "6to4: carries a v4 address",
    IPv6Network("2620:4f:8000::/48"): "AS112",
    IPv6Network("3ffe::/16"): "6bone, given back",
    IPv6Network("3fff::/20"): "documentation",
}


def why_refused(address: str) -> str | None:
    """Why this address must not be connected to; None when it is a public one. What cannot be
    read is refused."""
    try:
        known = ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(known, IPv4Address):
        return next((why for network, why in FORBIDDEN_V4.items() if known in network), None)
    return _why_v6_refused(known)


def _why_v6_refused(address: IPv6Address) -> str | None:
    if address not in GLOBAL_V6 or address.scope_id is not None:
        return "not global unicast"
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x0000_5EFE:
        return "ISATAP: carries a v4 address"
    return next((why for network, why in FORBIDDEN_V6.items() if address in network), None)
