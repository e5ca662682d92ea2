"""Write phantoms in the field's own layouts, so that readers can be proven on files that look like the real ones.

Everything they write is simulated; the file ``PHANTOM.txt`` beside it says so.
"""

from collections.abc import Callable

from sightwave.phantom.layouts.common import MARKER
from sightwave.phantom.layouts.cvpr40 import write_cvpr40
from sightwave.phantom.layouts.mss import write_mss
from sightwave.phantom.layouts.things_eeg2 import write_things_eeg2
from sightwave.phantom.layouts.things_raw import write_things_raw

LAYOUTS: dict[str, Callable[..., None]] = {
    "things-eeg2": write_things_eeg2, "things-eeg2-raw": write_things_raw, "mss": write_mss, "cvpr40": write_cvpr40,
}  # fmt: skip
"""Name of the data set that is imitated -> its writer; each takes ``out`` and, by name, ``subjects`` and ``seed``."""

SMALL: dict[str, dict[str, int]] = {
    "things-eeg2": {"n_concepts": 60, "n_test": 20, "test_repetitions": 20},
    "things-eeg2-raw": {"n_concepts": 20, "n_test": 10, "test_repetitions": 20},
    "mss": {"sessions": 5, "runs": 1, "per_class": 50},
    "cvpr40": {"n_classes": 10, "per_class": 20},
}
"""Options of each writer for a phantom of 50 to 180 MB per subject, made in seconds."""

__all__ = ["LAYOUTS", "MARKER", "SMALL", "write_cvpr40", "write_mss", "write_things_eeg2", "write_things_raw"]
