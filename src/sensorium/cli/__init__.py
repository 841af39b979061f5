"""The command line: thin, and light until a command runs."""

from __future__ import annotations

import os
import sys
import warnings
from signal import SIGINT, SIGPIPE
from typing import TextIO

from cyclopts import App, CycloptsError

from sensorium import __version__
from sensorium.run.stop import terminable

COMMANDS = {
    "demo": ("sensorium.cli.race:demo", "Race on the bundled pictograms, then search them: a first look in minutes."),
    "race": ("sensorium.cli.race:race", "Race papers on your data at equal budget, with intervals."),
    "train": ("sensorium.cli.train:train", "Train one paper on your data."),
    "index": ("sensorium.cli.index:index", "Embed the pictures of a collection once, to be searched from then on."),
    "search": ("sensorium.cli.search:search", "Search a data set or an index in words, with a picture, or with both."),
    "serve": ("sensorium.cli.serve:serve", "Serve runs to OpenAI clients, for search, and to a browser."),
    "embed": ("sensorium.cli.train:embed", "Write the embeddings of a data set to a file."),
    "export": ("sensorium.cli.export:export", "Take a trained run to other tools: ONNX, Hugging Face, safetensors."),
    "reproduce": ("sensorium.cli.claims:reproduce", "Measure what a paper claims: seeds, an interval, a verdict."),
    "evidence": ("sensorium.cli.claims:evidence", "Show what was measured of every claim, and what was not."),
    "bases": ("sensorium.cli.bases:bases", "List, show or train the shared starts that claims begin from."),
    "weights": ("sensorium.cli.weights:weights", "List, get or find real checkpoints to begin from."),
    "papers": ("sensorium.cli.papers:papers", "List the papers: what each needs and how far it is built."),
    "show": ("sensorium.cli.papers:show", "Show one paper: mechanism, claim, parts."),
    "data": ("sensorium.cli.data:data", "Show what is understood of a data set, and what is set aside."),
    "doctor": ("sensorium.cli.papers:doctor", "What this machine can do, what is missing, how to get it."),
}


def app() -> App:
    """The command line as an object; commands are imported when they run."""
    main = App(
        name="sensorium",
        version=__version__,
        suppress_keyboard_interrupt=False,
        help="Published ideas of multimodal learning as interchangeable parts: train, race, search.",
    )
    for name, (target, about) in COMMANDS.items():
        main.command(target, name=name, help=about)
    return main


def fail(line: str) -> int:
    """One line on standard error; the exit code of bad input."""
    print(f"sensorium: {' '.join(line.split())}", file=sys.stderr)
    return 2


def note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line, without the source around it."""
    print(f"sensorium: {' '.join(str(message).split())}", file=sys.stderr)


def main() -> None:
    """Entry point. Bad input is one line and exit code 2; Ctrl-C and SIGTERM say how to go on and give 130 and 143."""
    try:
        with terminable(), warnings.catch_warnings():
            warnings.showwarning = note
            app()(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as problem:
        sys.exit(fail(str(problem)))
    except KeyboardInterrupt as stop:
        line = str(stop) or "stopped; finished runs are kept, the same command continues"
        print(f"sensorium: {line}", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", SIGINT))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + SIGPIPE)
    except OSError as problem:
        sys.exit(fail(f"{problem.strerror or problem}: {problem.filename}" if problem.filename else str(problem)))
    except Exception as problem:
        # Errors of bad input live in core, which imports torch: only a command that got that far can have raised one.
        errors = sys.modules.get("sensorium.core.errors")
        if errors is None or not isinstance(problem, errors.SensoriumError):
            raise
        sys.exit(fail(str(problem)))
