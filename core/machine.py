"""What is found on a machine, for core/doctor.py: Python, packages, processor, memory, disk, data, browser.

The standard library is enough, so that it works before `make setup` and with a Python that is too old for the project.
TensorFlow is tried in a process of its own, because an import that crashes takes its process along.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from core.processor import processor_flags

PROJECT = Path(__file__).resolve().parent.parent
REQUIRED = (PROJECT / "pyproject.toml").read_text("utf-8")
PYTHONS = tuple(map(int, re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', REQUIRED).groups()))  # 3.11 up to 3.14
TENSORFLOW = re.search(r'"tensorflow>=([\d.]+),', REQUIRED)[1]
PATIENCE = 120  # seconds: the first start after an installation reads a gigabyte from the disk
ILLEGAL_INSTRUCTION = (-4, 132, 0xC000001D)  # a signal, the same by way of a shell, and Windows' number
BROWSERS = ("firefox", "google-chrome", "chromium", "chromium-browser", "microsoft-edge", "brave-browser", "epiphany")
TEST_BROWSERS, TEST_DRIVER = ("chromium", "chromium-browser", "google-chrome"), "chromedriver"


@dataclass(frozen=True)
class Facts:
    """What was found. `packages` is what `with_packages` returns, or {"missing": names} or {"problem": why}."""

    python: tuple = (3, 11, 0)
    bits: int = 64
    system: str = "Linux"
    ensurepip: bool = True
    wheels: bool = False  # a folder wheels/ of an offline kit
    packages: dict = field(default_factory=dict)
    onednn_setting: str = ""  # $TF_ENABLE_ONEDNN_OPTS
    processor_flags: frozenset = frozenset()
    cores: int = 2
    memory: float | None = None  # bytes that programs can still have; None where the system does not say
    driver: bool = False  # NVIDIA's
    data_files: bool = False
    disk: float = 1e11  # bytes
    writable: bool = True
    browser: bool = True
    test_browser: bool = True


def measured() -> Facts:
    """The facts of this machine."""
    return Facts(
        python=sys.version_info[:3],
        bits=64 if sys.maxsize > 2**32 else 32,
        system=platform.system(),
        ensurepip=importlib.util.find_spec("ensurepip") is not None,
        wheels=any(PROJECT.glob("wheels/*.whl")),
        packages=in_own_process() if fits(sys.version_info) else {"missing": "tensorflow"},
        onednn_setting=os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
        processor_flags=processor_flags(),
        cores=core_count(),
        memory=free_memory(),
        driver=shutil.which("nvidia-smi") is not None,
        data_files=(PROJECT / "data" / "cifar-10-batches-bin").is_dir(),
        disk=shutil.disk_usage(str(PROJECT)).free,
        writable=os.access(str(PROJECT), os.W_OK),
        browser=platform.system() in ("Darwin", "Windows") or any(map(shutil.which, BROWSERS)),
        test_browser=bool(any(map(shutil.which, TEST_BROWSERS)) and shutil.which(TEST_DRIVER)),
    )


def fits(version) -> bool:
    """Whether the project takes a Python of this version, (3, 11, ...)."""
    return (3, PYTHONS[0]) <= tuple(version[:2]) < (3, PYTHONS[1])


def in_own_process() -> dict:
    """What `with_packages` finds, or why it found nothing."""
    command = [sys.executable, "-c", "from core import machine; machine.print_with_packages()"]
    try:
        done = subprocess.run(command, cwd=str(PROJECT), capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"problem": f"its import takes more than {PATIENCE} s: try again when the machine is quiet"}
    return what_came_back(done.returncode, done.stdout, done.stderr)


def what_came_back(status: int, out: str, err: str) -> dict:
    """The dictionary that the process printed on its last line; else {"problem": what ended it}."""
    with contextlib.suppress(ValueError, IndexError):
        return json.loads(out.strip().splitlines()[-1])
    if status in ILLEGAL_INSTRUCTION:
        return {"problem": "its import ends with an illegal instruction: this processor (or virtual machine) has no "
                "AVX, which TensorFlow's packages need; take another machine"}  # fmt: skip
    last = ([line.strip() for line in err.splitlines() if line.strip()] or ["nothing printed"])[-1]
    return {"problem": f"its import fails (exit status {status}: {last[:200]}): delete .venv and make setup again"}


def print_with_packages() -> None:
    """One line of JSON, for `in_own_process`."""
    print(json.dumps(with_packages()))


def with_packages() -> dict:
    """What only the installed packages can say: TensorFlow's version, seconds, oneDNN, GPUs, and what the data is."""
    missing = [name for name in ("tensorflow", "numpy", "matplotlib", "tqdm") if not importlib.util.find_spec(name)]
    if missing:
        return {"missing": ", ".join(missing)}
    from core.devices import import_tensorflow

    began = time.perf_counter()
    tf = import_tensorflow()
    seconds = time.perf_counter() - began
    from tensorflow.python.util import _pywrap_util_port

    gpus = [tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices("GPU")]  # fmt: skip
    onednn = bool(_pywrap_util_port.IsMklEnabled())
    return {"tensorflow": tf.__version__, "seconds": seconds, "onednn": onednn, "gpus": gpus, "data": data_found()}


def data_found() -> dict:
    """{"folder": "" where there is none, "origin": as in core/data/cifar10.py}, or {"problem": what is damaged}."""
    from core.data.cifar10 import find_cifar10, read_cifar10
    from core.data.data_set import DataError

    try:
        folder = find_cifar10("")
        return {"folder": str(folder or ""), "origin": read_cifar10(folder).origin if folder else ""}
    except (DataError, OSError) as error:
        return {"problem": str(error)}


def core_count() -> int:
    """The processor cores that this process may use: of the machine, of its affinity, and of a container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(round(int(quota) / int(period)), 1))
    return count


def free_memory() -> float | None:
    """Bytes that programs can still have: Linux, in a container too; elsewhere all of the memory, or None."""
    found = []
    with contextlib.suppress(OSError, TypeError):  # no such file, no such line
        found.append(1024 * int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1]))
    with contextlib.suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup")
        found.append(int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text()))
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found) if found else None
