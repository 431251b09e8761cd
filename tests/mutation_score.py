"""The mutation score of core/: how many small mistakes, put into its lines at random, the tests notice.

    TMPDIR=/dev/shm python tests/mutation_score.py         300 mutants: twenty minutes on two cores, longer on a disk
    python tests/mutation_score.py --mutants 20 --seed 1   fewer, others

A mutant is one change of one expression or statement in a copy of the project: another operator, a number that is one
larger, a condition turned round, a statement left out. It is killed when one of the tests that mirror its file fails
or does not come to an end, and survives when all of them pass. Each result is a line of --out; started again, the
script goes on where it was stopped. The last lines are for docs/reference/reliability.md.
"""

import argparse
import ast
import collections
import copy
import json
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import forked

PROJECT = Path(__file__).resolve().parent.parent
COPIED = ("core", "analysis", "layers_explained", "tests", "docs", "train_loop.py", "pyproject.toml", "Makefile")
COPIED += ("README.md", "CHANGELOG.md")
OTHER_OPERATOR = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.UAdd: ast.USub, ast.USub: ast.UAdd,
}  # fmt: skip
NO_CODE = ("annotation", "returns")
# Where the tests of a file have another name than the file.
TESTS = {
    "core/build.py": ("test_model.py", "test_architecture.py", "speed/test_networks.py"),
    "core/training.py": ("test_train_loop.py", "run/test_session.py"),
    "core/data/data_set.py": ("data", "run/test_session.py"),
    "core/data/loading.py": ("data/test_cifar10.py", "data/test_shapes10.py"),
    "core/doctor.py": ("test_doctor.py",),
    "core/machine.py": ("test_doctor.py",),
    "core/model.py": ("test_model.py", "test_architecture.py"),
    "core/run/launch.py": ("run/test_workers.py",),
    "core/run/recovery.py": ("run/test_recovery.py", "run/test_resume.py"),
    "core/run/watchdog.py": ("run/test_workers.py",),
    "core/run/start.py": ("run/test_session.py", "run/test_resume.py"),
    "core/speed/networks.py": ("speed/test_networks.py", "test_architecture.py"),
    "core/variants.py": ("test_variants.py", "test_architecture.py"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: the text from `start` to `end` (offsets in the file) becomes `after`."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self):
        return f"{self.file}:{self.line}: {shortened(self.before)}  ->  {shortened(self.after)}"

    def source(self, text: str) -> str:
        """The text of the file with the change."""
        return text[: self.start] + self.after + text[self.end :]


def shortened(code: str) -> str:
    """One line of at most 60 characters."""
    line = " ".join(code.split())
    return line if len(line) <= 60 else line[:57] + "..."


def changes(node: ast.AST):
    """Every node that may stand in place of this one."""
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.UnaryOp)) and type(node.op) in OTHER_OPERATOR:
        yield changed(node, op=OTHER_OPERATOR[type(node.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    if isinstance(node, ast.Compare):
        yield changed(node, ops=[OTHER_OPERATOR[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield changed(node, value=not node.value)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield changed(node, value=node.value + 1)
    if isinstance(node, (ast.IfExp, ast.If, ast.While)):
        yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, (ast.AugAssign, ast.Raise)) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield, ast.YieldFrom))
    ):
        yield ast.Pass()
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(None)


def changed(node: ast.AST, **fields) -> ast.AST:
    """A copy of the node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a file, from its first line to its last."""
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    offsets = [sum(map(len, lines[:i])) for i in range(len(lines))]

    def offset(line: int, column: int) -> int:
        return offsets[line - 1] + len(lines[line - 1].encode()[:column].decode())

    found, file = [], path.relative_to(PROJECT).as_posix()
    for node in nodes(ast.parse(text)):
        for other in changes(node):
            if isinstance(node, (ast.If, ast.While)):  # of a whole block, the condition is what changes
                node, other = node.test, other.test
            start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
            after = ast.unparse(ast.fix_missing_locations(other))
            found.append(Mutant(file, node.lineno, start, end, text[start:end],
                                f"({after})" if isinstance(other, ast.expr) else after))  # fmt: skip
    return [one for one in found if compiles(one.source(text))]


def nodes(tree: ast.AST):
    """The nodes below this one, but for those inside f-strings and annotations, whose positions are not the text's."""
    for name, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if (
                isinstance(node, ast.AST)
                and not isinstance(node, ast.JoinedStr)
                and name not in ("annotation", "returns")
            ):
                yield node
                yield from nodes(node)


def compiles(source: str) -> bool:
    """Whether it is Python."""
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def tests_of(file: str) -> list[str]:
    """The tests that mirror a file of core/: of its name; without one, all those of its folder."""
    if file in TESTS:
        return [f"tests/{name}" for name in TESTS[file]]
    folder, name = Path("tests", *Path(file).parts[1:-1]), Path(file).stem
    mirror = folder / f"test_{name}.py"
    if (PROJECT / mirror).is_file():
        return [mirror.as_posix()]
    return [folder.as_posix()] if folder != Path("tests") else ["tests/test_train_loop.py", "tests/test_model.py"]


def copied_project(folder: Path) -> Path:
    """The project in this folder; data/ is only pointed to."""
    folder.mkdir(exist_ok=True)
    for name in COPIED:
        of_project = PROJECT / name
        copy_it = shutil.copytree if of_project.is_dir() else shutil.copy
        copy_it(of_project, folder / name)
    (folder / "data").symlink_to(PROJECT / "data")
    return folder


def tested(project: Path, tests: list[str], seconds: float) -> tuple[str, str, float]:
    """(passed, failed or endless, the test that failed, the seconds that it took)."""
    args = [*tests, "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    began = time.monotonic()
    if forked.AVAILABLE:
        process = forked.Process([str(Path(pytest.__file__).with_name("__main__.py")), *args], cwd=project)
    else:
        process = subprocess.Popen([sys.executable, "-m", "pytest", *args], cwd=project, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return "endless", "", seconds
    failed = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "failed" if process.returncode else "passed", shortened(" ".join(failed[:1])), time.monotonic() - began


def judge(mutant: Mutant, project: Path, usual: dict) -> dict:
    """The mutant and what became of it. usual: {tests: seconds of the unchanged project}, which this fills."""
    tests = tuple(tests_of(mutant.file))
    if tests not in usual:
        outcome, failed, usual[tests] = tested(project, list(tests), 1800)
        if outcome != "passed":
            sys.exit(f"mutation_score.py: the tests of {mutant.file} fail without a mutant: {failed or outcome}")
    path = project / mutant.file
    text = path.read_text()
    path.write_text(mutant.source(text))
    outcome, by, _ = tested(project, list(tests), 60 + 5 * usual[tests])
    path.write_text(text)
    return asdict(mutant) | {"killed": outcome != "passed", "by": by or outcome}


def report(results: list[dict], seed: int) -> str:
    """The score, the survivors by file and line; Markdown."""
    killed = [result["killed"] for result in results]
    score, n = sum(killed) / len(killed), len(killed)
    lines = [f"{sum(killed)} of {n} mutants killed (seed {seed}): {100 * score:.1f} % ± "
             f"{100 * (score * (1 - score) / n) ** 0.5:.1f} (standard error)."]  # fmt: skip
    names = [f.name for f in Mutant.__dataclass_fields__.values()]
    survivors = [Mutant(*(result[name] for name in names)) for result in results if not result["killed"]]
    lines += [f"- `{one}`" for one in sorted(survivors, key=lambda one: (one.file, one.line))]
    of_file = collections.Counter(one.file for one in survivors)
    return "\n".join([*lines, *(f"{count} in {file}" for file, count in of_file.most_common(5) if count > 1)])


def main(args) -> int:
    """Draw the mutants, judge those that have no result yet, print the report."""
    everything = [mutant for path in sorted((PROJECT / "core").rglob("*.py")) for mutant in mutants_of(path)]
    drawn = random.Random(args.seed).sample(everything, min(args.mutants, len(everything)))
    print(f"{len(drawn)} of {len(everything)} mutants of core/, seed {args.seed}; results in {args.out}", flush=True)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    results = {(r["file"], r["start"], r["after"]): r for r in map(json.loads, lines)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open(args.out, "a") as out:
        projects = queue.SimpleQueue()
        for number in range(args.processes):
            projects.put(copied_project(Path(folder) / str(number)))
        usual = {}

        def result_of(mutant: Mutant) -> dict:
            key = mutant.file, mutant.start, mutant.after
            if key in results:
                return results[key]
            project = projects.get()
            try:
                return judge(mutant, project, usual)
            finally:
                projects.put(project)

        with ThreadPoolExecutor(args.processes) as threads:
            judged = []
            for number, (mutant, result) in enumerate(zip(drawn, threads.map(result_of, drawn)), start=1):
                if (mutant.file, mutant.start, mutant.after) not in results:
                    out.write(json.dumps(result) + "\n")
                    out.flush()
                judged.append(result)
                print(f"{number:4} {'killed  ' if result['killed'] else 'SURVIVES'} {mutant}", flush=True)
    print("\n" + report(judged, args.seed))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--mutants", type=int, default=300, metavar="N", help="how many [300]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which ones [0]")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="how many at a time [2]")
    parser.add_argument("--out", type=Path, default=PROJECT / "runs" / "mutants.jsonl", metavar="FILE",
                        help="a line for each result [runs/mutants.jsonl]")  # fmt: skip
    sys.exit(main(parser.parse_args()))
