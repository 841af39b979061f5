"""Keys: where they come from, who is let in, and that nobody hears of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensorium.apps.server.app import create
from sensorium.apps.server.auth import is_loopback, keys_of, must_be_safe
from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError

from .conftest import Answer, ask, live

KEY, OTHER = "k" * 20, "another-key-0123456789"


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n{KEY}\n\n  {OTHER}  \n")
    assert keys_of(file) == {KEY, OTHER}
    monkeypatch.setenv("SENSORIUM_KEYS", f"{'e' * 16}, {'f' * 16}\n{KEY}")
    assert keys_of(file) == {KEY, OTHER, "e" * 16, "f" * 16}
    assert keys_of(None) == {KEY, "e" * 16, "f" * 16}
    monkeypatch.delenv("SENSORIUM_KEYS")
    assert keys_of(None) == frozenset()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no key; expected one per line"),
        (b"# none\n\n", "holds no key; expected one per line"),
        (b"short\n", "a key has at least 16 visible ASCII characters"),
        (f"{KEY}\nwith space 0123456789\n".encode(), "a key has at least 16 visible ASCII characters"),
        (b"\xff" * 20, "is not read: not a text"),
        (None, "is not read: No such file or directory"),
    ],
)
def test_a_bad_file_of_keys_is_one_line_without_a_key(content: bytes | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SensoriumError, match=says) as problem:
        keys_of(file)
    assert KEY not in str(problem.value) and "with space" not in str(problem.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    must_be_safe(host, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "127.0.0.1.example.org", ""])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    with pytest.raises(SensoriumError, match="lets others in, and no key is set; give --keys FILE or SENSORIUM_KEYS"):
        must_be_safe(host, ())
    must_be_safe(host, [KEY])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route_but_health_needs_a_key(there: Served, capfd: pytest.CaptureFixture[str]) -> None:
    app = create(there, keys=frozenset({KEY, OTHER}), board=False)
    routes = [(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods]
    routes += [("GET", "/docs"), ("GET", "/openapi.json")]
    assert len(routes) == 14
    with live(app) as url:
        for method, path in routes:
            asked = path.replace("{model}", "clip").replace("{name}", "squares") + "?q=a&row=1"
            bare = ask(url, method, asked)
            wrong = ask(url, method, asked, None, bearer("x" * 20))
            if path == "/health":
                assert bare.status == wrong.status == 200
                continue
            for answer in (bare, wrong):
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
            for right in (bearer(KEY), bearer(OTHER), {"Cookie": f"a=b; sensorium_key={KEY}"}):
                assert ask(url, method, asked, None, right).status not in (401, 403), (method, path)
        assert ask(url, "GET", "/no/such/route").status == 401
        _errors(ask(url, "GET", "/metrics"), ask(url, "GET", "/metrics", None, bearer("x" * 20)))
        for odd in ("Bearer", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer ü"):
            assert ask(url, "GET", "/metrics", None, {"Authorization": odd.encode().decode("latin-1")}).status == 401, (
                odd
            )
        assert ask(url, "GET", "/metrics", None, {"Cookie": "sensorium_key="}).status == 401
        counts = ask(url, "GET", "/metrics", None, bearer(KEY)).body.decode()
    said = "".join(capfd.readouterr()) + counts
    assert KEY not in said and OTHER not in said and "x" * 20 not in said


def _errors(bare: Answer, wrong: Answer) -> None:
    assert bare.error["message"] == "no key given; send Authorization: Bearer KEY"
    assert (wrong.error["message"], wrong.error["code"]) == ("this key is not known", "invalid_api_key")
    assert bare.error["type"] == wrong.error["type"] == "authentication_error"


def test_with_a_key_any_host_name_may_be_asked_for(there: Served) -> None:
    with live(create(there, keys=frozenset({KEY}), board=False)) as url:
        assert ask(url, "GET", "/v1/models", None, bearer(KEY) | {"Host": "search.example.org"}).status == 200
