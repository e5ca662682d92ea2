"""NICE's encoder and objective on the phantom: temporal-spatial convolution, InfoNCE at a fixed scale of 14.29.

    sightwave run nice

After Song et al., ICLR 2024 (https://arxiv.org/abs/2308.13234). Departures: AdamW at 5e-4, the exact image as the
gallery, and the last epoch instead of one chosen on validation.

Published (THINGS-EEG2, 200-way, class-template gallery): 13.8 % top-1, 39.5 % top-5. Ours on real data: not measured.
"""

from dataclasses import replace
from functools import partial

from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.nice import TSConv
from sightwave.losses.contrastive import InfoNCE
from sightwave.recipes import demo, ridge
from sightwave.train import Stage

recipe = replace(
    demo.recipe,
    steps=ridge.recipe.steps,
    encoder=partial(TSConv, width=768),
    targets=(demo.image,),
    stages=(Stage(losses=(partial(InfoNCE, space=demo.image.space, scale="fixed"),), epochs=40, lr=5e-4),),
    tasks=(Retrieve(demo.image.space),),
)
