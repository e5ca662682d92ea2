"""Which of 200 new pictures was seen, by eight levels of blur and a model of the early visual system.

    sightwave run blur_evnet --subjects 01
    sightwave run blur_evnet:twelve --subjects 01
    sightwave run blur_evnet:evnet --subjects 01
    sightwave run blur_evnet:things-eeg2 --data DIR --clip openai/clip-vit-base-patch32 --subjects 01 --seeds 21-30

`multi_blur` with eight levels, to whose mixture the responses of EVNet's retina and primary visual cortex are added by
a learnt weight. ``twelve`` has all twelve levels, ``evnet`` no blur. The world, the split and the questions are those
of `nice`.

After "Brain-to-Image Retrieval and Reconstruction via Multimodal EEG Alignment" (https://arxiv.org/abs/2605.23996).
As there: levels, mixture, weights that start at 0.7 and 0.3, the encoder, a logit scale of 1, the last epoch.
Departures: EVNet's responses are averaged over places and mapped by a learnt linear map, where there they go through
four convolutions with random weights into CLIP; pictures go in as they are, in [0, 1]; a ViT instead of a ResNet-50
for CLIP; and on the phantom 60 epochs and batches of 256 instead of 200 and 1,024, and EVNet at 128 pixels.

Published (THINGS-EEG2, subject 01, ten seeds, last epoch): 86.3 % top-1 and 98.6 % top-5; twelve levels 85.1 %; with
one picture to each trial (Hungarian assignment, which looks at all test trials at once) 96.4 %. Ours on real data:
not measured. Phantom (the first command, seed 0): 24.9 % top-1 [22.7, 26.9] of 200 from single trials, 66.5 % [60.0,
73.0] from four, 85.5 % [80.0, 90.0] and 100 % top-5 [98.2, 100] from twenty; chance 0.5 % and 2.5 %; 100 s of
processor time. In the phantom world in which settings were chosen (seed 7, one subject, one training seed, 30 epochs,
20 repetitions): 79.5 % top-1 and 98.0 % top-5 of 200; without EVNet, and with twelve levels, 74.0 % and 96.5 %.
"""

from dataclasses import replace

from sightwave.recipe import Recipe, with_target
from sightwave.recipes import multi_blur, nice
from sightwave.recipes.things_eeg2 import GROUPS, on_real_files, variants_of
from sightwave.targets.base import Target
from sightwave.targets.evnet import EVNet
from sightwave.targets.fusion import Fusion, Mapped, blurred
from sightwave.targets.views import BLUR_LEVELS, BLUR_LEVELS_8


def mixture(levels: tuple[int, ...] = BLUR_LEVELS_8, *, size: int = 128) -> Target:
    """Mix levels of blur by dimension, then EVNet by one weight, and map the result.

    Parameters
    ----------
    levels : tuple of int
        Kernels of the blur; one alone is not mixed.
    size : int
        Pixels of EVNet's pictures; 128 is enough for the phantom's.
    """
    blur = Fusion(blurred(levels=levels)) if len(levels) > 1 else nice.image
    parts = (blur, EVNet(size=size, device="auto"))
    return Mapped(Fusion(parts, by="part", n_default=0, start=(0.7, 0.3)), hidden=768, dropout=0.85)


recipe = with_target(multi_blur.base, mixture())


def things_eeg2() -> Recipe:
    """Make the recipe for the real files, with the published sizes."""
    real = replace(multi_blur.base, stages=(replace(multi_blur.stage, epochs=200, batch_size=1024),))
    return on_real_files(with_target(real, mixture(size=224)), "openai/clip-vit-base-patch32")


variants = {
    "twelve": lambda: with_target(multi_blur.base, mixture(BLUR_LEVELS)),
    "evnet": lambda: with_target(multi_blur.base, mixture((1,))),
    **variants_of(recipe, things_eeg2),
}
groups = GROUPS
