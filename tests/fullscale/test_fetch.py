"""`undertow fetch`, from a server in this process: checked, never half there, never over another file."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from console import Said, refused, run

from fullscale.data import checksums
from fullscale.data.checksums import Official
from undertow.commands import COMMANDS
from undertow.commands import fetch as fetch_command

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several parts
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Gives CONTENT at /a.tar.gz, half of it at /half.tar.gz, nothing elsewhere."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
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


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def offer(monkeypatch: pytest.MonkeyPatch, port: int, path: str = "a.tar.gz", sha256: str = SHA256) -> None:
    monkeypatch.setitem(
        checksums.ARCHIVES, "cifar10", Official(f"http://127.0.0.1:{port}/{path}", sha256, len(CONTENT))
    )


def nothing_written(folder: Path) -> None:
    assert list(folder.iterdir()) == []


def fetched(said: Said) -> None:
    assert (said.status, said.problems) == (0, [])


def test_it_is_fetched_once(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server.server_port)
    said = run("fetch", "cifar10")
    fetched(said)
    assert said.out == f"data/a.tar.gz: fetched, sha256 {SHA256}, the official one\n"
    assert "3 of 3 done" in said.err
    assert [path.name for path in Path("data").iterdir()] == ["a.tar.gz"]
    assert Path("data/a.tar.gz").read_bytes() == CONTENT
    again = run("fetch", "cifar10")
    fetched(again)
    assert "was there" in again.out
    assert server.asked == ["/a.tar.gz"]  # type: ignore[attr-defined]
    fetched(run("fetch", "cifar10", "-o", "deep/er"))
    assert Path("deep/er/a.tar.gz").read_bytes() == CONTENT


@pytest.mark.parametrize(("path", "words"), [("b.tar.gz", ["status 404"]), ("half.tar.gz", ["cannot be fetched"])])
def test_what_does_not_come(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, path: str, words: list[str]
) -> None:
    offer(monkeypatch, server.server_port, path)
    refused(run("fetch", "cifar10"), f"127.0.0.1:{server.server_port}/{path}", *words)
    nothing_written(Path("data"))


def test_another_checksum(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server.server_port, sha256="0" * 64)
    refused(run("fetch", "cifar10"), "gives another file", "0" * 64)
    nothing_written(Path("data"))


def test_another_file_in_its_place_is_left(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server.server_port)
    Path("data").mkdir()
    Path("data/a.tar.gz").write_bytes(b"mine")
    refused(run("fetch", "cifar10"), "data/a.tar.gz", hashlib.sha256(b"mine").hexdigest(), SHA256)
    assert Path("data/a.tar.gz").read_bytes() == b"mine"
    assert server.asked == []  # type: ignore[attr-defined]


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # a port at which nobody listens
        closed.bind(("127.0.0.1", 0))
        offer(monkeypatch, closed.getsockname()[1])
        refused(run("fetch", "cifar10"), "cannot be fetched (ConnectionError)", "127.0.0.1")
    nothing_written(Path("data"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagenet", ["registration", "image-net.org"]),
        ("fashion-mnist", ["not fetched"]),
        ("digits", ["scikit-learn"]),
        ("cifar", ["'cifar' is unknown"]),
    ],
)
def test_names_that_cannot_be_fetched(name: str, words: list[str]) -> None:
    refused(run("fetch", name), *words, "cifar10, cifar100, tiny-imagenet are accepted")
    assert not Path("data").exists()


def test_a_folder_that_cannot_be_made() -> None:
    Path("data").write_bytes(b"")
    refused(run("fetch", "cifar10"), "data")
