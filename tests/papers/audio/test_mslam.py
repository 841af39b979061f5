from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.core import Batch, Budget, Field, FieldInfo, Ids, Predicts, Rng, SensoriumError, Trial
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.papers.audio import mslam
from sensorium.papers.audio.mslam import Config, Mslam, Unpaired
from sensorium.run.fit import Fit, Stage
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute, load

DIGITS = Path(__file__).parents[3] / "../shared/data/audio/digits_en"
RATE, VOCAB, SHAPES = 8000, 12, ("circle", "ring", "star")
FIELDS = {
    "audio": FieldInfo("audio", rate=RATE, length=8000),
    "text": FieldInfo("text", vocab=VOCAB, length=16),
    "label": FieldInfo("label", classes=SHAPES),
}
SMALL = Config(dim=16, layers=1, heads=2, codes=8)
WITHOUT = {"contrast": {"contrast", "diversity"}, "units": {"units"}, "text": {"text"}, "ctc": {"ctc"}}


def made(seed: int = 0, **changes: Any) -> Mslam:
    torch.manual_seed(seed)
    return mslam.build(replace(SMALL, **changes), FIELDS, None)  # type: ignore[arg-type]


def tones(text: Ids, samples: int = 4000) -> Field:
    """Each character is a tone of its own, 80 ms long."""
    at = torch.arange(samples) / RATE
    place = (at / 0.08).long().clamp(max=text.ids.shape[1] - 1)
    said = text.ids[:, place]
    wave = torch.sin(2 * torch.pi * 250 * said * at) + 0.01 * torch.randn(said.shape, generator=rng())
    return Field(wave, at < 0.08 * text.mask.sum(1, keepdim=True))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int = 8, seed: int = 0) -> Batch:
    """Texts of two to five characters with an end; the label is the first. A quarter have only a sound, a quarter only
    a text."""
    count = torch.randint(2, 6, (n, 1), generator=rng(seed))
    ids = torch.randint(3, VOCAB, (n, 6), generator=rng(seed + 1)).scatter(1, count, mslam.END)
    text = Ids(ids, torch.arange(6) <= count)
    sound = tones(Ids(ids, torch.arange(6) < count))
    assert sound.mask is not None
    lost = torch.arange(n) % 4
    return {
        "audio": Field(sound.data, sound.mask & (lost != 3)[:, None]),
        "text": Ids(ids, text.mask & (lost != 2)[:, None]),
        "label": Field((ids[:, 0] - 3) // 3, torch.ones(n, dtype=torch.bool)),
        "row": Field(torch.arange(n)),
        "group": Field(torch.arange(n)),
    }


def total(terms: Any) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def test_every_loss_is_there_and_every_parameter_gets_a_gradient() -> None:
    method = made().train()
    terms = method.losses(drawn(), Rng(0))
    assert set(terms) == {"contrast", "diversity", "units", "text", "ctc", "label"}
    assert all(torch.isfinite(v) and v >= 0 for v in terms.values())
    total(terms).backward()
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("part", WITHOUT)
def test_a_weight_of_nothing_takes_the_loss_and_its_head_away(part: str) -> None:
    method, whole = made(**{part: 0.0}).train(), made().train()
    terms = method.losses(drawn(), Rng(0))
    assert set(whole.losses(drawn(), Rng(0))) - set(terms) == WITHOUT[part]
    total(terms).backward()
    unused = {n.split(".")[0] for n, p in method.named_parameters() if p.grad is None}
    assert unused == {"text": {"words", "unread"}, "contrast": {"quantiser"}}.get(part, set())


@pytest.mark.parametrize("whole", ["audio", "text"])
def test_a_batch_of_one_side_alone_trains_what_reads_it(whole: str) -> None:
    """Without a pair CTC is 0; without a text so are hidden characters, without a sound all of w2v-BERT."""
    batch = drawn()
    other = "text" if whole == "audio" else "audio"
    value = batch[other]
    assert value.mask is not None
    terms = made().train().losses({**batch, other: replace(value, mask=value.mask & False)}, Rng(0))
    assert terms["ctc"] == 0
    silent = {"text"} if whole == "audio" else {"contrast", "units"}
    assert all((terms[name] == 0) == (name in silent) for name in ("text", "contrast", "units"))
    total(terms).backward()


def test_pairs_are_heard_whole_and_only_sounds_alone_have_hidden_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = made().train(), []
    hear = method.hear
    monkeypatch.setattr(method, "hear", lambda frames, hidden: seen.append((frames, hidden)) or hear(frames, hidden))
    batch = drawn(12)
    method.losses(batch, Rng(0))
    ((frames, hidden),) = seen
    assert len(hidden) == 9  # three rows have no sound
    assert hidden.any(1).tolist() == [n % 4 == 2 for n in range(12) if n % 4 != 3]
    assert not (hidden & ~frames.mask).any()


def test_hidden_things_are_not_seen() -> None:
    """What a hidden frame or character was does not reach any state."""
    method, batch = made().eval(), drawn()
    frames = method.frames(batch["audio"])
    hidden = torch.zeros_like(frames.mask)
    hidden[:, 1] = True
    other = replace(frames, x=torch.where(hidden[..., None], frames.x + 5, frames.x))
    torch.testing.assert_close(method.hear(frames, hidden).states.x, method.hear(other, hidden).states.x)
    text = mslam.characters(batch)
    spans = mslam.Spans(torch.arange(6).expand(8, -1) == 1, torch.ones(8, 6, dtype=torch.long))
    whole = Ids(text.ids.clone(), text.mask)
    whole.ids[:, 1] = 3
    gone = [_gone(method, text, whole, spans, n) for n in range(12)]
    assert sum(gone) / len(gone) == pytest.approx(0.8, abs=0.1)  # the rest stay or are swapped


def _gone(method: Mslam, text: Ids, other: Ids, spans: mslam.Spans, seed: int) -> float:
    """Of the rows whose second character differs, the share that comes out the same."""
    a, b = (method.read(t, spans, rng(seed)).x for t in (text, other))
    real = text.mask.any(1) & (text.ids[:, 1] != other.ids[:, 1])
    same = torch.isclose(a, b).all(-1).all(-1)[real]
    return float(same.float().mean())


def test_the_label_is_learnt_from_speech_alone_and_moves_the_head_alone() -> None:
    method = made().train()
    method.losses(drawn(), Rng(0))["label"].backward()
    assert {n.split(".")[0] for n, p in method.named_parameters() if p.grad is not None} == {"label"}
    before = drawn()
    label = before["label"]
    assert isinstance(label, Field) and label.mask is not None
    silent = {**before, "label": Field(label.data, label.mask & False)}
    assert method.losses(silent, Rng(0))["label"] == 0


def test_what_is_asked_is_answered() -> None:
    method, batch = made().eval(), drawn()
    assert isinstance(method, Predicts) and method.predicts == {"text": "ids", "label": "label"}
    said = method.predict({"audio": batch["audio"]}, "text")
    assert said.mask is not None and said.data.shape == said.mask.shape and not said.mask[3].any()
    assert not (said.data[said.mask] == mslam.BLANK).any()
    for side in ("audio", "text"):
        assert method.predict({side: batch[side]}, "label").data.shape == (8, 3)
        assert method.embed(batch, side).x.shape == (8, 1, 16)
    scores = method.rank({"text": batch["text"]}, {"audio": batch["audio"]})
    assert scores.shape == (8, 8) and scores.abs().max() <= 1 + 1e-5
    with pytest.raises(SensoriumError, match="did you mean 'label'"):
        method.predict(batch, "lable")


def test_padding_changes_neither_losses_nor_answers() -> None:
    method, batch = made().train(), drawn()
    sound, text = batch["audio"], batch["text"]
    assert isinstance(sound, Field) and isinstance(text, Ids) and sound.mask is not None
    pad = torch.nn.functional.pad
    wide = {
        **batch,
        "audio": Field(pad(sound.data, (0, 700), value=3.0), pad(sound.mask, (0, 700))),
        "text": Ids(pad(text.ids, (2, 1), value=7), pad(text.mask, (2, 1))),
    }
    for (name, a), b in zip(method.losses(batch, Rng(0)).items(), method.losses(wide, Rng(0)).values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0, msg=name)
    method.eval()
    for side in ("audio", "text"):
        torch.testing.assert_close(method.embed(batch, side).x, method.embed(wide, side).x, atol=1e-5, rtol=0)


def test_tones_are_spelled_after_training() -> None:
    """Losses fall, and what is heard becomes what was said."""
    method = made(dim=32).train()
    batch = drawn(24)
    optimiser = torch.optim.AdamW(method.parameters(), 5e-3)
    first: dict[str, float] = {}
    for step in range(100):
        terms = method.losses(batch, Rng(0, step))
        first = first or {k: float(v.detach()) for k, v in terms.items()}
        optimiser.zero_grad()
        total(terms).backward()
        optimiser.step()
    assert all(float(terms[k].detach()) < first[k] for k in ("ctc", "text", "units"))
    method.eval()
    said, text = method.predict(batch, "text"), mslam.characters(batch)
    right = []
    for n in (n for n in range(24) if n % 4 < 2):
        assert said.mask is not None
        right.append(said.data[n][said.mask[n]].tolist() == text.ids[n][text.mask[n]].tolist())
    assert sum(right) >= 0.8 * len(right)


class Fixed:
    """Ten rows of a sound and a text each, in order."""

    seed, rows, size = 3, None, 10

    def batch(self, step: int) -> Batch:
        rows = torch.arange(10) + 10 * step
        real = torch.ones(10, 4, dtype=torch.bool)
        return {
            "audio": Field(torch.ones(10, 4), real),
            "text": Ids(torch.ones(10, 4).long(), real),
            "row": Field(rows),
        }


def test_rows_lose_a_side_for_good_and_none_loses_both() -> None:
    stream = Unpaired(Fixed(), 0.4)  # type: ignore[arg-type]
    sides = []
    for step in range(60):
        batch, again = stream.batch(step), stream.batch(step)
        audio, text = batch["audio"], batch["text"]
        assert audio.mask is not None and text.mask is not None and again["audio"].mask is not None
        assert torch.equal(audio.mask, again["audio"].mask)
        sides += zip(audio.mask.all(1).tolist(), text.mask.all(1).tolist(), strict=True)
    assert (False, False) not in sides
    share = {side: sides.count(side) / len(sides) for side in set(sides)}
    assert share[True, True] == pytest.approx(0.4, abs=0.07)
    assert share[True, False] == pytest.approx(0.3, abs=0.07) and share[False, True] == pytest.approx(0.3, abs=0.07)
    every = Unpaired(Fixed(), 1.0).batch(0)  # type: ignore[arg-type]
    assert every["audio"].mask.all() and every["text"].mask.all()  # type: ignore[union-attr]


def test_a_share_of_pairs_beyond_its_bounds_is_refused() -> None:
    for paired in (0.0, 1.5):
        with pytest.raises(SensoriumError, match="expected a share of the rows above 0 and up to 1"):
            made(paired=paired)


def test_its_stage_is_a_stream_of_such_rows() -> None:
    trial = Trial(1e-3, Budget(24), 5, 8)
    rows = Rows({"row": Field(torch.arange(20))}, np.arange(20), FIELDS, np.arange(20))
    (stage,) = mslam.stages(SMALL, made(), rows, trial)
    assert isinstance(stage, Stage) and isinstance(stage.data, Unpaired)
    assert stage.rates == {"": 1.0, "label": 3.0}
    assert isinstance(stage.data.epochs, Epochs) and stage.data.epochs.seed == 5 and stage.data.paired == SMALL.paired


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    yield tmp_path


JOB = Job("mslam", "", {"image": "scratch", "text": "scratch"}, 3e-3, 8 * 16, 0, config={"dim": 32}, batch=16)


def spoken(folder: Path, rows: int = 24) -> Path:
    """A folder of sounds with a text and a label each."""
    import json

    import soundfile

    folder.mkdir(parents=True)
    lines = []
    for n in range(rows):
        ids = torch.tensor([[3 + n % 3, 4 + n % 5, 3]])
        wave = tones(Ids(ids, torch.ones(1, 3, dtype=torch.bool)), 2000).data[0] + 0.001 * n
        out = io.BytesIO()
        soundfile.write(out, (wave / 3).numpy(), RATE, format="WAV")
        (folder / f"{n}.wav").write_bytes(out.getvalue())
        lines.append(
            json.dumps({"file_name": f"{n}.wav", "text": f"{'abc'[n % 3]}{'déжzö'[n % 5]} n{n}", "label": n % 3})
        )
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_folder_of_sounds_trains_saves_and_loads(home: Path) -> None:
    data = Dataset(spoken(home / "sounds"))
    run = home / "run"
    execute(replace(JOB, samples=32, batch=8), data, run)
    model = load(run)
    assert model.tokenizer is not None and model.tokenizer.decode(model.tokenizer.encode("aж n7").ids) == "aж n7"
    assert model.fields["audio"].rate == RATE and model.fields["text"].length == 256
    p = plan(replace(JOB, samples=32, batch=8), data)
    batch = p.rows.batch(p.split.test[:3])
    said = model.method.predict({"audio": batch["audio"]}, "text")  # type: ignore[operator]
    assert said.data.shape[0] == 3 and torch.isfinite(model.method.embed(batch, "audio").x).all()  # type: ignore[operator]


def test_spoken_digits_are_learnt_from_a_few_steps(home: Path) -> None:
    if not DIGITS.is_dir():
        pytest.skip("spoken digits are not beside the checkout")
    p = plan(JOB, Dataset(DIGITS))
    steps = [step.terms for step in Fit(p.method, p.stages, p.job.trial)]
    assert len(steps) == 8 and set(steps[0]) == {"contrast", "diversity", "units", "text", "ctc", "label"}
    assert steps[-1]["ctc"] < 0.7 * steps[0]["ctc"] and steps[-1]["text"] < steps[0]["text"]
