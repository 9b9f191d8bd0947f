"""What is kept about where an experiment ran."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import otel_research as otr
from otel_research import environment, reported


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_password_with_slashes_is_hidden_too() -> None:
    """Base64 has them, and nobody encodes them."""
    shown = environment.without_secrets(["ls", "--store", "postgresql://u:p/w@a@host/db"])
    assert not any("p/w" in part or "w@a" in part for part in shown)
    assert shown[-1].endswith("@host/db")


def test_git_commit_branch_and_dirty_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit of the working directory, its branch, and whether anything was changed since."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.captured()["git"] is None
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment.captured()["git"] == {"commit": commit, "branch": "trunk", "is_dirty": False}
    (tmp_path / "a.txt").write_text("2")
    assert environment.captured()["git"] == {"commit": commit, "branch": "trunk", "is_dirty": True}


def test_a_machine_without_git_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be found out is None."""
    monkeypatch.setenv("PATH", "")
    assert environment.captured()["git"] is None


def test_python_packages_and_machine() -> None:
    """Python, every package with its version, OS, platform, CPU, cores, memory and container."""
    found = environment.captured()
    assert found["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert found["packages"]["opentelemetry-sdk"] == metadata.version("opentelemetry-sdk")
    assert (found["os"], found["pid"]) == (os.uname().sysname, os.getpid())
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert {"platform", "machine", "cpu", "container", "hostname", "executable"} <= found.keys()


@pytest.mark.parametrize(("mark", "kind"), [("/.dockerenv", "docker"), ("/run/.containerenv", "podman"), (None, None)])
def test_containers_are_recognised(monkeypatch: pytest.MonkeyPatch, mark: str | None, kind: str | None) -> None:
    """The usual marks of Docker and Podman; without any there is no container."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == mark)
    assert environment.captured()["container"] == kind


def test_kubernetes_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod without the marks of a container runtime is one by its variable."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert environment.captured()["container"] == "kubernetes"


@pytest.mark.parametrize(
    ("argument", "secret"),
    [
        ("--api-key=abc123", "abc123"),
        ("--apiKey=abc123", "abc123"),
        ("OPENAI_API_KEY=zzz999", "zzz999"),
        ("--db=postgresql://bob:hunter2@host/db", "hunter2"),
        ("redis://:hunter2@host", "hunter2"),
        ("https://host/path?model=x&api_key=qqq777", "qqq777"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("import os; key = 'sk-live-1234567890'", "sk-live-1234567890"),
        ("password = 'hunter2'", "hunter2"),
        ('{"token": "t0ps3cret"}', "t0ps3cret"),
        ("run with ghp_0123456789abcdef inside", "ghp_0123456789abcdef"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "eyJhbGciOiJIUzI1NiJ9"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_secrets_in_an_argument_are_hidden(argument: str, secret: str) -> None:
    """Values of secret-looking names, passwords in URLs and well-known kinds of keys never reach the record."""
    (shown,) = environment.without_secrets([argument])
    assert secret not in shown
    assert environment.HIDDEN in shown


@pytest.mark.parametrize("option", ["--token", "--api-key", "--password", "--auth-header", "--OPENAI_API_KEY"])
def test_a_secret_in_the_next_argument_is_hidden(option: str) -> None:
    """`--token X` hides X and nothing else."""
    assert environment.without_secrets(["a.py", option, "X", "Y"]) == ["a.py", option, environment.HIDDEN, "Y"]


@pytest.mark.parametrize(
    "arguments",
    [["--max-tokens", "256"], ["--tokenizer=gpt2"], ["--author", "me"], ["--monkey=banana"], ["--key-metric=f1"],
     ["--verbose", "--token"], ["model=sk-learn"], ["https://host/path?model=gpt-4"], ["prompt.txt", "--seed", "7"]],
    ids=" ".join,
)  # fmt: skip
def test_what_explains_a_result_stays(arguments: list[str]) -> None:
    """Settings that only resemble a secret are kept: they may be why two runs differ."""
    assert environment.without_secrets(arguments) == arguments


def test_the_environment_is_kept_with_the_experiment(disk_host: Any) -> None:
    """The record on disk has it, readable without this package."""
    import json

    with otr.experiment("where") as exp:
        pass
    path = disk_host.recorder.library.store.root / exp.id / "experiment.json"
    kept = json.loads(path.read_text())["environment"]
    assert kept["packages"] == environment.captured()["packages"]
    assert kept["command"] == environment.without_secrets(sys.orig_argv)
    assert exp.environment["cores"] == kept["cores"]


def test_a_checkout_that_is_not_installed_has_no_version_and_reports_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On PYTHONPATH alone there is nothing to ask for a version; that is said, and is no error."""
    real = metadata.version

    def version(name: str) -> str:
        if name == "otel-research":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert environment.installed_version() == "(not installed)"
    assert reported._software()["written by"].startswith("otel-research (not installed), polars ")
