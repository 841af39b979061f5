"""What the README tells a reader to type works, and what it names is there."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from sensorium import catalogue
from sensorium.cli import COMMANDS, app

REPO = Path(__file__).parent.parent
README = (REPO / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMAND_LINES = [line.partition("  #")[0].strip() for _, block in BLOCKS for line in block.splitlines()]
TYPED = [line for line in COMMAND_LINES if re.match(r"(sensorium|make) \S", line)]
PYTHON = [block for language, block in BLOCKS if language == "python"]
QUICK = {
    "--budget 10m --seeds 5": "--papers clip,ridge --budget 40s --seeds 2",
    "--budget 5m": "--samples 4096",
    "reproduce concept-negatives": "reproduce concept-negatives --dry-run",
}
"""What makes the README's commands fit a test: smaller, but the same words."""


def test_there_is_something_to_check() -> None:
    assert len([line for line in TYPED if line.startswith("sensorium ")]) >= 6
    assert len(PYTHON) == 1


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("sensorium ")])
def test_every_command_line_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in COMMANDS
    app().parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", README))))
def test_every_option_in_the_text_is_one_of_a_command(option: str) -> None:
    pages = "".join(_help(command) for command in ("race", "search", "train"))
    assert re.search(rf"(^|\s){option}(\s|$)", pages), option


@cache
def _help(command: str) -> str:
    code = f"from sensorium.cli import app; app()(['{command}', '--help'])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("make ")])
def test_every_make_target_is_one(line: str) -> None:
    target = line.split()[1]
    assert re.search(rf"^{target}:", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (REPO / link).exists()] == []


def test_the_table_of_papers_is_what_can_be_trained() -> None:
    table = README.partition("## Papers")[2].partition("## Layout")[0]
    rows = "\n".join(line for line in table.splitlines() if line.startswith("| `"))
    named = {slug.rpartition("/")[2] for slug in re.findall(r"`([\w/-]+)`", rows)}
    assert named == {row.slug.rpartition("/")[2] for row in catalogue.rows() if row.path}


def test_python_names_what_the_package_has() -> None:
    sm = importlib.import_module("sensorium")
    used = {n.attr for n in ast.walk(ast.parse(PYTHON[0])) if isinstance(n, ast.Attribute) and _is_sm(n.value)}
    assert used
    assert [name for name in used if not hasattr(sm, name)] == []


def _is_sm(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "sm"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/, data/ and examples/mine.py, as the README has it."""
    path = tmp_path_factory.mktemp("readme")
    subprocess.run([sys.executable, REPO / "docs" / "samples.py", path], check=True)
    for name in ("photos", "items"):
        shutil.copytree(path / name, path / "data" / name)
    (path / "examples").mkdir()
    shutil.copy(path / "mine.py", path / "examples" / "mine.py")
    return path


def run(words: list[str], place: Path) -> str:
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "SENSORIUM_HOME": str(place / "home"), "OMP_NUM_THREADS": "1", "PATH": binaries}
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_commands_for_your_own_data_run_in_their_order(place: Path) -> None:
    lines = [line for line in TYPED if line.startswith("sensorium ")]
    for line in lines:
        for said, meant in QUICK.items():
            line = line.replace(said, meant)
        assert run(shlex.split(line), place)
    assert (place / "race" / "report.html").is_file()
    assert json.loads((place / "runs" / "filip" / "scores.json").read_text())["test"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_python_example_runs_as_a_script(place: Path) -> None:
    code = PYTHON[0]
    for said, meant in {'budget="1m"': "samples=4096", 'budget="5m", seeds=5': 'budget="60s", seeds=2'}.items():
        assert said in code
        code = code.replace(said, meant)
    (place / "script.py").write_text(code, "utf-8")
    said = run([sys.executable, "script.py"], place)
    assert len(re.findall(r"^0\.\d+ \d{3}\.png$", said, re.MULTILINE)) == 5
    assert "R@1" in said.splitlines()[-1]
    assert (place / "report.html").is_file()
