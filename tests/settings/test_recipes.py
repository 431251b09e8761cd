"""A wrong word on the command line: told in a line, all of them together, before TensorFlow is awake."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.command_line import parse
from core.settings.recipes import RECIPES
from core.settings.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent

# One wrong option, and what its line must say.
WRONG = {
    "--learning-rate 0": "--learning-rate 0.0: expected a finite number above 0",
    "--learning-rate -0.1": "--learning-rate -0.1: expected a finite number above 0",
    "--learning-rate nan": "--learning-rate nan: expected a finite number above 0",
    "--learning-rate inf": "--learning-rate inf: expected a finite number above 0",
    "--learning-rate fast": "--learning-rate fast: expected a number",
    "--epochs 0": "--epochs 0: expected at least 1",
    "--epochs 2.5": "--epochs 2.5: expected a whole number",
    "--steps 0": "--steps 0: expected at least 1",
    "--steps -3": "--steps -3: expected at least 1",
    "--batch-size 0": "--batch-size 0: expected at least 1",
    "--batch-size 60000": "--batch-size 60000: larger than the 50000 training images",
    "--batch-size 10001 --data shapes10": "--batch-size 10001: larger than the 10000 training images",
    "--batch-size 45001 --holdout": "--batch-size 45001: larger than the 45000 training images",
    "--batch-size 9001 --holdout --data shapes10": "--batch-size 9001: larger than the 9000 training images",
    "--seed -1": "--seed -1: expected a number from 0 to 2147483647",
    "--seed 2147483648": "--seed 2147483648: expected a number from 0 to 2147483647",
    "--momentum 1": "--momentum 1.0: expected a number in [0, 1)",
    "--weight-decay -1": "--weight-decay -1.0: expected a finite number, 0 or above",
    "--warmup 1": "--warmup 1.0: expected a share in [0, 1)",
    "--final-rate 1.5": "--final-rate 1.5: expected a share in [0, 1]",
    "--label-smoothing 1": "--label-smoothing 1.0: expected a probability in [0, 1)",
    "--weight-average 1.5": "--weight-average 1.5: expected a share of the steps in [0, 1]",
    "--crop 9": "--crop 9: expected 0 to 8 pixels",
    "--threads -1": "--threads -1: expected at least 1, or 0 for all",
    "--checkpoint-every -1": "--checkpoint-every -1: expected at least 1",
    "--keep-checkpoints 1": "--keep-checkpoints 1: expected at least 2",
    "--device tpu": "--device tpu: expected auto, cpu, gpu or gpu:K",
    "--device gpu:": "--device gpu:: expected auto, cpu, gpu or gpu:K",
    "--data cifar": "--data cifar: expected one of auto, cifar10, shapes10 (did you mean cifar10?)",
    "--optimizer adm": "--optimizer adm: expected one of sgd, adam, muon (did you mean adam?)",
    "--network resnet": "--network resnet: expected one of classic, modern, speed64",
    "--precision float16": "(did you mean bfloat16?)",
    "--diagnostics ful": "--diagnostics ful: expected one of off, light, full (did you mean full?)",
    "--diagnostics-budget 200%": "--diagnostics-budget 200.0: expected a percentage, 0 to 100",
    "--diagnostics-budget some": "--diagnostics-budget some: expected a number",
    "--diagnostics off --diagnostics-budget 5%": "--diagnostics off and --diagnostics-budget 5: give only",
    "--flip --alternating-flip": "--flip and --alternating-flip: two ways to mirror",
    "--activation gelu": "--activation: only the speed networks have it, so here it would change nothing",
    "--muon-rate 0.1": "--muon-rate: only --optimizer muon has it",
    "--optimizer adam --momentum 0.5": "--momentum: only sgd and muon have it",
    "--optimizer muon --muon-rate -1": "--muon-rate -1.0: expected a finite number above 0",
    "--network speed64 --activation tanh": "--activation tanh: expected one of relu, gelu",
    "--recipe clasic": "--recipe clasic: expected one of classic, modern, minute, five, fast, debug (did you",
    "--learning-rat 0.1": "--learning-rat: no such option (did you mean --learning-rate?)",
    "--zzz": "--zzz: no such option; see --help",
    "somewhere": "somewhere: not expected here; every setting is written --name value",
    "--run ../escape": "--run ../escape: expected 1 to 64 letters",
    "--run latest": "--run latest: expected 1 to 64 letters",
    "--run .hidden": "--run .hidden: expected 1 to 64 letters",
    "--epochs 2 --steps 5": "--epochs 2 and --steps 5: one length, please",
    "--pdb --no-eager": "--pdb and --no-eager: the debugger needs the step uncompiled",
    "--stop-at soon": "--stop-at soon: expected a whole number",
    "--stop-at -1": "--stop-at -1: expected a step, 1 or above",
}


def refusal(args: list[str], capsys) -> list[str]:
    """The lines on standard error with which `words` are refused."""
    with pytest.raises(SystemExit) as left:
        parse(args)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize("args", WRONG)
def test_a_wrong_word_is_answered_in_one_line(args, capsys):
    lines = refusal(args.split(), capsys)
    assert len(lines) == 1, lines
    assert lines[0].startswith("train_loop.py: ") and WRONG[args] in lines[0]


def test_all_mistakes_are_told_in_one_go(capsys):
    together = ["--learning-rate 0", "--epochs 0", "--batch-size 0", "--data cifar", "--recipe clasic", "--crop 9"]
    together += ["--threads none", "--zzz", "--seed -1", "--run ../escape", "--stop-at -1"]
    lines = refusal(" ".join(together).split(), capsys)
    assert len(lines) == len(together)
    for line in (*(WRONG[args] for args in together if args in WRONG), "--threads none: expected a whole number"):
        assert sum(line in told for told in lines) == 1, f"{line} is not among {lines}"


def test_wrong_words_are_answered_before_tensorflow_is_imported():
    """Once as a person would see it, and once with a look at what has been imported by then."""
    args = ["--learning-rate", "-1", "--epochs", "0"]
    seen = subprocess.run([sys.executable, "train_loop.py", *args], cwd=PROJECT, capture_output=True, text=True)
    assert seen.returncode == 2 and seen.stdout == ""
    assert len(seen.stderr.splitlines()) == 2 and "Traceback" not in seen.stderr

    look = (
        "import runpy, sys\n"
        f"sys.argv = ['train_loop.py', *{args}]\n"
        "try: runpy.run_path('train_loop.py', run_name='__main__')\n"
        "except SystemExit as left: print(left.code, 'tensorflow' in sys.modules, 'numpy' in sys.modules)\n"
    )
    looked = subprocess.run([sys.executable, "-c", look], cwd=PROJECT, capture_output=True, text=True)
    assert looked.stdout.split() == ["2", "False", "False"]


def test_help_explains_every_setting_and_ends_well(capsys):
    with pytest.raises(SystemExit) as left:
        parse(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in text


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_and_is_what_its_name_gives(name):
    recipe = RECIPES[name]
    assert recipe.recipe == name and recipe.problems() == []
    invocation = parse(["--recipe", name])
    assert invocation.settings == recipe and invocation.given == ("recipe",)


def test_a_word_on_the_command_line_wins_over_the_recipe():
    invocation = parse(
        "--recipe modern --learning-rate 0.3 --no-flip --batch-size 64 --run mine --data-dir here".split()
    )
    assert invocation.settings == dataclasses.replace(
        RECIPES["modern"], learning_rate=0.3, flip=False, batch_size=64, data_dir="here"
    )
    assert invocation.run == "mine"
    assert sorted(invocation.given) == ["batch_size", "data_dir", "flip", "learning_rate", "recipe"]


def test_without_a_word_it_is_classic():
    invocation = parse([])
    assert invocation.settings == RECIPES["classic"] == Settings()
    assert (invocation.run, str(invocation.runs_dir), invocation.resume, invocation.stop_at) == ("", "runs", False, 0)
    assert invocation.pdb is False and invocation.given == ()


def test_epochs_replace_the_steps_of_a_recipe():
    assert RECIPES["debug"].steps > 0
    settings = parse("--recipe debug --epochs 3".split()).settings
    assert (settings.epochs, settings.steps) == (3, 0)


def test_the_debugger_runs_line_by_line():
    assert parse(["--pdb"]).settings.eager is True


@pytest.mark.parametrize(
    "edge",
    ["--batch-size 50000", "--seed 2147483647", "--warmup 0", "--final-rate 1", "--weight-average 1", "--crop 8"],
)
def test_the_last_good_value_is_good(edge):
    parse(edge.split())


options = st.sampled_from([f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)])
values = st.one_of(
    st.sampled_from(["0", "-1", "1e400", "nan", "", " ", "--", "-", "1_0", "٣", "cifar10", "gpu:7", "%s", "latest"]),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
)
args = st.lists(st.one_of(options, st.sampled_from(["--run", "--resume", "--pdb", "--stop-at"]), values), max_size=8)


@given(args)
def test_no_command_line_ends_in_a_traceback(args):
    try:
        invocation = parse(args)
    except SystemExit as left:
        assert left.code == (0 if "-h" in args or "--help" in args else 2)
    else:
        assert invocation.settings.problems() == []


@pytest.mark.parametrize("word", ["5", "5%", "5.0"])
def test_a_percentage_may_have_its_sign(word):
    assert parse(["--diagnostics-budget", word]).settings.diagnostics_budget == 5.0
