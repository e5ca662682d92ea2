"""Categories, images and captions from a phantom's EEG: the main job on the embedded default.

    sightwave run demo

Two phantom subjects see 1,200 training pictures four times and 200 new test pictures eight times. One encoder with
three heads, trained on single trials, aligns the EEG to category labels, to CLIP's image space and to its text space.

Published: nothing, the brain is simulated. Ours (phantom, subjects 01 and 02, seed 0, last epoch, 8 repetitions
averaged): category 99.0 % [98.0, 99.8] of 20, image 33.5 % [28.7, 38.2] and caption
35.0 % [30.2, 40.0] of 200; about a minute on two CPU cores. Settings were chosen in another phantom world (seed 7).
"""

from functools import partial

from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Standardise, Whiten
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.targets.labels import Labels
from sightwave.train import Stage

image, caption = ClipImage("phantom"), ClipText("phantom")

recipe = Recipe(
    dataset=Phantom(sfreq=125.0, n_times=125, test_repetitions=8, signal=1.0),
    split=Published(),
    steps=(Whiten(), Standardise()),
    targets=(Labels(), image, caption),
    encoder=partial(EEGProject, width=256),
    stages=(
        Stage(
            losses=(
                partial(InfoNCE, space=image.space),
                partial(InfoNCE, space=caption.space),
                partial(CrossEntropy, weight=0.5),
            ),
            epochs=12,
            schedule="cosine",
        ),
    ),
    tasks=(Classify(), Retrieve(image.space), Retrieve(caption.space)),
    repetitions=(1, None),
)
