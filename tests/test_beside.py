"""Packages and the documents beside them, in folders and zips (spec/file.md)."""

import hashlib
import io
import itertools
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp.cli import beside
from ddtp.errors import MalformedError
from ddtp.record import Document

PAPER = b"%PDF-1.7 a deed"
PAPER_IS = hashlib.sha256(PAPER).digest()
PACKAGE = b"\xd9\xd9\xf7 a package"


def document(name: str = "deed.pdf", data: bytes = PAPER) -> Document:
    return Document(
        name=name,
        media_type="application/pdf",
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
    )


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def laid(folder: Path, members: dict[str, bytes], *, packed: bool) -> Path:
    """Return a folder or a zip with these files in it."""
    if packed:
        path = folder / "a.zip"
        path.write_bytes(zipped(members))
        return path
    path = folder / "a"
    path.mkdir()
    for name, data in members.items():
        (path / name).write_bytes(data)
    return path


def content(file: beside.File) -> bytes:
    with file.open() as opened:
        return opened.read()


def refused(path: Path) -> str:
    with pytest.raises(MalformedError) as caught:
        found_in(path)
    return caught.value.rule


def found_in(path: Path) -> tuple[bytes, set[bytes]]:
    """Return the package and what was found as its document."""
    bundle = beside.read(path)
    found = beside.find(bundle.files(), [document()])
    return bundle.package, {content(file) for sha256, file in found.items() if sha256 == PAPER_IS}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", ["deed.pdf", "another name", ".hidden"])
def test_a_document_is_known_by_its_bytes(tmp_path: Path, name: str, *, packed: bool) -> None:
    others = {"b.pdf": PAPER[:-1] + b"!", "c.pdf": PAPER + b"!"}
    members = {"a.ddtp": PACKAGE, name: PAPER, **others}
    bundle = beside.read(laid(tmp_path, members, packed=packed))
    found = beside.find(bundle.files(), [document()])
    assert bundle.package == PACKAGE
    assert content(found[document().sha256]) == PAPER


def test_documents_lie_beside_a_package_that_is_named_itself(tmp_path: Path) -> None:
    folder = laid(tmp_path, {"a.ddtp": PACKAGE, "b.ddtp": b"", "x": PAPER}, packed=False)
    bundle = beside.read(folder / "a.ddtp")
    assert document().sha256 in beside.find(bundle.files(), [document()])


def test_a_folder_that_was_packed_whole_is_read(tmp_path: Path) -> None:
    # As a Macintosh does, with files of its own that look like ours.
    path = tmp_path / "a.zip"
    path.write_bytes(
        zipped(
            {
                "out/": b"",
                "out/a.ddtp": PACKAGE,
                "out/deed.pdf": PAPER,
                "__MACOSX/out/._a.ddtp": b"?",
            }
        )
    )
    bundle = beside.read(path)
    assert (bundle.package, len(beside.find(bundle.files(), [document()]))) == (PACKAGE, 1)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("count", [0, 2])
def test_file_3_refuses_what_does_not_hold_one_package(
    tmp_path: Path, count: int, *, packed: bool
) -> None:
    members = {"notes.txt": b"", **{f"{n}.ddtp": PACKAGE for n in range(count)}}
    assert refused(laid(tmp_path, members, packed=packed)) == "file.3"


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_file_3_refuses_a_zip_that_is_not_plain(tmp_path: Path, kind: int) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"a.ddtp": PACKAGE}, kind))
    assert refused(tmp_path / "a.zip") == "file.3"


def test_file_3_refuses_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.ddtp": PACKAGE}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert refused(tmp_path / "a.zip") == "file.3"


def test_file_3_refuses_a_zip_whose_files_lie_over_each_other(tmp_path: Path) -> None:
    data = zipped({"a.ddtp": PACKAGE, "b": bytes(10**6)}, zipfile.ZIP_STORED)
    begin, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    listed = data[begin:end]
    second = listed[listed.index(b"PK\x01\x02", 4) :]
    listed += second * 9
    tail = struct.pack("<HHII", 11, 11, len(listed), begin)
    (tmp_path / "a.zip").write_bytes(data[:begin] + listed + data[end : end + 8] + tail + b"\0\0")
    assert refused(tmp_path / "a.zip") == "file.3"


def test_file_3_refuses_a_document_that_cannot_be_unpacked(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.ddtp": PACKAGE, "deed.pdf": PAPER}))
    data[data.rindex(b"deed.pdf", 0, data.index(b"PK\x01\x02")) + 8] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    assert refused(tmp_path / "a.zip") == "file.3"


def test_any_damage_to_a_zip_is_refused_or_gives_the_same(tmp_path: Path) -> None:
    whole = zipped({"a.ddtp": PACKAGE, "deed.pdf": PAPER})
    path = tmp_path / "a.zip"
    outcomes = set()
    for place, bit in itertools.product(range(4, len(whole)), (0x01, 0x80, 0xFF)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            package, papers = found_in(path)
        except MalformedError as error:
            outcomes.add(error.rule)
        else:
            outcomes.add("read" if package == PACKAGE and papers <= {PAPER} else "another")
    assert outcomes == {"file.3", "read"}


def test_a_package_that_ends_like_a_zip_is_a_package(tmp_path: Path) -> None:
    path = tmp_path / "a.ddtp"
    path.write_bytes(PACKAGE + zipped({"b.ddtp": b"another"}))
    assert beside.read(path).package.startswith(PACKAGE)


def test_a_file_under_a_documents_name_is_told_of(tmp_path: Path) -> None:
    folder = laid(tmp_path, {"a.ddtp": PACKAGE, "deed.pdf": b"changed"}, packed=False)
    held = beside.in_folder(folder)
    assert beside.find(held, [document()]) == {}
    other = beside.named(held, document("../deed.pdf"))
    assert other is not None
    assert content(other) == b"changed"
    assert beside.named(held, document("else.pdf")) is None


def test_each_document_is_written_under_a_name_of_its_own() -> None:
    given_names = ["a.pdf", "A.pdf", "a.pdf", "record.ddtp", "x", "x", "a 2.pdf"]
    written = [name for name, _ in beside.names(map(document, given_names), taken=["record.ddtp"])]
    assert written == [
        "a.pdf", "A 2.pdf", "a 3.pdf", "record 2.ddtp", "x", "x 2", "a 2 2.pdf",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("statement.pdf", "statement.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("/absolute", "absolute"),
        ("..", "document"),
        ("", "document"),
        ("CON.pdf", "document_CON.pdf"),
        ("exe.\u202efdp", "exe._fdp"),
        ("nul\0byte", "nul_byte"),
        (" trailing. ", "trailing"),
        ("~root", "_root"),
        ("月結單.pdf", "月結單.pdf"),
    ],
)
def test_a_documents_name_becomes_a_safe_name(text: str, name: str) -> None:
    assert beside.file_name(text) == name


@given(st.text(max_size=400))
def test_any_name_becomes_a_safe_name(text: str) -> None:
    name = beside.file_name(text)
    assert 0 < len(name.encode()) <= 100
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name == name.strip(" .")
