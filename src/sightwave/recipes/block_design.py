"""The trap: a block design with no picture signal at all, scored as the field has scored it.

    sightwave run block_design

Every category is shown in one block, the EEG drifts slowly, and single trials are drawn at random into train and
test. The brain holds nothing of the pictures (signal 0), yet the category "decodes". The audit fails this split; the
recipe names the leak, so that the fake score can be seen, marked as such.

Published: accuracies of 80-98 % on block-designed EEG (Li et al., IEEE TPAMI 43(1):316-333, 2020, explain them).
Ours (phantom, subject 01): 82.7 % of 20 under the random split; 6.1 % [3.3, 9.4], p = .23, on sessions left out whole.
"""

from functools import partial

from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Standardise
from sightwave.recipe import Recipe
from sightwave.splits import Shuffled
from sightwave.targets.labels import Labels
from sightwave.train import Solve

recipe = Recipe(
    dataset=Phantom(
        n_train=12,
        sfreq=125.0,
        n_times=125,
        n_test=1,
        train_repetitions=1,
        test_repetitions=1,
        n_sessions=1,
        signal=0.0,
        order="blocked",
        wander_uv=12.0,
    ),
    split=Shuffled(),
    steps=(Standardise(),),
    targets=(Labels(),),
    encoder=partial(TimeBins, n_bins=5),
    stages=(Solve(spaces=("label",), readout="logistic", C=0.01),),
    tasks=(Classify(),),
    leaks=("block-design",),
)
