"""French typography: which spaces do not break, which apostrophe is written; in prose, not in code."""

import re

NARROW, WIDE = "\u202f", "\u00a0"  # the spaces that do not break
# Code blocks, code spans, formulas, HTML tags and comments, and the targets of links are not prose.
NOT_PROSE = re.compile(
    r"(^```.*?^```|``[^`]+``|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$|<!--.*?-->|<[/\w][^>\n]*>|\]\([^)]*\))",
    re.DOTALL | re.MULTILINE,
)
RULES = (
    (r"(?<=\w)'(?=\w)", "’"),
    (r"(?<=\w)'$", "’"),  # l'`accuracy`
    (r"(?<=\S)[ \u202f](?=:(\s|\*|$))", WIDE),
    (r"^[ \u202f](?=:(\s|\*|$))", WIDE),  # after a code span
    (r"(?<=\S)[ \u00a0](?=[;!?](\s|[)*»_]|$))", NARROW),
    (r"^[ \u00a0](?=[;!?](\s|[)*»_]|$))", NARROW),
    (r"«[ \u202f]?(?=[^\u00a0])", f"«{WIDE}"),
    (r"(?<=[^\u00a0\s])[ \u202f]?»", f"{WIDE}»"),
    (r"^[ \u202f]»", f"{WIDE}»"),
    (r"(?<=\d)[ \u202f](?=%)", WIDE),
    (r"(?<=\d)[ \u00a0](?=\d{3}(?!\d))", NARROW),  # 10 000
)


def parts(text: str) -> list[tuple[bool, str]]:
    """(is prose, text) one after the other."""
    return [(position % 2 == 0, part) for position, part in enumerate(NOT_PROSE.split(text))]


def prose(text: str) -> str:
    """Only the prose; a code span becomes a letter, so that words around it stay apart."""
    return "".join(part if is_prose else "x" for is_prose, part in parts(text))


def typeset(text: str) -> str:
    """The text with the spaces and apostrophes that French asks for."""
    done = []
    for is_prose, part in parts(text):
        for pattern, replacement in RULES if is_prose else ():
            part = re.sub(pattern, replacement, part)
        done.append(part)
    return "".join(done)


def mistakes(text: str) -> list[str]:
    """What `typeset` would change, and what it cannot mend; a line of the text for each."""
    found = [line for line, better in zip(text.splitlines(), typeset(text).splitlines()) if line != better]
    plain = prose(text)
    for pattern in (
        r".*[^\W\d_][;!?](?!\w).*",  # no space before the sign
        r".*[^\W\d_]:(?=\s|$).*",
        r"^[ \t]*[:;!?»](?=\s).*",  # a line begins with the sign
        r".*«[ \t]*$",
        r".*[“”].*",
    ):
        found += [match[0].strip() for match in re.finditer(pattern, plain, re.MULTILINE)]
    return found
