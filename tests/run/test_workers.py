"""Several processes: who they are, what they refuse, how long they wait; and the same bytes as several devices."""

import contextlib
import dataclasses
import itertools
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import tensorflow as tf
from runner import EXACT_FILES, PROJECT, SMALL, run, train

from core import replicas
from core.run import checkpoints, launch, logs, run_folder, terminal, watchdog, workers
from core.run.errors import WorkerError
from core.run.resumed_settings import resumed_settings
from core.settings.command_line import parse

ADDRESSES = ["10.0.0.1:12345", "10.0.0.2:12345"]


@pytest.fixture
def handlers():
    """What the test does with signals ends with it: the handlers of before come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_environment_says_who_they_are(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", launch.tf_config(ADDRESSES, 1))
    assert workers.from_environment() == workers.Cluster(tuple(ADDRESSES), 1)
    for alone in ("", launch.tf_config(ADDRESSES[:1], 0), "{}"):
        monkeypatch.setenv("TF_CONFIG", alone)
        assert workers.from_environment() is None
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:65535"]}}))
    assert workers.from_environment() == workers.Cluster(("a:1", "b:65535"), 0), "the first port, the last, no task"


@pytest.mark.parametrize(
    "text",
    [
        "worker", "[1]", "[" * 3000, launch.tf_config(ADDRESSES, 2), launch.tf_config(ADDRESSES, -1),
        launch.tf_config(["a:1", "a:1"], 0),
        launch.tf_config(["a", "b"], 0), launch.tf_config(["a:0", "b:1"], 0), launch.tf_config([1, 2], 0),
        launch.tf_config(["a:65536", "b:1"], 0), launch.tf_config([":1", "b:1"], 0), launch.tf_config(["a:1"], 1),
        launch.tf_config(ADDRESSES, "0"), launch.tf_config(ADDRESSES, 1.0), launch.tf_config(ADDRESSES, True),
        launch.tf_config(ADDRESSES, 0).replace('"type": "worker"', '"type": "chief"'),
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


@pytest.mark.parametrize("args", [(), ("--devices", "2", "--micro-batches", "2"), ("--device", "gpu")])
def test_what_several_processes_can_do_is_not_refused(args):
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


def test_only_a_second_ctrl_c_ends_a_worker_at_once():
    """The first signal is noted, for all of them to stop after the same step; SIGTERM may come as often as it likes."""
    stop = workers.SharedStop()
    for number, noted in ((signal.SIGTERM, "SIGTERM"), (signal.SIGTERM, "SIGTERM")):
        stop.note(number, None)
        assert (stop.noted, stop.signal) == (noted, None)
    with pytest.raises(KeyboardInterrupt):
        stop.note(signal.SIGINT, None)
    stop = workers.SharedStop()
    for number, noted in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        stop.note(number, None)
        assert (stop.noted, stop.signal) == (noted, None)


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
    second = decided(monkeypatch, 1, *args, message=workers.packed({"precision": b"bfloat16", "run": b""}))(tmp_path)
    assert (second.settings.devices, second.settings.precision, second.settings.kernels) == (2, "bfloat16", "fast")
    assert second.runs_dir == tmp_path and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "kernels"),
    [
        (("--no-eager",), "fast"),  # what is measured on one machine need not hold on the others
        (("--no-eager", "--kernels", "textbook"), "textbook"),
        (("--eager",), "auto"),
        (("--eager", "--kernels", "fast"), "fast"),
    ],
)
def test_no_worker_measures_its_kernels(args, kernels, monkeypatch, tmp_path):
    args = ("--micro-batches", "2", "--precision", "float32", *args)
    assert decided(monkeypatch, 0, *args)(tmp_path).settings.kernels == kernels


def test_the_others_begin_with_a_copy_of_what_worker_0_resumes(two_devices, monkeypatch, tmp_path):
    runs, own = tmp_path / "runs", tmp_path / "own"
    for name in ("older", "newer"):
        shutil.copytree(two_devices, runs / name)
    run_folder.point_latest(runs, "newer")
    shutil.rmtree(checkpoints.newest_first(runs / "older")[0])
    args = ("--resume", "--precision", "float32", "--runs-dir", str(runs))
    assert workers.worker_0_decides(parse([*args]))["run"] == b"newer"

    sent = workers.worker_0_decides(parse([*args, "--run", "older"]))
    files = {"config.json", *logs.COLUMNS, "checkpoints/step-00000020/tensors.npz"}
    files |= {"checkpoints/step-00000020/manifest.json"}
    assert set(sent) == {"precision", "run", *(f"older/{name}" for name in files)}
    message = workers.packed(sent | {"precision": b"bfloat16"})
    second = decided(monkeypatch, 1, *args, message=message)(own)
    assert (second.runs_dir, second.run) == (own, "older")
    for name in files:
        assert (own / "older" / name).read_bytes() == (runs / "older" / name).read_bytes(), name
    assert checkpoints.newest(own / "older").step == 20
    assert (second.settings.precision, second.settings.kernels) == ("float32", "auto"), "chosen when the run began"

    shutil.rmtree(runs / "older" / checkpoints.FOLDER)
    sent = workers.worker_0_decides(parse([*args, "--run", "older"]))
    assert set(sent) == {"precision", "run", "older/config.json", *(f"older/{name}" for name in logs.COLUMNS)}
    with pytest.raises(run_folder.RunError, match="older exists"):
        workers.worker_0_decides(parse(["--run", "older", "--runs-dir", str(runs)]))


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


@pytest.fixture
def one_of_two(monkeypatch, handlers):
    """one_of_two(index, *args): the invocation of that worker; what happens to it is in one_of_two.happened."""
    happened = []

    def exchanged(message):
        happened.append("all have finished" if message == b"finished" else "all were started with the same")
        return [message, b"{}" if pretend.different else message]

    monkeypatch.setattr(replicas, "connected", tf.distribute.get_strategy())
    monkeypatch.setattr(replicas, "exchanged", exchanged)
    monkeypatch.setattr(replicas, "from_first", lambda own: workers.packed({"precision": b"float32", "run": b""}))
    monkeypatch.setattr(replicas, "in_all", lambda: 2)
    monkeypatch.setattr(terminal, "silent", False)
    monkeypatch.setattr(workers.devices, "configure", lambda threads: happened.append(f"{threads} threads"))
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: happened.append(f"{kind}s {devices}"))
    monkeypatch.setattr(workers, "wait_for_all", lambda cluster, connect: happened.append(connect.__name__))
    monkeypatch.setattr(workers, "end_within", lambda seconds: happened.append(f"the end within {seconds} s"))
    monkeypatch.setattr(workers, "missing", lambda addresses: f"worker 1 at {addresses[1]}")

    def pretend(index, *args):
        monkeypatch.setenv("TF_CONFIG", launch.tf_config(ADDRESSES, index))
        happened.clear()
        return parse(["--recipe", "debug", "--micro-batches", "2", "--threads", "3", *args])

    pretend.happened, pretend.different = happened, False
    return pretend


@pytest.mark.parametrize(
    ("index", "args", "without_gpus"), [(0, ("--device", "cpu"), ["GPUs []"]), (1, ("--device", "auto"), [])]
)
def test_from_the_start_of_a_worker_to_its_end(one_of_two, index, args, without_gpus):
    with workers.joined(one_of_two(index, *args)) as agreed:
        assert agreed.settings.devices == 2 and terminal.silent is (index == 1)
        one_of_two.happened.append("training")
    assert one_of_two.happened == [
        "3 threads", *without_gpus, "connect", "all were started with the same", "training", "all have finished",
        "the end within 20 s",
    ]  # fmt: skip


def test_what_ends_a_worker_early(one_of_two):
    with pytest.raises(WorkerError, match=r"^--pdb"), workers.joined(one_of_two(0, "--pdb")):
        pass
    assert one_of_two.happened == [], "refused before it waits for the others"
    gone = tf.errors.UnavailableError(None, None, "connection closed\nand a trace")
    message = (
        "worker 1 at 10.0.0.2:12345 does not answer any more (connection closed); see its terminal first; what was "
        "saved before is undamaged: start all again with --resume"
    )
    with pytest.raises(WorkerError, match=f"^{re.escape(message)}$"), workers.joined(one_of_two(0)):
        raise gone
    assert one_of_two.happened[-1] == "the end within 20 s"
    mistake = ValueError("a mistake of its own")
    with pytest.raises(ValueError) as raised, workers.joined(one_of_two(0)):
        raise mistake
    assert raised.value is mistake and one_of_two.happened[-1] == "the end within 20 s"
    one_of_two.different = True
    with pytest.raises(WorkerError, match=r"expected the same on all$"), workers.joined(one_of_two(0)):
        pytest.fail("it trains beside one that was started differently")


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("Unavailable", True), ("Aborted", True), ("Cancelled", True), ("DeadlineExceeded", True), ("Internal", True),
        ("FailedPrecondition", True), ("InvalidArgument", False), ("ResourceExhausted", False),
    ],
)  # fmt: skip
def test_another_worker_may_be_gone_already_when_this_one_has_finished(handlers, monkeypatch, kind, lost):
    error = getattr(tf.errors, f"{kind}Error")(None, None, "it says why")

    def exchanged(message):
        raise error

    monkeypatch.setattr(replicas, "exchanged", exchanged)
    with contextlib.nullcontext() if lost else pytest.raises(type(error)):
        workers.leave_together()
    assert workers.is_lost_connection(error) is lost and not workers.is_lost_connection(OSError())
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "Ctrl-C ends the process while no Python runs"


def test_a_process_ends_whatever_tensorflow_waits_for():
    code = (
        "import signal, time; from core.run import workers\n"
        "signal.signal(signal.SIGALRM, signal.SIG_IGN); print('said before'); workers.end_within(1); time.sleep(30)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (-signal.SIGALRM, "said before\n")


def test_the_first_line_of_an_error():
    assert workers.first_line(ValueError("no such host\nand a trace")) == "no such host"
    assert workers.first_line(ValueError("x" * 200)) == "x" * 160
    assert workers.first_line(ValueError()) == "ValueError"


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


def watched(monkeypatch, seconds, parents) -> list[tuple]:
    """(second, what the watchdog did) as it watches process 7; parents: the process above it at each look."""
    done, now, waits = [], [1000.0], []

    def monotonic():
        now[0] += 1e-4  # looking takes time too
        return now[0]

    def sleep(duration):
        waits.append(duration)
        now[0] += duration

    def note(*what):
        done.append((int(now[0] - 1000), *what))

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=monotonic, sleep=sleep))
    monkeypatch.setattr(watchdog, "os", SimpleNamespace(getppid=lambda: next(parents), kill=note))
    monkeypatch.setattr(watchdog, "missing", " and ".join)
    monkeypatch.setattr(watchdog, "say", note)
    watchdog.watch(7, seconds, ["a:1", "b:1"])
    assert 0 < len(waits) < 1000, "it leaves the processor to others"
    return done


@pytest.mark.parametrize(("seconds", "told"), [(60, 5), (3, 3)])
def test_who_is_missing_is_told_once_before_the_end(monkeypatch, seconds, told):
    late = (
        f"train_loop.py: a:1 and b:1 did not come within {seconds} s; start every worker, all with the same addresses"
    )
    assert watched(monkeypatch, seconds, itertools.repeat(7)) == [
        (told, "waiting for a:1 and b:1"), (seconds, late), (seconds, 7, signal.SIGKILL)
    ]  # fmt: skip


def test_the_watchdog_ends_with_the_process_that_it_watches(monkeypatch, handlers):
    assert watched(monkeypatch, 60, iter([7] * 10 + [1])) == []
    monkeypatch.setattr(sys, "argv", ["watchdog.py", "-1", "60", "a:1"])  # that process is gone already
    runpy.run_path(watchdog.__file__, run_name="__main__")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "Ctrl-C is for the process that it watches"


def test_who_answers_is_not_missing():
    with launch.socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        gone = f"127.0.0.1:{launch.free_ports(1)[0]}"
        assert watchdog.missing([here, gone]) == f"worker 1 at {gone}"
        assert watchdog.missing([here]) == "another worker"


def test_what_tensorflow_says_while_connecting_is_one_line(monkeypatch, handlers):
    watchdogs, popen = [], subprocess.Popen
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def start(command, **options):
        watchdogs.append(popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        assert command[1:5] == ["-m", "core.run.watchdog", str(os.getpid()), "60"] and command[5:] == ADDRESSES
        return watchdogs[0]

    def connect():
        assert watchdogs[0].poll() is None, "it watches"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "Ctrl-C ends the process while no Python runs"
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "TensorFlow would take it for itself"
        raise RuntimeError("no such host\nand a trace")

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    message = "cannot connect to the other workers: no such host; is the port of 10.0.0.1:12345 in use on this machine?"
    with pytest.raises(WorkerError, match="^" + re.escape(message) + "$"):
        workers.wait_for_all(workers.Cluster(tuple(ADDRESSES), 0), connect)
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "one that came meanwhile ends the process now"
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


@pytest.mark.parametrize("host", ["fe80::1", ":5", "a:", "a:0", "a:65536", "a:b", "", "a b"])
def test_what_is_no_host_is_one_line(host, capsys):
    with pytest.raises(SystemExit) as left:
        launch.main(["--hosts", "b", host])
    assert left.value.code == 2
    expected = f"--hosts {host}: expected a name or an IPv4 address, with :PORT or without\n"
    assert capsys.readouterr().err == f"python -m core.run.launch: {expected}"


def test_a_mistake_in_the_options_of_the_training_is_told_before_the_commands(capsys):
    with pytest.raises(SystemExit):
        launch.main(["--hosts", "a", "b", "--recipe", "minut"])
    out, err = capsys.readouterr()
    assert out == "" and "--recipe minut: expected one of" in err


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
    for name, value in {"NTASKS": "5", "STEP_NODELIST": "node[1-3]", "STEP_TASKS_PER_NODE": "2(x2),1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    addresses = [f"node{address}" for address in ("1:12345", "1:12346", "2:12345", "2:12346", "3:12345")]
    assert launch.slurm_config(launch.PORT) == launch.tf_config(addresses, 1)
    monkeypatch.delenv("SLURM_NTASKS")
    with pytest.raises(SystemExit, match="not a task of a Slurm job"):
        launch.main(["--slurm"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--workers 1", "--workers 1: expected a whole number, 2 to 64"),
        ("--workers 65", "--workers 65: expected a whole number, 2 to 64"),
        ("--workers x", "argument --workers: invalid int value: 'x'"),
        ("", "one of the arguments --workers --hosts --slurm is required"),
        ("--workers 2 --slurm", "not allowed with argument"),
        ("--hosts a b --port 0", "--port 0: expected 1 to 65535"),
        ("--hosts a b --port 65536", "--port 65536: expected 1 to 65535"),
        ("--workers 2 --port 5000", "--port 5000: --workers takes ports that are free; leave it out"),
    ],
)
def test_a_mistake_at_the_launcher_is_told(args, message, monkeypatch, capsys):
    monkeypatch.setattr(launch, "launch", lambda *given: pytest.fail(f"{given} are started"))
    with pytest.raises(SystemExit) as left:
        launch.main(args.split())
    assert left.value.code == 2 and message in capsys.readouterr().err


def test_what_the_launcher_does_not_know_goes_to_the_training(monkeypatch, capsys):
    """An abbreviation too; and the training's exit status is the launcher's."""
    monkeypatch.setattr(launch, "launch", lambda *given: given)
    assert launch.main("--workers 2 --run it --work 3".split()) == (2, ["--run", "it", "--work", "3"])
    assert launch.main(["--workers", "64"]) == (64, [])
    for port in (1, 65535):
        assert launch.main(["--hosts", "a", "b", "--port", str(port)]) == 0
        assert f"a:{port}" in capsys.readouterr().out


class Pretended:
    """A process of train_loop.py, as launch.py sees it: it ends with `status` when it is asked once more.

    status None: it has to be ended. said: what it writes to standard error. meanwhile: called when it is asked.
    """

    def __init__(self, status, said=b"", meanwhile=lambda: None):
        self.status, self.said, self.meanwhile = status, said, meanwhile
        self.returncode, self.asked, self.signals = None, 0, []

    def poll(self):
        self.asked += 1
        self.meanwhile()
        if self.asked > 1 and self.status is not None:
            self.returncode = self.status
        return self.returncode

    def kill(self):
        self.status = -signal.SIGKILL

    def wait(self):
        self.returncode = self.status

    def send_signal(self, number):
        self.signals.append(number)


@pytest.fixture
def pretended(monkeypatch, handlers):
    """pretended(*processes): launch.py starts these, one after the other; returns the list of what it asks for."""

    def pretend(*processes):
        asked_for, next_one = [], iter(processes)

        def start(command, env, **streams):
            asked_for.append(SimpleNamespace(command=command, env=env, streams=streams))
            process = next(next_one)
            if process.said:
                streams["stderr"].write(process.said)
            return process

        monkeypatch.setattr(launch, "GRACE", 0.2)
        monkeypatch.setattr(launch, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
        return asked_for

    return pretend


@pytest.mark.parametrize(
    ("processors", "given", "threads"),
    [(8, [], "2"), (2, [], "1"), (None, [], "1"), (8, ["--threads", "5"], "5"), (8, ["--threads=5"], None)],
)
def test_what_each_worker_is_started_with(pretended, monkeypatch, processors, given, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    monkeypatch.setenv("GLASSBOX_RUN_FILE", "a file")
    options = ["--recipe", "debug", "--run", "it", *given]
    asked_for = pretended(*(Pretended(0) for _ in range(3)))
    assert launch.launch(3, options) == 0
    addresses = json.loads(asked_for[0].env["TF_CONFIG"])["cluster"]["worker"]
    assert len(set(addresses)) == 3 and all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", one) for one in addresses)
    for index, worker in enumerate(asked_for):
        python, script, *rest = worker.command
        assert (python, script) == (sys.executable, PROJECT / "train_loop.py")
        assert rest == (options if given else [*options, "--threads", threads])
        assert worker.env["TF_CONFIG"] == launch.tf_config(addresses, index)
        assert worker.env["GLASSBOX_LAUNCHER"] == "-m core.run.launch --workers 3"
        assert ("GLASSBOX_RUN_FILE" in worker.env) == (index == 0), "one alone writes it"
        if index:
            assert worker.streams["stdin"] == worker.streams["stdout"] == subprocess.DEVNULL
    assert asked_for[0].streams == {}, "worker 0 has the terminal"


def test_a_mistake_in_the_options_is_told_once(pretended, capsys):
    asked_for = pretended()
    with pytest.raises(SystemExit) as left:
        launch.launch(2, ["--epochs", "x"])
    assert left.value.code == 2 and asked_for == []
    assert capsys.readouterr().err == "train_loop.py: --epochs x: expected a whole number, 1 to 100000\n"


ENDED = "worker 1 at 127.0.0.1:PORT was ended by SIGKILL; what was saved before is undamaged, see --resume\n"


@pytest.mark.parametrize(
    ("first", "second", "said", "status", "shown"),
    [
        (0, 0, b"", 0, ""),
        (3, 0, b"", 3, ""),
        (1, 2, b"train_loop.py: no room\n", 1, "train_loop.py: no room\n"),
        (1, 2, b"train_loop.py: worker 0: no such run\n", 1, ""),  # worker 0 has said it itself
        (0, None, b"", 1, ""),
        (1, -signal.SIGKILL, b"", 1, ENDED),
        (-signal.SIGTERM, 0, b"", 1, "stopped at once by SIGTERM; what was saved before is undamaged\n"),
    ],
)
def test_how_a_training_of_two_workers_ends(pretended, capfd, first, second, said, status, shown):
    one = Pretended(None if second else first)
    other = Pretended(second, said)
    if one.status is None:  # it notices that the other one is gone
        other.meanwhile = lambda: setattr(one, "status", first) if other.asked > 1 else None
    pretended(one, other)
    assert launch.launch(2, []) == status
    assert re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", capfd.readouterr().err) == shown
    assert other.returncode == (-signal.SIGKILL if second is None else second)


def test_a_signal_to_the_launcher_is_for_the_workers(pretended):
    """The terminal sends Ctrl-C to all of them; SIGTERM is passed on."""
    received = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: received.append(number))

    def meanwhile():
        if one.asked == 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    one, other = Pretended(0, meanwhile=meanwhile), Pretended(0)
    pretended(one, other)
    assert launch.launch(2, []) == 0 and received == []
    assert one.signals == other.signals == [signal.SIGTERM]


def processes(*codes) -> list[subprocess.Popen]:
    return [subprocess.Popen([sys.executable, "-c", f"import sys, time; {code}"]) for code in codes]


def test_when_one_ends_the_others_are_ended(monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    started = processes("time.sleep(60)", "sys.exit(3)")
    assert launch.first_failure(started) == 1 and not launch.end_all(started)
    assert [process.returncode for process in started] == [-signal.SIGKILL, 3]
    started = processes("pass", "pass")
    assert launch.first_failure(started) is None and launch.end_all(started)


def test_who_ends_before_worker_0_is_not_the_end():
    one, other = Pretended(0), Pretended(0)
    other.poll(), other.poll()
    assert other.returncode == 0 and launch.first_failure([one, other]) is None
    assert one.returncode == 0


def test_the_others_have_time_to_notice():
    started = processes("time.sleep(0.3)")
    assert launch.end_all(started) and started[0].returncode == 0


def test_what_a_signal_ended_is_told():
    assert launch.ending(1, "a:1", 1) is None and launch.ending(0, "a:1", 0) is None
    assert launch.ending(0, "a:1", -signal.SIGTERM) == "stopped at once by SIGTERM; what was saved before is undamaged"
    assert launch.ending(1, "a:1", -signal.SIGINT) == "stopped at once by Ctrl-C; what was saved before is undamaged"
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
        resumed = resumed_settings(tmp_path / "run", parse(["--resume", "--devices", str(devices)]))
        assert (resumed.devices, resumed.micro_batches) == (devices, 2)
    with pytest.raises(run_folder.RunError, match="--devices 4: expected a number that divides --micro-batches 2"):
        resumed_settings(tmp_path / "run", parse(["--resume", "--devices", "4"]))
    config = run_folder.read_config(tmp_path / "run")
    config["settings"] |= {"network": "classic", "recipe": settings.recipe}  # without batch norm
    run_folder.write_config(tmp_path / "run", config)
    resumed = resumed_settings(tmp_path / "run", parse(["--resume", "--devices", "4"]))
    assert (resumed.devices, resumed.micro_batches) == (4, 4)
