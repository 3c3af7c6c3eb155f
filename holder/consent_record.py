"""A consent as a record that other programs know (spec/consent-record.md).

Everything in it is read from the signed objects and the network statement: it is a form of
them, for who keeps registers of consents, and proves nothing by itself. It names what was
shown and never a value.
"""

from collections.abc import Iterator

from ddtp import cose, record_type
from ddtp.errors import DDTPError, Outcome, StorageError
from ddtp.evidence import Evidence
from ddtp.grant import KIND, Grant
from ddtp.network import Member
from ddtp.receipt import Erasure, Receipt
from ddtp.record import FILLER, ROW, SECTION, Path
from ddtp.request import Request
from holder.consent import name_of
from holder.history import Given, Transfer
from holder.lines import stamp
from holder.sheet import name_in
from holder.wallet import Wallet

SCHEMA = "ddtp.consent/1"
STANDARD = "ISO/IEC TS 27560:2023"


def records(wallet: Wallet, transfer: Transfer, language: str) -> dict[str, object]:
    """Return the consent records of a transfer, one for each grant, as JSON has them.

    Raises:
        DDTPError: wallet.20, nothing was granted; network.6, the receiver is nobody any more.
    """
    if not transfer.given:
        raise DDTPError("wallet.20", f"the transfer is {transfer.state.value}")
    member = wallet.network().member(transfer.asked.issuer)
    return {
        "schema": SCHEMA,
        "standard": STANDARD,
        "transfer": transfer.id,
        "records": [_record(wallet, transfer, each, member, language) for each in transfer.given],
    }


def _record(
    wallet: Wallet, transfer: Transfer, given: Given, member: Member, language: str
) -> dict[str, object]:
    asked, grant = transfer.asked, given.opened
    said = asked.sentences
    spoken = next((each for each in (language, "en") if each in said), next(iter(said)))
    return {
        "schema_version": "application/ddtp-1-grant+cose",
        "record_id": given.fingerprint.text,
        "pii_principal_id": cose.parse(given.grant, KIND).key_id.text,
        "consent_type": "explicit",
        "privacy_notice": grant.request.text,
        "language": spoken,
        "purpose": said[spoken],
        "purpose_type": asked.purpose,
        "lawful_basis": "consent",
        "pii_information": list(_pii(wallet, given, asked)),
        "pii_controllers": [_controller(member, language)],
        "collection_method": "sent by the PII principal's wallet",
        "processing_method": "checked once by the controller, for one use",
        "storage_locations": [asked.abroad or member.jurisdiction],
        "jurisdiction": member.jurisdiction,
        "recipient_third_parties": [],
        "geographic_restrictions": _borders(transfer, asked, member),
        "retention_period": f"PT{asked.retention}S",
        "withdrawal_method": f"show the key of lock {grant.lock.hex()} at {asked.respond}",
        "validity": {"from": stamp(grant.issued_at), "until": stamp(grant.expires_at)},
        "registry": _registered(given, asked),
        "events": list(_events(transfer, given, grant)),
    }


def _controller(member: Member, language: str) -> dict[str, object]:
    return {
        "party_id": member.id,
        "party_name": name_in(member, language),
        "party_role": "PII controller",
        "party_contact": member.endpoint,
        "party_jurisdiction": member.jurisdiction,
    }


def _borders(transfer: Transfer, asked: Request, member: Member) -> dict[str, object]:
    if asked.abroad is None or transfer.abroad_at is None:
        return {"leaves_jurisdiction": False}
    return {
        "leaves_jurisdiction": True,
        "from": member.jurisdiction,
        "to": asked.abroad,
        "separate_consent_at": stamp(transfer.abroad_at),
    }


def _pii(wallet: Wallet, given: Given, asked: Request) -> Iterator[dict[str, object]]:
    """Yield what was shown, by name; of a record that was forgotten the names are all there is."""
    try:
        package = wallet.package(given.package.digest.hex())
    except StorageError:
        for each in given.names:
            yield {"pii_attribute": each}
        return
    statement, items = package.open()
    wants = [want for want in asked.wanted if statement.type in want.types]
    required = [path for want in wants for path in want.required]
    tables = {span.table for want in wants for span in want.sections}
    known: dict[str, None] = {}
    for path in (items[index].path for index in given.indices):
        name = _name(path)
        if path[0] == FILLER or name in known:
            continue
        known[name] = None
        needed = _is_under(path, required) or (len(path) > 1 and path[1] in tables)
        yield {
            "pii_type": statement.type,
            "pii_attribute": name,
            "pii_optional": not needed,
            "sensitivity": _sensitivity(statement.type, path),
        }


def _name(path: Path) -> str:
    return f"{path[1]} {path[2]}" if path[0] in (SECTION, ROW) else name_of(path)


def _is_under(path: Path, beginnings: list[Path]) -> bool:
    kind = ROW if path[0] == SECTION else path[0]
    return any((kind, *path[1:])[: len(each)] == each for each in beginnings)


def _sensitivity(kind: str, path: Path) -> str | None:
    try:
        found = record_type.find(kind)
    except DDTPError:
        return None
    return found.sensitivity((ROW, *path[1:]) if path[0] == SECTION else path)


def _registered(given: Given, asked: Request) -> dict[str, object]:
    index = None if given.granted is None else Evidence.decode(given.granted).registration.index
    return {"log": asked.log, "index": index}


def _events(transfer: Transfer, given: Given, grant: Grant) -> Iterator[dict[str, object]]:
    def event(state: str, time: int) -> dict[str, object]:
        return {"event_state": state, "event_time": stamp(time)}

    yield event("consent requested", transfer.asked.issued_at)
    if transfer.abroad_at is not None:
        yield event("consent given to leaving the jurisdiction", transfer.abroad_at)
    yield event("consent given", grant.issued_at)
    if transfer.receipt is not None:
        receipt = Receipt.open(transfer.receipt)
        used = receipt.outcome is Outcome.VERIFIED
        yield {
            **event("consent used" if used else "consent not used", receipt.decided_at),
            "retain_until": stamp(receipt.retain_until),
        }
    for erasure in map(Erasure.open, transfer.erasures):
        if given.fingerprint in erasure.grants:
            yield event("consent withdrawn, erased", erasure.erased_at)
