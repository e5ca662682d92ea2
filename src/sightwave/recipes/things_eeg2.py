"""Which of 200 new pictures was seen, from real THINGS-EEG2: NICE's encoder and objective, in CLIP's image space.

    sightwave check DIR
    sightwave run things_eeg2 --data DIR --clip openai/clip-vit-large-patch14
    sightwave run things_eeg2 --data DIR --clip path/to/clip --subjects 01,08 --seeds 0-4

DIR holds the EEG in any of its four public layouts, and the pictures: ``training_images`` and ``test_images`` of the
data set's own collection (https://osf.io/y63gw), which no layout of the EEG brings along. ``--clip`` is a CLIP folder
or a hub name; left out, it is NICE's own, ViT-L/14, which is downloaded where there is network. Embedding 16,740
pictures takes minutes on a GPU and hours without; it is done once and kept in the cache. To try the recipe with neither
recordings nor weights (the phantom's CLIP knows the phantom's pictures, and no photographs)::

    sightwave phantom write DIR --like things-eeg2 --small
    sightwave run things_eeg2 --data DIR --clip phantom

The published split: 1,654 concepts to train on, 200 others to test. Each subject alone. The four repetitions of a
training picture are averaged; of a test picture 1, 2, 4, 10, 20, 40 and all (80) are, and each is scored. The last of
40 epochs, always: nothing is chosen on test trials, and there is no validation part to choose on. The gallery holds
the very pictures that were shown.

The layout "official" was whitened with the test trials, too. The audit finds that ("fitted") and stops; to run it all
the same, and marked, put two lines into a file: ``from sightwave.recipes import things_eeg2`` and
``recipe = things_eeg2.fitted()``. Or whiten the raw files by training trials: ``sightwave prepare things-eeg2``.

After Song et al., ICLR 2024 (https://arxiv.org/abs/2308.13234). Departures: channels are standardised, AdamW at 5e-4
with batches of 256, and the last epoch instead of the one with the best loss on 740 training pictures.

Published (mean of ten subjects): 13.8 % top-1 and 39.5 % top-5, against a gallery of class templates; 21.5 % and 51.6 %
against the very pictures, in Li et al. 2024 (https://arxiv.org/abs/2403.07721). Ours on real data: not measured.
Phantom (the last two commands, subject 01; 20 pictures to choose from, 20 repetitions): 55.0 % top-1 [30.0, 75.0],
chance 4.9 %; a toy of 600 training pictures, which tells that it runs and nothing of real data.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sightwave.datasets.phantom import Phantom
from sightwave.datasets.things_eeg2 import ThingsEeg2
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.nice import TSConv
from sightwave.losses.contrastive import InfoNCE
from sightwave.preprocess import Average, Standardise, Whiten
from sightwave.recipe import Recipe, with_clip
from sightwave.splits import LeaveOneSubjectOut, Published
from sightwave.targets.clip import ClipImage
from sightwave.train import Stage

image = ClipImage("openai/clip-vit-large-patch14", device="auto")

recipe = Recipe(
    dataset=ThingsEeg2(),
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(image,),
    encoder=partial(TSConv, width=768),
    stages=(Stage(losses=(partial(InfoNCE, space=image.space, scale="fixed"),), epochs=40, lr=5e-4),),
    tasks=(Retrieve(image.space),),
    repetitions=(1, 2, 4, 10, 20, 40, None),
    smoke=Phantom(n_train=6, n_test=2, train_repetitions=2, test_repetitions=4, sfreq=125.0, n_times=125),
)


def on_real_files(other: Recipe, clip: str = "openai/clip-vit-large-patch14") -> Recipe:
    """Make a recipe for the phantom one for the real files: their trials, repetitions and CLIP; the rest stays.

    Parameters
    ----------
    other : Recipe
        E.g. ``ubp.recipe``. Its steps stay but for whitening, which the files have behind them.
    clip : str
        As for `ClipImage`; ``--clip`` exchanges it again.
    """
    steps = tuple(step for step in other.steps if not isinstance(step, Whiten))
    real = replace(other, dataset=ThingsEeg2(), steps=steps, repetitions=recipe.repetitions, smoke=recipe.smoke)
    return with_clip(real, clip)


GROUPS = {"protocols": ("joint", "loso"), "things-eeg2": ("things-eeg2", "things-eeg2-joint", "things-eeg2-loso")}
"""Of `variants_of`: on the phantom, and on the real files."""


def variants_of(of: Recipe, real: Callable[[], Recipe]) -> dict[str, Callable[[], Recipe]]:
    """List a retrieval recipe's variants by data and by who is trained: each alone, all together, all but the tested.

    Parameters
    ----------
    of : Recipe
        On the phantom, each subject alone.
    real : callable
        Makes the recipe for the real files.
    """
    return {
        "joint": lambda: replace(of, split=Published(joint=True)),
        "loso": lambda: replace(of, split=LeaveOneSubjectOut(published=True)),
        "things-eeg2": real,
        "things-eeg2-joint": lambda: replace(real(), split=Published(joint=True)),
        "things-eeg2-loso": lambda: replace(real(), split=LeaveOneSubjectOut(published=True)),
    }


def fitted() -> Recipe:
    """Make the variant that runs on files whitened with the test trials, and carries the mark of that leak."""
    return replace(recipe, leaks=("fitted",))
