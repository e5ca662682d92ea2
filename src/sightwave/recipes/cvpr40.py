"""Not evidence: 40 classes from EEGCVPR40, whose block design lets a decoder of time score as high as one of pictures.

    sightwave audit cvpr40 --data DIR
    sightwave run cvpr40 --data DIR

DIR holds ``eeg_5_95_std.pth`` or another one of the files and ``block_splits_by_image_all.pth``; of several files, say
which: ``--set file=eeg_14_70_std.pth``. The published split, linear, single trials. It is here to be compared with what
was published, and to show the price.

All fifty pictures of a class were shown in one block, and there is one block per class and subject. EEG drifts, so
whoever knows the time knows the class; the published split has every block on both sides. The audit fails, this recipe
names the leak, and every table carries the mark LEAK.

An honest split of these data does not exist. Leaving out pictures leaves their block in training; leaving out a block
leaves out its class, for there is no second one; leaving out subjects is no cure either, as long as it is not known
that each of them saw the classes in another order, and the files hold no clock to tell. Li et al. (IEEE TPAMI
43(1):316-333, 2021, https://doi.org/10.1109/TPAMI.2020.2973153) recorded the same design with the pictures mixed, and
what had been above 80 % fell to chance.

Published: 82.9 % (Spampinato et al. 2017, https://arxiv.org/abs/1609.00344), and up to 98 % since. Ours on real data:
not measured. Phantom (``sightwave phantom write DIR --like cvpr40 --small``, subject 1): 96.7 % [90.0, 100.0] of 10
classes; and 93.3 % [83.3, 100.0] on a brain that holds nothing of the pictures (``write_cvpr40(..., signal=0.0)``).
"""

from functools import partial

from sightwave.datasets.cvpr40 import Cvpr40
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Standardise
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.targets.labels import Labels
from sightwave.train import Solve

recipe = Recipe(
    dataset=Cvpr40(),
    split=Published(),
    steps=(Standardise(),),
    targets=(Labels(),),
    encoder=partial(TimeBins, n_bins=5),
    stages=(Solve(spaces=("label",), readout="logistic", C=0.01),),
    tasks=(Classify(),),
    leaks=("block-design",),
    smoke=Phantom(
        n_train=6, n_test=2, train_repetitions=1, test_repetitions=1, n_sessions=1, order="blocked", n_subjects=2
    ),
)
