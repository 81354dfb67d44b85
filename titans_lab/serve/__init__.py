"""A live, read-only page over a store, from the standard library's HTTP server.

Only who knows the address can read the page: its path begins with a random token, and every other path is not found. A
request whose Host header is not the server's own is refused, so that no web page can reach the server under another
name (DNS rebinding). A content security policy forbids the page every other address.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.serve.live import Live

ANY = "0.0.0.0"  # every address of this machine
PAGE = Path(__file__).parent / "page.html"
INLINE = "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
SELF = "frame-src 'self'; connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; {INLINE}; {SELF}",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"


class LiveServer(ThreadingHTTPServer):
    """A server of the page about `live`.

    Args:
        live: What the page shows.
        host: The address to listen on.
        port: The port; 0 takes a free one.

    Raises:
        UserError: The address cannot be listened on.
    """

    daemon_threads = True

    def __init__(self, live: Live, host: str = "127.0.0.1", port: int = 0) -> None:
        self.live, self.token = live, secrets.token_urlsafe(16)
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            words = f"cannot listen there ({error.strerror}); give another --host or --port"
            raise UserError(f"{host}:{port}: {words}") from error
        self.host = host if host != ANY else socket.gethostname()
        own = {*_own_names(), "localhost", "127.0.0.1"} if host == ANY else {host, "localhost"}
        self.names = {f"{name}:{self.server_port}" for name in own}

    @property
    def address(self) -> str:
        """Return the address of the page, with its token."""
        return f"http://{self.host}:{self.server_port}/{self.token}/"


def _own_names() -> set[str]:
    """Return the names and addresses of this machine."""
    name = socket.gethostname()
    with suppress(OSError):  # a machine whose name has no address
        return {name, socket.getfqdn(), *socket.gethostbyname_ex(name)[2]}
    return {name}


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "titans-lab", ""

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.names:
            self._answer(HTTPStatus.FORBIDDEN, TEXT, b"the Host header names another server")
            return
        _, token, *rest = f"{self.path}/".split("/")
        found = self._contents().get("/".join(rest).rstrip("/"))
        if found is None or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._answer(HTTPStatus.NOT_FOUND, TEXT, b"no such page; the address has a token")
            return
        kind, content = found
        self._answer(HTTPStatus.OK, kind, content())

    do_HEAD = do_GET

    def _contents(self) -> dict[str, tuple[str, Callable[[], bytes]]]:
        live = self.server.live
        return {
            "": (HTML, PAGE.read_bytes),
            "status.json": (JSON, lambda: json.dumps(live.status(), allow_nan=False).encode()),
            "report.html": (HTML, lambda: live.report().encode(errors="replace")),
        }

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: the terminal is the user's."""
