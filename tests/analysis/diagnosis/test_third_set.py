"""The third fault collection: recorded after the rules had been changed and frozen again; its score is published."""

import re

import pytest

from analysis.diagnosis import definitions, scoring
from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.held_out import HELD_OUT
from analysis.diagnosis.recording import PROJECT, THIRD_RECORDINGS
from analysis.diagnosis.third_set import THIRD
from core.settings import command_line


def test_it_has_other_faults_on_other_networks():
    assert not set(THIRD) & (set(COLLECTION) | set(HELD_OUT))
    assert sum(bool(case.expected) for case in THIRD.values()) >= 10
    faulty = [command_line.parse(case.args.split()).settings.network for case in THIRD.values() if case.expected]
    assert "debug" not in faulty
    assert len(THIRD) - len(faulty) >= 30  # clean ones: nothing on 30 says below 11 %


def test_the_recordings_are_of_todays_definitions():
    again = "defined otherwise since: record again with `python analysis/diagnosis/faults.py --third --out DIR`"
    assert definitions.outdated(THIRD_RECORDINGS) == [], again


def test_every_fault_is_in_the_published_table_and_is_named_no_worse():
    verdicts = scoring.verdicts(THIRD_RECORDINGS, THIRD)
    published = (THIRD_RECORDINGS / "README.md").read_text(encoding="utf-8")
    assert [v.name for v in verdicts if v.expected and f"| {v.name} " not in published] == []
    named = int(re.search(r"recall +(\d+) of", published).group(1))
    assert sum(v.named for v in verdicts if v.expected) >= named, "a rule has got worse on the third collection"
    alarms = int(re.search(r"red or amber on (\d+) of", published).group(1))
    assert sum(bool(v.findings) for v in verdicts if not v.expected) <= alarms
    page = (PROJECT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| the third")]
    assert row.split("|")[2].strip().startswith(f"{named} of {sum(bool(v.expected) for v in verdicts)}")


@pytest.mark.parametrize("name", THIRD)
def test_every_run_of_it_can_be_started(name):
    assert command_line.parse(THIRD[name].args.split()).settings.problems() == []


def test_recordings_are_small():
    files = [path for path in THIRD_RECORDINGS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3e6
