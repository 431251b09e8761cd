"""What a document names exists: files, links, functions, commands with their options; and it stays short."""

import json
import re
import shlex
import tomllib

import pytest
from documents import PROJECT, code_blocks, code_spans, defines, documents, makefile_scripts, named, options_of

from core.settings.recipes import RECIPES

HISTORY = "CHANGELOG.md"  # names what is gone
LINES = {"README.md": 180, "docs/results.md": 130, "docs/speed.md": 180}
PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*\w\.(?:py|md|csv|png|json)|[\w-]+\.(?:py|md)")
WRITTEN_BY_A_RUN = ("runs/", "checkpoints/", "figures/")
EVERY = pytest.mark.parametrize("path", [path for path in documents()[1:]], ids=named)


@EVERY
def test_links_resolve(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), f"{named(path)} links to {target}, which is not there"
        if heading:
            headings = [re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-")
                        for line in re.findall(r"^#+ (.*)", linked.read_text(), re.MULTILINE)]  # fmt: skip
            assert heading in headings, f"{named(path)} links to {target}: no such heading"


@EVERY
def test_named_files_and_functions_exist(path):
    if named(path) == HISTORY:
        return
    for span in code_spans(path):
        if reference := re.fullmatch(r"([\w/.]+\.py):([A-Za-z_.]+)", span):
            file, name = PROJECT / reference[1], reference[2]
            assert file.is_file(), f"{named(path)}: `{span}`: no such file"
            assert defines(file, name), f"{named(path)}: `{span}`: {reference[1]} defines no {name}"
        elif PATH.fullmatch(span) and "NAME" not in span and not span.startswith(WRITTEN_BY_A_RUN):
            near = (PROJECT / span, path.parent / span, *(PROJECT.glob(f"*/{span}")), *(PROJECT.glob(f"*/*/{span}")))
            assert any(candidate.exists() for candidate in near), f"{named(path)}: `{span}`: no such file"


def test_a_reference_that_is_wrong_is_found():
    assert defines(PROJECT / "train_loop.py", "train_step")
    assert defines(PROJECT / "core/model.py", "CNN.summary")
    assert not defines(PROJECT / "core/model.py", "CNN.absent") and not defines(PROJECT / "core/model.py", "absent")


def commands(path) -> list[list[str]]:
    """The commands of a document as lists of arguments, the first one a script of ours or "make"."""
    candidates = [*code_spans(path), *code_blocks(path)]
    found = []
    for line in candidates:
        line = re.sub(r"^(\$ |.*\]\$ )", "", line.strip()).split("   ")[0]
        if not re.match(r"(\S*python3? |make( |$)|train_loop\.py |analysis/)", line):
            continue
        args = shlex.split(line, comments=True)
        if args and args[0].endswith(("python", "python3")):
            args = args[1:]
        if args and (args[0] == "make" or args[0].endswith(".py")):
            found.append(args)
    return found


def unknown_options(args: list[str]) -> list[str]:
    """What a command names that is not there: a script, a target of the Makefile, a recipe, options."""
    script, rest = args[0], args[1:]
    if script == "make":
        targets = [word for word in rest if re.fullmatch(r"[a-z-]+", word)] or ["help"]
        if targets[0] not in makefile_scripts():
            return [f"make {targets[0]}"]
        inside = [word.partition("=")[2] for word in rest if word.startswith("ARGS=")]
        script = makefile_scripts()[targets[0]][:1]  # none: the arguments go to pytest
        return [name for text in inside for name in script and unknown_options([*script, *shlex.split(text)])]
    if not (PROJECT / script).is_file():
        return [script]
    wrong, nested = [], []
    for word, following in zip(rest, [*rest[1:], ""]):
        option, _, value = word.partition("=")
        if option.startswith("--") and option not in options_of(script):
            wrong.append(f"{script} {option}")
        if option == "--also":
            nested += shlex.split(value or following)
        if option == "--recipe" and following not in RECIPES:
            wrong.append(f"--recipe {following}")
    return wrong + [name for name in nested if name.startswith("--") and name not in options_of("train_loop.py")]


@EVERY
def test_commands_name_scripts_and_options_that_exist(path):
    for args in commands(path):
        assert not unknown_options(args), f"{named(path)}: {' '.join(args)}"


def test_a_command_that_is_wrong_is_found():
    assert not unknown_options(["train_loop.py", "--recipe", "debug", "--pdb"])
    assert unknown_options(["train_loop.py", "--recipe", "absent"]) and unknown_options(["train_loop.py", "--absent"])
    assert unknown_options(["make", "absent"]) and unknown_options(["make", "train", "ARGS=--absent 1"])
    assert unknown_options(["analysis/curves.py", "--resume"]) and unknown_options(["analysis/absent.py"])
    assert len(commands(PROJECT / "README.md")) > 12


@EVERY
def test_options_that_stand_alone_exist(path):
    if named(path) == HISTORY:
        return
    patterns = ("analysis/*.py", "analysis/*/*.py", "docs/*.py", "core/run/launch.py")
    scripts = [named(script) for pattern in patterns for script in PROJECT.glob(pattern)]
    known = set().union(options_of("train_loop.py"), *map(options_of, scripts), *map(options_of, walkthroughs()))
    for span in code_spans(path):
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span) if span.startswith("--") else ():
            assert option in known, f"{named(path)}: `{span}`: no script has {option}"


def walkthroughs() -> list[str]:
    """The scripts of layers_explained/."""
    return [named(path) for path in PROJECT.glob("layers_explained/*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("name", LINES)
def test_documents_stay_short(name):
    count = len((PROJECT / name).read_text().splitlines())
    assert count <= LINES[name], f"{name} has {count} lines, at most {LINES[name]}"


def test_the_reading_path_is_an_afternoon():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (?:\[`([\w/.]+)`\]\S+ )?\|", (PROJECT / "README.md").read_text(), re.M)
    *files, (minutes, lines, _) = rows
    actual = {name: len((PROJECT / name).read_text().splitlines()) for _, _, name in files}
    right = ", ".join(f"{name} {count}" for name, count in actual.items())
    assert len(files) > 4 and sum(actual.values()) <= 700, f"at most 700 lines in an afternoon, found {right}"
    for _, count, name in files:
        assert abs(int(count) - actual[name]) <= 0.1 * actual[name], f"README.md: line counts are {right}"
    assert int(minutes) == sum(int(row[0]) for row in files) and int(lines) == sum(int(row[1]) for row in files)


def table_of_recipes(name: str) -> dict[str, tuple[str, str]]:
    """{recipe: (minutes, accuracy)} of the first table with these columns in a document."""
    rows = [
        line.strip("| ").split(" | ") for line in (PROJECT / name).read_text().splitlines() if line.startswith("| ")
    ]
    heads = [i for i, row in enumerate(rows) if "minutes" in row and any("test accuracy" in cell for cell in row)]
    head = rows[heads[0]]
    minutes = head.index("minutes")
    accuracy = next(i for i, cell in enumerate(head) if cell.startswith("test accuracy"))
    found = {}
    for row in rows[heads[0] + 1 :]:
        if (recipe := re.match(r"`(\w+)`", row[0])) and recipe[1] in RECIPES and len(row) >= len(head) - 1:
            found.setdefault(recipe[1], (row[minutes], row[accuracy]))
    return found


def test_the_readme_has_the_figures_of_the_results():
    results = table_of_recipes("docs/results.md")
    assert set(results) == set(RECIPES) - {"debug"}
    assert table_of_recipes("README.md") == results


def test_the_editor_starts_what_is_there():
    text = (PROJECT / ".vscode" / "launch.json").read_text()
    configurations = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))["configurations"]
    programs = [c["program"].removeprefix("${workspaceFolder}/") for c in configurations]
    assert programs == ["train_loop.py", "train_loop.py", "${file}"]
    for configuration in configurations[:2]:
        assert not unknown_options(["train_loop.py", *configuration["args"]])


def test_the_container_has_a_python_that_the_project_takes():
    text = (PROJECT / ".devcontainer" / "devcontainer.json").read_text()
    container = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    minor = int(re.fullmatch(r"\S+/python:3\.(\d+)", container["image"])[1])
    assert re.fullmatch(r">=3\.\d+,<3\.\d+", wanted)
    low, high = map(int, re.findall(r"3\.(\d+)", wanted))
    assert low <= minor < high and container["postCreateCommand"].removeprefix("make ") in makefile_scripts()


def test_the_citation_has_the_version_of_the_project():
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (PROJECT / "CITATION.cff").read_text()
