"""Which text names which store; what other packages offer; what is never shown."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import otel_research as otr
from otel_research.cli import main
from otel_research.redaction import redacted
from otel_research.store.base import Store
from otel_research.store.urls import open_store
from otel_research.testing import StoreContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_store.py"
FACTORY = """

def by_url(url):
    return SqliteStore(Path(url.removeprefix("ownsqlite:")))
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers the store of examples/own_store.py as `ownsqlite:PATH`."""
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(EXAMPLE, site / "their_store.py")
    with (site / "their_store.py").open("a") as file:
        file.write(FACTORY)
    metadata = site / "their_store-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1.0\n")
    entries = "[otel_research.stores]\nownsqlite = their_store:by_url\nbroken = their_store:nothing\n"
    (metadata / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "their_store", raising=False)


class TestByEntryPoint(StoreContract):
    """A store of another package, opened by its URL, keeps what every store promises."""

    @pytest.fixture(autouse=True)
    def _installed(self, installed: None) -> None: ...

    def open_store(self, folder: Path) -> Store:
        return open_store(f"ownsqlite:{folder}/spans.db")


@pytest.mark.usefixtures("installed")
def test_it_works_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `configure`, and as `--store` of the commands."""
    monkeypatch.chdir(tmp_path)
    url = f"ownsqlite:{tmp_path}/spans.db"
    recorder = otr.configure(store=url)
    with otr.experiment("theirs") as exp, exp.trial(item="q"):
        pass
    assert recorder.flush().pending == 0
    recorder.close()
    assert open_store(url).scan(exp.id).collect().height == 1
    done = CliRunner().invoke(main, ["metrics", exp.id, "--unit", "trial", "--json", "--store", url])
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("installed")
def test_one_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """Which package, which object, what went wrong."""
    with pytest.raises(otr.ConfigurationError, match=r"'broken:' of their-store cannot be loaded .*AttributeError"):
        open_store("broken:x")


def test_an_unknown_one_is_told_from_the_known(tmp_path: Path) -> None:
    """With what is known, a guess, and without the password."""
    with pytest.raises(
        otr.ConfigurationError, match=r"known are disk:.*postgresql:.*Did you mean 'postgresql:"
    ) as told:
        open_store("postgrsql://me:s3cret@host/db?sslpassword=hid0en")
    assert "s3cret" not in str(told.value)
    assert "hid0en" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p%40ss@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d?password=x&sslmode=require", "postgresql://u@h/d?password=***&sslmode=require"),
        ("postgresql://u:p@h1,h2/d?sslpassword=y", "postgresql://u:***@h1,h2/d?sslpassword=***"),
        ("postgresql://u:p/w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@ss@h/d?x=1", "postgresql://u:***@h/d?x=1"),
        ("postgresql://u:a?b#c@h/d", "postgresql://u:***@h/d"),
        ("s3://b/p?aws_secret_access_key=x&region=r", "s3://b/p?aws_secret_access_key=***&region=r"),
        ("disk:/a:b@c", "disk:/a:b@c"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: Any) -> None:
    """Nor anything else that a URL hides."""
    assert redacted(url) == shown
