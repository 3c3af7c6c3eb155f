"""The wallet while it has nobody to call: links, and files that are none of its own."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp.errors import LockedError, MalformedError
from ddtp.record import DOCUMENT, Document, Item
from demo import bench_wallet
from holder import wallet as wallets
from holder.collect import parse_link
from holder.consent import Held
from holder.export import to_folder, to_zip
from holder.history import Transfer
from holder.keys import Keys
from holder.meeting import fingerprint_in
from holder.vault import Vault
from tests import builders

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


HOSTILE = (
    "../../passwd", "/etc/passwd", "C:\\boot.ini", "a\x00b", "CON", "nul.pdf", "x\u202efdp.exe",
    "record.ddtp", "RECORD.DDTP", "..", " ", "-rf", "\u00e9.txt", "e\u0301.txt",
)  # fmt: skip


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_names_of_documents_lead_nowhere_on_export(tmp_path: Path, ending: str) -> None:
    keys = Keys(CODE * 2)
    Vault.create(tmp_path / "vault", keys.vault_identity)
    vault = Vault(tmp_path / "vault", keys.vault_identity, keys.vault_names)
    documents = []
    for name in HOSTILE:
        data = name.encode()
        digest = hashlib.sha256(data).digest()
        vault.put_document(digest, io.BytesIO(data))
        documents.append(
            Document(name=name, media_type="text/plain", size=len(data), sha256=digest)
        )
    package, statement = builders.package_of(replace(builders.RECORD, documents=tuple(documents)))
    items = tuple(map(Item.open, package.leaves))
    here = frozenset(i for i, item in enumerate(items) if item.path[0] == DOCUMENT)
    held = Held(package=package, statement=statement, items=items, documents=here)
    out = tmp_path / "below" / f"out{ending}"
    out.parent.mkdir()
    (to_zip if ending else to_folder)(vault, held, out)
    if ending:
        with zipfile.ZipFile(out) as archive:
            names = archive.namelist()
            contents = {archive.read(name) for name in names if name != "record.ddtp"}
    else:
        names = [path.name for path in out.iterdir()]
        contents = {path.read_bytes() for path in out.iterdir() if path.name != "record.ddtp"}
    assert list(out.parent.iterdir()) == [out]
    assert contents == {name.encode() for name in HOSTILE}
    assert len({name.casefold() for name in names}) == len(HOSTILE) + 1
    for name in names:
        assert Path(name).name == name
        assert name.isprintable()
        assert not name.startswith(".")
        assert name.partition(".")[0].casefold() not in {"con", "nul", ""}


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
