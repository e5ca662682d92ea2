"""The linear baseline: ridge regression from time-binned EEG to labels, CLIP images and captions.

    sightwave run ridge

The same data, split and questions as `demo`, with repetitions averaged in training, too. No gradient is needed, and
any decoder should have to beat it.

Published: nothing, the brain is simulated. Ours (phantom, subjects 01 and 02, 8 repetitions averaged): category
98.8 % [97.5, 99.8] of 20, image 25.5 % [20.8, 30.2] and caption 24.5 % [20.0, 29.5] of 200.
"""

from dataclasses import replace
from functools import partial

from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Average, Standardise, Whiten
from sightwave.recipes import demo
from sightwave.train import Solve

recipe = replace(
    demo.recipe,
    steps=(Whiten(), Average(), Standardise()),
    encoder=partial(TimeBins, n_bins=25),
    stages=(Solve(spaces=("label", demo.image.space, demo.caption.space)),),
)
