"""Writes a trust file as `ledger.client.trust` reads it."""

from ledger.client.trust import FORMAT, TrustFile
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.encoding import format_base64
from ledger.tlog.trust_policy import format_policy


def format_trust(trust: TrustFile) -> bytes:
    """Format a trust file as ``parse_trust`` reads it."""
    lines = [
        "# What a client of this ledger relies on: hubledger verify --trust FILE",
        f"format = {FORMAT}",
        f"version = {trust.version}",
        f'ledger = "{_escape(trust.ledger)}"',
        f'require = "{trust.require}"',
        *([] if trust.max_age is None else [f"max_age = {trust.max_age}"]),
        *([] if trust.monitors_needed is None else [f"monitors_needed = {trust.monitors_needed}"]),
        *([] if trust.update_key is None else [f'update_key = "{_escape(trust.update_key.format())}"']),
        "",
        *_format_log(trust),
        "",
        "[hub]",
        f'id = "{_escape(trust.hub)}"',
    ]
    for key in trust.hub_keys:
        lines += [
            "",
            "[[hub.key]]",
            f"# sha256:{key.keyid}",
            f'spki = "{format_base64(key.spki)}"',
            f"first = {key.first}",
        ]
        if key.end is not None:
            lines.append(f"end = {key.end}")
        lines += [
            f"{name} = {shard}"
            for name, shard in (("first_shard", key.first_shard), ("end_shard", key.end_shard))
            if shard
        ]
    for each in trust.monitors:
        lines += _format_monitor(each)
    return ("\n".join(lines) + "\n").encode()


def _format_log(trust: TrustFile) -> list[str]:
    if not trust.is_rekor:
        return [
            "[log]",
            f'origin = "{_escape(trust.origin)}"',
            f'policy = """\n{_escape(format_policy(trust.policy))}"""',
        ]
    lines = ["[log]", 'kind = "rekor"']
    for each in trust.shards:
        lines += ["", "[[log.shard]]", f'origin = "{_escape(each.origin)}"']
        lines += [f'vkey = "{_escape(key.format())}"' for key in each.keys[:1]]
    return lines


def _format_monitor(monitor: TrustedMonitor) -> list[str]:
    lines = [
        "",
        "[[monitor]]",
        f'vkey = "{_escape(monitor.key.format())}"',
        f"max_age = {monitor.max_age}",
    ]
    return lines if monitor.url is None else [*lines, f'url = "{_escape(monitor.url)}"']


def _escape(text: str) -> str:
    """Escape what ends or changes a TOML basic string; ids and vkeys have no control characters."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
