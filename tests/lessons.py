"""The lessons as documents: sections, code blocks, expected numbers, references to lines, and what is translated.

docs/lessons/en/NN-name.md and docs/lessons/fr/NN-name.md have the same sections. Under each heading of the French
file stands the hash of the English section that it renders: <!-- en: 1a2b3c4d -->.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from documents import CODE_SPAN, PROJECT, named

FOLDER = PROJECT / "docs" / "lessons"
LINES = {"en": 150, "fr": 165}  # three screens of fifty lines; French takes a tenth more
# The sections, and the minutes of each.
PARTS = {"Hook": 5, "Predict": 5, "Live code": 10, "Run and look": 10, "Exercise": 15, "Compare": 10, "Exit card": 5}
TEACHER = "For the teacher"
FRENCH = {
    "Hook": "Accroche", "Predict": "Prédire", "Live code": "Coder en direct", "Run and look": "Lancer et observer",
    "Exercise": "Exercice", "Compare": "Comparer", "Exit card": "Ticket de sortie", TEACHER: "Pour l’enseignant",
    "Run": "Lancer", "Investigate": "Explorer", "Modify": "Modifier", "Make": "Créer", "When late": "En cas de retard",
}  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.DOTALL | re.MULTILINE)
HASH = re.compile(r"^<!-- en: ([0-9a-f]{8}) -->\n", re.MULTILINE)
LINE_SPAN = re.compile(r"`[\w/]+\.py:\d+(?:-\d+)?`")
REFERENCE = re.compile(r"`([\w/]+\.py):(\d+)(?:-(\d+))?`\s*\(`([^`]+)`(?:\s*…\s*`([^`]+)`)?\)")
TABLE = re.compile(r"^\| (?:in the output|dans la sortie) \|.*\n\|[ -]+\|[ -]+\|\n((?:\|.*\n)+)", re.MULTILINE)
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"


@dataclass(frozen=True)
class Section:
    """A heading and what follows it. `part` is the English name of the heading, "opening" for what precedes them."""

    part: str
    heading: str
    body: str

    @property
    def hash(self) -> str:
        """Eight digits that change with the text; the numbers of lines in references do not count."""
        text = re.sub(r"(\.py):\d+(-\d+)?`", r"\1`", HASH.sub("", self.heading + "\n" + self.body))
        return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:8]

    @property
    def rendered(self) -> str:
        """In French: the hash of the English section that this one renders; "" without."""
        found = HASH.match(self.body)
        return found[1] if found else ""

    @property
    def code_blocks(self) -> list[tuple[str, str]]:
        """(language, code) of each."""
        return BLOCK.findall(self.body)

    @property
    def code_spans(self) -> list[str]:
        """What stands in backticks, sorted."""
        return sorted(CODE_SPAN.findall(BLOCK.sub("", self.body)))

    @property
    def figures(self) -> list[str]:
        """The files of the figures."""
        return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", self.body)

    def numbers(self, language: str) -> list[float]:
        """The numbers in the prose and the tables, sorted; a decimal comma and spaces between thousands in French.

        0 is left out: it may be written as a word, zero or nul.
        """
        text = CODE_SPAN.sub("", BLOCK.sub("", HASH.sub("", self.heading + "\n" + self.body)))
        text = re.sub(r"\]\([^)]*\)|<!--.*?-->", "", text, flags=re.DOTALL)
        if language == "fr":
            text = re.sub(r"(?<=\d)[\u202f\u00a0 ](?=\d{3}(?!\d))", "", text)
            text = re.sub(r"(?<=\d),(?=\d)", ".", text)
        else:
            text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        return sorted(float(number) for number in re.findall(r"\d+(?:\.\d+)?", text) if float(number))


@dataclass(frozen=True)
class Expected:
    """A row of a table "in the output | expected": a line of the output, … for its number, * for anything."""

    pattern: str
    value: float
    tolerance: float = 0.0
    sign: str = ""  # "<" or ">": a limit

    def problem(self, output: str) -> str:
        """What is wrong with this output, or "". The first line that has the pattern counts."""
        pattern = re.escape(self.pattern).replace("…", f"({NUMBER})").replace(r"\*", ".*").replace(r"\ ", " +")
        found = re.search(pattern, output)
        if not found:
            return f"`{self.pattern}`: no such line in the output"
        number = float(found[1].replace(",", ""))
        right = {"<": number < self.value, ">": number > self.value}.get(
            self.sign, abs(number - self.value) <= self.tolerance * (1 + 1e-9)
        )
        return "" if right else f"`{self.pattern}`: expected {self}, found {number:g}"

    def __str__(self) -> str:
        tolerance = f" ± {self.tolerance:g}" if self.tolerance else ""
        return f"{self.sign} {self.value:g}{tolerance}".strip()


@dataclass(frozen=True)
class Reference:
    """`path:first-last` (`snippet` … `end`): a snippet of the first line, and one of the last."""

    text: str
    path: str
    first: int
    last: int
    snippet: str
    end: str

    @property
    def problem(self) -> str:
        """What is wrong with it, or ""."""
        if not (PROJECT / self.path).is_file():
            return f"{self.path}: no such file"
        if (self.last != self.first) != bool(self.end):
            return f"{self.text}: one line takes (`snippet`), several take (`first snippet` … `last snippet`)"
        for number, snippet in ((self.first, self.snippet), (self.last, self.end)):
            if snippet and not self.has(number, snippet):
                there = " or ".join(map(str, self.lines_with(snippet))) or "none: it is gone"
                return f"{self.path}:{number} has no `{snippet}`; the line with it: {there}"
        return ""

    @property
    def mended(self) -> str:
        """The reference with the numbers of the nearest lines that have the snippets."""
        found = [
            min(self.lines_with(snippet), key=lambda line, near=number: abs(line - near), default=number)
            for number, snippet in ((self.first, self.snippet), (self.last, self.end))
            if snippet
        ]
        numbers = re.sub(r":\d+(-\d+)?`", f":{'-'.join(map(str, found))}`", self.text, count=1)
        return numbers

    def has(self, number: int, snippet: str) -> bool:
        """Whether this line of the file has the snippet."""
        return number in self.lines_with(snippet)

    def lines_with(self, snippet: str) -> list[int]:
        """The lines of the file that have the snippet."""
        lines = (PROJECT / self.path).read_text().splitlines()
        return [number for number, line in enumerate(lines, start=1) if snippet in line]


@dataclass(frozen=True)
class Lesson:
    """One lesson in one language."""

    path: Path
    text: str
    language: str

    @classmethod
    def read(cls, path: Path) -> "Lesson":
        """The lesson of a file in docs/lessons/en/ or fr/."""
        return cls(path, path.read_text(), path.parent.name)

    @property
    def number(self) -> int:
        """2 for 02-convolution.md."""
        return int(self.path.name[:2])

    @property
    def title(self) -> str:
        """What messages call it, in either language: "lesson 2", or "docs/glossary.md" for another document."""
        if re.match(r"\d\d-", self.path.name):
            return f"lesson {self.number}"
        return named(self.path).replace(".fr.md", ".md")

    def __str__(self) -> str:
        return f"{self.title} ({self.language})"

    @cached_property
    def sections(self) -> list[Section]:
        """The opening, then a section for each heading `## ...`."""
        names = {FRENCH[part] if self.language == "fr" else part: part for part in (*PARTS, TEACHER)}
        found = []
        for position, text in enumerate(re.split(r"^#{1,2} (?=\S)", outside_code(self.text), flags=re.MULTILINE)[1:]):
            heading, _, body = text.partition("\n")
            name = re.sub(r" \(\d+.min\)$", "", heading)
            found.append(Section("opening" if position == 0 else names.get(name, name), heading, inside_code(body)))
        return found

    @property
    def references(self) -> list[Reference]:
        """Every reference to lines of a file, with its snippets."""
        return [
            Reference(match[0], match[1], int(match[2]), int(match[3] or match[2]), match[4], match[5] or "")
            for match in REFERENCE.finditer(self.text)
        ]

    def __getitem__(self, part: str) -> Section:
        return next(section for section in self.sections if section.part == part)


def outside_code(text: str) -> str:
    """The text with every # inside a code block replaced, so that no comment looks like a heading."""
    return BLOCK.sub(lambda block: block[0].replace("#", "\0"), text)


def inside_code(text: str) -> str:
    """The opposite."""
    return text.replace("\0", "#")


def expected_numbers(table: str) -> list[Expected]:
    """The rows of a table. Raises ValueError for a row that is not understood."""
    found = []
    for row in table.strip().splitlines():
        match = re.fullmatch(r"\| `([^`]*…[^`]*)` \| `?([<>]?) ?([-+]?[\d.,]+(?:e-?\d+)?)`?(?: ± ([\d.,]+))? \|", row)
        if not match or match[1].count("…") != 1:
            raise ValueError(f"not understood: {row}")
        value, tolerance = (float((text or "0").replace(",", "")) for text in match.group(3, 4))
        found.append(Expected(match[1], value, tolerance, match[2]))
    return found


def lessons(language: str) -> list[Lesson]:
    """The lessons in a language, in order."""
    return [Lesson.read(path) for path in sorted((FOLDER / language).glob("[0-9][0-9]-*.md"))]


def translated_pairs() -> list[tuple[Lesson, Lesson]]:
    """(English, French) of every lesson, and of every document of docs/ whose translation NAME.fr.md carries hashes."""
    found = [(english, FOLDER / "fr" / english.path.name) for english in lessons("en")]
    for path in sorted((PROJECT / "docs").rglob("*.fr.md")):
        english = path.with_name(path.name.replace(".fr.md", ".md"))
        if HASH.search(path.read_text()):
            found.append((Lesson(english, english.read_text(), "en"), path))
    return [(english, Lesson(path, path.read_text(), "fr")) for english, path in found if path.is_file()]


def stale_sections(english: Lesson, french: Lesson) -> list[str]:
    """`lesson 3, Predict: the English changed`, for each French section that renders another English text."""
    return [
        f"{english.title}, {one.part}: {'the English changed' if other.rendered else 'no hash of the English'}"
        for one, other in zip(english.sections, french.sections)
        if other.rendered != one.hash
    ]


def with_hashes(english: Lesson, french: Lesson) -> str:
    """The French text with today's hash of the English section under each heading."""
    found = []
    for one, other in zip(english.sections, french.sections):
        sign = "#" if other.part == "opening" else "##"
        found.append(f"{sign} {other.heading}\n<!-- en: {one.hash} -->\n{HASH.sub('', other.body)}")
    return "".join(found)
