"""The card of an exported run: data, method, evidence, licence, use; from its record and the ledger alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sensorium.catalogue import find
from sensorium.run.ledger import Row, latest
from sensorium.run.runs import Model

OPENED = {
    "safetensors": (
        "from safetensors.torch import load_file\n\n"
        'weights = load_file("model.safetensors")  # run.json says what they are the weights of'
    ),
    "onnx": (
        "import onnxruntime\n\n"
        'graph = onnxruntime.InferenceSession("image.onnx")\n'
        'vectors = graph.run(None, {"pixels": pixels})[0]  # u8 [B 3 H W] -> float32 [B D] of length 1'
    ),
    "hf": (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'words, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")\n'
        'read = words("a text begins", return_tensors="pt")\n'
        "print(words.decode(model.generate(**read, do_sample=False, max_new_tokens=20)[0]))"
    ),
}
"""How each format is opened."""
UNKNOWN = "unknown: the data set names none"


def card(model: Model, to: str, checked: str) -> str:
    """Markdown: what was trained on what and how, what it scored, what the ledger says of the idea, licences, use."""
    row, job = find(model.paper), model.record["job"]
    parts = [
        f"# {row.title if row and row.title else model.paper}, trained with Sensorium",
        f"Exported as {to}. {checked[0].upper()}{checked[1:]}.",
        "## Method",
        (row.doc if row else "A method of the user's own.").strip(),
        "Settings: " + (", ".join(f"{k} {v}" for k, v in job["config"].items()) or "the paper's defaults") + ".",
        "## Data",
        f"{Path(job['data']).name or job['data']}, fingerprint {model.record['data']}; {job['samples']:,} samples in "
        f"batches of {job['batch']} at rate {job['rate']:g}, seed {job['seed']}.",
        "## Scores of this run",
        _scores(model.path),
        "## What was measured of the idea",
        _evidence(row.slug if row else "", list(row.verdicts) if row else []),
        "## Licences",
        f"Data: {_licence(job['data'])}. Towers: {', '.join(f'{r} {n}' for r, n in job['towers'].items()) or 'none'}; "
        "frozen ones keep the licence of their authors (`sensorium doctor` names it).",
        "## Use",
        f"```python\n{OPENED[to]}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(folder: Path) -> str:
    """Test scores, a line each; what is missing is said."""
    path = folder / "scores.json"
    test: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["test"] if path.is_file() else {}
    lines = [f"| {name} | {value:.3f} |" for name, value in test.items() if isinstance(value, (int, float))]
    return "\n".join(["| on test rows | |", "|---|---|", *lines]) if lines else "None: the run is unfinished."


def _evidence(slug: str, claims: list[str]) -> str:
    found = [row for claim in claims if (row := latest(slug, claim, "lab")) is not None]
    return "\n\n".join(map(_said, found)) or "No claim of it was measured yet."


def _said(row: Row) -> str:
    each = "\n".join(f"- {v.sentence}" for v in row.verdicts)
    return f"**{row.claim}: {row.verdict}** ({len(row.seeds)} seeds, {row.date[:10]})\n\n{each}"


def _licence(data: str) -> str:
    """What the data set's own file says, where it is still there."""
    path = Path(data) / "dataset.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("license") or UNKNOWN)
    except (OSError, ValueError, AttributeError):
        return UNKNOWN
