"""Real tables on disk, written by the libraries that people write them with."""

from __future__ import annotations

import json
import string
import struct
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import (
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record
from pyroaring import BitMap


def to_delta(rows: pl.DataFrame, path: Path, **options: Any) -> DeltaTable:
    """Append rows to a table, which is made at the first ones."""
    write_deltalake(path, rows, mode="append", **options)
    return DeltaTable(path)


def catalog(folder: Path) -> Catalog:
    """Return a catalog below a folder, in SQLite."""
    folder.mkdir(exist_ok=True, parents=True)
    return load_catalog("lake", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=str(folder))


def to_iceberg(rows: pl.DataFrame, path: Path, **options: Any) -> Table:
    """Append rows to a table at a path, which is made at the first ones.

    Its folder says which metadata is the newest, as tables without a catalog do.
    """
    found = catalog(path.parent / "catalog")
    found.create_namespace_if_not_exists("shop")
    arrow = rows.to_arrow()
    table = found.create_table_if_not_exists(
        "shop.events", schema=arrow.schema, location=str(path), **options
    )
    table.append(arrow)
    return hinted(table, path)


def hinted(table: Table, path: Path) -> Table:
    """Write into a folder which metadata of it is the newest."""
    newest = Path(table.metadata_location.removeprefix("file://")).name
    (path / "metadata/version-hint.text").write_text(newest)
    return table


def delete_from_iceberg(table: Table, file: str, rows: list[int], path: Path) -> None:
    """Commit a file of deleted positions, which pyiceberg reads and does not write."""
    io, snapshot = table.io, table.current_snapshot()
    assert snapshot is not None
    deletes = f"{path}/data/deletes.parquet"
    pl.DataFrame({"file_path": [file] * len(rows), "pos": rows}).write_parquet(deletes)
    number, sequence = snapshot.snapshot_id + 1, table.metadata.next_sequence_number()
    data = IcebergFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=deletes,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows),
        file_size_in_bytes=Path(deletes).stat().st_size,
    )
    data.spec_id = table.spec().spec_id
    manifest = io.new_output(f"{path}/metadata/deletes.avro")
    with _Deletes(table.spec(), table.schema(), manifest, number, "null") as writer:
        entry = ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED, snapshot_id=number, data_file=data
        )
        writer.add_entry(entry)
    listed = io.new_output(f"{path}/metadata/snap-{number}.avro")
    with write_manifest_list(2, listed, number, snapshot.snapshot_id, sequence, "null") as out:
        out.add_manifests([*snapshot.manifests(io), writer.to_manifest_file()])
    made = Snapshot.model_validate(
        {
            "snapshot-id": number,
            "parent-snapshot-id": snapshot.snapshot_id,
            "sequence-number": sequence,
            "timestamp-ms": snapshot.timestamp_ms + 1,
            "manifest-list": listed.location,
            "summary": Summary(Operation.DELETE),
            "schema-id": table.schema().schema_id,
        }
    )
    reference = SetSnapshotRefUpdate.model_validate(
        {"ref-name": "main", "type": "branch", "snapshot-id": number}
    )
    table.catalog.commit_table(table, (), (AddSnapshotUpdate(snapshot=made), reference))
    hinted(table.refresh(), path)


class _Deletes(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return super()._meta | {"content": "deletes"}


def delete_from_delta(path: Path, file: str, rows: list[int]) -> None:
    """Commit a deletion vector for a file, which deltalake reads and does not write."""
    log = path / "_delta_log"
    newest = max(log.glob("*.json"))
    actions = [
        json.loads(line) for each in log.glob("*.json") for line in each.read_text().splitlines()
    ]
    added = next(of["add"] for of in actions if of.get("add", {}).get("path") == file)
    bits = BitMap(rows).serialize()
    raw = struct.pack("<IQI", _BITMAP_ARRAY, 1, 0) + bits
    vector = {"storageType": "i", "pathOrInlineDv": _z85(raw), "sizeInBytes": len(raw)}
    features = ["deletionVectors"]
    commit = [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
        },
        {"remove": {"path": file, "deletionTimestamp": 1, "dataChange": True}},
        {"add": {**added, "deletionVector": {**vector, "cardinality": len(rows)}}},
    ]
    name = f"{int(newest.stem) + 1:020}.json"
    (log / name).write_text("".join(f"{json.dumps(action)}\n" for action in commit))


_BITMAP_ARRAY: Final = 1_681_511_377
_DIGITS: Final = string.digits + string.ascii_letters + ".-:+=^!/*?&<>()[]{}@%$#"


def _z85(raw: bytes) -> str:
    raw += b"\0" * (-len(raw) % 4)
    text = ""
    for start in range(0, len(raw), 4):
        number = int.from_bytes(raw[start : start + 4], "big")
        text += "".join(_DIGITS[number // 85**place % 85] for place in range(4, -1, -1))
    return text
