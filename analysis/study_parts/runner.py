"""Trains what the table of a study lacks: the learning rates of a variant on the hold-out, then its final seeds.

What is to be trained next follows from the rows that are there (`missing`), so that a study continues after any stop.
"""

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path

import numpy as np

from analysis.study_parts import table
from analysis.study_parts.design import FARTHEST, TUNING_SEED, Study, Variant
from analysis.study_parts.table import FINAL, RATE, Row
from analysis.support import common
from core.run import run_folder
from core.run.errors import RunError

WORKER = "analysis/benchmarks/study_worker.py"
RUNS_A_WORKER = 25  # then a fresh process, so that memory does not grow with the study

Task = tuple[Variant, str, int, int]  # variant, purpose, seed, k


def accuracies(rows: list[Row], variant: Variant) -> dict[int, float]:
    """{k: hold-out accuracy} of the learning rates of a variant that were tried."""
    return {row.k: row.test_accuracy for row in rows if row.variant == variant.name and row.purpose == RATE}


def best_rate(tried: dict[int, float]) -> int:
    """The k with the highest hold-out accuracy; of equal ones the one nearest to the middle of the grid."""
    return max(tried, key=lambda k: (tried[k], -abs(k)))


def rates_to_try(study: Study, tried: dict[int, float]) -> list[int]:
    """The learning rates still to be tried: the first grid, then beyond an edge as long as the best lies there."""
    if first := [k for k in study.rates if k not in tried]:
        return first
    best = best_rate(tried)
    beyond = {min(tried): best - 1, max(tried): best + 1}.get(best)
    return [beyond] if len(study.rates) > 1 and beyond is not None and abs(beyond) <= FARTHEST else []


def missing(study: Study, rows: list[Row]) -> list[Task]:
    """What can be trained now, in the order of the design: a variant's seeds come after its rates."""
    there, tasks = {row.key for row in rows}, []
    for variant in study.variants:
        tried = accuracies(rows, variant)
        if rates := rates_to_try(study, tried):
            tasks += [(variant, RATE, TUNING_SEED, k) for k in rates]
        else:
            k = best_rate(tried)
            tasks += [(variant, FINAL, seed, k) for seed in study.seeds if (variant.name, FINAL, seed, k) not in there]
    return tasks


def runs_left(study: Study, rows: list[Row]) -> int:
    """How many runs the study still needs, each grid taken as large as it is so far."""
    tasks = missing(study, rows)
    waiting = {variant.name for variant, purpose, *_ in tasks if purpose == RATE}
    return len(tasks) + len(waiting) * len(study.seeds)


def command(arguments: list[str]) -> str:
    """The command that trains a run by itself."""
    return "python train_loop.py " + shlex.join(arguments)


class Worker:
    """A process that trains one run after the other (analysis/benchmarks/study_worker.py)."""

    def __init__(self, study: Study):
        self.study, self.process, self.count, self.hello = study, None, 0, None

    def start(self) -> dict:
        """Start the process; its first line: data set and versions. Raises RunError if it has no data or ends."""
        self.process = subprocess.Popen(
            [sys.executable, WORKER], cwd=table.PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C is for this process, which stops its workers
        )  # fmt: skip
        self.count = 0
        self.hello = self.ask(arguments=["--data", self.study.data])
        if "failed" in self.hello:
            raise RunError(self.hello["failed"])
        return self.hello

    def ask(self, **request) -> dict:
        """One line to the process, and its answer. Raises RunError if it has ended."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            raise RunError(f"{WORKER} ended; its message is above. What was trained is kept; start again") from None

    def train(self, arguments: list[str], folder: Path) -> dict:
        """Train one run; raises RunError with its last line if it fails."""
        if self.process is None or self.count == RUNS_A_WORKER:
            self.stop()
            self.start()
        self.count += 1
        result = self.ask(arguments=arguments, folder=str(folder.resolve()))
        if "failed" in result:
            raise RunError(f"{folder}: {result['failed']}")
        return result

    def stop(self) -> None:
        """Let the process end: at once, or after the step that it takes."""
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.terminate()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def run(study: Study, folder: Path, runs_dir: Path, jobs: int, same_code: bool = False) -> None:
    """Train everything that is missing, `jobs` runs at a time; one line for each. Raises RunError.

    same_code: first repeat some rows; if they have the same numbers, the study goes on with today's code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the workers are stopped too
    workers = [Worker(study) for _ in range(jobs)]
    with run_folder.held(folder), futures.ThreadPoolExecutor(jobs) as pool:
        try:
            hello = workers[0].start()
            table.check_same_study(folder, study, hello, any_code=same_code)
            if same_code:
                repeat(study, table.read(folder), runs_dir, workers[0])
                table.accept_code(folder)
            common.say(f"{study.name} on {hello['data']}: {len(table.read(folder))} runs are there, about "
                       f"{runs_left(study, table.read(folder))} to train, {jobs} at a time")  # fmt: skip
            train_missing(study, folder, runs_dir, pool, list(workers), hello)
        finally:
            for worker in workers:
                worker.stop()
            signal.signal(signal.SIGTERM, before)


def repeat(study: Study, rows: list[Row], runs_dir: Path, worker: Worker) -> None:
    """Train a final run of the base and of two variants again. Raises RunError if a digit differs."""
    first = {row.variant: row for row in reversed(rows) if row.purpose == FINAL}
    names = [variant.name for variant in study.variants if variant.name in first]
    for name in dict.fromkeys([*names[:2], *names[-1:]]):
        row = first[name]
        variant = next(v for v in study.variants if v.name == name)
        result = worker.train(variant.arguments(study, row.k, row.seed, True), runs_dir / f"{name}-again")
        if result.get("stopped"):
            raise KeyboardInterrupt
        for column in ("test_accuracy", "test_loss"):
            if (now := result["row"][column]) != getattr(row, column):
                raise RunError(
                    f"--same-code: {name} with seed {row.seed} had {column} {getattr(row, column)!r} and has {now!r} "
                    "with today's code on this machine; give another --out and train anew"
                )
        common.say(f"{name} with seed {row.seed}: the same numbers with today's code")


def train_missing(study, folder, runs_dir, pool, idle: list[Worker], hello: dict) -> None:
    """Keep every worker busy until nothing is missing."""
    rows, began, done, running = table.read(folder), time.monotonic(), 0, {}
    while True:
        busy = {task for _, task in running.values()}
        for task in [task for task in missing(study, rows) if task not in busy][: len(idle)]:
            worker, (variant, purpose, seed, k) = idle[0], task
            arguments = variant.arguments(study, k, seed, purpose == FINAL)
            name = f"{variant.name}-{purpose}-seed{seed}-rate{variant.rate_at(k):g}"
            running[pool.submit(worker.train, arguments, runs_dir / name)] = (idle.pop(0), task)
        if not running:
            return
        for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
            worker, task = running.pop(future)
            result = future.result()
            if result.get("stopped"):
                raise KeyboardInterrupt
            if result["data_fingerprint"] != hello["data_fingerprint"]:
                raise RunError(f"{runs_dir}: the data set has changed since the study began")
            rows.append(write(study, folder, task, result))
            idle.append(worker)
            done += 1
            left = runs_left(study, rows)
            report(rows[-1], len(rows), left, (time.monotonic() - began) / done * left)


def write(study: Study, folder: Path, task: Task, result: dict) -> Row:
    """Append a run to the files of the study: its epochs first, then its row."""
    variant, purpose, seed, k = task
    arguments = variant.arguments(study, k, seed, purpose == FINAL)
    facts = {
        "variant": variant.name, "purpose": purpose, "seed": seed, "k": k, "learning_rate": variant.rate_at(k),
        "settings": table.settings_fingerprint(variant.settings(study, k, seed, purpose == FINAL)),
        "command": command(arguments),
    }  # fmt: skip
    found = {name: float("nan") if value == "" else value for name, value in result["row"].items()}
    row = Row(**facts, **found)
    if purpose == FINAL:
        epochs = [[variant.name, seed, *(e[name] for name in table.EPOCH_COLUMNS[2:])] for e in result["epochs"]]
        table.append(folder / table.EPOCHS, table.EPOCH_COLUMNS, epochs)
    table.append(folder / table.RUNS, table.COLUMNS, [[getattr(row, name) for name in table.COLUMNS]])
    return row


def report(row: Row, done: int, left: int, seconds: float) -> None:
    """One line for a run that has ended."""
    where = "test" if row.purpose == FINAL else "hold-out"
    found = "diverged" if row.diverged else f"{100 * row.test_accuracy:.2f} %"
    after = f"{np.ceil(seconds / 60):.0f} min left" if left else "the last one"
    common.say(
        f"{row.variant:16} {row.purpose:5} seed {row.seed} rate {row.learning_rate:<7g} {where} {found:9} "
        f"{row.cpu_seconds:5.1f} s   {done} done, about {left} to go, {after}"
    )
