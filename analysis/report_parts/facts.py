"""How to get this run again: command, settings, versions, machine, data, time; and the notes of its owner."""

import shlex

import numpy as np

from analysis.diagnosis.experiments import EXPERIMENTS, again
from analysis.report_parts.markup import command, escaped, table
from analysis.report_parts.summary import duration
from analysis.support.run import NotMeasured, Run
from core.run.errors import RunError
from core.settings.recipes import RECIPES
from core.settings.settings import Settings, option

NOTES = "notes.md"
MOST_NOTES = 100_000  # bytes that are shown
CHOSEN = ("auto", 0)  # what is decided on the machine when the run begins
SURROUNDINGS = ("tensorflow", "numpy", "python", "system", "processor", "device", "threads", "precision",
                "precision_reason", "started")  # fmt: skip


def reproduce(run: Run) -> str:
    """Command, settings, versions, machine, data and time."""
    return (
        f"<h3>The command</h3>{commands(run)}"
        f"<h3>Settings</h3>{settings(run)}<h3>Code and machine</h3>{surroundings(run)}"
        f"<h3>Data</h3>{data(run)}<h3>Where the time went</h3>{time(run)}"
    )


def commands(run: Run) -> str:
    """The command line as it was typed, and the one that trains this run again under another name."""
    typed, text = run.config.get("command"), ""  # a run of an older version does not have it
    if typed is not None:
        text = f"<p>As it was typed:</p>{command(shlex.join(['python', 'train_loop.py', *typed]), 'as it was typed')}"
    line = again(run).removesuffix(f" --runs-dir {EXPERIMENTS}")
    if not line:
        return text + "<p>This version cannot train this run again: its settings are of another version.</p>"
    line = command(f"{line} --run {run.folder.name}-again", "train this run again")
    return f"{text}<p>From its settings, all of which are in config.json, under another name:</p>{line}"


def settings(run: Run) -> str:
    """What differs from the recipe; all settings on demand."""
    stored = run.config["settings"]
    recipe = stored.get("recipe", "classic")
    usual = RECIPES.get(recipe)
    if usual is None:
        text = f"<p>There is no recipe {escaped(recipe)} in this version to compare with.</p>"
        usual, different = Settings(), []
    else:
        different = [
            (option(name), value, of_recipe(name, getattr(usual, name)))
            for name, value in stored.items()
            if hasattr(usual, name) and value != getattr(usual, name)
        ]
        same = f"<p>All settings are those of the recipe {escaped(recipe)}.</p>"
        caption = f"Different from the recipe {recipe}"
        text = table(different, ("setting", "this run", f"recipe {recipe}"), caption) if different else same
    rows = [(option(name), value) for name, value in stored.items()]
    return f"{text}<details><summary>All {len(rows)} settings</summary>{table(rows, ('setting', 'value'))}</details>"


def of_recipe(name: str, value) -> str:
    """The value of a recipe; where it leaves the choice to the machine, that is said."""
    chosen = value in CHOSEN and name in ("data", "precision", "micro_batches", "kernels", "device")
    return f"{value} (chosen when the run began)" if chosen else str(value) or "(empty)"


def surroundings(run: Run) -> str:
    """Commit, versions, machine."""
    commit = run.config.get("git_commit")
    dirty = "with changed files (dirty)" if str(commit).endswith("+") else "without changed files (clean)"
    rows = [("git commit", f"{str(commit).rstrip('+')}, {dirty}" if commit else "not recorded: not a git checkout")]
    rows += [(name.replace("_", " "), run.config.get(name, "not recorded")) for name in SURROUNDINGS]
    rows.append(("steps an epoch", f"{run.steps_per_epoch:,}"))
    return table(rows)


def data(run: Run) -> str:
    """Name, fingerprint, number of images."""
    found = run.config["data"]
    rows = [("name", found["title"]), ("SHA-256 of its records", found.get("fingerprint", "not recorded"))]
    rows.append(("training images", in_words(found.get("train_images"))))
    rows.append((f"{run.test_name} images", in_words(found.get("test_images"))))
    rows.append((f"{run.test_name} images that are in training too", in_words(found.get("test_images_in_training"))))
    return table(rows)


def in_words(count) -> str:
    """`10,000`."""
    return f"{count:,}" if isinstance(count, int) else "not recorded"


def time(run: Run) -> str:
    """Set-up, tracing, training, diagnostics and the rest, from timing.csv. Says what was not recorded."""
    try:
        timing = run.timing
        if len(timing["step"]) < 2:
            raise NotMeasured("timing.csv has fewer than two steps")
    except NotMeasured as reason:
        return f"<p>Not recorded: {escaped(reason)}.</p>"
    started = run.config.get("setup_seconds")  # None in a run of an older version
    rows = time_split(timing["step_seconds"], timing["elapsed_seconds"], timing["probe_seconds"], started)
    whole = sum(seconds for _, seconds in rows)
    shown = [(what, duration(seconds), f"{100 * seconds / max(whole, 1e-9):.1f} %") for what, seconds in rows]
    bars = "".join(
        f'<span style="flex-grow:{max(seconds, 0) / max(whole, 1e-9):.4f}" class="part{i}" title="{escaped(what)}">'
        "</span>"
        for i, (what, seconds) in enumerate(rows)
    )
    begin = (
        "From the command line on, with the import of TensorFlow and the loading of the data, to the last row of "
        "timing.csv"
        if started is not None
        else "From the first row of timing.csv to the last; the import of TensorFlow and the loading of the data come "
        "before it"
    )
    note = f"{begin}; the last evaluation comes after it. Tracing: what the first step took beyond the median step."
    return f'<div class="split" aria-hidden="true">{bars}</div>{table(shown, ("", "time", "fraction"))}<p>{note}</p>'


def time_split(
    step: np.ndarray, elapsed: np.ndarray, probe: np.ndarray, setup: float | None = None
) -> list[tuple[str, float]]:
    """[(what, seconds)] of a run whose rows of timing.csv these are.

    elapsed counts from the beginning of a training: where it falls, the run was resumed, and another first step was
    traced. setup: from the start of the first process to that beginning, None if it was not recorded.
    """
    begins = np.flatnonzero(np.diff(elapsed, prepend=np.inf) < 0)  # the first step of each process
    typical = float(np.median(step))
    tracing = float(np.maximum(step[begins] - typical, 0).sum())
    before = float(np.maximum(elapsed[begins] - step[begins], 0).sum())
    probes = float(np.nan_to_num(probe).sum())
    ends = np.append(begins[1:] - 1, len(elapsed) - 1)
    between = float(elapsed[ends].sum()) - before - float(step.sum()) - probes
    set_up = ("set-up: measurements before the first step", before)
    if setup is not None:
        set_up = ("set-up: until the first step", setup + before)
    return [
        set_up,
        ("tracing: the first step builds its graph", tracing),
        ("training: the steps", float(step.sum()) - tracing),
        ("diagnostics: probes between steps", probes),
        ("evaluation and checkpoints, all but the last", max(between, 0.0)),
    ]


def notes(run: Run) -> str:
    """notes.md of the run's folder, as text."""
    path = run.folder / NOTES
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_NOTES + 1)
    except FileNotFoundError:
        return (
            f"<p>None yet. Write what you expected and what you saw into <code>{escaped(path)}</code>, and make the "
            "page again.</p>"
        )
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    text = content[:MOST_NOTES].decode(errors="replace")
    cut = f"<p>Only the first {MOST_NOTES:,} bytes are shown.</p>" if len(content) > MOST_NOTES else ""
    return f'<div class="notes">{escaped(text)}</div>{cut}'
