"""The real series of the study `time-series`: where they are, and where to get them.

None of them is part of the project. `SOURCES` says who publishes each, and under which name the
study looks for it, in the folder `series` of `--data-dir` or of MSAE_DATA_DIR, else in that folder
itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from msae_jax.errors import InputError

SOURCES = {
    "ecg5000": "UCR archive, ECG5000 (timeseriesclassification.com)",
    "ett": "ETTh1.csv of github.com/zhouhaoyi/ETDataset",
    "nab": "the data and the labels of github.com/numenta/NAB",
    "tsb_ad": "the results of github.com/TheDatumOrg/TSB-AD",
    "ucr_anomaly": "UCR anomaly archive of 2021",
    "tourism": "monthly Australian tourism, 228 months of 304 series",
    "aeon": "UCR archive: GunPoint, ItalyPowerDemand, ArrowHead",
}


def folder(data_dir: Path | None) -> Path:
    """Returns the folder that holds the folders of `SOURCES`.

    Raises:
      InputError: it is not there, or lacks one of them; the error names all that are missing.
    """
    root = data_dir or os.environ.get("MSAE_DATA_DIR")
    if root is None:
        raise InputError(
            "the study time-series needs real series, which cannot be shipped: name the folder "
            f"that holds them with --data-dir or MSAE_DATA_DIR; it looks for {_listed(SOURCES)}."
        )
    below = Path(root) / "series"
    found = below if below.is_dir() else Path(root)
    missing = [name for name in SOURCES if not (found / name).is_dir()]
    if missing:
        raise InputError(f"{found} lacks {_listed(missing)}: get them and put them there.")
    return found


def _listed(names: dict[str, str] | list[str]) -> str:
    return "; ".join(f"{name}/ ({SOURCES[name]})" for name in names)
