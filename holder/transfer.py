"""One transfer to one receiver: grant, evidence, presentation, answer (spec/wallet.md).

Each step is stored before the next is taken, and what was sealed is sent again as it is, so
that a transfer can be gone on with after a crash or when a receiver could not check. Nothing
but the grant's fingerprint and lock leaves the wallet before the grant's entry is proven.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec.structs import replace

from chain import answers
from chain.view import View
from ddtp import entry, evidence, http, merkle, seal, verify
from ddtp import grant as grants
from ddtp.cli import files
from ddtp.errors import DDTPError, Outcome, StorageError, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant, disclosed_digest
from ddtp.network import Role
from ddtp.presentation import Presentation
from ddtp.receipt import Answer, Receipt, check_answers
from ddtp.record import DOCUMENT, ROW, SECTION, Item, document_of
from ddtp.request import Request
from ddtp.submission import Registration as Registering
from ddtp.transfer import Event, State, after
from holder.consent import Choice, Held, name_of, shown
from holder.history import Given, Transfer, load, store, turn
from holder.vault import HashingWriter
from holder.wallet import Wallet

GRANT_SECONDS: Final = 7 * 86_400
PRESENTATION: Final = "presentation.age"
DOCUMENT_MISSING: Final = "presentation.4"

Advance = Callable[[int], None]
"""Is told of bytes that have gone."""


def consent(
    wallet: Wallet, transfer: Transfer, plan: Sequence[Choice], *, abroad: bool = False
) -> Transfer:
    """Sign a grant for each package of a plan and keep it; nothing has left the wallet yet.

    Args:
        abroad: The holder agreed, separately, that it leaves the jurisdiction.

    Raises:
        ConflictError: transfer.1, the transfer is past that.
        DDTPError: consent.6, it leaves the jurisdiction and he did not agree to that.
    """
    leaves = transfer.asked.abroad is not None
    if leaves and not abroad:
        raise DDTPError("consent.6", f"it would go to {transfer.asked.abroad}")
    with turn(wallet, transfer) as latest:
        state = after(latest.state, Event.GRANT)
        together = tuple(choice.held.fingerprint for choice in plan)
        given = tuple(_give(wallet, latest, choice, together) for choice in plan)
        agreed = wallet.clock() if leaves else None
        return store(wallet, replace(latest, state=state, given=given, abroad_at=agreed))


def _give(
    wallet: Wallet, transfer: Transfer, choice: Choice, together: tuple[Fingerprint, ...]
) -> Given:
    """Return the signed grant of one package's chosen items."""
    asked, now = transfer.asked, wallet.clock()
    leaves = [choice.held.package.leaves[index] for index in choice.indices]
    cti = secrets.token_bytes(grants.CTI_BYTES)
    made = Grant(
        cti=cti,
        audience=asked.issuer,
        issued_at=now,
        expires_at=max(now + 1, min(asked.expires_at, now + GRANT_SECONDS)),
        request=Fingerprint.of(transfer.request),
        packages=together,
        disclosed=disclosed_digest(choice.indices, list(map(merkle.leaf_hash, leaves))),
        lock=entry.lock_of(wallet.keys.revocation_key(cti)),
        log=asked.log,
    )
    key = wallet.keys.holder(wallet.holder_number(choice.held.fingerprint.digest.hex()))
    return Given(
        package=choice.held.fingerprint,
        indices=choice.indices,
        names=tuple(dict.fromkeys(_name(item) for item in choice.items)),
        grant=key.grant(made),
        granted=None,
        documents=(),
        issued=choice.held.package.evidence,
    )


def _name(item: Item) -> str:
    """Return what an item is called in the history: a table's part, but not its rows."""
    if len(item.path) > 2 and item.path[0] in (SECTION, ROW):
        return f"{item.path[1]} {item.path[2]}"
    return name_of(item.path)


# Sending


async def send(wallet: Wallet, transfer: Transfer, advance: Advance) -> Transfer:
    """Take a transfer as far as it goes, from wherever it stands, and return it.

    Args:
        advance: Told of bytes of documents as they go.

    Raises:
        DDTPError: What the receiver refuses by, or what is wrong with its evidence or answer:
            wallet.14, grant.7, receipt.2 and others. The transfer is kept as it stands.
        Unanswered: Somebody could not answer; the same call again goes on.
    """
    with turn(wallet, transfer) as latest:
        transfer = latest
        _, endpoint = transfer.place
        async with wallet.partner(endpoint) as view:
            view.network.check_current(wallet.clock())
            for step in (_register, _prepare, _present):
                try:
                    transfer = await step(wallet, view, transfer, advance)
                except (DDTPError, Unanswered) as error:
                    _note_problem(wallet, transfer, error)
                    raise
    return transfer


def _note_problem(wallet: Wallet, transfer: Transfer, error: DDTPError | Unanswered) -> None:
    """Keep why a step was not done; a request that is no longer open has expired."""
    latest = replace(load(wallet, transfer.id), problem=error.rule)
    if isinstance(error, DDTPError) and error.rule == "request.3":
        latest = replace(latest, state=after(latest.state, Event.EXPIRE))
    store(wallet, latest)


async def _register(wallet: Wallet, view: View, transfer: Transfer, _advance: Advance) -> Transfer:
    """Have the receiver register the grants, and prove their entries before going on."""
    if transfer.state is not State.GRANTED:
        return transfer
    asked = transfer.asked
    identity, endpoint = transfer.place
    given = []
    for each in transfer.given:
        signed = each.opened
        body = Registering(grant=each.fingerprint, lock=signed.lock).encode()
        brought = await wallet.client.call(http.GRANT, endpoint, body, request=identity)
        proven = await _prove_granted(wallet, view, asked, signed, each.fingerprint, brought)
        given.append(replace(each, granted=proven.encode()))
    state = after(transfer.state, Event.REGISTER)
    return store(wallet, replace(transfer, state=state, given=tuple(given), problem=None))


async def _prove_granted(
    wallet: Wallet,
    view: View,
    asked: Request,
    signed: Grant,
    fingerprint: Fingerprint,
    brought: bytes,
) -> Evidence:
    """Return evidence that the grant is registered with our lock and the request's use key.

    Raises:
        DDTPError: grant.7, the entry is another one; wallet.14, there is none, or it is revoked.
        Unanswered: What was given does not prove it, and nobody has better.
    """
    found = await answers.ask(view, asked.log, fingerprint, entry.GRANTED, brought, wallet.policy)
    if isinstance(found, Unanswered):
        raise found
    if not isinstance(found, Evidence):
        raise DDTPError("wallet.14", "the log has no entry of the grant")
    first = view.head(found.registration.checkpoint, asked.log)
    proven = evidence.check_registration(found.registration, first)
    grants.check_entry(signed, fingerprint, proven, asked.use, asked.log)
    newest = view.head(found.status.checkpoint, asked.log)
    if evidence.check_status(found, first, newest).revoked:
        raise DDTPError("wallet.14", "the entry of the grant is revoked")
    line = view.joined.get(asked.log, {})
    if line.get(newest.checkpoint.size, newest.checkpoint.root) != newest.checkpoint.root:
        raise DDTPError("evidence.4", f"{asked.log} shows two trees")
    return found


async def _prepare(wallet: Wallet, view: View, transfer: Transfer, advance: Advance) -> Transfer:
    """Seal the documents once, upload them, and seal the presentation into the outbox."""
    if transfer.state is not State.REGISTERED:
        return transfer
    transfer = await seal_documents(wallet, transfer)
    await _upload(wallet, transfer, advance)
    return await seal_presentation(wallet, transfer)


async def seal_presentation(wallet: Wallet, transfer: Transfer) -> Transfer:
    """Seal the presentation into the outbox; its documents are there already."""
    presentation = presentation_of(wallet, transfer)
    recipient = transfer.asked.recipient
    data = await asyncio.to_thread(seal.seal, presentation.encode(), [recipient])
    files.write_secret(wallet.vault.outbox(transfer.id) / PRESENTATION, data, force=True)
    # Stored as sent before it is: from here on the same bytes go, however often.
    return store(wallet, replace(transfer, state=after(transfer.state, Event.SEND)))


def presentation_of(wallet: Wallet, transfer: Transfer) -> Presentation:
    """Return what a transfer shows, with the evidence of its grants and its documents."""
    return Presentation(
        packages=tuple(
            replace(
                shown(
                    Choice(held=wallet.held(each.package.digest.hex()), indices=each.indices),
                    each.grant,
                    each.issued,
                ),
                granted=each.granted,
                documents=each.documents,
            )
            for each in transfer.given
        ),
        reply=seal.recipient_of(wallet.keys.reply_identity(Fingerprint.of(transfer.request))),
    )


async def _present(wallet: Wallet, view: View, transfer: Transfer, advance: Advance) -> Transfer:
    """Send the presentation, and keep the receiver's answer once it is proven."""
    if transfer.state is not State.SENT:
        return transfer
    try:
        sealed = await _answered(wallet, transfer)
    except Unanswered as error:
        if error.rule != DOCUMENT_MISSING:
            raise
        # What was uploaded is gone there: the documents go again, and the same presentation.
        await _upload(wallet, transfer, advance)
        sealed = await _answered(wallet, transfer)
    return await conclude(wallet, view, transfer, sealed)


async def conclude(wallet: Wallet, view: View, transfer: Transfer, sealed: bytes) -> Transfer:
    """Keep the receiver's answer to what was sent, once it is opened and proven.

    Raises:
        LockedError: seal.2, it answers another request.
        MalformedError: seal.1; cbor.1 to cbor.8, receipt.3.
        DDTPError: As `check_answer`.
        Unanswered: Nobody can say whether the grant is registered.
    """
    reply = wallet.keys.reply_identity(Fingerprint.of(transfer.request))
    answer = Answer.decode(seal.unseal(sealed, reply))
    transfer = await _with_granted(view, transfer, answer)
    receipt = check_answer(view, transfer, answer)
    verified = receipt.outcome is Outcome.VERIFIED
    return store(
        wallet,
        replace(
            transfer,
            state=after(transfer.state, Event.ACCEPT if verified else Event.REFUSE),
            receipt=answer.receipt,
            used=answer.used,
            link=answer.link,
            problem=None,
        ),
    )


async def _answered(wallet: Wallet, transfer: Transfer) -> bytes:
    """Send the presentation as it was sealed, and return the sealed answer."""
    identity, endpoint = transfer.place
    try:
        data = (wallet.vault.outbox(transfer.id) / PRESENTATION).read_bytes()
    except FileNotFoundError as error:
        raise StorageError("vault.4", f"outbox: {transfer.id} is gone") from error
    return await wallet.client.call(http.PRESENT, endpoint, data, request=identity)


async def _with_granted(view: View, transfer: Transfer, answer: Answer) -> Transfer:
    """Return the transfer with evidence of the grants that its receiver registered on arrival.

    Raises:
        DDTPError: grant.7, what was used is the entry of another grant.
    """
    asked = transfer.asked
    given = []
    for each, data in zip_longest(transfer.given, answer.used[: len(transfer.given)]):
        used = None if data is None else entry.decode(Registration.decode(data).entry)
        if each.granted is None and isinstance(used, entry.Used):
            found = await view.evidence(asked.log, used.index)
            proven = entry.decode(found.registration.entry)
            grants.check_entry(each.opened, each.fingerprint, proven, asked.use, asked.log)
            each = replace(each, granted=found.encode())
        given.append(each)
    return replace(transfer, given=tuple(given))


def check_answer(view: View, transfer: Transfer, answer: Answer) -> Receipt:
    """Return the receipt of an answer, once it is the receiver's own and for what was sent.

    Raises:
        DDTPError: receipt.1, receipt.2, cose.4, network.6 to network.9; wallet.15, it says
            verified and does not prove that the grants were used for it.
    """
    asked = transfer.asked
    receipt = Receipt.open(answer.receipt)
    sent = tuple(each.fingerprint for each in transfer.given)
    check_answers(receipt, asked.issuer, Fingerprint.of(transfer.request), sent)
    if receipt.outcome is not Outcome.VERIFIED:
        view.network.check_speaker(receipt.issuer, receipt.key_id, Role.RECEIVE)
        return receipt
    if len(answer.used) != len(sent):
        raise DDTPError("wallet.15", f"{len(answer.used)} uses for {len(sent)} grants")
    for each, data in zip(transfer.given, answer.used, strict=True):
        used = Registration.decode(data)
        view.network.check_signer(
            receipt.issuer, receipt.key_id, Role.RECEIVE, asked.log, used.index
        )
        _check_used(view, asked, each, used, Fingerprint.of(answer.receipt))
    return receipt


def _check_used(
    view: View, asked: Request, given: Given, used: Registration, receipt: Fingerprint
) -> None:
    head = view.head(used.checkpoint, asked.log)
    proven = evidence.check_registration(used, head)
    granted = Evidence.decode(given.granted or b"").registration
    try:
        verify.check_used(proven, granted.index, receipt, asked)
    except DDTPError as error:
        raise DDTPError("wallet.15", error.detail) from error


# Documents


async def seal_documents(wallet: Wallet, transfer: Transfer) -> Transfer:
    """Seal the documents of all grants once, into the outbox."""
    outbox = wallet.vault.outbox(transfer.id)
    held = [wallet.held(each.package.digest.hex()) for each in transfer.given]
    pairs = list(zip(transfer.given, held, strict=True))
    sealed = [await _seal_documents(wallet, transfer.asked, outbox, *pair) for pair in pairs]
    return store(wallet, replace(transfer, given=tuple(sealed)))


async def _seal_documents(
    wallet: Wallet, asked: Request, outbox: Path, given: Given, held: Held
) -> Given:
    """Return the grant with its documents sealed to the request; those that are, stay."""
    known = dict(given.documents)
    sealed = []
    for index in given.indices:
        item = held.items[index]
        if item.path[0] != DOCUMENT:
            continue
        sha256 = known.get(index)
        document = document_of(item)
        if sha256 is None or not (outbox / f"{sha256.hex()}.age").exists():
            wallet.vault.check_room(document.size)
            sha256 = await asyncio.to_thread(
                _reseal, wallet, document.sha256, asked.recipient, outbox
            )
        sealed.append((index, sha256))
    return replace(given, documents=tuple(sealed))


def _reseal(wallet: Wallet, sha256: bytes, recipient: str, outbox: Path) -> bytes:
    """Seal a document of the vault to a recipient, and return the age file's SHA-256.

    It is never whole in memory, if it is large, nor bare on a disk.
    """
    beside = outbox / f"{sha256.hex()[:16]}.part"
    with files.writing(beside, force=True, mode=0o600) as target:
        hashing = HashingWriter(files.Streaming(target))
        with wallet.vault.opened(sha256) as source:
            seal.seal_stream(source, cast("BinaryIO", hashing), [recipient])
    beside.replace(outbox / f"{hashing.sha256.hex()}.age")
    return hashing.sha256


async def _upload(wallet: Wallet, transfer: Transfer, advance: Advance) -> None:
    """Upload the sealed documents, or the rest of them."""
    identity, endpoint = transfer.place
    outbox = wallet.vault.outbox(transfer.id)
    token = base64.urlsafe_b64encode(transfer.asked.token).decode().rstrip("=")
    for _, sha256 in (row for given in transfer.given for row in given.documents):
        with (outbox / f"{sha256.hex()}.age").open("rb") as file:
            await wallet.client.upload(
                http.UPLOAD,
                http.UPLOADED,
                endpoint,
                cast("BinaryIO", _Told(file, advance)),
                headers={"Authorization": f"Bearer {token}"},
                request=identity,
                sha256=sha256.hex(),
            )


class _Told:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)
