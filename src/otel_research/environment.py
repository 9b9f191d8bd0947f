"""Where an experiment ran: git, Python, packages, machine, command line without secrets."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_SECRET_WORDS = frozenset(
    [
        "secret",
        "secrets",
        "password",
        "passwd",
        "passwords",
        "passphrase",
        "pwd",
        "pass",
        "credential",
        "credentials",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "token",
        "apikey",
        "accesskey",
        "dsn",
    ]
)
"""A name one of whose words is here names a secret; so does one that ends in "key" (`--api-key`, `OPENAI_API_KEY`)."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMED = re.compile(
    r"(?P<name>[A-Za-z][\w.-]*)(?P<between>['\"]?\s*[:=]\s*['\"]?(?:(?:[Bb]earer|[Bb]asic)\s+)?)"
    r"(?P<value>(?!//)[^\s&,;'\"]+)"
)
"""name=value and name: value, wherever in an argument: assignments, headers, queries of a URL, code after -c."""
_LOOKS_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[a-z]|hf|gsk|npm|pypi)[-_][-_A-Za-z0-9]{8,}"
    r"|AKIA[A-Z0-9]{12,}|AIza[-_A-Za-z0-9]{20,}|eyJ[-_A-Za-z0-9]{10,}\.[-_.A-Za-z0-9]+)"
)
_IN_URL = re.compile(r"(?<=://)[^/@:\s'\"]*:[^\s'\"]+(?=@)")
HIDDEN = "<hidden>"


def captured() -> dict[str, Any]:
    """Everything that may explain a difference between two runs, as JSON data.

    `git` (commit, branch, is_dirty), `python`, `packages` (name -> version), `platform`, `cpu`,
    `cores`, `memory_bytes`, `container`, `command`. What cannot be found out is None.
    """
    return {
        "git": _git(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "packages": dict(_packages(tuple(sys.path))),
        "os": platform.system(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "container": _container(),
        "hostname": platform.node() or None,
        "pid": os.getpid(),
        "command": without_secrets(sys.orig_argv),
    }


def without_secrets(arguments: list[str]) -> list[str]:
    """A command line whose secret-looking values are hidden: `--api-key=X`, `--token X`, `sk-...`, `user:pass@`.

    The rest of an argument stays, and so do numbers that only look the part (`--max-tokens 256`).
    """
    shown: list[str] = []
    hides_next = False
    for argument in arguments:
        shown.append(HIDDEN if hides_next and not argument.startswith("-") else _shown(argument))
        hides_next = argument.startswith("-") and "=" not in argument and _names_a_secret(argument)
    return shown


def _shown(argument: str) -> str:
    argument = _IN_URL.sub(HIDDEN, argument)
    argument = _NAMED.sub(_hidden_if_secret, argument)
    return _LOOKS_SECRET.sub(HIDDEN, argument)


def _hidden_if_secret(match: re.Match[str]) -> str:
    return match["name"] + match["between"] + HIDDEN if _names_a_secret(match["name"]) else match[0]


def _names_a_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or words[-1:] in (["key"], ["keys"])


def _git() -> dict[str, Any] | None:
    commit = _git_says("rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git_says("status", "--porcelain")
    return {
        "commit": commit,
        "branch": _git_says("rev-parse", "--abbrev-ref", "HEAD"),
        "is_dirty": None if changes is None else bool(changes),
    }


def _git_says(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def _packages(path: tuple[str, ...]) -> dict[str, str]:
    """Read once: it opens a file for every distribution, and an experiment may be as short as a function call."""
    found = {}
    for distribution in metadata.distributions(path=list(path)):
        name = distribution.metadata["Name"]
        if name:
            found[name.lower()] = distribution.version
    return dict(sorted(found.items()))


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _container() -> str | None:
    """The kind of container, where the usual marks of one are there."""
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    return None


def installed_version(distribution: str = "otel-research") -> str:
    """The version that is installed; "(not installed)" of a checkout that is only on the path."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def addresses() -> tuple[str, ...]:
    """The names and the addresses of this machine that are found without asking anybody; it may have others."""
    name = socket.gethostname()
    found = {name.lower(), socket.getfqdn().lower()}
    with contextlib.suppress(OSError):
        found |= {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(name, None)}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        # Sends nothing: the system only chooses the address that it would send from (RFC 5737 names nobody's).
        towards.connect(("192.0.2.1", 9))
        found.add(towards.getsockname()[0])
    return tuple(sorted(found))
