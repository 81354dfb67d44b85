"""The live page: read-only, for who knows the token, and kept up to date in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench

from titans_lab.errors import UserError
from titans_lab.launch import load
from titans_lab.report.images import BROWSERS
from titans_lab.serve import HEADERS, LiveServer
from titans_lab.serve.live import Live

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"none of {', '.join(BROWSERS)} is installed; CI must look at the page")
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    pytest.importorskip("playwright")
    return found


@pytest.fixture
def server(bench: Workbench) -> Iterator[LiveServer]:
    """The page on a study of two runs whose name and question have markup."""
    bench.study.write_text(bench.study.read_text().replace("Does it run?", json.dumps(MARKUP)))
    study = load(bench.study, ["seeds=2"])
    with LiveServer(Live(bench.store, study)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Answer = tuple[int, dict[str, str], bytes]


def ask(server: LiveServer, path: str, method: str = "GET", host: str | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read()


def test_only_who_knows_the_token_reads(server: LiveServer):
    assert server.server_address[0] == "127.0.0.1"
    own = f"/{server.token}/"
    assert len(server.token) >= 20
    assert ask(server, own)[0] == 200
    wrong = ("/", "/status.json", f"/{server.token[:-1]}/", "/x/report.html", f"{own}../status.json", f"{own}page.html")
    for path in (*wrong, f"{own}status.json?x", f"{own}%2e%2e/", "//", f"/%C3%A9/{server.token}"):
        assert ask(server, path)[0] == 404, path
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", "127.0.0.1:1", ""):
        assert ask(server, own, host=host or " ")[0] == 403, host
    assert ask(server, own, host=f"localhost:{server.server_port}")[0] == 200


def test_nothing_can_be_written_and_every_answer_has_the_policy(server: LiveServer):
    own = f"/{server.token}/"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(server, own, method)[0] == 501
    for path in (own, f"{own}status.json", f"{own}report.html", "/"):
        status, headers, body = ask(server, path, "HEAD")
        assert HEADERS.items() <= headers.items()
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert body == b""
        assert status in (200, 404)


def test_the_status_is_that_of_the_store(server: LiveServer, bench: Workbench):
    before = json.loads(ask(server, f"/{server.token}/status.json")[2])
    assert before["summary"] == "2 runs: 2 pending"
    assert before["question"] == MARKUP
    bench.sweep("seeds=2").run(lambda _: None)
    after = json.loads(ask(server, f"/{server.token}/status.json")[2])
    assert after["summary"] == "2 runs: 2 done"
    assert after["version"] != before["version"]
    losses = [f"{row['loss']:.4f}" for row in bench.ask("select loss from runs order by seed")]
    assert [row[after["columns"].index("loss")] for row in after["rows"]] == losses
    report = ask(server, f"/{server.token}/report.html")[2].decode()
    assert "2 runs: 2 done" in report
    assert "<img src=x" not in report


def test_a_whole_store_is_served_too_even_before_it_is_there(bench: Workbench):
    live = Live(bench.store)
    assert live.status()["summary"] == "no runs"
    assert "no such folder" in live.report()
    assert bench.call("sweep").returncode == 0
    assert live.status()["rows"][0][:2] == ["tiny", "1"]


def test_an_address_in_use_is_an_error_with_a_remedy(server: LiveServer, bench: Workbench):
    with pytest.raises(UserError, match="cannot listen there"):
        LiveServer(Live(bench.store), port=server.server_port)


def test_the_command_prints_the_address_and_ends_by_ctrl_c(bench: Workbench):
    process = bench.start("serve", "seeds=2")
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}status.json", timeout=60) as answer:
            assert json.load(answer)["title"] == "tiny--seeds-2"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_browser_follows_the_runs(server: LiveServer, bench: Workbench, browser: str):
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=FLAGS)
        page = chromium.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(server.address)
        until(page, "document.getElementById('summary').textContent === '2 runs: 2 pending'")
        assert page.inner_text("#question") == MARKUP
        bench.sweep("seeds=2").run(lambda _: None)
        until(page, "document.getElementById('summary').textContent === '2 runs: 2 done'")
        until(page, "document.getElementById('report').contentDocument?.body?.innerText.includes('2 runs: 2 done')")
        until(page, "document.getElementById('report').contentDocument?.documentElement.dataset.drawn !== undefined")
        assert page.locator("img[src=x]").count() == 0
        assert said == []
        server.shutdown()
        server.server_close()
        until(page, "document.getElementById('trouble').textContent.startsWith('The server does not answer')")
        chromium.close()


def until(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript; Playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + 90
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)
