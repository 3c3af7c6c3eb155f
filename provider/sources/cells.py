"""Dates and amounts as people's files write them, where nothing says which way (rule source.12).

How a column is written is decided over all of it, never cell by cell: 03/04/2025 and 1.234 mean
what the cells around them mean, and where those do not say it either, it has to be told.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

POINT: Final = "."
COMMA: Final = ","
ORDERS: Final = ("ymd", "dmy", "mdy", "md", "dm")

_MOST: Final = 60  # characters of a cell that is an amount or a date
_SIGNS: Final = re.compile(r"HK\$|MOP\$|US\$|[¥￥$€£元圆圓]")
_SPACES: Final = re.compile(r"[\s'\u00a0\u202f\u2019]")
_YMD: Final = re.compile(r"([0-9]{4})[-/.年]?([0-9]{1,2})[-/.月]?([0-9]{1,2})日?")
_XYY: Final = re.compile(r"([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]([0-9]{4}|[0-9]{2})")
_WORDS: Final = re.compile(r"([0-9]{1,2})[- ]?([A-Za-z]{3})[a-z]*[- ]?([0-9]{4}|[0-9]{2})")
_XY: Final = re.compile(r"([0-9]{1,2})[-/.月]([0-9]{1,2})日?")
_TIME: Final = re.compile(r"[T ]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?Z?")
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


class UndecidedError(ValueError):
    """The cells can be read in more than one way."""


def decimal_mark(cells: Iterable[str]) -> str:
    """Return which of point and comma stands before the decimals in all these cells.

    Raises:
        UndecidedError: Both would do, or no one does for all.
    """
    marks: set[str] = set()
    is_open = False
    for cell in cells:
        found = _mark_of(_SPACES.sub("", _SIGNS.sub("", cell[:_MOST])))
        if found is None:
            is_open = True
        elif found:
            marks.add(found)
    if len(marks) > 1:
        raise UndecidedError("some amounts have a decimal point and some a decimal comma")
    if not marks and is_open:
        raise UndecidedError("nothing says whether amounts have a decimal point or a comma")
    return marks.pop() if marks else POINT


def number(cell: str, mark: str) -> str:
    """Return an amount as a plain decimal number, with a sign or none.

    Raises:
        ValueError: It is no amount that has this mark before its decimals.
    """
    text = _SPACES.sub("", _SIGNS.sub("", cell.strip())) if len(cell) <= _MOST else ""
    text = text.replace("\N{MINUS SIGN}", "-")
    sign = ""
    if text.startswith("(") and text.endswith(")"):
        sign, text = "-", text[1:-1]
    elif text.endswith("-"):
        sign, text = "-", text[:-1]
    elif text[:1] in ("+", "-"):
        sign, text = text[0], text[1:]
    group = COMMA if mark == POINT else POINT
    whole, _, rest = text.partition(mark)
    groups = whole.split(group)
    if len(groups) > 1 and (len(groups[0]) > 3 or any(len(each) != 3 for each in groups[1:])):
        raise ValueError("is no amount")
    whole = "".join(groups)
    if not re.fullmatch("[0-9]{0,18}", whole) or not re.fullmatch("[0-9]{0,10}", rest):
        raise ValueError("is no amount")
    if not whole + rest:
        raise ValueError("is no amount")
    return f"{sign}{whole or '0'}.{rest or '0'}"


def date_order(cells: Sequence[str]) -> str:
    """Return in which order day, month and year stand in all these cells.

    Raises:
        UndecidedError: Days could be months in every one of them.
    """
    fitting = [order for order in ("ymd", "dmy", "mdy") if _all_fit(cells, order)]
    if len(fitting) > 1:
        dmy, mdy = ([day(cell, order) for cell in cells] for order in ("dmy", "mdy"))
        if dmy != mdy:
            raise UndecidedError("nothing says whether the day or the month comes first")
    # Where none fits all, the first cell that is wrong will be named as the first order reads it.
    return fitting[0] if fitting else _likeliest(cells)


def day(cell: str, order: str, month: tuple[int, int] | None = None) -> date:
    """Return the calendar day of a cell; a time behind it is left off.

    Args:
        order: One of ORDERS.
        month: Year and month of the statement, for dates without a year: those of a later month
            are of the year before.

    Raises:
        ValueError: It is no day of the calendar in this order.
    """
    text = cell.strip()
    if len(text) <= _MOST:
        text = _TIME.sub("", text)
        if words := _WORDS.fullmatch(text):
            return _of_words(words)
        found = _PATTERNS[order].fullmatch(text)
        if found is not None and (len(text) == len("20250131") or not text.isdigit()):
            parts = dict(zip(order, found.groups(), strict=True))
            try:
                return _of_parts(parts, month)
            except ValueError:
                pass
    raise ValueError("is no date")


_PATTERNS: Final = {"ymd": _YMD, "dmy": _XYY, "mdy": _XYY, "md": _XY, "dm": _XY}


def _mark_of(text: str) -> str | None:
    """Return a cell's decimal mark, "" where it has no decimals, None where it could be either."""
    point, comma = text.count(POINT), text.count(COMMA)
    if point and comma:
        return max(POINT, COMMA, key=text.rfind)
    if not point and not comma:
        return ""
    mark = POINT if point else COMMA
    if point + comma > 1:
        return COMMA if point else POINT
    before, _, after = text.lstrip("+-(").partition(mark)
    return mark if len(after.rstrip(")-")) != 3 or before in ("", "0") or len(before) > 3 else None


def _all_fit(cells: Sequence[str], order: str) -> bool:
    return not any(_fails(cell, order) for cell in cells)


def _fails(cell: str, order: str) -> bool:
    try:
        day(cell, order)
    except ValueError:
        return True
    return False


def _likeliest(cells: Sequence[str]) -> str:
    return min(("ymd", "dmy", "mdy"), key=lambda order: sum(_fails(each, order) for each in cells))


def _of_words(words: "re.Match[str]") -> date:
    first, name, last = words.groups()
    if name.lower() not in _MONTHS:
        raise ValueError("is no date")
    return _of_parts({"d": first, "m": str(_MONTHS.index(name.lower()) + 1), "y": last}, None)


def _of_parts(parts: Mapping[str, str], month: tuple[int, int] | None) -> date:
    if "y" in parts:
        year = int(parts["y"])
        return date(year + 2_000 if year < 100 else year, int(parts["m"]), int(parts["d"]))
    if month is None:
        raise ValueError("is no date, since nothing says its year")
    year, last = month
    return date(year - (int(parts["m"]) > last), int(parts["m"]), int(parts["d"]))
