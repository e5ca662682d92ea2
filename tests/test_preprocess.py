from dataclasses import replace

import mne
import numpy as np
import pytest

from sightwave.errors import DataError, RecipeError, UnknownName
from sightwave.phantom.head import CVPR128, POSTERIOR17, THINGS63
from sightwave.preprocess import (
    REGIONS,
    Average,
    Bandpass,
    Baseline,
    Crop,
    Notch,
    PickChannels,
    Resample,
    Standardise,
    Step,
    Whiten,
    base,
    region_of,
)
from sightwave.preprocess.covariance import inverse_root, mean_covariance
from sightwave.trials import Trials

EVERY_STEP = [
    Average(), Crop(0.0, 0.05), Baseline(0.0, 0.03), PickChannels(("E2",)), Standardise(), Whiten(), Notch((30.0,)),
    Bandpass(None, 30.0), Resample(50.0),
]  # fmt: skip
LEARN = [
    Standardise(), Whiten(), Whiten(over="time"), Whiten(over="epochs", shrinkage="oas"), Whiten(per=("session",)),
]  # fmt: skip


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


@pytest.mark.parametrize("step", LEARN, ids=str)
def test_what_a_step_learns_is_written_down(step, make_trials):
    trials = make_trials(n_repetitions=4)
    done = step.fit(trials[:10])(trials)
    assert done.history[0].fitted_on.tolist() == trials.events["trial"].tolist()[:10]
    assert done.unit == "z"


@pytest.mark.parametrize("step", LEARN, ids=str)
def test_a_step_learns_the_same_whatever_the_test_trials_are(step, make_trials):
    trials = make_trials(n_repetitions=6)
    loud = replace(trials, eeg=np.concatenate([trials.eeg[:24], trials.eeg[24:] * 100]))
    done, other = step.fit(trials[:24])(trials[:24]), step.fit(loud[:24])(loud[:24])
    np.testing.assert_array_equal(done.eeg, other.eeg)
    assert not np.array_equal(step.fit(loud)(loud[:24]).eeg, done.eeg)


@pytest.mark.parametrize("step", [*EVERY_STEP[1:], *LEARN], ids=str)
def test_a_memory_map_in_half_precision_is_worked_on_in_chunks_with_the_same_result(
    step, make_trials, tmp_path, monkeypatch
):
    trials = shifted(make_trials(n_repetitions=4), 1e5, 3.0)
    half = replace(trials, eeg=trials.eeg.astype(np.float16))
    np.save(tmp_path / "half.npy", half.eeg)
    mapped = replace(half, eeg=np.load(tmp_path / "half.npy", mmap_mode="r"))
    whole = step.fit(half)(half)
    monkeypatch.setattr(base, "CHUNK_SAMPLES", 70)  # two trials at a time
    np.testing.assert_allclose(step.fit(mapped)(mapped).eeg, whole.eeg, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step", LEARN, ids=str)
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
    matrix = step._matrices[()].astype(float)
    np.testing.assert_allclose(matrix @ sigma @ matrix.T, np.eye(4), atol=0.1)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-4)


def condition_covariance(trials: Trials, over: str) -> np.ndarray:
    """Mean over stimuli of numpy's own covariance, over the repetitions at each time or over each trial's samples."""
    found = []
    for rows in trials.events.groupby("stimulus").indices.values():
        own = trials.eeg[rows].astype(float)
        sets = [own[:, :, t] for t in range(own.shape[2])] if over == "time" else [x.T for x in own]
        found.append(np.mean([np.cov(s.T, bias=True) for s in sets], axis=0))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("over", ["time", "epochs"])
def test_the_covariance_of_the_published_forms_becomes_the_identity(over, noisy):
    trials, _ = noisy
    white = Whiten(over=over, shrinkage="none").fit(trials)(trials)
    np.testing.assert_allclose(condition_covariance(white, over), np.eye(4), atol=1e-5)


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", "oas"])
def test_shrunk_covariances_leave_the_noise_nearly_white(shrinkage, noisy):
    trials, _ = noisy
    white = Whiten(shrinkage=shrinkage).fit(trials)(trials)
    np.testing.assert_allclose(residual_covariance(white), np.eye(4), atol=0.05)


def test_as_published_two_repetitions_leave_noise_of_twice_the_variance(noisy):
    """The divisor is n, so the covariance of two repetitions is half of the noise's."""
    trials, _ = noisy
    two = trials[(trials.events.groupby("stimulus").cumcount() < 2).to_numpy()]
    white = Whiten(over="time").fit(two)(trials)
    np.testing.assert_allclose(residual_covariance(white).trace() / 4, 2, atol=0.2)


def test_each_session_is_whitened_by_its_own_noise(make_trials):
    trials = make_trials(n_sessions=2, n_repetitions=10, n_times=40)
    late = (trials.events["session"] == "2").to_numpy()
    trials = replace(trials, eeg=np.where(late[:, None, None], trials.eeg * 7, trials.eeg))
    white = Whiten(per=("subject", "session")).fit(trials)(trials)
    for part in (white[late], white[~late]):
        assert part.eeg.std() == pytest.approx(1, abs=0.05)
    with pytest.raises(RecipeError, match="fitted on no training trial of 01 2"):
        Whiten(per=("subject", "session")).fit(trials[~late])(trials)
    with pytest.raises(UnknownName, match="No column of events named 'sesion'"):
        Whiten(per=("sesion",)).fit(trials)


@pytest.mark.parametrize(("n", "n_channels"), [(2, 17), (4, 3), (20, 5), (100, 17)])
def test_covariances_are_shrunk_as_scikit_learn_does(n, n_channels):
    from sklearn.covariance import oas
    from sklearn.discriminant_analysis import _cov

    rng = np.random.default_rng(n)
    x = rng.normal(size=(6, n, n_channels)) @ rng.normal(size=(n_channels, n_channels)) * 1e-5 + 1e-3
    x[0, :, 0] = 5e-4  # a flat channel
    np.testing.assert_allclose(mean_covariance(x), np.mean([_cov(s, "auto") for s in x], 0), rtol=1e-6, atol=1e-18)
    np.testing.assert_allclose(
        mean_covariance(x, shrinkage="none"), np.mean([np.cov(s.T, bias=True) for s in x], 0), rtol=1e-6, atol=1e-18
    )
    scale = np.where(x.std(1) > 1e-12, x.std(1), 1)
    shrunk = [oas((s - s.mean(0)) / c)[0] * np.outer(c, c) for s, c in zip(x, scale, strict=True)]
    np.testing.assert_allclose(mean_covariance(x, shrinkage="oas"), np.mean(shrunk, 0), rtol=1e-6, atol=1e-15)


def test_a_covariance_without_an_inverse_is_refused():
    with pytest.raises(DataError, match="covariance is singular"):
        inverse_root(np.ones((2, 2)))


def test_names_of_whitening_are_checked(noisy):
    with pytest.raises(UnknownName, match="Did you mean 'epochs'"):
        Whiten(over="epoch")
    with pytest.raises(UnknownName, match="No shrinkage named 'lw'"):
        Whiten(shrinkage="lw")
    trials, _ = noisy
    once = trials[~trials.events["stimulus"].duplicated().to_numpy()]
    with pytest.raises(RecipeError, match="no training stimulus was shown twice"):
        Whiten(over="time").fit(once)


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


@pytest.fixture
def cap(make_trials):
    """Trials of all 128 electrodes that the phantom knows."""
    return replace(make_trials(n_channels=128), ch_names=CVPR128)


def test_the_posterior_region_is_the_17_channels_of_things_eeg2(make_trials):
    trials = replace(make_trials(n_channels=63), ch_names=THINGS63)
    done = PickChannels(regions=("posterior",))(trials)
    assert done.ch_names == POSTERIOR17
    np.testing.assert_array_equal(done.eeg, trials.eeg[:, [THINGS63.index(c) for c in POSTERIOR17]])


def test_every_electrode_of_the_10_05_system_lies_in_one_region(cap):
    parts = [PickChannels(regions=(r,))(cap).ch_names for r in REGIONS if r != "posterior"]
    assert sorted(c for part in parts for c in part) == sorted(CVPR128)
    assert {region_of(c) for c in ("POO1", "Iz", "OI2h", "O1")} == {"occipital"}
    assert {region_of(c) for c in ("M1", "A2", "EOG", "ECG1", "stim", "P", "17")} == {None}


def test_names_come_first_and_regions_in_the_order_of_the_data(cap):
    done = PickChannels(("Cz", "Oz"), regions=("occipital", "frontal"))(cap)
    assert done.ch_names[:2] == ("Cz", "Oz")
    assert list(done.ch_names[2:]) == [c for c in CVPR128 if region_of(c) in ("occipital", "frontal") and c != "Oz"]


def test_a_region_without_a_channel_is_refused_with_the_names_that_there_are(make_trials):
    with pytest.raises(RecipeError, match="no channel is occipital; the data have E1, E2, E3"):
        PickChannels(regions=("occipital",))(make_trials())
    with pytest.raises(UnknownName, match="Did you mean 'occipital'"):
        PickChannels(regions=("ocipital",))
    for wrong in ({}, {"names": "Oz"}, {"regions": "occipital"}):
        with pytest.raises(RecipeError, match="takes tuples of text"):
            PickChannels(**wrong)


# --- filters ------------------------------------------------------------------------------------------------------


def waves(make_trials, *parts: tuple[float, float], sfreq: float = 250.0, n_times: int = 500) -> Trials:
    """Every trial and channel holds sines of (frequency, amplitude), each of a phase of its own."""
    trials = make_trials(sfreq=sfreq, n_times=n_times, tmin=-0.2)
    phase = np.random.default_rng(0).uniform(0, 6.28, (len(parts), *trials.eeg.shape[:2], 1))
    t = np.arange(n_times) / sfreq
    eeg = sum(a * np.sin(2 * np.pi * f * t + p) for (f, a), p in zip(parts, phase, strict=True))
    return replace(trials, eeg=np.asarray(eeg, np.float32))


def amplitude(trials: Trials, f: float, *, skip: int = 0) -> np.ndarray:
    """Amplitude of the sine at ``f`` Hz in each trial and channel, without ``skip`` samples at either end."""
    eeg, t = trials.eeg.astype(float), np.arange(trials.eeg.shape[2]) / trials.sfreq
    cut = slice(skip, len(t) - skip)
    design = np.stack([np.cos(2 * np.pi * f * t[cut]), np.sin(2 * np.pi * f * t[cut])], 1)
    found = np.linalg.lstsq(design, eeg[..., cut].reshape(-1, design.shape[0]).T, rcond=None)[0]
    return np.hypot(*found)


@pytest.mark.parametrize("n_times", [500, 247])
def test_the_hum_vanishes_and_the_rest_stays(n_times, make_trials):
    """Also where the trial is no whole number of periods long."""
    hum, rest = (waves(make_trials, *p, n_times=n_times) for p in ([(50, 3e-5), (100, 1e-5)], [(10, 2e-5), (43, 1e-5)]))
    notch = Notch((50.0, 100.0))
    assert np.abs(notch(hum).eeg).max() < 1e-10
    np.testing.assert_allclose(amplitude(notch(rest), 10), 2e-5, rtol=0.01)
    both = replace(hum, eeg=hum.eeg + rest.eeg + np.float32(5e-4))
    np.testing.assert_allclose(notch(both).eeg, notch(rest).eeg + 5e-4, atol=2e-10)


def test_the_notch_leaves_a_constant_and_a_slope_alone(make_trials):
    trials = waves(make_trials, (50, 0.0), n_times=247)
    trials.eeg[:] = np.linspace(-1e-4, 3e-4, 247)
    np.testing.assert_allclose(Notch()(trials).eeg, trials.eeg, atol=1e-10)


@pytest.mark.parametrize("f", [0.5, 125.0, 200.0])
def test_a_hum_that_the_trials_cannot_hold_is_refused(f, make_trials):
    with pytest.raises(RecipeError, match="must lie between 1 Hz, two periods"):
        Notch((f,))(waves(make_trials, (10, 1e-5)))


@pytest.mark.parametrize(
    ("band", "kept", "lost"), [((4, 30), 11, (1, 60)), ((None, 30), 11, (60, 80)), ((4, None), 60, (0.5, 1))]
)
def test_the_band_stays_and_the_rest_goes(band, kept, lost, make_trials):
    step = Bandpass(*band)
    np.testing.assert_allclose(amplitude(step(waves(make_trials, (kept, 1e-5))), kept, skip=100), 1e-5, rtol=0.01)
    for f in lost:
        assert amplitude(step(waves(make_trials, (f, 1e-5))), f, skip=100).max() < 2e-7


def test_the_amplitude_is_halved_at_the_edge(make_trials):
    done = Bandpass(None, 30.0)(waves(make_trials, (30, 1e-5)))
    np.testing.assert_allclose(amplitude(done, 30, skip=100), 5e-6, rtol=0.01)


def test_a_band_pass_shifts_nothing_in_time(make_trials):
    trials = waves(make_trials, (10, 0.0), n_times=501)
    trials.eeg[..., 250] = 1e-5
    done = Bandpass(2.0, 40.0)(trials).eeg
    np.testing.assert_allclose(done, done[..., ::-1], atol=1e-9)
    assert (done.argmax(2) == 250).all()


def test_a_wave_that_is_longer_than_a_trial_is_refused_with_what_to_do(make_trials):
    trials = waves(make_trials, (10, 1e-5), n_times=250)
    with pytest.raises(RecipeError, match=r"one period of l_freq=0.1 Hz lasts 10 s, a trial 1 s.*Recording.filter"):
        Bandpass(0.1, 100.0)(trials)
    with pytest.raises(RecipeError, match="h_freq=125 Hz must be below 125 Hz"):
        Bandpass(1.0, 125.0)(trials)
    for wrong in ((None, None), (30.0, 4.0), (-1.0, 4.0)):
        with pytest.raises(RecipeError, match="one of them may be None"):
            Bandpass(*wrong)


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 500.0])
def test_resampling_keeps_a_sine_and_the_time_of_the_first_sample(sfreq, make_trials):
    trials = waves(make_trials, (11, 1e-5))
    done = Resample(sfreq)(trials)
    assert (done.sfreq, done.tmin, done.eeg.shape[2]) == (sfreq, trials.tmin, round(2 * sfreq))
    np.testing.assert_allclose(amplitude(done, 11, skip=round(0.2 * sfreq)), 1e-5, rtol=0.01)
    # same phase, so nothing moved
    fine, coarse = trials.eeg[..., 125:375:125], done.eeg[..., round(sfreq / 2) :: round(sfreq / 2)][..., :2]
    np.testing.assert_allclose(coarse, fine, atol=2e-8)


def test_resampling_removes_what_the_new_rate_cannot_hold(make_trials):
    done = Resample(100.0)(waves(make_trials, (80, 1e-5)))
    assert np.abs(done.eeg[..., 20:-20]).max() < 5e-7  # and not an alias at 20 Hz


@pytest.mark.parametrize(("old", "new", "n_times"), [(250, 100, 250), (1000, 100, 1001), (256, 250, 300)])
def test_resampling_puts_every_sample_in_its_place(old, new, n_times, make_trials):
    """MNE's default, by Fourier, moves the first two of these by up to 4 ms."""
    trials = replace(make_trials(sfreq=float(old), n_times=n_times), tmin=-50 / old)
    phase = np.random.default_rng(0).uniform(0, 6.28, (len(trials), 3, 1))
    trials = replace(trials, eeg=(1e-5 * np.sin(2 * np.pi * 11 * trials.times + phase)).astype(np.float32))
    done = Resample(float(new))(trials)
    exact = 1e-5 * np.sin(2 * np.pi * 11 * done.times + phase)
    inner = slice(12, -12)
    assert np.abs(done.eeg - exact)[..., inner].max() < 1e-7
    by_fourier = as_epochs(trials).resample(new, verbose="error").get_data(copy=False)
    late = np.abs(by_fourier - exact[..., : by_fourier.shape[2]])[..., inner].max()
    assert (late > 2e-6) == (old != 256)
    np.testing.assert_array_equal(Resample(float(old))(trials).eeg, trials.eeg)


def test_a_rate_that_leaves_nothing_is_refused(make_trials):
    with pytest.raises(RecipeError, match="leaves 1 sample of 10 at 100 Hz"):
        Resample(10.0)(make_trials())  # of 100 Hz
    with pytest.raises(RecipeError, match="above 0 Hz"):
        Resample(0.0)
    with pytest.raises(RecipeError, match="is no fraction of numbers up to 1000"):
        Resample(33.3333)(make_trials())


# --- averages -----------------------------------------------------------------------------------------------------


def test_averaging_is_for_training_only():
    assert [type(s).__name__ for s in EVERY_STEP if s.train_only] == ["Average"]


def test_averaging_groups_by_subject_and_stimulus(make_trials):
    done = Average()(make_trials(n_subjects=2, n_labels=2, n_per_label=3, n_repetitions=5))
    assert len(done) == 2 * 6
    assert set(done.events["n_averaged"]) == {5}
