"""A mistake on the command line: reported in a line, all of them together, before TensorFlow is imported."""

import contextlib
import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.command_line import SYNONYMS, build_parser, parse
from core.settings.recipes import RECIPES
from core.settings.settings import GROUPS, Settings

PROJECT = Path(__file__).resolve().parent.parent.parent

# Mistakes, and what their line must hold.
WRONG = {
    # a value that is none
    "--learning-rate fast": "--learning-rate fast: expected a number in (0, 1e9]",
    "--epochs 2.5": "--epochs 2.5: expected a whole number, 1 to 100000",
    "--stop-at soon": "--stop-at soon: expected a whole number, 0 to 10000000",
    "--diagnostics-budget some": "--diagnostics-budget some: expected a number, 0 to 100",
    "--learning-rate 0,1": "--learning-rate 0,1: expected a number in (0, 1e9]; write 0.1",
    "--weight-decay -1e-9": "--weight-decay -1e-9: expected a number",
    "--weight-decay -.5e3": "--weight-decay -.5e3: expected a number",
    "--learning-rate -inf": "--learning-rate -inf: expected a number in (0, 1e9]",
    "--warmup 0,25": "--warmup 0,25: expected a number in [0, 1); write 0.25",
    "--batch-size 1,5": "--batch-size 1,5: expected a whole number, 1 to 50000",
    # words
    "--device tpu": "--device tpu: expected auto, cpu, gpu or gpu:K",
    "--device gpu:": "--device gpu:: expected auto, cpu, gpu or gpu:K",
    "--data cifar": "--data cifar: expected one of auto, cifar10, shapes10 (did you mean cifar10?)",
    "--optimizer adm": "--optimizer adm: expected one of sgd, adam, adamw, muon (did you mean adam?)",
    "--network resnet": "--network resnet: expected one of classic, modern, debug, plain, speed64",
    "--precision float16": "(did you mean bfloat16?)",
    "--diagnostics ful": "--diagnostics ful: expected one of off, light, full (did you mean full?)",
    "--flip sometimes": "--flip sometimes: expected one of none, random, alternating",
    "--kernels slow": "--kernels slow: expected one of auto, textbook, fast",
    "--network speed64 --activation tanh": "--activation tanh: expected one of relu, leaky_relu, gelu, sigmoid, none",
    "--recipe clasic": "--recipe clasic: expected one of classic, modern, minute, five, fast, debug (did you",
    # combinations
    "--steps 0": "--steps 0: expected at least 1",
    "--batch-size 10001 --data shapes10": "--batch-size 10001: larger than the 10,000 training images",
    "--batch-size 45001 --holdout": "--batch-size 45001: larger than the 45,000 training images",
    "--batch-size 9001 --holdout --data shapes10": "--batch-size 9001: larger than the 9,000 training images",
    "--train-images 9001 --holdout --data shapes10": "--train-images 9001: more than the 9,000 that there are",
    "--train-images 50 --batch-size 60": "--batch-size 60: larger than the 50 training images",
    "--micro-batches 60 --batch-size 50": "--micro-batches 60: expected at most --batch-size 50",
    "--diagnostics off --diagnostics-budget 5%": "--diagnostics off and --diagnostics-budget 5: give only",
    "--epochs 2 --steps 5": "--epochs 2 and --steps 5: two lengths; give only one",
    "--pdb --no-eager": "--pdb and --no-eager: the debugger needs the step uncompiled",
    "--optimizer adam --weight-decay 0.1": "--weight-decay 0.1: adam has none; use --optimizer adamw",
    # without effect
    "--activation gelu": "--activation: only --network plain and the speed networks have it, so here it would change",
    "--dropout 0.2": "--dropout: only --network plain has it, so here it would change nothing",
    "--network modern --batch-norm": "--batch-norm: only --network plain has it",
    "--network plain --head average --dense-units 9": "--dense-units: only --head dense has it",
    "--no-whitening-init": "--whitening-init: only the speed networks have it",
    "--muon-rate 0.1": "--muon-rate: only --optimizer muon has it",
    "--optimizer adam --momentum 0.5": "--momentum: only sgd and muon have it",
    # options that are none
    "--learning-rat 0.1": "--learning-rat: no such option (did you mean --learning-rate?)",
    "--label 1": "--label: no such option (did you mean --label-smoothing?)",
    "--zzz": "--zzz: no such option; see --help",
    "--zzz=5": "--zzz=5: no such option; see --help",
    "somewhere": "somewhere: not expected here; every setting is written --name value",
    # names of runs
    "--run ../escape": "--run ../escape: expected 1 to 64 letters",
    "--run latest": "--run latest: expected 1 to 64 letters",
    "--run .hidden": "--run .hidden: expected 1 to 64 letters",
    "--run=-x": "--run -x: expected 1 to 64 letters",
    "--runs-dir=-d": "--runs-dir -d: expected a path that does not start with '-'",
    "--run tensorboard": "--run tensorboard: expected 1 to 64 letters",
    f"--run {'x' * 65}": "expected 1 to 64 letters",
}

# Each range: the last values inside it, and the first outside or what is no such number.
RANGES = {
    "--learning-rate": (["1e-12", "1e9"], ["0", "-0.1", "nan", "inf", "-inf", "1e300", "1000000001"]),
    "--muon-rate": (["1e-12", "1e9"], ["0", "-1", "nan"]),
    "--weight-decay": (["0", "1e9"], ["-1e-9", "nan", "1e300"]),
    "--momentum": (["0", "0.999"], ["-0.1", "1", "nan"]),
    "--warmup": (["0", "0.999"], ["-0.1", "1", "nan"]),
    "--final-rate": (["0", "1"], ["-0.1", "1.1", "nan"]),
    "--label-smoothing": (["0", "0.999"], ["-0.1", "1", "nan"]),
    "--weight-average": (["0", "1"], ["-0.1", "1.5", "nan"]),
    "--diagnostics-budget": (["0", "100", "100%"], ["-1", "200%", "101", "nan"]),
    "--epochs": (["1", "100000"], ["0", "-1", "100001", "1e3", "9" * 400]),
    "--steps": (["1", "10000000"], ["-3", "10000001"]),
    "--batch-size": (["1", "50000"], ["0", "50001", "60000"]),
    "--seed": (["0", "2147483647"], ["-1", "2147483648"]),
    "--crop": (["0", "8"], ["-1", "9"]),
    "--threads": (["0", "256"], ["-1", "257", "9999999999999"]),
    "--micro-batches": (["0", "64"], ["-1", "65"]),
    "--devices": (["1"], ["0", "65"]),
    "--train-images": (["0", "50000"], ["-1", "50001"]),
    "--width": (["1", "1024"], ["0", "1025"]),
    "--depth": (["1", "8"], ["0", "9"]),
    "--kernel-size": (["1", "9"], ["0", "10"]),
    "--dropout": (["0", "0.999"], ["-0.1", "1", "nan"]),
    "--dense-units": (["1", "65536"], ["0", "65537"]),
    "--evaluate-every": (["0", "10000000"], ["-1", "10000001"]),
    "--checkpoint-every": (["0", "10000000"], ["-1", "10000001"]),
    "--keep-checkpoints": (["2", "1000000"], ["1", "1000001"]),
    "--stop-at": (["0", "10000000"], ["-1", "10000001", "9" * 400]),
}
# What an option needs beside it.
OF_PLAIN = ("--width", "--depth", "--kernel-size", "--dropout", "--dense-units")
NEEDED = {"--muon-rate": ["--optimizer", "muon"]} | {name: ["--network", "plain"] for name in OF_PLAIN}


def refusal(args: list[str], capsys) -> list[str]:
    """The lines on standard error with which `args` are refused."""
    with pytest.raises(SystemExit) as left:
        parse(args)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize("args", WRONG)
def test_a_mistake_is_reported_in_one_line(args, capsys):
    lines = refusal(args.split(), capsys)
    assert len(lines) == 1, lines
    assert lines[0].startswith("train_loop.py: ") and WRONG[args] in lines[0]


@pytest.mark.parametrize("option", RANGES)
def test_a_range_ends_where_it_is_said_to(option, capsys):
    inside, outside = RANGES[option]
    for value in inside:
        parse([option, value, *NEEDED.get(option, ())])
    for value in outside:
        [line] = refusal([f"{option}={value}", *NEEDED.get(option, ())], capsys)
        assert line.startswith(f"train_loop.py: {option} {value[:30]}") and ": expected a" in line
        assert len(line) < 150


def test_every_number_among_the_settings_has_its_range_tested():
    numbers = [field.name for field in dataclasses.fields(Settings) if field.type in (int, float)]
    assert sorted(RANGES) == sorted([*(f"--{name.replace('_', '-')}" for name in numbers), "--stop-at"])


@pytest.mark.parametrize("synonym", SYNONYMS)
def test_what_people_write_elsewhere_is_understood(synonym, capsys):
    """With its value or without, and whatever is suggested is an option, but for the dropout's own advice."""
    for args in ([synonym, "0.1"], [synonym], [f"{synonym}=0.1"]):
        [line] = refusal(args, capsys)
        assert line == f"train_loop.py: {synonym}: no such option (did you mean {SYNONYMS[synonym]}?)"
    options = {name for action in build_parser()._actions for name in action.option_strings}
    suggested = {word for word in SYNONYMS[synonym].split() if word.startswith("--")}
    assert suggested <= options and bool(suggested) == (synonym != "--dropout")


@pytest.mark.parametrize("option", ["--epochs", "--learning-rate", "--run", "--flip", "--stop-at", "--data-dir"])
@pytest.mark.parametrize("behind", [[], ["--seed", "1"]])
def test_an_option_without_its_value_is_reported_in_one_line(option, behind, capsys):
    assert refusal([option, *behind], capsys) == [f"train_loop.py: {option}: it needs a value; see --help"]


@pytest.mark.parametrize(
    "args", [["--data-dir", "a\nb"], ["--run", "a\nb"], ["--data", "x\ny"], ["--device", "gpu\n:1"], ["--epochs=3\n4"]]
)
def test_a_newline_inside_a_value_stays_in_one_line(args, capsys):
    [line] = refusal(args, capsys)
    assert "\\n" in line


def test_control_characters_do_not_reach_the_terminal(capsys):
    [line] = refusal(["--learning-rate", "\x1b[31mred"], capsys)
    assert line.isprintable()


def test_all_mistakes_are_reported_together(capsys):
    together = ["--learning-rate fast", "--epochs 2.5", "--data cifar", "--recipe clasic", "--device tpu"]
    together += ["--threads none", "--zzz", "--flip sometimes", "--run ../escape", "--stop-at soon"]
    lines = refusal(" ".join(together).split(), capsys)
    assert len(lines) == len(together)
    for line in (*(WRONG[args] for args in together if args in WRONG), "--threads none: expected a whole number"):
        assert sum(line in reported for reported in lines) == 1, f"{line} is not among {lines}"


def test_mistakes_are_reported_before_tensorflow_is_imported():
    """Once as a person would see it, and once with what has been imported by then."""
    args = ["--learning-rate", "-1", "--epochs", "0"]
    seen = subprocess.run([sys.executable, "train_loop.py", *args], cwd=PROJECT, capture_output=True, text=True)
    assert seen.returncode == 2 and seen.stdout == ""
    assert len(seen.stderr.splitlines()) == 2 and "Traceback" not in seen.stderr

    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train_loop.py', *{args}]\n"
        "try: runpy.run_path('train_loop.py', run_name='__main__')\n"
        "except SystemExit as left: print(left.code, 'tensorflow' in sys.modules, 'numpy' in sys.modules)\n"
    )
    imported = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert imported.stdout.split() == ["2", "False", "False"]


def test_help_explains_every_setting_in_groups_with_its_default(capsys):
    with pytest.raises(SystemExit) as left:
        parse(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    at = [text.index(f"\n{group}:") for group in GROUPS]
    assert at == sorted(at)
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in text
    for action in build_parser()._actions:
        if action.option_strings[0] != "-h":
            assert action.help.rstrip().endswith("]"), f"{action.option_strings[0]} shows no default"
    shown = " ".join(text.split())
    for default in ("a function of the seed and the step [0]", "peak of the schedule [0.04]", "[no]", "fixed [yes]"):
        assert default in shown
    for values in ("--optimizer sgd|adam|adamw|muon ", "--data-dir DATA_DIR ", "--epochs N ", "--learning-rate X "):
        assert values in shown


def test_an_argument_on_the_command_line_wins_over_the_recipe():
    given = "--recipe modern --learning-rate 0.3 --flip none --batch-size 64 --run mine --data-dir here"
    invocation = parse(given.split())
    assert invocation.settings == dataclasses.replace(
        RECIPES["modern"], learning_rate=0.3, flip="none", batch_size=64, data_dir="here"
    )
    assert invocation.run == "mine"
    assert sorted(invocation.given) == ["batch_size", "data_dir", "flip", "learning_rate", "recipe"]


def test_without_an_argument_it_is_classic():
    invocation = parse([])
    assert invocation.settings == RECIPES["classic"] == Settings()
    assert (invocation.run, str(invocation.runs_dir), invocation.resume, invocation.stop_at) == ("", "runs", False, 0)
    assert invocation.pdb is False and invocation.given == ()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_by_itself_is_what_it_says(recipe):
    """Also with its own optimizer named."""
    for args in ([], ["--optimizer", RECIPES[recipe].optimizer]):
        assert parse(["--recipe", recipe, *args]).settings == RECIPES[recipe]


@pytest.mark.parametrize(
    ("args", "learning_rate", "weight_decay"),
    [
        ("--optimizer adam", 0.001, 0.0),
        ("--optimizer adamw", 0.001, 0.01),
        ("--optimizer muon --recipe modern", 2.0, 0.001),
        ("--optimizer sgd --recipe minute", 0.04, 0.001),
        ("--optimizer adam --learning-rate 0.5", 0.5, 0.0),
        ("--optimizer adamw --weight-decay 0", 0.001, 0.0),
    ],
)
def test_another_optimizer_than_the_recipes_brings_its_rate_and_decay(args, learning_rate, weight_decay):
    """What is given beside it still wins."""
    settings = parse(args.split()).settings
    assert (settings.learning_rate, settings.weight_decay) == (learning_rate, weight_decay)


def test_the_arguments_are_kept_as_they_were_typed(monkeypatch):
    """For config.json; without any given, those of the process."""
    monkeypatch.setattr(sys, "argv", ["train_loop.py", "--recipe", "debug"])
    assert parse(["--seed", "7"]).command == ("--seed", "7")
    assert parse().command == ("--recipe", "debug") and parse().settings == RECIPES["debug"]


def test_epochs_replace_the_steps_of_a_recipe():
    assert RECIPES["debug"].steps > 0
    settings = parse("--recipe debug --epochs 3".split()).settings
    assert (settings.epochs, settings.steps) == (3, 0)


def test_the_debugger_runs_line_by_line():
    assert parse(["--pdb"]).settings.eager is True


@pytest.mark.parametrize("value", ["5", "5%", "5.0"])
def test_a_percentage_may_have_its_sign(value):
    assert parse(["--diagnostics-budget", value]).settings.diagnostics_budget == 5.0


def test_what_belongs_to_the_process_and_not_to_the_run():
    invocation = parse("--run a.b_c-1 --runs-dir there --resume --stop-at 5 --pdb".split())
    assert (invocation.run, str(invocation.runs_dir), invocation.resume) == ("a.b_c-1", "there", True)
    assert (invocation.stop_at, invocation.pdb, invocation.given) == (5, True, ())
    assert parse(["--run", "x" * 64]).run == "x" * 64
    assert parse(["--run", "a run/by its path", "--resume"]).run == "a run/by its path"  # it is there already


options = st.sampled_from([f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)])
values = st.one_of(
    st.sampled_from(["0", "-1", "1e400", "nan", "", " ", "--", "-", "1_0", "٣", "cifar10", "gpu:7", "%s", "latest"]),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
)
command_lines = st.lists(
    st.one_of(options, st.sampled_from(["--run", "--resume", "--pdb", "--stop-at", *SYNONYMS]), values), max_size=8
)


@given(command_lines)
def test_no_command_line_ends_in_a_traceback(args):
    """Whatever is written: settings that can be run, or status 2 with printable lines."""
    try:
        # pytest's capsys cannot be used with hypothesis
        with contextlib.redirect_stderr(io.StringIO()) as written, contextlib.redirect_stdout(io.StringIO()):
            invocation = parse(args)
    except SystemExit as left:
        assert left.code == (0 if "-h" in args or "--help" in args else 2)
        if left.code:
            assert all(line.isprintable() for line in written.getvalue().split("\n"))
    else:
        assert invocation.settings.problems() == []


@pytest.mark.parametrize("args", [["--devices", "8"], ["--width", "16"], ["--train-images", "50"]])
def test_on_a_resume_options_are_held_against_the_run_and_not_against_the_recipe(args, capsys):
    """A run of another batch size or network may have them: core/run/resumed_settings.py knows them."""
    assert parse(["--resume", *args]).resume
    with pytest.raises(SystemExit):
        parse(args)
    with pytest.raises(SystemExit):
        parse(["--resume", "--devices", "65"])
    assert capsys.readouterr().err.splitlines()[-1] == "train_loop.py: --devices 65: expected a whole number, 1 to 64"
