"""What every script does with what can go wrong: one line, no escape codes, no traceback, whatever the terminal."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import MadeRun
from runner import PROJECT, run, started

from analysis.support import common
from analysis.support.run import NotMeasured, Run
from core.run import logs, run_folder

SCRIPTS = ("curves", "gradients", "activations", "curvature", "diagnose")


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    """A clean run with every quantity, curvature included."""
    folder = tmp_path_factory.mktemp("runs")
    made, steps = MadeRun(epochs=2), np.array([1, 2, 5, 10, 20, 50, 100])
    for quantity in ("curvature", "noise_g2", "noise_s", "gain_ratio"):
        made.layers[quantity] = {"network": (steps, np.full(7, 0.9))}
    made.write(folder, "good")
    return folder


def copy_of(runs_dir, tmp_path):
    """The run in a folder of its own, to be changed."""
    MadeRun(epochs=2).write(tmp_path, "it")
    for path in (runs_dir / "good").iterdir():
        (tmp_path / "it" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "it"


def test_text_is_printed_without_commands_for_the_terminal(capsys):
    common.say("a\x1b[31mb", "c\rd\x07\u202ee ± ü", "f\udcffg")
    assert capsys.readouterr().out == "a\\x1b[31mb\nc\\rd\\x07\\u202ee ± ü\nf\\udcffg\n"
    assert common.one_line("a\nb") == "a\\nb"


@pytest.mark.parametrize(
    "error", [run_folder.RunError("a\nb\x1b"), OSError(2, "gone", "a\nb"), OSError("odd"), MemoryError()]
)
def test_what_can_go_wrong_is_one_line(error):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        common.answer(main)
    assert stopped.value.code.isprintable()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_reader_that_has_read_enough(runs_dir, tmp_path, script):
    """`| true` and `| head -1`: no traceback, nothing on standard error."""
    out = [] if script == "diagnose" else ["--out", str(tmp_path / "it.png")]
    for reader, lines in ((["true"], 0), (["head", "-1"], 1)):
        with subprocess.Popen(reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reading:
            process = started(f"analysis/{script}.py", "good", "--runs-dir", runs_dir, *out, stdout=reading.stdin)
            reading.stdin.close()
            assert process.communicate()[1] == ""
            assert reading.stdout.read().count(b"\n") == lines


def test_a_terminal_that_knows_ascii_only_and_a_path_that_is_not_utf8(runs_dir, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9")
    copy = copy_of(runs_dir, tmp_path / "plain")
    os.makedirs(odd)
    copy.rename(os.path.join(odd, "it"))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for script in SCRIPTS:
        for last in ("it", "--help", "nobody\x1b[31m\nx"):
            process = started(f"analysis/{script}.py", "--runs-dir", odd, last, env=environment)
            out, err = process.communicate()
            assert "Traceback" not in out + err and "\x1b" not in out + err and (out + err).isascii()
            assert process.returncode == (1 if last.startswith("nobody") else 0), out + err
            assert not last.startswith("nobody") or err.count("\n") == 1


CHANGES = {
    "a byte that is not UTF-8 in steps.csv": (logs.STEPS, lambda text: text.replace(b"\n2,1,", b"\n2,\xff,"), "line 3"),
    "in layers.csv": (logs.LAYERS, lambda text: text.replace(b",conv1,", b",c\xffnv1,", 1), "layer: expected"),
    "in epochs.csv": (logs.EPOCHS, lambda text: text.replace(b"\n2,", b"\n\xfe,"), "line 3: expected text in UTF-8"),
    "a step of twenty nines": (logs.STEPS, lambda text: text.replace(b"\n3,", b"\n" + b"9" * 20 + b","), "line 4"),
    "an accuracy above 1": (logs.EPOCHS, lambda text: text.replace(text.split(b"\n")[1].split(b",")[5], b"1.5"),
                            "test_accuracy: expected a number, 0 to 1, found 1.5"),
    "null for a number": (run_folder.CONFIG, lambda text: text.replace(b'"epochs": 2', b'"epochs": null'),
                          "settings.epochs: expected a whole number, 1 to 100000, found null"),
    "true for a number": (run_folder.CONFIG, lambda text: text.replace(b'h": 100,', b'h": true,'),
                          "steps_per_epoch: expected a whole number"),
    "no settings": (run_folder.CONFIG, lambda text: json.dumps(json.loads(text) | {"settings": None}).encode(),
                    "settings: expected an object"),
    "nested 3,000 deep": (run_folder.CONFIG, lambda text: b'{"a":' * 3000 + b"1" + b"}" * 3000, "not the description"),
    "a title with escape codes": (run_folder.CONFIG, lambda text: text.replace(b"made of formulas", b"\\u001b[31mred"),
                                  r"data.title: expected printable text, found '\x1b[31mred'"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_was_changed_is_one_line_with_field_and_values(runs_dir, tmp_path, what):
    name, change, sentence = CHANGES[what]
    path = copy_of(runs_dir, tmp_path) / name
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    script = "gradients" if name == logs.LAYERS else "curves"
    done = run(f"analysis/{script}.py", "it", "--runs-dir", tmp_path, status=1)
    assert (
        sentence in done.stderr and name in done.stderr and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
    )


def test_a_class_99999_takes_no_memory(runs_dir, tmp_path):
    path = copy_of(runs_dir, tmp_path) / logs.PREDICTIONS
    path.write_text(path.read_text() + "200,99999,0,1\n")
    done = run("analysis/diagnose.py", "it", "--runs-dir", tmp_path, status=1)
    assert "true_class: expected a whole number, 0 to 999, found 99999" in done.stderr
    path.write_text(path.read_text().replace("99999", "999"))
    with pytest.raises(NotMeasured, match="has no evaluation yet"):  # of 1,000 classes none is complete
        Run(tmp_path / "it").confusions()


@pytest.mark.parametrize("script", SCRIPTS)
def test_steps_csv_of_its_header_only_beside_a_full_layers_csv(runs_dir, tmp_path, script):
    path = copy_of(runs_dir, tmp_path) / logs.STEPS
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    lacks_its_panels = script in ("gradients", "curvature")  # only activations are measured before the first step
    done = run(f"analysis/{script}.py", "it", "--runs-dir", tmp_path, status=int(lacks_its_panels))
    assert not lacks_its_panels or "was not measured" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS[:4])
def test_one_panel_is_a_slide(runs_dir, tmp_path, script):
    names = {"curves": "loss", "gradients": "flow", "activations": "dead", "curvature": "noise"}
    out = tmp_path / "slide.png"
    run(f"analysis/{script}.py", "good", "--runs-dir", runs_dir, "--panel", names[script], "--out", out)
    content = out.read_bytes()
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1920, 1080)
    done = run(f"analysis/{script}.py", "--panel", "nothing", status=2)
    assert "invalid choice: 'nothing'" in done.stderr and done.stderr.count("\n") == 1


FIGURES = ("activations", "attention", "compare", "confusion", "curvature", "curves", "embedding", "examples",
           "filters", "gradients", "landscape", "predict", "replay", "predictions class", "study")  # fmt: skip


@pytest.mark.parametrize("script", FIGURES)
def test_every_figure_has_its_panels_as_slides(script):
    name, *verb = script.split()
    assert "--panel NAME" in run(f"analysis/{name}.py", *verb, "--help").stdout


def test_no_figure_is_forgotten_above():
    """A script that draws names a file *.png."""
    scripts = {path.stem for path in Path(common.__file__).parents[1].glob("*.py") if ".png" in path.read_text()}
    others = {name.split()[0] for name in FIGURES}
    assert scripts <= others and others - scripts <= {"activations", "curvature", "gradients", "compare"}  # panels.py


STARTING = [path for path in sorted(PROJECT.glob("analysis/*.py")) if "# before TensorFlow" in path.read_text()]


@pytest.mark.parametrize("path", STARTING, ids=lambda path: path.stem)
def test_ctrl_c_while_tensorflow_starts_is_one_line(path):
    """Its arguments are read, its heavy imports are still to come: there every such script asks for it."""
    block = re.search(r'if __name__ == "__main__":\n(.*\n)+?\n', path.read_text())[0].rstrip()
    assert block.splitlines()[-1] == "    common.end_quietly_while_importing()"


def test_ctrl_c_in_an_import_ends_the_script_at_once():
    code = (
        "import os, signal, sys; sys.argv = ['replay.py']\n"
        "from analysis.support import common\n"
        "common.end_quietly_while_importing()\n"
        "os.kill(os.getpid(), signal.SIGINT); print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nreplay.py: stopped\n")


def test_ctrl_c_later_on_is_raised_as_usual(monkeypatch):
    def main():
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it is raised in the line above")

    monkeypatch.setattr(sys, "argv", ["replay.py"])
    with pytest.raises(SystemExit) as stopped:
        common.answer(main)
    assert stopped.value.code == "\nreplay.py: stopped"
