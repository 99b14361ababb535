from __future__ import annotations

import re
from pathlib import Path

from recsys_assets import config


def test_each_module_imports_only_from_those_above_it() -> None:
    """In the order of the map that the package gives of itself."""
    order = re.findall(r"^    (\w+) ", config.__doc__ or "", re.MULTILINE)
    files = {path.stem: path for path in Path(config.__file__).parent.glob("*.py")}

    assert {"__init__", *order} == set(files)
    for number, module in enumerate(order):
        text = files[module].read_text(encoding="utf-8")
        imported = set(re.findall(r"recsys_assets\.config\.(\w+)", text))
        assert imported <= set(order[:number]), module
        assert not re.search(r"from recsys_assets\.config import|import recsys_assets", text)
