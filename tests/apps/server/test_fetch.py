"""Pictures from URLs: only from hosts that are named, only from the open internet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from sensorium.apps.server import fetch as fetching
from sensorium.apps.server.app import create
from sensorium.apps.server.fetch import fetch, hosts_of, is_public
from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError
from sensorium.data.limits import Refused

from .conftest import ask, coloured, live, png

PICTURE = png(coloured(21))
MOST = 1 << 20


class Site(BaseHTTPRequestHandler):
    """A site with a picture, redirects, and what goes wrong."""

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.headers['Host']} {self.path}")  # type: ignore[attr-defined]
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        if self.path == "/slow":
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        self.wfile.write(b"x" * (MOST + 1) if self.path == "/large" else PICTURE)

    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The site on this machine, taken for a public one, under every name; what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setitem(fetching.PORTS, "http", server.server_port)
    monkeypatch.setattr(fetching, "_address", lambda host, port: "127.0.0.1")
    yield server.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_picture_of_a_named_host_comes(site: list[str]) -> None:
    assert fetch("http://pictures.test/a.png?b=c", {"pictures.test"}, MOST) == PICTURE
    assert len(site) == 1 and site[0].startswith("pictures.test:") and site[0].endswith(" /a.png?b=c")


def test_redirects_stay_among_the_named_hosts(site: list[str]) -> None:
    assert fetch("http://a.test/to//x.png", {"a.test"}, MOST) == PICTURE
    assert fetch("http://a.test/to/http://b.test/x.png", {"a.test", "b.test"}, MOST) == PICTURE
    with pytest.raises(Refused, match=r"not one of those that --allow-fetch names"):
        fetch("http://a.test/to/http://c.test/x.png", {"a.test", "b.test"}, MOST)
    with pytest.raises(Refused, match=r"not a plain http or https URL"):
        fetch("http://a.test/to/file:///etc/passwd", {"a.test"}, MOST)
    assert not any(line.startswith("c.test") for line in site)


def test_redirects_end(site: list[str]) -> None:
    with pytest.raises(Refused, match=r"a.test redirects more than 3 times"):
        fetch("http://a.test" + "/to/" * 8 + "/x", {"a.test"}, MOST)


def test_what_is_too_large_too_slow_or_absent_is_refused(site: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match=r"more than 1 MiB"):
        fetch("http://a.test/large", {"a.test"}, MOST)
    with pytest.raises(Refused, match=r"a.test answered 404"):
        fetch("http://a.test/none", {"a.test"}, MOST)
    monkeypatch.setattr(fetching, "SECONDS", 0.4)
    start = time.monotonic()
    with pytest.raises(Refused, match=r"a.test took too long"):
        fetch("http://a.test/slow", {"a.test"}, MOST)
    assert time.monotonic() - start < 2


URLS = [
    "http://evil.test/x", "http://a.test.evil.test/x", "http://a.test@evil.test/x", "http://evil.test#@a.test/",
    "http://evil.test\\@a.test/x", "http://a.test\\.evil.test/x", "http://a.test:pw@a.test/x", "http://a.test:22/x",
    "http://a.test:0/x", "http://a.test:99999/x", "http://a.test./x", "http://A。test/x", "http://a%2etest/x",
    "http://[::1]/x", "http://127.0.0.1/x", "http://2130706433/x", "http://0x7f.1/x", "http://017700000001/x",
    "http://[::ffff:127.0.0.1]/x", "http://169.254.169.254/latest/meta-data", "http://localhost/x",
    "http:///x", "http:a.test/x", "//a.test/x", "a.test/x", "file:///etc/passwd", "gopher://a.test/x", "ftp://a.test/x",
    "http://a.test/\r\nHost: b", "http://a.test/ x", "http://a.test/é", "",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_nothing_else_is_connected_to(site: list[str], url: str) -> None:
    with pytest.raises(Refused):
        fetch(url, {"a.test"}, MOST)
    assert site == []


def test_a_named_host_with_any_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*addresses: str) -> None:
        found = [(2, 1, 6, "", (a, 80)) for a in addresses]
        monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *given, **more: found)

    monkeypatch.setattr(fetching.socket, "create_connection", lambda *given, **more: pytest.fail("connected"))
    for addresses in (["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["169.254.169.254"]):
        answers(*addresses)
        with pytest.raises(Refused, match=r"a.test has an address that is not public"):
            fetch("http://a.test/x", {"a.test"}, MOST)


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers otherwise the second time is not asked a second time."""
    asked: list[Any] = []
    turns = iter(["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *g, **m: [(2, 1, 6, "", (next(turns), 80))])

    def connect(address: tuple[str, int], **more: Any) -> Any:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(fetching.socket, "create_connection", connect)
    with pytest.raises(Refused, match=r"a.test gives no answer"):
        fetch("http://a.test/x", {"a.test"}, MOST)
    assert asked == [("93.184.216.34", 80)]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
     "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
     "2001:0:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


def test_hosts_are_read_and_what_is_none_is_one_line() -> None:
    assert hosts_of("A.test, b.test,") == {"a.test", "b.test"}
    assert hosts_of("") == frozenset()
    for bad in ("http://a.test", "a.test:80", "*", "a b", "-a"):
        with pytest.raises(SensoriumError, match=r"--allow-fetch .* is not a host; expected names joined by commas"):
            hosts_of(bad)


def test_the_server_fetches_what_it_was_told_to_and_names_the_flag(there: Served, site: list[str]) -> None:
    model = there.models["clip"]
    with live(create(there, allow_fetch=["a.test"], board=False)) as url:
        body: dict[str, Any] = {"model": "clip", "input": {"image": "http://a.test/x.png"}}
        (data,) = ask(url, "POST", "/v1/embeddings", body).json["data"]
        want = model.embed(model.read("image", [coloured(21)])).x[0, 0].numpy()
        np.testing.assert_allclose(data["embedding"], want, atol=1e-5)
        refused = ask(url, "POST", "/v1/embeddings", body | {"input": {"image": "http://b.test/x.png"}})
    assert refused.status == 400
    assert refused.error["message"] == "input: the host is not one of those that --allow-fetch names"
