"""Hostile requests to the view of a running run: refused, logged, and without effect."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from agent.config.reading import UserError
from agent.record.folder import write_status
from agent.record.safe_files import replace_text
from agent.steering.control_file import FILE, append
from agent.ui.view.process import ViewProcess
from agent.ui.view.site import FILES, LOG, RunSite
from agent.ui.web.access import Place, Tokens
from agent.ui.web.refusal_log import Refusals
from agent.ui.web.server import Links
from tests import faulty
from tests.faulty import cli
from tests.helpers.pages import ask, run_pages, served
from tests.helpers.runs import Work, mean_score, recorded, until
from tests.helpers.searches import config_data_of_a_run

PAUSE = {"id": "0123456789abcdef", "tell": {"pause": True}}
Answer = tuple[int, Any, dict[str, str]]


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Work, RunSite, Links]]:
    """A running run, and its pages."""
    with pytest.MonkeyPatch.context() as patch:
        # Beside it, other tests have devices of the same names at work.
        patch.setenv("STEDFAST_STATE", str(tmp_path_factory.mktemp("hostile-state")))
        work = Work(tmp_path_factory.mktemp("hostile"), live={"interval_s": 0.05}).start()
        until(lambda: work.progress.frames > 1)
    with run_pages(work.run) as (site, links):
        status, _, _ = ask(links, "/api/state")
        assert status == 200
        yield work, site, links
    append(work.run, {"stop": True})
    assert work.ended().status == "stopped"


def tell(links: Links, **more: Any) -> Answer:
    return ask(links, "/api/command", **({"method": "POST", "body": PAUSE} | more))


def told(links: Links, what: dict[str, Any]) -> Answer:
    return tell(links, body={"id": uuid4().hex, "tell": what})


def by_hand(links: Links, text: bytes) -> bytes:
    """Bytes as they are, and the answer to them."""
    host, _, port = links.control.split("//")[1].partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(text)
        connection.settimeout(20)
        answer = b""
        while b"\r\n" not in answer and (more := connection.recv(4096)):
            answer += more
    return answer


def raw(text: bytes) -> Callable[[Links], Answer]:
    def work(links: Links) -> Answer:
        answer = by_hand(links, text)
        return (int(answer.split(b" ")[1]) if answer else 400), {}, {}

    return work


def host_of(links: Links) -> str:
    return links.control.split("//")[1].partition("/")[0]


def read_token(links: Links) -> str:
    return links.read.partition("#")[2]


HOSTILE: dict[str, tuple[Callable[[Links], Answer], tuple[int, ...]]] = {
    "no token, state": (lambda s: ask(s, "/api/state", token=""), (401,)),
    "no token, frame": (lambda s: ask(s, "/api/frame/raw/0", token=""), (401,)),
    "no token, command": (lambda s: tell(s, token=""), (401,)),
    "wrong token": (lambda s: tell(s, token="A" * 32), (401,)),
    "half a token": (lambda s: tell(s, token=s.control.partition("#")[2][:-1]), (401,)),
    "endless token": (lambda s: ask(s, "/api/state", token="A" * 3000), (401,)),
    "token not of letters": (lambda s: ask(s, "/api/state", token="\u00ff\u00fe"), (400, 401)),
    "token in the address": (
        lambda s: ask(s, f"/api/state?token={s.control.partition('#')[2]}", token=""),
        (401,),
    ),
    "basic instead of bearer": (
        lambda s: ask(s, "/api/state", headers={"Authorization": "Basic YWRtaW46YWRtaW4="}),
        (401,),
    ),
    "read-only token, pause": (lambda s: tell(s, token=read_token(s)), (403,)),
    "read-only token, share": (lambda s: ask(s, "/api/share", token=read_token(s)), (403,)),
    "wrong origin": (lambda s: tell(s, headers={"Origin": "https://evil.example"}), (403,)),
    "no origin": (lambda s: tell(s, headers={"Origin": ""}), (403,)),
    "origin null": (lambda s: tell(s, headers={"Origin": "null"}), (403,)),
    "origin of another port": (
        lambda s: tell(s, headers={"Origin": f"http://{host_of(s)}1"}),
        (403,),
    ),
    "cross-site by its own word": (
        lambda s: tell(s, headers={"Sec-Fetch-Site": "cross-site"}),
        (403,),
    ),
    "rebound name": (
        lambda s: tell(s, headers={"Host": "evil.example", "Origin": "http://evil.example"}),
        (421,),
    ),
    "a port that is none": (lambda s: tell(s, headers={"Host": "localhost:80:evil"}), (421,)),
    "a name behind the port": (
        lambda s: ask(s, "/", headers={"Host": "localhost:80@evil"}),
        (421,),
    ),
    "an address with more": (lambda s: ask(s, "/", headers={"Host": "[::1]evil"}), (421,)),
    "two hosts": (
        raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
        (400, 421),
    ),
    "a form": (
        lambda s: tell(s, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        (415,),
    ),
    "plain text, as a form can": (
        lambda s: tell(s, headers={"Content-Type": "text/plain"}),
        (415,),
    ),
    "path traversal": (lambda s: ask(s, "/../config.yaml"), (404,)),
    "path traversal, escaped": (lambda s: ask(s, "/%2e%2e/%2e%2e/etc/passwd"), (404,)),
    "path traversal, in a frame": (lambda s: ask(s, "/api/frame/..%2f..%2fraw/0"), (404,)),
    "a file of the run": (lambda s: ask(s, "/ledger.sqlite"), (404,)),
    "a kind that is none": (lambda s: ask(s, "/api/frame/secret/0"), (404,)),
    "a frame that is none": (lambda s: ask(s, "/api/frame/raw/999999999"), (404,)),
    "a frame below 0": (lambda s: ask(s, "/api/frame/raw/-1"), (404,)),
    "contrast without end": (lambda s: ask(s, "/api/frame/raw/0?low=nan&high=inf"), (400,)),
    "after no number": (lambda s: ask(s, "/api/state?after=1e9"), (400,)),
    "huge body": (lambda s: tell(s, body=b"{" + b" " * 5_000_000 + b"}"), (413,)),
    "huge body without a length": (
        lambda s: tell(
            s, headers={"Transfer-Encoding": "chunked"}, body=b"FFFFF\r\n" + b"x" * 99999
        ),
        (400, 408, 413),
    ),
    "no JSON": (lambda s: tell(s, body=b"{nonsense"), (400,)),
    "no object": (lambda s: tell(s, body=[1, 2]), (400,)),
    "braces without end": (lambda s: tell(s, body=b'{"id":' + b"[" * 8000), (400,)),
    "a key twice": (lambda s: tell(s, body=b'{"id":"0123456789","id":"1","tell":{}}'), (400,)),
    "a number that is none": (lambda s: tell(s, body=b'{"id":"0123456789","tell":NaN}'), (400,)),
    "no id": (lambda s: tell(s, body={"tell": {"pause": True}}), (400,)),
    "an id that is a path": (
        lambda s: tell(s, body={"id": "../../../../etc", "tell": {"pause": True}}),
        (400,),
    ),
    "a name with lines": (
        lambda s: tell(s, body=PAUSE | {"name": 'Ana\n{"stop": true}'}),
        (400,),
    ),
    "a key more": (lambda s: tell(s, body=PAUSE | {"by": "Ana"}), (400,)),
    "a stamp of its own": (lambda s: told(s, {"pause": True, "by": "Ana"}), (422,)),
    "a setting out of range": (lambda s: told(s, {"depletion_power": 1e6}), (422,)),
    "a setting below 0": (lambda s: told(s, {"excitation_power": -1}), (422,)),
    "a setting that is none": (lambda s: told(s, {"mirror_power": 1}), (422,)),
    "a setting that is text": (lambda s: told(s, {"depletion_power": "__import__('os')"}), (422,)),
    "a command that is none": (lambda s: told(s, {"pause": "yes"}), (422,)),
    "a filter that there is not": (lambda s: told(s, {"filter": "all"}), (422,)),
    "a command and a setting": (lambda s: told(s, {"stop": True, "depletion_power": 1}), (422,)),
    "nothing told": (lambda s: told(s, {}), (422,)),
    "another method": (lambda s: ask(s, "/api/command", method="DELETE"), (405,)),
    "a command by reading": (lambda s: ask(s, "/api/command?tell=pause"), (404, 405)),
    "a page that is written to": (lambda s: ask(s, "/", method="POST", body=PAUSE), (405,)),
    "a header without end": (lambda s: ask(s, "/", headers={"X-Long": "y" * 20_000}), (400,)),
    "no HTTP": (raw(b"\x16\x03\x01\x02\x00 hello\r\n\r\n"), (400,)),
    "a request within a request": (
        raw(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        ),
        (400, 405),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_logged_and_nothing_happens(
    at_work: tuple[Work, RunSite, Links], name: str
) -> None:
    work, site, links = at_work
    before = site.refusals.count
    request, statuses = HOSTILE[name]
    status, answer, _ = request(links)
    assert status in statuses, (status, answer)
    until(lambda: site.refusals.count > before)
    assert not (work.run / FILE).exists(), "something was told to the run"
    assert not work.progress.paused and work.thread.is_alive()
    last = (work.run / LOG).read_text(encoding="utf-8").splitlines()[-1]
    entry = json.loads(last)
    assert entry["why"] and 400 <= entry["status"] < 500
    assert site.tokens.control not in last and site.tokens.read not in last


@pytest.mark.slow
def test_a_replayed_command_is_refused_by_the_page_and_ignored_by_the_run(tmp_path: Path) -> None:
    work = Work(tmp_path, live={"interval_s": 0.05}).start()
    until(lambda: work.progress.frames > 1)
    body = {"id": "replayed-0001", "name": "Ana", "tell": {"pause": True}}
    with run_pages(work.run) as (_, links):
        assert tell(links, body=body)[0] == 200
        until(lambda: work.progress.paused)
        assert tell(links, body=body | {"tell": {"resume": True}})[0] == 409
        assert tell(links, body=body)[0] == 409
        assert tell(links, body=body | {"id": "replayed-0002", "tell": {"resume": True}})[0] == 200
        until(lambda: not work.progress.paused)
    # Another page of the same run, which has not seen the first id; and the file itself.
    with run_pages(work.run) as (_, links):
        assert tell(links, body=body)[0] in (200, 409, 422)
        append(work.run, {"id": "replayed-0001", "pause": True})
        append(work.run, {"stop": True, "id": "over-0001"})
        assert work.ended().status == "stopped"
    commands = recorded(work.run).commands
    assert [one["told"] for one in commands] == [
        {"pause": True},
        {"resume": True},
        {"stop": True},
    ]
    ignored = [fault["what"] for fault in recorded(work.run).faults]
    assert any("was told before" in what for what in ignored)


def test_a_page_brings_headers_that_forbid_it_everything_but_itself(
    at_work: tuple[Work, RunSite, Links],
) -> None:
    _, _, links = at_work
    for path in ("/", "/view.js", "/base.css", "/api/state"):
        status, _, headers = ask(links, path)
        assert status == 200
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert (
            headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
        )
    # Nothing of what is served is fetched from anywhere else.
    for path in FILES:
        _, body, _ = ask(links, path, token="")
        if path != "/icon.svg":  # whose name space is an address that nobody asks
            assert b"http://" not in body and b"https://" not in body, path
    assert links.control.startswith("http://127.0.0.1:")
    # The shell needs no token; it has none of the run's data in it.
    status, body, _ = ask(links, "/", token="")
    assert status == 200 and b"depletion" not in body


@pytest.mark.slow
def test_limits_hold_whatever_reaches_the_control_file(tmp_path: Path) -> None:
    """A program that writes into the folder needs no page; the microscope refuses nevertheless."""
    work = Work(tmp_path, live={"frames": 30, "interval_s": 0.03}).start()
    until(lambda: work.progress.frames > 1)
    for value in (1e9, -5, "NaN", [1, 2], None, True, {"between": [0, 1e9]}):
        append(work.run, {"depletion_power": value})
    assert work.ended().status == "completed"
    recording = recorded(work.run)
    assert {t.shot["settings"]["depletion_power"] for t in recording.taken.values()} == {100}
    assert len(recording.faults) == 7


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (Place("0.0.0.0"), ["--host 0.0.0.0", "--certificate", "--allow-plain"]),
        (Place("192.0.2.1"), ["--host 192.0.2.1", "TLS"]),
        (Place(certificate=Path("a.pem")), ["--key", "missing"]),
        (Place(certificate=Path("a.pem"), key=Path("b.pem")), ["--certificate a.pem", "no such"]),
        (Place(port=70_000), ["--port 70000", "65535"]),
    ],
    ids=str,
)
def test_where_it_may_not_be_served(tmp_path: Path, place: Place, named: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        RunSite(tmp_path, place)
    assert all(words in str(refused.value) for words in named), refused.value


def test_which_hosts_are_ours() -> None:
    local = Place()
    assert local.knows("127.0.0.1:8750") and local.knows("LOCALHOST") and local.knows("[::1]:80")
    assert not local.knows("evil.example") and not local.knows("") and not local.knows("10.0.0.7")
    abroad = Place("0.0.0.0", allow_plain=True).check()
    assert abroad.knows("10.0.0.7:8750") and not abroad.knows("evil.example:8750")


def test_tokens_differ_and_roles_with_them() -> None:
    one, other = Tokens(), Tokens()
    assert len({one.control, one.read, other.control, other.read}) == 4
    assert one.role(one.control) == "control" and one.role(one.read) == "read"
    assert one.role(other.control) is None and one.role("") is None


def test_the_log_of_refusals_cannot_fill_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "view.log"
    file.write_text("x" * 1_999_900 + "\n", encoding="utf-8")
    refusals = Refusals(file)
    for _ in range(100):
        refusals.add(401, "somebody", "GET /" + "a" * 9999, "no\ntoken")
    assert file.stat().st_size < 2_001_000 and refusals.count == 100
    assert "is full" in file.read_text(encoding="utf-8").splitlines()[-1]


@pytest.mark.slow
def test_a_search_is_told_only_what_its_config_searches(tmp_path: Path) -> None:
    data = config_data_of_a_run()
    parts: dict[str, Any] = {name: data[name] for name in ("plan", "analysis", "optimize")}
    scope = {name: data["microscope"][name] for name in ("fields", "modes")}
    work = Work(tmp_path, session={"scorer": mean_score}, microscope=scope, **parts)
    with run_pages(work.run) as (_, links):
        work.start()
        until(lambda: work.progress.frames > 0)
        status, answer, _ = told(links, {"depletion_power": [50, 290]})
        assert status == 422 and "10 … 200" in answer["error"]
        status, answer, _ = told(links, {"finish": "now"})
        assert status == 422
        work.ended()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_other_machines_are_served_with_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)]
    made += ["-addext", "subjectAltName=DNS:localhost", "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    run = tmp_path / "run"
    run.mkdir()
    site = RunSite(run, Place("0.0.0.0", 0, certificate, key))
    with served(site) as links:
        assert links.control.startswith("https://")
        address, _, token = links.control.partition("/#")
        port = int(address.rpartition(":")[2])
        trusted = ssl.create_default_context(cafile=str(certificate))
        told = {"Authorization": f"Bearer {token}"}
        with closing(http.client.HTTPSConnection("localhost", port, context=trusted)) as asked:
            asked.request("GET", "/api/state", headers=told)
            assert asked.getresponse().status == 200
        plain = http.client.HTTPConnection("localhost", port, timeout=5)
        with closing(plain), pytest.raises((OSError, http.client.HTTPException)):
            plain.request("GET", "/api/state", headers=told)
            plain.getresponse()
    key.write_text("nonsense", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be used"):
        RunSite(run, Place("0.0.0.0", 0, certificate, key))


@pytest.mark.slow
def test_a_run_with_a_view_prints_two_links_and_leaves_it_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[ViewProcess] = []

    class Remembered(ViewProcess):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            begun.append(self)

    monkeypatch.setattr("agent.ui.view.serve.ViewProcess", Remembered)
    config = faulty.write(tmp_path / "config.yaml", faulty.config(live={"frames": 3}))
    run = tmp_path / "run"
    view = ("--view", "--port", "0", "--no-open")
    try:
        code, _, err = cli(capsys, "run", config, "--out", run, *view)
        assert code == 0, err
        control, read = (line.rpartition(" ")[2] for line in err.splitlines()[:2])
        assert control != read and control.partition("#")[0] == read.partition("#")[0]
        # It outlives the run, and knows that it is over.
        for link, role in ((control, "control"), (read, "read")):
            status, state, _ = ask(link, "/api/state")
            assert status == 200 and (state["phase"], state["role"]) == ("completed", role)
            assert state["acquired"] == 3
        status, answer, _ = ask(control, "/api/command", method="POST", body=PAUSE)
        assert status == 422 and "complete" in answer["error"]
    finally:
        for beside in begun:
            beside.end()
    # A view that cannot be begun does not keep the run from being taken.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        view = ("--view", "--port", port, "--no-open")
        code, _, err = cli(capsys, "run", config, "--out", tmp_path / "other", *view)
    assert code == 0 and "the run continues without a page" in err and port in err


# ---------------------------------------------------------------------- connections, and the log


@pytest.mark.slow
def test_half_open_connections_hold_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As 1,100 of them once held every file descriptor of the view."""
    monkeypatch.setattr("agent.ui.web.doorway._SILENT_S", 1.0)
    work = Work(tmp_path, live={"frames": 1}).start()
    assert work.ended().status == "completed"
    held: list[socket.socket] = []
    with run_pages(work.run) as (site, links):
        port = int(host_of(links).partition(":")[2])
        for number in range(300):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
            if number % 2:
                held[-1].sendall(b"GET /api/state HTTP/1.1\r\nHost: localh")
        # Room is made for who asks something, though as many as are let in are there already.
        assert ask(links, "/api/state")[0] == 200
        assert site.connections <= 64
        until(lambda: site.connections == 0)
        assert ask(links, "/api/state")[0] == 200
    for one in held:
        one.close()
    lines = (work.run / LOG).read_text(encoding="utf-8").splitlines()
    assert any("asked nothing whole" in line for line in lines)
    assert any("more than 64 connections" in line for line in lines)


def test_a_page_that_is_looked_at_outlives_the_first_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.ui.web.doorway._SILENT_S", 0.2)
    work = Work(tmp_path, live={"frames": 1}).start()
    assert work.ended().status == "completed"
    with (
        run_pages(work.run) as (_, links),
        closing(http.client.HTTPConnection(host_of(links), timeout=20)) as kept,
    ):
        kept.request("GET", "/")
        first = kept.getresponse()
        assert first.status == 200 and first.read()
        used, port = kept.sock, int(host_of(links).partition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
            # By the time that this one is ended, a limit that held for all would have passed.
            assert silent.recv(1) == b""
        kept.request("GET", "/view.js")
        assert kept.getresponse().status == 200 and kept.sock is used


def test_the_log_takes_so_many_lines_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    # Not that of all modules, by which the pages of other threads would wait for ever.
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("agent.ui.web.refusal_log.time", clock)
    log = Refusals(tmp_path / "log")
    for _ in range(5000):
        log.add(401, "127.0.0.1", "GET /", "a token is needed")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert log.count == 5000 and len(lines) == 300
    now[0] += 61
    log.add(401, "127.0.0.1", "GET /", "a token is needed")
    last = json.loads((tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1])
    assert last["not_logged_before"] == 4700


def test_links_in_a_strangers_folder_are_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    for name in (LOG, FILE, "report.html.partial", "status.json.partial"):
        precious.write_text("mine", encoding="utf-8")
        link = tmp_path / name
        link.symlink_to(precious)
        if name == LOG:
            Refusals(link).add(401, "?", "GET /", "no token")
        elif name == FILE:
            with pytest.raises(UserError, match="link"):
                append(tmp_path, {"stop": True})
        elif name.startswith("report"):
            replace_text(tmp_path / "report.html", "a report")
            assert (tmp_path / "report.html").read_text(encoding="utf-8") == "a report"
        else:
            write_status(tmp_path, {"doing": "nothing"})
        assert precious.read_text(encoding="utf-8") == "mine", name


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes with names")
def test_a_pipe_in_place_of_the_log_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOG)
    Refusals(tmp_path / LOG).add(401, "?", "GET /", "no token")
