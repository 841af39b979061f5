"""The docs show what the commands really print; every command, contract and page is there; the site opens offline."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sensorium.blocks
import sensorium.core
from sensorium.cli import COMMANDS

REPO = Path(__file__).parent.parent
DOCS = REPO / "docs"
PAGES = sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tool", REPO / "tools" / "docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


docs = tool()
SLOW = [page for page in PAGES if docs.slow((DOCS / page).read_text("utf-8"))]


def check(*pages: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, REPO / "tools" / "docs.py", "--check", *(DOCS / page for page in pages)]
    return subprocess.run(words, capture_output=True, text=True)


def test_pages_that_only_look_show_what_is_printed() -> None:
    """One process for all: its forks share what takes seconds to import."""
    done = check(*(page for page in PAGES if page not in SLOW))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_pages_that_train_show_what_is_printed() -> None:
    done = check(*SLOW)
    assert done.returncode == 0, done.stdout + done.stderr


def run(shown: str, printed: list[str]) -> list[str]:
    (example,) = docs.examples(shown)
    found: list[str] = docs.differences(example, printed)
    return found


def test_other_output_is_a_difference() -> None:
    assert run("```console\n$ ls\na.png\n```\n", ["a.png"]) == []
    assert "+b.png" in run("```console\n$ ls\na.png\n```\n", ["b.png"])
    assert "-a.png" in run("```console\n$ ls\na.png\n```\n", [])


def test_only_commands_that_measure_may_print_other_numbers() -> None:
    assert (
        run("```console\n$ sensorium race x\nR@1  0.301 ± 0.015, 5.8 CPU-s\n```\n", ["R@1 0.29 ± 0.2, 12 CPU-s"]) == []
    )
    assert run("```console\n$ sensorium race x\nclip 0.301\n```\n", ["ridge 0.301"]) != []
    assert run("```console\n$ sensorium race x\nclip 1\n…\nasif 2\n```\n", ["asif 3", "clip 4", "more"]) == []
    assert run("```console\n$ sensorium race x\n```\n", ["more"]) == []
    hit, other = "   1  0.612  a kite  seen in training  1.png", "   1  0.598  a ball  not seen  2.png"
    assert run(f"```console\n$ sensorium search x\n{hit}\n```\n", [other]) == []
    assert run("```console\n$ sensorium race x\nridge -0.02 [-0.1, +0.2]\n```\n", ["ridge -0.02 –"]) == []
    assert run("```console\n$ sensorium data show x\n40 rows\n```\n", ["41 rows"]) != []


def test_a_cut_keeps_the_lines_around_it() -> None:
    page = "```console\n$ ls\na\n…\ny\nz\n```\n"
    assert run(page, ["a", "b", "c", "y", "z"]) == []
    assert run(page, ["a", "b", "c", "x", "z"]) != []
    assert run("```console\n$ ls\na\n…\n```\n", ["a", "b", "c"]) == []
    assert docs.written(page, lambda e: ["1", "2", "3", "4"]) == "```console\n$ ls\n1\n…\n3\n4\n```\n"


def test_what_is_printed_is_put_under_its_command() -> None:
    page = "before\n\n```console\n$ a\nold\n$ b \\\n  c\n```\n\n```python\nprint(1)\n```\n\n```py\nnot run\n```\n"
    outputs = {"a": ["1", "2"], "b \\\n  c": [], "print(1)\n": ["one"]}
    new = docs.written(page, lambda e: outputs[e.source])
    console = "```console\n$ a\n1\n2\n$ b \\\n  c\n```"
    assert new == f"before\n\n{console}\n\n```python\nprint(1)\n```\n\n```text\none\n```\n\n```py\nnot run\n```\n"
    assert docs.written(new, lambda e: outputs[e.source]) == new


def test_a_block_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="expected '\\$ command'"):
        docs.examples("```console\nls\n```\n")


def test_a_stale_page_fails_with_a_diff(tmp_path: Path) -> None:
    page = DOCS / "commands" / "show.md"
    stale = tmp_path / "show.md"
    stale.write_text(page.read_text("utf-8").replace("did you mean", "did you want"), "utf-8")
    words = [sys.executable, REPO / "tools" / "docs.py", "--check", stale]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "+sensorium: unknown paper 'filp'; did you mean 'filip'?" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_with_its_help_and_its_errors(command: str) -> None:
    text = (DOCS / "commands" / f"{command}.md").read_text("utf-8")
    ran = [e.source for e in docs.examples(text)]
    assert f"sensorium {command} --help" in ran
    assert any(source.startswith(f"sensorium {command} ") and "--help" not in source for source in ran) or (
        f"sensorium {command}" in ran
    )


def test_every_page_is_in_the_navigation() -> None:
    nav = re.findall(r"[\w/-]+\.md", (REPO / "mkdocs.yml").read_text("utf-8"))
    assert sorted(nav) == PAGES


def modules(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [info.name for info in found if not info.ispkg]


@pytest.mark.parametrize("name", [*modules(sensorium.core), *modules(sensorium.blocks)])
def test_contracts_name_every_module_of_core_and_blocks(name: str) -> None:
    assert re.search(rf"^::: {re.escape(name)}$", (DOCS / "contracts.md").read_text("utf-8"), re.MULTILINE)


def test_no_machine_path_is_shown() -> None:
    shown = "\n".join((DOCS / page).read_text("utf-8") for page in PAGES)
    assert not re.findall(r"/tmp/\S*|/work/\S*|/root\S*", shown)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(
        words, cwd=REPO, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_builds_with_a_file_for_each_page(site: Path) -> None:
    assert {str(p.relative_to(site).with_suffix(".md")) for p in site.rglob("*.html")} - {"404.md"} == set(PAGES)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*""")
    for page in site.rglob("*.html"):
        found = [tag for tag in loads.findall(page.read_text("utf-8")) if 'rel="canonical"' not in tag]
        assert found == [], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", sheet.read_text("utf-8")), sheet


def test_contracts_hold_signatures_and_docstrings(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "contracts.html").read_text("utf-8"))
    for part in (
        "losses(batch: Batch, rng: Rng)",
        "The named losses of one batch.",
        "pooled_cosine(a: Tokens, b: Tokens)",
    ):
        assert part in text
