"""TensorFlow's start-up: without its log lines, on the device and with the threads that were asked for.

`import_tensorflow()` comes before any other `import tensorflow` of the process, because
TensorFlow reads its environment and writes to standard error while it is being imported.
"""

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.processor import processor_flags, processor_name
from core.settings.settings import WITHOUT_BATCH_NORM


class DeviceError(Exception):
    """A device that was asked for and is not there; the message says what was found and what to do."""


@contextlib.contextmanager
def standard_error_hidden():
    """Point file descriptor 2 at a file while the body runs; if the body raises, print what it caught.

    TensorFlow's libraries write start-up lines before their own logger, and its level, exist: no
    environment variable silences those.
    """
    sys.stderr.flush()
    with file_for_messages() as caught:
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(terminal, 2)
            caught.seek(0)
            sys.stderr.write(caught.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def file_for_messages():
    """A file for messages that nobody may need: a temporary one, or nowhere if there is no place for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


def import_tensorflow():
    """Import TensorFlow silently and return it; with $TF_CPP_MIN_LOG_LEVEL=0 in the environment, with its log lines."""
    if "tensorflow" not in sys.modules and os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0":
        with standard_error_hidden():
            import tensorflow
    import tensorflow

    return tensorflow


def choose_micro_batches(settings) -> int:
    """How many micro-batches pass the convolutions side by side (core/speed/micro_batches.py).

    What was asked for; for 0, two where processors do the work: a GPU is busy with one, and --eager runs one operation
    after the other. With batch norm they change what is computed, and no machine may choose them: one.
    """
    if settings.micro_batches:
        return settings.micro_batches
    if settings.devices > 1:
        return settings.devices
    gpus = import_tensorflow().config.list_physical_devices("GPU")
    on_processors = settings.device == "cpu" or (settings.device == "auto" and not gpus)
    possible = settings.network in WITHOUT_BATCH_NORM and on_processors and not settings.eager
    return 2 if possible and settings.kernels != "textbook" and (settings.threads or os.cpu_count()) > 1 else 1


def choose_kernels(settings) -> str:
    """What was asked for; for auto, `textbook` with --eager, so that a debugger stops in the textbook's lines."""
    return "textbook" if settings.kernels == "auto" and settings.eager else settings.kernels


def configure(threads: int, micro_batches: int = 1, devices: int = 1) -> None:
    """Set threads and determinism; to be called once, before the first operation.

    threads: how many work at once; 0 means every processor. With one micro-batch they divide each operation among
    themselves (a convolution is split over them), with more each micro-batch has its part of them. Deterministic
    operations make two runs with one seed write the same bytes and cost nothing measurable on the CPU
    (docs/results.md). Soft placement lets the few operations that a GPU lacks run on the CPU. devices: the processor
    becomes so many, for a run on several without GPUs.
    """
    tf = import_tensorflow()
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(max((threads or os.cpu_count()) // micro_batches, 1))
    tf.config.experimental.enable_op_determinism()
    tf.config.set_soft_device_placement(True)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    [processor] = tf.config.list_physical_devices("CPU")
    if devices > len(tf.config.get_logical_device_configuration(processor) or [None]):
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)


def choose(wanted: str, count: int = 1) -> tuple[str, str]:
    """(device for tf.device, a sentence for the person) for auto, cpu, gpu or gpu:K; the first of `count` devices.

    Raises DeviceError when a GPU was named and there is none: somebody who asks for a GPU should
    not find out an hour later that the CPU did the work.
    """
    tf = import_tensorflow()
    gpus = tf.config.list_logical_devices("GPU")
    if count > 1 and (wanted == "cpu" or (wanted == "auto" and len(gpus) < count)):
        return "/CPU:0", f"{count} parts of the CPU, a rehearsal for {count} GPUs"
    if count > 1 and (wanted not in ("auto", "gpu") or len(gpus) < count):
        raise DeviceError(
            f"--device {wanted} --devices {count}: TensorFlow finds {len(gpus)} GPUs on this machine; with "
            f"--device cpu the processor is divided into {count} devices"
        )
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return "/CPU:0", "the CPU" + ("" if gpus or wanted == "cpu" else " (no GPU found)")
    index = int(wanted.partition(":")[2] or 0)
    if index >= len(gpus):
        raise DeviceError(
            f"--device {wanted}: TensorFlow finds {len(gpus)} GPUs on this machine; use --device cpu, or see what "
            "`nvidia-smi` says and run `make setup` again after installing a driver"
        )
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[index])
    return f"/GPU:{index}", details.get("device_name", f"GPU {index}")


def choose_precision(wanted: str, device: str) -> tuple[str, str]:
    """(float32 or bfloat16, the reason in words) for auto, float32 or bfloat16.

    auto is bfloat16 on a GPU that has it (compute capability 8.0 and above), and on a processor
    that has instructions for it (AVX512_BF16 or AMX) if a measurement agrees: some have the
    instructions and are slower with them.
    """
    if wanted != "auto":
        return wanted, "as asked for"
    if device.startswith("/GPU"):
        tf = import_tensorflow()
        gpu = tf.config.list_physical_devices("GPU")[int(device.partition(":")[2])]
        major, minor = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        can = "multiplies bfloat16 natively" if major >= 8 else "has no instructions for bfloat16"
        return "bfloat16" if major >= 8 else "float32", f"a GPU of compute capability {major}.{minor} {can}"
    if not {"avx512_bf16", "amx_bf16"} & processor_flags():
        return "float32", "this processor has no instructions for bfloat16"
    tf = import_tensorflow()
    with tf.device(device):
        seconds = convolution_seconds("float32", "bfloat16")
    ratio = seconds["float32"] / seconds["bfloat16"]
    return "bfloat16" if ratio > 1.1 else "float32", f"a convolution in bfloat16 takes 1/{ratio:.1f} of float32's time"


def convolution_seconds(*precisions: str, repeats: int = 15) -> dict[str, float]:
    """{precision: seconds of one convolution, forward and backward}: the shortest of several, taken in turn.

    The shortest, because whatever else the machine does can only make one longer.
    """
    tf = import_tensorflow()

    def work(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return [tf.reduce_max(g) for g in tape.gradient(y, [x, kernel])]

    compiled = tf.function(work, autograph=False)
    given = {p: (tf.ones([128, 16, 16, 64], p), tf.ones([3, 3, 64, 64], p)) for p in precisions}

    def timed(precision):
        began = time.perf_counter()
        [g.numpy() for g in compiled(*given[precision])]
        return time.perf_counter() - began

    rounds = [{p: timed(p) for p in precisions} for _ in range(1 + repeats)][1:]  # the first one traces
    return {p: min(one[p] for one in rounds) for p in precisions}


def environment(threads: int) -> dict:
    """What else decides the bits of a run: versions, processor, threads, commit. Goes into config.json."""
    import numpy as np

    tf = import_tensorflow()
    return {
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor_name(),
        "threads": threads or os.cpu_count(),
        "deterministic_operations": True,
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of this checkout, with '+' when files differ from it; None outside a git checkout."""
    folder = Path(__file__).parent

    def git(*args):
        return subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
