"""Text and numbers as HTML. Everything that comes from a file passes `escaped` or `json_block`."""

import html
import json

from analysis.support.common import EXPECTED_ERRORS, printable
from analysis.support.run import NotMeasured


def escaped(text) -> str:
    """Text that a browser shows as it is, in an element or in a quoted attribute."""
    return html.escape(printable(str(text)), quote=True)


def json_block(name: str, value) -> str:
    """Data for the script, in an element that nothing in the data can end. Raises ValueError for NaN and infinity."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":  # "</script>" in a name would end the element
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" id="{escaped(name)}">{text}</script>'


def section(name: str, title: str, question: str, content) -> str:
    """A section of the page. content: a function that returns its HTML; what it cannot have becomes its reason."""
    try:
        inner = content()
    except (NotMeasured, *EXPECTED_ERRORS) as reason:
        inner = missing(reason)
    return (
        f'<section id="{escaped(name)}"><h2>{escaped(title)}</h2><p class="question">{escaped(question)}</p>'
        f"{inner}</section>"
    )


def missing(reason) -> str:
    """Why something is not there."""
    return f'<p class="missing">Not shown: {escaped(reason)}.</p>'


def command(text: str, label: str) -> str:
    """A line for a terminal with a button that copies it; label says what it does."""
    return (
        f'<div class="command"><code>{escaped(text)}</code>'
        f'<button type="button" class="copy" aria-label="Copy: {escaped(label)}">copy</button></div>'
    )


def figure(drawing: str, title: str, reading: str = "", legend: str = "", name: str = "") -> str:
    """A chart with its title above and its reading below: the first sentence, the rest on demand."""
    first, dot, rest = reading.partition(". ")
    more = f" <details><summary>more</summary>{escaped(rest)}</details>" if rest else ""
    caption = f"<figcaption>{escaped(first + dot.strip())}{more}</figcaption>" if reading else ""
    mark = f' data-panel="{escaped(name)}"' if name else ""
    return f"<figure{mark}><h3>{escaped(title)}</h3>{legend}{drawing}{caption}</figure>"


def table(rows: list[tuple], header: tuple = (), caption: str = "", css: str = "facts") -> str:
    """Rows of text; the first cell of each is its heading."""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in header)
    head = f"<thead><tr>{head}</tr></thead>" if header else ""
    body = "".join(
        f'<tr><th scope="row">{escaped(first)}</th>' + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>"
        for first, *cells in rows
    )
    caption = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table class="{css}">{caption}{head}<tbody>{body}</tbody></table></div>'


class Undrawn:
    """Axes on which nothing is drawn: a panel of another script gives its conclusion without its figure."""

    ncols = 1

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **options):  # noqa: D102
        return self

    def get_ylim(self) -> tuple[float, float]:
        """Any range."""
        return 0.1, 1.0
