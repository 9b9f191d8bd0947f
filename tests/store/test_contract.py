"""Every backend keeps the contract."""

from pathlib import Path

import pytest
from tests.conftest import new_database
from tests.servers import PostgresServer

from otel_research.store.base import Store
from otel_research.store.disk import DiskStore
from otel_research.store.memory import MemoryStore
from otel_research.store.postgres import PostgresStore
from otel_research.store.s3 import S3Store
from otel_research.testing import StoreContract


class TestMemory(StoreContract):
    is_durable = False

    def open_store(self, folder: Path) -> Store:
        return MemoryStore()


class TestDisk(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return DiskStore(folder)


class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_url: str) -> None:
        self.url = postgres_url

    def open_store(self, folder: Path) -> Store:
        return PostgresStore(self.url)


class TestInstalledPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _database(self, installed_postgres_server: PostgresServer) -> None:
        self.url = new_database(installed_postgres_server)

    def open_store(self, folder: Path) -> Store:
        return PostgresStore(self.url)


class TestS3(StoreContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, s3_bucket: str) -> None:
        self.url = f"s3://{s3_bucket}/a prefix/of ours"

    def open_store(self, folder: Path) -> Store:
        return S3Store(self.url)
