"""The house (README.md, "Rooms and arrows"): who may import whom, and one life for each rule."""

import ast
import functools
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import click
import pytest

import chain
from ddtp import cli, words

ROOT = Path(__file__).parents[1]
ARROWS = {
    "ddtp": set(),
    "chain": {"ddtp"},
    "provider": {"ddtp", "chain"},
    "holder": {"ddtp", "chain"},
    "receiver": {"ddtp", "chain"},
    "demo": {"ddtp", "chain", "provider", "holder", "receiver"},
}
# Inside ddtp each line imports only lines above it.
LEVELS = (
    "errors labels http",
    "merkle transfer",
    "encoding fingerprint",
    "keys",
    "cose seal note",
    "record witness entry status network",
    "package card policy possession receipt submission evidence grant",
    "breach conviction",
    "record_type request presentation",
    "purpose verify",
    "evidence_file words",
    "web cli aside",
)
# What would let the core fetch time, chance, files or a network instead of being told.
IMPURE = {
    "asyncio",
    "http",
    "logging",
    "os",
    "random",
    "secrets",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
FETCHING = {
    *("open", "io.open", "io.open_code", "io.FileIO"),
    *("datetime.now", "datetime.today", "date.today"),
}
RULE = re.compile(r"[a-z]+\.[1-9][0-9]*")


def modules(folder: str) -> Iterator[Path]:
    yield from sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, at its top or within a function."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file calls."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


CODE = [path for room in ARROWS for path in modules(room)]
CORE = [ROOT / "ddtp" / f"{name}.py" for line in LEVELS for name in line.split()]
PURE = [path for path in CORE if path.is_file()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_rooms_imported_are_of_this_tree() -> None:
    assert Path(chain.__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_room_imports_only_along_the_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    rooms = {name.partition(".")[0] for name in imported(path)} & set(ARROWS)
    assert rooms - {room} <= ARROWS[room]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_only_web_knows_aiohttp_and_jinja(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(path)}
    assert path.is_relative_to(ROOT / "ddtp" / "web") or not roots & {"aiohttp", "jinja2"}


@pytest.mark.parametrize("path", [*modules("ddtp")], ids=name_of)
def test_a_line_of_the_core_imports_only_lines_above(path: Path) -> None:
    own = path.relative_to(ROOT / "ddtp").parts[0].removesuffix(".py")
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("ddtp.")}
    below = {part for part in parts - {own} if line_of(part) >= line_of(own)}
    assert below == set()


def line_of(name: str) -> int:
    """Return a module's line; the package itself is above all, what starts it below all."""
    numbers = {name: number for number, line in enumerate(LEVELS) for name in line.split()}
    return numbers.get(name, len(LEVELS) if name == "__main__" else -1)


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_the_core_is_told_and_never_fetches(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & IMPURE == set()
    assert FETCHING & set(called(path)) == set()


def test_every_module_of_the_core_has_its_line() -> None:
    lines = {name for line in LEVELS for name in line.split()}
    names = {path.stem for path in (ROOT / "ddtp").glob("*.py")} - {"__init__", "__main__"}
    assert names <= lines


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("command", cli.COMMANDS.values())
def test_a_noun_leads_to_a_command(command: str) -> None:
    module, _, name = command.partition(":")
    assert isinstance(getattr(import_module(module), name), click.Command)


# --- one rule, one life ----------------------------------------------------------------------


def raised(files: Sequence[Path] = CODE) -> set[str]:
    """Return every rule that stands as a literal in the code, of all rooms or of these files."""
    chapters = {path.stem for path in (ROOT / "ddtp" / "words" / "errors").glob("*.toml")}
    literals = (
        node.value
        for path in files
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    found = {text for text in literals if RULE.fullmatch(text)}
    return {rule for rule in found if rule.partition(".")[0] in chapters}


def specified() -> Counter[str]:
    """Return every rule that a chapter states, in bold."""
    bold = re.compile(r"\*\*(" + RULE.pattern + r")\*\*")
    pages = sorted((ROOT / "spec").glob("*.md"))
    return Counter(rule for page in pages for rule in bold.findall(page.read_text("utf-8")))


def named_by_tests() -> set[str]:
    """Return every rule that some test bears in its name."""
    named = re.compile(r"def test_([a-z]+)_([1-9][0-9]*)_")
    return {
        f"{chapter}.{number}"
        for path in modules("tests")
        for chapter, number in named.findall(path.read_text(encoding="utf-8"))
    }


def rows() -> set[str]:
    return {row.rule for row in words.all_refusals()}


def test_every_rule_raised_has_a_row() -> None:
    assert raised() - rows() == set()


def test_every_row_is_raised() -> None:
    assert rows() - raised() == set()


def test_every_rule_raised_is_specified() -> None:
    assert raised() - set(specified()) == set()


def test_every_rule_specified_is_raised() -> None:
    assert set(specified()) - raised() == set()


def test_every_rule_specified_is_tested_by_name() -> None:
    assert set(specified()) - named_by_tests() == set()


def test_a_rule_is_stated_once() -> None:
    assert [rule for rule, count in specified().items() if count > 1] == []


# --- what is committed -----------------------------------------------------------------------


def test_every_library_of_the_core_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[<>=;\[ ]", line)[0] for line in project["dependencies"]}
    modules_of = {"pynacl": "nacl", "prometheus-client": "prometheus_client"}
    used = {name.partition(".")[0] for path in CODE for name in imported(path)}
    assert {name for name in named if modules_of.get(name, name) not in used} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=name_of)
def test_lock_files_pin_by_hash_and_name_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    pinned = [line for line in text.splitlines() if line[:1].isalnum()]
    assert all(re.match(r"[a-z0-9-]+==[^ ]+ .*\\$", line) for line in pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text
    assert "index" not in text
