"""Run the examples of the docs and compare them with what the pages show.

python tools/docs.py --check [PAGE ...]    exit with 1 and a diff where a page shows something else
python tools/docs.py --write [PAGE ...]    put the real output into the pages

Each page runs from top to bottom in a fresh folder that docs/samples.py has filled; what is computed once is kept for
the pages after it, as on a reader's machine. Two kinds of block run:

- ```console: lines `$ command`, each followed by what it prints.
- ```python: a script; a ```text block right after it holds what it prints.

A line `…` stands for output that was cut: as many lines are kept before and after it as the page has.

All output is compared as it stands, but for commands that measure (MEASURES): how much a budget buys, and so every
score and every choice that follows, differs from machine to machine. There each line that the page shows must be
printed somewhere, with every number read as #, runs of spaces as one, an interval as the dash that stands where there
is none, a hit of a search as a hit, and what a paper lacks (†) as that.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

REPO = Path(__file__).resolve().parent.parent
DOCS = REPO / "docs"
HOME = "/home/you"
"""What pages show in place of the temporary folder; the checkout is in it."""
PATIENCE = 600
"""Seconds a command may take."""
CUT = "…"
MEASURES = re.compile(r"\b(train|race|demo|reproduce|evidence|search|doctor|steps|scores)\b")
"""What a command or script mentions where its output differs from run to run."""
SLOW = re.compile(r"\b(train|race|demo|reproduce)\b")
"""What takes more than a moment."""
_SHELL = re.compile(r"[|&;<>*?$`(){}]")
_NUMBER = re.compile(r"[-+]?\d[\d.,]*k?%?")
_INTERVAL = re.compile(r"\[[-+#, ]+\]")
_HIT = re.compile(r"\s+\d+  -?\d\.\d{3}  .*  (seen in training|not seen|new to the run)\s.*")
_PROGRESS = re.compile(r"[\w /.()-]+: \d+/\d+(, .* left)?")
_BLOCK = re.compile(
    r"^```console\n(?P<console>.*?)^```$|^```python\n(?P<python>.*?)^```$(?P<gap>\n\n```text\n(?P<text>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_PRELOAD = ("sensorium.api", "sensorium.cli.data", "sensorium.cli.papers", "sensorium.lab.bases")


@dataclass(frozen=True)
class Example:
    """A command or a script, and what the page says it prints."""

    source: str
    shown: tuple[str, ...]
    script: bool = False

    @property
    def measures(self) -> bool:
        """Whether its numbers differ from run to run."""
        return MEASURES.search(self.source) is not None


def pages() -> list[Path]:
    """Every page, in the order of names."""
    return sorted(DOCS.rglob("*.md"))


def examples(text: str) -> list[Example]:
    """The examples of a page, from top to bottom."""
    return [example for match in _BLOCK.finditer(text) for example in _of(match)]


def slow(text: str) -> bool:
    """Whether a page trains or races."""
    return any(SLOW.search(e.source) and "--help" not in e.source for e in examples(text))


def _of(match: re.Match[str]) -> list[Example]:
    if match["python"] is not None:
        return [Example(match["python"], tuple((match["text"] or "").splitlines()), script=True)]
    return list(_commands(match["console"].splitlines()))


def _commands(lines: list[str]) -> Iterator[Example]:
    """`$ command` lines, which may go on after a backslash, each with the lines up to the next one."""
    k = 0
    while k < len(lines):
        if not lines[k].startswith("$ "):
            raise ValueError(f"a console block starts with {lines[k]!r}; expected '$ command'")
        start = k
        while lines[k].endswith("\\"):
            k += 1
        source = "\n".join(lines[start : k + 1])
        k += 1
        end = next((n for n in range(k, len(lines)) if lines[n].startswith("$ ")), len(lines))
        yield Example(source.removeprefix("$ "), tuple(lines[k:end]))
        k = end


def masked(line: str) -> str:
    """A line of a command that measures, without what differs from run to run."""
    if _HIT.fullmatch(line):
        return "hit"
    if line.startswith("† "):
        return "†"
    return " ".join(_INTERVAL.sub("–", _NUMBER.sub("#", line)).split())


def kept(shown: tuple[str, ...], printed: list[str]) -> list[str]:
    """What a page shows of what was printed: all, or as many lines before and after the cut as it shows now."""
    if CUT not in shown:
        return printed
    before = shown.index(CUT)
    after = len(shown) - before - 1
    if before + after >= len(printed):
        return printed
    return [*printed[:before], CUT, *printed[len(printed) - after :]]


def differences(example: Example, printed: list[str]) -> list[str]:
    """A diff of what the page shows and what was printed; empty where they agree."""
    found, shown = kept(example.shown, printed), list(example.shown)
    if example.measures:
        found, shown = [masked(line) for line in printed], [masked(line) for line in shown if line != CUT]
        if set(shown) <= set(found):
            return []
    return list(difflib.unified_diff(shown, found, "page", "printed", lineterm="", n=1))


def written(text: str, run: Callable[[Example], list[str]]) -> str:
    """The page with the output of every example put in."""

    def filled(match: re.Match[str]) -> str:
        if match["python"] is None:
            found = [(e, kept(e.shown, run(e))) for e in _of(match)]
            return "\n".join(["```console", *(line for e, out in found for line in (f"$ {e.source}", *out)), "```"])
        (example,) = _of(match)
        block = f"```python\n{example.source}```"
        out = kept(example.shown, run(example))
        return "\n".join([f"{block}\n\n```text", *out, "```"]) if out else block

    return _BLOCK.sub(filled, text)


def runner(folder: Path) -> Callable[[Example], list[str]]:
    """Runs examples in `folder`/work, one after the other, at home in `folder`; gives the lines each prints."""
    work, sink, script = folder / "work", folder / "printed", folder / "script.py"
    places = {"HOME": str(folder), "SENSORIUM_HOME": str(folder / ".cache" / "sensorium"), "TMPDIR": str(folder)}
    plain = {"COLUMNS": "92", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    quiet = {"PYTHONUNBUFFERED": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, **places, **plain, **quiet, "PATH": binaries}

    def run(example: Example) -> list[str]:
        with sink.open("wb") as out:
            if example.script:
                script.write_text(example.source, "utf-8")
                _process([sys.executable, str(script)], work, env, out.fileno())
            elif example.source.startswith("sensorium ") and not _SHELL.search(example.source):
                _forked(shlex.split(example.source.replace("\\\n", "")), work, env, out.fileno())
            else:
                _process(["bash", "-c", example.source], work, env, out.fileno())
        text = sink.read_text("utf-8")
        for place, name in ((work, HOME), (folder, HOME), (REPO, f"{HOME}/sensorium")):
            text = text.replace(str(place.resolve()), name)
        if "Traceback (most recent call last)" in text:
            raise RuntimeError(f"$ {example.source}\n{text}")
        lines = [line.rstrip() for line in text.splitlines()]
        return [line for line in lines if not _PROGRESS.fullmatch(line)] if example.measures else lines

    return run


def _process(words: list[str], work: Path, env: dict[str, str], out: int) -> None:
    subprocess.run(words, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=PATIENCE)


def _forked(words: list[str], work: Path, env: dict[str, str], out: int) -> None:
    """The command line in a fork of this process, which has imported what takes seconds to import."""
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    signal.alarm(PATIENCE)
    try:
        for stream in (1, 2):
            os.dup2(out, stream)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)
        os.chdir(work)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = words
        import_module("sensorium.cli").main()
    except SystemExit:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def main(words: list[str]) -> int:
    """Check or write the named pages, or all; 1 where one differs."""
    if not words or words[0] not in ("--check", "--write"):
        print(__doc__, file=sys.stderr)
        return 2
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a fork must not follow the start of its threads
    for name in _PRELOAD:
        import_module(name)
    wrong = 0
    with TemporaryDirectory() as folder:
        home, samples = Path(folder) / "home", Path(folder) / "samples"
        home.mkdir()
        run = runner(home)
        subprocess.run([sys.executable, DOCS / "samples.py", samples], check=True)
        for page in [Path(w).resolve() for w in words[1:]] or pages():
            text = page.read_text("utf-8")
            if not examples(text):
                continue
            shutil.rmtree(home / "work", ignore_errors=True)
            shutil.copytree(samples, home / "work", symlinks=True)
            if words[0] == "--write":
                page.write_text(written(text, run), "utf-8")
                continue
            for example in examples(text):
                if diff := differences(example, run(example)):
                    wrong += 1
                    print(f"{page.name}: $ {example.source}", *diff, sep="\n", end="\n\n")
    if wrong:
        print("where the new output is right: python tools/docs.py --write PAGE", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
