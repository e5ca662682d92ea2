"""Training: stages of gradient descent or of closed-form solving, one loop, resumable at any moment."""

from sightwave.train.cost import Cost, Meter, n_learning
from sightwave.train.loop import decode, fit
from sightwave.train.stacked import fit_stacked
from sightwave.train.stages import Solve, Stage, TrialSet

__all__ = ["Cost", "Meter", "Solve", "Stage", "TrialSet", "decode", "fit", "fit_stacked", "n_learning"]
