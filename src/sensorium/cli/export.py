"""`sensorium export`."""

from __future__ import annotations

from pathlib import Path


def export(run: str, *, to: str, out: Path, trust_code: bool = False) -> None:
    """Take a trained run to other tools.

    Parameters
    ----------
    run
        A run or a race, whose best run is taken.
    to
        safetensors: weights, record and tokeniser. onnx: a graph per role that the run embeds, frozen towers included.
        hf: a text decoder as a Llama checkpoint. A card with data, method, evidence and licences lies beside each.
    out
        A new folder.
    trust_code
        Run the paper's file that the run carries.
    """
    from sensorium.apps.export import FORMATS
    from sensorium.apps.export import export as written
    from sensorium.cli.progress import Bar
    from sensorium.core import choice
    from sensorium.run.runs import load

    choice("format", to, FORMATS)
    bar = Bar()
    done = written(load(run, trust_code), to, out)
    bar.say(f"{done.folder}: {', '.join(done.files)}\n{done.checked}")
