"""The folder in which the command's tests work."""

import json
from pathlib import Path

import pytest
from tiny_notebooks import BEGIN, RESULTS, write_notebook


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder like a checkout, where `aelib` looks for its notebooks."""
    write_notebook(
        tmp_path / "notebooks" / "01_good.ipynb",
        BEGIN,
        "claims.claim('More is more', epochs, '>', 2, baseline=1, unit='epochs')\n"
        "claims.record('pca_sse_8', 29.4, unit='squared error')\n"
        "claims.record('own', rate, unit='share')",
    )
    return tmp_path


@pytest.fixture
def results(tmp_path):
    """The tracked folder of results: one file for each notebook."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "02_pca.json").write_text(json.dumps(RESULTS))
    return folder
