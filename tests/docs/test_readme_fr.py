"""README.fr.md gives the same figures, commands and files as README.md, in French typography."""

import re

import french
from documents import PROJECT

ENGLISH, FRENCH = ((PROJECT / name).read_text() for name in ("README.md", "README.fr.md"))


def recipes(text: str) -> list[tuple[str, ...]]:
    """(recipe, minutes, accuracy) of every row of the table of recipes; French writes 1,6 for 1.6."""
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    return re.findall(r"^\| `(\w+)`.* \| ([\d.]+) \| ([\d.]+ ± [\d.]+) \|$", text, re.MULTILINE)


def reading_path(text: str) -> list[str]:
    """The files of the afternoon, in order."""
    return re.findall(r"^\| \d+ \|(?: \d+ \|)? \[`([\w/.]+\.py)`\]", text, re.MULTILINE)


def test_the_recipes_are_the_same():
    assert len(recipes(ENGLISH)) == 5 and recipes(FRENCH) == recipes(ENGLISH)


def test_the_reading_path_is_the_same():
    assert len(reading_path(ENGLISH)) == 7 and reading_path(FRENCH) == reading_path(ENGLISH)


def test_every_make_command_is_one_of_the_verbs():
    verbs = set(re.findall(r"^  make ([\w-]+)", ENGLISH, re.MULTILINE))
    assert set(re.findall(r"make ([\w-]+)", FRENCH)) <= verbs


def test_french_typography():
    assert french.mistakes(FRENCH) == []
    assert "précision" not in FRENCH
