"""Where everything is kept and how it is published; knows no Dagster."""

from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Store


def open_store(root: str) -> Store:
    """Return the store that a root stands for."""
    return LocalStore(root)
