"""EVNet: what retina, LGN and V1 answer is known from their formulas."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sightwave.errors import DataError, RecipeError
from sightwave.stimuli import Stimuli
from sightwave.targets.evnet import EVNet
from sightwave.targets.evnet_retina import DARK, MAGNO, PARVO, Cell, Retina, adapt, normalise
from sightwave.targets.evnet_v1 import V1, Gabors, sample
from sightwave.targets.views import GaussianBlur

PPD = 32.0
RETINA = Retina()
SMALL = EVNet(n_simple=12, n_complex=12, grid=1, size=128, stride=8)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 60, 72, 3), dtype=np.uint8)


def make_stimuli(pictures=PICTURES, name="pictures-1"):
    table = pd.DataFrame({"label": list("abcde")}, index=[f"s{i}" for i in range(5)])
    return Stimuli(table, lambda i: pictures[int(i[1:])], name)


def grating(frequency, orientation=0.0, phase=0.0, *, size=128, colour=(1.0, 1.0, 1.0), contrast=1.0):
    """Wave of one frequency in cycles per degree, (1, 3, size, size) between -contrast and contrast."""
    y, x = np.mgrid[:size, :size] - size // 2
    along = (x * math.cos(orientation) + y * math.sin(orientation)) / PPD
    wave = contrast * np.cos(2 * math.pi * frequency * along + phase)
    return torch.tensor(wave[None, None] * np.array(colour)[None, :, None, None], dtype=torch.float32)


# --- retina and LGN -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grey", [0.0, 1e-4, 0.3, 1.0])
def test_a_field_of_one_grey_is_not_answered_at_any_luminance(grey):
    assert RETINA(torch.full((1, 3, 96, 96), grey)).abs().max() < 1e-4


def test_a_field_of_one_colour_is_answered_by_the_cells_of_that_colour_alone():
    red = torch.zeros(1, 3, 96, 96)
    red[:, 0] = 0.6
    red_green, green_red, blue_yellow, magno = RETINA(red)[0, :, 48, 48]
    assert red_green > 0 > green_red
    assert blue_yellow < 0
    assert abs(magno) < 1e-4


def test_adaptation_leaves_contrast_and_takes_luminance():
    picture = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    adapted = adapt(picture)
    assert adapted.mean((1, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(adapt(0.2 * picture), adapted)
    # Weber: a spot of twice the mean is 1, and nothing is below -1
    assert adapted.min() >= -1
    # a nearly black picture is not amplified without bound
    assert adapt(picture * 1e-4).abs().max() < 1e-4 / DARK
    torch.testing.assert_close(RETINA(0.5 * picture), RETINA(picture), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frequency", [0.5, 2.0, 4.0, 8.0])
def test_a_centre_without_surround_passes_frequencies_as_a_gaussian_does(frequency):
    bare = Retina([replace(MAGNO, surround_peak=0.0)], pixels_per_degree=PPD)
    wave = bare.difference(grating(frequency), 0)
    expected = math.exp(-((math.pi * MAGNO.centre_deg * frequency) ** 2))
    assert wave[0, 64, 64].item() == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("i", range(4))
def test_centre_and_surround_have_the_published_size_and_pass_grey_unchanged(i):
    cell = RETINA.cells[i]
    centre, surround = RETINA.get_buffer(f"centre_{i}"), RETINA.get_buffer(f"surround_{i}")
    assert len(centre) == len(surround) == (43 if cell is MAGNO else 19)
    assert len(RETINA.get_buffer(f"pool_{i}")) == (69 if cell is MAGNO else 33)
    assert (surround.max() / centre.max()).item() ** 2 == pytest.approx(-cell.surround_peak, rel=1e-4)
    grey = torch.full((1, 3, 96, 96), 0.7)
    torch.testing.assert_close(RETINA.difference(grey, i), grey[:, 0], atol=1e-5, rtol=0)


def test_the_surround_weakens_low_frequencies():
    """A cell prefers a middle frequency: below it the surround takes, above it the centre blurs."""
    answers = [RETINA.difference(grating(f, size=256), 3).abs().max().item() for f in (0.1, 1.5, 12.0)]
    assert answers[0] < answers[1] > answers[2]


def test_a_response_is_half_of_the_greatest_at_c50_and_saturates():
    pool = RETINA.get_buffer("pool_0")
    for contrast, expected in ((0.25, 0.2), (1.0, 0.5), (3.0, 0.75), (1e6, 1.0)):
        sign = torch.where(torch.rand(1, 80, 80, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
        out = normalise(contrast * sign, pool, c50=1.0, exponent=1.0)
        torch.testing.assert_close(out, expected * sign, atol=1e-4, rtol=1e-4)
    magno = normalise(torch.full((1, 80, 80), 0.3), RETINA.get_buffer("pool_3"), c50=MAGNO.c50, exponent=MAGNO.exponent)
    assert magno[0, 40, 40].item() == pytest.approx(0.3 / (0.3 + MAGNO.c50) ** MAGNO.exponent, rel=1e-4)


def test_pictures_outside_0_to_1_are_refused():
    for strange in (
        torch.full((1, 3, 96, 96), -0.1),
        torch.full((1, 3, 96, 96), 255.0),
        torch.full((1, 3, 96, 96), torch.nan),
    ):
        with pytest.raises(DataError, match="do not standardise them for CLIP"):
            RETINA(strange)


def test_a_surround_that_cancels_its_centre_is_refused():
    with pytest.raises(RecipeError, match="must not cancel"):
        replace(PARVO[0], surround_peak=-1.0)
    with pytest.raises(RecipeError, match="must not cancel"):
        Cell((1, 0, 0), (0, 1, 0), 0.1, 0.2, 0.1, 0.3, 1.0, 1.0, 1.0)


# --- V1 -----------------------------------------------------------------------------------------------------------

TURNS = np.deg2rad([0, 30, 60, 90, 120, 150])


def bank(frequency=4.0, *, width=0.12, length=0.12, turns=TURNS):
    n = len(turns)
    return Gabors(
        np.full(n, frequency), np.array(turns), np.zeros(n), np.full(n, width), np.full(n, length), np.zeros(n, int)
    )


def middle(v1, wave):
    return v1(wave[:, :1])[0, :, 16, 16].numpy()


def test_cells_prefer_their_own_orientation_and_fall_off_as_a_gaussian():
    v1 = V1(bank(), bank(), gain=1.0)
    for k, turn in enumerate(TURNS):
        simple, energy = np.split(middle(v1, grating(4.0, turn)), 2)
        assert simple.argmax() == energy.argmax() == k
        # both tunings are the Gabor's spectrum at the grating's place in the plane of frequencies
        apart = 4.0**2 * ((np.cos(TURNS) - np.cos(turn)) ** 2 + (np.sin(TURNS) - np.sin(turn)) ** 2)
        opposite = 4.0**2 * ((np.cos(TURNS) + np.cos(turn)) ** 2 + (np.sin(TURNS) + np.sin(turn)) ** 2)
        spectrum = sum(0.5 * np.exp(-2 * (np.pi * 0.12) ** 2 * d) for d in (apart, opposite))
        np.testing.assert_allclose(simple, spectrum, atol=0.005)
        np.testing.assert_allclose(energy[k], 0.5 / math.sqrt(2), atol=0.005)


def test_cells_prefer_their_own_frequency():
    frequencies = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    v1 = V1(bank(3.0, turns=[0.4]), bank(3.0, turns=[0.4]), gain=1.0)
    answers = np.array([middle(v1, grating(f, 0.4)) for f in frequencies])
    assert frequencies[answers.argmax(0)].tolist() == [3.0, 3.0]
    expected = 0.5 * np.exp(-2 * (np.pi * 0.12 * (frequencies - 3.0)) ** 2)
    far = frequencies >= 2  # below, the other half of the spectrum counts as well
    np.testing.assert_allclose(answers[far, 0], expected[far], atol=0.01)


def test_complex_cells_do_not_care_for_the_phase_and_simple_cells_do():
    v1 = V1(bank(turns=[0.3]), bank(turns=[0.3]), gain=1.0)
    phases = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    simple, energy = np.array([middle(v1, grating(4.0, 0.3, p)) for p in phases]).T
    assert energy.std() / energy.mean() < 0.01
    np.testing.assert_allclose(simple, np.maximum(0.5 * np.cos(phases), 0), atol=0.005)


def test_energy_grows_with_contrast_and_nothing_is_negative():
    v1 = V1(bank(), bank(), gain=5.3)
    full, half = middle(v1, grating(4.0)), middle(v1, grating(4.0, contrast=0.5))
    np.testing.assert_allclose(half[6:], full[6:] / 2, rtol=1e-4, atol=1e-6)
    assert full[6] == pytest.approx(5.3 * 0.5 / math.sqrt(2), rel=0.01)
    assert (v1(torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))) >= 0).all()


def test_each_cell_listens_to_its_own_lgn_cell():
    simple = replace(bank(turns=[0.0, 0.0, 0.0]), cell=np.array([2, 0, 2]))
    v1 = V1(simple, replace(simple, cell=np.array([0, 0, 2])), gain=1.0)
    lgn = torch.zeros(1, 3, 128, 128)
    lgn[:, 2] = grating(4.0)[:, 0]
    assert (v1(lgn)[0, :, 16, 16] > 0.1).tolist() == [True, False, True, False, False, True]


def test_sampled_cells_follow_the_measured_distributions():
    rng = np.random.default_rng(0)
    for kind, counts in (("simple", [4, 4, 8, 25, 33, 26, 28, 12]), ("complex", [0, 0, 9, 9, 7, 10, 23, 12])):
        cells = sample(kind, 20_000, 4, rng)
        found = np.histogram(cells.frequency, [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])[0] / 20_000
        np.testing.assert_allclose(found, np.array(counts) / sum(counts), atol=0.012)
        turns = np.histogram(np.rad2deg(cells.orientation), [-22.5, 22.5, 67.5, 112.5, 157.5])[0] / 20_000
        np.testing.assert_allclose(turns, np.array([66, 49, 77, 54]) / 246, atol=0.012)
        np.testing.assert_allclose(np.bincount(cells.cell) / 20_000, 0.25, atol=0.012)
        periods = cells.width * cells.frequency, cells.length * cells.frequency
        assert min(p.min() for p in periods) >= 0.1
        assert max(p.max() for p in periods) <= 10**0.2 + 1e-9
        assert np.corrcoef(np.log(cells.frequency), np.log(periods[0]))[0, 1] == pytest.approx(0.75, abs=0.06)
        assert np.median(periods[1] / periods[0]) > 1  # longer than wide


def test_fields_are_drawn_as_large_as_published():
    cells = sample("simple", 8, 4, np.random.default_rng(0))
    assert cells.draw(32.0).shape == (8, 31, 31)
    pair = cells.draw(32.0), cells.draw(32.0, shift=-math.pi / 2)
    envelope = np.hypot(*pair)
    np.testing.assert_allclose(envelope.sum((1, 2)), 1, rtol=1e-5)


# --- the whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0.0, 1.0, 0.5, None])
def test_gradients_are_finite_whatever_is_shown(fill):
    shape = (1, 3, 128, 128)
    picture = torch.rand(shape, generator=torch.Generator().manual_seed(0)) if fill is None else torch.full(shape, fill)
    picture.requires_grad_()
    out = SMALL.model()(picture)
    assert out.shape == (1, 24, 16, 16)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(picture.grad).all()


def test_the_vector_is_the_mean_over_places():
    raw = replace(SMALL, standardise=False)
    vectors = raw.embed(make_stimuli(), ()).vectors
    assert vectors.shape == (5, 24)
    fields = replace(raw, grid=2).embed(make_stimuli(), ()).vectors.reshape(5, 24, 4)
    np.testing.assert_allclose(fields.mean(2), vectors, rtol=1e-4)
    one = raw.model()(raw._pixels(PICTURES[3])[None])
    np.testing.assert_allclose(one.mean((2, 3))[0].numpy(), vectors[3], rtol=1e-4)


def test_only_the_training_pictures_standardise():
    train = ["s0", "s1", "s2"]
    vectors = SMALL.embed(make_stimuli(), train).vectors
    assert np.abs(vectors[:3].mean(0)).max() < 1e-4
    assert np.median(vectors[:3].std(0)) == pytest.approx(1, abs=1e-3)
    changed = PICTURES.copy()
    changed[4] = 7
    other = SMALL.embed(make_stimuli(changed, "pictures-2"), train).vectors
    np.testing.assert_allclose(other[:4], vectors[:4], atol=1e-4)
    assert not np.allclose(other[4], vectors[4])
    with pytest.raises(DataError, match="none of the 1"):
        SMALL.embed(make_stimuli(), ["elsewhere"])


def test_vectors_are_made_once_and_whatever_changes_the_content_makes_a_new_file(cache, monkeypatch):
    train = ["s0", "s1"]
    first = SMALL.embed(make_stimuli(), train)
    for n, target in enumerate(
        (replace(SMALL, seed=1), replace(SMALL, cells="parvo"), replace(SMALL, view=GaussianBlur()),
         replace(SMALL, view=GaussianBlur(51)), replace(SMALL, grid=2), replace(SMALL, size=136)), 2,
    ):  # fmt: skip
        other = target.embed(make_stimuli(), train)
        assert other.space != first.space
        assert other.vectors.shape != first.vectors.shape or not np.allclose(other.vectors, first.vectors)
        assert len(list(cache.iterdir())) == n
    monkeypatch.setattr(EVNet, "_vectors", lambda *_: pytest.fail("the pictures were seen again"))
    again = replace(SMALL, batch_size=1, device="auto").embed(make_stimuli(), train)
    assert again.vectors.tobytes() == first.vectors.tobytes()


def test_pictures_without_a_key_are_never_cached(cache):
    SMALL.embed(make_stimuli(name=""), ["s0"])
    assert not cache.exists()


def test_spaces_name_what_is_not_as_usual():
    assert EVNet().space == "evnet/2048"
    assert EVNet(grid=1, view=GaussianBlur()).space == "evnet/512/grid-1/GaussianBlur(kernel=15)"
    assert EVNet(cells="parvo", seed=3).space == "evnet/2048/cells-parvo/seed-3"


def test_options_that_make_no_sense_are_refused():
    for options, message in (
        ({"cells": "rods"}, r"\['parvo', 'standard'\]"), ({"size": 64}, "frequencies of 8 per degree"),
        ({"n_simple": 0}, "n_simple must be at least 1"), ({"grid": 100}, "finer than the 56 places"),
        ({"view": GaussianBlur}, "frozen dataclass"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=message):
            EVNet(**options)
    with pytest.raises(DataError, match="without pictures"):
        SMALL.embed(Stimuli(make_stimuli().table), ["s0"])
