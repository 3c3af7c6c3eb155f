"""provider.batch.small_zip: a plain zip made at once, as every reader of zips takes it."""

import zipfile
from io import BytesIO

import pytest

from provider.batch import small_zip

FILES = [("00000001.ddtp", b"\xd9\xd9\xf7" * 99), ("对账单.pdf", bytes(70_000)), ("none", b"")]


@pytest.fixture
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(BytesIO(small_zip.encode(FILES)))


def test_a_small_zip_holds_its_files_in_order(archive: zipfile.ZipFile) -> None:
    assert [(each.filename, archive.read(each)) for each in archive.infolist()] == FILES


def test_a_small_zip_is_whole(archive: zipfile.ZipFile) -> None:
    assert archive.testzip() is None


def test_a_small_zip_is_not_compressed(archive: zipfile.ZipFile) -> None:
    assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def test_files_out_of_a_small_zip_are_their_owners_alone(archive: zipfile.ZipFile) -> None:
    assert {each.external_attr >> 16 for each in archive.infolist()} == {0o100600}


def test_a_file_that_was_changed_in_a_small_zip_is_noticed() -> None:
    data = small_zip.encode(FILES).replace(b"\xd9\xd9\xf7", b"\xd9\xd9\xf8", 1)
    assert zipfile.ZipFile(BytesIO(data)).testzip() == "00000001.ddtp"
