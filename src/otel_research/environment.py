"""Where an experiment ran: git, Python, packages, machine, command line without secrets."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_SECRET_NAME = re.compile(r"key|token|secret|passw|pwd|credential|auth|cookie|bearer", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"^(sk|pk|ghp|gho|xox[a-z]|hf|AKIA|eyJ)[-_A-Za-z0-9]{6,}|://[^/@\s]+:[^/@\s]+@")
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
        "packages": _packages(),
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
    """A command line whose secret-looking values are hidden: `--api-key=X`, `--token X`, `sk-...`, `user:pass@`."""
    shown: list[str] = []
    hides_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hides_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif equals and _SECRET_NAME.search(name):
            shown.append(f"{name}={HIDDEN}")
        elif _SECRET_VALUE.search(argument):
            shown.append(HIDDEN)
        else:
            shown.append(argument)
        hides_next = not equals and argument.startswith("-") and bool(_SECRET_NAME.search(argument))
    return shown


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


def _packages() -> dict[str, str]:
    found = {}
    for distribution in metadata.distributions():
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
