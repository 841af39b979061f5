"""Errors in the shape that OpenAI clients read: error{message, type, param, code}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from sensorium.core import nearest

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    503: "overloaded_error",
}
SHOWN = 40
"""Characters of a wrong value that an error repeats."""


class Problem(Exception):
    """What is wrong with a request; `param` names the field."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def refusal(
    status: int,
    message: str = "",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as a response, its message one line."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    line = " ".join((message or HTTPStatus(status).phrase).split())
    error = {"message": line, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers=dict(headers or {}))


def in_words(errors: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> Problem:
    """The first thing that pydantic found wrong, in one line. `fields` maps each field to what it expects."""
    first = next((e for e in errors if e["loc"][:1] == errors[0]["loc"][:1] and _item(e) is not None), errors[0])
    path = first["loc"]
    if first["type"] in ("json_invalid", "json_type") or not path:
        return Problem(400, "the body is not a JSON object")
    name = str(path[0])
    if first["type"] == "extra_forbidden" and len(path) == 1:
        return Problem(400, f"unknown field {name[:SHOWN]!r}{nearest(name, fields)}", name[:SHOWN])
    expected = f"expected {fields.get(name) or str(first['msg']).lower()}"
    if first["type"] == "missing" and len(path) == 1:
        return Problem(400, f"{name} is missing; {expected}", name)
    at = _item(first)
    where = name if at is None else f"{name}[{at}]"
    return Problem(400, f"{where}{_given(first.get('input'))}; {expected}", name)


def _item(error: Mapping[str, Any]) -> int | None:
    """Which item of a list an error is about."""
    return next((part for part in error["loc"] if isinstance(part, int)), None)


def _given(value: Any) -> str:
    """A scalar as it was given; nothing of what is longer or nested."""
    if isinstance(value, str | int | float | bool | None) and len(shown := repr(value)) <= SHOWN:
        return f": given {shown}"
    return f": given {'a text' if isinstance(value, str) else 'a value'} that does not fit"
