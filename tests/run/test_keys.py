"""Keys of arms: what changes a run's numbers changes its key, what does not leaves it alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensorium.core import Arm, SensoriumError
from sensorium.run.keys import ROOT, arm_key, source_key, source_path

PAPER = '''"""A paper.

Its docstring."""
from dataclasses import dataclass
import torch  # numbers
from sensorium.core import Above, Claim, Fields
from sensorium.run.fit import Stage
from sensorium.blocks.near import scale

NEEDS = {"image": "image"}
PARTS = {"all": "build"}
CLAIMS = {"it": Claim(says=[Above("r@1", 0.02)])}


@dataclass(frozen=True)
class Config:
    """Settings."""

    dim: int = 256
    """Numbers per vector."""


def build(config, fields, bases):
    """Build it."""
    # the sum
    return scale * config.dim + 0.5
'''
FILES = {
    "blocks/__init__.py": "",
    "blocks/near.py": "from .deep.far import far\n\nscale = 2 * far\n",
    "blocks/deep/__init__.py": "",
    "blocks/deep/far.py": "from sensorium.evals import measure\n\nfar = 3\n",
    "blocks/deep/other.py": "other = 1\n",
    "evals/__init__.py": "",
    "evals/measure.py": (
        "from .rank import rank\ndef measure():\n    from ..data.rows import rows\n    return rank(rows)\n"
    ),
    "evals/rank.py": "rank = 1\n",
    "evals/unused.py": "unused = 1\n",
    "data/__init__.py": "",
    "data/rows.py": "rows = 1\n",
    "core/__init__.py": "Above = 1\n",
    "run/fit.py": "Stage = 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small package with the library's floors."""
    for name, text in {**FILES, "papers/mine.py": PAPER}.items():
        path = tmp_path / "sensorium" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "sensorium"


def key(root: Path) -> str:
    return source_key(root / "papers/mine.py", root)


def edited(root: Path, name: str, old: str, new: str) -> str:
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return key(root)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# the sum", "# of both"),
        ("# the sum", ""),
        ("Its docstring.", "Another."),
        ('"""Build it."""', '"""Build it otherwise."""'),
        ('    """Build it."""\n', ""),
        ('    """Numbers per vector."""\n', ""),
        ("scale * config.dim + 0.5", "(scale * config.dim)  +  5e-1"),
        ('Above("r@1", 0.02)', 'Above("r@1", 0.03)'),
        ('CLAIMS = {"it": Claim(says=[Above("r@1", 0.02)])}', "CLAIMS = {}"),
        ("import Above, Claim, Fields", "import Above, Claim, Fields, NotBelow, Keeps"),
        ('"all"', '"all of it"'),
    ],
)
def test_words_about_a_paper_change_nothing(root: Path, old: str, new: str) -> None:
    before = key(root)
    assert edited(root, "papers/mine.py", old, new) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.6"),
        ("dim: int = 256", "dim: int = 128"),
        ("scale * config", "scale + config"),
        ('NEEDS = {"image": "image"}', 'NEEDS = {"text": "text"}'),
        ("import scale", "import other as scale"),
        ("import Stage", "import Other as Stage"),
        ("import Above, Claim, Fields", "import Below as Above, Claim, Fields"),
        ('    """Build it."""', '    config = "text"'),
    ],
)
def test_what_a_run_computes_changes_the_key(root: Path, old: str, new: str) -> None:
    before = key(root)
    assert edited(root, "papers/mine.py", old, new) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("blocks/near.py", "2 * far", "4 * far"),
        ("blocks/deep/far.py", "far = 3", "far = 4"),
        ("evals/measure.py", "rank(rows)", "[rank(rows)]"),
        ("blocks/deep/__init__.py", "", "x = 1\n"),
    ],
)
def test_a_change_in_what_is_imported_changes_the_key(root: Path, name: str, old: str, new: str) -> None:
    before = key(root)
    assert edited(root, name, old, new) != before
    (root / name).write_text(FILES[name])
    assert key(root) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("blocks/deep/other.py", "1", "2"),
        ("evals/unused.py", "1", "2"),
        ("core/__init__.py", "1", "2"),
        ("data/rows.py", "1", "2"),
        ("run/fit.py", "1", "2"),
        ("blocks/near.py", "\n\nscale", "\n\n# twice\nscale"),
        ("evals/measure.py", "():\n", '():\n    """Rows."""\n'),
    ],
)
def test_a_change_elsewhere_leaves_the_key(root: Path, name: str, old: str, new: str) -> None:
    before = key(root)
    assert edited(root, name, old, new) == before


def test_where_a_file_lies_changes_nothing(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.py"
    shutil.copy(root / "papers/mine.py", copy)
    assert source_key(copy, root) == key(root)


def test_imports_that_go_round_end(root: Path) -> None:
    before = key(root)
    assert edited(root, "evals/rank.py", "rank = 1", "from sensorium.blocks import near\nrank = 1") != before


def test_keys_are_equal_in_every_python(tmp_path: Path) -> None:
    """Pinned: newer versions add fields to some nodes, and split f-strings otherwise."""
    path = tmp_path / "some.py"
    path.write_text(
        "class A(dict, metaclass=type):\n    x: int = -1\n    y = u'ü'\n"
        "async def f(a, /, b=1, *c, d, **e) -> None:\n"
        "    return [f'{a!r:>9} and {{}}' 'more', (z := ...), 1e-3, 2j, None]\n"
        "match f:\n    case {'a': [1, *_]} if not None: pass\n"
        "with open('x') as g, open('y'): del g\nlambda: (yield)\n"
    )
    assert source_key(path) == "425b6116e82b53d8"


def test_a_file_that_is_no_python_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def build(:\n")
    with pytest.raises(SensoriumError, match=r"broken\.py is no Python: "):
        source_key(path)
    with pytest.raises(SensoriumError, match=r"^cannot read .*nowhere\.py: No such file"):
        source_key(tmp_path / "nowhere.py")


def test_the_librarys_own_papers(tmp_path: Path) -> None:
    """The queue is BriVL's; FILIP does not import it."""
    shutil.copytree(ROOT, tmp_path / "sensorium", ignore=shutil.ignore_patterns("starter", "__pycache__"))
    root = tmp_path / "sensorium"
    files = {name: root / source_path(name).relative_to(ROOT) for name in ("filip", "brivl", "baseline/clip")}
    before = {name: source_key(path, root) for name, path in files.items()}
    assert before == {name: source_key(source_path(name)) for name in files} and len(set(before.values())) == 3
    queue = root / "blocks/memory/queue.py"
    queue.write_text(queue.read_text() + "\nLENGTH = 1\n")
    assert {n for n, path in files.items() if source_key(path, root) != before[n]} == {"brivl"}


# Arms


def given(**changed: Any) -> str:
    """The key of an arm of filip's claim, with what is `changed`."""
    arm = Arm(**{k: changed.pop(k) for k in list(changed) if k in Arm.__dataclass_fields__ and k != "data"})
    facts: dict[str, Any] = {
        "data": "d1",
        "bases": {"text": "t1"},
        "trial": {"rates": [1e-3, 3e-3], "samples": 100},
        "numerics": 1,
    }
    return arm_key(arm, **{"paper": "filip", **facts, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"config": {"dim": 32}},
        {"stream": "negatives"},
        {"measures": ("swap",)},
        {"run": "brivl:measure"},
        {"data": "d2"},
        {"bases": {"text": "t2"}},
        {"trial": {"rates": [1e-3], "samples": 100}},
        {"numerics": 2},
        {"paper": "brivl"},
    ],
)
def test_everything_that_an_arm_depends_on_changes_its_key(changed: dict[str, Any]) -> None:
    assert given(**changed) != given()


def test_two_papers_that_name_one_baseline_share_its_key() -> None:
    facts: dict[str, Any] = {"data": "d1", "bases": {}, "trial": {}, "numerics": 1}
    keys = {arm_key(Arm(paper="baseline/clip"), p, **facts) for p in ("filip", "brivl")}
    assert keys == {arm_key(Arm(), "baseline/clip", **facts), arm_key(Arm(paper="clip"), "filip", **facts)}
    assert len(keys) == 1


@pytest.mark.parametrize("library", ["torch", "numpy", "tokenizers"])
def test_another_version_of_a_library_is_another_key(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = given()

    def versions(change: Callable[[str], str]) -> None:
        monkeypatch.setattr("sensorium.run.keys.version", lambda name: change(name))

    versions(lambda name: "9.9" if name == library else "1.0")
    other = given()
    versions(lambda name: "9.9+cpu" if name == library else "1.0")
    assert given() == other != before  # the build for another device is the same version


def test_an_arm_that_is_no_data_is_refused() -> None:
    with pytest.raises(SensoriumError, match="an arm of filip is not JSON-ready: Object of type function"):
        given(config={"similarity": given})
    with pytest.raises(SensoriumError, match="unknown paper 'flip'; did you mean 'filip'"):
        given(paper="flip")
