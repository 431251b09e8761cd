"""The lessons: their parts and minutes, references to lines that exist, and two languages that stay equal."""

import codeop
import dataclasses
import re

import french
import pytest
import refresh_lessons
import run_lessons
from documents import CODE_SPAN, PROJECT, documents, named
from lessons import (
    BLOCK,
    FOLDER,
    FRENCH,
    LINE_SPAN,
    LINES,
    PARTS,
    TABLE,
    TEACHER,
    Expected,
    Lesson,
    Reference,
    expected_numbers,
    lessons,
    stale_sections,
    translated_pairs,
    with_hashes,
)

ENGLISH = lessons("en")
EVERY = pytest.mark.parametrize("lesson", [*ENGLISH, *lessons("fr")], ids=lambda lesson: named(lesson.path)[13:-3])
PAIRS = translated_pairs()
PAIR = pytest.mark.parametrize(("english", "translated"), PAIRS, ids=[named(english.path) for english, _ in PAIRS])
FRENCH_DOCUMENTS = [path for path in documents() if path.name.endswith(".fr.md") or path.parent.name == "fr"]
WORK = ("Predict", "Exercise", "Exit card")  # the learners' own
SECOND = 2  # the lesson that the tests below change


def french_of(english: Lesson) -> Lesson:
    return Lesson.read(FOLDER / "fr" / english.path.name)


def test_both_languages_have_the_same_lessons():
    names = [[lesson.path.name for lesson in lessons(language)] for language in ("en", "fr")]
    assert names[0] == names[1] and SECOND in [lesson.number for lesson in ENGLISH]
    assert sorted(path.name for path in FOLDER.rglob("*.md") if path.parent != FOLDER) == sorted(names[0] * 2)


def test_the_list_of_lessons_names_every_one():
    links = re.findall(r"\]\((\w\w/\d\d-[\w-]+\.md)\)", (FOLDER / "README.md").read_text())
    assert links == [f"{language}/{lesson.path.name}" for lesson in ENGLISH for language in ("en", "fr")]


@EVERY
def test_the_parts_and_their_minutes(lesson):
    names = [FRENCH[part] if lesson.language == "fr" else part for part in (*PARTS, TEACHER)]
    minutes = [*(f" ({count} min)" for count in PARTS.values()), ""]
    assert [section.heading for section in lesson.sections[1:]] == [a + b for a, b in zip(names, minutes)]
    assert re.match(rf"(Lesson {lesson.number}: |Leçon {lesson.number}\s: )\S", lesson.sections[0].heading)
    work = sum(PARTS[part] for part in WORK)
    sentence = rf"\*\*60 minutes\*\*\s?: {60 - work} (of teaching|d’enseignement), {work} (of|de) "
    assert re.search(sentence, lesson.text), f"{lesson}: the minutes of teaching and of work"
    assert sum(PARTS.values()) == 60


@EVERY
def test_predict_run_investigate_modify_make(lesson):
    word = FRENCH.get if lesson.language == "fr" else str
    for part, names in {"Run and look": ("Run", "Investigate"), "Exercise": ("Modify", "Make")}.items():
        for name in names:
            assert f"**{word(name)}.**" in lesson[part].body, f"{lesson}, {part}: no **{word(name)}.**"
    assert lesson["Predict"].body.count("?") >= 2 and "\n1. " in lesson["Compare"].body
    assert f"**{word('When late')}**" in lesson[TEACHER].body


@EVERY
def test_three_misconceptions_with_their_questions_and_a_card_of_two(lesson):
    items = re.split(r"^\d\. ", lesson[TEACHER].body, flags=re.MULTILINE)[1:]
    assert len(items) == 3 and all(item.startswith("*") and "?" in item for item in items)
    questions, answers = lesson["Exit card"].body.split("<details>")
    for half in (questions, answers):
        assert re.findall(r"^(\d)\. ", half, flags=re.MULTILINE) == ["1", "2"]
    assert answers.rstrip().endswith("</details>")


@EVERY
def test_a_lesson_fits_on_three_screens(lesson):
    lines = lesson.text.splitlines()
    limit = LINES[lesson.language]
    assert len(lines) <= limit, f"{lesson}: {len(lines)} lines, at most {limit}"
    long = [line for line in lines if len(line) > 120 and not line.startswith(("![", "|"))]
    assert not long, f"{lesson}: over 120 characters: {long[0]}"


@EVERY
def test_references_follow_their_lines(lesson):
    references = lesson.references
    spans = LINE_SPAN.findall(lesson.text)
    assert len(spans) == len(references), f"{lesson}: a reference without its (`snippet`)"
    assert len(references) >= 2, f"{lesson}: it says on which lines of the project it works"
    problems = [reference.problem for reference in references if reference.problem]
    assert not problems, f"{lesson}: {problems[0]}; python tests/refresh_lessons.py follows lines that moved"


@EVERY
def test_commands_and_expected_numbers(lesson):
    for kind, code in BLOCK.findall(lesson.text):
        assert kind in ("bash", "python", "pdb", "text"), f"{lesson}: ```{kind}"
        for line in code.splitlines() if kind == "bash" else ():
            assert re.match(r"(python|make) ", line), f"{lesson}: {line}"
        if kind == "python":
            assert not (line := refused_at_the_prompt(code)), f"{lesson}: typed at the prompt of Python: {line}"
    tables = TABLE.findall(lesson.text)
    assert tables and all(expected_numbers(english_numbers(table)) for table in tables)
    assert lesson.text.count("| --- |") == len(tables), f"{lesson}: a table that the runner does not understand"


def refused_at_the_prompt(code: str) -> str:
    """The line at which Python reports a syntax error if the code is typed line by line; "" if there is none.

    At the prompt of Python an empty line ends a block, and the line after a block needs an empty line before it.
    """
    statement = []
    for line in [*code.splitlines(), ""]:
        statement.append(line)
        try:
            if codeop.compile_command("\n".join(statement)):
                statement = []
        except SyntaxError:
            return line
    return statement[0] if statement else ""


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("for i in range(2):\n    print(i)\n\nprint(3)\n", ""),
        ("for i in range(2):\n    print(i)\nprint(3)\n", "print(3)"),
        ("def f():\n    x = 1\n\n    return x\n", "    return x"),
        ("print(\n    1,\n", "print("),
    ],
)
def test_what_the_prompt_refuses(code, refused):
    assert refused_at_the_prompt(code) == refused


def english_numbers(table: str) -> str:
    return re.sub(r"(?<=\d),(?=\d)", ".", table)


@EVERY
def test_figures_are_there_and_small(lesson):
    figures = [lesson.path.parent / name for section in lesson.sections for name in section.figures]
    assert figures
    for figure in figures:
        assert figure.is_file() and figure.stat().st_size < 300_000, f"{lesson}: {figure.name}"


def test_every_french_document_carries_the_hashes_of_its_english():
    """But for two, which tests of their own hold to their English: test_debugging.py and test_exercises.py."""
    held = {named(translated.path) for _, translated in PAIRS}
    beside = {named(path) for path in (PROJECT / "docs").rglob("*.fr.md")}
    assert beside - held == {"docs/debugging.fr.md", "docs/exercises/README.fr.md"}


@PAIR
def test_the_french_renders_todays_english(english, translated):
    assert len(english.sections) == len(translated.sections), "another number of headings"
    stale = stale_sections(english, translated)
    name = english.title.removeprefix("lesson ")
    assert not stale, "\n".join([*stale, f"revise the French, then python tests/refresh_lessons.py {name}"])


@PAIR
def test_code_numbers_and_figures_are_the_same(english, translated):
    assert not differences(english, translated)


def differences(english: Lesson, translated: Lesson) -> list[str]:
    """What the two languages do not have in common, section by section."""
    found = []
    for one, other in zip(english.sections, translated.sections):
        for what, left, right in (
            ("code blocks", one.code_blocks, other.code_blocks),
            ("code spans", one.code_spans, other.code_spans),
            ("figures", one.figures, other.figures),
            ("numbers", one.numbers("en"), other.numbers("fr")),
        ):
            if left != right:
                only = [[str(x) for x in a if a.count(x) != b.count(x)] for a, b in ((left, right), (right, left))]
                found.append(f"{english.title}, {one.part}: {what}: English {only[0]}, French {only[1]}")
    return found


@pytest.mark.parametrize("path", FRENCH_DOCUMENTS, ids=named)
def test_french_typography(path):
    mistakes = french.mistakes(path.read_text())
    assert not mistakes, f"{named(path)}: {mistakes[0]!r}; python tests/refresh_lessons.py mends spaces and apostrophes"


@pytest.mark.parametrize("path", FRENCH_DOCUMENTS, ids=named)
def test_accuracy_is_exactitude(path):
    """Précision is the precision of numbers, or that of a classifier; accuracy is exactitude."""
    assert not wrong_precision(path.read_text()), f"{named(path)}: accuracy is « exactitude »"


def wrong_precision(text: str) -> list[str]:
    return [line for line in french.prose(text).splitlines() if re.search(r"précisions?\b(?! numérique)", line, re.I)]


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_glossaries_have_the_same_terms_and_links():
    """Row by row: as many cells, the same code in each, and the same place in the code."""
    english, translated = (
        table_rows((PROJECT / "docs" / name).read_text()) for name in ("glossary.md", "glossary.fr.md")
    )
    assert len(english) > 100
    for one, other in zip(english, translated, strict=True):
        assert [CODE_SPAN.findall(cell) for cell in one] == [CODE_SPAN.findall(cell) for cell in other], (one, other)


# The checks find what they are for.


@pytest.fixture
def pair():
    english = next(lesson for lesson in ENGLISH if lesson.number == SECOND)
    return english, french_of(english)


def changed(lesson: Lesson, old: str, new: str) -> Lesson:
    assert old in lesson.text
    return Lesson(lesson.path, lesson.text.replace(old, new, 1), lesson.language)


def test_a_changed_section_is_named(pair):
    english, translated = pair
    edited = changed(english, "alone, before anything runs", "alone")
    assert stale_sections(edited, translated) == [f"lesson {SECOND}, Predict: the English changed"]
    assert not stale_sections(edited, Lesson(translated.path, with_hashes(edited, translated), "fr"))
    bare = Lesson(translated.path, re.sub(r"<!-- en: \w+ -->\n", "", translated.text), "fr")
    assert stale_sections(english, bare)[0] == f"lesson {SECOND}, opening: no hash of the English"


def test_a_line_number_does_not_make_a_translation_stale(pair):
    english, translated = pair
    assert not stale_sections(changed(english, "convolution.py:14`", "convolution.py:15`"), translated)


def test_a_number_a_command_and_a_name_that_differ_are_found(pair):
    english, translated = pair
    for old, new, what in (
        ("3\u202f072", "3\u202f073", "Hook: numbers: English ['3072.0'], French ['3073.0']"),
        ("--epochs 1", "--epochs 2", "Run and look: code blocks"),
        ("`conv1` transforme", "`conv2` transforme", "Predict: code spans: English ['conv1'], French ['conv2']"),
        ("02-convolution.png", "03-convolution.png", "Run and look: figures"),
    ):
        (found,) = differences(english, changed(translated, old, new))
        assert found.startswith(f"lesson {SECOND}, {what}"), found


def test_a_line_that_moved_is_found_and_followed():
    path = "train_loop.py"
    lines = (PROJECT / path).read_text().splitlines()
    first = 1 + next(number for number, line in enumerate(lines) if line.startswith("def train_step("))
    right = Reference(f"`{path}:{first}` (`def train_step(`)", path, first, first, "def train_step(", "")
    assert not right.problem and right.mended == right.text
    late = first + 3
    wrong = dataclasses.replace(right, text=f"`{path}:{late}` (`def train_step(`)", first=late, last=late)
    assert wrong.problem == f"{path}:{late} has no `def train_step(`; the line with it: {first}"
    assert wrong.mended == right.text
    gone = dataclasses.replace(right, snippet="def absent(")
    assert gone.problem.endswith("none: it is gone") and gone.mended == gone.text
    assert "several take" in dataclasses.replace(right, last=first + 2).problem


def test_expected_numbers_by_hand():
    rows = expected_numbers("| `test accuracy … %` | 56 ± 8 |\n| `2 NumPy * …` | < 1e-10 |\n| `conv1 …` | 1,896 |\n")
    output = "conv1   1,896  7\n   2  NumPy   0.30   2,341   1.7e-13\ntest accuracy 49.0 % ± 1.1\n"
    assert [str(row) for row in rows] == ["56 ± 8", "< 1e-10", "1896"]
    assert [row.problem(output) for row in rows] == ["", "", ""]
    assert rows[0].problem("test accuracy 47.0 %") == "`test accuracy … %`: expected 56 ± 8, found 47"
    assert rows[1].problem("2 NumPy 1 3e-9") == "`2 NumPy * …`: expected < 1e-10, found 3e-09"
    assert rows[2].problem("") == "`conv1 …`: no such line in the output"
    assert Expected("y is …", -1).problem("y is -1.0") == ""
    with pytest.raises(ValueError):
        expected_numbers("| `no number` | 3 |\n")


def test_the_runner_finds_a_command_that_fails_and_a_number_that_is_not_printed(tmp_path, capsys):
    text = (
        "```python\na = 3\nprint('a is', a)\n```\n```python\nprint('twice', 2 * a)\n```\n"
        "| in the output | expected |\n| --- | --- |\n| `a is …` | 3 |\n| `twice …` | 7 |\n"
        "```bash\npython -c 'x = input(); print(\"typed\", x)'\n```\n```pdb\n5\n```\n```bash\npython absent.py\n```\n"
        "| in the output | expected |\n| --- | --- |\n| `typed …` | 5 |\n"
    )
    lesson = Lesson(FOLDER / "en" / "99-made.md", text, "en")
    [problem], [other_number] = run_lessons.run_lesson(lesson)
    assert other_number == "lesson 99: `twice …`: expected 7, found 6"
    assert problem.startswith("lesson 99: python absent.py: exit status 2: ")
    assert capsys.readouterr().out.count("lesson 99") == 4


def test_a_number_outside_its_tolerance_is_told_and_is_a_mistake_unless_any_will_do(monkeypatch, capsys):
    monkeypatch.setattr(run_lessons, "run_lesson", lambda lesson, limit: ([], ["lesson 2: expected 7, found 6"]))
    assert (run_lessons.main(["2"]), run_lessons.main(["2", "--any-numbers"])) == (1, 0)
    assert capsys.readouterr().err.count("lesson 2: expected 7, found 6") == 2


def test_a_command_that_takes_over_a_minute_is_found(monkeypatch, tmp_path):
    quick = ["python", "-c", "pass"], "", str(tmp_path), 9
    assert run_lessons.run_command(*quick)[1] == ""
    assert run_lessons.run_command(*quick, limit=0.001)[1].endswith(" s, expected at most 0")
    endless = ["python", "-c", "while True: pass"], "", str(tmp_path), 9
    monkeypatch.setattr(run_lessons, "PATIENCE", 2)
    assert run_lessons.run_command(*endless, limit=0.2)[1].endswith("stopped after 0 s, expected at most 0")


def test_the_runner_refuses_a_lesson_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as left:
        run_lessons.main(["77"])
    assert left.value.code == 2 and "lesson 77: expected some of 1, 2, 3, " in capsys.readouterr().err


def test_french_typography_by_hand():
    plain = "Que vaut l'exactitude ? « Ceci » : 56 % de 10 000 images ; `a ? b` !\n"
    right = (
        "Que vaut l’exactitude\u202f? «\u00a0Ceci\u00a0»\u00a0: 56\u00a0% de 10\u202f000 images\u202f; `a ? b`\u202f!\n"
    )
    assert french.typeset(plain) == right and french.typeset(right) == right
    assert french.mistakes(plain) == [plain.rstrip("\n")] and not french.mistakes(right)
    assert french.mistakes("Pourquoi?\n") and french.mistakes("Voici: a\n") and french.mistakes("Ceci\n: cela\n")
    assert not french.mistakes("```\nwhy? a : b\n```\n[lien](a:b) à 16:9\n")


def test_precision_for_accuracy_is_found():
    assert wrong_precision("La précision sur le jeu de test.") and wrong_precision("Précision : 77 %")
    assert not wrong_precision("La précision numérique de bfloat16 ; l'option `précision`.")


def test_refreshing_changes_nothing_that_is_right(capsys):
    refresh_lessons.main(set())
    assert capsys.readouterr().out == ""
