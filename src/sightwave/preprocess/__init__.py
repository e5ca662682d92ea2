"""Preprocessing: steps that are fitted on the training part alone, and THINGS-EEG2 from its raw recordings.

A step acts on trials. What belongs on the continuous recording (a 0.1 Hz high-pass, say) is `Recording.filter`.
"""

from sightwave.preprocess.base import Step
from sightwave.preprocess.channels import REGIONS, PickChannels, region_of
from sightwave.preprocess.filters import Bandpass, Notch, Resample
from sightwave.preprocess.scale import Average, Standardise
from sightwave.preprocess.things_eeg2 import prepare_things_eeg2
from sightwave.preprocess.whiten import Whiten
from sightwave.preprocess.window import Baseline, Crop

__all__ = [
    "REGIONS",
    "Average",
    "Bandpass",
    "Baseline",
    "Crop",
    "Notch",
    "PickChannels",
    "Resample",
    "Standardise",
    "Step",
    "Whiten",
    "prepare_things_eeg2",
    "region_of",
]
