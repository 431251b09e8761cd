"""What else a finding could be, the experiment that decides, and what to read. One entry a detector.

The rules that find are in detectors/, the commands in experiments.py. An alternative is another explanation of the
same numbers: a diagnosis that names none invites a wrong cure.
"""

from analysis.diagnosis.advice_setup import SETUP
from analysis.diagnosis.advice_training import TRAINING
from analysis.support.run import Run

ADVICE = SETUP | TRAINING


def experiment(run: Run, name: str) -> tuple[str, str]:
    """(what to do and which outcome means what, its command or "") for the finding `name` of this run."""
    advice = ADVICE[name]
    found = advice.command(run)
    if not found and advice.otherwise:
        return advice.otherwise, advice.other_command(run)
    return advice.experiment, found
