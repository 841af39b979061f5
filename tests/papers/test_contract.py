"""One suite over every paper on disk: what each promises by being a paper."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Generates, Prompt
from sensorium.blocks.towers.frozen import role_of
from sensorium.core import Batch, Embeds, Ids, Method, Predicts, Ranks, Rng, Tokens, Value
from sensorium.core.paper import KINDS
from sensorium.data.dataset import Dataset
from sensorium.evals.tasks import TASKS
from sensorium.lab.bases import choose
from sensorium.run.evaluate import retrieval
from sensorium.run.fit import Fit
from sensorium.run.load import NAMES, paper, papers
from sensorium.run.plan import Job, Plan, plan, unmet
from sensorium.run.runs import Outcome, execute, load, sought, with_variants
from sensorium.run.statements import arms_of
from sensorium.run.tasks import tasks_of

from .conftest import SCRATCH

PAPERS = sorted(papers())
STEPS, BATCH = 6, 12

SHUT = {"evlm": "what stands behind a gate that is shut at first is reached when the gate has moved, a step later"}
UNTRAINED = {
    "baseline/asif": "training-free: the training pairs are the model, and `stages` is empty",
    "baseline/ridge": "a closed form: `solve` is the whole training, and `stages` is empty",
    "baseline/pair": "frozen towers as they are, and `stages` is empty",
}
"""Papers without a training step, each with its reason; every other one trains all that it declares trainable."""

TOWERS = dict.fromkeys(("labclip", "baseline/pair"), choose("pair-encoder"))
"""Papers that begin from a shared start; every other one is trained from scratch. Its features are stored as bf16, and
squares are all alike to it."""

KEY = re.compile(r"[a-z]+(\.([a-z]+|\*))?(/[a-z]+)?")


def job(slug: str, seed: int = 0, **config: Any) -> Job:
    return Job(slug, "", TOWERS.get(slug, SCRATCH), 1e-3, STEPS * BATCH, seed, config=config, batch=BATCH)


def planned(slug: str, data: Dataset, seed: int = 0, **config: Any) -> Plan:
    if why := unmet(paper(slug).NEEDS, data.kinds):
        pytest.skip(f"the squares do not have what it needs: {slug} {why}")
    return plan(job(slug, seed, **config), data)


def trained(p: Plan) -> tuple[Method, list[dict[str, float]]]:
    return p.method, [dict(step.terms) for step in Fit(p.method, p.stages, p.job.trial)]


@dataclass(frozen=True)
class Made:
    """A plan trained by hand, its losses, and the same job carried out as a run."""

    plan: Plan
    losses: list[dict[str, float]]
    outcome: Outcome
    folder: Path


@pytest.fixture(scope="module")
def make(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Each paper is trained once for all tests that look at the result."""
    done: dict[str, Made] = {}

    def of(slug: str) -> Made:
        if slug not in done:
            p = planned(slug, data)
            folder = tmp_path_factory.mktemp("runs") / "run"
            outcome = execute(job(slug), data, folder)
            losses = trained(p)[1]
            done[slug] = Made(with_variants(p, data), losses, outcome, folder)
        return done[slug]

    return of


@pytest.fixture(params=PAPERS)
def slug(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def source(slug: str) -> ast.Module:
    path = paper(slug).__file__  # type: ignore[attr-defined]
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def defined(tree: ast.AST, inside: str = "") -> Iterator[str]:
    """Every function and class of a source as "name" and, inside another, as "Outer.name"."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            if inside:
                yield f"{inside}.{node.name}"
            yield from defined(node, node.name)
        else:
            yield from defined(node, inside)


def resolves(module: Any, tree: ast.AST, symbol: str) -> bool:
    found = module
    for name in symbol.split("."):
        if not hasattr(found, name):
            return symbol in defined(tree)
        found = getattr(found, name)
    return True


# The module


def test_every_name_of_the_protocol_is_there(slug: str) -> None:
    module = paper(slug)
    assert all(hasattr(module, name) for name in NAMES)
    assert callable(module.build)
    assert isinstance(module.CLAIMS, dict)


def test_needs_name_kinds_that_exist(slug: str) -> None:
    needs = paper(slug).NEEDS
    assert needs
    for key, need in needs.items():
        kind, *how = need.split()
        assert KEY.fullmatch(key), key
        assert kind in KINDS, need
        assert set(how) <= {"derivable", "optional"}, need


def test_needs_parts_and_bases_are_literals(slug: str) -> None:
    literals = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in source(slug).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("NEEDS", "PARTS", "BASES")
    }
    module = paper(slug)
    bases = {"BASES": module.BASES} if hasattr(module, "BASES") else {}
    assert literals == {"NEEDS": module.NEEDS, "PARTS": module.PARTS, **bases}


def test_every_part_is_a_symbol(slug: str) -> None:
    module, tree = paper(slug), source(slug)
    assert module.PARTS
    assert [s for s in module.PARTS.values() if not resolves(module, tree, s)] == []
    assert not resolves(module, tree, "no_such_symbol") and not resolves(module, tree, "Config.no_such_symbol")


def test_config_is_frozen_and_complete(slug: str) -> None:
    config = paper(slug).Config
    assert is_dataclass(config)
    one = config()  # every setting has a default
    assert hash(one) == hash(config())
    assert config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    for first in fields(config)[:1]:
        with pytest.raises(AttributeError):
            setattr(one, first.name, getattr(one, first.name))


def test_docstring_says_title_and_source(slug: str) -> None:
    doc = paper(slug).__doc__ or ""
    title, _, rest = doc.partition("\n")
    assert 10 <= len(title) <= 120 and title.endswith("."), title
    assert re.search(r"arXiv \d{4}\.\d{4,5}\b|\b(19|20)\d\d\b", rest)


def test_a_claim_names_arms_and_papers_that_exist(slug: str) -> None:
    for claim in paper(slug).CLAIMS.values():
        assert len(claim.rates) == 3 and claim.seeds >= 5
        assert all(arm.paper == "" or arm.paper in papers() for arm in claim.arms.values())
        assert {arm for s in claim.says for arm in arms_of(s)} <= {*claim.arms, claim.beats}
        for arm in claim.arms.values():
            names = {f.name for f in fields(paper(arm.paper or slug).Config)}
            assert set(arm.config) <= names


# The method


def values(batch: Batch) -> Iterator[tuple[str, Value]]:
    return ((k, v) for k, v in batch.items() if k not in ("row", "group"))


def spaces(method: Method) -> list[str]:
    """The roles that a method embeds; one that embeds none must be able to do something else."""
    if isinstance(method, Embeds):
        return list(method.spaces)
    assert isinstance(method, Ranks | Predicts | Generates)
    return []


def ranks_texts(method: Method) -> bool:
    """Whether texts and pictures are ranked against each other, not pictures alone."""
    return isinstance(method, Ranks) and {"image", "text"} <= set(spaces(method))


def one(batch: Batch, key: str) -> Batch:
    return {key: batch[key]}


def first(p: Plan, n: int = BATCH) -> Batch:
    """The first train rows; the eval mode that every comparison below needs."""
    p.method.eval()
    return p.rows.select(p.split.train).batch(np.arange(n))


def test_trains_and_scores(slug: str, make: Callable[[str], Made]) -> None:
    made = make(slug)
    lines = (made.folder / "steps.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert len(steps) == (0 if slug in UNTRAINED else STEPS)
    assert all(np.isfinite(v) for s in steps for v in s["terms"].values())
    tasks = tasks_of(made.plan.method, list(made.plan.rows.columns))
    assert {TASKS[task].primary for task in tasks} <= set(made.outcome.test)
    if "retrieval" in tasks:
        assert {"r@1", "r@10", *(() if slug in TOWERS else ("fresh r@1",))} <= set(made.outcome.test)
    assert answers(made.plan.method, first(made.plan))
    assert all(np.isfinite(v) for v in made.outcome.test.values())


def test_run_and_plan_give_equal_losses(slug: str, make: Callable[[str], Made]) -> None:
    made = make(slug)
    steps = [json.loads(line)["terms"] for line in (made.folder / "steps.jsonl").read_text().splitlines()]
    assert steps == made.losses


def test_every_trainable_parameter_gets_a_gradient(slug: str, data: Dataset) -> None:
    p = planned(slug, data)
    if slug in UNTRAINED:
        assert list(p.stages) == [], UNTRAINED[slug]
        return
    p.method.train()
    left = {name: q for name, q in p.method.named_parameters() if q.requires_grad}
    optimiser = torch.optim.SGD(left.values(), lr=0.01)
    for step in range(2 if slug in SHUT else 1):
        optimiser.zero_grad()
        terms = p.method.losses(p.stages[0].data.batch(step), Rng(0).at(step))  # type: ignore[union-attr]
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        left = {name: q for name, q in left.items() if q.grad is None or not q.grad.any()}
    assert list(left) == []


def test_solving_leaves_no_graph_behind(slug: str, data: Dataset) -> None:
    p = planned(slug, data)
    assert [name for name, b in p.method.named_buffers() if b.requires_grad] == []


def test_the_seed_decides_and_nothing_else(slug: str, data: Dataset, make: Callable[[str], Made]) -> None:
    made = make(slug)
    torch.manual_seed(12345)
    method, losses = trained(planned(slug, data))
    assert losses == made.losses
    kept = made.plan.method.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in method.state_dict().items())
    other, changed = trained(planned(slug, data, seed=1))
    assert changed != losses or slug in UNTRAINED
    assert any(not torch.equal(v, kept[k]) for k, v in other.state_dict().items()) or slug in TOWERS


def next_ids(prompt: Prompt) -> Tensor:
    """The scores [B V] of what a prompt says first."""
    h, mask = prompt.decoder(prompt.tokens, memory=prompt.memory, tap=prompt.tap), prompt.tokens.mask
    last = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
    return prompt.decoder.logits(h[torch.arange(len(h)), last])  # type: ignore[no-any-return]


@torch.no_grad()
def answers(method: Method, batch: Batch) -> dict[str, Tensor]:
    """What a method can do with a batch, one row of each tensor per row: embeddings, predictions, the first thing it
    says or how it would clean a picture."""
    method.eval()
    found = {f"embed {role}": method.embed(batch, role).x for role in spaces(method)}  # type: ignore[operator]
    for of in method.predicts if isinstance(method, Predicts) else ():
        found[f"predict {of}"] = method.predict({k: v for k, v in batch.items() if k != of}, of).data
    for to in method.generates if isinstance(method, Generates) else ():
        prompt = method.prompt({k: v for k, v in batch.items() if k != to}, to)
        if isinstance(prompt, Prompt):
            found[f"says {to}"] = next_ids(prompt)
        else:
            noise = torch.randn(prompt.shape, generator=torch.Generator().manual_seed(0))[:1].expand(prompt.shape)
            found[f"paints {to}"] = prompt.field(noise, torch.full((len(noise),), 0.5))
    return found


def test_permuting_the_batch_permutes_the_answers(slug: str, make: Callable[[str], Made]) -> None:
    p = make(slug).plan
    method, batch = p.method, first(p)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(3))
    moved = {k: v.rows(order) for k, v in batch.items()}
    before, after = answers(method, batch), answers(method, moved)
    for what, x in before.items():
        torch.testing.assert_close(after[what], x[order], atol=1e-5, rtol=0)
    if ranks_texts(method):
        scores = method.rank(one(batch, "text"), one(batch, "image"))
        torch.testing.assert_close(
            method.rank(one(moved, "text"), one(moved, "image")), scores[order][:, order], atol=1e-5, rtol=0
        )
        assert scores.shape == (BATCH, BATCH) and scores.std() > 0


def padded(value: Value, left: int, right: int) -> Value:
    """Masked columns around a text, filled with what must not be read."""
    if isinstance(value, Ids):
        pad = torch.nn.functional.pad
        return Ids(pad(value.ids, (left, right), value=7), pad(value.mask, (left, right)))
    return value


def cut(value: Value) -> Value:
    if isinstance(value, Ids):
        longest = max(1, int(value.mask.sum(1).max()))
        return Ids(value.ids[:, :longest], value.mask[:, :longest])
    return value


@pytest.mark.parametrize(("left", "right"), [(0, 3), (2, 1)], ids=["right", "both sides"])
def test_masked_columns_change_nothing(slug: str, make: Callable[[str], Made], left: int, right: int) -> None:
    p = make(slug).plan
    method, batch = p.method, {k: cut(v) for k, v in first(p).items()}
    wider = {k: padded(v, left, right) for k, v in batch.items()}
    assert any(isinstance(v, Ids) for v in batch.values()) or slug in TOWERS or "text" not in batch
    for key, value in values(batch):
        if isinstance(value, Ids) and role_of(key) in spaces(method):
            a, b = method.embed(batch, key), method.embed(wider, key)
            torch.testing.assert_close(a.x[a.mask], b.x[b.mask], atol=1e-5, rtol=0)
    narrow, wide = answers(method, batch), answers(method, wider)
    for what, x in narrow.items() if not spaces(method) else ():
        torch.testing.assert_close(wide[what], x, atol=1e-5, rtol=0)
    for ask, item in (("text", "image"), ("image", "text")) if ranks_texts(method) else ():
        a, b = (method.rank(one(it, ask), one(it, item)) for it in (batch, wider))  # type: ignore[union-attr]
        torch.testing.assert_close(b, a, atol=1e-5, rtol=0)
    for name, value in method.losses(wider, Rng(0)).items():
        torch.testing.assert_close(value, method.losses(batch, Rng(0))[name], atol=1e-5, rtol=0)


def test_loading_gives_equal_scores_and_embeddings(slug: str, data: Dataset, make: Callable[[str], Made]) -> None:
    made = make(slug)
    model = load(made.folder)
    test = made.plan.rows.select(made.plan.split.test)
    made.plan.method.eval()
    batch = test.batch(np.arange(len(test)))
    before, after = answers(made.plan.method, batch), answers(model.method, batch)
    for what, x in before.items():
        torch.testing.assert_close(after[what], x, atol=1e-6, rtol=0)
    assert any(x.double().std() > 0 for x in before.values())
    if not ranks_texts(model.method):
        return
    again = retrieval(model.method, test, sought(data, made.plan.split.test)).scores
    kept = {k: made.outcome.test[k] for k in again}  # a method may be scored on other tasks too
    assert again == pytest.approx(kept, abs=1e-6)


def test_loaded_model_reads_raw_values_as_training_did(slug: str, data: Dataset, make: Callable[[str], Made]) -> None:
    made = make(slug)
    model = load(made.folder)
    if not spaces(made.plan.method):
        pytest.skip(f"{slug} embeds nothing")
    rows = made.plan.split.test[:5]
    stored = made.plan.rows.select(rows).batch(np.arange(5))
    raw = {
        "text": [data.texts("text")[i] for i in rows],
        "image": [data.image("image", int(i)) for i in rows],
    }
    for role in raw.keys() & set(spaces(made.plan.method)):
        batch = model.read(role, raw[role])
        with torch.no_grad():
            mine, theirs = model.embed(batch), model.method.embed(stored, role)  # type: ignore[operator]
        exact = 5e-3 if slug in TOWERS else 1e-5
        torch.testing.assert_close(mine.x[mine.mask], theirs.x[theirs.mask], atol=exact, rtol=0)


ENTRANTS = [s for s in PAPERS if not s.startswith("baseline/")]


def second_loss(p: Plan, start: dict[str, Tensor] | None = None) -> float | None:
    """The contrast of a second batch after a first one, at the weights `start` or else the initial ones."""
    method = p.method
    if start is not None:
        own = method.state_dict()
        fit = {k: next((v for name, v in start.items() if k.endswith(name)), None) for k in own}
        method.load_state_dict({k: own[k] if v is None or v.shape != own[k].shape else v for k, v in fit.items()})
    method.eval()
    train = p.rows.select(p.split.train)
    with torch.no_grad():
        for turn in range(2):
            batch = train.batch(np.arange(BATCH * turn, BATCH * (turn + 1)))
            terms = method.losses(batch, Rng(0, turn))
            method.after_step(batch)
    return float(terms["contrast"]) if "contrast" in terms else None


@pytest.mark.parametrize("slug", ENTRANTS)
def test_the_mechanism_changes_the_loss(slug: str, data: Dataset) -> None:
    ours = planned(slug, data)
    if not spaces(ours.method):
        pytest.skip(f"{slug} embeds nothing, so baseline/clip is no baseline of it")
    dim = ours.method.spaces["image"].dim  # type: ignore[union-attr,index,operator]
    plain = planned("baseline/clip", data, dim=dim)
    value, reference = second_loss(ours, plain.method.state_dict()), second_loss(plain)
    if value is None:
        pytest.skip(f"{slug} has no term `contrast` to compare with baseline/clip")
    assert reference is not None
    assert abs(value - reference) > 1e-4


def test_equal_mechanisms_give_equal_losses(data: Dataset) -> None:
    """The comparison above sees the mechanism alone: CLIP against CLIP at another seed's weights differs in nothing."""
    plain, twin = planned("baseline/clip", data), planned("baseline/clip", data, seed=1)
    assert second_loss(twin, plain.method.state_dict()) == second_loss(plain)


def test_every_untrained_paper_exists() -> None:
    assert set(UNTRAINED) <= set(PAPERS)


def test_a_masked_text_column_that_is_read_would_be_seen(data: Dataset) -> None:
    """The padding test can fail: a real column does change the embedding."""
    p = planned("baseline/clip", data)
    batch = {k: cut(v) for k, v in first(p).items()}
    text = batch["text"]
    assert isinstance(text, Ids)
    wider = padded(text, 0, 3)
    assert isinstance(wider, Ids)
    real = replace(wider, mask=torch.ones_like(wider.mask))
    a, b = (p.method.embed({"text": t}, "text") for t in (text, real))  # type: ignore[operator]
    assert isinstance(a, Tokens) and not torch.allclose(a.x, b.x, atol=1e-3)
