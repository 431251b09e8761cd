"""The table of typical mistakes: which check finds which."""

import numpy as np

from layers_explained.support import checks

COMPARED, CHECKED = "comparison", "gradient check"


def print_mistakes(comparison) -> dict[str, tuple[str, ...]]:
    """Print for every mistake of a Comparison how far its output is off, and what a gradient check finds.

    Returns {mistake: the checks that find it}, and prints what follows from the table.
    """
    width = max(len(mistake.name) for mistake in comparison.mistakes)
    right = comparison.right_outputs()
    print(f"   {'mistake':{width}}   output                gradient check")
    found = {}
    for mistake in comparison.mistakes:
        with np.errstate(over="ignore", invalid="ignore"):
            outputs, *case = comparison.checked(mistake)
            findings = [check.finding for check in checks.check_gradients(*case, bound=1e-6) if not check.passes]
        gap = max(map(checks.largest_difference, outputs, right))
        output = "equal" if gap <= checks.AGREEMENT else f"off by {gap:.2g}" if np.isfinite(gap) else "not a number"
        found[mistake.name] = (COMPARED,) * (gap > checks.AGREEMENT) + (CHECKED,) * bool(findings)
        if len(findings) > 2:
            findings[1:] = [f"and {len(findings) - 1} more"]
        print(f"   {mistake.name:{width}}   {output:19}   {', '.join(findings) or 'passes'}", flush=True)
    print()
    for which, consequence in (
        (
            (COMPARED,),
            "backward belongs to forward, so the gradient check passes: only a comparison of the outputs finds this",
        ),
        ((CHECKED,), "the output is right: only a gradient check finds this"),
        ((COMPARED, CHECKED), "both checks find this"),
        ((), "with these numbers nothing is wrong, so no check finds it"),
    ):
        names = [name for name, finds in found.items() if finds == which]
        if names:
            print(f"   {'; '.join(names)}:\n      {consequence}")
    return found
