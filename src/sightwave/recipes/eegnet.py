"""EEGNet on the phantom's categories: the compact convolutional baseline of brain-computer interfaces.

    sightwave run eegnet

After Lawhern et al., J. Neural Eng. 2018 (https://arxiv.org/abs/1611.08024), on averaged training trials.

Published: nothing comparable. Ours: phantom only; real data not measured.
"""

from dataclasses import replace

from sightwave.decode.classify import Classify
from sightwave.encoders.eegnet import EEGNet
from sightwave.losses.labels import CrossEntropy
from sightwave.recipes import demo, ridge
from sightwave.targets.labels import Labels
from sightwave.train import Stage

recipe = replace(
    demo.recipe,
    steps=ridge.recipe.steps,
    encoder=EEGNet,
    targets=(Labels(),),
    stages=(Stage(losses=(CrossEntropy,), epochs=30, batch_size=64),),
    tasks=(Classify(),),
)
