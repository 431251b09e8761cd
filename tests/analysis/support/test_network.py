"""A network comes back from the files of its run: every recipe's, an old version's, and not from damaged ones."""

import dataclasses

import numpy as np
import pytest

from analysis.support.network import checkpoint_at, class_names_of, restored_network, settings_of
from core.build import build_network
from core.run import checkpoints, run_folder
from core.run.checkpoints import CheckpointError
from core.run.errors import RunError
from core.settings.settings import NETWORKS, Settings


def written(tmp_path, settings: Settings, keep_architecture: bool = True, **more_settings):
    """(folder, network): a run with these settings and a checkpoint of weights that no seed gives."""
    network = build_network(dataclasses.replace(settings, kernels="textbook"))
    draw = np.random.default_rng(5)
    for variable in network.named_variables.values():
        variable.assign(variable + draw.normal(size=variable.shape).astype(np.float32) ** 2)
    config = {
        "settings": dataclasses.asdict(settings) | more_settings,
        "data": {"title": "made", "class_names": ["cat", "dog"]},
    }
    if keep_architecture:
        config["architecture"] = network.architecture
    run_folder.write_config(tmp_path, config)
    tensors = {name: variable.numpy() for name, variable in network.named_variables.items()}
    checkpoints.save(tmp_path, 3, tensors | {"velocity/x": np.zeros(2, np.float32)}, keep=1)
    return tmp_path, network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_weights_give_the_same_logits(tmp_path, name):
    settings = Settings(network=name, kernels="fast", micro_batches=2 if name == "classic" else 1)
    folder, network = written(tmp_path, settings)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    found = restored_network(folder)
    assert list(found.named_variables) == list(network.named_variables) and not found.replaced
    np.testing.assert_array_equal(found(images, training=False), network(images, training=False))


def test_a_run_in_bfloat16_computes_in_the_dtype_that_is_asked_for(tmp_path):
    folder, _ = written(tmp_path, Settings(network="debug", precision="bfloat16"))
    assert restored_network(folder).compute_dtype == "float32"
    assert restored_network(folder, dtype="float64").compute_dtype == "float64"


def test_a_config_of_another_version(tmp_path):
    folder, network = written(tmp_path, Settings(network="debug", seed=4), False, gone="long ago")
    config = run_folder.read_config(folder)
    del config["settings"]["crop"]
    assert settings_of(config) == Settings(network="debug", seed=4)
    assert restored_network(folder).parameter_count == network.parameter_count
    assert class_names_of(config, network) == ("cat", "dog", *(f"class {k}" for k in range(2, 10)))


def test_another_architecture_is_one_line(tmp_path):
    folder, network = written(tmp_path, Settings(network="debug"))
    tensors = {name: variable.numpy() for name, variable in network.named_variables.items()}
    checkpoints.save(folder, 4, tensors | {"dense1/bias": np.zeros(7, np.float32)}, keep=5)
    with pytest.raises(CheckpointError, match=r"step-00000004: \[7\] for 'dense1/bias', \[10\] in the network of"):
        restored_network(folder)
    del tensors["conv1/kernel"]
    checkpoints.save(folder, 5, tensors, keep=5)
    with pytest.raises(CheckpointError, match="no tensor 'conv1/kernel', "):
        restored_network(folder)
    assert restored_network(folder, checkpoint_at(folder, 3)).name == "debug"


def test_the_checkpoint_of_a_step(tmp_path):
    folder, network = written(tmp_path, Settings(network="debug"))
    checkpoints.save(folder, 9, {name: variable.numpy() for name, variable in network.named_variables.items()}, keep=5)
    assert [checkpoint_at(folder, step).step for step in (3, 8, 9, 99, None)] == [3, 3, 9, 9, 9]
    with pytest.raises(CheckpointError, match=r"--step 2: .* has checkpoints from step 3 to step 9; choose one of"):
        checkpoint_at(folder, 2)


def test_an_edited_config_is_one_line(tmp_path):
    folder, _ = written(tmp_path, Settings(network="debug"))
    config = run_folder.read_config(folder)
    config["architecture"][0]["kernel_size"] = "wide"
    run_folder.write_config(folder, config)
    with pytest.raises(RunError, match=r"config.json: its network cannot be built \(layer 'conv1'"):
        restored_network(folder)
    config["settings"]["network"] = "imagined"
    run_folder.write_config(folder, config)
    with pytest.raises(RunError, match=r"settings\.network: expected one of .*, found imagined"):
        restored_network(folder)
