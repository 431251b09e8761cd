"""The active checks of `diagnose.py --probe`, in their order, and how they are made.

What a check is given and returns: probes.py. The checks: probes_training.py, probes_data.py, probes_network.py.
"""

import time
from collections.abc import Callable

from analysis.diagnosis import probes_data, probes_network, probes_training
from analysis.diagnosis.probes import Outcome, Subject
from analysis.support.run import NotMeasured


def checks() -> dict[str, Callable[[Subject], Outcome]]:
    """{what is checked: its function}, in the order in which they are made."""
    return {
        "training images": probes_data.training_images,
        "test images in training": probes_data.near_duplicates,
        "dropout": probes_network.dropout,
        "learning-rate range": probes_training.rate_range,
        "one batch by heart": probes_training.memorize,
        "zeroed images, permuted labels": probes_training.dependence,
        "test images": probes_data.test_images,
        "augmentation": probes_data.augmentation,
    }


def run_checks(subject: Subject, device: str, say: Callable[[str], None]) -> dict[str, Outcome]:
    """{check: outcome}, trained on this device; `say` gets a line for each as soon as it is done."""
    from core import replicas

    outcomes, all_checks = {}, checks()
    for number, (name, check) in enumerate(all_checks.items(), start=1):
        began = time.perf_counter()
        try:
            with replicas.placed_on(1, device):
                outcomes[name] = check(subject)
        except NotMeasured as reason:
            outcomes[name] = Outcome(f"not checked: {reason}")
        say(f"probe {number} of {len(all_checks)}  {name}: {time.perf_counter() - began:.0f} s")
    return outcomes
