import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from core import devices, processor
from core.devices import DeviceError, choose, configure, standard_error_hidden  # before the fixture one_process
from core.settings.command_line import parse

PROJECT = Path(__file__).resolve().parent.parent


def python(code: str, **environment) -> subprocess.CompletedProcess:
    """Run these lines in a Python of their own, in whose environment TensorFlow's log level is not set."""
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=inherited | environment, capture_output=True, text=True
    )


def test_tensorflow_starts_without_a_line():
    started = python("from core.devices import import_tensorflow; print(import_tensorflow().__version__)")
    assert started.returncode == 0
    assert started.stderr == "" and started.stdout.strip() == tf.__version__


def test_a_tensorflow_that_cannot_be_imported_says_why(tmp_path):
    """A library that writes to standard error and fails: what was hidden is shown."""
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'libsomething.so: not found\\n')\nraise ImportError('broken')\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from core.devices import import_tensorflow as f; f()"
    broken = python(code)
    assert broken.returncode == 1
    assert "libsomething.so: not found" in broken.stderr and "ImportError: broken" in broken.stderr


@pytest.mark.parametrize(
    ("environment", "shown"),
    [({}, ""), ({"TF_CPP_MIN_LOG_LEVEL": "1"}, ""), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "a log line\n")],
    ids=str,
)
def test_log_lines_of_the_import_are_shown_to_who_asks_for_them(tmp_path, environment, shown):
    """And a level that was set stays as it is."""
    (tmp_path / "tensorflow.py").write_text("import os\nos.write(2, b'a log line\\n')\n")
    code = (
        f"import os, sys; sys.path.insert(0, {str(tmp_path)!r}); from core.devices import import_tensorflow as f\n"
        "print(f().__name__, f() is sys.modules['tensorflow'], os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    started = python(code, **environment)
    assert (started.stdout.split()[:2], started.stderr) == (["tensorflow", "True"], shown)
    assert started.stdout.split()[2] == environment.get("TF_CPP_MIN_LOG_LEVEL", "3")


def test_what_is_written_meanwhile_is_hidden_and_the_terminal_comes_back(capfd):
    with standard_error_hidden():
        os.write(2, b"noise\n")
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_it_is_hidden_where_no_temporary_file_can_be_made(capfd, monkeypatch):
    """The only disk is full, or all but the runs can only be read."""
    monkeypatch.setattr(devices.tempfile, "TemporaryFile", lambda: (_ for _ in ()).throw(FileNotFoundError("none")))
    with standard_error_hidden():
        os.write(2, b"noise\n")
    with pytest.raises(OSError, match="body"), standard_error_hidden():
        raise OSError("body")
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_on_a_failure_everything_is_shown(capfd):
    with pytest.raises(OSError, match="body"), standard_error_hidden():
        os.write(2, b"the reason\n")
        raise OSError("body")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "the reason\nafter\n"


@pytest.fixture
def gpus(monkeypatch):
    """gpus(n): from now on TensorFlow finds n of them."""

    def pretend(count):
        names = [f"GPU{k}" for k in range(count)]
        for function in ("list_logical_devices", "list_physical_devices"):
            monkeypatch.setattr(tf.config, function, lambda kind: names if kind == "GPU" else [])
        monkeypatch.setattr(
            tf.config.experimental, "get_device_details", lambda device: {"device_name": f"a graphics card, {device}"}
        )

    return pretend


@pytest.mark.parametrize(
    ("count", "wanted", "device", "sentence"),
    [
        (0, "auto", "/CPU:0", "the CPU (no GPU found)"),
        (0, "cpu", "/CPU:0", "the CPU"),
        (2, "cpu", "/CPU:0", "the CPU"),
        (1, "auto", "/GPU:0", "a graphics card, GPU0"),
        (2, "gpu", "/GPU:0", "a graphics card, GPU0"),
        (2, "gpu:1", "/GPU:1", "a graphics card, GPU1"),
    ],
)
def test_the_device_that_is_chosen(gpus, count, wanted, device, sentence):
    gpus(count)
    assert choose(wanted) == (device, sentence)


@pytest.mark.parametrize(("count", "wanted"), [(0, "gpu"), (0, "gpu:0"), (1, "gpu:1"), (2, "gpu:7")])
def test_a_gpu_that_is_not_there_is_an_error(gpus, count, wanted):
    gpus(count)
    with pytest.raises(DeviceError, match=rf"--device {wanted}: TensorFlow finds {count} GPU.*--device cpu"):
        choose(wanted)


@pytest.mark.parametrize(
    ("found", "wanted", "device", "sentence"),
    [
        (0, "auto", "/CPU:0", "2 parts of the CPU, a rehearsal for 2 GPUs"),
        (1, "auto", "/CPU:0", "2 parts of the CPU, a rehearsal for 2 GPUs"),
        (2, "cpu", "/CPU:0", "2 parts of the CPU, a rehearsal for 2 GPUs"),
        (2, "auto", "/GPU:0", "a graphics card, GPU0"),
        (2, "gpu", "/GPU:0", "a graphics card, GPU0"),
    ],
)
def test_the_first_of_two_devices(gpus, found, wanted, device, sentence):
    gpus(found)
    assert choose(wanted, count=2) == (device, sentence)


@pytest.mark.parametrize(("found", "wanted"), [(0, "gpu"), (1, "gpu"), (2, "gpu:1")])
def test_two_gpus_that_are_not_there_are_an_error(gpus, found, wanted):
    gpus(found)
    with pytest.raises(
        DeviceError,
        match=rf"--device {wanted} --devices 2: TensorFlow finds {found} GPUs .* processor is divided into 2 devices$",
    ):
        choose(wanted, count=2)


def test_a_processor_is_divided_into_devices_once():
    code = (
        "from core import devices; tf = devices.import_tensorflow()\n"
        "devices.configure(1, devices=2); devices.configure(1, devices=2); devices.configure(1)\n"
        "print(len(tf.config.list_logical_devices('CPU')))"
    )
    assert python(code).stdout.split() == ["2"]


def test_a_run_is_deterministic_and_its_micro_batches_divide_the_threads():
    """(threads, micro-batches) -> threads of one operation, operations at once."""
    code = (
        "from core import devices; tf = devices.import_tensorflow(); t = tf.config.threading\n"
        "for given in ((1, 1), (4, 1), (4, 2), (1, 2), (5, 2), (6,)):\n"
        "    devices.configure(*given)\n"
        "    print(*given, t.get_intra_op_parallelism_threads(), t.get_inter_op_parallelism_threads())\n"
        "from tensorflow.python.framework import config\n"
        "print(tf.config.get_soft_device_placement(), config.is_op_determinism_enabled())\n"
        "print(len(tf.config.list_logical_devices('CPU')))"
    )
    threads = ["1 1 1 1", "4 1 4 4", "4 2 2 4", "1 2 1 1", "5 2 2 5", "6 6 6"]
    assert python(code).stdout.splitlines() == [*threads, "True True", "1"]


def test_every_gpu_gives_only_the_memory_that_is_needed(monkeypatch):
    """So that two runs fit on one; and the threads are all that there are when no number is named."""
    set_to, config = [], tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["0", "1"] if kind == "GPU" else ["the CPU"])
    monkeypatch.setattr(config, "get_logical_device_configuration", lambda processor: None)
    monkeypatch.setattr(config.experimental, "set_memory_growth", lambda gpu, growth: set_to.append((gpu, growth)))
    for kind in ("inter", "intra"):
        function = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(config.threading, function, lambda number, kind=kind: set_to.append((kind, number)))
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    configure(0, micro_batches=2)
    assert set_to == [("inter", 0), ("intra", 3), ("0", True), ("1", True)]


@pytest.mark.parametrize(
    ("args", "kernels"),
    [
        ([], "auto"),
        (["--eager"], "textbook"),
        (["--kernels", "fast"], "fast"),
        (["--kernels", "fast", "--eager"], "fast"),
        (["--kernels", "textbook"], "textbook"),
    ],
    ids=str,
)
def test_a_debugger_stops_in_the_lines_of_the_textbook(args, kernels):
    assert devices.choose_kernels(parse(args).settings) == kernels


@pytest.mark.parametrize(
    ("gpus_found", "args", "micro_batches"),
    [
        (0, [], 2),
        (0, ["--micro-batches", "3"], 3),
        (0, ["--micro-batches", "1"], 1),
        (0, ["--eager"], 1),
        (0, ["--threads", "1"], 1),
        (0, ["--kernels", "textbook"], 1),
        (0, ["--recipe", "modern"], 1),
        (0, ["--recipe", "modern", "--micro-batches", "2"], 2),
        (1, [], 1),
        (1, ["--device", "cpu"], 2),
        (1, ["--device", "gpu"], 1),
        (0, ["--devices", "2"], 2),
        (0, ["--devices", "2", "--eager"], 2),
        (0, ["--devices", "4"], 4),
        (0, ["--devices", "2", "--micro-batches", "4"], 4),
        (0, ["--threads", "2"], 2),
    ],
)
def test_two_micro_batches_where_they_pay(gpus, monkeypatch, gpus_found, args, micro_batches):
    gpus(gpus_found)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert devices.choose_micro_batches(parse(args).settings) == micro_batches


def test_the_environment_can_be_written_down():
    found = devices.environment(threads=3)
    assert json.loads(json.dumps(found)) == found
    assert found["tensorflow"] == tf.__version__ and found["threads"] == 3
    assert devices.environment(threads=0)["threads"] == os.cpu_count()
    assert found["git_commit"] is None or len(found["git_commit"].rstrip("+")) == 40
    assert found["deterministic_operations"] is True and found["processor"] == processor.processor_name()


def test_the_commit_and_whether_files_differ_from_it(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "__file__", str(tmp_path / "devices.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert devices.git_commit() is None, "no checkout"

    def git(*args) -> str:
        own = ("-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *own, *args], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    (tmp_path / "devices.py").write_text("first\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "untracked").touch()
    assert devices.git_commit() == git("rev-parse", "HEAD").strip()
    (tmp_path / "devices.py").write_text("second\n")
    assert devices.git_commit() == git("rev-parse", "HEAD").strip() + "+"
    monkeypatch.setenv("PATH", "")
    assert devices.git_commit() is None, "no git"


@pytest.mark.parametrize(
    ("flags", "seconds", "precision", "reason"),
    [
        (set(), None, "float32", "no instructions"),
        ({"avx512_bf16"}, {"float32": 3.0, "bfloat16": 2.0}, "bfloat16", "1/1.5"),
        ({"avx512_bf16"}, {"float32": 2.0, "bfloat16": 3.0}, "float32", "1/0.7"),
        ({"amx_bf16"}, {"float32": 1.05, "bfloat16": 1.0}, "float32", "1/1.1"),
    ],
)
def test_auto_takes_bfloat16_only_where_it_pays(monkeypatch, flags, seconds, precision, reason):
    monkeypatch.setattr(devices, "processor_flags", lambda: flags)
    monkeypatch.setattr(devices, "convolution_seconds", lambda *precisions: seconds)
    found, why = devices.choose_precision("auto", "/CPU:0")
    assert found == precision and reason in why


def test_a_named_precision_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(devices, "convolution_seconds", lambda *precisions: pytest.fail("nothing to measure"))
    assert devices.choose_precision("float32", "/GPU:0")[0] == "float32"
    assert devices.choose_precision("bfloat16", "/CPU:0") == ("bfloat16", "as asked for")


@pytest.mark.parametrize(
    ("details", "precision", "reason"),
    [
        ({"compute_capability": (7, 5)}, "float32", "7.5 has no instructions for bfloat16"),
        ({"compute_capability": (8, 0)}, "bfloat16", "8.0 multiplies bfloat16 natively"),
        ({"compute_capability": (9, 0)}, "bfloat16", "9.0 multiplies bfloat16 natively"),
        ({}, "float32", "0.0 has no instructions for bfloat16"),
    ],
)
def test_a_gpu_computes_in_bfloat16_when_it_can(monkeypatch, details, precision, reason):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU0", "GPU1"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", {"GPU1": details}.get)
    assert devices.choose_precision("auto", "/GPU:1") == (precision, f"a GPU of compute capability {reason}")


def test_both_precisions_are_timed():
    found = devices.convolution_seconds("float32", "bfloat16", repeats=3)
    assert set(found) == {"float32", "bfloat16"} and all(1e-5 < seconds < 10 for seconds in found.values())
