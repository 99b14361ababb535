"""Where everything is kept and how it is published; knows no Dagster."""

from recsys_assets.config import is_object_url
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Store


def open_store(root: str) -> Store:
    """Return the store that a root stands for: a directory, or an s3://, gs:// or az:// URL."""
    if not is_object_url(root):
        return LocalStore(root)
    from recsys_assets.storage.objects import ObjectStore  # obstore takes 50 ms that many save

    return ObjectStore(root)
