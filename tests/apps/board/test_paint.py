"""Pictures from words, without a script."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from sensorium.apps.server.generating import painted
from sensorium.core import derive

from .conftest import HOSTILE, Site, ask
from .test_pages import Page


def pictures(site: Site, query: str) -> dict[int, Image.Image]:
    """Seed -> picture."""
    text = ask(f"{site.url}/paint?{query}").text
    assert Page(text).wrong == []
    found = re.findall(r'<img src="(/search/pictures/\w+)" alt="seed (\d+):', text)
    return {int(seed): Image.open(io.BytesIO(ask(site.url + link, Accept="image/*").body)) for link, seed in found}


def test_each_picture_has_a_seed_that_gives_it_again(studio: Site) -> None:
    three = pictures(studio, "prompt=a+red+square&n=3&seed=5")
    assert list(three) == [5, 6, 7]
    (again,) = pictures(studio, "prompt=a+red+square&n=1&seed=6").values()
    assert (np.asarray(again) == np.asarray(three[6])).all() and (np.asarray(again) != np.asarray(three[5])).any()
    own = painted(studio.served.models["painter"], "a red square", derive("picture", 6, 0))
    assert (np.asarray(own) == np.asarray(again)).all()


def test_a_painted_picture_can_be_asked_about(studio: Site) -> None:
    text = ask(f"{studio.url}/paint?prompt=a+red+square&n=1").text
    link = re.search(r'<a href="(/image\?picture=\w+)">', text)
    assert link and 'viewBox="0 0 64 64"' in ask(studio.url + link[1]).text


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("prompt=a&n=9", 400, "expected a whole number from 1 to 8"),
        ("prompt=a&seed=-1", 400, "seed '-1'"),
        ("prompt=a&run=teller", 400, "teller does not paint; pictures from words need a run that generates them"),
        ("prompt=a&run=paintr", 404, "did you mean 'painter'?"),
        ("prompt=" + "a" * 2001, 400, "at most 2,000 are read"),
        ("prompt=+", 200, "Nothing is painted yet."),
    ],
)
def test_what_cannot_be_painted_is_told(studio: Site, query: str, status: int, line: str) -> None:
    found = ask(f"{studio.url}/paint?{query}")
    assert found.status == status and line in Page(found.text).words and "<form" in found.text


def test_a_prompt_is_not_carried_out(studio: Site) -> None:
    text = ask(f"{studio.url}/paint?n=1&prompt=%3Cscript%3Edocument.title%3D'taken'%3C/script%3E").text
    assert HOSTILE not in text and Page(text).wrong == []


def test_where_no_run_paints_the_page_says_which_would(site: Site) -> None:
    text = ask(f"{site.url}/paint").text
    assert "No served run paints" in Page(text).words and "<form" not in text
    found = ask(f"{site.url}/paint?prompt=a")
    assert found.status == 400 and "no served run paints" in Page(found.text).words
