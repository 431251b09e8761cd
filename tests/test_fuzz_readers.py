"""Twenty seconds' share of tests/fuzz_readers.py; the long run is in docs/reference/reliability.md."""

import fuzz_readers


def test_no_damaged_input_gets_anything_but_its_own_error():
    count, findings = fuzz_readers.fuzz(inputs=400, seed=1)
    assert count == 400 * 9 and findings == []


def test_a_reader_that_lets_an_exception_through_is_found(monkeypatch):
    def careless(folder, name):
        return float((folder / name).read_text().splitlines()[1].split(",")[2])

    monkeypatch.setattr(fuzz_readers.logs, "read", careless)
    _, findings = fuzz_readers.fuzz(inputs=50, seed=1)
    assert findings and all(".csv" in finding for finding in findings)
