"""Where the network errs: confusion matrix, recall and precision, calibration, the oddest images."""

import numpy as np

from analysis import confusion
from analysis.report_parts import chart
from analysis.report_parts.chart import Line
from analysis.report_parts.markup import Undrawn, escaped, figure
from analysis.report_parts.png import data_uri
from analysis.support import statistics
from analysis.support.predictions import Predictions, calibration, percent

MISTAKES, HITS = 24, 12  # images


def errors(found: Predictions, step: int) -> str:
    """Everything that the predictions of one checkpoint show."""
    readings = {}
    with np.errstate(all="ignore"):  # a class without images, or never predicted
        for panel in confusion.PANELS:
            readings[panel.name] = panel.draw(Undrawn(), found)
        return (
            f"<p>The checkpoint of step {step:,} predicts all {len(found.labels):,} {escaped(found.kind)} images, one "
            "view of each.</p>"
            + figure(matrix(found), "Confusion matrix", readings["matrix"])
            + '<div class="charts">'
            + classes(found, readings["classes"])
            + reliability(found, readings["reliability"])
            + "</div>"
            + images(found, found.confidence, ~found.correct, MISTAKES, "Most confident mistakes", readings["mistakes"])
            + images(
                found, -found.confidence, found.correct, HITS, "Least confident correct predictions", readings["hits"]
            )
        )


def matrix(found: Predictions) -> str:
    """Counts of true class i (rows) predicted as class j (columns) as a table; the deeper the colour, the more."""
    counts, names = found.counts, found.names
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mistakes = counts * (1 - np.eye(len(counts), dtype=np.int64))
    most = max((mistakes / rows).max(), 1e-9)
    head = "".join(f'<th scope="col"><span>{escaped(name)}</span></th>' for name in names)
    body = ""
    for i, name in enumerate(names):
        cells = "".join(
            f'<td class="{"correct" if i == j else "mistake"}" '
            f'style="--v:{(counts[i, j] / rows[i, 0]) / (1 if i == j else most):.3f}">{counts[i, j]:,}</td>'
            for j in range(len(names))
        )
        body += f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>'
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="confusion matrix"><table class="matrix"><caption>'
        "Rows: true class. Columns: predicted class. Number of images.</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def classes(found: Predictions, reading: str) -> str:
    """Recall and precision of each class with their Wilson intervals."""
    right, kinds = np.diagonal(found.counts), []
    for css, axis in (("train", 1), ("test", 0)):
        of = found.counts.sum(axis=axis)
        low, high = statistics.wilson(right, of)
        kinds.append((css, 100 * right / of, 100 * low, 100 * high))
    text = "; ".join(
        f"{name}: recall {recall:.1f}, precision {precision:.1f} %"
        for name, recall, precision in zip(found.names, kinds[0][1], kinds[1][1])
    )
    drawing = chart.intervals(found.names, kinds, "recall, precision (%), 95 % intervals", text)
    keys = chart.legend([("train", "", "recall (circles)"), ("test", "", "precision (diamonds)")])
    return figure(drawing, "Recall and precision", reading, keys)


def reliability(found: Predictions, reading: str) -> str:
    """Accuracy against confidence in bins."""
    bins, error = calibration(found)
    count, right, confidence = bins[bins[:, 0] > 0].T
    low, high = statistics.wilson(right, count)
    x, y = 100 * confidence / count, 100 * right / count
    drawn = [Line(np.array([0, 100]), np.array([0, 100]), "level"), Line(x, y, "train", "accuracy (%)", True)]
    drawn += [Line(np.array([a, a]), 100 * np.array([b, c]), "train interval") for a, b, c in zip(x, low, high)]
    fractions = bins[:, 0] / len(found.labels)
    edges = np.repeat(np.linspace(0, 100, len(bins) + 1), 2)[1:-1]
    drawn.append(Line(edges, 100 * np.repeat(fractions, 2), "share"))
    text = f"Reliability diagram: ECE {error:.3f}. " + "; ".join(
        f"confidence {a:.0f} %: accuracy {b:.0f} % of {int(c):,} images" for a, b, c in zip(x, y, count)
    )
    drawing = chart.lines(drawn, "confidence (%)", "accuracy (%)", text, (0, 100), x_ends=(0, 100))
    keys = [("train", "", "accuracy in the bin"), ("level", "", "calibrated"), ("share", "", "images in the bin (%)")]
    return figure(drawing, "Reliability diagram", reading, chart.legend(keys))


def images(found: Predictions, score: np.ndarray, mask: np.ndarray, most: int, title: str, reading: str) -> str:
    """The images of the mask with the largest score, each with its true class, its prediction and the confidence."""
    chosen = np.flatnonzero(mask)
    chosen = chosen[np.argsort(-score[chosen], kind="stable")][:most]
    tiles = ""
    for i in chosen:
        true, predicted = found.name(found.labels[i]), found.name(found.predicted[i])
        text = f"{found.kind} image {i}: {true}, predicted as {predicted} with {percent(found.confidence[i])}"
        words = f"<b>{escaped(true)}</b>" + (f"→ {escaped(predicted)}" if not found.correct[i] else "")
        tiles += (
            f'<li><img src="{data_uri(found.images[i])}" width="32" height="32" alt="{escaped(text)}">{words}'
            f"<small>{percent(found.confidence[i])}</small></li>"
        )
    return figure(f'<ul class="images">{tiles}</ul>', title, reading)
