"""Which of 200 new pictures was seen, by ATM-S: attention over electrodes, then NICE's convolutions.

    sightwave run atms --subjects 01
    sightwave run atms:legacy --subjects 01
    sightwave run atms:things-eeg2 --data DIR --clip laion/CLIP-ViT-H-14-laion2B-s32B-b79K

The world, the split and the questions are those of `nice`. ``legacy`` is the encoder as published, which hands the
subject's token on and drops the last electrode, and has no places for tokens; see `ATMS`.

After Li et al., NeurIPS 2024 (https://arxiv.org/abs/2403.07721). As there: a learnt logit scale that starts at 2.659
because its exponential was forgotten, the EEG not normalised, AdamW. Departures: averaged trials instead of single
ones, batches of 128 instead of 64, 5e-4 instead of 3e-4 and fewer epochs, for the time; no text in the loss (there 1 %
of it); a width of 256 on the phantom instead of 1,024; and the last epoch, where the best one was chosen on test.

Published (THINGS-EEG2, ten subjects, the best epoch on test): 28.5 % top-1, 60.4 % top-5; papers that copy it differ
by two points. Ours on real data: not measured. Phantom (the first command, seed 0): 21.0 % top-1 [18.5, 23.5] of 200
from single trials, 52.5 % [46.0, 59.5] from four, 71.0 % [65.0, 76.5] and 96.0 % top-5 [93.0, 98.5] from twenty;
chance 0.5 % and 2.5 %; 95 s of processor time.
"""

from dataclasses import replace
from functools import partial

from sightwave.encoders.atms import ATMS
from sightwave.losses.contrastive import InfoNCE
from sightwave.recipe import Recipe
from sightwave.recipes import nice
from sightwave.recipes.things_eeg2 import GROUPS, on_real_files, variants_of
from sightwave.train import Stage

habit = partial(InfoNCE, space=nice.image.space, scale="raw", normalise="target")

recipe = replace(
    nice.recipe,
    encoder=partial(ATMS, width=256),
    stages=(Stage(losses=(habit,), epochs=15, batch_size=128, lr=5e-4),),
)


def things_eeg2() -> Recipe:
    """Make the recipe for the real files, with the published width."""
    return on_real_files(replace(recipe, encoder=partial(ATMS, width=1024)), "laion/CLIP-ViT-H-14-laion2B-s32B-b79K")


variants = {
    "legacy": lambda: replace(recipe, encoder=partial(ATMS, width=256, legacy=True)),
    **variants_of(recipe, things_eeg2),
}
groups = GROUPS
