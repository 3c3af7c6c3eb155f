"""spec/provider.md: sources, accounts, issuing, pages; in a town with a real log."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from msgspec.structs import replace
from playwright.async_api import Browser

from chain.case import package_case
from chain.member import MEMBER_KEY, Membership, log_of
from ddtp import entry, record_type, verify, web, words
from ddtp.encoding import Value
from ddtp.errors import (
    ConflictError,
    LockedError,
    MalformedError,
    Outcome,
    StorageError,
    Unanswered,
)
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.record import Record
from ddtp.verify import Found
from provider import accounts, issue, store
from provider import home as homes
from provider.accounts import Accounts
from provider.folder import FolderSource
from provider.home import Home
from provider.server import app
from provider.store import Store
from tests.bank import (
    DAY,
    HOLDER,
    JSON,
    OTHER,
    PASSPHRASE,
    Bank,
    ddtp,
    open_bank,
    plain,
    rule_of,
    write,
)
from tests.browser import chromium, needs_chromium
from tests.builders import FILE_BYTES
from tests.rules import broken_rule


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


# --- records --------------------------------------------------------------------------------


def test_a_folder_gives_records_and_their_documents(tmp_path: Path) -> None:
    write(tmp_path)
    found = FolderSource(folder=tmp_path).record("chan", "q1")
    assert found.title == "January to March 2025"
    assert found.record.claims["balance", "closing"] == ["HKD", 123_450]
    rows = [part.rows for part in found.record.tables["transactions"]]
    assert [len(each) for each in rows] == [1, 0, 1]
    assert rows[0][0]["amount"] == ["HKD", 1_200]
    assert found.documents["s.pdf"].read_bytes() == FILE_BYTES
    assert found.record.documents[0].size == len(FILE_BYTES)


def test_a_record_that_cannot_be_issued_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "{", "broken")
    found = {each.name: each.refused for each in FolderSource(folder=tmp_path).records("chan")}
    assert found["q1"] is None
    assert found["broken"] is not None
    assert found["broken"].rule == "source.2"


@pytest.mark.parametrize(
    "name", ["", "..", "../chan", "a/b", "a\0b", ".hidden", "a..b", "-o", "x" * 101, "q2"]
)
def test_source_1_refuses_a_name_that_is_no_record(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    assert broken_rule(lambda: FolderSource(folder=tmp_path).record("chan", name)) == "source.1"


@pytest.mark.parametrize("customer", ["..", "chan/../chan", "/etc", "nobody"])
def test_source_1_refuses_a_customer_that_is_none(tmp_path: Path, customer: str) -> None:
    write(tmp_path)
    assert broken_rule(lambda: FolderSource(folder=tmp_path).record(customer, "q1")) == "source.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '{"type": "file/1", "type": "file/1"}',
        '{"type": NaN}',
        '{"type": 1e999}',
        '{"type": 1.5}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        '{"type": ' + "9" * 5_000 + "}",
    ],
)
def test_source_2_refuses_what_is_no_strict_json(tmp_path: Path, text: str) -> None:
    write(tmp_path).write_text(text, encoding="latin-1")
    assert broken_rule(lambda: FolderSource(folder=tmp_path).record("chan", "q1")) == "source.2"


def changed(**fields: object) -> dict[str, object]:
    return {**JSON, **fields}


@pytest.mark.parametrize(
    "text",
    [
        [],
        changed(colour="red"),
        changed(type=7),
        changed(claims=[]),
        changed(documents={}),
        changed(claims={"balance": {"closing": {"currency": "HKD", "amount": "1.005"}}}),
        changed(claims={"balance": {"closing": {"currency": "HKD", "amount": "1e3"}}}),
        changed(claims={"balance": {"closing": {"currency": "HKD", "amount": 12}}}),
        changed(claims={"balance": {"closing": {"currency": "Dollar", "amount": "12"}}}),
        changed(claims={"balance": {"closing": {"currency": "HKD", "minor": True}}}),
        changed(claims={"period": {"from": None}}),
        changed(tables={"transactions": {"from": "1 May", "until": "2025-04-01", "rows": []}}),
    ],
)
def test_source_3_refuses_a_field_that_is_wrong(tmp_path: Path, text: object) -> None:
    write(tmp_path, json.dumps(text))
    assert broken_rule(lambda: FolderSource(folder=tmp_path).record("chan", "q1")) == "source.3"


@pytest.mark.parametrize("day", ["2025-04-02", "2025-02x", "2025-03-99", "2025-19-01", "Chan"])
def test_source_4_refuses_a_row_outside_the_days_of_its_table(tmp_path: Path, day: str) -> None:
    rows = [{"date": day, "amount": {"currency": "HKD", "minor": 1}}]
    table = {"from": "2025-01-01", "until": "2025-04-01", "rows": rows}
    write(tmp_path, changed(tables={"transactions": table}))
    with pytest.raises(MalformedError) as caught:
        FolderSource(folder=tmp_path).record("chan", "q1")
    assert caught.value.rule in ("source.4", "type.5")
    assert day not in caught.value.detail


@pytest.mark.parametrize("file", ["none.pdf", "../chan/s.pdf", "link.pdf", "empty.pdf", "."])
def test_source_5_refuses_a_document_that_is_no_plain_file(tmp_path: Path, file: str) -> None:
    write(tmp_path, changed(documents=[{"file": file, "media_type": "application/pdf"}]))
    (tmp_path / "chan" / "link.pdf").symlink_to(tmp_path / "chan" / "s.pdf")
    (tmp_path / "chan" / "empty.pdf").touch()
    assert broken_rule(lambda: FolderSource(folder=tmp_path).record("chan", "q1")) == "source.5"


async def test_source_5_refuses_a_document_that_changed_meanwhile(bank: Bank) -> None:
    write(bank.path / "records")
    found = bank.home.source.record("chan", "q1")
    found.documents["s.pdf"].write_bytes(b"%PDF another")
    issuing = bank.home.provider.issue(
        found.record, HOLDER, documents=found.documents, valid_seconds=DAY, key=None
    )
    assert await rule_of(issuing) == "source.5"
    assert not list((bank.path / "documents").iterdir())


async def test_provider_12_keeps_no_document_that_the_disk_has_no_room_for(bank: Bank) -> None:
    write(bank.path / "records")
    found = bank.home.source.record("chan", "q1")
    (document,) = found.record.documents
    record = replace(found.record, documents=(replace(document, size=2**60),))
    issuing = bank.home.provider.issue(
        record, HOLDER, documents=found.documents, valid_seconds=DAY, key=None
    )
    assert await rule_of(issuing) == "provider.12"
    assert not list((bank.path / "documents").iterdir())


# --- issuing --------------------------------------------------------------------------------


async def test_a_package_is_registered_and_verifies(bank: Bank) -> None:
    write(bank.path / "records")
    found = bank.home.source.record("chan", "q1")
    package = await bank.home.provider.issue(
        found.record, HOLDER, documents=found.documents, valid_seconds=DAY, key=None
    )
    view = bank.town.view("reader")
    await view.refresh()
    (index,) = package.documents
    document = found.record.documents[0]
    files = {index: Found(size=document.size, sha256=document.sha256)}
    verdict = verify.examine(await package_case(view, package, files, Policy()))
    assert verdict.outcome is Outcome.VERIFIED
    assert bank.home.provider.document(document.sha256).read_bytes() == FILE_BYTES


async def test_records_issued_at_once_share_submissions(bank: Bank) -> None:
    packages = await asyncio.gather(*(bank.issue(plain(n)) for n in range(64)))
    assert len({each.fingerprint for each in packages}) == 64
    assert bank.town.log is not None
    # One group and its status entry, and what the log held before: no entry for each.
    assert bank.town.log._store.reads.size() < 64 + 8


async def test_a_big_record_is_issued_beside_the_event_loop(bank: Bank) -> None:
    kind = record_type.find("bank-statement/1")
    from datetime import date

    rows: list[dict[str, Value]] = [
        {"date": "2025-01-02", "amount": ["HKD", n]} for n in range(2_000)
    ]
    parts = kind.tables["transactions"].parts(rows, date(2025, 1, 1), date(2025, 2, 1))
    record = Record(
        type=kind.name,
        claims={
            ("account", "currency"): "HKD",
            ("period", "from"): "2025-01-01",
            ("period", "until"): "2025-02-01",
        },
        tables={"transactions": parts},
        documents=(),
    )
    package = await bank.issue(record)
    assert len(package.open()[1]) == 2_016


async def test_provider_5_the_same_key_gives_the_same_package(bank: Bank) -> None:
    first, again = await asyncio.gather(bank.issue(plain(), "k"), bank.issue(plain(), "k"))
    later = await bank.issue(plain(), "k")
    assert first.statement == again.statement == later.statement
    assert first.leaves == later.leaves
    assert len(bank.entries()) == 1


async def test_provider_5_refuses_a_key_for_something_else(bank: Bank) -> None:
    await bank.issue(plain(), "k")
    with pytest.raises(ConflictError) as caught:
        await bank.issue(plain(2), "k")
    assert caught.value.rule == "provider.5"
    assert await rule_of(bank.issue(plain(), "k", OTHER)) == "provider.5"


async def test_type_2_an_unknown_type_is_not_issued(bank: Bank) -> None:
    assert await rule_of(bank.issue(replace(plain(), type="other/1"))) == "type.2"


async def test_a_log_that_is_down_delays_and_loses_nothing(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue, "FIRST_RETRY_SECONDS", 0.05)
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain(), "k")
    kept = bank.home.store.package_by_key("k")
    assert kept is not None
    assert kept.evidence is None
    await bank.town.start_log()
    async with asyncio.timeout(10):
        while not bank.entries():  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.05)
    package = await bank.issue(plain(), "k")
    assert package.statement == kept.statement
    assert len(bank.entries()) == 1


async def test_a_restart_registers_what_was_only_signed(bank: Bank) -> None:
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain(), "k")
    await bank.town.start_log()
    again = await Home.open(bank.path, os.environ, client=bank.town.client, clock=bank.town.clock)
    async with asyncio.timeout(10), again.provider:
        while not bank.entries():  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.05)
    again.close()


async def test_package_7_is_told_when_our_clock_and_the_logs_differ(bank: Bank) -> None:
    ahead = await Home.open(
        bank.path, os.environ, client=bank.town.client, clock=lambda: bank.town.clock() + 400
    )
    async with ahead.provider:
        issuing = ahead.provider.issue(plain(), HOLDER, documents={}, valid_seconds=DAY, key=None)
        assert await rule_of(issuing) == "package.7"
    ahead.close()


async def test_a_revoked_package_verifies_no_more(bank: Bank) -> None:
    package = await bank.issue(plain())
    await bank.home.provider.revoke(package.fingerprint, 1)
    again = await bank.home.provider.revoke(package.fingerprint, 2)
    revoked = entry.decode(again.registration.entry)
    assert isinstance(revoked, entry.Revoked)
    assert revoked.reason == 1
    view = bank.town.view("reader")
    await view.refresh()
    case = await package_case(view, replace(package, evidence=None), {}, Policy())
    assert verify.examine(case).outcome is Outcome.NOT_VERIFIED


async def test_provider_6_refuses_to_revoke_what_was_not_issued_here(bank: Bank) -> None:
    work = bank.home.provider.revoke(Fingerprint.of(b"another"), 0)
    assert await rule_of(work) == "provider.6"


async def test_provider_6_a_revocation_is_kept_while_the_log_is_down(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue, "FIRST_RETRY_SECONDS", 0.05)
    package = await bank.issue(plain())
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.home.provider.revoke(package.fingerprint, 3)
    await bank.town.start_log()
    async with asyncio.timeout(10):
        while len(bank.entries()) < 2:  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.05)
    assert isinstance(bank.entries()[1], entry.Revoked)


async def test_provider_6_a_revocation_that_is_refused_holds_up_no_other(bank: Bank) -> None:
    packages = [await bank.issue(plain(n)) for n in range(2)]
    await asyncio.sleep(store.LATER_SECONDS * 2)
    lost = (bytes(16), packages[0].fingerprint)
    await bank.home.store.write(
        lambda database: database.execute("UPDATE packages SET cti = ? WHERE fingerprint = ?", lost)
    )
    for each in packages:
        await bank.home.store.write(store.ask_to_revoke(each.fingerprint, 1))
    with pytest.raises(LockedError):
        await bank.home.provider._send_again()
    assert [type(each) for each in bank.entries()] == [entry.Issued, entry.Issued, entry.Revoked]


async def test_what_cannot_be_removed_does_not_end_the_outbox(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue, "FIRST_RETRY_SECONDS", 0.05)
    stuck = bank.path / "documents" / "a folder"
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain())
    await bank.town.start_log()
    async with asyncio.timeout(10):
        while not bank.entries():  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.05)


async def test_what_waits_goes_to_the_log_that_its_statement_names(bank: Bank) -> None:
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain())
    asked = Deaf()
    moved = replace(bank.home.provider._issuer, log="another.example/1")
    later = issue.Provider(
        moved,
        bank.home.store,
        bank.path / "documents",
        asked,  # type: ignore[arg-type]  # registering asks no more of a view
        clock=bank.town.clock,
    )
    with pytest.raises(Unanswered):
        await later._send_again()
    assert asked.origins == [bank.home.provider._issuer.log]


class Deaf:
    """A view that notes which log is meant and reaches none."""

    def __init__(self) -> None:
        self.origins: list[str] = []

    async def submit(self, origin: str, *_: object) -> list[Evidence]:
        self.origins.append(origin)
        raise Unanswered("log.2", "deaf")

    async def revoke(self, origin: str, *_: object) -> Evidence:
        self.origins.append(origin)
        raise Unanswered("log.2", "deaf")


async def test_provider_8_contents_are_removed_after_their_time(bank: Bank) -> None:
    write(bank.path / "records")
    found = bank.home.source.record("chan", "q1")
    await bank.home.provider.issue(
        found.record, HOLDER, documents=found.documents, valid_seconds=DAY, key="k"
    )
    await asyncio.sleep(store.LATER_SECONDS * 2)
    os.utime(bank.home.provider.document(found.record.documents[0].sha256), (0, 0))
    bank.town.advance(8 * DAY)
    await bank.home.provider._forget()
    assert await rule_of(bank.home.provider.of_key("k")) == "provider.8"
    assert not list((bank.path / "documents").iterdir())
    files = list(bank.path.glob("provider.sqlite*"))
    assert len(files) > 1  # the write-ahead log had the contents longer than the database
    assert not any(b"Chan Tai Man" in path.read_bytes() for path in files)


async def test_provider_12_a_store_that_cannot_write_refuses(tmp_path: Path) -> None:
    kept = Store(tmp_path / "provider.sqlite")
    kept._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError) as caught:
        await kept.write(store.set_account("chan", b"x", 0))
    assert caught.value.rule == "provider.12"
    kept.close()


async def test_a_change_that_raises_leaves_the_others_alone(tmp_path: Path) -> None:
    kept = Store(tmp_path / "provider.sqlite")

    def fails(database: object) -> None:
        store.set_account("lei", b"x", 0)(database)  # type: ignore[arg-type]
        raise ConflictError("provider.7", "lei")

    results = await asyncio.gather(
        kept.write(store.set_account("chan", b"x", 0)), kept.write(fails), return_exceptions=True
    )
    assert isinstance(results[1], ConflictError)
    assert kept.customers() == [("chan", 0)]
    kept.close()


# --- homes ----------------------------------------------------------------------------------


async def test_provider_10_refuses_a_second_home_and_a_missing_one(bank: Bank) -> None:
    asked = Membership(
        member=MemberID("did:web:x.example"),
        names={"en": "X"},
        jurisdiction="MO",
        endpoint="http://127.0.0.1:1",
    )
    file = bank.town.network.read_bytes()
    assert broken_rule(lambda: homes.create(bank.path, asked, network_file=file, source="")) == (
        "provider.10"
    )
    assert broken_rule(lambda: homes.read_settings(bank.path / "no", {})) == "provider.10"


async def test_provider_11_asks_which_log_when_there_is_not_one(bank: Bank) -> None:
    network = replace(bank.home.view.network, logs=())
    assert broken_rule(lambda: log_of("", network, "provider.11")) == "provider.11"


async def test_secrets_are_for_their_owner_only(bank: Bank) -> None:
    assert bank.path.stat().st_mode & 0o077 == 0
    for name in (MEMBER_KEY, homes.REVOCATION_SECRET):
        assert (bank.path / name).stat().st_mode & 0o077 == 0


async def test_a_secret_that_others_can_read_is_refused(bank: Bank) -> None:
    (bank.path / homes.REVOCATION_SECRET).chmod(0o644)
    with pytest.raises(LockedError):
        await Home.open(bank.path, os.environ, client=bank.town.client)


# --- accounts -------------------------------------------------------------------------------


class Clock(Struct):
    """A clock that a test sets."""

    now: int = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[tuple[Accounts, Clock]]:
    kept, clock = Store(tmp_path / "provider.sqlite"), Clock()
    made = Accounts(kept, clock=clock)
    await made.add("chan", PASSPHRASE)
    yield made, clock
    kept.close()


Known = tuple[Accounts, Clock]


async def test_a_customer_signs_in(known: Known) -> None:
    secret = await known[0].sign_in("chan", PASSPHRASE)
    assert known[0].session(secret).customer == "chan"


@pytest.mark.parametrize(("name", "word"), [("chan", "wrong"), ("nobody", PASSPHRASE), ("", "")])
async def test_provider_1_says_the_same_of_a_wrong_name_or_passphrase(
    known: Known, name: str, word: str
) -> None:
    with pytest.raises(LockedError) as caught:
        await known[0].sign_in(name, word)
    assert (caught.value.rule, caught.value.detail) == (
        "provider.1",
        "name and passphrase do not belong together",
    )


@pytest.mark.parametrize("name", ["chan", "nobody"])
async def test_provider_2_attempts_wait_longer_each_time_and_never_for_ever(
    known: Known, name: str
) -> None:
    made, clock = known
    for _ in range(accounts.FREE_ATTEMPTS):
        assert await rule_of(made.sign_in(name, "wrong")) == "provider.1"
    assert await rule_of(made.sign_in(name, PASSPHRASE)) == "provider.2"
    clock.now += 1
    assert await rule_of(made.sign_in(name, "wrong")) == "provider.1"
    clock.now += 1
    assert await rule_of(made.sign_in(name, PASSPHRASE)) == "provider.2"
    clock.now += accounts.LONGEST_WAIT_SECONDS
    assert await rule_of(made.sign_in(name, PASSPHRASE)) in ("ok", "provider.1")


async def test_provider_2_counts_attempts_that_are_made_at_once(known: Known) -> None:
    tries = (rule_of(known[0].sign_in("chan", f"wrong {n}")) for n in range(8))
    rules = await asyncio.gather(*tries)
    assert sorted(rules) == ["provider.1"] * 3 + ["provider.2"] * 5


async def test_a_long_passphrase_signs_in(known: Known) -> None:
    await known[0].add("lei", "x" * 1_200)
    assert await known[0].sign_in("lei", "x" * 1_200)


def test_a_passphrase_that_we_make_has_five_bits_a_letter() -> None:
    letters = "".join(accounts.new_passphrase() for _ in range(200)).replace("-", "")
    assert len(set(letters)) == 32


async def test_provider_3_a_session_ends(known: Known) -> None:
    made, clock = known
    secret = await made.sign_in("chan", PASSPHRASE)
    clock.now += accounts.SESSION_SECONDS
    assert broken_rule(lambda: made.session(secret)) == "provider.3"
    assert broken_rule(lambda: made.session("guessed")) == "provider.3"


async def test_provider_3_signing_out_ends_the_session(known: Known) -> None:
    secret = await known[0].sign_in("chan", PASSPHRASE)
    known[0].sign_out(secret)
    assert broken_rule(lambda: known[0].session(secret)) == "provider.3"


async def test_provider_4_refuses_another_sessions_form(known: Known) -> None:
    first = known[0].session(await known[0].sign_in("chan", PASSPHRASE))
    second = known[0].session(await known[0].sign_in("chan", PASSPHRASE))
    known[0].check_token(first, first.token)
    assert broken_rule(lambda: known[0].check_token(first, second.token)) == "provider.4"


async def test_provider_7_refuses_to_replace_an_account_unasked(known: Known) -> None:
    assert await rule_of(known[0].add("chan", "another")) == "provider.7"
    await known[0].add("chan", "another", force=True)
    await known[0].sign_in("chan", "another")


async def test_provider_9_asks_a_crowd_to_come_again(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_MOST_WAITING", 1)
    rules = await asyncio.gather(*(rule_of(known[0].sign_in("chan", PASSPHRASE)) for _ in "abc"))
    assert sorted(rules) == ["ok", "provider.9", "provider.9"]


def test_a_passphrase_is_kept_hashed_only(known: Known, tmp_path: Path) -> None:
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(PASSPHRASE.encode() in data for data in files)
    assert any(b"$argon2id$" in data for data in files)


# --- pages ----------------------------------------------------------------------------------


@pytest.fixture
async def portal(bank: Bank) -> AsyncIterator[str]:
    write(bank.path / "records")
    await bank.home.accounts.add("chan", PASSPHRASE)
    async with web.serve(app(bank.home)) as server:
        yield server.url


SIGN_IN = {"customer": "chan", "passphrase": PASSPHRASE}


def customer() -> aiohttp.ClientSession:
    """Return a browser of sorts: it keeps cookies and follows redirects."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


def token_in(page: str) -> str:
    return page.partition('name="token" value="')[2].partition('"')[0]


async def test_a_customer_gets_an_offer_without_scripts(portal: str) -> None:
    async with customer() as browser:
        async with browser.post(f"{portal}/sign-in", data=SIGN_IN) as answer:
            page = await answer.text()
        assert "January to March 2025" in page
        assert answer.headers["Cache-Control"] == "no-store"
        fields = {"token": token_in(page), "record": "q1"}
        async with browser.post(f"{portal}/offers", data=fields) as answer:
            page = await answer.text()
    assert "/offer#" in page
    assert "<svg" in page
    assert "script" not in page


async def test_the_cookie_is_strict(portal: str) -> None:
    async with (
        customer() as browser,
        browser.post(f"{portal}/sign-in", data=SIGN_IN, allow_redirects=False) as answer,
    ):
        cookie = answer.headers["Set-Cookie"]
    assert "SameSite=Strict" in cookie
    assert "HttpOnly" in cookie


@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_a_refused_sign_in_says_so_beside_the_form(portal: str, language: str) -> None:
    fields = {"customer": "<b>chan", "passphrase": "wrong"}
    async with (
        customer() as browser,
        browser.post(f"{portal}/sign-in?lang={language}", data=fields) as answer,
    ):
        page = await answer.text()
    assert answer.status == 401
    assert words.refusal("provider.1").sentence_in(language) in page
    assert "&lt;b&gt;chan" in page


@pytest.mark.parametrize("path", ["/offers", "/sign-out"])
async def test_provider_3_and_4_hold_for_every_form(portal: str, path: str) -> None:
    async with customer() as browser:
        async with browser.post(portal + path, data={"token": "x", "record": "q1"}) as answer:
            assert answer.status == 401
        async with browser.post(f"{portal}/sign-in", data=SIGN_IN):
            pass
        async with browser.post(portal + path, data={"token": "x", "record": "q1"}) as answer:
            assert answer.status == 403


async def test_a_customer_sees_nobody_elses_records(portal: str, bank: Bank) -> None:
    await bank.home.accounts.add("lei", PASSPHRASE)
    async with customer() as browser:
        fields = {"customer": "lei", "passphrase": PASSPHRASE}
        async with browser.post(f"{portal}/sign-in", data=fields) as answer:
            page = await answer.text()
        assert "January" not in page
        fields = {"token": token_in(page), "record": "../chan/q1"}
        async with browser.post(f"{portal}/offers", data=fields) as answer:
            assert answer.status == 404


async def test_without_a_session_the_records_lead_to_the_sign_in(portal: str) -> None:
    async with customer() as browser, browser.get(portal, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"].startswith("/sign-in")


def test_a_qr_code_holds_no_script_and_no_style() -> None:
    drawn = web.qr("https://bank.example/offer#abc")
    assert drawn.startswith("<svg")
    assert "<script" not in drawn
    assert "style=" not in drawn


@needs_chromium
@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_a_customers_way_fits_a_narrow_screen(portal: str, language: str) -> None:
    async with chromium() as browser:
        assert await widths(browser, portal, language) == [320, 320, 320, 320]


async def widths(browser: Browser, portal: str, language: str) -> list[int]:
    """Walk a customer's way at 320 pixels and return how wide each page is."""
    page = await browser.new_page(viewport={"width": 320, "height": 700})
    found = []
    width = "document.documentElement.scrollWidth"
    await page.goto(f"{portal}/sign-in?lang={language}")
    found.append(await page.evaluate(width))
    await page.fill("#customer", "chan")
    await page.fill("#passphrase", PASSPHRASE)
    await page.click("button[type=submit]")
    found.append(await page.evaluate(width))
    await page.click("ul.cards button")
    found.append(await page.evaluate(width))
    assert "/offer#" in await page.input_value("#link")
    assert await page.get_attribute("html", "lang") == language
    await page.goto(f"{portal}/offer")
    found.append(await page.evaluate(width))
    return found


# --- commands -------------------------------------------------------------------------------


async def test_a_package_is_issued_listed_shown_and_revoked_by_command(bank: Bank) -> None:
    write(bank.path / "records")
    holder = ("--holder", HOLDER.text, "--key", "k")
    code, told, _ = await ddtp(bank, "issue", "chan", "q1", *holder)
    assert code == 0
    package = Package.decode((bank.town.folder / "q1.ddtp").read_bytes())
    assert told["fingerprint"] == package.fingerprint.text
    assert (bank.town.folder / "s.pdf").read_bytes() == FILE_BYTES
    code, again, _ = await ddtp(bank, "issue", "chan", "q1", *holder, "--force")
    assert (code, again["fingerprint"]) == (0, told["fingerprint"])
    digits = package.fingerprint.digest.hex()[:8]
    assert (await ddtp(bank, "show", digits))[1]["state"] == "registered"
    assert (await ddtp(bank, "revoke", digits, "--reason", "error", "--yes"))[0] == 0
    code, listed, _ = await ddtp(bank, "list")
    assert [row["state"] for row in listed["packages"]] == ["revoked"]  # type: ignore[attr-defined]


async def test_cli_2_nothing_is_issued_where_a_file_is_in_the_way(bank: Bank) -> None:
    write(bank.path / "records")
    (bank.town.folder / "q1.ddtp").touch()
    code, told, _ = await ddtp(bank, "issue", "chan", "q1", "--holder", HOLDER.text)
    assert (code, told["rule"]) == (6, "cli.2")
    assert not bank.home.store.newest(1)


async def test_an_offer_is_made_by_command(bank: Bank) -> None:
    write(bank.path / "records")
    code, told, _ = await ddtp(bank, "issue", "chan", "q1")
    assert code == 0
    assert str(told["link"]).startswith(f"{bank.home.settings.endpoint}/offer#")


async def test_a_command_says_that_it_could_not_say_while_the_log_is_down(bank: Bank) -> None:
    write(bank.path / "records")
    await bank.town.stop_log()
    code, told, err = await ddtp(bank, "issue", "chan", "q1", "--holder", HOLDER.text)
    assert (code, told["exit"]) == (3, 3)
    assert "kept" in err
    assert bank.home.store.unregistered(2)


async def test_a_broken_record_is_named_by_command(bank: Bank) -> None:
    write(bank.path / "records")
    write(bank.path / "records", "{", "broken")
    code, told, _ = await ddtp(bank, "records", "list", "chan")
    rows = {row["name"]: row["rule"] for row in told["records"]}  # type: ignore[attr-defined]
    assert (code, rows) == (4, {"q1": "", "broken": "source.2"})


async def test_an_account_is_added_by_command(bank: Bank) -> None:
    code, told, _ = await ddtp(bank, "account", "add", "chan", "--generate")
    assert code == 0
    await bank.home.accounts.sign_in("chan", str(told["passphrase"]))
    assert (await ddtp(bank, "account", "add", "chan", "--generate"))[0] == 6
    assert (await ddtp(bank, "account", "add", "lei"))[0] == 2


async def test_an_unknown_package_is_named_by_command(bank: Bank) -> None:
    code, told, _ = await ddtp(bank, "show", "abcdef12")
    assert (code, told["rule"]) == (1, "provider.6")
    assert (await ddtp(bank, "show", "xyz"))[0] == 2


def modes(folder: Path) -> set[int]:
    """Return the modes of the files in a folder."""
    return {each.stat().st_mode & 0o777 for each in folder.iterdir()}


async def test_an_issued_file_and_its_documents_are_their_owners_alone(
    bank: Bank, tmp_path: Path
) -> None:
    write(bank.path / "records")
    out = tmp_path / "issued"
    out.mkdir()
    words = ("issue", "chan", "q1", "--holder", HOLDER.text, "-o", str(out / "q1.ddtp"))
    code, _, err = await ddtp(bank, *words)
    assert code == 0, err
    assert modes(out) == {0o600}
