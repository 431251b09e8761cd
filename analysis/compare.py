"""Which is better, and how sure is that? Networks or recipes compared, with the uncertainty of each number.

    python analysis/compare.py A B                            two networks, on the same test images
    python analysis/compare.py A-0 A-1 A-2 B-0 B-1 B-2        two recipes, several seeds of each
    python analysis/compare.py A-0 A-1 A-2                    one recipe: how far apart are its seeds?
    python analysis/compare.py A B --panel accuracy           one panel as a slide

Runs whose settings differ in the seed alone are runs of one recipe. One run each is a question about networks: their
newest checkpoints predict the test images, and McNemar's test counts the images on which they differ. Several runs
each is a question about recipes, answered by the differences between runs with the same seed.
"""

import argparse
import dataclasses
import itertools
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, statistics, style
from analysis.support.comparison_figure import IMAGES, PANELS, draw, draw_images, seconds_at_evaluations
from analysis.support.run import Run, runs_of
from core.run.errors import RunError
from core.run.resumed_settings import resumed_settings
from core.run.run_folder import CONFIG, find
from core.settings.command_line import Parser, parse
from core.settings.settings import Settings

# Settings that leave the function that a run computes as it is.
BOOKKEEPING = ("recipe", "data_dir", "kernels", "evaluate_every", "checkpoint_every", "keep_checkpoints", "tensorboard",
               "diagnostics", "diagnostics_budget")  # fmt: skip
COSTS = {"parameter_count": ("1,000 parameters", 1e-3), "forward_flops_per_image": ("MFLOP of a forward pass", 1e-6)}
SURROUNDINGS = ("architecture", "git_commit", "tensorflow", "processor", "threads", "device")
MOST = 5  # recipes that a figure keeps apart


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Runs that differ in their seed alone, in the order of the seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def accuracy(self) -> dict[int, float]:
        """{seed: accuracy on the test images at the last evaluation}, in [0, 1]."""
        return {seed_of(run): float(run.epochs["test_accuracy"][-1]) for run in self.runs}


def seed_of(run: Run) -> int:
    """The seed of a run."""
    return run.config["settings"].get("seed", 0)


def key_of(run: Run) -> dict:
    """What decides what a run computes, except its seed: the settings, and the network as the code described it."""
    found = run.config["settings"] | {fact: run.config.get(fact) for fact in ("parameter_count", "architecture")}
    found = dataclasses.asdict(Settings()) | found  # an older version lacks some settings
    return {name: value for name, value in found.items() if name not in (*BOOKKEEPING, "seed")}


def recipes_of(runs: list[Run]) -> list[Recipe]:
    """The runs grouped by everything but the seed, in the order given. Raises RunError when they do not compare."""
    check(runs)
    groups = {}
    for run in runs:
        groups.setdefault(str(sorted(key_of(run).items())), []).append(run)
    groups = [sorted(group, key=seed_of) for group in groups.values()]
    if len(runs) == 2 and seed_of(runs[0]) == seed_of(runs[1]):
        groups = [[run] for run in runs]  # perhaps the same settings: then other code, or another machine
    for group in groups:
        if len({seed_of(run) for run in group}) < len(group):
            named = style.listed([f"{run.name} (seed {seed_of(run)})" for run in group])
            raise RunError(f"{named} have the same settings: leave all but one of each seed out")
    names = [name_of(group) for group in groups]
    names = [name if names.count(name) == 1 else group[0].name for name, group in zip(names, groups)]
    recipes = [Recipe(name, tuple(group)) for name, group in zip(names, groups)]
    if len(recipes) > MOST:
        raise RunError(f"{len(recipes)} recipes: at most {MOST} are compared at once; name fewer runs")
    for a, b in itertools.combinations(recipes, 2):
        if max(len(a.runs), len(b.runs)) > 1 and len(set(a.accuracy) & set(b.accuracy)) < 2:
            raise RunError(
                f"{a.name} has the seeds {sorted(a.accuracy)} and {b.name} {sorted(b.accuracy)}: recipes compare over "
                "two common seeds or more; train what is missing, or name one run of each"
            )
    return recipes


def name_of(runs: list[Run]) -> str:
    """The name of a run; of several what their names have in common, without a date, or their recipe."""
    if len(runs) == 1:
        return runs[0].name
    shared = re.sub(r"-20\d\d[-\d]*$", "", os.path.commonprefix([run.name for run in runs])).rstrip("-_.")  # noqa: RUF071
    return shared or runs[0].config["settings"].get("recipe", "recipe")


def check(runs: list[Run]) -> None:
    """Raise RunError unless the runs are different ones, evaluated, on the same images with the same classes."""
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise RunError("a run is named twice; name each run once")
    for run in runs:
        if not len(run.epochs["step"]):
            raise RunError(f"{run.folder}: not evaluated yet; that comes at the end of its first epoch")
        facts = ("fingerprint", "test_images", "class_names")
        differs = [fact for fact in facts if run.config["data"].get(fact) != runs[0].config["data"].get(fact)]
        if differs or run.test_name != runs[0].test_name:
            raise RunError(
                f"{runs[0].name} is on {runs[0].data_title}, {run.name} on {run.data_title} ({CONFIG} differs in "
                f"{', '.join(differs) or 'holdout'}): only accuracies on the same images compare"
            )


def introduction(recipes: list[Recipe]) -> list[str]:
    """The question, in what the recipes differ, the accuracy of each, and what to be careful with."""
    runs = [run for recipe in recipes for run in recipe.runs]
    n, what = runs[0].config["data"]["test_images"], f"{runs[0].test_name} accuracy"
    asked = "Which recipe is better" if len(runs) > len(recipes) else "Which network is better"
    asked = asked if len(recipes) > 1 else "How far apart are the seeds of one recipe"
    lines = [f"{asked}: {style.listed([recipe.name for recipe in recipes])}?"]
    keys = [key_of(recipe.runs[0]) for recipe in recipes]
    for name in dict.fromkeys(itertools.chain(*keys)):
        values = [str(key.get(name, "not there")) for key in keys]
        if len(set(values)) > 1 and name != "architecture":
            each = ", ".join(f"{value} ({recipe.name})" for value, recipe in zip(values, recipes))
            lines.append(f"  {name.replace('_', ' ')}: {each}")
    lines += [f"{r.name}: {what} {statistics.accuracy_in_words(list(r.accuracy.values()), n)}" for r in recipes]
    if unfinished := [run.name for run in runs if not run.complete]:
        lines.append(f"Careful: not complete, so that the last evaluation counts: {style.listed(unfinished)}.")
    if any(run.config["settings"].get("test_time_augmentation") for run in runs):
        lines.append("The accuracies are those of one view of each image, without test-time augmentation.")
    if other := [
        fact.replace("_", " ") for fact in SURROUNDINGS if len({str(run.config.get(fact)) for run in runs}) > 1
    ]:
        lines.append(f"Also different between the runs: {style.listed(other)} (see {CONFIG}).")
    return lines


def efficiency(recipes: list[Recipe]) -> list[str]:
    """Accuracy per second, per parameter and per FLOP, the largest first."""
    costs = {"second of training": [np.mean([seconds_at_evaluations(run)[-1] for run in r.runs]) for r in recipes]}
    for fact, (unit, scale) in COSTS.items():
        costs[unit] = [scale * (recipe.runs[0].config.get(fact) or np.nan) for recipe in recipes]
    means, lines = [100 * np.mean(list(recipe.accuracy.values())) for recipe in recipes], []
    for unit, cost in costs.items():
        gained = sorted(((m / c, r.name, c) for m, r, c in zip(means, recipes, cost) if c > 0), reverse=True)
        each = ", ".join(f"{name} {points:.3g} (of {c:,.4g})" for points, name, c in gained)
        lines.append(f"Percentage points of accuracy per {unit}: {each or 'not recorded'}.")
    return lines


def predictions(runs: list[Run], data_dir: str) -> tuple:
    """(data set, [probabilities [N,K] of each run's newest checkpoint]) on the test images.

    Raises RunError, CheckpointError or DataError when a network cannot be restored as it was.
    """
    from core import devices

    tf = devices.import_tensorflow()
    from core import build
    from core.data import batches, load
    from core.run import checkpoints, recovery

    @tf.function(autograph=False)
    def probabilities(network, images):
        return tf.nn.softmax(tf.cast(network(batches.standardize(images), training=False), tf.float32))

    settings, found = [settings_of(run) for run in runs], []  # before anything that takes long
    devices.configure(0)
    data = load(runs[0].config["data"]["name"], data_dir or settings[0].data_dir, settings[0].holdout)
    with tf.device(devices.choose("auto")[0]):
        for run, its_settings in zip(runs, settings):
            recovery.check_same_data(run.folder, data)
            checkpoint, network = checkpoints.newest(run.folder), build.build_network(its_settings, stored=run.config)
            checkpoints.check_same_run(run.folder, checkpoint)
            tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name in network.named_variables}
            checkpoints.restore(dataclasses.replace(checkpoint, tensors=tensors), network.named_variables)
            in_order = batches.in_order(data.test_images, data.test_labels)
            found.append(np.concatenate([probabilities(network, images).numpy() for images, _ in in_order]))
            logged = run.epochs["test_accuracy"][run.epochs["step"] == checkpoint.step]
            here = np.mean(found[-1].argmax(axis=1) == data.test_labels)
            if logged.size and abs(here - logged[0]) > 0.005:  # rounding tips fewer
                raise RunError(
                    f"{checkpoint.path}: {100 * here:.2f} % here, {100 * logged[0]:.2f} % in epochs.csv: was the "
                    "code edited since? train again"
                )
    return data, found


def settings_of(run: Run) -> Settings:
    """What decides a run's network, with textbook layers. Raises RunError for an older version without its layers."""
    if "architecture" not in run.config:
        return resumed_settings(run.folder, parse([]))
    stored = {name: value for name, value in run.config["settings"].items() if name in Settings.__dataclass_fields__}
    return Settings(**(stored | {"kernels": "textbook", "micro_batches": 1}))


def main(args) -> None:
    """Compare, draw, print. Raises RunError when the runs do not compare."""
    runs = runs_of([find(name, args.runs_dir) for name in args.run])
    recipes = recipes_of(runs)
    names, pairs = [recipe.name for recipe in recipes], list(itertools.combinations(range(len(recipes)), 2))
    networks = len(runs) == len(recipes)
    if args.panel == IMAGES and not (networks and len(recipes) == 2):
        raise RunError(f"--panel {IMAGES}: it shows the images on which two networks differ; name two runs")
    out = args.out or runs[0].folder / (f"compare-{args.panel}.png" if args.panel else "compare.png")
    lines, results, curves = introduction(recipes), [], args.panel if args.panel in PANELS else None
    common.say(*lines, *efficiency(recipes))
    if args.panel != IMAGES:
        draw(recipes, lines[0], out, curves)  # before the checkpoints are read, which may be missing
        common.say(f"drawn    {out}")
    if networks:
        data, found = predictions(runs, args.data_dir)
        right = [p.argmax(axis=1) == data.test_labels for p in found]
        results = [statistics.mcnemar(right[i], right[j]) for i, j in pairs]
        if len(recipes) == 2 and args.panel in (None, IMAGES):
            sheet = out if args.panel else out.with_name(f"{out.stem}-{IMAGES}{out.suffix}")
            draw_images([style.shortened(name) for name in names], data, found, sheet)
            common.say(f"drawn    {sheet}")
    else:
        for a, b in ((recipes[i].accuracy, recipes[j].accuracy) for i, j in pairs):
            common_seeds = [seed for seed in a if seed in b]
            results.append(statistics.paired_difference(*([x[seed] for seed in common_seeds] for x in (a, b))))
    verdicts = statistics.verdicts([(names[i], names[j], result) for (i, j), result in zip(pairs, results)])
    if len(pairs) == 1 and args.panel != IMAGES:
        draw(recipes, verdicts[1].replace("Verdict:", "Accuracy:"), out, curves)
    for line in verdicts:
        common.say(line)


def build_parser():
    """The command line."""
    parser = Parser(prog="analysis/compare.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("run", metavar="RUN", nargs="*", help="two runs or more: their names or folders")
    add("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    add("--out", metavar="FILE", type=Path, help="the figure: .png, .svg, .pdf [compare.png in the first run's folder]")
    panels = (*PANELS, IMAGES)
    text = f"one panel as a slide: {', '.join(panels)} [the first three in one figure, the images in a second one]"
    add("--panel", metavar="NAME", choices=panels, help=text)
    add("--data-dir", metavar="DIR", default="", help="where the images are, if they have moved since")
    return parser


def parse_arguments(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if len(args.run) < 2:
        parser.error("expected two runs or more: their names or folders")
    return args


if __name__ == "__main__":
    common.answer(main, parse_arguments())
