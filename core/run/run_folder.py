"""The folder of a run: how it is made, found, locked by one process, described in config.json, and read again.

    runs/NAME/config.json    every setting, resolved, and what else decides the bits
              steps.csv, epochs.csv, layers.csv, predictions.csv, timing.csv      core/run/logs.py
              checkpoints/                                                       core/run/checkpoints.py

Reading it does not need TensorFlow.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import time
from pathlib import Path

from core.run import old_names, schema
from core.run.errors import RunError
from core.settings.settings import Settings

CONFIG = "config.json"
LATEST = "latest"
LOCK = ".lock"
# On a resume; everything else would make it another run.
MAY_CHANGE = ("data_dir", "keep_checkpoints", "epochs", "device", "devices", "threads")
# Parts of config.json that identity() reduces to their SHA-256: {its name for it: the field}.
DIGESTS = {"architecture": "architecture", "chosen_kernels": "kernels", "intervals": "diagnostics"}


def check_free(runs_dir: Path, name: str) -> None:
    """Raise RunError if a run of this name is there, which would be overwritten, or if `latest` is not a link.

    A folder without config.json and without rows belongs to a run that was killed before it began; it is free.
    """
    folder, latest = runs_dir / name, runs_dir / LATEST
    if latest.is_dir() and not latest.is_symlink():
        raise RunError(f"{latest}: it is a folder, where the link to the newest run should be; rename or remove it")
    if name and folder.exists() and not never_began(folder):
        if not (folder / CONFIG).exists():
            raise RunError(f"--run {name}: {folder} exists and is no run (it has no {CONFIG}); choose another name")
        raise RunError(f"--run {name}: {folder} exists; choose another name, or continue it with --resume")


def never_began(folder: Path) -> bool:
    """Whether this is what a run leaves that was killed between making its folder and writing config.json."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK, f"{CONFIG}.partial"}


def create(runs_dir: Path, name: str, given: bool = True) -> Path:
    """Make the folder of a new run. Raises RunError if the name is taken or the folder cannot be made.

    given: whether somebody chose the name. If not, a number behind it tells runs of the same second apart.
    """
    folder = runs_dir / name
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        if given:
            check_free(runs_dir, name)
            folder.mkdir(exist_ok=True)
            return folder
        for number in itertools.count(2):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
            folder = runs_dir / f"{name}-{number}"
    except OSError as error:
        raise RunError(f"--runs-dir {runs_dir}: cannot make {folder} ({error.strerror}); name another place") from None


def name_for(given: str, recipe: str, data) -> str:
    """The name of a new run: the one that was given, or <recipe>-<date>-<time>.

    A run on shapes10 says so in its name, unless a name was given together with that data set.
    """
    drawn = data.name == "shapes10"
    if given:
        return f"{given}-shapes10" if drawn and data.notice else given
    return f"{recipe}-shapes10-{timestamp()}" if drawn else f"{recipe}-{timestamp()}"


def timestamp() -> str:
    """Now, as it stands in the name of a run: 20260131-235959."""
    return time.strftime("%Y%m%d-%H%M%S")


def point_latest(runs_dir: Path, name: str) -> None:
    """Let runs/latest mean this run: a link, or a file with its name where the system has no links."""
    latest, fresh = runs_dir / LATEST, runs_dir / f".{LATEST}-{os.getpid()}"
    try:
        fresh.symlink_to(name, target_is_directory=True)
    except OSError:
        fresh.write_text(name)
    os.replace(fresh, latest)


def find(name: str | None, runs_dir: Path = Path("runs")) -> Path:
    """The folder of a run: by its name in runs_dir, by its path, or the latest for None. Raises RunError."""
    runs_dir = Path(runs_dir)
    if name in (None, LATEST):
        latest = runs_dir / LATEST
        if latest.is_file():
            latest = runs_dir / latest.read_text(errors="replace").strip()
        elif latest.is_symlink():  # one link is followed: the run itself may be another
            latest = runs_dir / latest.readlink()
        if not (latest / CONFIG).is_file():
            raise RunError(no_latest(runs_dir, latest))
        return latest
    # A run that fell back on the built-in data has -shapes10 behind the name it was given.
    for folder in (runs_dir / name, Path(name), runs_dir / f"{name}-shapes10"):
        if (folder / CONFIG).is_file():
            return folder if folder.name.strip(".") else Path(os.path.abspath(folder))  # of `.` the name
    there = sorted(path.parent.name for path in runs_dir.glob(f"*/{CONFIG}") if path.parent.name != LATEST)
    known = f"; {runs_dir} holds {', '.join(there[-5:])}" if there else f"; {runs_dir} holds no run yet"
    raise RunError(f"{name}: no such run (a folder with a {CONFIG}){known}")


def no_latest(runs_dir: Path, latest: Path) -> str:
    """Why there is no latest run, and what to do. latest: where it should be, runs/latest itself if that is missing."""
    configs = [path for path in runs_dir.glob(f"*/{CONFIG}") if path.parent.name != LATEST]
    if not configs:
        return f"{runs_dir}: no run there yet; train one with `python train_loop.py` or `make train`"
    newest = sorted(configs, key=lambda path: path.stat().st_mtime, reverse=True)[:5]
    if latest.name == LATEST:
        found = "is missing"
    else:
        found = f"points to '{latest.name}', which {f'has no {CONFIG}' if latest.exists() else 'is gone'}"
    return f"{runs_dir / LATEST} {found}; name one of: {', '.join(path.parent.name for path in newest)}"


def write_config(folder: Path, config: dict) -> None:
    """Write config.json, whole or not at all."""
    partial = folder / f"{CONFIG}.partial"
    with open(partial, "w") as file:
        file.write(json.dumps(config, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CONFIG)


def read_config(folder: Path) -> dict:
    """The content of config.json, in today's names. Raises RunError when it cannot be read."""
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path}: missing; a run folder has a {CONFIG}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: not the description of a run ({error}); was it edited or cut short?") from None
    schema.check_config(path, config)
    return old_names.renamed_config(config)


def describe(folder: Path, settings: Settings, data, network, statistics: dict) -> dict:
    """What config.json says of a new run. The settings are resolved: resuming reads them and nothing else.

    statistics: the data set statistics (core/data/data_set.py) of the images as the loop uses them.
    """
    return {
        "run": folder.name,
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "settings": dataclasses.asdict(settings) | {"data": data.name},
        "data": {
            "name": data.name,
            "title": data.title,
            "fingerprint": data.fingerprint,
            "train_images": len(data.train_images),
            "test_images": len(data.test_images),
            "class_names": list(data.class_names),
            **statistics,
        },
        "precision": settings.precision,
        "parameter_count": network.parameter_count,
        "forward_flops_per_image": network.flops(),
        "architecture": network.architecture,
        "kernels": network.replaced,
        "kernel_milliseconds": network.kernel_milliseconds,
    }


def identity(config: dict) -> dict[str, object]:
    """What makes a run this one and no other: {name: value}, of the parts in DIGESTS their SHA-256.

    config: the content of config.json. The settings that may change on a resume are left out.
    """
    chosen = {name: value for name, value in config["settings"].items() if name not in MAY_CHANGE}
    if not epochs_may_follow(config["settings"]):
        chosen["epochs"] = config["settings"].get("epochs")
    chosen["fingerprint"] = config["data"].get("fingerprint", "")
    for name, part in DIGESTS.items():
        chosen[name] = hashlib.sha256(json.dumps(config.get(part), sort_keys=True).encode()).hexdigest()
    return chosen


@contextlib.contextmanager
def held(folder: Path):
    """Lock the run folder for this process; RunError, naming the holder, if another process trains in it.

    The system releases the lock when the process ends, however it ends: a kill leaves nothing to clean up.
    """
    with open(folder / LOCK, "a+") as lock:
        try:
            _lock(lock)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise RunError(
                f"{folder}: {holder} is training in it; wait for it, stop it, or use another --run"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


def _lock(file) -> None:
    """Take an exclusive lock that ends with the process. OSError when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(1 << 20)  # a byte behind the text, which the refused process can still read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def epochs_may_follow(settings: dict) -> bool:
    """Whether more epochs leave the steps before them as they are: at a constant learning rate, nothing averaged."""
    return (settings.get("warmup"), settings.get("final_rate"), settings.get("weight_average", 0)) == (0, 1, 0)
