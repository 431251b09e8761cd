"""The house: a train_loop.py that is read in one sitting, arrows that point down, no circle, no long file."""

import ast
from pathlib import Path

import pytest
import readers_measure

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("core", "layers_explained", "analysis")
FILES = [
    Path("train_loop.py"),
    *sorted(p.relative_to(PROJECT) for room in ROOMS for p in (PROJECT / room).rglob("*.py")),
]


# What a reader meets first.

MEASURE = readers_measure.measure((PROJECT / "train_loop.py").read_text())


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("lines", 230),
        ("train_step parameters", 3),
        ("train_step lines", 25),
        ("train_step ends at line", 75),  # the first screen
        ("train lines", 40),
        ("identifiers before the first update in train_step", 33),
        ("identifiers before the first step in train", 11),
    ],
)
def test_train_loop_stays_short(what, limit):
    assert MEASURE[what] <= limit


def test_a_fifth_of_train_loop_says_why():
    assert MEASURE["comment share"] >= 0.2


SMALL_LOOP = '''"""A loop."""


def train_step(training, step):
    """One step."""
    images, labels = training.batches.batch(step)  # uint8
    gradient = slope(images, labels, scale=2.0)
    for weight in range(3):
        weight.assign_add(gradient)
    return never.counted(gradient)


def train(training, session):
    for step in session.steps():
        training.step(step)
        session.record(step)
'''


def test_the_measure_by_hand():
    measured = readers_measure.measure(SMALL_LOOP)
    # training step images labels batches batch gradient slope scale weight assign_add; range is Python's own
    assert measured["identifiers before the first update in train_step"] == 11
    # training session step steps
    assert measured["identifiers before the first step in train"] == 4
    assert measured["comment share"] == 3 / 12  # the two docstrings and one comment
    assert (measured["lines"], measured["train_step lines"], measured["train_step ends at line"]) == (16, 7, 10)
    assert (measured["train_step parameters"], measured["train lines"]) == (2, 4)


def test_the_measure_can_be_printed(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["readers_measure.py"])
    readers_measure.main()
    printed = capsys.readouterr().out
    assert all(what in printed for what in MEASURE) and printed.count("\n") == len(MEASURE)


# Who imports whom.


def module_of(file: Path) -> str:
    """core.run.logs for core/run/logs.py; core.run for core/run/__init__.py."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file) for file in FILES}


def imports(file: Path, only_at_start: bool = False) -> set[str]:
    """The modules of this project that a file imports; only_at_start: not those inside functions."""
    tree = ast.parse((PROJECT / file).read_text())
    inside = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    found = set()
    for node in ast.walk(tree):
        if only_at_start and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & MODULES - {module_of(file)}


def test_there_is_no_import_circle():
    """A package's __init__ that collects its modules counts as those modules."""
    arrows = {module_of(file): imports(file, only_at_start=True) for file in FILES}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for other in sorted(arrows[module]):
                if not module.startswith(f"{other}."):  # a module names its own package to import its neighbours
                    visit(other)
            done.add(path.pop())

    for module in sorted(arrows):
        visit(module)


def importers(of: str, among: str) -> set[str]:
    """The files below `among` that import `of` or something in it."""
    return {
        str(file)
        for file in FILES
        if str(file).startswith(among) and any(module == of or module.startswith(f"{of}.") for module in imports(file))
    }


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("core/", "analysis"),
        ("core/", "layers_explained"),
        ("core/", "train_loop"),
        ("layers_explained/", "analysis"),
        ("layers_explained/", "train_loop"),
        ("train_loop.py", "analysis"),
        ("train_loop.py", "layers_explained"),
        ("core/layers/", "core.speed"),
        ("core/layers/", "core.model"),
        ("core/layers/", "core.run"),
        ("core/data/", "core.layers"),
        ("core/settings/", "core.run"),
        ("core/settings/", "core.data"),
        ("core/speed/", "core.run"),
    ],
)
def test_arrows_point_down(below, above):
    assert importers(above, below) == set()


def test_only_what_trains_imports_train_loop():
    allowed = ("analysis/replay.py", "analysis/benchmarks/", "analysis/diagnosis/")
    found = importers("train_loop", "analysis/")
    assert "analysis/replay.py" in found
    assert {file for file in found if not file.startswith(allowed)} == set()


def test_the_settings_need_neither_tensorflow_nor_numpy():
    for file in (file for file in FILES if str(file).startswith("core/settings/")):
        for node in ast.walk(ast.parse((PROJECT / file).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"tensorflow", "numpy", "tf"}, file


def test_no_file_is_long():
    """A file is read in one sitting."""
    lines = {str(file): (PROJECT / file).read_text().count("\n") for file in FILES}
    assert {file: count for file, count in lines.items() if count > 300} == {}


def test_a_layer_has_one_name_in_every_room():
    """core/layers/convolution.py, layers_explained/convolution.py, tests/layers/test_convolution.py."""
    base = ("__init__", "layer")
    layers = {path.stem for path in (PROJECT / "core/layers").glob("*.py")} - set(base)
    explained = {path.stem for path in (PROJECT / "layers_explained").glob("*.py")}
    tested = {path.stem.removeprefix("test_") for path in (PROJECT / "tests/layers").glob("test_*.py")}
    assert layers <= explained and layers <= tested


def test_every_faster_implementation_has_its_test():
    speed = {path.stem for path in (PROJECT / "core/speed").glob("*.py")} - {"__init__"}
    tested = {path.stem.removeprefix("test_") for path in (PROJECT / "tests/speed").glob("test_*.py")}
    assert speed == tested
