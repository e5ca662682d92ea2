"""The linear baseline: ridge regression from time-binned EEG to labels, CLIP images and captions.

    sightwave run ridge

The same data, split and questions as `demo`; no gradient, a second per subject. Any decoder should have to beat it.

Published: nothing, the brain is simulated. Ours: see the README's table.
"""

from dataclasses import replace
from functools import partial

from sightwave.encoders.time_bins import TimeBins
from sightwave.recipes import demo
from sightwave.train import Solve

recipe = replace(
    demo.recipe,
    encoder=partial(TimeBins, n_bins=25),
    stages=(Solve(spaces=("label", demo.image.space, demo.caption.space)),),
)
