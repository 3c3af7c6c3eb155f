"""Issuing: a record is signed, kept, registered and only then handed over (spec/provider.md).

The signed statement is on the disk before anybody else sees it, so a crash or a registry that
is down delays a package and never loses it: what has no evidence yet is submitted again, and a
log answers the same write with the same entry. Records that are issued at the same time share
commits and submissions.
"""

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from chain import answers
from chain.view import View
from ddtp import entry, record_type
from ddtp.cli import files
from ddtp.entry import Issued
from ddtp.errors import ConflictError, DDTPError, StorageError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.record import Record
from ddtp.verify import Absent
from provider import store
from provider.basis import OWN_RECORD, Basis
from provider.signing import (
    Grown,
    Issuer,
    Terms,
    check_time,
    digest_of,
    grow,
    leaves_of,
    package_of,
    salts_for,
)
from provider.store import Row, Store

log = logging.getLogger(__name__)

MOST_ENTRIES: Final = 1_000  # of one submission
BIG_RECORD: Final = 500  # leaves from which on a tree is built beside the event loop
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 60.0  # other processes leave packages behind as well
KEEP_SECONDS: Final = 7 * 86_400
SPARE_BYTES: Final = 16 * 2**20  # of the disk, which a document leaves alone
_PIECE: Final = 2**20
_KEY_ENDED: Final = ("network.8", "provider.13")


class _Waiting(Struct, frozen=True):
    """An entry on its way to the log that its statement names, and who waits for it."""

    log: str
    issued: Issued
    done: asyncio.Future[tuple[Evidence, bytes]]

    @property
    def mailbox(self) -> tuple[str, KeyID]:
        """What entries of one submission have in common: the log, and who signs."""
        return self.log, self.issued.author


class Provider:
    """Issues and revokes packages; an async context manager that also works off the outbox.

    Args:
        issuer: Who issues.
        store: Where packages are kept.
        documents: Folder where documents of packages are kept, by their SHA-256.
        view: By which we reach the logs.
        clock: Unix time in seconds.
        keep_seconds: How long contents are kept to be collected again.
    """

    def __init__(
        self,
        issuer: Issuer,
        store: Store,
        documents: Path,
        view: View,
        *,
        clock: Callable[[], int],
        keep_seconds: int = KEEP_SECONDS,
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._documents = documents
        self._view = view
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._waiting: list[_Waiting] = []
        self._submitting: asyncio.Task[None] | None = None
        self._outbox: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()

    @property
    def issuer(self) -> Issuer:
        """Who issues."""
        return self._issuer

    async def __aenter__(self) -> Self:
        self._outbox = asyncio.create_task(self._work_off())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in (self._outbox, self._submitting):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def issue(
        self,
        record: Record,
        holder: KeyID,
        *,
        documents: Mapping[str, Path],
        valid_seconds: int,
        key: str | None,
        basis: Basis = OWN_RECORD,
        replaces: Fingerprint | None = None,
    ) -> Package:
        """Return a package of a record, signed, kept and registered.

        Args:
            record: What is issued.
            holder: The key that the package is bound to.
            documents: Where the file of each document lies, by the document's name.
            valid_seconds: How long the package is valid.
            key: Who asks again by the same key gets the same package; None for a new one.
            basis: What it rests on.
            replaces: The package that is revoked as soon as this one is registered.

        Raises:
            DDTPError: type.3 to type.7 for the record, source.5 for a document, provider.5
                the key was used for something else, provider.8 the contents are gone,
                provider.6 or provider.17 what cannot be replaced; what the log refuses.
            Unanswered: The log cannot say now; the package is kept and goes on by itself.
        """
        record_type.find(record.type, self._issuer.types).check(record)
        terms = Terms(valid_seconds=valid_seconds, basis=basis, replaces=replaces)
        digest = None if key is None else digest_of(record, holder, terms)
        row = None if key is None else self._store.package_by_key(key)
        if row is None:
            if replaces is not None:
                self._store.check_stands(replaces)
            for document in record.documents:
                await asyncio.to_thread(
                    self._keep, documents[document.name], document.sha256, document.size
                )
            grown = await self._grown(record)
            made, issued = self._issuer.sign(
                grown, holder, terms, self._clock(), key=key, digest=digest
            )
            row = await self._store.write(store.add_package(made))
            if row is made:
                return await self._registered(row, issued)
        if row.digest != digest:
            raise ConflictError("provider.5", "this key stands for another record or holder")
        return await self._registered(row, self._issuer.entry(row))

    async def of_key(self, key: str) -> tuple[KeyID, Package] | None:
        """Return the holder and the registered package that was issued by a key, if any.

        Raises:
            DDTPError: provider.8, the contents are gone; what the log refuses.
            Unanswered: The log cannot say now.
        """
        row = self._store.package_by_key(key)
        if row is None:
            return None
        return KeyID(row.holder), await self._registered(row, self._issuer.entry(row))

    async def revoke(self, fingerprint: Fingerprint, reason: int) -> Evidence:
        """Revoke a package, and return the evidence of the revocation.

        What the log cannot take now is kept, and sent again until it does.

        Raises:
            DDTPError: provider.6, no such package.
            Unanswered: The log cannot say now; the revocation goes on by itself.
        """
        row = self._store.package(fingerprint)
        if row is None:
            raise DDTPError("provider.6", fingerprint.text)
        if row.reason is None:
            await self._store.write(store.ask_to_revoke(row.fingerprint, reason))
            row = self._store.package(fingerprint) or row
        try:
            return await self._revoke(row)
        finally:
            self._stirred.set()

    def document(self, sha256: bytes) -> Path:
        """Return where a document of a package is kept."""
        return self._documents / sha256.hex()

    async def _grown(self, record: Record) -> Grown:
        salts = salts_for(record)
        if len(salts) < 16 * BIG_RECORD:
            return grow(record, salts)
        return await asyncio.to_thread(grow, record, salts)

    async def _registered(self, row: Row, issued: Issued) -> Package:
        """Return the package of a row, after its registration."""
        leaves_of(row)  # before anybody is asked
        evidence = row.evidence
        if evidence is None:
            row, proven, evidence = await self._prove(row, issued)
            check_time(row, entry.decode(proven.registration.entry))
            if row.replaces is not None:
                await self._replace(row, row.replaces, proven.registration.index, evidence)
        count = len(row.documents) // 32
        return package_of(row.statement, leaves_of(row), count, evidence)

    async def _replace(self, row: Row, old: bytes, place: int, evidence: bytes) -> None:
        """Revoke what a package takes the place of, now that it is registered."""
        await self._store.write(store.set_evidence([(row.fingerprint, place, evidence)]))
        replaced = self._store.package(old)
        if replaced is not None and not replaced.revoked:
            try:
                await self._revoke(replaced)
            except (DDTPError, Unanswered) as error:
                log.warning("replaced package stands", extra={"rule": error.rule})
                self._stirred.set()  # the outbox goes on with it

    async def _prove(self, row: Row, issued: Issued) -> tuple[Row, Evidence, bytes]:
        """Have a package registered; return it as it then is, and the evidence.

        Where its key ended meanwhile, the package is signed anew: nobody has it yet.
        """
        try:
            proven, encoded = await self._register(row.log, issued)
        except (DDTPError, Unanswered) as error:
            ended = KeyID(row.author) != self._issuer.keys.current().key_id
            if error.rule not in _KEY_ENDED or not ended:
                raise
            row, stands = await self._renewed(row)
            if stands is not None:
                return row, stands, stands.encode()
            proven, encoded = await self._register(row.log, self._issuer.entry(row))
        return row, proven, encoded

    async def _renewed(self, row: Row) -> tuple[Row, Evidence | None]:
        """Sign a package anew that no log has; or return the evidence of one that has it.

        Raises:
            DDTPError: provider.13, there is no key that may sign.
            Unanswered: The log cannot say.
        """
        fresh, fingerprint = self._issuer.renew(row, self._clock()), Fingerprint(row.fingerprint)
        # Perhaps we only did not hear of it.
        meant = entry.draft(self._issuer.entry(row))
        answer = await answers.ask(
            self._view,
            row.log,
            fingerprint,
            entry.ISSUED,
            None,
            Policy(),
            accepts=lambda each: entry.draft(each) == meant,
        )
        if isinstance(answer, Unanswered):
            raise answer
        if not isinstance(answer, Absent):
            index = answer.registration.index
            await self._store.write(store.set_evidence([(fingerprint, index, answer.encode())]))
            return row, answer
        await self._store.write(store.renew(row.fingerprint, fresh))
        return fresh, None

    async def _register(self, log_origin: str, issued: Issued) -> tuple[Evidence, bytes]:
        """Have an entry registered together with whatever else waits; return the evidence."""
        done: asyncio.Future[tuple[Evidence, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(log_origin, issued, done))
        if self._submitting is None:
            self._submitting = asyncio.create_task(self._submit())
        return await done

    async def _submit(self) -> None:
        """Submit what waits, group after group, until nothing does."""
        member, keys = self._issuer.member, self._issuer.keys
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = self._next_group()
                entries = [each.issued for each in group]
                try:
                    signer = keys.signer(group[0].issued.author)
                    proven = await self._view.submit(group[0].log, entries, member, signer)
                except Exception as error:  # noqa: BLE001 - it goes to all who wait
                    self._refuse(group, error)
                else:
                    self._answer(group, proven)
        finally:
            self._submitting = None
            for each in (*group, *self._waiting):
                each.done.cancel()

    def _next_group(self) -> list[_Waiting]:
        """Take from what waits as much as one submission to one log by one key holds."""
        first = self._waiting[0].mailbox
        group = [each for each in self._waiting if each.mailbox == first][:MOST_ENTRIES]
        taken = {id(each) for each in group}
        self._waiting = [each for each in self._waiting if id(each) not in taken]
        return group

    def _refuse(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Tell who waits why there is no evidence; the outbox goes on."""
        self._stirred.set()
        for each in group:
            if not each.done.done():
                each.done.set_exception(error)
                each.done.exception()  # whoever went away misses nothing: the outbox has it

    def _answer(self, group: Sequence[_Waiting], proven: Sequence[Evidence]) -> None:
        """Give each who waits its evidence, and have it kept."""
        rows = []
        for each, evidence in zip(group, proven, strict=True):
            encoded = evidence.encode()
            rows.append((each.issued.fingerprint, evidence.registration.index, encoded))
            if not each.done.done():
                each.done.set_result((evidence, encoded))
        # Nobody waits for this to be written: what is lost is asked for again.
        self._store.write_later(store.set_evidence(rows))

    async def _work_off(self) -> None:
        """Send again what was not answered: when we start, and whenever something failed."""
        delay = FIRST_RETRY_SECONDS
        while True:
            self._stirred.clear()
            # The one does not wait for the other: a disk fault delays no registration.
            done = [await self._tried(work()) for work in (self._send_again, self._forget)]
            if all(done):
                delay = FIRST_RETRY_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._stirred.wait()
            else:
                delay = min(2 * delay, LAST_RETRY_SECONDS)
            await asyncio.sleep(delay)

    async def _tried(self, work: Coroutine[None, None, None]) -> bool:
        """Say whether work was done; whatever keeps us from it, the outbox tries again."""
        try:
            await work
        except (DDTPError, Unanswered) as error:
            log.warning("outbox waits", extra={"rule": error.rule})
            return False
        except Exception as error:  # noqa: BLE001 - the top of a task: without it nothing would be sent
            log.error("outbox waits", extra={"error": type(error).__name__})  # noqa: TRY400 - the text of an error may hold contents
            return False
        return True

    async def _send_again(self) -> None:
        """Submit every unproven package and revocation once, and raise what kept one back."""
        rows = self._store.unregistered(MOST_ENTRIES)
        waits = [self._prove(row, self._issuer.entry(row)) for row in rows]
        answers = await asyncio.gather(*waits, return_exceptions=True)
        failed = [each for each in answers if isinstance(each, BaseException)]
        if len(rows) > len(failed):
            log.info("outbox registered", extra={"size": len(rows) - len(failed)})
        if any(row.replaces is not None for row in rows):
            self._stirred.set()  # what they take the place of goes next
        for row in self._store.revoking(MOST_ENTRIES):
            try:
                await self._revoke(row)
            except DDTPError as error:
                failed.append(error)  # those behind it are not kept waiting
        if failed:
            raise failed[0]

    async def _revoke(self, row: Row) -> Evidence:
        if row.place is None:
            row, evidence, _ = await self._prove(row, self._issuer.entry(row))
            place = evidence.registration.index
        else:
            place = row.place
        key = self._issuer.revocation_key(row)
        proven = await self._view.revoke(row.log, place, key, row.reason or 0)
        await self._store.write(store.set_revoked(row.fingerprint))
        return proven

    async def _forget(self) -> None:
        """Remove contents that have been kept long enough, and documents that nobody needs."""
        if await self._store.write(store.forget(self._clock() - self._keep_seconds)):
            await self._store.wipe()
        in_use = self._store.documents_in_use()
        before = self._clock() - self._keep_seconds
        await asyncio.to_thread(_remove_others, self._documents, in_use, before)

    def _keep(self, source: Path, sha256: bytes, size: int) -> None:
        """Copy a document to where packages find it; it must be what the record says."""
        place = self.document(sha256)
        if place.is_file():
            place.touch()
            return
        self._documents.mkdir(mode=0o700, exist_ok=True)
        free = shutil.disk_usage(self._documents).free
        if free < size + SPARE_BYTES:
            raise StorageError("provider.12", f"{free} bytes are free, {size} are needed")
        digest, found = hashlib.sha256(), 0
        with source.open("rb") as file, files.writing(place, force=True, mode=0o600) as copy:
            target = files.Streaming(copy)
            while piece := file.read(_PIECE):
                digest.update(piece)
                found += len(piece)
                target.write(piece)
            if digest.digest() != sha256 or found != size:
                raise DDTPError("source.5", f"{source.name} is not what the record says")


def _remove_others(folder: Path, in_use: set[bytes], before: int) -> None:
    """Remove documents of no package, unless they came just now and theirs is on its way."""
    names = {each.hex() for each in in_use}
    for path in folder.glob("*") if folder.is_dir() else ():
        # Another process may have removed it meanwhile, or have moved it to its place.
        with contextlib.suppress(FileNotFoundError):
            if path.name not in names and path.lstat().st_mtime < before:
                path.unlink()
