"""Which of 200 new pictures was seen, by NICE: temporal-spatial convolution, InfoNCE at a fixed scale of 14.29.

    sightwave run nice --subjects 01
    sightwave run nice:things-eeg2 --data DIR --clip openai/clip-vit-large-patch14

The first line runs on a phantom in the manner of THINGS-EEG2, with fewer concepts (200 to train on, ten pictures each;
200 others to test), fewer repetitions of test pictures (20) and half the samples. The same world, split and questions
serve `atms`, `ubp`, `multi_blur`, `blur_evnet`, `shallow` and `best`, so that their tables compare. The gallery holds
the very pictures that were shown; the last epoch, always. The second line is for the real files, see `things_eeg2`.

After Song et al., ICLR 2024 (https://arxiv.org/abs/2308.13234). Departures: AdamW at 5e-4 in batches of 256 instead of
Adam at 2e-4 in batches of 1,000, and the last epoch instead of the one with the best loss on 740 training pictures.

Published (THINGS-EEG2, ten subjects): 13.8 % top-1, 39.5 % top-5 against a gallery of class templates; 21.5 % and
51.6 % against the very pictures, in Li et al. 2024 (https://arxiv.org/abs/2403.07721). Ours on real data: not measured.
Phantom (the first command, seed 0): 9.6 % top-1 [8.4, 10.9] of 200 from single trials, 36.0 % [29.5, 42.5] from four,
69.0 % [63.0, 75.0] and 92.0 % top-5 [88.0, 95.5] from twenty; chance 0.5 % and 2.5 %; 67 s of processor time.
"""

from functools import partial

from sightwave.align import straight
from sightwave.datasets.phantom import Phantom
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.nice import TSConv
from sightwave.losses.contrastive import InfoNCE
from sightwave.preprocess import Average, Standardise, Whiten
from sightwave.recipe import Recipe
from sightwave.recipes.things_eeg2 import GROUPS, on_real_files, variants_of
from sightwave.splits import Published
from sightwave.targets.clip import ClipImage
from sightwave.train import Stage

image = ClipImage("phantom", device="auto")

recipe = Recipe(
    dataset=Phantom.like("things-eeg2", categories=200, test_repetitions=20, sfreq=125.0, n_times=125, n_subjects=3),
    split=Published(),
    steps=(Whiten(), Average(), Standardise()),
    targets=(image,),
    encoder=partial(TSConv, width=768, init_std=0.02),
    head=straight,
    stages=(Stage(losses=(partial(InfoNCE, space=image.space, scale="fixed"),), epochs=40, lr=5e-4),),
    tasks=tuple(Retrieve(image.space, mode=mode) for mode in ("exact", "csls", "assigned")),
    repetitions=(1, 2, 4, 8, None),
    smoke=Phantom(n_train=6, n_test=2, train_repetitions=2, test_repetitions=2, sfreq=125.0, n_times=125, n_subjects=2),
)

variants = variants_of(recipe, lambda: on_real_files(recipe))
groups = GROUPS
