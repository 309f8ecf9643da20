"""Datasets: found, downloaded, drawn, or brought by the user; all in one form.

```python
from aelib import data

images = data.load("digits")
images.train.x  # float32 in [0, 1], (10000, 28, 28, 1)
images.train.y  # int64, (10000,)
```

Search order: the folder that `AELIB_DATA_DIR` names (nothing is ever written there), the data
folder of the checkout or else the user's cache folder, download. What is found is not
downloaded. `data/README.md` has the origin, licence and checksums of each dataset.
"""

from aelib.data import digits, faces
from aelib.data._load import Dataset, Split, fetch, load, load_or_embedded, names, status
from aelib.data._sources import Status
from aelib.data._store import CorruptFile, DatasetUnavailable

__all__ = [
    "CorruptFile",
    "Dataset",
    "DatasetUnavailable",
    "Split",
    "Status",
    "digits",
    "faces",
    "fetch",
    "load",
    "load_or_embedded",
    "names",
    "status",
]
