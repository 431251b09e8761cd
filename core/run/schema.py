"""What config.json and the CSV files of a run may hold: types and ranges, checked in this one place on reading.

A file may have been edited by hand, cut short by a full disk, or come from a stranger. What has passed here holds
values of the expected type inside their range and text that can be printed: a reader need not ask again. What an older
version did not write may be missing.
"""

import math

import numpy as np

from core.run import old_names
from core.run.errors import LogError, RunError
from core.settings.settings import Settings, expected, in_words, inside, shown

MOST_STEPS = 10_000_000_000
MOST_CLASSES = 1_000
DEEPEST, LONGEST = 16, 4_096  # levels of config.json; characters of a text in it

COUNT = f"[0, {MOST_STEPS}]"
POSITIVE = f"[1, {MOST_STEPS}]"

# {field of config.json: (type, interval of a number)}. "[]" behind a name: every item of a list; ".*": of an object.
CONFIG_FIELDS = {
    "run": (str, ""), "started": (str, ""), "precision": (str, ""), "precision_reason": (str, ""), "device": (str, ""),
    "steps_per_epoch": (int, POSITIVE), "total_steps": (int, POSITIVE), "threads": (int, COUNT),
    "command": (list, ""), "command[]": (str, ""), "setup_seconds": (float, "[0, 1e30]"),
    "settings": (dict, ""), "data": (dict, ""), "data.title": (str, ""), "data.name": (str, ""),
    "data.fingerprint": (str, ""), "data.train_images": (int, POSITIVE), "data.test_images": (int, POSITIVE),
    "data.class_names": (list, ""), "data.class_names[]": (str, ""),
    "data.train_class_counts": (list, ""), "data.train_class_counts[]": (int, COUNT),
    "data.test_class_counts": (list, ""), "data.test_class_counts[]": (int, COUNT),
    "data.test_images_in_training": (int, COUNT), "diagnostics": (dict, ""), "diagnostics.intervals": (dict, ""),
    "diagnostics.intervals.*": (int, COUNT), "diagnostics.cadence": (dict, ""), "diagnostics.cadence.*": (int, COUNT),
    "kernels": (dict, ""), "kernels.*": (str, ""), "architecture": (list, ""), "architecture[]": (dict, ""),
}  # fmt: skip
REQUIRED = ("settings", "data", "data.title")
TYPES = {str: "text", dict: "an object {...}", list: "a list [...]"}

# {column: (interval, whether it may also be NaN or infinite, as in a run whose numbers were lost)}.
FRACTION = "[0, 1.000001]"  # with rounding
COLUMN_RANGES = {
    **dict.fromkeys(("step", "epoch", "count"), (COUNT, False)),
    **dict.fromkeys(("true_class", "predicted_class"), (f"[0, {MOST_CLASSES - 1}]", False)),
    **dict.fromkeys(("accuracy", "train_accuracy", "test_accuracy"), (FRACTION, False)),
    **dict.fromkeys(("train_calibration_error", "test_calibration_error"), (FRACTION, True)),
    **dict.fromkeys(("loss", "train_loss", "test_loss", "gradient_norm"), ("[0, inf]", True)),
    **dict.fromkeys(("learning_rate", "step_seconds", "elapsed_seconds", "probe_seconds"), ("[0, 1e30]", False)),
}  # fmt: skip
TEXT_ROWS = 1 << 20  # rows whose text is checked at a time


def check_config(path, config) -> None:
    """Raise RunError, with file, field, expected and found, unless config is what json.loads gives for a run.

    config: as it was parsed, in the names of any version, before core/run/old_names.py translates it.
    """
    if problem := config_problem(config):
        raise RunError(f"{path}: not the description of a run: {problem}; was it edited or cut short?")


def check_table(path, name: str, columns: dict[str, np.ndarray]) -> None:
    """Raise LogError, with file, line, column, expected and found, for a value that a run does not write.

    columns: {column: array [rows]} of the whole file `name`, text as bytes.
    """
    for column, values in columns.items():
        if values.dtype.kind == "S":
            wrong, wanted = first_bad_text(values), "printable text"
        elif column in COLUMN_RANGES:
            interval, may_be_lost = COLUMN_RANGES[column]
            wrong = first_outside(values, interval, may_be_lost)
            kind = "a whole number" if values.dtype.kind in "iu" else "a number"
            wanted = in_words(interval.replace("1.000001", "1"), kind)
        else:
            continue
        if wrong is not None:
            found = values[wrong]
            found = found.decode(errors="backslashreplace") if isinstance(found, bytes) else f"{found:g}"
            raise LogError(
                f"{path} line {wrong + 2}: {column}: expected {wanted}, found {shown(found)}; was it edited?"
            )


def config_problem(config) -> str | None:
    """What is wrong with a parsed config.json, in words: the first field that is missing or does not fit."""
    if not isinstance(config, dict):
        return f"expected {TYPES[dict]}, found {found_value(config)}"
    waiting = [("", "", config, 0)]  # (parent, name, value, level): no recursion, however deep the file is
    while waiting:
        parent, name, value, level = waiting.pop()
        if problem := value_problem(parent, name, value, level):
            return problem
        if isinstance(value, dict):
            waiting += [(path_of(parent, name), key, item, level + 1) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(parent, f"{name}[]", item, level + 1) for item in value]
    for field in REQUIRED:
        value = config
        for key in field.split("."):
            if key not in value:
                return f"field {field} is missing"
            value = value[key]
    return None


def path_of(parent: str, name: str) -> str:
    """data.title: the field `title` of `data`. A name may hold a dot itself."""
    return f"{parent}.{name}" if parent else name


def value_problem(parent: str, name: str, value, level: int) -> str | None:
    """What is wrong with the value of one field, or None. parent: the path of the object that holds it."""
    field = path_of(parent, name)
    if level > DEEPEST:
        return f"field {shown(field)}: expected at most {DEEPEST} levels"
    if not name.isprintable() or len(name) > LONGEST:
        return f"field {shown(field)}: expected a printable name"
    kind, interval = CONFIG_FIELDS.get(field) or CONFIG_FIELDS.get(f"{parent}.*") or (None, "")
    if parent == "settings":
        wanted = setting_problem(name, value)
    elif kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        wanted = "" if whole and inside(value, interval) else in_words(interval, "a whole number")
    elif kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        wanted = "" if number and inside(value, interval) else in_words(interval, "a number")
    elif kind and not (isinstance(value, kind) or (value is None and field == "diagnostics")):
        wanted = TYPES[kind]
    elif isinstance(value, str):
        wanted = "" if value.isprintable() and len(value) <= LONGEST else "printable text"
    elif isinstance(value, float):
        wanted = "" if math.isfinite(value) else "a finite number"
    else:
        wanted = ""
    return f"field {shown(field)}: expected {wanted}, found {found_value(value)}" if wanted else None


def setting_problem(name: str, value) -> str:
    """What was expected of a setting, in words; empty when the value is accepted. Names of older versions count."""
    field = Settings.__dataclass_fields__.get(old_names.SETTINGS.get(name, name))
    if field is None or (name == "flip" and isinstance(value, bool)):  # flip was a yes or no
        simple = isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
        return "" if simple and str(value).isprintable() else "a number, a text, true or false"
    return expected(value, field)


def found_value(value) -> str:
    """A value as an error message quotes it."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    named = {None: "null", True: "true", False: "false"}
    return named[value] if value is None or isinstance(value, bool) else shown(value) or "an empty text"


def first_outside(values: np.ndarray, interval: str, may_be_lost: bool) -> int | None:
    """The index of the first value outside [low, high], None if there is none. NaN and infinity only if they may be."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    if values.dtype.kind in "iu":
        low, high = int(low), int(high)
    good = (values >= low) & (values <= high)  # NaN is neither
    if may_be_lost:
        good |= ~np.isfinite(values)
    return None if good.all() else int(good.argmin())


def first_bad_text(values: np.ndarray) -> int | None:
    """The index of the first text [rows] bytes that is empty, not UTF-8 or cannot be printed; None if there is none."""
    for begin in range(0, len(values), TEXT_ROWS):
        part = np.ascontiguousarray(values[begin : begin + TEXT_ROWS])
        letters = part.view(np.uint8).reshape(len(part), -1)  # [rows,width], padded with 0
        hole = (letters[:, :-1] == 0) & (letters[:, 1:] != 0)
        odd = (letters[:, 0] == 0) | ((letters < 32) & (letters > 0)).any(1) | (letters > 126).any(1) | hole.any(1)
        for i in np.flatnonzero(odd):
            try:
                if not part[i].decode() or not part[i].decode().isprintable():
                    return begin + int(i)
            except UnicodeDecodeError:
                return begin + int(i)
    return None
