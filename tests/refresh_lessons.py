"""After an edit of the lessons: line numbers of references, French typography, and the hashes of what is translated.

python tests/refresh_lessons.py            mend line numbers and French spaces in every lesson
python tests/refresh_lessons.py 2 3        the same, and say that the French of lessons 2 and 3 renders today's English
python tests/refresh_lessons.py docs/glossary.md        the same of a document beside the lessons
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import french
from documents import PROJECT, named
from lessons import lessons, translated_pairs, with_hashes


def main(revised: set[str]) -> None:
    """Rewrite what differs, and say which files. revised: lessons by their number, other documents by their name."""
    for path in (*PROJECT.glob("*.fr.md"), *(PROJECT / "docs").rglob("*.fr.md")):
        write(path, french.typeset(path.read_text()))
    for language in ("en", "fr"):
        for lesson in lessons(language):
            text = lesson.text
            for reference in lesson.references:
                text = text.replace(reference.text, reference.mended)
            write(lesson.path, french.typeset(text) if language == "fr" else text)
    for english, translated in translated_pairs():
        if english.title.removeprefix("lesson ") in revised:
            write(translated.path, with_hashes(english, translated))


def write(path: Path, text: str) -> None:
    """Write the file if its text changes."""
    if text != path.read_text():
        path.write_text(text)
        print(f"written  {named(path)}")


if __name__ == "__main__":
    main(set(sys.argv[1:]))
