"""Who may ask, what may be asked, and what every answer forbids the page."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any

import pytest
from stores import Made, Server

from otel_research.dashboard.comparing import MOST
from otel_research.dashboard.guard import LONGEST_QUERY, Guard, saved_token


def ask(
    server: Server, path: str, method: str = "GET", cookie: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """A request as it is, with the right cookie unless another is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    token = server.token if cookie is None else cookie
    given = {
        "Cookie": f"otel-research-{server.port}={token}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_the_printed_address_opens_and_hides_its_token(server: Server) -> None:
    """The token moves into a cookie that scripts and other sites do not get."""
    status, headers, _ = ask(server, f"/compare?baseline=a&token={server.token}&candidate=b", cookie="none")
    assert (status, headers["location"]) == (303, "/compare?baseline=a&candidate=b")
    assert all(word in headers["set-cookie"] for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert ask(server, "/")[0] == 200


@pytest.mark.parametrize("path", ["/", "/api/experiments", "/static/app.js", "/events?experiment=00000000", "/nowhere"])
def test_without_the_token_nothing_is_answered(server: Server, path: str) -> None:
    """Neither data nor pages nor whether there is such a page."""
    for cookie in ("", "x" * 32, server.token[:-1], server.token + "x"):
        assert ask(server, path, cookie=cookie)[0] == 401
    mark = "&" if "?" in path else "?"
    assert ask(server, f"{path}{mark}token=wrong", cookie="")[0] == 401
    assert ask(server, f"{path}{mark}token=wrong")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""]
)
def test_another_host_name_is_refused(server: Server, host: str) -> None:
    """A name that somebody points at loopback (DNS rebinding) does not open the dashboard."""
    assert ask(server, "/api/experiments", Host=host)[0] in (400, 421)
    assert ask(server, "/api/experiments", Host=f"localhost:{server.port}")[0] == 200


def test_other_origins_are_refused(server: Server) -> None:
    """A page elsewhere cannot read it, whatever it sends."""
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"https://127.0.0.1:{server.port}"},
                    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):  # fmt: skip
        assert ask(server, "/api/experiments", **headers)[0] == 403
    assert ask(server, "/api/experiments", Origin=f"http://127.0.0.1:{server.port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_reads(server: Server, method: str) -> None:
    """Whatever would change something is refused."""
    assert ask(server, "/api/experiments", method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/__init__.py",
        "/static/....//app.py",
        "/static/C:%5cwindows",
        "/../../etc/passwd",
        "/experiment/../../etc/passwd",
        "/api/experiments/..%2f..%2fetc/head",
        "/api/experiments/%00/head",
        "/api/experiments/ZZZZZZZZ/head",
        "/api/experiments/deadbeefdeadbeef/head",
        "/api/experiments/deadbeefdeadbeef/spans.csv",
        "/api/study/..%2f..%2f",
    ],
)
def test_nothing_outside_the_store_is_served(server: Server, path: str) -> None:
    """Traversal, odd ids, unknown ids: 400 or 404, and never a file."""
    status, _, body = ask(server, path)
    assert status in (400, 404)
    assert b"import" not in body
    assert b"root:" not in body


def test_sections_formats_and_sides_are_checked(server: Server, made: Made) -> None:
    """A wrong word gets the right ones, and no traceback."""
    base = f"/api/experiments/{made.ids['ablation']}"
    for path in (f"{base}/secrets", f"{base}/spans.exe", f"{base}/metrics?format=exe", "/api/experiments?format=../x", "/api/compare", "/api/compare?baseline=x&candidate=y",
                 f"{base}/trace/zz", f"{base}/trace/{'0' * 32}", "/events", "/events?experiment=../x"):  # fmt: skip
        status, _, body = ask(server, path)
        assert status in (400, 404), path
        assert b"Traceback" not in body


def test_candidates_beyond_the_most_are_refused_and_none_is_left_out(server: Server, made: Made) -> None:
    """What a comparison corrects for depends on how many there are."""
    one = made.ids["ablation"]
    query = "&".join([f"baseline={one}:baseline", *[f"candidate={one}:cot"] * (MOST + 1)])
    status, _, body = ask(server, f"/api/compare?{query}")
    assert (status, f"at most {MOST} candidates, these are {MOST + 1}".encode() in body) == (400, True)


def test_an_oversized_request_is_refused(server: Server) -> None:
    """A long query, a long path: 414, before anything looks at it."""
    assert ask(server, f"/?text={'x' * LONGEST_QUERY}")[0] == 414
    assert ask(server, f"/static/{'x' * 2000}")[0] == 414
    # Hung up on before the answer was read is refused as well.
    with contextlib.suppress(ConnectionError):
        assert ask(server, "/api/experiments", X_Long="x" * 200_000)[0] in (400, 431)
    assert ask(server, "/api/experiments")[0] == 200


def test_every_answer_forbids_foreign_scripts(server: Server) -> None:
    """Errors as well as pages: strict content security policy, no sniffing, no frames, no referrer."""
    for path, cookie in (
        ("/", None),
        ("/static/app.js", None),
        ("/api/experiments", None),
        ("/nowhere", None),
        ("/", "wrong"),
    ):
        _, headers, _ = ask(server, path, cookie=cookie)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_token_is_kept_for_its_user_alone(tmp_path: Any) -> None:
    """Made once, long, and not readable by others."""
    first = saved_token(tmp_path / "state")
    assert saved_token(tmp_path / "state") == first
    assert len(first) >= 32
    assert (tmp_path / "state" / "serve-token").stat().st_mode & 0o077 == 0
    assert saved_token(tmp_path / "other") != first


def test_it_listens_on_loopback_alone(server: Server) -> None:
    """Other addresses of the machine do not answer."""
    import psutil

    listening = [
        c.laddr for c in psutil.Process(server.process.pid).net_connections(kind="tcp") if c.status == "LISTEN"
    ]
    # gRPC writes the same address as IPv6 does.
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_server_for_every_address_answers_under_the_machines_names() -> None:
    """And for a proxy under the name that was allowed, whatever the proxy's port; under no other."""
    from otel_research.dashboard.server import _own_names

    names = _own_names("0.0.0.0")
    assert socket.gethostname().lower() in names
    assert _own_names("127.0.0.1") == ()
    assert _own_names("192.0.2.7") == ("192.0.2.7",)
    guard = Guard(lambda *_: None, token="t", hosts=names, port=80, named=("lab.example",))  # type: ignore[arg-type, return-value]

    def refused(host: str, origin: str | None = None) -> int | None:
        headers = [(b"host", host.encode()), (b"cookie", b"otel-research-80=t")]
        headers += [] if origin is None else [(b"origin", origin.encode())]
        scope = {"query_string": b"", "raw_path": b"/", "method": "GET", "headers": headers}
        answer = guard._refusal(scope)
        return None if answer is None else answer[0]

    assert refused(socket.gethostname()) is None
    assert refused("lab.example") is None
    assert refused("lab.example:8443", "https://lab.example:8443") is None
    assert refused("lab.example", "https://elsewhere.example") == 403
    assert refused("elsewhere.example") == 421
