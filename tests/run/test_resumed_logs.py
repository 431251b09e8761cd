"""The CSV files of a run that is resumed: cut back to its checkpoint, every row there."""

import os

import pytest
from made_logs import HEADER, row, steps_file, write_an_epoch

from core.run import logs, resumed_logs


def test_cutting_back_drops_later_steps_and_nothing_else(tmp_path):
    log = logs.Logs(tmp_path)
    for step in (1, 2, 3):
        log.append(logs.STEPS, [step, 1, 2.0, 0.5, 0.1, 3.0])
        log.append(logs.LAYERS, [step, "conv1", "weight_norm", 1.0])
        log.append(logs.TIMING, [step, 0.1, 0.1, 0.0])
    log.append(logs.EPOCHS, [1, 3, 1.0, 0.5, 1.0, 0.5, 0.1, 0.1])
    log.append(logs.PREDICTIONS, [3, 0, 0, 17])
    log.close()
    with open(tmp_path / logs.STEPS, "a") as file:
        file.write("4,1,0.")
    resumed_logs.cut_back(tmp_path, 2)
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]
    assert logs.read(tmp_path, logs.LAYERS)["step"].tolist() == [1, 2]
    assert logs.read(tmp_path, logs.EPOCHS)["epoch"].tolist() == []
    assert logs.read(tmp_path, logs.PREDICTIONS)["count"].tolist() == []
    before = {name: (tmp_path / name).read_bytes() for name in logs.COLUMNS}
    resumed_logs.cut_back(tmp_path, 2)
    assert before == {name: (tmp_path / name).read_bytes() for name in logs.COLUMNS}


@pytest.mark.parametrize(
    "name, line, sentence",
    [
        (logs.STEPS, b"hello", "expected a row of step,epoch,loss,accuracy,learning_rate,gradient_norm, found 'hello'"),
        (logs.LAYERS, b"2", "expected a row of step,layer,quantity,value, found '2'"),
        (logs.PREDICTIONS, b"2,\xff", "expected text in UTF-8; was it edited"),
    ],
)
def test_a_file_with_a_bad_row_is_not_cut_back(tmp_path, name, line, sentence):
    log = logs.Logs(tmp_path)
    log.append(name, [1] * len(logs.COLUMNS[name]))
    log.close()
    with open(tmp_path / name, "ab") as file:
        file.write(line + b"\n")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(logs.LogError, match=f"{name} line 3: {sentence}"):
        resumed_logs.cut_back(tmp_path, 0)
    assert (tmp_path / name).read_bytes() == before


def test_what_is_cut_back_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    """A power failure leaves the old rows or the new ones. A file that is not there is not made."""
    log = logs.Logs(tmp_path)
    write_an_epoch(log)
    log.close()
    (tmp_path / logs.TIMING).unlink()
    synced, replaced, replace = [], [], os.replace

    def replace_it(partial, path):
        replaced.append(path.name)
        assert synced[-1] == os.path.getsize(partial) > 0
        replace(partial, path)

    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    monkeypatch.setattr(os, "replace", replace_it)
    resumed_logs.cut_back(tmp_path, 1)
    assert replaced == [name for name in logs.COLUMNS if name != logs.TIMING] and len(synced) == len(replaced)
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1] and not (tmp_path / logs.TIMING).exists()


@pytest.mark.parametrize("evaluated", [True, False])
def test_cutting_back_to_an_evaluation_that_was_cut_short(tmp_path, evaluated):
    """Its own rows of that very step go, because it will be repeated; those of the step itself stay."""
    log = logs.Logs(tmp_path)
    log.layers([(2, "conv1", "weight_norm", 1.0), (2, "conv1", "sparsity", 0.5), (2, "network", "traces", 1)])
    log.append(logs.PREDICTIONS, [2, 0, 0, 17])
    log.close()
    resumed_logs.cut_back(tmp_path, 2, () if evaluated else ("sparsity", "traces"))
    kept = [b"weight_norm", b"sparsity", b"traces"] if evaluated else [b"weight_norm"]
    assert logs.read(tmp_path, logs.LAYERS)["quantity"].tolist() == kept
    assert logs.read(tmp_path, logs.PREDICTIONS)["count"].tolist() == ([17] if evaluated else [])


def test_a_run_up_to_its_checkpoint_has_every_row(tmp_path):
    log = logs.Logs(tmp_path)
    write_an_epoch(log)
    log.close()
    resumed_logs.check_rows(tmp_path, 2)
    resumed_logs.check_rows(tmp_path, 1)  # later rows are cut back afterwards
    with pytest.raises(logs.LogError, match=r"steps.csv: step 3 is missing, the checkpoint is of step 3"):
        resumed_logs.check_rows(tmp_path, 3)


def test_a_run_that_took_no_step_needs_no_file(tmp_path):
    resumed_logs.check_rows(tmp_path, 0)
    steps_file(tmp_path, "not a row\n")
    resumed_logs.check_rows(tmp_path, 0)


@pytest.mark.parametrize("name", logs.COLUMNS)
def test_a_file_that_was_removed_is_missed(tmp_path, name):
    log = logs.Logs(tmp_path)
    write_an_epoch(log)
    log.close()
    (tmp_path / name).unlink()
    with pytest.raises(logs.LogError, match=f"{name}: missing; the run has taken 2 steps"):
        resumed_logs.check_rows(tmp_path, 2)


@pytest.mark.parametrize("name", [logs.STEPS, logs.TIMING])
def test_a_hole_in_the_steps_is_found(tmp_path, name):
    log = logs.Logs(tmp_path)
    write_an_epoch(log)
    log.close()
    header, _, second = (tmp_path / name).read_text().splitlines(keepends=True)
    (tmp_path / name).write_text(header + second)
    with pytest.raises(logs.LogError, match=f"{name}: step 1 is missing"):
        resumed_logs.check_rows(tmp_path, 2)


@pytest.mark.parametrize("steps, missing", [([2, 3, 4, 6], 1), ([1, 2, 4, 6], 3), ([1, 2, 3, 4], 5), ([], 1)])
def test_the_first_missing_step_is_named(tmp_path, steps, missing):
    logs.Logs(tmp_path).close()
    steps_file(tmp_path, *map(row, steps))
    with pytest.raises(logs.LogError, match=f"steps.csv: step {missing} is missing, the checkpoint is of step 6; "):
        resumed_logs.check_rows(tmp_path, 6)


def test_a_changed_header_is_found_before_the_file_is_cut_back(tmp_path):
    header = HEADER.replace("loss", "lass")
    steps_file(tmp_path, row(1), header=header)
    with pytest.raises(logs.LogError, match=r"steps.csv line 1: expected step,epoch,loss,.*, found step,epoch,lass,"):
        resumed_logs.cut_back(tmp_path, 0)
    assert (tmp_path / logs.STEPS).read_text() == header + row(1)
