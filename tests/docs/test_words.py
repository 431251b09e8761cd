"""The words of the field, not ours: a name that papers and the next book do not use is not used here either."""

import re
import tokenize
from functools import cache

import pytest
from documents import named, text_files

# {write: what is not written instead}. `text` is searched in comments, docstrings, messages and documents; `names` are
# the parts of identifiers: zero_share has the parts zero and share.
WORDS = {
    "evaluation": {"text": r"exam(s|ine[sd]?|ining|ination)?|exam-mode", "names": "exam exams examine examination"},
    "image, figure": {"text": r"pictures?", "names": "picture pictures"},
    "micro-batch, chunk": {"text": r"pieces?", "names": "piece pieces"},
    "backward pass": {"text": r"way back|there and back"},
    "activation, nonlinearity": {"text": r"bends?|bend\d\w", "names": "bend bends"},
    "measurement": {"text": r"look_at_\w+", "names": "look looks"},
    "arguments": {"text": r"--words"},
    "index, position, folder": {"names": "place places"},
    "fraction, ratio": {"text": r"zero_share|an?( \w+)? share of|share=\S+", "names": "shares"},
    "standard deviation": {"text": r"(?<!standard )deviations?", "names": "deviation deviations"},
    "bias, beta": {"text": r"shift[_ -]rate"},
    "initialization": {"text": r"(zero|large)-start|identity start"},
    "Pareto front": {"text": r"(?<!Pareto )(?<!in )front(?! of)|front\.(csv|png|py)"},
    "baseline": {"text": r"peers?|contestants?|twins?", "names": "peer peers contestant contestants twin twins"},
    "data set statistics": {"text": r"census", "names": "census"},
    "implementation": {"text": r"rungs?", "names": "rung rungs climb"},
    "check, test": {"text": r"prove[sdn]?|proving|proofs?", "names": "proof proofs prove proven"},
    "walkthrough, run": {"text": r"essays?|stor(y|ies)", "names": "essay essays story"},
    "fault": {
        "text": r"zoos?|specimens?|illness(es)?|ill|diseases?|sick|healthy",
        "names": "zoo specimen specimens illness ill sick healthy",
    },
    "alternative explanations": {"text": r"rivals?|or else", "names": "rival rivals"},
    "first-order change": {"text": r"credits?", "names": "credit credits"},
    "gain ratio": {"text": r"step[_ ]quality"},
    "measurement interval": {"text": r"cadences?", "names": "cadence cadences"},
    "step counter, timer": {"text": r"(?<!wall )clocks?", "names": "clock clocks"},
    "zero, large": {
        "text": r"silent (channels?|units?|layers?|ReLUs?)|falls? silent|loud(er)?|shouts?|hears?|heard",
        "names": "loud",
    },
    "optimizer state": {"text": r"slots?|keepers?", "names": "slot slots keeper keepers"},
    "definition and shapes": {"text": r"contracts?", "names": "contract contracts"},
    "chance level": {"text": r"guessing", "names": "guessing"},
    "untrained": {"text": r"untouched", "names": "untouched"},
    "test-time augmentation": {"text": r"six_views\w*"},
}

# Where a word has its real meaning.
ALLOWED = {
    "core/layers/activation.py": ("(the bend)",),  # the everyday image, once, where the term is introduced
    "layers_explained/activation.py": ("(the bend between two linear layers)",),
    "docs/layers/activation.md": ("(the bend)",),
    "CONTRIBUTING.md": ("(the bend between two linear layers)",),
    "analysis/benchmarks/pareto_front.py": ("front",),  # the Pareto front itself
    "docs/diagnostics.md": ("there and back",),  # of an accuracy that swings
    "core/run/schema.py": ("diagnostics.cadence",),  # names of older versions, checked and translated
    "tests/run/test_schema.py": ("settings.pieces",),
    "tests/fuzz_readers.py": ('"credit"',),
    "analysis/benchmarks/benchmark.py": ("six_views_accuracy",),
    "tests/analysis/benchmarks/test_benchmark.py": ("six_views_accuracy",),
}
EXEMPT = (
    "CHANGELOG.md",  # names what was renamed
    "core/run/old_names.py",  # translates what older versions wrote
    "tests/run/test_old_names.py",
    "tests/docs/test_words.py",
)


def private_words(path, word: dict) -> list[str]:
    """`file:line: the line`, for every line of a file in which the word occurs."""
    if named(path) in EXEMPT:
        return []
    lines, found = lines_of(path), set()
    if "text" in word:
        pattern = re.compile(rf"(?<![\w-])({word['text']})(?![\w-])", re.IGNORECASE)
        for number, line in enumerate(lines if pattern.search(in_one_line(path)) else ()):
            for allowed in ALLOWED.get(named(path), ()):
                line = line.replace(allowed, "")
            # With the end of the line before, so that a break between two words hides nothing.
            before = lines[number - 1].rstrip()[-12:] + " " if number else ""
            found |= {number for match in pattern.finditer(before + line.strip()) if match.end() > len(before)}
    if "names" in word and path.suffix == ".py":
        private = set(word["names"].split())
        found |= {number for number, parts in names_of(path) if private & parts}
    return [f"{named(path)}:{number + 1}: {lines[number].strip()}" for number in sorted(found)]


@cache
def lines_of(path) -> list[str]:
    """The lines of a file."""
    return path.read_text().splitlines()


@cache
def in_one_line(path) -> str:
    """The whole file, a blank for each break: what is not found here is in none of its lines."""
    return " ".join(line.strip() for line in lines_of(path))


@cache
def names_of(path) -> list[tuple[int, frozenset]]:
    """(line, the parts of the name) for every identifier of a Python file; lines counted from 0."""
    with open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    return [
        (token.start[0] - 1, frozenset(re.findall(r"[a-z]+", split_camel(token.string))))
        for token in tokens
        if token.type == tokenize.NAME
    ]


def split_camel(name: str) -> str:
    """LayerProbe -> layer_probe; EPOCHS and zero_share only become small letters; a standard deviation is std."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("standard_deviation", "std")


@pytest.mark.parametrize("instead", WORDS)
def test_the_words_of_the_field(instead):
    found = [line for path in text_files() for line in private_words(path, WORDS[instead])]
    assert not found, f"write {instead}:\n" + "\n".join(found)


def test_a_private_word_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("documents.PROJECT", tmp_path)
    path = tmp_path / "made.py"
    path.write_text('"""An exam of the zeros."""\n\nzero_share = 1  # the standard\n# deviation, in front of all\n')
    assert private_words(path, WORDS["evaluation"]) == ['made.py:1: """An exam of the zeros."""']
    assert private_words(path, WORDS["fraction, ratio"]) == ["made.py:3: zero_share = 1  # the standard"]
    assert not private_words(path, WORDS["Pareto front"])
