"""Damaged and hostile files and command lines: every reader answers with its own error, one printable line.

    TMPDIR=/dev/shm python tests/fuzz_readers.py --inputs 100000 --seed 0    ten minutes; an hour on a disk

Each input is something valid, changed at random: bits flipped, bytes inserted, deleted or repeated, words replaced by
odd ones. What a reader raises must be the error that its docstring names. Everything else is a finding: it is printed
with the input, and the exit status is 1.
"""

import argparse
import contextlib
import hashlib
import io
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from core.run import checkpoints, logs, run_folder
from core.run.errors import LogError, RunError
from core.run.resumed_settings import resumed_settings
from core.settings import command_line

ODD = (
    b"null", b"true", b"-1", b"0", b"NaN", b"Infinity", b"1e400", b"9" * 20, b"99999", b"[]", b"{}", b'""', b"[" * 3000,
    b"\xff", b"\x00", b"\x1b[31m", b"\n", b"\r\n", b",", b'"', b"1e-320", b"0x10", b"1_000", "Ⅷ".encode(), b" ",
)  # fmt: skip
OPTIONS = [option for action in command_line.build_parser()._actions for option in action.option_strings]
VALUES = (
    "0", "1", "-1", "1e300", "nan", "inf", "0,1", "9" * 400, "", " ", "a\nb", "\x1b[1m", "Ⅷ", "classic", "debug",
    "auto", "adam", "gpu:999", "../x", "--", "5%", "0.5", "1.5", "60", "1_000", "None",
)  # fmt: skip


def damaged(valid: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four random changes."""
    content = bytearray(valid)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[at : at + chance.choice((1, 1, 10, 1000))]
        elif kind == 2:
            content[at:at] = content[at : at + chance.choice((1, 30, 300))]
        elif kind == 3:
            content[at:at] = chance.choice(ODD)
        elif kind == 4:  # another value between two separators
            begin = max(content.rfind(b",", 0, at), content.rfind(b":", 0, at), content.rfind(b"\n", 0, at)) + 1
            ends = [end for end in (content.find(b",", at), content.find(b"\n", at)) if end >= 0]
            content[begin : min(ends, default=len(content))] = chance.choice(ODD)
        else:
            del content[at:]
    return bytes(content)


class Readers:
    """{name: function(chance) that reads one damaged input}, over a folder with everything that a run leaves."""

    def __init__(self, folder: Path):
        self.folder = folder
        settings = command_line.parse(["--recipe", "debug"]).settings
        config = {
            "run": "it", "steps_per_epoch": 2, "total_steps": 4, "precision": "float32", "settings": vars(settings),
            "data": {"title": "shapes10", "name": "shapes10", "fingerprint": "0", "train_images": 9, "test_images": 4,
                     "class_names": ["disc", "ring"], "train_class_counts": [4, 5], "test_class_counts": [2, 2]},
            "diagnostics": {"intervals": {"norms": 1}}, "kernels": {"conv1": "fused"},
            "architecture": [{"layer": "Flatten", "name": "flatten"}],
        }  # fmt: skip
        run_folder.write_config(folder, config)
        log = logs.Logs(folder)
        for step in range(1, 30):
            log.append(logs.STEPS, [step, 1, 2.3 / step, 0.1, 0.04, 1.5])
            log.append(logs.TIMING, [step, 0.01, 0.01 * step, 0.0])
            log.layers([(step, "conv1", "gradient_norm", 0.5), (step, "conv1", "credit", -1e-3)])
            log.append(logs.EPOCHS, [step, step, 2.0, 0.2, 2.1, 0.3, 0.01, 0.02])
            log.append(logs.PREDICTIONS, [step, 0, 1, 25])
        log.close()
        tensors = {"conv1/kernel": np.ones([3, 3, 2, 2], np.float32), "velocity/conv1/kernel": np.zeros(4, np.float32)}
        self.checkpoint = checkpoints.save(folder, 4, tensors, keep=2)
        self.valid = {path: path.read_bytes() for path in (*folder.glob("*.csv"), folder / run_folder.CONFIG,
                                                           *self.checkpoint.iterdir())}  # fmt: skip
        self.readers = {name: lambda chance, name=name: self.read_table(chance, name) for name in logs.COLUMNS}
        self.readers |= {
            "config.json": self.read_config, "manifest.json": self.read_manifest, "tensors.npz": self.read_tensors,
            "command line": self.read_command_line,
        }  # fmt: skip

    def damage(self, path: Path, chance: random.Random) -> bytes:
        """Write a damaged version of a file and return it."""
        content = damaged(self.valid[path], chance)
        path.write_bytes(content)
        return content

    def read_table(self, chance: random.Random, name: str) -> bytes:
        """One of the CSV files."""
        content = self.damage(self.folder / name, chance)
        expect(LogError, logs.read, self.folder, name)
        return content

    def read_config(self, chance: random.Random) -> bytes:
        """config.json, and the settings in it."""
        content = self.damage(self.folder / run_folder.CONFIG, chance)
        expect(RunError, resumed_settings, self.folder, command_line.parse([]))
        return content

    def read_manifest(self, chance: random.Random) -> bytes:
        """A checkpoint with a damaged manifest."""
        content = self.damage(self.checkpoint / checkpoints.MANIFEST, chance)
        expect(checkpoints.CheckpointError, checkpoints.read, self.checkpoint)
        self.restore()
        return content

    def read_tensors(self, chance: random.Random) -> bytes:
        """A checkpoint whose damaged archive has been signed again, as somebody hostile would."""
        content = self.damage(self.checkpoint / checkpoints.TENSORS, chance)
        manifest = {"step": 4, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (self.checkpoint / checkpoints.MANIFEST).write_text(json.dumps(manifest))
        expect(checkpoints.CheckpointError, checkpoints.read, self.checkpoint)
        self.restore()
        return content

    def restore(self) -> None:
        """The checkpoint as it was."""
        for path in self.checkpoint.iterdir():
            path.write_bytes(self.valid[path])

    def read_command_line(self, chance: random.Random) -> bytes:
        """Options of train_loop.py with odd values."""
        args = []
        for _ in range(chance.randint(1, 4)):
            option = chance.choice([option for option in OPTIONS if option not in ("-h", "--help")])
            args += [option] if chance.random() < 0.3 else [option, chance.choice(VALUES)]
        text = io.StringIO()
        with contextlib.redirect_stderr(text), contextlib.suppress(SystemExit):
            command_line.parse(args)
        for line in text.getvalue().splitlines():
            assert line.isprintable() and len(line) < 400 and line.startswith("train_loop.py: "), line
        return " ".join(map(repr, args)).encode()


def expect(error: type, reader, *args) -> None:
    """Call a reader; its own error must be one printable line."""
    try:
        reader(*args)
    except error as found:
        assert str(found).isprintable() and len(str(found)) < 1000, str(found)


def fuzz(inputs: int, seed: int) -> tuple[int, list[str]]:
    """(how many inputs were read, the findings) with `inputs` for every reader."""
    findings, count = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        readers = Readers(Path(temporary)).readers
        for name, read in readers.items():
            for number in range(inputs):
                chance = random.Random(f"{seed} {name} {number}")  # each input can be made again by itself
                count += 1
                try:
                    read(chance)
                except Exception as error:
                    findings.append(f"{name} input {number}: {type(error).__name__}: {error}")
    return count, findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="for every reader [100000]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="[0]")
    given = parser.parse_args()
    total, found = fuzz(given.inputs, given.seed)
    print(*found[:50], f"seed {given.seed}: {total:,} inputs, {len(found)} undocumented exceptions", sep="\n")
    sys.exit(bool(found))
