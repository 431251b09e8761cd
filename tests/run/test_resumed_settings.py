"""What a run that is resumed keeps of its settings, and what the command line may change."""

import dataclasses
import json

import pytest
from made_folders import made

from core.run import run_folder
from core.run.resumed_settings import resumed_settings
from core.settings.command_line import parse
from core.settings.recipes import RECIPES


def test_a_run_keeps_its_settings(tmp_path):
    folder = made(tmp_path, "one")
    assert resumed_settings(folder, parse(["--resume"])) == RECIPES["debug"]
    assert resumed_settings(folder, parse(["--resume", "--data-dir", "elsewhere"])).data_dir == "elsewhere"
    with pytest.raises(run_folder.RunError, match=r"--batch-size 9: .* was started with 8"):
        resumed_settings(folder, parse(["--resume", "--batch-size", "9"]))
    same = [text for name in ("batch_size", "epochs") for text in (f"--{name}", str(getattr(RECIPES["debug"], name)))]
    again = parse(["--resume", *(text.replace("_", "-") for text in same)])
    assert resumed_settings(folder, again) == RECIPES["debug"], "what it was started with may be given"


def test_a_config_of_another_version_or_an_edited_one(tmp_path):
    folder = made(tmp_path, "one")
    config = run_folder.read_config(folder)
    (folder / run_folder.CONFIG).write_text(json.dumps(config | {"settings": config["settings"] | {"fashion": 1}}))
    with pytest.raises(run_folder.RunError, match=r"another version of this project .see 'fashion'"):
        resumed_settings(folder, parse(["--resume"]))
    (folder / run_folder.CONFIG).write_text(json.dumps(config | {"settings": config["settings"] | {"epochs": 0}}))
    with pytest.raises(run_folder.RunError, match=r"epochs.*expected a whole number, 1 to 100000.*was it edited"):
        resumed_settings(folder, parse(["--resume"]))
    (folder / run_folder.CONFIG).write_text(json.dumps(config | {"settings": config["settings"] | {"devices": 3}}))
    with pytest.raises(run_folder.RunError, match=r"config.json: --devices 3: expected .*; was it edited\?$"):
        resumed_settings(folder, parse(["--resume"]))


@pytest.mark.parametrize(
    ("changes", "epochs", "sentence"),
    [
        ({"warmup": 0.0, "final_rate": 1.0, "steps": 0, "epochs": 3}, 5, None),
        ({"warmup": 0.0, "final_rate": 1.0, "steps": 0, "epochs": 3}, 2, "one has 3; to end earlier,"),
        ({"warmup": 0.1, "final_rate": 1.0, "steps": 0, "epochs": 3}, 5, "with --warmup 0 --final-rate 1"),
        ({"warmup": 0.0, "final_rate": 0.0, "steps": 0, "epochs": 3}, 5, "with --warmup 0 --final-rate 1"),
        ({"warmup": 0.0, "final_rate": 1.0, "steps": 9, "epochs": 3}, 5, "was started with --steps 9 and ends there"),
        (
            {"warmup": 0.0, "final_rate": 1.0, "steps": 0, "epochs": 3, "weight_average": 0.5},
            5,
            "--weight-average 0 can",
        ),
    ],
)
def test_a_run_can_be_continued_to_more_epochs_where_its_schedule_allows_it(tmp_path, changes, epochs, sentence):
    folder = made(tmp_path, "one")
    config = run_folder.read_config(folder)
    run_folder.write_config(folder, config | {"settings": config["settings"] | changes})
    invocation = parse(["--resume", "--epochs", str(epochs)])
    if sentence:
        with pytest.raises(run_folder.RunError, match=sentence):
            resumed_settings(folder, invocation)
    else:
        assert resumed_settings(folder, invocation).epochs == epochs


CHOSEN = {"data": "shapes10", "precision": "float32", "kernels": "fast", "micro_batches": 2}


def begun(runs_dir, **settings):
    """(the settings of a run that was begun with these, its folder)."""
    folder = made(runs_dir, "one")
    config, begun_with = run_folder.read_config(folder), dataclasses.replace(RECIPES["debug"], **settings)
    run_folder.write_config(folder, config | {"settings": dataclasses.asdict(begun_with)})
    return begun_with, folder


@pytest.mark.parametrize("option", ["--data", "--precision", "--kernels", "--micro-batches"])
def test_auto_on_a_resume_keeps_what_was_chosen(tmp_path, option):
    settings, folder = begun(tmp_path, **CHOSEN)
    value = "0" if option == "--micro-batches" else "auto"
    assert resumed_settings(folder, parse(["--resume", option, value])) == settings


@pytest.mark.parametrize(
    "option, value, was",
    [
        ("--data", "cifar10", "shapes10"), ("--precision", "bfloat16", "float32"), ("--kernels", "textbook", "fast"),
        ("--micro-batches", "1", "2"), ("--seed", "0", "5"),
    ],
)  # fmt: skip
def test_another_choice_on_a_resume_is_refused(tmp_path, option, value, was):
    _, folder = begun(tmp_path, **CHOSEN, seed=5)
    with pytest.raises(run_folder.RunError, match=f"^{option} {value}: .*one was started with {was}, and a run keeps"):
        resumed_settings(folder, parse(["--resume", option, value]))


def test_a_run_continues_on_another_device(tmp_path):
    """Begun on a GPU that this machine lacks: the error about that advises --device cpu."""
    _, folder = begun(tmp_path, **CHOSEN, device="gpu")
    assert resumed_settings(folder, parse(["--resume", "--device", "cpu"])).device == "cpu"


@pytest.mark.parametrize("eager", [False, True])
def test_the_debugger_on_a_resume(tmp_path, eager):
    """Steps taken line by line would have other last bits than the graph's, and be saved with them."""
    _, folder = begun(tmp_path, **CHOSEN, eager=eager)
    if eager:
        resumed_settings(folder, parse(["--resume", "--pdb"]))
        return
    with pytest.raises(
        run_folder.RunError, match=r"--pdb: .*one takes its steps as a graph.*/replay.py .*one --step N"
    ):
        resumed_settings(folder, parse(["--resume", "--pdb"]))


@pytest.mark.parametrize("devices, micro_batches", [(1, 4), (2, 4), (5, 5), (10, 10)])
def test_a_run_without_batch_norm_continues_on_any_number_of_devices(tmp_path, devices, micro_batches):
    """As many micro-batches as before, if they can be divided among the devices; else one for each device."""
    settings, folder = begun(tmp_path, network="classic", batch_size=100, micro_batches=4)
    found = resumed_settings(folder, parse(["--resume", "--devices", str(devices)]))
    assert found == dataclasses.replace(settings, devices=devices, micro_batches=micro_batches)


def test_a_run_with_batch_norm_continues_only_where_its_micro_batches_can_be_divided(tmp_path):
    settings, folder = begun(tmp_path, network="debug", batch_size=100, micro_batches=4)
    found = resumed_settings(folder, parse(["--resume", "--devices", "2"]))
    assert found == dataclasses.replace(settings, devices=2)
    with pytest.raises(
        run_folder.RunError, match="one cannot be resumed so: --devices 5: expected a number that divides --micro-ba"
    ):
        resumed_settings(folder, parse(["--resume", "--devices", "5"]))
