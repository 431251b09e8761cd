"""Start train_loop.py as several processes that train together (core/run/workers.py).

python -m core.run.launch --workers 2 [OPTIONS]     two on this machine; OPTIONS go to train_loop.py
python -m core.run.launch --hosts A B [OPTIONS]     print the command for each of these machines
python -m core.run.launch --slurm                   print $TF_CONFIG of this task of a Slurm job
"""

import argparse
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

from core.run.workers import GRACE, ROOT
from core.settings import command_line
from core.settings.settings import shown

PORT = 12345  # of the workers on machines of their own


def build_parser() -> argparse.ArgumentParser:
    """The options of the launcher; what it does not know goes to train_loop.py."""
    parser = argparse.ArgumentParser(
        prog="python -m core.run.launch",
        description="Start train_loop.py as several processes that take every step together. "
        "All other options go to train_loop.py.",
        allow_abbrev=False,
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--workers", type=int, metavar="N", help="start N processes on this machine, 2 to 64")
    how.add_argument("--hosts", nargs="+", metavar="HOST", help="print the command for each of these machines")
    how.add_argument("--slurm", action="store_true", help="print $TF_CONFIG for this task of a Slurm job")
    parser.add_argument("--port", type=int, help=f"with --hosts and --slurm [{PORT}]")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The launcher; returns the exit status of the training."""
    parser = build_parser()
    args, options = parser.parse_known_args(arguments)
    if args.port is not None and args.workers is not None:
        parser.exit(2, f"{parser.prog}: --port {args.port}: --workers takes ports that are free; leave it out\n")
    args.port = PORT if args.port is None else args.port
    if not 0 < args.port < 65536:
        parser.exit(2, f"{parser.prog}: --port {args.port}: expected 1 to 65535\n")
    if args.hosts:
        addresses = [address_of(host, args.port) for host in args.hosts]
        if None in addresses:
            wrong = shown(args.hosts[addresses.index(None)])
            parser.exit(
                2, f"{parser.prog}: --hosts {wrong}: expected a name or an IPv4 address, with :PORT or without\n"
            )
        if len(set(addresses)) < max(len(addresses), 2):
            parser.exit(2, f"{parser.prog}: --hosts {' '.join(args.hosts)}: expected two or more, each once\n")
        command_line.parse(options)  # a mistake is told here, not on every machine
        print(commands(addresses, options))
        return 0
    if args.slurm:
        print(slurm_config(args.port))
        return 0
    if not 2 <= args.workers <= 64:
        parser.exit(2, f"{parser.prog}: --workers {args.workers}: expected a whole number, 2 to 64\n")
    return launch(args.workers, options)


def address_of(host: str, port: int) -> str | None:
    """HOST:PORT, with this port where `host` names none; None for what is no host."""
    found = re.fullmatch(r"([\w.-]+)(?::(\d{1,5}))?", host)
    if not found or not 0 < int(found[2] or port) < 65536:
        return None
    return f"{found[1]}:{int(found[2] or port)}"


def tf_config(addresses: list[str], index: int) -> str:
    """$TF_CONFIG of one worker."""
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def commands(addresses: list[str], options: list[str]) -> str:
    """What to type on each machine, in the folder of this project."""
    lines = []
    for index, address in enumerate(addresses):
        config = shlex.quote(tf_config(addresses, index))
        lines += [
            f"# on {address.rpartition(':')[0]}",
            f"TF_CONFIG={config} {shlex.join(['python', 'train_loop.py', *options])}",
        ]
    return "\n".join(lines)


def slurm_config(port: int) -> str:
    """$TF_CONFIG of this task, from what Slurm tells it. Exits with one line outside of a job."""
    from core.devices import import_tensorflow

    tf = import_tensorflow()
    try:
        tasks = re.sub(r"\(.*?\)", "", os.environ["SLURM_STEP_TASKS_PER_NODE"])  # 2(x3),1
        per_node = max(int(number) for number in tasks.split(","))
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            jobs={"worker": int(os.environ["SLURM_NTASKS"])},
            port_base=port,
            gpus_per_node=per_node,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        return tf_config(addresses, resolver.get_task_info()[1])
    except (KeyError, RuntimeError, ValueError) as error:
        raise SystemExit(
            f"python -m core.run.launch --slurm: not a task of a Slurm job ({error}); start it with srun"
        ) from None


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def launch(count: int, options: list[str]) -> int:
    """Train with `count` processes on this machine, the threads divided among them, and show what worker 0 prints.

    When one ends before its time the others are ended too. Returns the exit status of worker 0, or 1.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    command_line.parse(options)  # a mistake is told once
    if not any(option.startswith("--threads") for option in options):
        options = [*options, "--threads", str(max((os.cpu_count() or 1) // count, 1))]
    workers, errors = [], [tempfile.TemporaryFile() for _ in range(count)]
    signal.signal(signal.SIGINT, lambda number, frame: None)  # the terminal sends Ctrl-C to the workers too
    signal.signal(signal.SIGTERM, lambda number, frame: [worker.send_signal(number) for worker in workers])
    for index in range(count):
        environment = os.environ | {"TF_CONFIG": tf_config(addresses, index)}
        environment["GLASSBOX_LAUNCHER"] = f"-m core.run.launch --workers {count}"
        quiet = {}
        if index:
            environment.pop("GLASSBOX_RUN_FILE", None)
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors[index]}
        workers.append(subprocess.Popen([sys.executable, ROOT / "train_loop.py", *options], env=environment, **quiet))
    first = first_failure(workers)
    ended = end_all(workers)
    if first is not None:
        errors[first].seek(0)
        said = errors[first].read().decode(errors="replace")
        if "worker 0" not in said:  # what is said of it, it has said itself
            sys.stderr.write(said)
        if message := ending(first, addresses[first], workers[first].returncode):
            print(message, file=sys.stderr)
    return workers[0].returncode if ended and workers[0].returncode >= 0 else 1


def ending(index: int, address: str, status: int) -> str | None:
    """What to say of a worker that a signal ended; it could not say it itself."""
    if status >= 0:
        return None
    name = signal.Signals(-status).name
    if -status in (signal.SIGINT, signal.SIGTERM):
        return f"stopped at once by {'Ctrl-C' if name == 'SIGINT' else name}; what was saved before is undamaged"
    return f"worker {index} at {address} was ended by {name}; what was saved before is undamaged, see --resume"


def first_failure(workers: list[subprocess.Popen]) -> int | None:
    """Wait until worker 0 has ended well (None), or until one has failed: its index."""
    while True:
        states = [worker.poll() for worker in workers]
        if failed := [i for i, state in enumerate(states) if state]:
            return failed[0]
        if states[0] == 0:  # complete: the others have nothing to wait for
            return None
        time.sleep(0.05)


def end_all(workers: list[subprocess.Popen]) -> bool:
    """Give the rest GRACE seconds to notice, then end them. Returns whether none had to be ended."""
    deadline = time.monotonic() + GRACE
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    late = [worker for worker in workers if worker.poll() is None]
    for worker in late:
        worker.kill()
        worker.wait()
    return not late


if __name__ == "__main__":
    sys.exit(main())
