"""The wallet while it has nobody to call: links, and files that are none of its own."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp.errors import LockedError, MalformedError
from demo import bench_wallet
from holder import wallet as wallets
from holder.collect import parse_link
from holder.history import Transfer
from holder.meeting import fingerprint_in

CODE = bytes(range(16))


def test_wallet_2_says_that_there_is_no_wallet(tmp_path: Path) -> None:
    with pytest.raises(LockedError) as caught:
        wallets.unlock(tmp_path, passphrase=str, identity=None)
    assert caught.value.rule == "wallet.2"


@pytest.mark.parametrize(
    "link",
    [
        "",
        "https://bank.example/offer",
        "https://bank.example/offer#short",
        "https://bank.example/offer?code=AAECAwQFBgcICQoLDA0ODw",
        "https://bank.example/else#AAECAwQFBgcICQoLDA0ODw",
        "https://bank.example/offer#AAECAwQFBgcICQoLDA0ODwAA",
        "ftp://bank.example/offer#AAECAwQFBgcICQoLDA0ODw",
    ],
)
def test_wallet_4_refuses_what_is_no_link_of_an_offer(link: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_link(link)
    assert caught.value.rule == "wallet.4"


def test_a_link_gives_endpoint_and_code() -> None:
    link = " https://bank.example/records/offer#AAECAwQFBgcICQoLDA0ODw\n"
    assert parse_link(link) == ("https://bank.example/records", CODE)


@pytest.mark.parametrize(
    "link",
    [
        "http://bank.example/offer#AAECAwQFBgcICQoLDA0ODw",
        "https://bank.example@evil.example/offer#AAECAwQFBgcICQoLDA0ODw",
    ],
)
def test_a_link_to_where_we_do_not_call_is_refused(link: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_link(link)
    assert caught.value.rule == "web.13"


@given(st.binary(max_size=200))
def test_wallet_11_any_bytes_are_a_transfer_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Transfer.decode(data)


def test_the_bench_lists_the_records_that_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench_wallet.make(tmp_path / "wallet", 20)
    bench_wallet.look(str(tmp_path / "wallet"))
    opened, listed, mib = json.loads(capsys.readouterr().out)
    assert 0 < opened < 60
    assert 0 < listed < 60_000
    assert 0 < mib < 1_000


@pytest.mark.parametrize("place", ["https://a.example/requests/1", "https://a.example/#sha256:00"])
def test_a_link_that_pins_nothing_names_no_request(place: str) -> None:
    assert fingerprint_in(place) is None
