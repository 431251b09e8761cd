"""The session of docs/debugging.md, typed as it stands: pdb stops where the page says and prints what it says."""

import re

import pytest
from documents import PROJECT
from runner import run

PAGES = ("debugging.md", "debugging.fr.md")


def session(name: str) -> tuple[list[str], list[list[str]]]:
    """What is typed at the prompt, and what the page shows after each."""
    typed, shown = [], []
    blocks = re.findall(r"^```text\n(.*?)^```", (PROJECT / "docs" / name).read_text(), re.DOTALL | re.MULTILINE)
    for line in "".join(block for block in blocks if "(Pdb)" in block).splitlines():
        if line.startswith("(Pdb) "):
            typed.append(line.removeprefix("(Pdb) "))
            shown.append([])
        elif typed:
            shown[-1].append(line)
    return typed, shown


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What pdb prints after each line that is typed."""
    typed, _ = session(PAGES[0])
    args = ("--recipe", "debug", "--pdb", "--runs-dir", tmp_path_factory.mktemp("runs"))
    return run("train_loop.py", *args, stdin="\n".join([*typed, ""])).stdout.split("(Pdb) ")[1:]


def test_every_stop_is_where_the_page_says(printed):
    typed, shown = session(PAGES[0])
    assert len(typed) >= 18 and typed[-1] == "q" and len(printed) >= len(typed)
    for command, expected, found in zip(typed, shown, printed):
        for line in expected:
            assert line in found, f"after {command!r} the page shows {line!r}, pdb prints {found!r}"
        assert "Error" not in found or any("Error" in line for line in expected), f"{command!r}: {found}"


def test_what_is_printed_is_what_the_page_explains(printed):
    typed, _ = session(PAGES[0])
    after = {command: found for command, found in zip(typed, printed)}
    classes = after["p list(map(training.data.class_names.__getitem__, labels.numpy()))"]
    assert classes.count("'") == 16  # eight names
    shape, loss = re.search(r"\(TensorShape\((.*)\), (.*)\)", after["p logits.shape, float(loss)"]).groups()
    assert shape == "[8, 10]" and 2 < float(loss) < 3
    assert float(after["p float(tf.linalg.global_norm(gradients))"].split()[0]) > 0
    assert float(after["p float(learning_rate)"].split()[0]) > 0


def test_both_languages_have_the_same_session():
    assert session(PAGES[0]) == session(PAGES[1])
