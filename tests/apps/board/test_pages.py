"""Every page without a script: whole, escaped, readable; names from outside never reach a file."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from sensorium import catalogue
from sensorium.apps.server.state import Served, served
from sensorium.run.ledger import latest
from sensorium.run.report.claim_charts import VERDICTS

from .conftest import HOSTILE, Site, ask, listening

PAGES = (
    "/", "/papers", "/papers?family=align&kind=method&needs=image&needs=text&verdict=holds", "/papers/kelip",
    "/papers/filip", "/papers/dreamlip", "/papers/baseline/clip", "/races", "/races/first", "/runs/late", "/runs/first",
    "/data/shapes", "/data/shapes?page=2", "/search", "/search?text=a+red+square",
    "/image", "/image?data=shapes&row=3", "/image?data=shapes&row=3&ask=match", "/chat", "/paint",
    "/why?text=a+red+square&row=3&run=late", "/why?text=a+red+square&row=3&run=first", "/login",
)  # fmt: skip
VOID = ("meta", "img", "br", "link", "input", "hr")


class Page(HTMLParser):
    """What a page is made of, and what in it breaks a rule."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [v for k in ("href", "src", "action") if (v := given.get(k))]
        self.ids += [given["id"] or ""] if "id" in given else []
        self.wrong += [f"{tag} {k}" for k in given if k == "style" or re.match(r"on[a-z]", k)]
        if tag == "script" and not given.get("src") and given.get("type") != "application/json":
            self.wrong.append("an inline script")
        if tag == "img" and "alt" not in given:
            self.wrong.append("an img without alt")
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.wrong.append("a th without scope")
        hidden = given.get("type") in ("hidden",) or "hidden" in given
        if tag in ("input", "select") and not hidden and "label" not in self.open:
            self.wrong.append(f"a {tag} without a label")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "script":
            self.words += data


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_keeps_to_its_policy(site: Site, path: str) -> None:
    found = ask(site.url + path)
    assert found.status == 200
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    page = Page(found.text)
    assert page.wrong == [] and page.open == []
    assert page.tags.count("h1") == 1 and page.tags.count("main") == 1 and "nav" in page.tags
    assert len(page.ids) == len(set(page.ids)) and "main" in page.ids and "#main" in page.links
    assert [link for link in page.links if not re.match(r"[/#?]|data:image/png;base64,", link)] == []
    assert [link for link in page.links if link.startswith("//")] == []


def test_every_link_of_the_start_leads_somewhere(site: Site) -> None:
    links = [link for link in Page(ask(site.url).text).links if link.startswith("/") and not link.startswith("/static")]
    assert {"/runs/late", "/runs/first", "/races/first", "/data/shapes", "/papers?verdict=can+be+trained"} <= set(links)
    assert {link: ask(site.url + link).status for link in links} == dict.fromkeys(links, 200)


def test_scripts_styles_and_icons_are_served_without_a_fetch_elsewhere(site: Site) -> None:
    links = {link for path in PAGES for link in Page(ask(site.url + path).text).links if link.startswith("/static")}
    assert {"/static/htmx.min.js", "/static/report/vega.min.js", "/static/draw.js", "/static/sort.js"} <= links
    for link in links:
        found = ask(site.url + link, Accept="*/*")
        assert found.status == 200 and found.headers["ETag"]
        assert ask(site.url + link, Accept="*/*", If_None_Match=found.headers["ETag"]).status == 304


def test_every_verdict_has_its_colour(site: Site) -> None:
    style = ask(f"{site.url}/static/style.css").text
    for word, (shade, _, _) in VERDICTS.items():
        assert f".shade-{word.replace(' ', '-')} {{ --shade: {shade} }}" in style


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/runs/lat", "no run 'lat' is served; did you mean 'late'?"),
        ("/races/fisrt", "no race 'fisrt' is served; did you mean 'first'?"),
        ("/data/shape", "no data set 'shape' is served; did you mean 'shapes'?"),
        ("/papers/klip", "no paper 'klip'; did you mean 'clip'?"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(site: Site, path: str, line: str) -> None:
    found = ask(site.url + path)
    said = Page(found.text).words
    assert found.status == 404 and line.partition(";")[0] in said and "did you mean" in said


@pytest.mark.parametrize("below", ["runs", "races", "data", "papers", "static", "static/report", "search/pictures"])
@pytest.mark.parametrize(
    "path", ["../../../pyproject.toml", "..%2f..%2frun.json", "%2fetc%2fpasswd", "late%2frun.json"]
)
def test_a_path_never_reaches_the_file_system(site: Site, below: str, path: str) -> None:
    found = ask(f"{site.url}/{below}/{path}")
    assert found.status in (400, 404)
    assert b"build-system" not in found.body and b"root:" not in found.body and b'"job"' not in found.body


def _slugs(text: str) -> list[str]:
    return [link.removeprefix("/papers/") for link in Page(text).links if re.match(r"/papers/\w", link)]


def test_papers_are_filtered(site: Site) -> None:
    rows = catalogue.rows()
    assert sorted(_slugs(ask(f"{site.url}/papers").text)) == sorted(row.slug for row in rows)
    family = _slugs(ask(f"{site.url}/papers?family=fuse&kind=method").text)
    assert sorted(family) == sorted(r.slug for r in rows if r.family == "fuse" and r.kind == "method")
    holds = _slugs(ask(f"{site.url}/papers?verdict=holds").text)
    assert sorted(holds) == sorted(r.slug for r in rows if "holds" in r.verdicts.values()) != []
    needs = _slugs(ask(f"{site.url}/papers?needs=image").text)
    assert sorted(needs) == sorted(r.slug for r in rows if r.path and {k[:5] for k in r.needs} <= {"image"})
    both = _slugs(ask(f"{site.url}/papers?needs=image&needs=text").text)
    assert {"filip", "kelip", "baseline/clip"} <= set(both) and "dreamlip" not in both
    assert _slugs(ask(f"{site.url}/papers?verdict=planned").text).count("dreamlip") == 1


@pytest.mark.parametrize("query", ["family=alignn", "kind=methods", "needs=images", "verdict=hold"])
def test_an_unknown_filter_is_told(site: Site, query: str) -> None:
    found = ask(f"{site.url}/papers?{query}")
    assert found.status == 400 and "did you mean" in Page(found.text).words


def test_a_paper_shows_its_source_to_the_letter(site: Site) -> None:
    import sensorium

    for row in (row for row in catalogue.rows() if row.path):
        text = ask(f"{site.url}/papers/{row.slug}").text
        lines = re.findall(r'<li id="L\d+"><code>(.*?)</code></li>', text, re.S)
        shown = [html.unescape(re.sub(r"<span class=\"\w+\">|</span>", "", line)) for line in lines]
        assert shown == (Path(sensorium.__file__).parent / row.path).read_text().splitlines(), row.slug


def test_a_part_leads_to_its_line(site: Site) -> None:
    text = ask(f"{site.url}/papers/kelip").text
    line = re.search(r'<a href="#L(\d+)"><code>drawn_language</code></a>', text)
    assert line is not None
    assert "drawn_language(model" in html.unescape(re.sub("<[^>]+>", "", text.split(f'<li id="L{line[1]}">')[1][:200]))


def test_a_paper_shows_what_was_measured(site: Site) -> None:
    page = Page(ask(f"{site.url}/papers/kelip").text)
    row = latest("kelip", "other languages", "lab")
    assert row is not None
    assert row.verdicts[0].sentence in page.words and "▲ holds" in page.words
    assert "baseline/clip" in page.words and f"{row.samples:,} samples per run" in page.words
    assert "chart-claim-0-0" in page.ids
    planned = Page(ask(f"{site.url}/papers/dreamlip").text).words
    assert "it cannot be trained yet" in planned and "Source" not in planned


def test_a_run_shows_what_it_wrote(site: Site, late: Path) -> None:
    page = Page(ask(f"{site.url}/runs/late").text)
    scores = json.loads((late / "scores.json").read_text())
    assert f"R@1 {scores['test']['r@1']:.3f} on test" in page.words
    assert {"chart-scores", "chart-losses"} <= set(page.ids)
    env = json.loads((late / "env.json").read_text())
    assert env["torch"] in page.words and '{"image": "scratch", "text": "scratch"}' in page.words
    assert "metadata.jsonl:73" in page.words and "not a picture in PNG" in page.words
    assert len([link for link in page.links if link.startswith("/thumbs/shapes?row=")]) == 12


def test_curves_are_the_runs_own_numbers(site: Site, late: Path) -> None:
    text = ask(f"{site.url}/runs/late").text
    specs = json.loads(text.split('id="specs">')[1].split("</script>")[0])
    curve = json.loads((late / "scores.json").read_text())["curve"]
    drawn = [(v["samples"], v["value"]) for v in specs["scores"]["data"]["values"] if v["line"] == "r@1"]
    assert drawn == list(zip(curve["samples"], curve["r@1"], strict=True))
    assert not any(v["line"] == "median_rank" for v in specs["scores"]["data"]["values"])
    steps = [json.loads(line) for line in (late / "steps.jsonl").read_text().splitlines()]
    losses = [(v["samples"], v["value"]) for v in specs["losses"]["data"]["values"]]
    assert losses == [(s["samples"], s["terms"]["contrast"]) for s in steps]


def test_a_race_shows_the_body_of_its_report(site: Site, race: Path) -> None:
    from sensorium.run.report import write

    shown, report = ask(f"{site.url}/races/first").text, write(race).read_text()
    first, last = "<dl>\n<dt>data</dt>", "How to repeat it"
    assert shown[shown.index(first) : shown.index(last)] == report[report.index(first) : report.index(last)]


def test_data_shows_what_was_understood_and_why_rows_were_set_aside(site: Site) -> None:
    page = Page(ask(f"{site.url}/data/shapes").text)
    assert "72 rows, 72 groups, 1 set aside" in page.words
    assert "text <- caption" in page.words and "72 texts, 72 different; " in page.words
    assert "a race would use redrawn splits" in page.words
    assert "torn.png: not a picture in PNG" in page.words
    assert "page 1 of 3" in page.words and "23.png" in page.words and "24.png" not in page.words
    assert "24.png" in Page(ask(f"{site.url}/data/shapes?page=2").text).words


@pytest.mark.parametrize("given", ["0", "4", "-1", "x", "1" * 40, "²"])
def test_a_page_that_is_not_there_is_told(site: Site, given: str) -> None:
    found = ask(f"{site.url}/data/shapes?page={quote(given)}")
    assert found.status == 400 and "expected a whole number from 1 to 3" in Page(found.text).words


def _spoilt(late: Path, folder: Path) -> Path:
    """A copy of a run whose every text holds a script."""
    shutil.copytree(late, folder)
    (folder / "env.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (folder / "quarantine.jsonl").write_text(json.dumps({"source": HOSTILE, "key": HOSTILE, "reason": HOSTILE}) + "\n")
    scores = json.loads((folder / "scores.json").read_text())
    scores["test"][HOSTILE] = scores["curve"][HOSTILE] = 0.5
    scores["curve"][HOSTILE] = [0.5] * len(scores["curve"]["samples"])
    scores["failed"] = HOSTILE
    (folder / "scores.json").write_text(json.dumps(scores))
    record = json.loads((folder / "run.json").read_text())
    record["split"] = record["job"]["split"] = HOSTILE
    (folder / "run.json").write_text(json.dumps(record))
    with (folder / "steps.jsonl").open("a") as steps:
        steps.write(json.dumps({"samples": 9, "terms": {HOSTILE: 1.0}}) + '\n[1]\n{"torn')
    return folder


def test_what_a_folder_holds_is_text(late: Path, tmp_path: Path) -> None:
    there = served([_spoilt(late, tmp_path / "spoilt")], say=lambda line: None)
    with listening(there) as site:
        for path in (
            "/",
            "/runs/spoilt",
            "/data/shapes",
            "/search?text=" + quote(HOSTILE),
            "/papers/" + quote(HOSTILE),
        ):
            found = ask(site.url + path)
            assert HOSTILE not in found.text, path
            assert Page(found.text).wrong == []
        words = Page(ask(f"{site.url}/runs/spoilt").text).words
        assert words.count(HOSTILE) >= 8
        assert f"a blue circle top {HOSTILE}" in Page(ask(f"{site.url}/data/shapes").text).words


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("scores.json", "{", "spoilt/scores.json is not a readable JSON object"),
        ("scores.json", "[1]", "spoilt/scores.json is not a readable JSON object"),
        ("env.json", "\xff", "spoilt/env.json is not a readable JSON object"),
    ],
)
def test_a_damaged_file_is_named(late: Path, tmp_path: Path, name: str, content: str, said: str) -> None:
    shutil.copytree(late, tmp_path / "spoilt")
    there = served([tmp_path / "spoilt"], say=lambda line: None)
    (tmp_path / "spoilt" / name).write_text(content)
    with listening(there) as site:
        found = ask(f"{site.url}/runs/spoilt")
        assert found.status == 400 and said in Page(found.text).words
        assert ask(site.url).status == 200


def test_a_run_with_strange_numbers_is_shown(late: Path, tmp_path: Path) -> None:
    shutil.copytree(late, tmp_path / "odd")
    there = served([tmp_path / "odd"], say=lambda line: None)
    odd = '{"validation": 3, "test": {"r@1": NaN, "x": "y"}, "curve": {"samples": [1, null], "r@1": [Infinity, true]}}'
    (tmp_path / "odd" / "scores.json").write_text(odd)
    (tmp_path / "odd" / "rows.parquet").write_text("no table")
    with listening(there) as site:
        found = ask(f"{site.url}/runs/odd")
        assert found.status == 200 and "chart-losses" in Page(found.text).ids


def test_a_race_whose_files_do_not_fit_is_told(there: Served, race: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    shutil.copytree(race, tmp_path / "bad")
    (tmp_path / "bad" / "race.json").write_text('{"metrics": []}')
    with listening(replace(there, races={"bad": tmp_path / "bad", "none": tmp_path})) as site:
        found = ask(f"{site.url}/races/bad")
        assert found.status == 400 and "do not fit together" in Page(found.text).words
        found = ask(f"{site.url}/races/none")
        assert found.status == 400 and "holds no finished race" in Page(found.text).words
