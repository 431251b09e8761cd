"""Two workers are killed at random, all are started again with --resume, and the run is compared with one left alone.

    python tests/run/kill_workers.py --kills 30 --seed 0      about half an hour

Each time one of the two, at a random moment of its training, evaluating or saving, is ended by SIGKILL, or stopped by
SIGSTOP: to the other that is a machine whose network is gone. All have to end by themselves; then all are started
again. A run that is complete is compared byte by byte with one that nobody killed, and the next one begins. The last
line is for docs/reference/reliability.md; the exit status is 1 if anything was lost or a process outlived its run.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from core.run import checkpoints, launch, logs, workers

EXACT = (logs.STEPS, logs.EPOCHS, logs.LAYERS, logs.PREDICTIONS)
ARGS = (
    "--recipe", "debug", "--no-eager", "--kernels", "fast", "--data", "shapes10", "--batch-size", "100",
    "--micro-batches", "2", "--threads", "1", "--steps", "400", "--evaluate-every", "50", "--checkpoint-every", "20",
    "--diagnostics", "full", "--run", "run",
)  # fmt: skip
OUTLIVES = 60  # seconds after which no process of a run may be there


def start(runs_dir: Path, resume: bool) -> list[subprocess.Popen]:
    """Both workers, each as on a machine of its own: nobody else ends one when the other ends."""
    addresses = [f"127.0.0.1:{port}" for port in launch.free_ports(2)]
    args = ("--run", "run", "--resume", "--threads", "1") if resume else ARGS
    return [
        subprocess.Popen(
            [sys.executable, workers.ROOT / "train_loop.py", *args, "--runs-dir", runs_dir],
            env=os.environ | {"TF_CONFIG": launch.tf_config(addresses, index)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2)
    ]  # fmt: skip


def steps_of(folder: Path) -> int:
    """How many steps are in the file."""
    path = folder / logs.STEPS
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def wait(started: list[subprocess.Popen], seconds: float) -> bool:
    """Whether all end within so many seconds."""
    deadline = time.monotonic() + seconds
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        time.sleep(0.02)
    return all(process.poll() is not None for process in started)


def kill_one(started, chance: random.Random, folder: Path) -> tuple[str, int] | None:
    """Kill one at a random moment after its first new step: (signal, which); None when one had ended before."""
    begun, victim, name = steps_of(folder), chance.randrange(2), chance.choice(("SIGKILL", "SIGKILL", "SIGSTOP"))
    while steps_of(folder) <= begun and any(process.poll() is None for process in started):
        time.sleep(0.01)
    wait(started, chance.uniform(0, 4))
    if any(process.poll() is not None for process in started):
        return None
    started[victim].send_signal(getattr(signal, name))
    return name, victim


def same(found: Path, expected: Path) -> bool:
    """Whether two runs have the same bytes in their logs and in the tensors of their last checkpoints."""
    logs_same = all((found / name).read_bytes() == (expected / name).read_bytes() for name in EXACT)
    tensors, wanted = checkpoints.newest(found).tensors, checkpoints.newest(expected).tensors
    return logs_same and {n: t.tobytes() for n, t in tensors.items()} == {n: t.tobytes() for n, t in wanted.items()}


def main(kills: int, seed: int) -> int:
    """Do it so often; returns the exit status."""
    chance, done, problems, compared = random.Random(seed), {}, [], 0
    with tempfile.TemporaryDirectory() as folder:
        expected, runs_dir = Path(folder) / "alone" / "run", Path(folder) / "killed"
        alone = start(expected.parent, resume=False)
        wait(alone, 600)
        while sum(done.values()) < kills:
            started = start(runs_dir, resume=(runs_dir / "run" / "config.json").exists())
            victim = kill_one(started, chance, runs_dir / "run")
            if victim is None:
                if not wait(started, OUTLIVES):
                    problems.append(f"after {done} a process is still there")
                    [process.kill() for process in started]
                problems += [process.stderr.read() for process in started if process.returncode]
                compared += 1
                if not same(runs_dir / "run", expected):
                    problems.append(f"after {done} the run is not the same")
                shutil.rmtree(runs_dir)
                continue
            done[victim] = done.get(victim, 0) + 1
            other = started[1 - victim[1]]
            if not wait([other], OUTLIVES):
                problems.append(f"worker {1 - victim[1]} still there {OUTLIVES} s after {victim[0]} to the other")
                other.kill()
            elif other.returncode and "does not answer any more" not in (said := other.stderr.read()):
                problems.append(f"after {victim}: exit status {other.returncode}: {said}")
            started[victim[1]].kill()
            started[victim[1]].wait()
            print(
                f"{sum(done.values())} kills, last {victim[0]} to worker {victim[1]}; {len(problems)} problems",
                flush=True,
            )
        finished = start(runs_dir, resume=(runs_dir / "run" / "config.json").exists())
        if not wait(finished, 600) or not same(runs_dir / "run", expected):
            problems.append("the last run is not the same")
    print(*problems, sep="\n")
    counts = ", ".join(f"{name} to worker {index}: {times}" for (name, index), times in sorted(done.items()))
    print(f"{sum(done.values())} kills ({counts}), {compared + 1} runs compared, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.exit(main(args.kills, args.seed))
