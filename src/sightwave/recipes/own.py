"""Your own recording, category by category: linear, honest, and fast.

    sightwave run own --data DIR

DIR holds `eeg.npy`, `trials.csv` and `info.json`, or an `-epo.fif` of MNE; `sightwave check DIR` says what is missing.
The split is the strictest that the recording allows: published parts, else leave one run out, else new stimuli.

Published: nothing. Ours: depends on your data; chance, interval and audit are printed beside the score.
"""

from dataclasses import replace
from functools import partial

from sightwave.datasets.own import Own
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Standardise
from sightwave.recipe import Recipe
from sightwave.splits import AsRecorded
from sightwave.targets.clip import ClipImage
from sightwave.targets.labels import Labels
from sightwave.train import Solve

recipe = Recipe(
    dataset=Own(),
    split=AsRecorded(),
    steps=(Standardise(),),
    targets=(Labels(),),
    encoder=partial(TimeBins, n_bins=20),
    stages=(Solve(spaces=("label",), readout="logistic", C=0.01),),
    tasks=(Classify(),),
    smoke=Phantom(n_train=6, n_test=2, train_repetitions=2, test_repetitions=2, n_subjects=2),
)


def images(model: str = "phantom") -> Recipe:
    """Make the retrieval variant: which of the test pictures was seen, in the space of a CLIP folder of yours."""
    target = ClipImage(model)
    return replace(recipe, targets=(target,), stages=(Solve(spaces=(target.space,)),), tasks=(Retrieve(target.space),))
