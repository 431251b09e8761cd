"""What the scripts of analysis/ share as programs: command line, printing, one line for what a user can do wrong."""

import contextlib
import os
import signal
import sys
from pathlib import Path

from core.data.data_set import DataError
from core.devices import DeviceError
from core.run import signals
from core.run.checkpoints import CheckpointError
from core.run.errors import LogError, RunError
from core.settings.command_line import Parser
from layers_explained.support.printing import one_line, printable

EXPECTED_ERRORS = (RunError, LogError, CheckpointError, DataError, DeviceError)


def parser(script: str, question: str, several: bool = False, figure: str = "{script}.png in the run's folder"):
    """A command line with RUN (or RUN ...), --runs-dir and --out; the question opens its help.

    figure: the default of --out in words; "" for a script that draws nothing and has no --out.
    """
    print_any_text()
    args = Parser(prog=f"analysis/{script}.py", description=question, allow_abbrev=False)
    text = "a run: its name, its folder, or nothing for the latest" + "; several are overlaid" * several
    args.add_argument("run", metavar="RUN", nargs="*" if several else "?", help=text)
    args.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    if figure:
        default = figure.format(script=script)
        args.add_argument("--out", metavar="FILE", type=Path, help=f"the figure to write: .png, .svg, .pdf [{default}]")
    return args


def end_quietly_while_importing() -> None:
    """Until `answer`, Ctrl-C ends the script with one line: in the middle of an import it would be fifty."""
    signals.exit_quietly_on_interrupt(Path(sys.argv[0]).name, "stopped")


def answer(main, *arguments) -> None:
    """Run `main`; what a user can do wrong becomes one line and exit status 1."""
    script = Path(sys.argv[0]).name
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print_any_text()
    try:
        main(*arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more on its way out
        sys.exit(1)
    except EXPECTED_ERRORS as error:
        sys.exit(one_line(f"{script}: {error}"))
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else f"{error}"
        sys.exit(one_line(f"{script}: {where}; check the path and its permissions"))
    except MemoryError:
        sys.exit(f"{script}: not enough memory for the files of this run")
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: stopped")


def say(*lines: str) -> None:
    """Print lines at once, with nothing in them that a terminal could take for a command."""
    print(*map(printable, lines), sep="\n", flush=True)


def print_any_text() -> None:
    """Let a terminal that knows no ± print it as an escape, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that a test has put there
            stream.reconfigure(errors="backslashreplace")
