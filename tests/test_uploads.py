"""Documents on their way in (spec/receiver.md, Uploads)."""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ddtp import aside, seal
from ddtp.errors import ConflictError, DDTPError, Outcome, StorageError
from ddtp.package import Package
from ddtp.transfer import Event
from ddtp.verify import Found
from receiver import uploads
from receiver.folder import PART, Folder
from receiver.meanwhile import Learning
from receiver.requests import Made
from receiver.rows import Asked
from receiver.uploads import Limits, OffsetError, append, check_token, number_in, offset_of
from tests.lending import LETTER, WITH_LETTER, Lending, document_index, opened

LIMITS = Limits(files=3, total=2**20, free=0)


class Counter(Struct):
    """One request to upload to."""

    town: Lending
    made: Made
    limits: Limits = LIMITS

    @property
    def asked(self) -> Asked:
        return self.town.home.desk.cases.find(self.made.id)

    @property
    def folder(self) -> Folder:
        return self.town.home.desk.folders.of(self.made.id)

    async def append(
        self, data: bytes, *, of: bytes | None = None, offset: int = 0, length: int | None = None
    ) -> int:
        whole = data if of is None else of
        return await append(
            self.town.home.desk.cases,
            self.asked,
            self.folder,
            self.limits,
            sha256=hashlib.sha256(whole).digest(),
            offset=offset,
            length=len(whole) if length is None else length,
            pieces=pieces(data),
        )

    def offset(self, data: bytes) -> tuple[int, int | None]:
        digest = hashlib.sha256(data).digest()
        return offset_of(self.town.home.desk.cases, self.asked, self.folder, digest)


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    town = await Lending.begin(tmp_path)
    yield Counter(town, town.ask())
    town.close()


async def pieces(data: bytes, size: int = 1_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


DATA = bytes(range(256)) * 40


async def test_a_document_arrives_whole(counter: Counter) -> None:
    assert await counter.append(DATA) == len(DATA)
    assert counter.folder.document(hashlib.sha256(DATA).digest()).read_bytes() == DATA
    assert counter.offset(DATA) == (len(DATA), len(DATA))


async def test_an_upload_goes_on_where_it_broke_off(counter: Counter) -> None:
    assert await counter.append(DATA[:3_000], of=DATA) == 3_000
    assert counter.offset(DATA) == (3_000, len(DATA))
    assert await counter.append(DATA[3_000:], of=DATA, offset=3_000) == len(DATA)


async def test_what_came_before_a_break_stays(counter: Counter) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield DATA[:2_000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await append(
            counter.town.home.desk.cases,
            counter.asked,
            counter.folder,
            LIMITS,
            sha256=hashlib.sha256(DATA).digest(),
            offset=0,
            length=len(DATA),
            pieces=breaking(),
        )
    assert counter.offset(DATA) == (2_000, len(DATA))


async def test_a_document_sent_again_is_there_already(counter: Counter) -> None:
    await counter.append(DATA)
    assert await counter.append(b"", of=DATA, offset=len(DATA)) == len(DATA)


async def test_nothing_was_begun_of_an_unknown_document(counter: Counter) -> None:
    assert counter.offset(DATA) == (0, None)


@pytest.mark.parametrize(
    "header", ["", "Bearer ", "Bearer AAAAAAAAAAAAAAAAAAAAAA", "Basic x", "Bearer \xe9"]
)
async def test_upload_1_another_token_is_refused(counter: Counter, header: str) -> None:
    with pytest.raises(DDTPError) as refused:
        check_token(header, counter.made.request.token)
    assert refused.value.rule == "upload.1"


async def test_the_token_of_the_request_is_taken(counter: Counter) -> None:
    token = counter.made.request.token
    check_token("Bearer " + uploads.bearer(token), token)


@pytest.mark.parametrize("offset", [0, 2_999, 3_001, 10_240])
async def test_upload_2_another_offset_is_refused_with_the_right_one(
    counter: Counter, offset: int
) -> None:
    await counter.append(DATA[:3_000], of=DATA)
    with pytest.raises(OffsetError) as refused:
        await counter.append(DATA[3_000:], of=DATA, offset=offset)
    assert (refused.value.rule, refused.value.offset) == ("upload.2", 3_000)
    assert counter.offset(DATA)[0] == 3_000


@pytest.mark.parametrize("header", ["", "-1", "1.0", "٣", "9" * 16, " 1"])
def test_upload_3_a_header_is_a_number(header: str) -> None:
    with pytest.raises(DDTPError) as refused:
        number_in(header, "Upload-Offset")
    assert refused.value.rule == "upload.3"


async def test_upload_3_a_length_does_not_change(counter: Counter) -> None:
    await counter.append(DATA[:3_000], of=DATA)
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA[3_000:], of=DATA, offset=3_000, length=len(DATA) + 1)
    assert refused.value.rule == "upload.3"


async def test_upload_4_a_document_beyond_the_total_is_refused(counter: Counter) -> None:
    counter.limits = replace(LIMITS, total=len(DATA) - 1)
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA)
    assert refused.value.rule == "upload.4"


async def test_upload_4_a_document_too_many_is_refused(counter: Counter) -> None:
    for n in range(3):
        await counter.append(DATA + bytes([n]))
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA)
    assert refused.value.rule == "upload.4"


async def test_upload_4_more_bytes_than_announced_are_refused(counter: Counter) -> None:
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA, length=5_000)
    assert refused.value.rule == "upload.4"
    assert counter.offset(DATA)[0] <= 5_000


async def test_upload_5_other_bytes_are_refused_and_dropped(counter: Counter) -> None:
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA[::-1], of=DATA)
    assert refused.value.rule == "upload.5"
    assert counter.offset(DATA) == (0, None)
    assert await counter.append(DATA) == len(DATA)


async def test_upload_6_one_sender_at_a_time(counter: Counter) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA[:1_000]
        begun.set()
        await go_on.wait()

    first = asyncio.create_task(
        append(
            counter.town.home.desk.cases,
            counter.asked,
            counter.folder,
            LIMITS,
            sha256=hashlib.sha256(DATA).digest(),
            offset=0,
            length=len(DATA),
            pieces=slow(),
        )
    )
    await begun.wait()
    with pytest.raises(ConflictError) as refused:
        await counter.append(DATA[1_000:], of=DATA, offset=1_000)
    assert refused.value.rule == "upload.6"
    go_on.set()
    assert await first == 1_000
    assert await counter.append(DATA[1_000:], of=DATA, offset=1_000) == len(DATA)


async def test_upload_7_a_full_disk_takes_nothing(counter: Counter) -> None:
    counter.limits = replace(LIMITS, free=2**60)
    with pytest.raises(StorageError) as refused:
        await counter.append(DATA)
    assert refused.value.rule == "upload.7"
    assert counter.offset(DATA)[0] == 0


@pytest.mark.parametrize("name", ["", "..", "a" * 63, "A" * 64, "../" * 21 + "a", "g" * 64])
def test_upload_8_a_name_is_a_digest(name: str) -> None:
    with pytest.raises(DDTPError) as refused:
        uploads.sha256_in(name)
    assert refused.value.rule == "upload.8"


async def test_a_closed_request_takes_no_document(counter: Counter) -> None:
    await counter.town.home.desk.cancel(counter.made.id)
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA)
    assert refused.value.rule == "case.2"


async def test_a_case_closed_meanwhile_takes_no_document(counter: Counter) -> None:
    counter.folder.erase(keep_proof=False)
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA)
    assert refused.value.rule == "case.2"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_upload_7_a_disk_that_fills_up_meanwhile_is_said() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StorageError) as refused,
    ):
        uploads.Coming(full, Learning(None), len(DATA)).write(DATA)
    assert refused.value.rule == "upload.7"


# Documents of a presentation


async def sealed_letter(counter: Counter, data: bytes = LETTER) -> tuple[bytes, bytes]:
    sealed = seal.seal(data, [counter.made.request.recipient])
    await counter.append(sealed)
    return sealed, hashlib.sha256(sealed).digest()


async def test_a_document_is_found_by_what_it_holds(counter: Counter) -> None:
    _, name = await sealed_letter(counter)
    found = counter.folder.find(name)
    assert found == Found(size=len(LETTER), sha256=hashlib.sha256(LETTER).digest())


async def test_a_document_that_is_no_age_file_is_found_as_nothing(counter: Counter) -> None:
    await counter.append(DATA)
    assert counter.folder.find(hashlib.sha256(DATA).digest()) == Found(size=0, sha256=b"")


# Large documents, which are opened as they come

LARGE = bytes(range(256)) * (aside.LEAST_BYTES // 256)
WIDE = replace(LIMITS, total=4 * len(LARGE))


def forged(counter: Counter, name: bytes) -> None:
    """Exchange a document that lies here, which whoever reads it notices."""
    counter.folder.document(name).write_bytes(b"something else")


async def test_what_a_large_document_holds_is_learnt_as_it_comes(counter: Counter) -> None:
    wide = replace(counter, limits=WIDE)
    sealed, name = await sealed_letter(wide, LARGE)
    forged(counter, name)
    assert counter.folder.found(name) == Found(
        size=len(LARGE), sha256=hashlib.sha256(LARGE).digest()
    )
    assert counter.folder.find(name) == Found(size=0, sha256=b"")
    assert len(sealed) > len(LARGE)


async def test_what_came_before_a_cut_is_learnt_too(counter: Counter) -> None:
    wide = replace(counter, limits=WIDE)
    sealed = seal.seal(LARGE, [counter.made.request.recipient])
    await wide.append(sealed[:3_000_000], of=sealed)
    await wide.append(sealed[3_000_000:], of=sealed, offset=3_000_000)
    name = hashlib.sha256(sealed).digest()
    forged(counter, name)
    assert counter.folder.found(name) == Found(
        size=len(LARGE), sha256=hashlib.sha256(LARGE).digest()
    )


async def test_a_small_document_is_read_when_it_is_asked_for(counter: Counter) -> None:
    _, name = await sealed_letter(counter)
    forged(counter, name)
    assert counter.folder.found(name) == Found(size=0, sha256=b"")


async def test_a_large_document_that_does_not_open_is_found_as_nothing(counter: Counter) -> None:
    wide = replace(counter, limits=WIDE)
    await wide.append(LARGE)
    assert counter.folder.found(hashlib.sha256(LARGE).digest()) == Found(size=0, sha256=b"")


async def test_a_third_large_document_at_once_is_read_later(counter: Counter) -> None:
    wide = replace(counter, limits=WIDE)
    meanwhile, identity = counter.folder.meanwhile, counter.folder.identity()
    with meanwhile.learning(identity, len(LARGE)), meanwhile.learning(identity, len(LARGE)):
        _, name = await sealed_letter(wide, LARGE)
    assert counter.folder.meanwhile.found(counter.folder.document(name)) is None
    assert counter.folder.found(name) == Found(
        size=len(LARGE), sha256=hashlib.sha256(LARGE).digest()
    )


async def test_what_was_learnt_of_an_erased_document_is_forgotten(counter: Counter) -> None:
    wide = replace(counter, limits=WIDE)
    _, name = await sealed_letter(wide, LARGE)
    counter.folder.erase_answers()
    assert counter.folder.meanwhile.found(counter.folder.document(name)) is None
    assert counter.folder.found(name) is None


async def with_letter(counter: Counter) -> tuple[Package, int]:
    package = await counter.town.issue(WITH_LETTER)
    return package, document_index(package)


async def test_a_presentation_with_its_document_is_accepted(counter: Counter) -> None:
    _, name = await sealed_letter(counter)
    package, index = await with_letter(counter)
    sent = await counter.town.grant(counter.made, [package], documents=[(index, name)])
    answer = await counter.town.home.desk.present(counter.made.id, sent.sealed)
    assert opened(answer)[1].outcome is Outcome.VERIFIED


async def test_another_document_than_the_signed_one_is_not_verified(counter: Counter) -> None:
    _, name = await sealed_letter(counter, LETTER + b"!")
    package, index = await with_letter(counter)
    sent = await counter.town.grant(counter.made, [package], documents=[(index, name)])
    answer = await counter.town.home.desk.present(counter.made.id, sent.sealed)
    assert opened(answer)[1].reasons == ("presentation.5",)


async def test_a_part_of_a_document_does_not_count(counter: Counter) -> None:
    sealed = seal.seal(LETTER, [counter.made.request.recipient])
    await counter.append(sealed[:1_000], of=sealed)
    digest = hashlib.sha256(sealed).digest()
    assert counter.folder.document(digest).with_suffix(PART).exists()
    assert counter.folder.find(digest) is None


async def test_a_part_is_for_its_owner_alone(counter: Counter) -> None:
    await counter.append(DATA[:1_000], of=DATA)
    [part] = counter.folder.path.glob(f"documents/*{PART}")
    assert stat.S_IMODE(part.stat().st_mode) == 0o600


async def test_case_2_a_closed_request_takes_no_rest_of_a_document(counter: Counter) -> None:
    await counter.append(DATA[:1_000], of=DATA)
    asked = counter.asked
    counter.town.home.desk.cases.end(asked, Event.DECLINE)
    with pytest.raises(DDTPError) as refused:
        await counter.append(DATA[1_000:], of=DATA, offset=1_000)
    assert refused.value.rule == "case.2"
