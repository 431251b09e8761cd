"""The second fault collection: recorded after the rules were fixed, so that its score says something about others."""

import re

import pytest

from analysis.diagnosis import definitions, scoring
from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.held_out import HELD_OUT
from analysis.diagnosis.recording import HELD_OUT_RECORDINGS, PROJECT
from core.settings import command_line


@pytest.fixture(scope="module")
def verdicts():
    return scoring.verdicts(HELD_OUT_RECORDINGS, HELD_OUT)


def test_it_has_other_faults_than_the_first():
    assert not set(HELD_OUT) & set(COLLECTION)
    assert sum(bool(case.expected) for case in HELD_OUT.values()) >= 20


def test_the_recordings_are_of_todays_definitions():
    again = "defined otherwise since: record again with `python analysis/diagnosis/faults.py --held-out --out DIR`"
    assert definitions.outdated(HELD_OUT_RECORDINGS) == [], again


def test_every_run_is_in_the_published_table_and_is_named_no_worse(verdicts):
    published = (HELD_OUT_RECORDINGS / "README.md").read_text(encoding="utf-8")
    later = [f"clean-{n}" for n in range(11, 31)]
    assert [v.name for v in verdicts if (v.expected or v.name in later) and f"| {v.name} " not in published] == []
    named = int(re.search(r"recall +(\d+) of", published).group(1))
    assert sum(v.named for v in verdicts if v.expected) >= named, "a rule has got worse on the second collection"
    page = (PROJECT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| the second")]
    assert row.split("|")[2].strip().startswith(f"{named} of 25")


@pytest.mark.parametrize("name", HELD_OUT)
def test_every_run_of_it_can_be_started(name):
    assert command_line.parse(HELD_OUT[name].args.split()).settings.problems() == []


def test_recordings_are_small():
    files = [path for path in HELD_OUT_RECORDINGS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3.1e6
