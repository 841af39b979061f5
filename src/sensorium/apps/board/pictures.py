"""Pictures that were given or painted: held for a while under the hash of their content, so that what is asked with one
has an address of its own and works without a script; and the pictures of rows."""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from urllib.parse import urlencode

from PIL import Image
from starlette.requests import Request

from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError
from sensorium.data.dataset import Limits
from sensorium.data.limits import Refused
from sensorium.data.media.image import load

from .pages import Absent, named, whole

HELD = 32
"""Pictures held at once; the one used longest ago is dropped first."""
SIDE = 1024
"""Pixels of the longer side above which a picture is made smaller: more than any tower reads."""
LIMITS = Limits(pixels=32_000_000)

_LOCK = Lock()


def keep(request: Request, content: bytes) -> str:
    """Hold a picture; gives its name.

    Raises:
        SensoriumError: bytes that are no picture, or too large a one.
    """
    return hold(request, read(content))


def read(content: bytes) -> Image.Image:
    """The picture in the bytes of a file that somebody gave, or one line."""
    try:
        return load(content, LIMITS)
    except Refused as reason:
        raise SensoriumError(f"that file is not a readable picture: {reason}") from None


def hold(request: Request, picture: Image.Image) -> str:
    """Hold a decoded picture, made smaller where it is large; gives its name."""
    content = png(picture, SIDE)
    name = hashlib.sha256(content).hexdigest()[:32]
    with _LOCK:
        there = _held(request)
        there[name] = content
        there.move_to_end(name)
        while len(there) > HELD:
            there.popitem(last=False)
    return name


def png(picture: Image.Image, side: int) -> bytes:
    """A picture as PNG, its longer side at most `side` pixels."""
    small, out = picture.copy(), io.BytesIO()
    small.thumbnail((side, side))
    small.save(out, "PNG")
    return out.getvalue()


def kept(request: Request, name: str) -> bytes:
    """The PNG of a held picture; one line where it is held no more."""
    with _LOCK:
        there = _held(request)
        if not re.fullmatch("[0-9a-f]{32}", name) or name not in there:
            raise SensoriumError("that picture is no longer held; give it again")
        there.move_to_end(name)
        return there[name]


def opened(content: bytes) -> Image.Image:
    """A held picture, decoded."""
    return load(content, LIMITS)


def _held(request: Request) -> OrderedDict[str, bytes]:
    state = request.app.state
    if not hasattr(state, "pictures"):
        state.pictures = OrderedDict()
    found: OrderedDict[str, bytes] = state.pictures
    return found


def of_row(there: Served, name: str, given: Mapping[str, str]) -> tuple[Image.Image, str]:
    """The picture of a row of a data set, or of an index by its id; and what the address of its small one ends with."""
    if name in there.indexes:
        wanted = given.get("id", "")
        content = there.indexes[name].thumb(wanted)
        if content is None:
            raise Absent(f"{name!r} has no picture {wanted!r}")
        return load(content, LIMITS), urlencode({"id": wanted})
    data = named("data set or index", name, there.data)
    if data.kinds.get("image") != "image":
        raise SensoriumError(f"{name} has no pictures")
    row = whole(given, "row", 0, 0, len(data) - 1)
    return data.image("image", row), urlencode({"row": row})


def pictured(there: Served) -> list[str]:
    """The served data sets that have pictures."""
    return [name for name, data in there.data.items() if data.kinds.get("image") == "image"]
