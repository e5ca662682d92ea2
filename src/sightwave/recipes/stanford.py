"""Which of six kinds of object was seen, on photographs that were never trained on: the Stanford object set, linear.

    sightwave fetch stanford --data DIR
    sightwave run stanford --data DIR

DIR holds ``S1.mat`` to ``S10.mat``. Each of 72 photographs was shown 72 times, in random order, so a split by trials
has the same photographs on both sides, and whoever recognises a photograph names its kind. Here three of the twelve
photographs of each kind are held out, drawn once. Each subject alone; single trials, and means of up to 12 repetitions.

Published: 40.7 % of six, chance 16.7 %, by trials, so with the same photographs in training (Kaneshiro et al. 2015,
https://doi.org/10.1371/journal.pone.0135697). Ours on real data: not measured.
"""

from functools import partial

from sightwave.datasets.phantom import Phantom
from sightwave.datasets.stanford import Stanford
from sightwave.decode.classify import Classify
from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Standardise
from sightwave.recipe import Recipe
from sightwave.splits import ByStimulus
from sightwave.targets.labels import Labels
from sightwave.train import Solve

recipe = Recipe(
    dataset=Stanford(),
    split=ByStimulus(test=0.25, val=0.0),
    steps=(Standardise(),),
    targets=(Labels(),),
    encoder=partial(TimeBins, n_bins=16),
    stages=(Solve(spaces=("label",), readout="logistic", C=0.01),),
    tasks=(Classify(),),
    repetitions=(1, 12),
    smoke=Phantom(n_train=6, n_test=2, train_repetitions=2, test_repetitions=2, n_subjects=2),
)
