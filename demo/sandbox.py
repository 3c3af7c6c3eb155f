"""Records of people who do not exist, for the demo: a bank statement and its PDF.

They are made for the six full months before a day, since nobody lends on old statements. What
they say is the same every time but for the dates.
"""

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

CUSTOMER: Final = "chan-tai-man"
PDF: Final = "statement.pdf"
MONTHS: Final = 6
ROWS: Final = 20  # a month
CURRENCY: Final = "HKD"
OPENING: Final = 8_250_000  # minor units
SALARY: Final = ("Salary, Demo Trading Ltd", 3_850_000)
SPENDING: Final = (
    "Groceries, Demo Market",
    "Train card",
    "Restaurant, Demo Garden",
    "Electricity, Demo Power",
    "Pharmacy, Demo Health",
    "Books, Demo Page",
    "Coffee, Demo Roast",
    "Phone, Demo Mobile",
    "Insurance, Demo Life",
)


def write_records(folder: Path, today: date) -> str:
    """Write the customer's records into a provider's folder and return the statement's name."""
    below = folder / CUSTOMER
    below.mkdir(parents=True, exist_ok=True)
    first, end = _span(today)
    name = f"statement-{end - timedelta(days=1):%Y-%m}"
    text = json.dumps(_statement(first, end), ensure_ascii=False, indent=1)
    (below / f"{name}.json").write_text(text, encoding="utf-8")
    (below / PDF).write_bytes((files("demo") / PDF).read_bytes())
    return name


def months(today: date) -> tuple[date, ...]:
    """Return the first day of each of the six full months before a day."""
    first, _ = _span(today)
    return tuple(_later(first, n) for n in range(MONTHS))


def _span(today: date) -> tuple[date, date]:
    end = today.replace(day=1)
    return _later(end, -MONTHS), end


def _later(day: date, count: int) -> date:
    month = day.year * 12 + day.month - 1 + count
    return date(month // 12, month % 12 + 1, 1)


def _statement(first: date, end: date) -> dict[str, object]:
    rows = list(_rows(first))
    amounts = [amount for _, amount, _, _ in rows]
    balances = [balance for *_, balance in rows]
    received = sum(amount for amount in amounts if amount > 0)
    return {
        "type": "bank-statement/1",
        "title": f"Statement {first:%Y-%m} to {end - timedelta(days=1):%Y-%m}",
        "claims": {
            "holder": {
                "name": "Chan Tai Man (TEST)",
                "address": "1 Demo Street, Zhuhai",
                "identity": "DEMO-000042",
            },
            "account": {
                "number": "6222 0000 0000 0042",
                "kind": "current",
                "currency": CURRENCY,
                "opened": "2019-04-01",
                "branch": "Demo branch",
            },
            "balance": {
                "opening": _money(OPENING),
                "closing": _money(balances[-1]),
                "lowest": _money(min(balances)),
                "average": _money(sum(balances) // len(balances)),
            },
            "period": {
                "from": first.isoformat(),
                "until": end.isoformat(),
            },
            "total": {
                "credits": _money(received),
                "debits": _money(received - sum(amounts)),
                "count": len(rows),
            },
            "overdraft": {"limit": _money(0), "days": 0},
            "statement": {"number": f"DEMO-{end:%Y%m}"},
        },
        "tables": {
            "transactions": {
                "from": first.isoformat(),
                "until": end.isoformat(),
                "rows": [
                    {
                        "date": day.isoformat(),
                        "amount": _money(amount),
                        "text": text,
                        "balance": _money(balance),
                    }
                    for day, amount, text, balance in rows
                ],
            }
        },
        "documents": [{"file": PDF, "media_type": "application/pdf"}],
    }


def _rows(first: date) -> Iterator[tuple[date, int, str, int]]:
    """Yield day, amount, text and balance after it, in order; minor units."""
    chance = random.Random(42)  # noqa: S311 - a story, no secret
    balance = OPENING
    for month in range(MONTHS):
        begin = _later(first, month)
        for n in range(ROWS):
            text, amount = SALARY
            if n:
                text, amount = chance.choice(SPENDING), -chance.randrange(1_000, 150_000, 10)
            balance += amount
            yield begin + timedelta(days=27 * n // (ROWS - 1)), amount, text, balance


def _money(minor: int) -> dict[str, object]:
    return {"currency": CURRENCY, "minor": minor}
