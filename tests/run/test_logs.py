"""The CSV files: exact, appendable, cut back, and read whatever state they are in."""

import os
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_logs import HEADER, row, steps_file, write_an_epoch

from core.run import logs, old_names


@given(st.floats(width=32, allow_nan=False))
def test_a_float_reads_back_to_the_bit(value):
    assert struct.pack("d", float(logs.written(np.float32(value)))) == struct.pack("d", value)


def test_rows_can_be_read_after_a_flush(tmp_path):
    log = logs.Logs(tmp_path)
    log.append(logs.STEPS, [1, 1, 2.25, 0.5, 0.1, 3.0])
    log.append(logs.LAYERS, [1, "conv1", "gradient_norm", 0.125])
    log.flush(to_disk=True)
    assert logs.read(tmp_path, logs.STEPS)["loss"].tolist() == [2.25]
    layers = logs.read(tmp_path, logs.LAYERS)
    assert (layers["layer"][0], layers["quantity"][0], layers["value"][0]) == (b"conv1", b"gradient_norm", 0.125)
    log.close()
    assert all(file.closed for file in log.files.values())
    again = logs.Logs(tmp_path)  # appending writes no second header
    again.append(logs.STEPS, [2, 1, 2.0, 0.5, 0.1, 3.0])
    again.close()
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]


def test_a_file_without_a_byte_gets_its_header_again(tmp_path):
    """A kill before the first flush leaves it."""
    (tmp_path / logs.STEPS).touch()
    log = logs.Logs(tmp_path)
    log.append(logs.STEPS, [1, 1, 2.25, 0.5, 0.1, 3.0])
    log.close()
    assert (tmp_path / logs.STEPS).read_text() == HEADER + "1,1,2.25,0.5,0.1,3.0\n"


def test_an_evaluation_is_one_row_and_its_confusion_matrix(tmp_path):
    log = logs.Logs(tmp_path)
    train = SimpleNamespace(loss=0.25, accuracy=0.5, calibration_error=0.125)
    test = SimpleNamespace(loss=0.75, accuracy=0.375, calibration_error=0.0625, confusion=np.array([[3, 5], [7, 1]]))
    log.evaluations(4, 80, train, test)
    log.close()
    assert (tmp_path / logs.EPOCHS).read_text().splitlines()[1:] == ["4,80,0.25,0.5,0.75,0.375,0.125,0.0625"]
    assert (tmp_path / logs.PREDICTIONS).read_text().splitlines()[1:] == [
        "80,0,0,3",
        "80,0,1,5",
        "80,1,0,7",
        "80,1,1,1",
    ]


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
        ((row(1), "2,1,2.3\n", row(3)), "line 3: expected step,epoch,loss,.*, found '2,1,2.3'$"),
        ((row(1), row(10**20)), "line 3: expected step,epoch,loss,.*, found '1000"),
        ((row(1), row(2, "2." + 200 * "x")), f"line 3: expected step,epoch,loss,.*, found '2,1,2.{74 * 'x'}'$"),
        (("\n", "\n"), "line 2: expected step,epoch,loss,.*, found ''$"),
        ((row(1), row(2, "-1")), "line 3: loss: expected a number, 0 to inf, found -1; was it edited"),
        ((row(1), row(2), row(1)), "line 4: step 1 comes after step 2; are two runs mixed"),
        ((row(1), row(2), row(2)), "line 4: step 2 comes after step 2; are two runs mixed"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, rows, sentence):
    with pytest.raises(logs.LogError, match="steps.csv " + sentence):
        logs.read(steps_file(tmp_path, *rows), logs.STEPS)


def test_a_cell_that_only_python_reads_as_a_number(tmp_path):
    """int("0_2") is 2."""
    with pytest.raises(logs.LogError, match=r"steps.csv line 3: expected step,epoch,loss,.*, found '0_2,1,2.3,"):
        logs.read(steps_file(tmp_path, row(1), row("0_2")), logs.STEPS)


def test_rows_of_one_step_stand_together(tmp_path):
    """Several rows a step are usual in layers.csv; a step that comes back is not."""
    log = logs.Logs(tmp_path)
    log.layers([(step, "conv1", "weight_norm", 1.0) for step in (1, 1, 2, 1)])
    log.close()
    with pytest.raises(logs.LogError, match=r"layers.csv line 5: step 1 comes after step 2; are two runs mixed"):
        logs.read(tmp_path, logs.LAYERS)


def test_a_bad_row_among_words_is_found(tmp_path):
    header = ",".join(logs.COLUMNS[logs.LAYERS]) + "\n"
    (tmp_path / logs.LAYERS).write_text(header + "1,conv1,weight_norm,0.5\n2,conv1,weight_norm,half\n")
    with pytest.raises(logs.LogError, match=r"layers.csv line 3: expected step,layer,quantity,value, found '2,conv1"):
        logs.read(tmp_path, logs.LAYERS)


@pytest.mark.parametrize("chunk", [1, 7, 40, 41, 1000])
def test_the_size_of_a_chunk_changes_nothing(tmp_path, monkeypatch, chunk):
    """Neither the table nor the number of the line that is named, wherever a chunk ends."""
    monkeypatch.setattr(logs, "CHUNK", chunk)
    steps_file(tmp_path, *(row(step, f"{step}.5") for step in range(1, 8)), "8,1")
    table = logs.read(tmp_path, logs.STEPS)
    assert table["step"].tolist() == [1, 2, 3, 4, 5, 6, 7] and table["loss"].tolist() == [s + 0.5 for s in range(1, 8)]
    steps_file(tmp_path, *(row(step, "two" if step == 6 else "2.0") for step in range(1, 8)))
    with pytest.raises(logs.LogError, match=r"steps.csv line 7: expected step"):
        logs.read(tmp_path, logs.STEPS)


OLD = [name.decode() for name in old_names.QUANTITIES]


@pytest.mark.parametrize("names", [OLD[:1], [OLD[0], "sparsity"], [*OLD[:2], "x"], OLD])
def test_quantities_of_older_versions_have_todays_whole_names(tmp_path, names):
    """Today's name may be longer than every word in the file."""
    log = logs.Logs(tmp_path)
    log.layers([(1, "conv1", name, 0.5) for name in names])
    log.close()
    today = [old_names.QUANTITIES.get(name.encode(), name.encode()) for name in names]
    assert logs.read(tmp_path, logs.LAYERS)["quantity"].tolist() == today


def test_text_takes_as_many_bytes_as_its_longest_word(tmp_path):
    log = logs.Logs(tmp_path)
    log.layers([(1, "conv1", "weight_norm", 0.5), (1, "dense", "sparsity", 0.5)])
    log.close()
    table = logs.read(tmp_path, logs.LAYERS)
    assert (table["layer"].dtype, table["quantity"].dtype) == (np.dtype("S5"), np.dtype("S11"))


def test_another_header_and_no_file(tmp_path):
    with pytest.raises(logs.LogError, match=r"line 1: expected step,epoch,loss,.*found a,b"):
        logs.read(steps_file(tmp_path, header="a,b\n"), logs.STEPS)
    with pytest.raises(logs.LogError, match=r"epochs.csv: missing"):
        logs.read(tmp_path, logs.EPOCHS)


def test_a_column_that_stands_twice_in_the_header(tmp_path):
    header = HEADER.replace("\n", ",loss\n")
    with pytest.raises(logs.LogError, match=r"line 1: expected step,epoch,loss,.*, found step,epoch,.*"):
        logs.read(steps_file(tmp_path, row(1).replace("\n", ",0.5\n"), header=header), logs.STEPS)


def test_a_column_that_a_later_version_added_is_read_too(tmp_path):
    header = HEADER.replace("\n", ",temperature\n")
    found = logs.read(steps_file(tmp_path, row(1).replace("\n", ",0.5\n"), header=header), logs.STEPS)
    assert found["temperature"].tolist() == [0.5] and found["loss"].tolist() == [2.3]


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_reader_returns_a_table_or_one_line(tmp_path_factory, noise):
    folder = tmp_path_factory.mktemp("noise")
    (folder / logs.STEPS).write_bytes(HEADER.encode() + row(1).encode() + noise)
    try:
        logs.read(folder, logs.STEPS)
    except logs.LogError as error:
        assert "\n" not in str(error)


def test_a_long_log_is_read_in_seconds(tmp_path):
    """200,000 steps; the reader's time is linear, so a million take five times this."""
    import time

    steps_file(tmp_path, *(f"{step},1,2.302585092994046,0.125,0.05,1.0625\n" for step in range(1, 200_001)))
    began = time.perf_counter()
    assert len(logs.read(tmp_path, logs.STEPS)["loss"]) == 200_000
    assert time.perf_counter() - began < 4


class Number:
    """What a step returns: a tensor, of which only the value is used."""

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


def test_measurements_stand_behind_the_norms_of_their_step(tmp_path):
    log = logs.Logs(tmp_path)
    recorder = logs.StepRecorder(log, epoch_of=lambda step: (step + 1) // 2, layer_names=["conv1", "dense"])
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
    recorder = logs.StepRecorder(log, epoch_of=lambda step: 1, layer_names=[])
    recorder.record(1, metrics(2.0), {})
    recorder.record(2, metrics(loss, norm), {})
    recorder.record(3, metrics(np.nan), {})
    recorder.flush()
    assert recorder.nonfinite_step == 2 and logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2]


def test_numbers_are_overdue_after_ten_seconds_of_waiting(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logs.time, "perf_counter", lambda: now[0])
    recorder = logs.StepRecorder(logs.Logs(tmp_path), epoch_of=lambda step: 1, layer_names=[])
    now[0] = 200.0
    assert not recorder.overdue(), "nothing waits"
    for step, (time, late) in enumerate([(201.0, False), (210.9, False), (211.1, True)], start=1):
        now[0] = time
        recorder.record(step, metrics(2.0), {})
        assert recorder.overdue() == late, "it is the first one that counts"
    recorder.flush()
    assert not recorder.overdue()


def test_the_time_of_a_step_its_measurements_and_the_run(tmp_path, monkeypatch):
    """From the end of what came before it; an evaluation or a save between two steps belongs to neither."""
    now = [100.0]
    monkeypatch.setattr(logs.time, "perf_counter", lambda: now[0])
    recorder = logs.StepRecorder(logs.Logs(tmp_path), epoch_of=lambda step: 1, layer_names=[])
    now[0] = 102.0
    recorder.record(1, metrics(2.0), {})
    now[0] = 105.0
    recorder.record_measurements([(1, "network", "curvature", 4.0)])
    now[0] = 110.0
    recorder.restart_timer()
    now[0] = 111.0
    recorder.record(2, metrics(2.0), {})
    now[0] = 115.0
    recorder.record(3, metrics(2.0), {})
    recorder.flush()
    timing = logs.read(tmp_path, logs.TIMING)
    assert timing["step_seconds"].tolist() == [2, 1, 4] and timing["elapsed_seconds"].tolist() == [2, 11, 15]
    assert timing["probe_seconds"].tolist() == [3, 0, 0]
    assert recorder.flush() == {}, "none was waiting"


def test_the_mirror_receives_every_row(tmp_path):
    rows = []
    log = logs.Logs(tmp_path, mirror=lambda name, row: rows.append((name, list(row))))
    log.layers([(1, "conv1", "weight_norm", 0.5)])
    assert rows == [(logs.LAYERS, [1, "conv1", "weight_norm", 0.5])]


@pytest.mark.parametrize("to_disk", [False, True])
def test_the_row_that_completes_an_epoch_is_flushed_last(tmp_path, monkeypatch, to_disk):
    """Killed before the k-th flush of a file: whenever epochs.csv has its row, every other file has all of its own."""
    complete = []
    for survived in range(len(logs.COLUMNS) + 1):
        folder = tmp_path / str(survived)
        folder.mkdir()
        log, left = logs.Logs(folder), [survived]
        write_an_epoch(log)

        def flush(file, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            file.flush()

        wrapped = {
            name: SimpleNamespace(flush=lambda file=file: flush(file), fileno=file.fileno)
            for name, file in log.files.items()
        }
        monkeypatch.setattr(log, "files", wrapped)
        if survived < len(logs.COLUMNS):
            with pytest.raises(KeyboardInterrupt):
                log.flush(to_disk)
        else:
            log.flush(to_disk)
        rows = {name: len(logs.read(folder, name)["step"]) for name in logs.COLUMNS}
        complete.append(bool(rows[logs.EPOCHS]))
        if rows[logs.EPOCHS]:
            assert rows == {logs.STEPS: 2, logs.TIMING: 2, logs.LAYERS: 2, logs.PREDICTIONS: 100, logs.EPOCHS: 1}
        monkeypatch.undo()
    assert complete == [False] * len(logs.COLUMNS) + [True]


def test_every_file_is_on_the_disk_before_the_next_one_is_flushed(tmp_path, monkeypatch):
    log, order = logs.Logs(tmp_path), []
    names = {file.fileno(): name for name, file in log.files.items()}
    monkeypatch.setattr(os, "fsync", lambda number: order.append(names[number]))
    write_an_epoch(log)
    log.flush(to_disk=True)
    log.close()
    assert order == list(logs.FLUSH_ORDER) and order[-1] == logs.EPOCHS and sorted(order) == sorted(logs.COLUMNS)


def test_closing_flushes_in_the_same_order_before_the_first_file_is_closed(tmp_path):
    log, order = logs.Logs(tmp_path), []
    log.close()
    log.files = {
        name: SimpleNamespace(flush=lambda name=name: order.append(name), close=lambda: order.append("closed"))
        for name in log.files
    }
    log.close()
    assert order == [*logs.FLUSH_ORDER, *["closed"] * len(logs.COLUMNS)]


def test_rows_wait_for_the_disk_only_when_that_is_asked_for(tmp_path, monkeypatch):
    """A wait for the disk takes longer than a step."""
    waits = []
    monkeypatch.setattr(os, "fsync", waits.append)
    recorder = logs.StepRecorder(logs.Logs(tmp_path), lambda step: 1, [])
    recorder.flush()
    assert not waits
    recorder.flush(to_disk=True)
    assert len(waits) == len(logs.COLUMNS)
