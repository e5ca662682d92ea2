from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightwave.errors import DataError, ShapeError, UnitError
from sightwave.reading.checks import check_arrays, check_trials
from sightwave.reading.tables import numbers, read_number_table, read_text_table

NAMES = ("Oz", "Cz", "Pz")


def spoilt(make_trials, change):
    trials = make_trials()
    eeg = trials.eeg.copy()
    change(eeg)
    return replace(trials, eeg=eeg)


def test_clean_trials_pass(make_trials):
    check_trials(make_trials(), "eeg.npy")


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e6, r"multiply by 1e-6 \(unit='uV'\)"),
        (1e3, r"multiply by 1e-3 \(unit='mV'\)"),
        (1e9, r"multiply by 1e-9 \(unit='nV'\)"),
        (1e-3, "too small.*multiply by 1e3"),
        (1e-6, "too small.*multiply by 1e6"),
    ],
)
def test_a_wrong_unit_is_refused_with_the_likely_factor(make_trials, factor, words):
    trials = make_trials()
    with pytest.raises(UnitError, match=rf"^eeg.npy: eeg has a typical standard deviation of .*{words}"):
        check_trials(replace(trials, eeg=trials.eeg * np.float32(factor)), "eeg.npy")


@given(st.floats(np.log10(1e-6), np.log10(2e-4)), st.sampled_from((1e-6, 1e-3, 1e3, 1e6)))
def test_every_ordinary_amplitude_passes_and_every_factor_is_caught(log_sd, factor):
    from sightwave.reading.checks import check_unit

    check_unit(10**log_sd, "f")
    if not 2e-7 <= 10**log_sd * factor <= 5e-4:  # 200 uV taken for mV is 0.2 uV, which some averages have
        with pytest.raises(UnitError):
            check_unit(10**log_sd * factor, "f")


def test_standardised_trials_have_no_unit_to_check(make_trials):
    trials = make_trials()
    check_trials(replace(trials, eeg=trials.eeg * 1e5, unit="z"), "eeg.npy")
    with pytest.raises(UnitError, match="unit='z'"):
        check_trials(replace(trials, eeg=trials.eeg * 1e5), "eeg.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_with_channel_and_trial(make_trials, value):
    def change(eeg):
        eeg[4, 1, 3] = eeg[7, 1, 0] = value

    with pytest.raises(
        DataError, match=r"^f: eeg holds NaN or infinity in 2 of 12 .*; the first is trial 4, channel E2"
    ):
        check_trials(spoilt(make_trials, change), "f")


def test_a_flat_channel_is_named(make_trials):
    def change(eeg):
        eeg[:, 2] = 0.1  # constant, and not a power of two

    with pytest.raises(DataError, match=r"^f: channel\(s\) E3 are flat in every trial \(1 of 3\)"):
        check_trials(spoilt(make_trials, change), "f")


def test_a_channel_that_is_flat_in_some_trials_passes(make_trials):
    def change(eeg):
        eeg[:5, 2] = 0.0

    check_trials(spoilt(make_trials, change), "f")


def test_trials_that_were_never_filled_are_counted(make_trials):
    def change(eeg):
        eeg[[3, 9]] = 0

    with pytest.raises(DataError, match=r"^f: eeg is zero throughout 2 of 12 trials, the first is trial 3"):
        check_trials(spoilt(make_trials, change), "f")


@pytest.mark.parametrize(
    ("shape", "order"),
    [((10, 50, 3), (0, 2, 1)), ((3, 50, 10), (2, 0, 1)), ((3, 10, 50), (1, 0, 2)), ((50, 10, 3), (1, 2, 0))],
)
def test_the_transposition_that_helps_is_named(shape, order):
    eeg = np.zeros(shape)
    with pytest.raises(ShapeError) as e:
        check_arrays(eeg, 10, NAMES, "e.npy", "t.csv")
    assert f"eeg.transpose{order}" in str(e.value)
    check_arrays(eeg.transpose(order), 10, NAMES, "e.npy", "t.csv")


def test_a_count_mismatch_names_both_numbers():
    with pytest.raises(DataError, match=r"t.csv has 99 rows, e.npy has 100 trials.*nothing is padded or cut"):
        check_arrays(np.zeros((100, 3, 10)), 99, NAMES, "e.npy", "t.csv")


@pytest.mark.parametrize(
    ("eeg", "names", "words"),
    [
        (np.zeros((2, 3)), NAMES, r"three axes, .*; got 2, shape \(2, 3\)"),
        (np.zeros((2, 3, 5), complex), NAMES, "holds complex128; expected real numbers"),
        (np.zeros((2, 3, 5)), ("Oz", "Oz", "Pz"), "'Oz' more than once"),
        (np.zeros((2, 4, 5)), NAMES, "No axis has that length"),
        (np.zeros((2, 3, 0)), NAMES, "eeg is empty"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused(eeg, names, words):
    with pytest.raises((ShapeError, DataError), match=rf"^e.npy: .*{words}"):
        check_arrays(eeg, 2, names, "e.npy", "t.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a,b\n1,2\n3,x\n", r"t.csv: line 3, column 'b': expected a number, got 'x'"),
        (b"a,b\n1,\n3,4\n", r"t.csv: line 2, column 'b': expected a number, got an empty cell"),
        (b"a,b\n1\n3,4\n", r"t.csv: line 2, column 'b': expected a number, got an empty cell"),
        (b"a,b\n1,2\n1,2,3\n", r"t.csv: .*line 3, saw 3"),
        (b"a,c\n1,2\n", r"t.csv: line 1: no column 'b'; expected a, b, got a, c"),
        (b"", r"t.csv: the file is empty"),
        (b"a,b\n", r"t.csv: no line below"),
        (b"a,b\n1,\xff\n", r"t.csv: byte \d+ is not UTF-8"),
    ],
)
def test_a_malformed_table_is_refused_with_line_and_column(tmp_path, text, words):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DataError, match=words):
        read_number_table(tmp_path / "t.csv", ("a", "b"))


def test_a_cut_gzip_is_refused_by_name(tmp_path):
    import gzip

    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(DataError, match=r"t.csv.gz: cut short or damaged"):
        read_number_table(tmp_path / "t.csv.gz", ("a",))


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffa,b\r\n1,ä\r\n".encode())
    assert read_text_table(tmp_path / "t.csv").to_dict("list") == {"a": ["1"], "b": ["ä"]}


def test_numbers_are_read_to_the_last_bit(tmp_path):
    values = np.random.default_rng(0).random(200)
    (tmp_path / "t.csv").write_text("a\n" + "\n".join(map(repr, values.tolist())))
    assert (numbers(read_text_table(tmp_path / "t.csv"), "a", tmp_path) == values).all()
