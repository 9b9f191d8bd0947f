"""Two machines, as far as the network can tell: namespaces joined to this one by a bridge."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

HUB = "10.213.7.1"
"""This machine's address on the bridge."""


def ip(*words: str) -> None:
    """Run `ip`; one that fails says why."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def why_not() -> str | None:
    """Why there can be no namespaces here; None where there can."""
    if shutil.which("ip") is None:
        return "no `ip` here (package iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"otr-{uuid.uuid4().hex[:8]}"
    try:
        ip("netns", "add", probe)
        ip("netns", "delete", probe)
    except OSError as error:
        return str(error)
    return None


class Node:
    """One machine: its name, and its link, which can be cut."""

    def __init__(self, name: str, number: int, bridge: str) -> None:
        self.name = name
        self._link = f"{name}-l"
        ip("netns", "add", name)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", self._link, "master", bridge, "up")
        for words in (
            ("addr", "add", f"10.213.7.{number}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", name, *words)  # fmt: skip

    @property
    def prefix(self) -> list[str]:
        """Before a command, so that it runs there, with a host name of its own."""
        return [
            "ip",
            "netns",
            "exec",
            self.name,
            "unshare",
            "--uts",
            "sh",
            "-c",
            f'hostname {self.name}; exec "$@"',
            "-",
        ]

    def cut_off(self) -> None:
        """Nothing comes through any more."""
        ip("link", "set", self._link, "down")

    def bring_back(self) -> None:
        """The link is up again."""
        ip("link", "set", self._link, "up")

    def close(self) -> None:
        """Remove it, link and all."""
        ip("netns", "delete", self.name)


@contextmanager
def nodes(count: int) -> Iterator[list[Node]]:
    """So many machines on one bridge."""
    mark = uuid.uuid4().hex[:4]
    bridge = f"otr{mark}"
    made: list[Node] = []
    ip("link", "add", bridge, "type", "bridge")
    try:
        ip("addr", "add", f"{HUB}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number in range(count):
            made.append(Node(f"otr{mark}n{number}", number + 2, bridge))
        yield made
    finally:
        for node in made:
            node.close()
        ip("link", "delete", bridge)
