"""Pages of analysis/report.py for the tests: parsed, and made for a run whose texts are as hostile as files allow."""

import json
import shutil
from html.parser import HTMLParser
from unittest import mock

from runner import tenth_of_shapes10

from analysis import report
from analysis.support.run import runs_of
from core.run import run_folder

VOID = ("meta", "img", "input", "br", "link", "hr")
HOSTILE = 'x</script><script>window.broken=1</script><img src=x onerror="window.broken=2">&amp;'
FOLDER = '<img src=x onerror="window.broken=3">&amp;'  # a folder's name has no slash


class Page(HTMLParser):
    """The elements of a page as (name, attributes), its texts outside scripts and styles, its data; tags must close."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.texts, self.scripts, self.data = [], [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}> in line {self.getpos()[0]}"

    def handle_data(self, text):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.data[attributes["id"]] = json.loads(text)
        elif tag == "script":
            self.scripts.append(text)
        elif tag != "style":
            self.texts.append(text)

    def all(self, name: str, **attributes) -> list[dict]:
        """The attributes of every element of this name that has these."""
        return [
            found
            for tag, found in self.elements
            if tag == name and all(found.get(key) == value for key, value in attributes.items())
        ]

    @property
    def text(self) -> str:
        """All that a reader sees, in order."""
        return " ".join(" ".join(self.texts).split())


def written(*folders) -> str:
    """The page of these runs on a tenth of shapes10, in this process."""
    with mock.patch("core.data.load", lambda *given: tenth_of_shapes10()):
        return report.page([report.material(run, "") for run in runs_of(list(folders))])


def hostile_copy(folder, runs_dir):
    """A copy of a run whose name, data and notes hold what would run if it were not escaped."""
    copy = runs_dir / FOLDER
    shutil.copytree(folder, copy)
    config = run_folder.read_config(copy)
    config["data"]["title"] = config["git_commit"] = HOSTILE
    run_folder.write_config(copy, config)
    (copy / "notes.md").write_text(f"Expected 60 %.\n{HOSTILE}\n")
    return copy
