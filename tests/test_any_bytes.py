"""Any bytes give a reader a value or one of our refusals, where no chapter's test says so.

The decoders of messages have that test beside their chapter. Here are the readers of what
operators write and what lies on disks: settings, templates, types, tables, links, backups, drafts.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain import backup, client, governance
from chain.guard import Guard
from ddtp import purpose, witness
from ddtp.breach import Breach
from ddtp.cli import beside, keyfile
from ddtp.errors import DDTPError
from ddtp.receipt import Erasure
from ddtp.record_type import RecordType
from ddtp.seal import new_identity
from holder.collect import parse_link
from holder.history import Transfer
from provider import home as provider_home
from provider import offers
from provider.batch import table
from provider.batch.table import Defaults
from provider.sources import told
from receiver import home as receiver_home
from receiver import rules
from receiver.templates import Template
from tests.bank import NOTE
from tests.builders import LOG_KEY, ORIGIN
from tests.journey import STATEMENT

IDENTITY = new_identity()
TABLE = "holder,type,claims.title,claims.a.b,days,documents\nx,note/1,y,z,30,a.pdf;b.pdf\n,,,,,\n"
RULES = 'level = "signed"\nmax_age = 5\n[bases]\nx = [1, 2]\n'
NETWORK_TOML = 'member = "did:web:b.example"\nname = "B"\nendpoint = "https://b.example"\n'


def written(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """Return a reader of bytes from one of files."""

    def from_bytes(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return read(path)

    return from_bytes


def text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    """Return a reader of bytes from one of texts, which have been decoded before."""
    return lambda data, _: read(data.decode(errors="surrogateescape"))


def restored(data: bytes, folder: Path) -> None:
    """Restore a backup into a folder that is not there."""
    home = folder / "restored"
    backup.restore(io.BytesIO(data), IDENTITY, "chain", home)


READERS: dict[str, tuple[Callable[[bytes, Path], object], str]] = {
    "breach": (lambda data, _: Breach.decode(data), ""),
    "erasure": (lambda data, _: Erasure.open(data), ""),
    "ceilings": (text(purpose.load), '[loan."note/1"]\nitems = [["claim", "title"]]\n'),
    "record type": (text(RecordType.load), NOTE),
    "template": (text(lambda each: Template.load("x", each)), STATEMENT),
    "told": (written("s.csv.toml", lambda path: told.read(path.with_suffix(""))), 'title = "x"\n'),
    "receiver's rules": (written("p.toml", lambda path: rules.read(path, {})), RULES),
    "receiver's settings": (
        written("settings.toml", lambda path: receiver_home.read_settings(path.parent, {})),
        NETWORK_TOML.replace('name = "B"\n', ""),
    ),
    "provider's settings": (
        written("settings.toml", lambda path: provider_home.read_settings(path.parent, {})),
        NETWORK_TOML,
    ),
    "batch": (written("t.csv", lambda path: list(table.read(path, Defaults()))), TABLE),
    "batch in JSON lines": (
        written("t.jsonl", lambda path: list(table.read(path, Defaults()))),
        '{"holder": "x", "type": "note/1", "claims": {"title": "y"}}\n',
    ),
    "key file": (written("key", keyfile.read), ""),
    "secret": (written("secret", keyfile.read_secret), ""),
    "package and what lies beside it": (written("a.ddtp", beside.read), ""),
    "draft": (
        written("d.ddtpnet", lambda path: governance.read_draft(path.parent, path)),
        "",
    ),
    "backup": (restored, "age-encryption.org/v1\n-> X25519 a\n"),
    "guard": (
        written("checkpoint.a", lambda path: Guard.open(path.parent).read(ORIGIN, LOG_KEY.key_id)),
        "log.example/1\n5\n",
    ),
    "path": (lambda data, _: client.decode_path(data), ""),
    "witness's size": (lambda data, _: witness.decode_size(data), "12\n"),
    "link": (text(parse_link), "http://127.0.0.1:1/offer#AAAAAAAAAAAAAAAAAAAAAA"),
    "code": (text(offers.decode_code), "AAAAAAAAAAAAAAAAAAAAAA"),
    "transfer in a vault": (lambda data, _: Transfer.decode(data), ""),
}
SPLICES = st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=8))


@pytest.mark.parametrize("name", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(noise=st.binary(max_size=200), splices=st.lists(SPLICES, max_size=4))
def test_any_bytes_give_a_value_or_a_refusal(
    name: str, noise: bytes, splices: list[tuple[int, int, bytes]], tmp_path: Path
) -> None:
    read, sample = READERS[name]
    data = bytearray(sample.encode())
    for place, length, other in splices:
        data[place : place + length] = other
    for each in (noise, bytes(data)):
        with suppress(DDTPError):
            read(each, tmp_path)
