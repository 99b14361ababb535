from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_CONFIG", raising=False)
    monkeypatch.delenv("RECSYS_ROOT", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "surfaces.yaml"
