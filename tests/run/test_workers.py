"""Several processes: who they are, what they refuse, how long they wait; and the same bytes as several devices."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from runner import EXACT_FILES, PROJECT, SMALL, run, train

from core import replicas
from core.run import checkpoints, launch, run_folder, watchdog, workers
from core.run.errors import WorkerError
from core.settings.command_line import parse

ADDRESSES = ["10.0.0.1:12345", "10.0.0.2:12345"]


def test_the_environment_says_who_they_are(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", launch.tf_config(ADDRESSES, 1))
    assert workers.from_environment() == workers.Cluster(tuple(ADDRESSES), 1)
    for alone in ("", launch.tf_config(ADDRESSES[:1], 0), "{}"):
        monkeypatch.setenv("TF_CONFIG", alone)
        assert workers.from_environment() is None


@pytest.mark.parametrize(
    "text",
    [
        "worker", "[1]", "[" * 3000, launch.tf_config(ADDRESSES, 2), launch.tf_config(ADDRESSES, -1),
        launch.tf_config(["a:1", "a:1"], 0),
        launch.tf_config(["a", "b"], 0), launch.tf_config(["a:0", "b:1"], 0), launch.tf_config([1, 2], 0),
        launch.tf_config(ADDRESSES, "0"), launch.tf_config(ADDRESSES, 0).replace('"type": "worker"', '"type": "chief"'),
        launch.tf_config(ADDRESSES, 0).replace('"cluster": {', '"cluster": {"ps": ["c:1"], '),
    ],
)  # fmt: skip
def test_what_is_no_description_of_workers_is_refused_in_one_line(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(WorkerError, match=r"^\$TF_CONFIG .*: expected .*core.run.launch --hosts A B` prints it$"):
        workers.from_environment()


def test_one_process_by_itself_is_left_as_it_is(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    invocation = parse(["--recipe", "debug"])
    with workers.joined(invocation) as same:
        assert same is invocation
    workers.check_same({"data": "anything"})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--pdb",), "--pdb: the debugger"),
        (("--diagnostics-budget", "2"), "--diagnostics-budget:"),
        (("--devices", "4", "--micro-batches", "4"), "--devices 4: 2 workers are started"),
        (("--device", "gpu:1"), "--device gpu:1: a worker takes all GPUs"),
    ],
)
def test_what_one_process_alone_can_do_is_refused(args, message):
    with pytest.raises(WorkerError, match=f"^{message}"):
        workers.check_options(parse(["--recipe", "debug", *args]), 2)


def exchange_with(monkeypatch, *others):
    """Let the other workers of this one, which is worker 0, send these messages."""
    monkeypatch.setattr(replicas, "connected", tf.distribute.get_strategy())
    monkeypatch.setattr(replicas, "exchanged", lambda message: [message, *others])


def test_workers_that_were_started_differently_are_named(monkeypatch):
    mine = workers.started_with(parse(["--recipe", "debug"]))
    theirs = workers.started_with(parse(["--recipe", "debug", "--learning-rate", "0.5"]))
    exchange_with(monkeypatch, json.dumps(mine).encode(), json.dumps(theirs).encode())
    with pytest.raises(WorkerError, match=r"^worker 0 has --learning-rate 0.01, worker 2 has 0.5: expected the same"):
        workers.check_same(mine)
    with pytest.raises(WorkerError, match=r"^worker 0 has run it, worker 1 has not given: expected the same"):
        exchange_with(monkeypatch, b"{}")
        workers.check_same({"run": "it"})
    exchange_with(monkeypatch, json.dumps(mine).encode())
    workers.check_same(mine)
    own = workers.started_with(parse(["--recipe", "debug", "--threads", "3", "--data-dir", "/elsewhere"]))
    assert own == mine


def test_a_changed_program_is_noticed(tmp_path, monkeypatch):
    before = workers.program_fingerprint()
    for name in ("core", "train_loop.py"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, tmp_path / name)
    monkeypatch.setattr(workers, "ROOT", tmp_path)
    assert workers.program_fingerprint() == before
    with open(tmp_path / "core" / "losses.py", "a") as file:
        file.write("\n")
    assert workers.program_fingerprint() != before


def test_a_signal_to_any_worker_stops_all_after_the_same_step(monkeypatch):
    exchange_with(monkeypatch, b"")
    with workers.SharedStop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert [stop.asked(step) for step in (7, 8, 9)] == [None] * 3
        assert stop.asked(10) == stop.signal == "SIGTERM"
    exchange_with(monkeypatch, b"Ctrl-C")
    with workers.SharedStop() as stop:
        assert (stop.asked(19), stop.asked(20), stop.asked(21)) == (None, "Ctrl-C", "Ctrl-C")
    exchange_with(monkeypatch, b"")
    with workers.SharedStop() as stop:
        assert stop.asked(10) is None


def decided(monkeypatch, index, *args, count=2, message=None):
    """What worker `index` of `count` makes of its command line; message: what worker 0 sends, here its own."""
    monkeypatch.setattr(replicas, "from_first", lambda own: own if message is None else message)
    monkeypatch.setattr(replicas, "in_all", lambda: count)
    cluster = workers.Cluster(tuple(f"127.0.0.1:{port}" for port in range(1, count + 1)), index)
    return lambda folder: workers.as_worker_0_decides(cluster, parse(["--recipe", "debug", *args]), folder)


def test_worker_0_chooses_and_the_others_follow(monkeypatch, tmp_path):
    args = ("--no-eager", "--micro-batches", "2", "--run", "it")
    first = decided(monkeypatch, 0, *args, "--precision", "float32")(tmp_path)
    assert (first.settings.devices, first.settings.precision, first.settings.kernels) == (2, "float32", "fast")
    assert first.run == "it" and "devices" in first.given
    sent = workers.packed({"precision": b"bfloat16", "run": b"it", "it/config.json": b"{}", "it/checkpoints/x": b"\1"})
    second = decided(monkeypatch, 1, *args, message=sent)(tmp_path)
    assert (second.settings.precision, second.runs_dir, second.run) == ("bfloat16", tmp_path, "it")
    assert (tmp_path / "it" / "config.json").read_bytes() == b"{}"
    assert (tmp_path / "it" / "checkpoints" / "x").read_bytes() == b"\1"


def test_what_worker_0_refuses_the_others_refuse(monkeypatch, tmp_path):
    sent = []
    monkeypatch.setattr(replicas, "from_first", sent.append)
    with pytest.raises(run_folder.RunError, match="no such run") as refused:
        cluster = workers.Cluster(tuple(ADDRESSES), 0)
        workers.as_worker_0_decides(cluster, parse(["--resume", "--run", "x", "--runs-dir", str(tmp_path)]), tmp_path)
    with pytest.raises(WorkerError) as told:
        decided(monkeypatch, 1, message=sent[0])(tmp_path)
    assert str(told.value) == f"worker 0: {refused.value}"


def test_a_number_of_workers_that_does_not_divide_is_refused(monkeypatch, tmp_path):
    with pytest.raises(WorkerError, match=r"^3 workers: --devices 3: expected a number that divides --batch-size 8$"):
        decided(monkeypatch, 0, "--precision", "float32", count=3)(tmp_path)
    with pytest.raises(WorkerError, match=r"^2 workers: --devices 2: expected a number that divides --micro-batches"):
        decided(monkeypatch, 0, "--precision", "float32")(tmp_path)


def test_packing_loses_nothing():
    contents = {"precision": b"float32", "run/steps.csv": b"", "run/checkpoints/step-00000020/tensors.npz": b"\0\1\2\0"}
    assert workers.unpacked(workers.packed(contents)) == contents


WAITING = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "core.run.watchdog", str(os.getpid()), "1", *sys.argv[1:]])
time.sleep(60)
"""


def test_who_waits_in_vain_is_told_and_ended():
    free = [f"127.0.0.1:{port}" for port in launch.free_ports(2)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WAITING, *free], capture_output=True, text=True, timeout=40, cwd=PROJECT
    )
    assert done.returncode == -signal.SIGKILL and time.monotonic() - began < 30
    missing = f"worker 0 at {free[0]} and worker 1 at {free[1]}"
    assert done.stderr.splitlines() == [
        f"waiting for {missing}",
        f"train_loop.py: {missing} did not come within 1 s; start every worker, all with the same addresses",
    ]


def test_who_answers_is_not_missing():
    with launch.socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        gone = f"127.0.0.1:{launch.free_ports(1)[0]}"
        assert watchdog.missing([here, gone]) == f"worker 1 at {gone}"
        assert watchdog.missing([here]) == "another worker"


def test_what_tensorflow_says_while_connecting_is_one_line(monkeypatch):
    watchdogs, popen = [], subprocess.Popen

    def start(command, **options):
        watchdogs.append(popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        assert command[1:5] == ["-m", "core.run.watchdog", str(os.getpid()), "60"] and command[5:] == ADDRESSES
        return watchdogs[0]

    def connect():
        assert watchdogs[0].poll() is None, "it watches"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "Ctrl-C ends the process while no Python runs"
        raise RuntimeError("no such host\nand a trace")

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    message = "cannot connect to the other workers: no such host; is the port of 10.0.0.1:12345 in use on this machine?"
    with pytest.raises(WorkerError, match="^" + re.escape(message) + "$"):
        workers.wait_for_all(workers.Cluster(tuple(ADDRESSES), 0), connect)
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert watchdogs[0].returncode == -signal.SIGKILL, "ended, and no zombie of it is left"


def test_the_commands_for_several_machines(capsys):
    assert launch.main(["--hosts", "a", "b:77", "--recipe", "minute", "--run", "it"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == ["# on a", "# on b"]
    for index, line in enumerate(lines[1::2]):
        config, _, command = line.removeprefix("TF_CONFIG='").partition("' ")
        assert json.loads(config)["cluster"] == {"worker": ["a:12345", "b:77"]}
        assert json.loads(config)["task"] == {"type": "worker", "index": index}
        assert command == "python train_loop.py --recipe minute --run it"


@pytest.mark.parametrize("hosts", [["a"], ["a", "a"], ["a", "a:12345"]])
def test_hosts_have_to_be_two_and_different(hosts, capsys):
    with pytest.raises(SystemExit) as left:
        launch.main(["--hosts", *hosts])
    assert left.value.code == 2 and "expected two or more, each once" in capsys.readouterr().err


def test_slurm_says_who_they_are(monkeypatch, capsys):
    job = {"NTASKS": "2", "STEP_NODELIST": "node[1-2]", "STEP_TASKS_PER_NODE": "1(x2)", "STEP_NUM_TASKS": "2"}
    for name, value in (job | {"PROCID": "1"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert launch.main(["--slurm", "--port", "5000"]) == 0
    assert capsys.readouterr().out.strip() == launch.tf_config(["node1:5000", "node2:5000"], 1)
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node1")
    assert launch.main(["--slurm", "--port", "5000"]) == 0
    assert capsys.readouterr().out.strip() == launch.tf_config(["node1:5000", "node1:5001"], 1)
    monkeypatch.delenv("SLURM_NTASKS")
    with pytest.raises(SystemExit, match="not a task of a Slurm job"):
        launch.main(["--slurm"])


@pytest.mark.parametrize(
    "args", [("--workers", "1"), ("--workers", "65"), ("--workers", "x"), (), ("--hosts", "a", "--port", "0")]
)
def test_a_mistake_at_the_launcher_is_told(args, capsys):
    with pytest.raises(SystemExit) as left:
        launch.main(list(args))
    assert left.value.code == 2 and "Traceback" not in capsys.readouterr().err


def processes(*codes) -> list[subprocess.Popen]:
    return [subprocess.Popen([sys.executable, "-c", f"import sys, time; {code}"]) for code in codes]


def test_when_one_ends_the_others_are_ended(monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    started = processes("time.sleep(60)", "sys.exit(3)")
    assert launch.first_failure(started) == 1 and not launch.end_all(started)
    assert [process.returncode for process in started] == [-signal.SIGKILL, 3]
    started = processes("pass", "pass")
    assert launch.first_failure(started) is None and launch.end_all(started)


def test_what_a_signal_ended_is_told():
    assert launch.ending(1, "a:1", 1) is None
    assert launch.ending(0, "a:1", -signal.SIGTERM) == "stopped before the first step; nothing was written"
    assert launch.ending(1, "a:1", -signal.SIGKILL).startswith("worker 1 at a:1 was ended by SIGKILL;")


TWO = ("--micro-batches", 2, "--steps", 30, "--checkpoint-every", 10)


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """The run that two devices of one process make."""
    folder = tmp_path_factory.mktemp("devices")
    train(folder, "run", *TWO, "--devices", 2)
    return folder / "run"


@contextlib.contextmanager
def launched(folder, *args):
    """Two workers of this run, in a session of their own: none of it outlives the test."""
    options = [*SMALL, "--batch-size", 500, *args, "--runs-dir", folder, "--run", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "core.run.launch", "--workers", "2", *map(str, options)], cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def assert_same_run(found, expected):
    for name in EXACT_FILES:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    tensors, wanted = checkpoints.newest(found).tensors, checkpoints.newest(expected).tensors
    assert list(tensors) == list(wanted)
    for name in tensors:
        assert tensors[name].tobytes() == wanted[name].tobytes(), name


def test_two_processes_write_the_bytes_of_two_devices(two_devices, tmp_path):
    with launched(tmp_path, *TWO) as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and "Traceback" not in err, out + err
    assert "2 replicas on several workers" in out
    assert_same_run(tmp_path / "run", two_devices)
    assert run_folder.read_config(tmp_path / "run")["settings"]["devices"] == 2


def test_a_killed_worker_costs_time_and_nothing_else(two_devices, tmp_path):
    with launched(tmp_path, *TWO) as process:
        deadline = time.monotonic() + 200
        while not checkpoints.newest_first(tmp_path / "run") and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        os.kill(max(map(int, children)), signal.SIGKILL)  # started last: worker 1
        out, err = process.communicate(timeout=100)
    assert process.returncode == 1 and "Traceback" not in err, out + err
    assert "does not answer any more" in err and "worker 1" in err and "SIGKILL" in err
    run(
        "train_loop.py", "--runs-dir", tmp_path, "--run", "run", "--resume", "--devices", 2
    )  # one process takes the place of the two
    assert_same_run(tmp_path / "run", two_devices)


def test_a_run_goes_on_with_another_number_of_devices_where_the_mathematics_stays(two_devices, tmp_path, capsys):
    settings = dataclasses.replace(parse(["--recipe", "classic", "--devices", "2"]).settings, micro_batches=2)
    shutil.copytree(two_devices, tmp_path / "run")
    for devices in (1, 2):
        resumed = run_folder.resumed_settings(tmp_path / "run", parse(["--resume", "--devices", str(devices)]))
        assert (resumed.devices, resumed.micro_batches) == (devices, 2)
    with pytest.raises(run_folder.RunError, match="--devices 4: expected a number that divides --micro-batches 2"):
        run_folder.resumed_settings(tmp_path / "run", parse(["--resume", "--devices", "4"]))
    config = run_folder.read_config(tmp_path / "run")
    config["settings"] |= {"network": "classic", "recipe": settings.recipe}  # without batch norm
    run_folder.write_config(tmp_path / "run", config)
    resumed = run_folder.resumed_settings(tmp_path / "run", parse(["--resume", "--devices", "4"]))
    assert (resumed.devices, resumed.micro_batches) == (4, 4)
