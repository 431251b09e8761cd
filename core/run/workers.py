"""Several processes train together, each on its rows of every batch. $TF_CONFIG says who they are:

    {"cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]}, "task": {"type": "worker", "index": 0}}

All of them run the same program with the same options. Worker 0 has the run folder and the terminal; it chooses what
depends on the machine. The others work in a temporary folder, which begins as a copy of what worker 0 resumes.
core/run/launch.py starts them.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from core import devices
from core.run import checkpoints, logs, run_folder, terminal
from core.run.errors import WorkerError
from core.run.signals import StopRequest
from core.run.watchdog import missing
from core.settings.settings import option, shown

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds that a worker waits for the others to start
GRACE = 20  # seconds that TensorFlow gets to end its connections before the process is ended
AGREE_EVERY = 10  # steps between two questions whether somebody was asked to stop
MAY_DIFFER = ("data_dir", "threads", "device", "keep_checkpoints")  # settings that may differ between workers


@dataclass(frozen=True)
class Cluster:
    """All workers by their addresses host:port, and which of them this process is."""

    addresses: tuple[str, ...]
    index: int


def from_environment() -> Cluster | None:
    """The workers of $TF_CONFIG; None when there is at most one. Raises WorkerError for what cannot be used."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
        addresses = config.get("cluster", {}).get("worker", [])
        kind, index = config.get("task", {}).get("type", "worker"), config.get("task", {}).get("index", 0)
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not 0 < int(port) < 65536 or addresses.count(address) > 1:
                raise ValueError(address)
        known = type(index) is int and 0 <= index < max(len(addresses), 1)
        if set(config.get("cluster", {})) - {"worker"} or kind != "worker" or not known:
            raise ValueError(text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise WorkerError(
            f"$TF_CONFIG {shown(text)[:200]}: expected "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; '
            "`python -m core.run.launch --hosts A B` prints it"
        ) from None
    return Cluster(tuple(addresses), index) if len(addresses) > 1 else None


@contextlib.contextmanager
def joined(invocation):
    """The invocation as all workers agree on it, for as long as they train; the same one in a process by itself.

    Raises WorkerError when a worker does not come, was started differently, or is gone.
    """
    cluster = from_environment()
    if cluster is None:
        yield invocation
        return
    from core import replicas

    terminal.silent = cluster.index > 0
    check_options(invocation, len(cluster.addresses))
    devices.configure(invocation.settings.threads)
    if invocation.settings.device == "cpu":
        devices.import_tensorflow().config.set_visible_devices([], "GPU")
    wait_for_all(cluster, replicas.connect)
    try:
        with replicas.connected.scope(), tempfile.TemporaryDirectory(prefix="glassbox-worker-") as own_folder:
            check_same(started_with(invocation))
            yield as_worker_0_decides(cluster, invocation, Path(own_folder))
            leave_together()
    except Exception as error:
        if not is_lost_connection(error):
            raise
        raise WorkerError(
            f"{missing(cluster.addresses)} does not answer any more ({first_line(error)}); see its terminal first; "
            "what was saved before is undamaged: start all again with --resume"
        ) from None
    finally:
        end_within(GRACE)


def leave_together() -> None:
    """Wait for the others, who may still need numbers of this worker; one of them may be a moment ahead and gone."""
    from core import replicas

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        replicas.exchanged(b"finished")
    except Exception as error:
        if not is_lost_connection(error):
            raise


def check_options(invocation, count: int) -> None:
    """Raise WorkerError for what one process alone can do, or does not fit `count` workers."""
    if "devices" in invocation.given and invocation.settings.devices != count:
        raise WorkerError(f"--devices {invocation.settings.devices}: {count} workers are started; leave it out")
    if invocation.settings.device.startswith("gpu:"):
        raise WorkerError(
            f"--device {invocation.settings.device}: a worker takes all GPUs that it sees; use $CUDA_VISIBLE_DEVICES"
        )
    if invocation.pdb:
        raise WorkerError("--pdb: the debugger stops one process and the others wait; use --devices N without workers")
    if invocation.settings.diagnostics_budget:
        raise WorkerError("--diagnostics-budget: several workers would measure several costs; use --diagnostics")


def wait_for_all(cluster: Cluster, connect) -> None:
    """Call connect(), which blocks until every worker is there; the watchdog ends this process after PATIENCE seconds.

    Meanwhile no Python runs here, no handler of a signal either: Ctrl-C ends the process.
    """
    command = [sys.executable, "-m", "core.run.watchdog", str(os.getpid()), str(PATIENCE), *cluster.addresses]
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    watchdog = subprocess.Popen(command, cwd=ROOT)
    held_back = {signal.SIGTERM} if hasattr(signal, "pthread_sigmask") else set()
    if held_back:  # TensorFlow would take it and do nothing
        signal.pthread_sigmask(signal.SIG_BLOCK, held_back)
    try:
        connect()
    except Exception as error:
        here = cluster.addresses[cluster.index]
        raise WorkerError(
            f"cannot connect to the other workers: {first_line(error)}; is the port of {here} in use on this machine?"
        ) from None
    finally:
        watchdog.kill()
        watchdog.wait()
        signal.signal(signal.SIGINT, before)
        if held_back:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held_back)


def check_same(mine: dict[str, str]) -> None:
    """Raise WorkerError unless every worker gives the same facts {what: value}; all of them call this."""
    from core import replicas

    if not replicas.connected:
        return
    theirs = [json.loads(message) for message in replicas.exchanged(json.dumps(mine).encode())]
    for index, facts in enumerate(theirs):
        for what in sorted(set(facts) | set(theirs[0])):
            here, there = (of.get(what, "not given") for of in (theirs[0], facts))
            if here != there:
                raise WorkerError(
                    f"worker 0 has {what} {shown(here)}, worker {index} has {shown(there)}: expected the same on all"
                )


def started_with(invocation) -> dict[str, str]:
    """{what: value} of everything that has to be the same on all workers when they start."""
    import numpy as np
    import tensorflow as tf

    settings = dataclasses.asdict(invocation.settings)
    own = {option(name): str(value) for name, value in settings.items() if name not in MAY_DIFFER}
    run = {"--run": invocation.run, "--resume": str(invocation.resume), "--stop-at": str(invocation.stop_at)}
    return own | run | {"TensorFlow": tf.__version__, "NumPy": np.__version__, "program files": program_fingerprint()}


def program_fingerprint() -> str:
    """A short hash of train_loop.py and all of core/."""
    files = [ROOT / "train_loop.py", *sorted((ROOT / "core").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def as_worker_0_decides(cluster: Cluster, invocation, own_folder: Path):
    """The invocation with what worker 0 chose and, on the others, their own copy of the run that is resumed."""
    from core import replicas

    decisions = {}
    if cluster.index == 0:
        try:
            decisions = worker_0_decides(invocation)
        except terminal.EXPECTED_ERRORS as error:
            replicas.from_first(packed({"refusal": str(error).encode()}))
            raise
    decisions = unpacked(replicas.from_first(packed(decisions)))
    if "refusal" in decisions:
        raise WorkerError(f"worker 0: {decisions['refusal'].decode()}")
    count, settings = replicas.in_all(), invocation.settings
    settings = dataclasses.replace(settings, devices=count)
    if not invocation.resume:  # a run that is resumed has made these choices
        kernels = "fast" if settings.kernels == "auto" and not settings.eager else settings.kernels
        settings = dataclasses.replace(settings, precision=decisions["precision"].decode(), kernels=kernels)
        if problems := settings.problems():
            raise WorkerError(f"{len(cluster.addresses)} workers: {problems[0]}")
    given = (*invocation.given, "devices", "threads")  # both as they are here, also if the run was begun with others
    invocation = dataclasses.replace(invocation, settings=settings, given=given)
    if cluster.index == 0:
        return invocation
    run = decisions["run"].decode()
    for name, content in decisions.items():
        if name.startswith(f"{run}/"):
            (own_folder / name).parent.mkdir(parents=True, exist_ok=True)
            (own_folder / name).write_bytes(content)
    return dataclasses.replace(invocation, runs_dir=own_folder, run=run)


def worker_0_decides(invocation) -> dict[str, bytes]:
    """{name: content} for the others: the precision, the name of a run that is resumed, and its files."""
    settings = invocation.settings
    device, _ = devices.choose(settings.device)
    decisions = {"precision": devices.choose_precision(settings.precision, device)[0].encode(), "run": b""}
    if not invocation.resume:
        run_folder.check_free(invocation.runs_dir, invocation.run)
        return decisions
    folder = run_folder.find(invocation.run or None, invocation.runs_dir)
    wanted = [folder / name for name in (run_folder.CONFIG, *logs.COLUMNS)]
    if checkpoints.newest_first(folder):
        wanted += checkpoints.newest(folder).path.iterdir()
    files = {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in wanted if path.exists()
    }
    return decisions | {"run": folder.name.encode()} | files


def packed(contents: dict[str, bytes]) -> bytes:
    """{name: content} as a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return archive.getvalue()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """What `packed` packed."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def first_line(error: Exception) -> str:
    """The first line of what TensorFlow says, or the kind of the error."""
    return str(error).partition("\n")[0][:160] or type(error).__name__


def is_lost_connection(error: Exception) -> bool:
    """Whether TensorFlow reports that it waited for numbers of a worker that did not send them."""
    import tensorflow as tf

    kinds = ("Unavailable", "Aborted", "Cancelled", "DeadlineExceeded", "Internal", "FailedPrecondition")
    return isinstance(error, tuple(getattr(tf.errors, f"{kind}Error") for kind in kinds))


def end_within(seconds: int) -> None:
    """End this process after so many seconds, whatever TensorFlow still waits for."""
    if hasattr(signal, "alarm"):
        sys.stdout.flush()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


class SharedStop(StopRequest):
    """A StopRequest of all workers: a signal to any of them stops all after the same step."""

    def __init__(self):
        super().__init__()
        self.noted: str | None = None  # the signal that came to this process

    def asked(self, step: int) -> str | None:
        """The signal to stop at after this step; the workers ask each other every AGREE_EVERY steps."""
        from core import replicas

        if step % AGREE_EVERY == 0 and not self.signal:
            self.signal = next((name for name in replicas.exchanged((self.noted or "").encode()) if name), b"").decode()
        return self.signal or None

    def note(self, number, frame):
        """The signal handler."""
        if self.noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
