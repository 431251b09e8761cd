"""The page: head, contents and sections of one run or of several, with style sheet and script inside."""

import base64
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from analysis.diagnose import Diagnosis
from analysis.report_parts import comparison, curves, errors, facts, layers, network, summary
from analysis.report_parts.inside import Inside
from analysis.report_parts.markup import escaped, section
from analysis.support.predictions import Predictions
from analysis.support.run import Run

HERE = Path(__file__).resolve().parent
SCRIPTS = ("report.js", "reload.js")
RELOAD = 15  # seconds, of a page that --watch rewrites


@dataclass(frozen=True)
class Material:
    """A run and what was computed from its checkpoints, or the exception that says why it was not."""

    run: Run
    diagnosis: Diagnosis
    step: int  # of the checkpoint that predicts
    predictions: Predictions | Exception
    inside: Inside | Exception


def given(value):
    """The value, or what stands in its place is raised."""
    if isinstance(value, Exception):
        raise value
    return value


def sections(of: Material, prefix: str) -> list[tuple[str, str, str]]:
    """[(id, title, HTML)] of one run."""
    run, name = of.run, prefix
    parts = (
        ("verdict", "Verdict", "How did this run go?", lambda: summary.verdict(run, of.diagnosis)),
        ("findings", "Findings", "What is wrong, on what evidence?", lambda: summary.findings(run, of.diagnosis)),
        ("curves", "Learning curves", "How did it learn?", lambda: curves.curves(run, name)),
        ("errors", "Errors", "Where does it err, and does it know?",
         lambda: errors.errors(given(of.predictions), of.step)),
        ("network", "Inside the network", "What did it learn, and when?",
         lambda: network.explorer(run, given(of.predictions), given(of.inside), name)),
        ("layers", "Layers", "How did signal and gradient pass through it?", lambda: layers.layers(run)),
        ("reproduce", "Reproduce", "How do I get this run again?", lambda: facts.reproduce(run)),
        ("notes", "Notes", "What did I expect, and what did I see?", lambda: facts.notes(run)),
    )  # fmt: skip
    return [(prefix + key, title, section(prefix + key, title, question, make)) for key, title, question, make in parts]


def page(materials: list[Material], watched: bool = False) -> str:
    """The whole file. watched: it reloads itself until every run is complete."""
    runs = [of.run for of in materials]
    title = " and ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs"
    parts, contents = [], []
    if len(runs) > 1:
        found = section(
            "comparison", "Comparison", "Which is better, and how sure is that?",
            lambda: comparison.comparison(runs, [of.predictions for of in materials]),
        )  # fmt: skip
        parts.append(found)
        contents.append('<li><a href="#comparison">Comparison</a></li>')
    for number, of in enumerate(materials):
        prefix = f"run{number}-" if len(runs) > 1 else ""
        found = sections(of, prefix)
        links = "".join(f'<li><a href="#{key}">{escaped(name)}</a></li>' for key, name, _ in found)
        inner = "".join(html for *_, html in found)
        if len(runs) > 1:
            contents.append(f'<li><a href="#run{number}">{escaped(of.run.name)}</a><ul>{links}</ul></li>')
            parts.append(
                f'<div class="run" id="run{number}"><h1>{escaped(of.run.name)}</h1>'
                f"<p>{escaped(of.run.data_title)}</p>{inner}</div>"
            )
        else:
            contents.append(links)
            parts.append(inner)
    reload = watched and not all(run.complete for run in runs)
    style, script = (HERE / "report.css").read_text(), "".join((HERE / name).read_text() for name in SCRIPTS)
    data = " and ".join(dict.fromkeys(run.data_title for run in runs))
    return f"""<!DOCTYPE html>
<html lang="en"{f' data-reload="{RELOAD}"' if reload else ""}>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{f'<noscript><meta http-equiv="refresh" content="{RELOAD}"></noscript>' if reload else ""}
<title>{escaped(title)}: report</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<p class="brand">Glassbox report</p>
<h1>{escaped(title)}</h1>
<p>{escaped(data)}, written {time.strftime("%Y-%m-%d %H:%M")}</p>
<label class="theme">Theme <select id="theme"><option value="system">system</option><option>light</option>
<option>dark</option></select></label>
</header>
<nav aria-label="Contents"><ul>{"".join(contents)}</ul></nav>
<main id="content">
{"".join(parts)}
</main>
<script>{script}</script>
</body>
</html>
"""


def policy(script: str) -> str:
    """What the browser may do with this page: run this one script, show what is inside, ask no network."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
