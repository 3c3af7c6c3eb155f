"""`ddtp inspect` shows what bytes are made of, takes any, and verifies none (spec/cli.md)."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ddtp import cli, encoding, network, seal
from ddtp.cli import exits
from ddtp.cli.inspect import BANNER, lines, look
from ddtp.errors import MalformedError
from tests import builders

MADE = builders.transfer()
RECEIPT = MADE.receipt().sign(builders.RECEIVER_KEY)
NETWORK_FILE = network.encode_file([builders.signed(builders.NETWORK, builders.GOVERNORS)])
SECRET_VALUE = "Mortgage of Ana Ferreira"


def shown(data: bytes) -> list[str]:
    """Return the lines, none for malformed bytes; every other error escapes."""
    try:
        return list(lines(look(data)))
    except MalformedError:
        return []


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (MADE.package.encode(), "signed as: statement"),
        (MADE.package.encode(), f"items: {len(MADE.items)}"),
        (MADE.package.encode(), MADE.package.fingerprint.text),
        (MADE.signed_request, "signed as: request"),
        (MADE.signed_request, f"said to be by: {builders.RECEIVER_KEY.key_id.text}"),
        (MADE.presentation.encode(), "signed as: grant"),
        (MADE.presentation.encode(), "rows: 12"),
        (RECEIPT, "signed as: receipt"),
        (NETWORK_FILE, "kind: network"),
        (MADE.log.checkpoint(), f"said to be signed by: {builders.ORIGIN}"),
        (seal.seal(b"x", [builders.REQUEST.recipient]), "sealed to: X25519"),
    ],
)
def test_each_thing_of_ours_is_taken_apart(data: bytes, line: str) -> None:
    assert any(line in given for given in shown(data))


def test_items_are_counted_and_not_shown() -> None:
    text = "\n".join(lines(look(MADE.package.encode())))
    values = {str(item.value) for item in MADE.items if isinstance(item.value, str)}
    assert values
    assert [value for value in values if value in text] == []


@pytest.mark.parametrize(
    ("data", "name"), [(b"%PDF-1.7", "a PDF"), (b"", "an empty file"), (b"{}", "JSON")]
)
def test_a_foreign_file_is_named(tmp_path: Path, data: bytes, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    assert look(data)["looks like"] == name
    assert cli.main(["inspect", str(file)]) == exits.MALFORMED


def test_it_says_that_nothing_is_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.ddtp"
    file.write_bytes(MADE.package.encode())
    assert cli.main(["inspect", str(file)]) == exits.OK
    assert capsys.readouterr().out.startswith(BANNER)
    assert cli.main(["inspect", str(file), "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["verified"] is False


@given(st.binary())
@example(encoding.SELF_DESCRIBED)
@example(b"\xd2\x84")
@example(b"age-encryption.org/v1\n-> \xff\x1b[2J")
def test_any_bytes_are_shown_or_malformed(data: bytes) -> None:
    assert all(line == cli.safe(line) for line in shown(data))


@given(st.binary(max_size=64), st.integers(0, 10_000))
def test_a_changed_file_is_shown_or_malformed(change: bytes, position: int) -> None:
    data = bytearray(MADE.package.encode())
    data[position : position + len(change)] = change
    assert all(line == cli.safe(line) for line in shown(bytes(data)))


def test_nothing_of_a_big_file_is_shown_at_length() -> None:
    big = encoding.encode_file({0: "package", 2: [b"x" * 40] * 100_000, 5: "y" * 100_000})
    assert sum(map(len, lines(look(big)))) < 2_000
