"""Galleries and metrics on features of real photographs: CLIP ViT-L/14 of the 200 test pictures of THINGS-EEG2."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sightwave.decode.base import Decoded
from sightwave.decode.retrieve import Retrieve
from sightwave.embeddings import Embeddings
from sightwave.reading.unpickle import load_pickle
from sightwave.stimuli import Stimuli

SPACE = "clip-image/vit-large-patch14"


@pytest.fixture(scope="module")
def things(shared):
    """Names, own features, features of other pictures of each concept, and VICE's behavioural dimensions."""
    folder = shared / "things_embeddings"
    if not folder.is_dir():
        pytest.skip("the stored features are not there")
    meta = load_pickle(folder / "things_eeg2_image_metadata.npy")
    names = [str(n) for n in np.asarray(meta["test_img_concepts_THINGS"])]
    own = np.load(folder / "nice_clip_vitl14" / "clip_feature_maps_test.npy").squeeze(1)
    centre = np.load(folder / "nice_clip_vitl14" / "center_clip.npy")
    vice = np.load(folder / "vice" / "final_embedding.npy")[[int(n[:5]) - 1 for n in names]]
    return names, own, centre, vice


def decoded(names, eeg, gallery):
    """Trials of which the EEG says this, and a gallery."""
    stimuli = Stimuli(pd.DataFrame({"label": names}, index=names))
    ids = stimuli.ids
    events = pd.DataFrame({"subject": "01", "trial": np.arange(len(ids)), "stimulus": ids})
    return Decoded({SPACE: Embeddings(eeg, ids, SPACE)}, {SPACE: Embeddings(gallery, ids, SPACE)}, stimuli, events)


def scores(names, eeg, gallery):
    task = Retrieve(SPACE)
    said = task.predict(decoded(names, eeg, gallery))
    return {m.__name__: m(said.scores, said.truth) for m in task.metrics}


def test_every_picture_finds_itself(things):
    names, own, _, _ = things
    assert set(scores(names, own, own).values()) == {1.0}  # recall@k, median rank, mean reciprocal rank


def test_a_picture_mostly_finds_other_pictures_of_its_concept_and_a_shuffled_one_nothing(things):
    names, own, centre, _ = things
    template = scores(names, own, centre)
    assert 0.7 < template["recall@1"] < 1  # the gallery that NICE was scored with is an easier question
    order = np.random.default_rng(0).permutation(200)
    assert scores(names, own[order], own)["recall@1"] < 0.05


@pytest.mark.parametrize(("which", "published"), [("own", 0.406), ("centre", 0.590)])
def test_likeness_in_clip_follows_likeness_to_people(things, which, published):
    names, own, centre, vice = things
    x = {"own": own, "centre": centre}[which]
    pairs = np.triu_indices(200, 1)
    space = Embeddings(x, np.array(names), SPACE)
    rsa = spearmanr(space.cosine(space)[pairs], (vice @ vice.T)[pairs]).statistic
    assert rsa == pytest.approx(published, abs=0.006)
    order = np.random.default_rng(1).permutation(200)
    assert abs(spearmanr(space.cosine(space)[pairs], (vice @ vice.T)[order][:, order][pairs]).statistic) < 0.06
