"""A walkthrough: what a file of layers_explained/ fills in, and how it is run.

A file holds the mathematics (its docstring), a case done by hand, four implementations and the typical mistakes. It
hands them over as a `Walkthrough`, whose sections are the same for every layer; `main` runs what the command line
asks for.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.data import DataError
from core.run.checkpoints import CheckpointError
from core.run.run_folder import RunError
from layers_explained.support import checks, command_line, documents
from layers_explained.support.comparison import Comparison
from layers_explained.support.constants import Problem
from layers_explained.support.printing import one_line, printable
from layers_explained.support.trajectory import Trajectory

FIGURES = documents.PROJECT / "layers_explained" / "figures"  # ignored by git: everybody's own


@dataclass(frozen=True)
class Walkthrough:
    """Everything a walkthrough has to say of one layer."""

    names: dict  # the globals() of the file: its docstring, and the functions its document shows
    definition: Callable[[], None]  # prints what follows from the shapes: sizes, costs, ranges
    by_hand: Callable[[], None]  # prints the case small enough to do by hand
    comparisons: tuple[Comparison | Trajectory, ...]  # one function each, four implementations
    figure: Callable  # -> a matplotlib Figure of the hand case
    on_your_network: Callable  # (TrainedLayer) -> a Figure; prints one output and one gradient, term by term
    layer_classes: tuple[str, ...] = ()  # of core/layers/, for --run; (): any
    further: Callable[[], None] | None = None  # prints more about the typical mistakes

    @property
    def name(self) -> str:
        """What the file is called: "convolution"."""
        return Path(self.names["__file__"]).stem

    @property
    def sections(self) -> dict[str, tuple[str, Callable[[], None]]]:
        """{name in a document: (title, function that prints the section)}, in order."""
        return {
            "definition": ("Definition and shapes", self.definition_and_shapes),
            "by_hand": ("By hand", self.by_hand),
            "four_implementations": ("Four implementations", self.four_implementations),
            "gradient_check": ("Gradient check", self.gradient_check),
            "typical_mistakes": ("Typical mistakes", self.typical_mistakes),
        }

    def definition_and_shapes(self) -> None:
        """Print the shape of every array, then what the file adds to it."""
        for comparison in self.comparisons:
            print(f"   {comparison.shapes()}")
        self.definition()

    def four_implementations(self) -> None:
        """Compare the implementations, forward and backward."""
        for comparison in self.each_comparison():
            divergence = comparison.divergence() if isinstance(comparison, Trajectory) else ""
            checks.compare_implementations(
                comparison.implementations(), comparison.result_names(), comparison.agreement, divergence
            )
            if divergence:
                print(f"   {divergence}")

    def gradient_check(self) -> None:
        """Check the gradients."""
        for comparison in self.each_comparison():
            comparison.gradient_check()

    def typical_mistakes(self) -> None:
        """Print which check finds which mistake."""
        for comparison in self.each_comparison():
            comparison.print_mistakes()
        if self.further:
            print()
            self.further()

    def each_comparison(self):
        """The comparisons one after the other, each under its title, an empty line between two."""
        for count, comparison in enumerate(self.comparisons):
            if comparison.title:
                print("\n" * (count > 0) + f"   {comparison.title}:\n")
            yield comparison

    def main(self, arguments: list[str] | None = None) -> int:
        """Do what the command line asks for, and return the exit status: 0, or 1 after a Problem.

        A plain run prints every section and draws `figure`. --run prints and draws `on_your_network`.
        --docs writes docs/layers/.
        """
        args = command_line.read(self.name, self.names["__doc__"], arguments)
        try:
            if args.docs:
                documents.write(self)
                documents.save(self.figure(), documents.FOLDER / f"{self.name}.png")
            elif args.run is None:
                print(command_line.paragraph(self.names["__doc__"]))
                for count, (title, section) in enumerate(self.sections.values(), start=1):
                    print(f"\n{count}. {title}\n", flush=True)
                    section()
                documents.save(self.figure(), args.out or FIGURES / f"{self.name}.png")
            else:
                from layers_explained.support import trained_layer  # needs TensorFlow, which takes seconds to import

                trained = trained_layer.find(args, self.layer_classes)
                print(f"{printable(trained.summary)}\n", flush=True)
                documents.save(self.on_your_network(trained), args.out or trained.run / f"{self.name}.png")
        except (Problem, RunError, CheckpointError, DataError) as problem:
            print(one_line(f"{self.name}.py: {problem}"), file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\n{self.name}.py: stopped", file=sys.stderr)
            return 1
        except BrokenPipeError:  # the reader of the output, `less` or `head`, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return 0
