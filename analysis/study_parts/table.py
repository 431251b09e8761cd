"""The files of a study: one row a run in runs.csv, its epochs in epochs.csv, what all rows share in study.json.

A row is appended and flushed when its run has ended, its epochs before it: a kill loses the runs in progress. Floats
are written so that they read back exactly. Rows of another data set, recipe or version of the code are refused.
"""

import ast
import csv
import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from analysis.study_parts.design import Study
from core.run.errors import RunError

RUNS, EPOCHS, FACTS, EXPECTATIONS = "runs.csv", "epochs.csv", "study.json", "expectations.csv"
FINAL, RATE = "final", "rate"
PROJECT = Path(__file__).resolve().parents[2]
# The code that decides the numbers of a run.
COMPUTES = ("train_loop.py", "core/*.py", "core/layers/*.py", "core/data/*.py", "core/speed/*.py",
            "core/measure/evaluation.py")  # fmt: skip
NOT_COMPUTING = ("core/devices.py", "core/architecture.py", "core/speed/measured_kernels.py", "core/data/cifar10.py")


@dataclass(frozen=True)
class Row:
    """One run. Purpose "rate": on the hold-out, to choose the learning rate; "final": on the test set."""

    variant: str
    purpose: str
    seed: int
    k: int  # the learning rate is the k-th of the variant's grid
    learning_rate: float
    steps: int
    train_loss: float  # in evaluation mode, nats
    train_accuracy: float
    test_loss: float  # of the hold-out for purpose "rate"
    test_accuracy: float
    diverged: int  # 1: its loss was no longer a number; the accuracy is chance level
    cpu_seconds: float  # of the processor, evaluations included: what else the machine does makes no difference
    seconds: float  # that passed during the steps
    step_ms: float  # median
    parameters: int
    flops: int  # of one image's forward pass
    gradient_ratio: float  # see analysis/benchmarks/study_worker.py:mechanism; NaN if not measured
    signal_ratio: float
    sparsity: float
    dead_channels: float
    settings: str  # fingerprint of the resolved settings, seed and rate included
    command: str  # what gives the same numbers again

    @property
    def key(self) -> tuple:
        """Which run this is."""
        return self.variant, self.purpose, self.seed, self.k


COLUMNS = tuple(field.name for field in fields(Row))
KINDS = {field.name: field.type for field in fields(Row)}
EPOCH_COLUMNS = ("variant", "seed", "epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def text_of(path: Path) -> str:
    """A file of a study; a spreadsheet puts a byte order mark before it. Raises RunError when it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RunError(f"{path}: not UTF-8 text; was it edited? save it as CSV UTF-8, or restore it") from None


def read(folder: Path, name: str = RUNS) -> list[Row]:
    """The rows of a study; without a file none. A torn last line is left out; RunError for any other damage."""
    path = folder / name
    if not path.is_file():
        return []
    text = text_of(path)
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines:
        return []
    if lines[0] != ",".join(COLUMNS):
        raise RunError(
            f"{path} line 1: expected {','.join(COLUMNS)[:60]}..., found {lines[0][:60]!r}; another version?"
        )
    rows = {}
    reader = csv.reader(lines[1:])
    for number in range(2, len(lines) + 1):
        try:
            cells = next(reader, None)
            if cells is None:  # quotation marks made one row of several lines
                break
            row = Row(*(KINDS[name](cell) for name, cell in zip(COLUMNS, cells, strict=True)))
        except (ValueError, csv.Error) as error:
            raise RunError(f"{path} line {number}: not a row of a study ({error}); was it edited?") from None
        if row.key in rows:
            raise RunError(
                f"{path} line {number}: {' '.join(map(str, row.key))} is there twice; delete one of the rows"
            )
        rows[row.key] = row
    return list(rows.values())


def read_epochs(folder: Path) -> dict[tuple[str, int], list[dict]]:
    """{(variant, seed): its evaluations} of the final runs; of a run that was repeated, the last.

    Raises RunError for a file that is no CSV.
    """
    path, found = folder / EPOCHS, {}
    if not path.is_file():
        return found
    try:
        for cells in csv.DictReader(text_of(path).splitlines()):
            try:
                row = {name: float(cells[name]) for name in EPOCH_COLUMNS[1:]}
                key = cells["variant"], int(row["seed"])
            except (KeyError, TypeError, ValueError, OverflowError):
                continue  # torn
            rows = found.setdefault(key, [])
            if rows and row["step"] <= rows[-1]["step"]:
                rows.clear()
            rows.append(row)
    except csv.Error as error:
        raise RunError(f"{path}: not a CSV file any more ({error}); was it edited?") from None
    return found


def append(path: Path, columns: tuple, rows: list[list]) -> None:
    """Add rows to a CSV file, which gets its header first; flushed to the disk."""
    mend(path)
    with open(path, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(columns)
        writer.writerows([[repr(c) if isinstance(c, float) else c for c in row] for row in rows])
        file.flush()
        os.fsync(file.fileno())


def mend(path: Path) -> None:
    """Cut off a last line without its end, which a kill left."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with open(path, "r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def check_same_study(folder: Path, study: Study, hello: dict, any_code: bool = False) -> None:
    """Write study.json for a new study; RunError if the rows in `folder` are of other data, recipe or code.

    hello: the first line of a worker, with the data set and the versions. any_code: the code is checked otherwise.
    """
    facts = {
        "study": study.name, "data": hello["data"], "data_fingerprint": hello["data_fingerprint"],
        "base": " ".join(study.base_options), "code": code_fingerprint(), "seeds": list(study.seeds),
    }  # fmt: skip
    path = folder / FACTS
    if read(folder):
        stored = read_facts(folder)
        for name, what in (("data_fingerprint", "data set"), ("base", "recipe"), ("seeds", "recipe"), ("code", "code")):
            if stored.get(name) != facts[name] and not (name == "code" and any_code):
                way_out = "see --same-code, or give another --out" if name == "code" else "give another --out"
                raise RunError(
                    f"{folder}: its rows are of another {what} ({name} {short(stored.get(name))}, now "
                    f"{short(facts[name])}); {way_out}, or go back to what they were trained with"
                )
        for row in read(folder):
            check_same_recipe(folder, study, row)
    else:
        environment = {key: hello[key] for key in ("tensorflow", "numpy", "python", "processor", "threads")}
        path.write_text(json.dumps(facts | environment, indent=2) + "\n")


def read_facts(folder: Path) -> dict:
    """study.json: what all rows share. Raises RunError when it cannot be read."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text())
        facts["data"], facts["code"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: expected the facts that {RUNS} beside it was trained with ({error!r})") from None
    return facts


def accept_code(folder: Path) -> None:
    """Note in study.json that today's code gives the same numbers as the code of the rows."""
    facts = read_facts(folder)
    if facts["code"] != code_fingerprint():
        facts["same_numbers_from"] = [*facts.get("same_numbers_from", []), facts["code"]]
        facts["code"] = code_fingerprint()
        (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n")


def check_same_recipe(folder: Path, study: Study, row: Row) -> None:
    """RunError unless a row is one that the design has, with the same settings."""
    variant = next((v for v in study.variants if v.name == row.variant), None)
    if variant is None:
        raise RunError(f"{folder / RUNS}: variant '{row.variant}' is not in the design; give another --out")
    expected = settings_fingerprint(variant.settings(study, row.k, row.seed, row.purpose == FINAL))
    if row.settings != expected:
        raise RunError(
            f"{folder / RUNS}: {row.variant} seed {row.seed} has other settings than the design (fingerprint "
            f"{row.settings}, now {expected}); give another --out"
        )


def settings_fingerprint(settings) -> str:
    """Twelve digits of SHA-256 over the settings that are not the defaults of Settings."""
    different = {f.name: getattr(settings, f.name) for f in fields(settings) if getattr(settings, f.name) != f.default}
    return hashlib.sha256(json.dumps(different, sort_keys=True).encode()).hexdigest()[:12]


def code_fingerprint(project: Path = PROJECT) -> str:
    """Twelve digits of SHA-256 over the code that decides the numbers of a run, without comments and docstrings."""
    digest = hashlib.sha256()
    files = sorted({path for pattern in COMPUTES for path in project.glob(pattern)})
    for path in files:
        name = path.relative_to(project).as_posix()
        if name not in NOT_COMPUTING:
            digest.update(f"{name}\n{without_docstrings(path.read_text())}\n".encode())
    return digest.hexdigest()[:12]


def without_docstrings(source: str) -> str:
    """The same code as ast.unparse writes it: without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def short(value) -> str:
    """A value in an error message."""
    text = str(value)
    return text if len(text) <= 24 else text[:21] + "..."
