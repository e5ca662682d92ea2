"""Which of 20 categories was seen, from real MSS recordings at a picture per second: three sessions, one, and one.

    sightwave fetch mss --data DIR --subjects 02
    sightwave check DIR
    sightwave run mss --data DIR --subjects 02,03,05,09,14,15,17,19,20,23,24,26,28,29

DIR holds ds005589 or a part of it: ``..._task-lowSpeed_run-01_1000Hz.npy`` and its ``.json`` are enough. Sessions 01 to
03 train, 04 chooses the epoch, 05 tests. All subjects are trained together; the fourteen above have all five sessions,
and a subject without the fifth trains only. `mss_sessions` leaves out each session in turn instead, subject by subject.
Say ``--set unit=uV`` when the arrays are not in volts, which the publication does not tell; loading stops and says so.

EEGNet (Lawhern et al. 2018, https://arxiv.org/abs/1611.08024) on single trials at 250 Hz, 0 to 500 ms. Sessions draw
from the same 10,000 pictures, so some test pictures were trained on: the audit counts them and warns. Never split the
rapid task (rsvp) by trials: twenty pictures of a category follow each other there.

Published, same split, a public student project on thirteen of these subjects: 9.46 % (EEGNet), 8.73 % (MLP), 12.67 %
(two ATM models); chance 5 %. Ours on real data: not measured. Phantom (``sightwave phantom write DIR --like mss
--small``, subject 01): 5.0 % [2.0, 9.0], p = .59, nothing, for its three sessions have 100 trials each instead of 400.
"""

from functools import partial

from sightwave.datasets.mss import Mss
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.encoders.eegnet import EEGNet
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Resample, Standardise
from sightwave.recipe import Recipe
from sightwave.splits import BySession
from sightwave.targets.labels import Labels
from sightwave.train import Stage

recipe = Recipe(
    dataset=Mss(),
    # by MSS's names, and by those of the phantom that --smoke runs on
    split=BySession(val=("04", "4"), test=("05", "5"), joint=True),
    steps=(Resample(250.0), Standardise()),
    targets=(Labels(),),
    encoder=partial(EEGNet, kernel=125),
    stages=(Stage(losses=(CrossEntropy,), epochs=60, batch_size=128, keep="best", patience=15),),
    tasks=(Classify(),),
    smoke=Phantom(n_train=10, n_test=1, train_repetitions=5, test_repetitions=5, n_sessions=5, n_subjects=2),
)
