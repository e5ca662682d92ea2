"""ThoughtViz and the Stanford object set, on files that are written here in their published layouts."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sightwave.datasets.stanford import CATEGORIES, Stanford
from sightwave.datasets.thoughtviz import CLASSES, ThoughtViz
from sightwave.errors import DataError, MissingFile, RecipeError, ShapeError, UnitError, UnknownName
from sightwave.judge.audit import audit
from sightwave.reading.montage import EMOTIV14
from sightwave.splits import ByStimulus, Published, Shuffled


def windows(n_train: int = 40, n_test: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    content = {}
    for part, n in (("train", n_train), ("test", n_test)):
        content[f"x_{part}"] = rng.normal(0, 1, (n, 14, 32, 1))
        content[f"y_{part}"] = np.eye(10)[np.arange(n) % 10]
    return content


def write_thoughtviz(root: Path, content: dict, kind: str = "image", protocol: int = 2) -> Path:
    path = root / "eeg" / kind / "data.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_stanford(path: Path, *, form: str = "X_3D", seed: int = 1, repetitions: int = 2, **change: object) -> dict:
    rng = np.random.default_rng(seed)
    picture = rng.permutation(np.repeat(np.arange(1, 73), repetitions))
    category = (picture - 1) // 12 + 1
    n_times = 32 if form == "X_3D" else 40
    eeg = rng.normal(0, 8, (124, n_times, len(picture)))
    if form == "X_3D":
        content = {form: eeg, "categoryLabels": category, "exemplarLabels": picture, "Fs": 62.5, "T": 5.0}
    else:
        t = np.arange(-112, 513, 16.0)
        content = {
            form: eeg,
            "labels6": category[:, None],
            "labels72": picture[:, None],
            "fs": 62.5,
            "t": t,
            "subID": "06",
        }
    content |= change
    savemat(path, {k: v for k, v in content.items() if v is not None})
    return content


# ---- ThoughtViz


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", CLASSES)
def test_windows_come_back_with_their_class_and_part(tmp_path, kind, protocol):
    content = windows()
    write_thoughtviz(tmp_path, content, kind, protocol)
    dataset = ThoughtViz(kind=kind)
    trials, stimuli = dataset.load(tmp_path, dataset.subjects(tmp_path))
    assert trials.eeg.shape == (60, 14, 32)
    np.testing.assert_allclose(trials.eeg[41], content["x_test"][1, :, :, 0], rtol=1e-6)
    assert trials.events["label"].tolist() == [CLASSES[kind][i % 10] for i in [*range(40), *range(20)]]
    assert trials.events["part"].value_counts().to_dict() == {"train": 40, "test": 20}
    assert (trials.unit, trials.sfreq, trials.ch_names[:2]) == ("z", 128.0, ("ch01", "ch02"))
    assert not trials.events["stimulus_known"].any()
    assert len(stimuli) == 60
    assert len(Published()(trials)[0].test) == 20


def test_channels_are_named_only_when_asked_to(tmp_path):
    write_thoughtviz(tmp_path / "data", windows())
    assert ThoughtViz(ch_names=EMOTIV14).load(tmp_path, ("pooled",))[0].ch_names == EMOTIV14
    with pytest.raises(RecipeError, match="must be 14 names, got 2"):
        ThoughtViz(ch_names=("O1", "O2"))


def test_folders_are_recognised_by_their_files(tmp_path):
    assert ThoughtViz.recognise(tmp_path) == Stanford.recognise(tmp_path) == ()
    write_thoughtviz(tmp_path / "data", windows(), "digit")
    write_thoughtviz(tmp_path, windows())
    assert ThoughtViz.recognise(tmp_path) == (ThoughtViz("image"), ThoughtViz("digit"))
    (tmp_path / "S03.mat").touch()
    assert Stanford.recognise(tmp_path) == (Stanford(),)
    assert [s.path for s in Stanford().sources()][::9] == ["S1.mat", "S10.mat"]


def test_volts_are_taken_for_volts(tmp_path):
    content = windows()
    content |= {k: v * 1e-5 for k, v in content.items() if k.startswith("x")}
    write_thoughtviz(tmp_path, content)
    assert ThoughtViz().load(tmp_path, ("pooled",))[0].unit == "V"


def test_it_says_loudly_what_the_file_does_not_tell(tmp_path):
    path = write_thoughtviz(tmp_path, windows())
    (text,) = ThoughtViz().left_out(tmp_path).values()
    assert "neighbours lie on both sides of every split" in text
    assert "overlap" not in text
    write_thoughtviz(tmp_path, windows(9000, 400))
    assert (
        "9,400 windows overlap, for 230 recordings of 10 s have 9,200 without"
        in ThoughtViz().left_out(tmp_path)[path.relative_to(tmp_path).as_posix()]
    )
    assert (ThoughtViz.__doc__ or "").startswith("WARNING")


def test_thoughtviz_refusals_name_file_and_field(tmp_path):
    with pytest.raises(MissingFile, match="--data DIR"):
        ThoughtViz().subjects(None)
    with pytest.raises(MissingFile, match=r"expected eeg/image/data\.pkl"):
        ThoughtViz().subjects(tmp_path)
    with pytest.raises(RecipeError, match=r"ThoughtViz\.kind must be one of image, digit, char"):
        ThoughtViz(kind="word")
    good = windows()
    write_thoughtviz(tmp_path, good)
    with pytest.raises(UnknownName, match="No subject named '01'"):
        ThoughtViz().load(tmp_path, ("01",))
    broken = {
        r"data\.pkl: expected a dict": [1, 2],
        r"data\.pkl: 'x_test' must be an array of numbers; the file holds x_train": {"x_train": good["x_train"]}
        | {"y_train": good["y_train"]},
        r"data\.pkl: 'y_train' must be \(40, 10\) with a single 1": good | {"y_train": good["y_test"]},
        r"'y_test' must be \(20, 10\) with a single 1": good | {"y_test": np.ones((20, 10))},
    }
    for text, content in broken.items():
        write_thoughtviz(tmp_path, content)
        with pytest.raises(DataError, match=text):
            ThoughtViz().load(tmp_path, ("pooled",))
    write_thoughtviz(tmp_path, good | {"x_train": good["x_train"].transpose(0, 2, 1, 3)})
    with pytest.raises(
        ShapeError, match=r"'x_train' must be \(n, 14, 32\) .* got \(40, 32, 14, 1\)\. The axes are swapped"
    ):
        ThoughtViz().load(tmp_path, ("pooled",))
    good["x_test"][3, 4, 5] = 1e300  # more than float32 holds
    write_thoughtviz(tmp_path, good)
    with pytest.raises(DataError, match=r"data\.pkl: eeg holds NaN or infinity in 1 of 60 trials"):
        ThoughtViz().load(tmp_path, ("pooled",))


# ---- Stanford


@pytest.mark.parametrize(("form", "name", "tmin"), [("X_3D", "S6.mat", 0.0), ("X", "S06.mat", -0.112)])
def test_both_forms_of_the_stanford_set_are_read(tmp_path, form, name, tmin):
    content = write_stanford(tmp_path / name, form=form)
    assert Stanford().subjects(tmp_path) == ("06",)
    trials, stimuli = Stanford().load(tmp_path, ("06",))
    n_times = content[form].shape[1]
    assert trials.eeg.shape == (144, 124, n_times)
    assert (trials.sfreq, trials.tmin, trials.unit) == (62.5, tmin, "V")
    np.testing.assert_allclose(trials.eeg[7], content[form][:, :, 7] * 1e-6, rtol=1e-5)
    assert len(stimuli) == 72
    assert trials.events["stimulus"].value_counts().tolist() == [2] * 72
    assert stimuli.table["label"].value_counts().to_dict() == dict.fromkeys(CATEGORIES, 12)
    assert stimuli.table.at["13", "label"] == "human face"
    assert trials.ch_names[-1] == "E124"


def test_people_are_joined_and_pictures_found(tmp_path):
    for s in (1, 10, 2):
        write_stanford(tmp_path / f"S{s}.mat", seed=s)
    assert Stanford().subjects(tmp_path) == ("01", "02", "10")
    trials, _ = Stanford().load(tmp_path, ("01", "10"))
    assert trials.events["subject"].tolist() == ["01"] * 144 + ["10"] * 144
    (tmp_path / "images").mkdir()
    for k in range(1, 73):
        Image.new("RGB", (2, 2), (k, 0, 0)).save(tmp_path / f"images/{k:02d}.png")
    _, stimuli = Stanford().load(tmp_path, ("02",))
    assert stimuli.image("17")[0, 0, 0] == 17


def test_a_split_by_trials_fails_the_audit_since_pictures_repeat(tmp_path):
    write_stanford(tmp_path / "S1.mat")
    trials, stimuli = Stanford().load(tmp_path, ("01",))
    assert audit(Shuffled()(trials), trials, stimuli, stimulus_bound=True).verdict == "FAIL"
    assert audit(ByStimulus()(trials), trials, stimuli, holds_out=ByStimulus.holds_out).verdict != "FAIL"


def test_stanford_refusals_name_file_and_variable(tmp_path):
    with pytest.raises(MissingFile, match="--data DIR"):
        Stanford().subjects(None)
    with pytest.raises(MissingFile, match=r"expected S1\.mat to S10\.mat"):
        Stanford().subjects(tmp_path)
    path = tmp_path / "S1.mat"
    for text, change in {
        r"S1\.mat: expected the variable X_3D, or X": {"X_3D": None},
        r"S1\.mat: no variable 'exemplarLabels'": {"exemplarLabels": None},
        r"S1\.mat: categoryLabels must be whole numbers from 1 to 6; it has 0 to": {"categoryLabels": np.arange(144)},
        r"categoryLabels has 144 values, exemplarLabels has 3": {"exemplarLabels": np.ones(3)},
        r"S1\.mat: Fs must be a number of Hz": {"Fs": -1.0},
        r"stimulus '01' has the labels": {"exemplarLabels": np.ones(144)},
    }.items():
        write_stanford(path, **change)
        with pytest.raises(DataError, match=text):
            Stanford().load(tmp_path, ("01",))
    write_stanford(path, X_3D=np.ones((144, 124, 32)))
    with pytest.raises(ShapeError, match=r"X_3D must be .* = \(n_channels, n_times, 144\).* got \(144, 124, 32\)"):
        Stanford().load(tmp_path, ("01",))
    write_stanford(path, X_3D=np.random.default_rng(0).normal(0, 8e-6, (124, 32, 144)))
    with pytest.raises(UnitError, match=r"S1\.mat"):
        Stanford().load(tmp_path, ("01",))
    with pytest.raises(UnknownName, match="No subject named '02'"):
        Stanford().load(tmp_path, ("02",))
    (tmp_path / "S01.mat").write_bytes(b"")
    with pytest.raises(DataError, match=r"S01\.mat and S1\.mat, the same person twice"):
        Stanford().subjects(tmp_path)


def test_damaged_and_foreign_matlab_files_are_refused_by_name(tmp_path):
    path = tmp_path / "S3.mat"
    write_stanford(path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"S3\.mat"):
            Stanford().load(tmp_path, ("03",))
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n".ljust(400, b"\0"))
    with pytest.raises(DataError, match=r"S3\.mat: is of MATLAB 7\.3\. Save it with save"):
        Stanford().load(tmp_path, ("03",))
