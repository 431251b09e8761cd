"""The recorded runs of the lessons: small, of a known making, and diagnosed as the key of the clinic says."""

import json
import re

import pytest
from documents import PROJECT

from analysis import diagnose
from analysis.diagnosis import lesson_runs
from analysis.support import questions
from analysis.support.run import Run

KEY = (PROJECT / "docs" / "recorded" / "answers.md").read_text()
ROWS = {
    row[0]: row for row in (line.strip("| ").split(" | ") for line in KEY.splitlines()) if re.fullmatch("[a-f]", row[0])
}
OPTIONS = {"missing-class": 2, "double-softmax": 4, "dying-relu": 3, "frozen-step-counter": 5, "no-signal": 1}


def test_every_recorded_run_is_made_by_the_script_and_small():
    folders = [path for path in lesson_runs.RECORDED.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == sorted(lesson_runs.RUNS)
    assert sum(path.stat().st_size for path in lesson_runs.RECORDED.rglob("*")) < 2.2e6
    for path in folders:
        config = json.loads((path / "config.json").read_text())
        assert config["run"] == path.name and config["settings"]["data_dir"] == ""
        assert not [value for value in config.values() if isinstance(value, str) and value.startswith("/")]


@pytest.mark.parametrize("name", lesson_runs.CLINIC)
def test_the_key_is_how_the_run_was_made(name):
    question = next(q for q in questions.find("11").questions if q.run == name)
    expected = lesson_runs.RUNS[name].expected
    assert question.known == (OPTIONS[expected[0]] if expected else 0)


@pytest.mark.parametrize("name", lesson_runs.CLINIC)
def test_the_key_says_whether_the_program_names_the_fault(name):
    causes = [f for f in diagnose.findings(Run(lesson_runs.RECORDED / name)) if f.severity != "note"]
    expected, said = lesson_runs.RUNS[name].expected, ROWS[name[-1]][3]
    if not expected:
        assert not causes and "finds nothing wrong" in said
    else:
        assert said.startswith("yes, first") == (causes[0].id in expected), [f.id for f in causes]
