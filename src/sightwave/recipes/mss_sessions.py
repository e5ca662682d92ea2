"""Which of 20 categories was seen in a session that was left out, each in turn, within each subject of MSS: linear.

    sightwave run mss_sessions --data DIR --subjects 02,03

The same recordings as `mss`, and its cross-session protocol: a subject is trained on all sessions but one and tested on
that one, so it takes any subject with two sessions, and nothing chooses anything. Logistic regression on the mean of
each channel in 20 windows of 25 ms; its penalty is fixed and was not tuned on these data.

Published: nothing for this protocol; about 10 % within session, chance 5 %, by the hand-out of the course that uses the
data. Ours on real data: not measured. Phantom (``sightwave phantom write DIR --like mss --small``, subject 01, five
sessions of 100 trials): 6.8 % [4.7, 8.9], p = .036.
"""

from dataclasses import replace
from functools import partial

from sightwave.encoders.time_bins import TimeBins
from sightwave.preprocess import Standardise
from sightwave.recipes import mss
from sightwave.splits import LeaveOneSessionOut
from sightwave.train import Solve

recipe = replace(
    mss.recipe,
    split=LeaveOneSessionOut(),
    steps=(Standardise(),),
    encoder=partial(TimeBins, n_bins=20),
    stages=(Solve(spaces=("label",), readout="logistic", C=0.001),),
)
