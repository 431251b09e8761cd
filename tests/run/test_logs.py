"""The CSV files: exact, appendable, cut back, and read whatever state they are in."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.run import logs

HEADER = ",".join(logs.COLUMNS[logs.STEPS]) + "\n"


def steps_file(folder, *rows, header=HEADER):
    """A steps.csv with these rows, each a line of text."""
    (folder / logs.STEPS).write_text(header + "".join(rows))
    return folder


def row(step, loss="2.3"):
    return f"{step},1,{loss},0.1,0.05,1.0\n"


@given(st.floats(width=32, allow_nan=False))
def test_a_float_reads_back_to_the_bit(value):
    assert struct.pack("d", float(logs.written(np.float32(value)))) == struct.pack("d", value)


def test_rows_are_there_for_others_after_a_flush(tmp_path):
    log = logs.Logs(tmp_path)
    log.append(logs.STEPS, [1, 1, 2.25, 0.5, 0.1, 3.0])
    log.append(logs.LAYERS, [1, "conv1", "gradient_norm", 0.125])
    log.flush(to_disk=True)
    assert logs.read(tmp_path, logs.STEPS)["loss"].tolist() == [2.25]
    layers = logs.read(tmp_path, logs.LAYERS)
    assert (layers["layer"][0], layers["quantity"][0], layers["value"][0]) == (b"conv1", b"gradient_norm", 0.125)
    log.close()
    again = logs.Logs(tmp_path)  # appending writes no second header
    again.append(logs.STEPS, [2, 1, 2.0, 0.5, 0.1, 3.0])
    again.close()
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]


def test_a_torn_last_line_is_left_out(tmp_path):
    steps_file(tmp_path, row(1), row(2), "3,1,2.")
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]


@pytest.mark.parametrize("content", ["", HEADER, HEADER[:7]])
def test_an_empty_file_is_an_empty_table(tmp_path, content):
    (tmp_path / logs.STEPS).write_text(content)
    table = logs.read(tmp_path, logs.STEPS)
    assert list(table) == list(logs.COLUMNS[logs.STEPS]) and len(table["loss"]) == 0


def test_not_a_number_is_a_number_to_the_reader(tmp_path):
    steps_file(tmp_path, row(1), row(2, "nan"), row(3, "inf"))
    loss = logs.read(tmp_path, logs.STEPS)["loss"]
    assert loss[0] == 2.3 and np.isnan(loss[1]) and np.isinf(loss[2])


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ((row(1), "hello\n", row(3)), "line 3: expected step,epoch,loss"),
        ((row(1), row(2).replace("2.3", "two")), "line 3: expected step,epoch,loss"),
        ((row(1), row(2), row(1)), "line 4: step 1 comes after step 2; are two runs mixed"),
        ((row(1), row(2), row(2)), "line 4: step 2 comes after step 2; are two runs mixed"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, rows, sentence):
    with pytest.raises(logs.LogError, match="steps.csv " + sentence):
        logs.read(steps_file(tmp_path, *rows), logs.STEPS)


def test_another_header_and_no_file(tmp_path):
    with pytest.raises(logs.LogError, match=r"line 1: expected step,epoch,loss,.*found a,b"):
        logs.read(steps_file(tmp_path, header="a,b\n"), logs.STEPS)
    with pytest.raises(logs.LogError, match=r"epochs.csv: missing"):
        logs.read(tmp_path, logs.EPOCHS)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_stumble(tmp_path_factory, noise):
    """Whatever is in the file, the answer is a table or one line."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / logs.STEPS).write_bytes(HEADER.encode() + row(1).encode() + noise)
    try:
        logs.read(folder, logs.STEPS)
    except logs.LogError as error:
        assert "\n" not in str(error)


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
    logs.cut_back(tmp_path, 2)
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]
    assert logs.read(tmp_path, logs.LAYERS)["step"].tolist() == [1, 2]
    assert logs.read(tmp_path, logs.EPOCHS)["epoch"].tolist() == []
    assert logs.read(tmp_path, logs.PREDICTIONS)["count"].tolist() == []
    before = {name: (tmp_path / name).read_bytes() for name in logs.COLUMNS}
    logs.cut_back(tmp_path, 2)
    assert before == {name: (tmp_path / name).read_bytes() for name in logs.COLUMNS}


def test_a_long_log_is_read_in_seconds(tmp_path):
    """200,000 steps; the reader's time is linear, so a million take five times this."""
    import time

    steps_file(tmp_path, *(f"{step},1,2.302585092994046,0.125,0.05,1.0625\n" for step in range(1, 200_001)))
    began = time.perf_counter()
    assert len(logs.read(tmp_path, logs.STEPS)["loss"]) == 200_000
    assert time.perf_counter() - began < 4


class Number:
    """What a step hands out: asked for its value, it gives it."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)

    def numpy(self):
        return np.asarray(self.value)


def metrics(loss, norm=1.0):
    return {
        "loss": Number(loss), "accuracy": Number(0.5), "learning_rate": Number(0.1), "gradient_norm": Number(norm)
    }  # fmt: skip


def test_looks_stand_behind_the_norms_of_their_step(tmp_path):
    log = logs.Logs(tmp_path)
    recorder = logs.StepRecorder(log, steps_per_epoch=2, layer_names=["conv1", "dense"])
    for step in (1, 2, 3):
        recorder.record(step, metrics(step), {"weight_norm": Number([1.5, 2.5])} if step != 2 else {})
        if step > 1:
            recorder.record_measurements([(step, "network", "curvature", 4.0)])
    assert recorder.flush()["loss"] == 3
    layers, steps = logs.read(tmp_path, logs.LAYERS), logs.read(tmp_path, logs.STEPS)
    assert layers["step"].tolist() == [1, 1, 2, 3, 3, 3] and layers["value"].tolist() == [1.5, 2.5, 4, 1.5, 2.5, 4]
    assert layers["layer"].tolist() == [b"conv1", b"dense", b"network", b"conv1", b"dense", b"network"]
    assert steps["epoch"].tolist() == [1, 1, 2]
    probe = logs.read(tmp_path, logs.TIMING)["probe_seconds"]
    assert probe[0] == 0 and (probe[1:] > 0).all()


@pytest.mark.parametrize("loss, norm", [(np.nan, 1.0), (np.inf, 1.0), (2.0, np.inf), (2.0, np.nan)])
def test_nothing_is_written_after_the_first_number_that_is_not_finite(tmp_path, loss, norm):
    log = logs.Logs(tmp_path)
    recorder = logs.StepRecorder(log, steps_per_epoch=10, layer_names=[])
    recorder.record(1, metrics(2.0), {})
    recorder.record(2, metrics(loss, norm), {})
    recorder.record(3, metrics(np.nan), {})
    recorder.flush()
    assert recorder.lost_step == 2 and logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]


def test_numbers_are_overdue_after_ten_seconds_of_waiting(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logs.time, "perf_counter", lambda: now[0])
    recorder = logs.StepRecorder(logs.Logs(tmp_path), steps_per_epoch=10, layer_names=[])
    now[0] = 200.0
    assert not recorder.overdue(), "nothing waits"
    for step, (time, late) in enumerate([(201.0, False), (210.9, False), (211.1, True)], start=1):
        now[0] = time
        recorder.record(step, metrics(2.0), {})
        assert recorder.overdue() == late, "it is the first one that counts"
    recorder.flush()
    assert not recorder.overdue()


def test_the_mirror_is_told_every_row(tmp_path):
    told = []
    log = logs.Logs(tmp_path, mirror=lambda name, row: told.append((name, list(row))))
    log.layers([(1, "conv1", "weight_norm", 0.5)])
    assert told == [(logs.LAYERS, [1, "conv1", "weight_norm", 0.5])]
