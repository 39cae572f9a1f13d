"""`undertow fetch`, from a server in this process: checked, never half there, never over another file."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from console import Said, refused, run

from fullscale.data import checksums
from fullscale.data.checksums import Official
from undertow.commands import COMMANDS
from undertow.commands import fetch as fetch_command

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several parts
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Gives CONTENT at /a.tar.gz, half of it at /half.tar.gz, no end of it at /endless.tar.gz, nothing elsewhere."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/endless.tar.gz":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                for _ in range(100):
                    self.wfile.write(CONTENT)
            self.server.asked.append("whole")  # type: ignore[attr-defined]
            return
        if self.path not in ("/a.tar.gz", "/half.tar.gz"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/a.tar.gz" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(COMMANDS, "fetch", fetch_command)


Offer = Callable[..., list[str]]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Makes an address of this process's server the official one; gives its start and the list of what was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def official(path: str = "a.tar.gz", sha256: str = SHA256, port: int = server.server_port) -> list[str]:
        archive = Official(f"http://127.0.0.1:{port}/{path}", sha256, len(CONTENT))
        monkeypatch.setitem(checksums.ARCHIVES, "cifar10", archive)
        return server.asked  # type: ignore[attr-defined, no-any-return]

    yield official
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(*arguments: str) -> Said:
    said = run("fetch", "cifar10", *arguments)
    assert (said.status, said.problems) == (0, [])
    return said


def test_it_is_fetched_once(offer: Offer) -> None:
    asked = offer()
    said = fetched()
    assert said.out == f"data/a.tar.gz: fetched, sha256 {SHA256}, the official one\n"
    assert "3 of 3 done" in said.err
    assert [path.name for path in Path("data").iterdir()] == ["a.tar.gz"]
    assert Path("data/a.tar.gz").read_bytes() == CONTENT
    assert "was there" in fetched().out
    assert asked == ["/a.tar.gz"]
    fetched("-o", "deep/er")
    assert Path("deep/er/a.tar.gz").read_bytes() == CONTENT


def test_what_does_not_come_or_is_another_leaves_nothing(offer: Offer) -> None:
    with socket.socket() as closed:  # a port at which nobody listens
        closed.bind(("127.0.0.1", 0))
        for given, words in (
            (
                {"path": "b.tar.gz"},
                ["127.0.0.1 gives no b.tar.gz (status 404)", "/b.tar.gz, fetched by hand, into 'data'"],
            ),
            ({"path": "half.tar.gz"}, ["no connection to 127.0.0.1", "/half.tar.gz"]),
            ({"path": "endless.tar.gz"}, ["/endless.tar.gz gives more than the 3,072,000 bytes that are accepted"]),
            ({"sha256": "0" * 64}, ["gives another file", "0" * 64]),
            (
                {"port": closed.getsockname()[1]},
                ["no connection to 127.0.0.1 (ConnectionError): a network is needed, or put", "'data'"],
            ),
        ):
            offer(**given)
            refused(run("fetch", "cifar10"), *words)
            assert not Path("data").exists()


def test_nothing_leads_from_https_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(self: Any, request: Any, **_: Any) -> requests.Response:
        found = requests.Response()
        found.status_code, found.url, found.request, found.raw = 302, request.url, request, io.BytesIO()
        found.headers["location"] = "http://elsewhere.test/a.tar.gz"
        return found

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", sent)
    refused(run("fetch", "tiny-imagenet"), "leads to http://elsewhere.test/a.tar.gz: https alone is accepted")
    assert all(archive.url.startswith("https://") for archive in checksums.ARCHIVES.values())
    assert list(Path("data").iterdir()) == []


def test_another_file_in_its_place_is_left(offer: Offer) -> None:
    asked = offer()
    Path("data").mkdir()
    Path("data/a.tar.gz").write_bytes(b"mine")
    refused(run("fetch", "cifar10"), "data/a.tar.gz", hashlib.sha256(b"mine").hexdigest(), SHA256)
    assert Path("data/a.tar.gz").read_bytes() == b"mine"
    assert asked == []


def test_what_cannot_be_fetched() -> None:
    for name, words in (
        ("imagenet", ["registration", "image-net.org"]),
        ("fashion-mnist", ["not fetched"]),
        ("digits", ["scikit-learn"]),
        ("cifar", ["'cifar' is unknown"]),
    ):
        refused(run("fetch", name), *words, "cifar10, cifar100, tiny-imagenet are accepted")
    assert not Path("data").exists()
    Path("data").write_bytes(b"")
    refused(run("fetch", "cifar10"), "data")
