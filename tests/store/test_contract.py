"""Every backend keeps the contract."""

from pathlib import Path

from otel_research.store.base import Store
from otel_research.store.disk import DiskStore
from otel_research.store.memory import MemoryStore
from otel_research.testing import StoreContract


class TestMemory(StoreContract):
    is_durable = False

    def open_store(self, folder: Path) -> Store:
        return MemoryStore()


class TestDisk(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return DiskStore(folder)
