"""spec/vectors: written by `tests.making`, byte for byte."""

import json
from collections import Counter

import pytest

from tests import making
from tests.making.form import FOLDER

CONTENTS = making.contents()


@pytest.mark.parametrize("file", CONTENTS)
def test_a_file_is_what_the_program_writes(file: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == CONTENTS[file], "run `make spec`"


def test_there_are_no_other_files() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(CONTENTS)


@pytest.mark.parametrize("file", CONTENTS)
def test_a_name_is_used_once_in_a_file(file: str) -> None:
    names = Counter(vector["name"] for vector in json.loads(CONTENTS[file]))
    assert [name for name, count in names.items() if count > 1] == []
