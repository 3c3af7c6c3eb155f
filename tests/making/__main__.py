"""Write spec/vectors: `python -m tests.making`."""

from tests.making import contents
from tests.making.form import FOLDER

if __name__ == "__main__":
    for name, text in contents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
