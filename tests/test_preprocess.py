from dataclasses import replace

import mne
import numpy as np
import pytest

from sightwave.errors import RecipeError, UnknownName
from sightwave.preprocess import Average, Baseline, Crop, PickChannels, Standardise, Step, Whiten
from sightwave.trials import Trials

EVERY_STEP = [Average(), Crop(0.0, 0.05), Baseline(0.0, 0.03), PickChannels(("E2",)), Standardise(), Whiten()]


def test_every_step_is_in_the_list():
    assert {type(s) for s in EVERY_STEP} == set(Step.__subclasses__())


@pytest.mark.parametrize("step", EVERY_STEP, ids=lambda s: type(s).__name__)
def test_every_step_leaves_its_input_alone_and_writes_itself_down(step, make_trials):
    trials = make_trials(n_repetitions=4)
    before = trials.eeg.copy()
    done = step.fit(trials)(trials)
    np.testing.assert_array_equal(trials.eeg, before)
    assert trials.history == ()
    assert [a.step for a in done.history] == [type(step).__name__]
    assert done.eeg.dtype == np.float32
    assert len(done.events) == len(done.eeg)


@pytest.mark.parametrize("step", EVERY_STEP[1:], ids=lambda s: type(s).__name__)  # an average is its company
def test_every_step_treats_a_trial_the_same_whatever_its_company(step, make_trials):
    trials = make_trials(n_repetitions=4)
    fitted = step.fit(trials)
    np.testing.assert_allclose(fitted(trials[3:5]).eeg, fitted(trials).eeg[3:5], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("step", [Standardise(), Whiten()], ids=lambda s: type(s).__name__)
def test_what_a_step_learns_is_written_down(step, make_trials):
    trials = make_trials(n_repetitions=4)
    done = step.fit(trials[:10])(trials)
    assert done.history[0].fitted_on.tolist() == trials.events["trial"].tolist()[:10]
    assert done.unit == "z"


@pytest.mark.parametrize("step", [Standardise(), Whiten()], ids=lambda s: type(s).__name__)
def test_a_step_that_was_not_fitted_says_so(step, make_trials):
    with pytest.raises(RecipeError, match="is not fitted"):
        step(make_trials())


def shifted(trials: Trials, factor: float, offset: float) -> Trials:
    return replace(trials, eeg=(trials.eeg * factor + offset).astype(np.float32))


def test_standardise_learns_from_training_alone(make_trials):
    train = make_trials(n_repetitions=10)
    test = shifted(make_trials(seed=1, n_repetitions=10), 3.0, 5e-5)
    step = Standardise().fit(train)
    z = step(train).eeg
    np.testing.assert_allclose(z.mean((0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std((0, 2)), 1, atol=1e-4)
    expected = (test.eeg - train.eeg.mean((0, 2), keepdims=True)) / train.eeg.std((0, 2), keepdims=True)
    np.testing.assert_allclose(step(test).eeg, expected, rtol=1e-4, atol=1e-4)
    assert step(test).eeg.std() > 2.5


def test_standardise_keeps_a_flat_channel_finite(make_trials):
    trials = make_trials()
    trials.eeg[:, 1] = 0
    z = Standardise().fit(trials)(trials).eeg
    assert np.isfinite(z).all()
    assert not z[:, 1].any()


def test_standardise_sums_single_precision_voltages_without_loss(make_trials):
    """An electrode's drift of a millivolt over ten microvolts of brain is ordinary."""
    trials = shifted(make_trials(n_labels=4, n_per_label=25, n_repetitions=20, n_times=50), 1.0, 1e-3)
    z = Standardise().fit(trials)(trials).eeg
    np.testing.assert_allclose(z.mean((0, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(z.std((0, 2)), 1, atol=1e-2)


@pytest.fixture(scope="module")
def noisy(make_trials):
    """Trials whose noise is known: evoked pattern per stimulus + noise mixed over channels."""
    trials = make_trials(n_labels=2, n_per_label=10, n_repetitions=20, n_channels=4, n_times=20, seed=3)
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4)) + 2 * np.eye(4)
    evoked = {s: rng.normal(0, 5e-5, (4, 20)) for s in trials.events["stimulus"].unique()}
    eeg = np.einsum("cd,ndt->nct", mixing, trials.eeg) + np.stack([evoked[s] for s in trials.events["stimulus"]])
    return replace(trials, eeg=eeg.astype(np.float32)), 1e-10 * mixing @ mixing.T


def residual_covariance(trials: Trials) -> np.ndarray:
    group = trials.events.groupby("stimulus").ngroup().to_numpy()
    means = np.stack([trials.eeg[group == g].mean(0) for g in range(group.max() + 1)])
    residual = trials.eeg - means[group]
    n = np.bincount(group)[0]
    return np.einsum("nct,ndt->cd", residual, residual) / (len(trials) * trials.eeg.shape[2]) * n / (n - 1)


def test_whitening_makes_the_noise_white(noisy):
    trials, _ = noisy
    white = Whiten().fit(trials)(trials)
    np.testing.assert_allclose(residual_covariance(white), np.eye(4), atol=0.05)


def test_the_whitening_matrix_is_the_inverse_root_of_the_true_noise(noisy):
    trials, sigma = noisy
    step = Whiten().fit(trials)
    whitened = step._matrix.astype(float) @ sigma @ step._matrix.T
    np.testing.assert_allclose(whitened, np.eye(4), atol=0.1)
    np.testing.assert_allclose(step._matrix, step._matrix.T, rtol=1e-4)


def test_whitening_learns_from_training_alone(noisy):
    trials, _ = noisy
    odd = np.arange(len(trials)) % 2 == 1
    alone = Whiten().fit(trials[odd])
    loud = replace(trials, eeg=np.where(odd[:, None, None], trials.eeg, trials.eeg * 100))
    np.testing.assert_array_equal(Whiten().fit(loud[odd])._matrix, alone._matrix)


def test_whitening_works_where_nothing_was_repeated(noisy):
    trials, _ = noisy
    once = trials[~trials.events["stimulus"].duplicated().to_numpy()]
    white = Whiten().fit(once)(once)
    assert np.isfinite(white.eeg).all()
    assert white.eeg.std() == pytest.approx(1, abs=0.3)


def test_whitening_one_trial_is_refused(make_trials):
    with pytest.raises(RecipeError, match="at least two training trials"):
        Whiten().fit(make_trials()[:1])


def test_crop_keeps_both_ends(make_trials):
    trials = make_trials(sfreq=100.0, tmin=-0.2, n_times=61)  # -0.2 ... 0.4 s
    done = Crop(0.0, 0.3)(trials)
    assert done.eeg.shape[2] == 31
    np.testing.assert_allclose(done.times[[0, -1]], [0.0, 0.3], atol=1e-9)
    np.testing.assert_array_equal(done.eeg, trials.eeg[:, :, 20:51])


@pytest.mark.parametrize("sfreq", [100.0, 250.0, 256.0, 1000.0])
def test_crop_and_mne_keep_the_same_samples(sfreq, make_trials):
    trials = make_trials(sfreq=sfreq, tmin=-round(0.1 * sfreq) / sfreq, n_times=int(sfreq * 0.5))
    epochs = as_epochs(trials).crop(0.0, 0.2)
    done = Crop(0.0, 0.2)(trials)
    np.testing.assert_allclose(done.times, epochs.times, atol=1e-9)
    np.testing.assert_array_equal(done.eeg, epochs.get_data(copy=False).astype(np.float32))


def test_an_empty_window_is_refused_with_the_times_that_there_are(make_trials):
    with pytest.raises(RecipeError, match=r"Crop\(1.0, 2.0\) leaves no sample; trials run from 0 to 0.09 s"):
        Crop(1.0, 2.0)(make_trials())
    with pytest.raises(RecipeError, match=r"Baseline\(None, -0.1\) holds no sample"):
        Baseline(None, -0.1)(make_trials())


def as_epochs(trials: Trials) -> mne.EpochsArray:
    info = mne.create_info(list(trials.ch_names), trials.sfreq, "eeg")
    return mne.EpochsArray(trials.eeg.astype(np.float64), info, tmin=trials.tmin, verbose="error")


@pytest.mark.parametrize("window", [(None, 0.0), (-0.1, 0.0), (0.0, None), (None, None), (-0.05, 0.1)])
def test_baseline_and_mne_agree(window, make_trials):
    trials = shifted(make_trials(tmin=-0.2, n_times=40), 1.0, 4e-5)
    expected = as_epochs(trials).apply_baseline(window, verbose="error").get_data(copy=False)
    done = Baseline(*window)(trials)
    np.testing.assert_allclose(done.eeg, expected, atol=2e-11)
    start, stop = (edge if given is None else given for given, edge in zip(window, (-1, 1), strict=True))
    keep = (trials.times >= start - 1e-9) & (trials.times <= stop + 1e-9)
    np.testing.assert_allclose(done.eeg[:, :, keep].mean(2), 0, atol=2e-11)


def test_channels_are_picked_by_name_in_the_order_given(make_trials):
    trials = make_trials(n_channels=3)
    done = PickChannels(("E3", "E1"))(trials)
    assert done.ch_names == ("E3", "E1")
    np.testing.assert_array_equal(done.eeg, trials.eeg[:, [2, 0]])


def test_a_channel_that_is_not_there_is_named(make_trials):
    with pytest.raises(UnknownName, match="No channel named 'E4'"):
        PickChannels(("E1", "E4"))(make_trials(n_channels=3))


def test_averaging_is_for_training_only():
    assert [type(s).__name__ for s in EVERY_STEP if s.train_only] == ["Average"]


def test_averaging_groups_by_subject_and_stimulus(make_trials):
    done = Average()(make_trials(n_subjects=2, n_labels=2, n_per_label=3, n_repetitions=5))
    assert len(done) == 2 * 6
    assert set(done.events["n_averaged"]) == {5}
