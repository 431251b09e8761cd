"""A run is killed at every file operation, continued, and compared byte by byte with a run that nobody killed.

    python tests/run/kill_everywhere.py [EVERY]      at every EVERY-th operation [1]

A tiny run of the real loop, session, logs and checkpoints: only the network is replaced by two numbers, so that a
thousand runs take a minute. In a child process each file operation counts: making, opening, writing (in two halves),
flushing, closing, syncing, renaming, deleting. At operation n the child ends at once, as SIGKILL would end it: what
Python had not handed to the system is lost. Then the run is continued, or begun again if it left nothing, by a child
that is not killed. The same for a run that is killed while it is being resumed.
"""

import builtins
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np

import train_loop
from core.data.data_set import DataSet
from core.measure.evaluation import Evaluation
from core.run import checkpoints, logs, run_folder, start
from core.settings import command_line
from core.training import Training

EXACT = (logs.STEPS, logs.EPOCHS, logs.LAYERS, logs.PREDICTIONS)
ARGS = ("--recipe", "debug", "--data", "shapes10", "--batch-size", "10", "--epochs", "2", "--checkpoint-every", "2")
KILLED = 9


class Killer:
    """Ends the process at the n-th file operation; with n = 0 it only counts."""

    def __init__(self, n: int):
        self.n, self.count = n, 0

    def point(self) -> None:
        """One file operation."""
        self.count += 1
        if self.count == self.n:
            os._exit(KILLED)

    def before(self, function):
        """`function` with a point before each call."""

        def counted(*args, **kwargs):
            self.point()
            return function(*args, **kwargs)

        return counted

    def install(self) -> None:
        """Count every operation that changes files from here on."""
        real_open = builtins.open

        def counted_open(path, mode="r", *args, **kwargs):
            if set(mode) & set("wax+"):
                self.point()
            file = real_open(path, mode, *args, **kwargs)
            return TextFile(file, self) if mode in ("a", "w") else file

        builtins.open = counted_open
        for name in ("fsync", "replace", "rename", "mkdir", "rmdir", "unlink", "symlink"):
            setattr(os, name, self.before(getattr(os, name)))


class TextFile:
    """A text file whose buffer is written in two halves, with a point before, between and after them."""

    def __init__(self, file, killer: Killer):
        self.file, self.killer, self.waiting = file, killer, []

    def write(self, text: str) -> None:
        """Keep the text; a killed process loses it."""
        self.waiting.append(text)

    def writelines(self, lines) -> None:
        """Keep the lines."""
        self.waiting += lines

    def flush(self) -> None:
        """Hand the text to the system."""
        text = "".join(self.waiting)
        self.waiting.clear()
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            if half:
                self.killer.point()
                self.file.write(half)
                self.file.flush()
        self.killer.point()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


class Number:
    """One weight: what a checkpoint needs of a variable."""

    def __init__(self, value: float):
        self.value = np.array(value, np.float32)
        self.shape, self.dtype = (), types.SimpleNamespace(as_numpy_dtype=np.dtype(np.float32), name="float32")

    def numpy(self) -> np.ndarray:
        """The value."""
        return self.value

    def assign(self, value) -> None:
        """Another value."""
        self.value = np.array(value, np.float32)


class TinyTraining:
    """Two weights and a step that depends on both and on its number, instead of core.training.Training."""

    ends_epoch = Training.ends_epoch
    evaluates_after = Training.evaluates_after

    def __init__(self, settings, data):
        self.settings, self.data, self.total_steps = settings, data, 6
        self.state = {"conv1/kernel": Number(1.0), "velocity/conv1/kernel": Number(0.0)}
        self.initial_state = {name: variable.numpy() for name, variable in self.state.items()}
        self.batches = types.SimpleNamespace(
            steps_per_epoch=3, epoch=lambda step: (step - 1) // 3 + 1, images=[Number(0)], labels=Number(0),
            augmentation=len,
        )  # fmt: skip
        self.batches.images[0].value, self.batches.labels.value = data.train_images, data.train_labels
        self.layer_probe = types.SimpleNamespace(names=["conv1"])
        self.network = types.SimpleNamespace(
            parameter_count=1,
            flops=lambda: 1,
            architecture=[],
            replaced={},
            kernel_milliseconds={},
            summary=lambda: "tiny",
        )

    def step(self, step):
        """w <- w + v, v <- v / 2 + 1 / step."""
        weight, velocity = self.state.values()
        weight.assign(weight.value + velocity.value)
        velocity.assign(velocity.value / 2 + 1 / step)
        metrics = {"loss": 1 / step, "accuracy": 0.5, "learning_rate": 0.1, "gradient_norm": float(weight.value)}
        return metrics, {"gradient_norm": Number([float(weight.value)])}

    def trace_counts(self):
        """None: nothing is compiled."""
        return []


class TinyDiagnostics:
    """Rows of layers.csv that depend on the weights, instead of core.measure.diagnostics.Diagnostics."""

    def __init__(self, training, compiled):
        self.training, self.intervals = training, {"norms": 1}

    def set_intervals(self, intervals):
        """They never change."""

    def norms_due(self, step):
        """The one kernel is measured inside every step."""
        return True

    def at_start(self):
        """The untrained network."""
        return self.at_evaluation(0)

    def after_step(self, step, metrics):
        """One row a step."""
        return [(step, "network", "gain_ratio", 1 / step)]

    def at_evaluation(self, step):
        """One row an evaluation."""
        return [(step, "conv1", "activation_mean", float(self.training.state["conv1/kernel"].value))]

    def evaluation_quantities(self, step):
        """What an evaluation writes."""
        return ("activation_mean",)

    def report(self, seconds):
        """The last line of a run."""
        return "none"


def child(runs_dir: Path, args: tuple[str, ...], n: int = 0) -> tuple[int, int]:
    """Train in a forked process that is killed at operation n; (exit status, operations counted)."""
    reading, writing = os.pipe()
    if process := os.fork():
        os.close(writing)
        counted = b""
        while block := os.read(reading, 64):
            counted += block
        os.close(reading)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), int(counted or 0)
    killer = Killer(n)
    sys.stdout = open(os.devnull, "w")
    killer.install()
    invocation = command_line.parse(["--runs-dir", str(runs_dir), "--run", "it", *args])
    status = train_loop.main(invocation)
    os.write(writing, str(killer.count).encode())
    os._exit(status)


def prepare_tiny() -> None:
    """Replace what needs TensorFlow; everything that writes files stays the real thing."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, [30, 32, 32, 3], np.uint8), np.arange(30, dtype=np.int32) % 10
    names = tuple(f"class {k}" for k in range(10))
    data = DataSet("shapes10", names, images, labels, images, labels, fingerprint="tiny")
    start.load = lambda *args: data
    start.Diagnostics = TinyDiagnostics
    start.devices.configure = lambda *args: None
    start.devices.choose = lambda wanted, count: ("/CPU:0", "the CPU")
    start.devices.environment = lambda threads: {"threads": 1, "git_commit": None}
    start.replicas.placed_on = lambda count, device: open(os.devnull)
    train_loop.prepare = lambda settings, data, stored=None: TinyTraining(settings, data)
    train_loop.tf = types.SimpleNamespace(constant=int, errors=train_loop.tf.errors)

    def evaluate_epoch(training, session, step):
        result = Evaluation(1 / step, 0.5, float(training.state["conv1/kernel"].value) % 1, np.eye(10, dtype=np.int64))
        session.record_evaluation(step, train=result, test=result)

    train_loop.evaluate_epoch = evaluate_epoch


def fingerprint(runs_dir: Path) -> dict:
    """Everything of a finished run that must be the same: the bytes of the files, the state after the last step."""
    newest = checkpoints.newest(runs_dir / "it")
    files = {name: (runs_dir / "it" / name).read_bytes() for name in EXACT}
    timed = logs.read(runs_dir / "it", logs.TIMING)["step"].tolist()
    return files | {"step": newest.step, "timing": timed, **{k: v.tobytes() for k, v in newest.tensors.items()}}


def finished(runs_dir: Path) -> dict | str:
    """The fingerprint of the run after it has been continued to its end, or what went wrong."""
    began = (runs_dir / "it" / run_folder.CONFIG).is_file()
    status, _ = child(runs_dir, ("--resume",) if began else ARGS)
    return fingerprint(runs_dir) if status == 0 else f"exit status {status} when it was continued"


def main(every: int) -> int:
    """Kill, continue, compare; print the counts. Returns the number of kills after which something differs."""
    prepare_tiny()
    failures, kills = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary)
        status, operations = child(temporary / "whole", ARGS)
        assert status == 0, "the run that nobody kills must end well"
        expected = fingerprint(temporary / "whole")
        child(temporary / "half", (*ARGS, "--stop-at", "3"))
        shutil.copytree(temporary / "half", temporary / "resumed", symlinks=True)
        _, resumed_operations = child(temporary / "resumed", ("--resume",))
        for kind, count in (("run", operations), ("resume", resumed_operations)):
            for n in range(1, count + 1, every):
                runs_dir = temporary / f"{kind}-{n}"
                if kind == "resume":
                    shutil.copytree(temporary / "half", runs_dir, symlinks=True)
                status, _ = child(runs_dir, ARGS if kind == "run" else ("--resume",), n)
                assert status == KILLED, (kind, n, status)
                found = finished(runs_dir)
                kills += 1
                if found != expected:
                    what = found if isinstance(found, str) else [k for k in expected if found[k] != expected[k]]
                    failures.append(f"{kind} killed at operation {n} of {count}: {what}")
                shutil.rmtree(runs_dir)
    print(*failures, sep="\n")
    print(
        f"operations: {operations} of a run, {resumed_operations} of a resume; kills: {kills}; "
        f"not the same: {len(failures)}"
    )
    return len(failures)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
