"""Pictures that were given to search with: held for a while under the hash of their content, so that a search has an
address of its own and works without a script."""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from threading import Lock

from PIL import Image
from starlette.requests import Request

from sensorium.core import SensoriumError
from sensorium.data.dataset import Limits
from sensorium.data.limits import Refused
from sensorium.data.media.image import load

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
    try:
        picture = load(content, LIMITS)
    except Refused as reason:
        raise SensoriumError(f"that file is not a readable picture: {reason}") from None
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG")
    name = hashlib.sha256(out.getvalue()).hexdigest()[:32]
    with _LOCK:
        there = _held(request)
        there[name] = out.getvalue()
        there.move_to_end(name)
        while len(there) > HELD:
            there.popitem(last=False)
    return name


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
