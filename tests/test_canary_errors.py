"""No refusal of a bank's file says what stood in it: a name and an amount, in every format.

Each file is valid, is changed at many places in turn, and every refusal of it is searched: its
detail is what stands in errors, in logs and in the file of a batch's errors.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddtp.errors import DDTPError
from provider.batch import table as batches
from provider.batch import work
from provider.batch.table import Defaults, Refused
from provider.sources import camt, mt940, ofx, record_json, table, xml_mapping
from provider.sources.reading import Reading
from tests import test_camt, test_mt940, test_ofx
from tests.journey import statement

NAME = "QUIRINA XYLANDER"
DIGITS = "98765432"
PARTS = ("QUIRINA", "XYLANDER", "Quirina", DIGITS, DIGITS[:6], DIGITS[-6:])
# How many changes of each file; DDTP_CHANGES=20000 takes some minutes.
CHANGES = int(os.environ.get("DDTP_CHANGES", "400"))
NOISE = ("", "\n", ",", '"', "x", "9", "-", "<", ">", "&", ":", "\t", " ", "é", "0", ".", "{")

CSV = (
    "Account holder: QUIRINA XYLANDER\n\nDate,Description,Amount,Currency,Balance\n"
    "2025-01-31,Rent to QUIRINA XYLANDER,-5.00,EUR,98765432.19\n"
    "2025-02-28,QUIRINA XYLANDER,98765432.19,EUR,197530864.38\n"
)
MT940 = (
    test_mt940.MESSAGE.replace("Chan Tai", "QUIRINA")
    .replace("Man", "XYLANDER")
    .replace("EUR1093,50", "EUR98765525,69")
    .replace("C1000,N", "C98765432,19N")
)
OFX = (
    test_ofx.BODY.replace("Café &amp; Chá", NAME)
    .replace("-6.60", "98765432.19")
    .replace("93,40", "98765432,19")
)
CAMT = test_camt.file().decode()
CAMT = CAMT.replace("<Id>7</Id>", f"<Id>{NAME}</Id>").replace(">40.00<", f">{DIGITS}.19<")
BATCH = (
    "holder,type,claims.title,claims.holder.name,days\n"
    f"{NAME},note/1,{NAME},{NAME},{DIGITS}\n"
    f"did:key:z6Mk{NAME},{NAME},{DIGITS},{NAME},30\n"
)


def json_record() -> str:
    from datetime import date

    record = statement(date(2026, 1, 31))
    claims: dict[str, dict[str, object]] = record["claims"]  # type: ignore[assignment]
    claims["holder"]["name"] = NAME
    claims["balance"]["closing"] = {"currency": "EUR", "amount": f"{DIGITS}.19"}
    return json.dumps(record)


READERS: dict[str, tuple[str, Callable[[bytes, Path], object]]] = {
    "CSV": (CSV, lambda data, _: table.read(data, "s.csv", Reading())),
    "MT940": (MT940, lambda data, _: mt940.read(data, "s.sta", Reading())),
    "OFX": (test_ofx.HEADER + OFX, lambda data, _: ofx.read(data, "s.ofx", Reading())),
    "OFX 2": (CAMT, lambda data, _: xml_mapping.read(data, "s.xml", Reading())),
    "CAMT": (CAMT, lambda data, _: camt.read(data, "s.xml", Reading())),
    "JSON": (json_record(), lambda data, folder: record_json.read(data, folder / "s.json", None)),
}


def changed(text: str, name: str) -> Iterator[str]:
    """Yield a text with some of it exchanged, doubled or left out, the canaries cut too."""
    chance = random.Random(os.environ.get("DDTP_SEED", name))  # noqa: S311 - no secret
    lines = text.splitlines(keepends=True)
    spots = [found.start() for part in PARTS[:4] for found in re.finditer(part, text)]
    for _ in range(CHANGES):
        kind = chance.randrange(4)
        if kind == 0:
            at = chance.randrange(len(lines))
            yield "".join(lines[:at] + lines[at + 1 :])
        elif kind == 1:
            at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
            yield "".join([*lines[:at], lines[to], *lines[at:]])
        else:
            at = chance.choice(spots) + chance.randint(-6, 14) if kind == 2 else 0
            at = max(0, at or chance.randrange(len(text)))
            yield text[:at] + chance.choice(NOISE) + text[at + chance.randint(0, 3) :]


def told(error: DDTPError) -> str:
    """Return everything that an error says, also to whoever prints it whole."""
    return f"{error} {error.detail} {error.args}"


@pytest.mark.parametrize("name", READERS)
def test_no_refusal_of_a_file_says_what_stood_in_it(name: str, tmp_path: Path) -> None:
    text, read = READERS[name]
    refusals = set()
    for each in changed(text, name):
        try:
            read(each.encode(), tmp_path)
        except DDTPError as error:
            refusals.add(told(error))
    assert [each for each in refusals if any(part in each for part in PARTS)] == []
    assert len(refusals) > 3


def test_no_row_of_a_batch_that_is_refused_says_what_stood_in_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    refusals: set[str] = set()
    place = work.Place(documents=tmp_path, types=None)
    for each in changed(BATCH, "batch"):
        path.write_text(each)
        try:
            rows = list(batches.read(path, Defaults()))
        except DDTPError as error:
            refusals.add(told(error))
            continue
        good = [row for row in rows if not isinstance(row, Refused)]
        found = [*work.checked(good, place), *(row for row in rows if isinstance(row, Refused))]
        refusals |= {row.detail for row in found if row is not None}
    assert [each for each in refusals if any(part in each for part in PARTS)] == []
    assert len(refusals) > 3
