"""`hubledger trust`: the trust files of this user, and how a publisher makes and signs one."""

import pathlib
from typing import TYPE_CHECKING, Any

import click

from cli.output import echo_json, format_table, json_option, printable
from ledger.errors import UsageError

if TYPE_CHECKING:
    from ledger.client.trust import TrustFile
    from ledger.client.trust_store import StoredTrust, TrustStore
    from ledger.tlog.signed_note import Ed25519NoteSigner


@click.group()
def command() -> None:
    """Add, compare, update or sign the trust files that checks rely on.

    They are kept in $HUBLEDGER_DATA, else in $XDG_DATA_HOME/hubledger, else in ~/.local/share/hubledger.
    """


_FILE = click.Path(path_type=pathlib.Path, dir_okay=False)
_SHA256 = click.option("--sha256", help="The digest that the publisher shows elsewhere, 64 hex digits.")
_HUB = click.argument("hub")


@command.command()
@click.argument("source", metavar="URL|FILE")
@_SHA256
@json_option
def add(source: str, sha256: str | None, *, as_json: bool) -> None:
    """Store the trust file that the service at URL shows, or one that somebody handed you as FILE.

    What came over TLS alone is TLS_ONLY in every result until you compared its digest: with --sha256 here, or with
    `trust confirm`. A FILE counts as compared: you know from whom you have it.
    """
    from ledger.client import trust_source
    from ledger.client.trust import MAX_TRUST_BYTES
    from ledger.client.trust_store import Origin
    from ledger.storage.directory import read_file

    if trust_source.is_address(source):
        data, origin = trust_source.fetch_first(trust_source.open_source(source)), Origin.TLS_ONLY
    else:
        path = pathlib.Path(source)
        data, origin = read_file(path, max_bytes=MAX_TRUST_BYTES), Origin.CONFIRMED
        source = str(path.absolute())
    stored = open_store().add(data, source=source, origin=origin, sha256=_digest(sha256))
    if as_json:
        echo_json(_facts(stored))
        return
    click.echo(f"Added the trust file of {printable(stored.trust.hub)}")
    _show(stored)
    if stored.origin is Origin.TLS_ONLY:
        # Never our own digest: it was computed of what came, so it would match whoever sent that.
        click.echo(
            "Next: get the sha256 that the publisher shows elsewhere, and have it compared with this one:"
        )
        click.echo(
            f"  hubledger trust confirm {printable(stored.trust.hub)} --sha256 DIGEST-FROM-THE-PUBLISHER"
        )


@command.command(name="list")
@json_option
def list_files(*, as_json: bool) -> None:
    """List the trust files of this user."""
    found = open_store().list()
    if as_json:
        echo_json({"trust": [_facts(each) for each in found]})
        return
    if not found:
        click.echo("You trust no hub yet. `hubledger trust add URL` fetches a hub's trust file.")
        return
    rows = [
        (each.trust.hub, str(each.trust.version), each.origin, each.trust.require, each.source)
        for each in found
    ]
    click.echo(format_table(("HUB", "VERSION", "ORIGIN", "REQUIRE", "SOURCE"), rows))


@command.command()
@_HUB
@json_option
def show(hub: str, *, as_json: bool) -> None:
    """Show the trust file of HUB: its keys by fingerprint, and its digest."""
    found = open_store().get(hub)
    if as_json:
        echo_json(_facts(found))
    else:
        click.echo(f"The trust file of {printable(hub)}")
        _show(found)


@command.command()
@_HUB
@json_option
def remove(hub: str, *, as_json: bool) -> None:
    """Forget the trust file of HUB."""
    found = open_store().remove(hub)
    if as_json:
        echo_json({"removed": found.trust.hub, "ledger": found.trust.ledger, "sha256": found.sha256.hex()})
    else:
        click.echo(f"Removed the trust file of {printable(hub)}, sha256 {found.sha256.hex()}")


@command.command()
@_HUB
@_SHA256
@click.option(
    "--compared-by-hand",
    is_flag=True,
    help="You compared the digest, or every key, yourself: nothing is compared here.",
)
@json_option
def confirm(hub: str, sha256: str | None, *, compared_by_hand: bool, as_json: bool) -> None:
    """Compare the trust file of HUB with the digest that its publisher shows over another channel, and note that it is theirs.

    The digest is that of --sha256. It must come from elsewhere: one that was computed of the file itself says nothing.
    """
    if (sha256 is None) != compared_by_hand:
        raise UsageError(
            "hubledger trust confirm",
            expected="--sha256 with the digest that the publisher shows elsewhere, or --compared-by-hand",
            actual="both" if compared_by_hand else "neither",
            next_step=f"Look at `hubledger trust show {hub}`, and get the digest from the publisher over another channel",
        )
    found = open_store().confirm(hub, sha256=_digest(sha256))
    if as_json:
        echo_json(_facts(found))
    else:
        click.echo(f"Confirmed the trust file of {printable(hub)}, sha256 {found.sha256.hex()}")


@command.command()
@_HUB
@click.option(
    "--from",
    "source",
    metavar="URL|FILE",
    help="Where the next version is, if not where the first came from. Of a FILE, FILE.sig is its signature.",
)
@click.option(
    "--accept-less", is_flag=True, help="Take also a version that asks for fewer monitors than yours."
)
@json_option
def update(hub: str, source: str | None, *, accept_less: bool, as_json: bool) -> None:
    """Take the next versions of the trust file of HUB, each signed by the offline key of the one before.

    It never goes back, and what was TLS_ONLY stays so. Monitors that yours requires are not dropped unasked.
    """
    from ledger.client import trust_source

    store = open_store()
    known = store.get(hub)
    source = source or known.source
    if trust_source.is_address(source):
        fetch = trust_source.versions_at(trust_source.open_source(source), known=known.trust.version)
    else:
        fetch = trust_source.version_in(pathlib.Path(source))
    old, new = store.update(hub, fetch, accept_less=accept_less)
    if as_json:
        echo_json({"before": old.trust.version, **_facts(new)})
    elif old.trust.version == new.trust.version:
        click.echo(
            f"The trust file of {printable(hub)} is the newest that is shown, version {new.trust.version}"
        )
    else:
        click.echo(
            f"Updated the trust file of {printable(hub)} from version {old.trust.version} to {new.trust.version}"
        )
        _show(new)


@command.command()
@click.argument("key_file", metavar="KEY", type=_FILE)
@click.option("--name", required=True, help='The name of the key, such as "hub.example/trust".')
@json_option
def key(key_file: pathlib.Path, name: str, *, as_json: bool) -> None:
    """Make the offline key of a trust file, readable by you only, and print the line that names it.

    Keep it on no server: whoever has it can hand out keys in the ledger's name.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519

    from ledger.storage.directory import write_file_durably
    from ledger.tlog.signed_note import Ed25519NoteSigner

    if key_file.exists():
        raise UsageError(
            f"KEY {key_file}",
            expected="a new file",
            actual="one that exists",
            next_step="Name another: a key that is replaced can sign no update any more",
        )
    made = Ed25519NoteSigner(name, ed25519.Ed25519PrivateKey.generate())
    write_file_durably(key_file, made.format_private().encode() + b"\n", mode=0o600)
    vkey = made.verifier.format()
    if as_json:
        echo_json({"key": str(key_file), "updateKey": vkey})
    else:
        click.echo(f'update_key = "{vkey}"')


@command.command()
@click.argument("file", type=_FILE)
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="The offline key (repeatable).")
@click.option(
    "--previous",
    type=_FILE,
    help="The version before it; whether clients of that one would take this one is checked.",
)
@json_option
def sign(
    file: pathlib.Path, keys: tuple[pathlib.Path, ...], previous: pathlib.Path | None, *, as_json: bool
) -> None:
    """Sign the trust file FILE with its offline key, into FILE.sig.

    When the key changes, sign with both: --key OLD --key NEW.
    """
    from ledger.client import trust_source
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
    from ledger.client.trust_signature import sign_trust, verify_update
    from ledger.storage.directory import read_file, write_file_durably

    data = read_file(file, max_bytes=MAX_TRUST_BYTES)
    signature = sign_trust(data, [_read_key(each) for each in keys])
    if previous is not None:
        before = parse_trust(read_file(previous, max_bytes=MAX_TRUST_BYTES))
        verify_update(before, data, signature)
    written = file.with_name(file.name + trust_source.SUFFIX)
    write_file_durably(written, signature, mode=0o644)
    trust = parse_trust(data)
    if as_json:
        echo_json({"signature": str(written), "version": trust.version, "sha256": _hash(data)})
    else:
        click.echo(f"Signed version {trust.version} of {printable(trust.ledger)}: {printable(str(written))}")
        click.echo(f"  sha256    {_hash(data)}")


@command.command()
@click.argument("file", type=_FILE)
@click.argument("policy", type=_FILE)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    required=True,
    help="Where to write the new version; it may be FILE itself, where nobody has that yet.",
)
@click.option(
    "--max-age",
    type=click.IntRange(min=1),
    help="Set max_age: how old a counted cosignature may be, in seconds.",
)
@json_option
def witnesses(
    file: pathlib.Path, policy: pathlib.Path, output: pathlib.Path, max_age: int | None, *, as_json: bool
) -> None:
    """Write the next version of the trust file FILE, whose clients ask for the witnesses and the quorum of POLICY.

    POLICY is a c2sp.org/tlog-policy, such as the one that witness.policy in the settings names. Then sign and publish the
    new version, as any other.
    """
    from dataclasses import replace

    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
    from ledger.client.trust_writing import format_trust
    from ledger.embedded.witnesses import with_witnesses
    from ledger.storage.directory import read_file, write_file_durably
    from ledger.tlog.trust_policy import MAX_POLICY_BYTES, parse_policy

    old = parse_trust(read_file(file, max_bytes=MAX_TRUST_BYTES))
    new = with_witnesses(old, parse_policy(read_file(policy, max_bytes=MAX_POLICY_BYTES)))
    new = new if max_age is None else replace(new, max_age=max_age)
    data = format_trust(new)
    write_file_durably(output, data, mode=0o644)
    if as_json:
        echo_json({"file": str(output), "version": new.version, "sha256": _hash(data)})
        return
    click.echo(
        f"Wrote version {new.version} of the trust file of {printable(new.ledger)}: {printable(str(output))}"
    )
    for each in new.policy.witnesses:
        click.echo(f"  witness   {printable(each.key.format())}  ({printable(each.name)})")
    click.echo(f"  quorum    {printable(new.policy.quorum or 'none')}")
    click.echo(f"  sha256    {_hash(data)}")


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("file", type=_FILE)
@json_option
def publish(directory: pathlib.Path, file: pathlib.Path, *, as_json: bool) -> None:
    """Make the signed FILE (with FILE.sig beside it) the trust file of the ledger in DIRECTORY.

    The service shows it to clients at once; it uses it itself after a restart.
    """
    from ledger.client import trust_source
    from ledger.client.trust import MAX_TRUST_BYTES
    from ledger.client.trust_signature import MAX_SIGNATURE_BYTES
    from ledger.embedded.trust_versions import publish_trust
    from ledger.storage.directory import read_file

    data = read_file(file, max_bytes=MAX_TRUST_BYTES)
    beside = file.with_name(file.name + trust_source.SUFFIX)
    trust = publish_trust(directory, data, read_file(beside, max_bytes=MAX_SIGNATURE_BYTES))
    if as_json:
        echo_json({"ledger": trust.ledger, "version": trust.version, "sha256": _hash(data)})
    else:
        click.echo(f"Published version {trust.version} of the trust file of {printable(trust.ledger)}")
        click.echo(f"  sha256    {_hash(data)}")


def data_folder() -> pathlib.Path:
    """Return the folder of this user's trust files and pins."""
    import os

    from ledger.client.user_store import default_folder

    return default_folder(os.environ, pathlib.Path.home)


def open_store() -> "TrustStore":
    """Return this user's trust files."""
    from ledger.client.trust_store import TrustStore

    return TrustStore(data_folder())


def _read_key(path: pathlib.Path) -> "Ed25519NoteSigner":
    from ledger.embedded.keys import load_note_key

    return load_note_key(path)


def _hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _digest(text: str | None) -> bytes | None:
    from ledger.encoding import parse_hex

    return None if text is None else parse_hex(text, length=32, what="--sha256")


def _facts(stored: "StoredTrust") -> dict[str, Any]:
    trust = stored.trust
    return {
        "hub": trust.hub,
        "ledger": trust.ledger,
        "version": trust.version,
        "origin": stored.origin.value,
        "source": stored.source,
        "sha256": stored.sha256.hex(),
        "require": trust.require,
        **({} if trust.max_age is None else {"maxAge": trust.max_age}),
        "keys": [{"what": what, "key": shown, "counts": counts} for what, shown, counts in _keys(trust)],
    }


def _keys(trust: "TrustFile") -> list[tuple[str, str, str]]:
    """Every key of a trust file: what it is, its fingerprint, and where it counts."""
    rows = [("log key", key.format(), log.origin) for log in trust.logs for key in log.keys]
    rows += [("witness", each.key.format(), each.name) for each in trust.policy.witnesses]
    rows += [("hub key", each.keyid, f"leaves {each.range}") for each in trust.hub_keys]
    rows += [("monitor", each.key.format(), f"at most {each.max_age} s old") for each in trust.monitors]
    if trust.update_key is not None:
        rows.append(("update key", trust.update_key.format(), "the next trust file"))
    return rows


def _show(stored: "StoredTrust") -> None:
    trust = stored.trust
    lines = [
        ("from", stored.source),
        ("origin", stored.origin.value),
        ("ledger", f"{trust.ledger}, version {trust.version}, require {trust.require}"),
        *((what, f"{key}  ({counts})") for what, key, counts in _keys(trust)),
        *([("update key", "none: no update can be checked")] if trust.update_key is None else []),
        ("sha256", stored.sha256.hex()),
    ]
    for what, value in lines:
        click.echo(f"  {what:<10}  {printable(value)}")
