import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from sightwave.datasets.n170 import CHANNELS, N170
from sightwave.encoders.xdawn_tangent import XdawnTangent
from sightwave.errors import DataError, MissingFile, RecipeError, UnknownName
from sightwave.splits import LeaveOneRunOut

HEADER = f"timestamps,{','.join(CHANNELS)},Right AUX,Marker0"
PATH = "subject1/session1/data_2017-01-01-10.00.00.csv"


def lines(seed=0, n=2600, step=100):
    """One run: noise in microvolts, a marker every ``step`` samples."""
    rng = np.random.default_rng(seed)
    table = np.column_stack([np.arange(n) / 256, rng.normal(0, 15, (n, 5)), np.zeros(n)])
    at = np.arange(step, n, step)
    table[at, -1] = rng.permutation(np.arange(len(at)) % 2) + 1
    return [HEADER, *(",".join(f"{v:.4f}" for v in row[:-1]) + f",{row[-1]:.0f}" for row in table)]


def put(root, path=PATH, text=None):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(text if text is not None else lines()).encode()
    file.write_bytes(gzip.compress(body) if path.endswith(".gz") else body)
    return file


@pytest.fixture(scope="module")
def real(shared: Path) -> Path:
    if not (shared / "n170_muse").is_dir():
        pytest.skip("the N170 recordings are not there")
    return shared / "n170_muse"


# ---- made files


@pytest.mark.parametrize("place", ["data/visual/N170", "visual/N170", "N170", "."])
def test_the_folder_may_be_given_at_every_level(tmp_path, place):
    put(tmp_path / place)
    assert N170().subjects(tmp_path) == ("1",)


def test_microvolts_become_volts_and_markers_become_labels(tmp_path):
    put(tmp_path)
    trials, stimuli = N170().load(tmp_path, ("1",))
    assert trials.ch_names == CHANNELS
    assert 1e-6 < trials.eeg.std() < 2e-5
    assert sorted(trials.events["label"].unique()) == ["face", "house"]
    assert trials.events["onset"].iloc[0] == 100 / 256
    assert not trials.events["stimulus_known"].any()
    assert len(stimuli) == len(trials) == trials.events["stimulus"].nunique() == 23  # the last two leave the recording
    assert N170().left_out(tmp_path) == {PATH: "2 of 25 trials leave the recording"}


def test_a_copy_of_a_run_is_used_once_even_compressed_and_in_another_session(tmp_path):
    put(tmp_path)
    put(tmp_path, "subject1/session2/copy.csv.gz")
    trials, _ = N170().load(tmp_path, ("1",))
    assert trials.events["recording"].unique().tolist() == [PATH]
    assert N170().left_out(tmp_path)["subject1/session2/copy.csv.gz"].startswith(f"identical to {PATH}")


def test_a_run_without_markers_is_left_out_with_the_reason(tmp_path):
    put(tmp_path)
    put(tmp_path, "subject2/session1/a.csv", lines(seed=1, step=1000))
    assert N170().left_out(tmp_path)["subject2/session1/a.csv"] == "2 markers, at least 20 are needed"
    with pytest.raises(DataError, match=r"no usable run for subject\(s\) 2. Left out: subject2/session1/a.csv: 2 mark"):
        N170().load(tmp_path, ("2",))


def test_rejection_looks_at_voltage_and_tells_how_many(tmp_path):
    text = lines()
    for row in range(500, 510):  # a blink of 300 uV on one channel, near the markers at 300, 400 and 500
        text[row] = ",".join([*text[row].split(",")[:2], "300.0", *text[row].split(",")[3:]])
    put(tmp_path, text=text)
    assert len(N170(reject_uv=None).load(tmp_path, ("1",))[0]) == 23
    left = N170().left_out(tmp_path)[PATH]
    n = int(left.split("; ")[1].split()[0])
    assert 2 <= n <= 4
    assert left.endswith("of 25 trials exceed 100 uV peak to peak")
    assert len(N170().load(tmp_path, ("1",))[0]) == 23 - n


def spoil(row, column, cell):
    text = lines()
    cells = text[row].split(",")
    cells[column] = cell
    text[row] = ",".join(cells)
    return text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ([], "the file is empty"),
        ([HEADER], "no line below the names"),
        ([HEADER.replace("AF7", "F7"), *lines()[1:]], "line 1: no column 'AF7'; expected timestamps, TP9, AF7"),
        (spoil(7, 2, "12.x"), "line 8, column 'AF7': expected a number, got '12.x'"),
        (spoil(7, 4, ""), "line 8, column 'TP10': expected a number, got an empty cell"),
        (spoil(9, 6, "3"), r"line 10, column 'Marker0': expected 0, 1 \(house\) or 2 \(face\), got 3"),
        (lines()[::2], r"column 'timestamps' says .* Hz over 1300 lines; expected 256 Hz"),
        (spoil(3, 1, "inf"), "channel 'TP9' holds 1 sample.*the first at 0.008 s"),
    ],
)
def test_a_malformed_csv_is_refused_by_name(tmp_path, text, words):
    text = [HEADER, *text] if words.startswith("column 'timestamps'") and text[0] != HEADER else text
    put(tmp_path, text=text)
    with pytest.raises(DataError, match=rf"data_2017-01-01-10.00.00.csv: {words}"):
        N170().load(tmp_path, ("1",))


def test_no_folder_and_no_subject_are_told_apart(tmp_path):
    with pytest.raises(MissingFile, match="--data DIR"):
        N170().subjects(None)
    with pytest.raises(MissingFile, match=r"expected subject\*/session\*"):
        N170().subjects(tmp_path)
    put(tmp_path)
    with pytest.raises(UnknownName, match="No subject named '9'"):
        N170().load(tmp_path, ("9",))


# ---- the encoder


def erp(n=120, n_channels=6, n_times=60, seed=0):
    """Two classes that differ in the sign of an evoked wave on one spatial pattern."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    wave = np.outer(rng.normal(size=n_channels), np.sin(np.arange(n_times) / 6))
    mixing = rng.normal(size=(n_channels, n_channels))  # neighbours share noise, as on a head
    noise = mixing @ rng.normal(size=(n, n_channels, n_times))
    return noise + 0.6 * (2 * label - 1)[:, None, None] * wave, label


def encode(encoder, x):
    return encoder(torch.from_numpy(x.astype(np.float32)), torch.zeros(len(x), dtype=torch.long)).numpy()


def test_features_equal_those_of_pyriemann_given_the_same_baseline():
    from pyriemann.estimation import XdawnCovariances
    from pyriemann.tangentspace import TangentSpace
    from sklearn.covariance import oas

    x, y = erp()
    x = x.astype(np.float32)
    baseline = oas(np.concatenate(x[:80].astype(float), 1).T)[0]
    theirs = XdawnCovariances(2, estimator="oas", baseline_cov=baseline).fit(x[:80], y[:80])
    tangent = TangentSpace().fit(theirs.transform(x[:80]))
    encoder = XdawnTangent(6, 60, n_filters=2)
    encoder.solve(x[:80], y[:80])
    ours = encode(encoder, x[80:])
    assert ours.shape == (40, encoder.width)
    np.testing.assert_allclose(ours, tangent.transform(theirs.transform(x[80:])), atol=1e-4)


def test_solved_features_tell_the_classes_apart_and_unsolved_ones_do_not():
    from sklearn.linear_model import LogisticRegression

    x, y = erp()

    def accuracy(encoder):
        return LogisticRegression(max_iter=2000).fit(encode(encoder, x[:80]), y[:80]).score(
            encode(encoder, x[80:]), y[80:]
        )  # fmt: skip

    solved, unsolved = XdawnTangent(6, 60), XdawnTangent(6, 60)
    solved.solve(x[:80], y[:80])
    assert accuracy(solved) > 0.9
    assert accuracy(unsolved) < 0.7


def test_all_that_is_learnt_travels_in_the_state():
    x, y = erp(40)
    solved, fresh = XdawnTangent(6, 60), XdawnTangent(6, 60)
    solved.solve(x, y)
    assert not np.allclose(encode(solved, x), encode(fresh, x))
    fresh.load_state_dict(solved.state_dict())
    assert (encode(solved, x) == encode(fresh, x)).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_few_trials_of_many_average_referenced_channels_give_finite_features(scale):
    x, y = erp(4, n_channels=63, n_times=50)
    x = (x - x.mean(1, keepdims=True)) * scale
    encoder = XdawnTangent(63, 50, n_filters=4)
    encoder.solve(x, y)
    assert np.isfinite(encode(encoder, np.concatenate([x, 0 * x]))).all()


def test_a_class_without_a_trial_is_allowed_and_one_too_many_is_not():
    x, y = erp(20)
    encoder = XdawnTangent(6, 60, n_classes=3)
    encoder.solve(x, y)
    assert np.isfinite(encode(encoder, x)).all()
    with pytest.raises(RecipeError, match=r"built for 2 classes, and there are 3: partial\(XdawnTangent, n_classes=3"):
        XdawnTangent(6, 60).solve(x, y + 1)


# ---- the recordings themselves


def test_the_real_recordings_are_read_without_their_traps(real):
    dataset = N170(reject_uv=None)
    trials, _ = dataset.load(real, dataset.subjects(real))
    runs = trials.events.groupby("subject")["recording"].nunique()
    assert runs.to_dict() == {"1": 6, "10": 1, "11": 1, "2": 2, "3": 4}
    assert len(trials) == 1174 + 394 + 787 + 28 + 191
    left = dataset.left_out(real)
    whole = {k: v for k, v in left.items() if "trials" not in v}
    assert len(whole) == 5
    copy = "subject3/session2/data_2018-05-14-19.38.10.csv.gz"
    assert whole.pop(copy).startswith("identical to subject3/session1/data_2018-05-14-19.38.10.csv.gz")
    assert all("at least 20 are needed" in reason for reason in whole.values())


def test_faces_are_told_from_houses_in_real_eeg(real):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    trials, _ = N170().load(real, ("2",))
    areas = []
    for fold in LeaveOneRunOut()(trials):
        test = fold.test.break_seal(lambda _: None)
        y, truth = ((t.events["label"] == "face").to_numpy().astype(int) for t in (fold.train, test))
        encoder = XdawnTangent(*fold.train.eeg.shape[1:])
        encoder.solve(fold.train.eeg, y)
        readout = LogisticRegression(max_iter=2000).fit(encode(encoder, fold.train.eeg), y)
        areas.append(roc_auc_score(truth, readout.decision_function(encode(encoder, test.eeg))))
    assert np.mean(areas) > 0.632  # the reference figure for subject 2
