"""Views show a picture otherwise: blurred, coarse, noisy, on a screen, as depth, as edges."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from sightwave.datasets.phantom import Phantom
from sightwave.describe import key
from sightwave.errors import DataError, RecipeError, ShapeError
from sightwave.stimuli import Stimuli
from sightwave.targets.clip import ClipImage
from sightwave.targets.view_filters import gaussian_blur
from sightwave.targets.views import (
    BLUR_LEVELS,
    BLUR_LEVELS_8,
    Compose,
    Depth,
    Edges,
    FoveaBlur,
    GaussianBlur,
    GreyBackground,
    LowResolution,
    Mosaic,
    Noise,
    content,
    name_of,
    see,
)

RNG = np.random.default_rng(0)
PICTURE = np.clip(RNG.normal(120, 50, (6, 7, 3)).repeat(10, 0).repeat(11, 1) + 20, 0, 255).astype(np.uint8)
VIEWS = [
    GaussianBlur(), GaussianBlur(63), FoveaBlur(), FoveaBlur(legacy=True), LowResolution(), Mosaic(), Noise(),
    GreyBackground(), Depth(legacy=True), Edges(), Compose((GreyBackground(), GaussianBlur(9), Edges())),
]  # fmt: skip


def make_stimuli(*, depth=None, name="pictures-1"):
    table = pd.DataFrame({"label": ["cup", "dog"]}, index=["s0", "s1"])
    return Stimuli(table, {"s0": PICTURE, "s1": PICTURE[::-1].copy()}.get, name, depth)


@pytest.fixture
def phantom():
    """Pictures of three categories, whose depth is known."""
    world = Phantom(n_train=1, n_test=1, categories=3, train_repetitions=1, test_repetitions=1, n_subjects=1)
    return world.load(None, ("01",))[1]


@pytest.mark.parametrize("view", VIEWS, ids=name_of)
def test_every_view_keeps_the_size_changes_the_picture_and_is_the_same_each_time(view):
    before = PICTURE.copy()
    seen = view(PICTURE)
    assert (seen.shape, seen.dtype) == (PICTURE.shape, np.uint8)
    assert not np.array_equal(seen, PICTURE)
    assert np.array_equal(PICTURE, before)
    locked = PICTURE.copy()
    locked.setflags(write=False)
    assert view(locked).tobytes() == seen.tobytes()


@pytest.mark.parametrize("view", VIEWS, ids=name_of)
def test_what_is_no_picture_is_refused(view):
    for strange in (PICTURE.astype(np.float32), PICTURE[..., 0], PICTURE[..., :2]):
        with pytest.raises(ShapeError, match=r"\(height, width, 3\) uint8"):
            view(strange)


@pytest.mark.parametrize("view", [v for v in VIEWS if not isinstance(v, Noise | GreyBackground | Edges | Compose)])
def test_a_picture_of_one_grey_stays_as_it_is(view):
    grey = np.full((50, 61, 3), 37, np.uint8)
    assert np.array_equal(view(grey), grey)


def test_names_and_keys_tell_views_apart():
    all_views = [*VIEWS, GaussianBlur(9), FoveaBlur(decay=2), Noise(seed=1), Mosaic(10), Depth(), None]
    assert len({key(content(v)) for v in all_views}) == len(all_views)
    assert len({name_of(v) for v in all_views if v is not None}) == len(all_views) - 1
    assert content(GaussianBlur())["code"] == content(Compose((Mosaic(), Noise())))["code"]
    assert content(Halved())["code"] != content(GaussianBlur())["code"]


def test_a_blurred_point_is_the_gaussian_of_opencvs_rule():
    point = np.zeros((224, 224, 3), np.uint8)
    point[112, 100] = 255
    seen = gaussian_blur(point, 51)[..., 0] / 255
    y, x = np.mgrid[:224, :224] - np.array([112, 100])[:, None, None]
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    inside = (abs(y) <= 25) & (abs(x) <= 25)
    assert not seen[~inside].any()
    truth = np.exp(-(y**2 + x**2) / (2 * 8.0**2)) / (2 * np.pi * 8.0**2)
    np.testing.assert_allclose(seen[inside], truth[inside], rtol=0.005)


def test_the_same_blur_is_the_same_share_of_a_larger_picture():
    large = PICTURE.repeat(4, 0).repeat(4, 1)
    one, four = GaussianBlur(33)(PICTURE).astype(float), GaussianBlur(33)(large).astype(float)
    assert np.abs(four.reshape(60, 4, 77, 4, 3).mean((1, 3)) - one).mean() < 1


def test_blur_levels_grow_and_the_first_is_the_picture():
    assert np.array_equal(GaussianBlur(1)(PICTURE), PICTURE)
    picture = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    detail = [np.diff(GaussianBlur(k)(picture).astype(float), axis=0).std() for k in BLUR_LEVELS]
    assert (np.diff(detail) < 0).all()
    assert (len(BLUR_LEVELS), len(BLUR_LEVELS_8)) == (12, 8)
    assert set(BLUR_LEVELS_8) < set(BLUR_LEVELS)


def test_the_fovea_is_sharp_and_the_periphery_is_blurred():
    picture = RNG.integers(0, 256, (101, 101, 3), dtype=np.uint8)
    blurred = gaussian_blur(picture, 51)
    seen = FoveaBlur()(picture).astype(float)
    assert np.array_equal(seen[50, 50], picture[50, 50])
    corner = np.exp(-3) * picture[0, 0] + (1 - np.exp(-3)) * blurred[0, 0]
    np.testing.assert_allclose(seen[0, 0], corner, atol=0.51)
    # as the authors' code has it, even the centre is half blurred
    legacy = FoveaBlur(legacy=True)(picture).astype(float)
    np.testing.assert_allclose(legacy[50, 50], 0.5 * picture[50, 50] + 0.5 * blurred[50, 50], atol=0.51)
    np.testing.assert_allclose(
        legacy[0, 0], np.exp(-3) / 2 * (picture[0, 0] - blurred[0, 0]) + blurred[0, 0], atol=0.51
    )


def test_mosaic_paints_each_block_in_its_mean():
    picture = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    seen = Mosaic(56)(picture).astype(float)
    blocks = picture.reshape(4, 56, 4, 56, 3).mean((1, 3))
    np.testing.assert_allclose(seen, blocks.repeat(56, 0).repeat(56, 1), atol=1)


def test_low_resolution_keeps_means_and_loses_detail():
    seen = LowResolution(0.1)(PICTURE).astype(float)
    assert seen.mean() == pytest.approx(PICTURE.mean(), abs=1.5)
    assert np.abs(np.diff(seen, axis=0)).mean() < np.abs(np.diff(PICTURE.astype(float), axis=0)).mean()
    assert np.array_equal(LowResolution(1)(PICTURE), PICTURE)


def test_noise_is_decided_by_the_picture_and_has_its_strength():
    grey = np.full((80, 80, 3), 128, np.uint8)
    noise = Noise(sd=10)(grey).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.03)
    assert abs(noise.mean()) < 0.3
    other = grey.copy()
    other[0, 0, 0] = 129
    again = Noise(sd=10)(other).astype(float) - other
    assert abs(np.corrcoef(noise.ravel(), again.ravel())[0, 1]) < 0.05
    assert not np.array_equal(Noise(sd=10, seed=1)(grey), Noise(sd=10)(grey))


def test_a_grey_background_surrounds_the_picture_and_a_dot_is_in_its_middle():
    seen = GreyBackground()(np.full((120, 80, 3), 10, np.uint8))
    assert (seen[:30] == [158, 162, 166]).all()
    assert (seen[:, :20] == [158, 162, 166]).all()
    assert (seen[31:40, 21:59] == 10).all()
    assert (seen[59:61, 39:41] == [255, 0, 0]).all()
    bare = GreyBackground(dot=0)(np.full((120, 80, 3), 10, np.uint8))
    assert (bare[30:90, 20:60] == 10).all()


def test_edges_are_thin_lines_where_the_picture_changes():
    step = np.zeros((40, 40, 3), np.uint8)
    step[10:30, 10:30, 2] = 200
    edges = Edges()(step)[..., 0]
    assert set(np.unique(edges)) == {0, 255}
    for line in (edges[20, 5:15], edges[20, 25:35], edges[5:15, 20], edges[25:35, 20]):
        assert (line > 0).sum() == 1
    assert not edges[12:28, 12:28].any()
    assert not Edges()(np.full_like(step, 90)).any()


def test_a_weak_edge_counts_where_it_is_connected_to_a_strong_one():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[20:, :30] = 80  # 4 x 80 = 320 is strong
    picture[20:, 30:] = 40  # 160 is weak, and continues it
    assert (Edges(100, 200)(picture)[18:22, 40, 0] > 0).sum() == 1
    picture[20:] = 40
    assert not Edges(100, 200)(picture).any()


def test_depth_is_the_phantoms_own(phantom):
    for stimulus in phantom.ids[:3]:
        seen, near = see(phantom, stimulus, Depth()), phantom.nearness(stimulus)
        assert seen.shape == phantom.image(stimulus).shape
        assert np.abs(seen / 255 - near[..., None]).max() <= 0.5 / 255 + 1e-6
        assert not np.array_equal(seen, see(phantom, stimulus, Depth(legacy=True)))
    assert see(phantom.at(phantom.ids[:1]), phantom.ids[0], Depth()).any()


def test_depth_that_is_not_there_says_what_to_do():
    with pytest.raises(DataError, match=r"Stimuli\(\.\.\., depth=callable\)"):
        see(make_stimuli(), "s0", Depth())
    with pytest.raises(RecipeError, match="it must come first"):
        see(make_stimuli(), "s0", Compose((Edges(), Depth())))
    with pytest.raises(DataError, match="invert it where 0 is near"):
        see(make_stimuli(depth=lambda _: np.full((60, 77), 3.0)), "s0", Depth())


def test_views_follow_each_other_from_the_first_to_the_last():
    row = Compose((LowResolution(), GaussianBlur(9), Mosaic(20)))
    by_hand = Mosaic(20)(GaussianBlur(9)(LowResolution()(PICTURE)))
    assert np.array_equal(row(PICTURE), by_hand)
    assert np.array_equal(see(make_stimuli(), "s0", row), by_hand)
    depth = make_stimuli(depth=lambda _: np.linspace(0, 1, 60 * 77).reshape(60, 77))
    first = see(depth, "s0", Compose((Depth(), Mosaic(20))))
    assert np.array_equal(first, Mosaic(20)(see(depth, "s0", Depth())))
    assert np.array_equal(see(depth, "s0", None), PICTURE)


@dataclass(frozen=True)
class Halved:
    """A view of somebody else's."""

    def __call__(self, image):
        return image // 2


def test_a_view_changes_the_embedding_and_is_cached_under_a_name_of_its_own(phantom, cache):
    plain = ClipImage().embed(phantom, ())
    long = Compose((Depth(), GreyBackground(), FoveaBlur(), GaussianBlur(9), Noise(), Mosaic(), Edges()))
    for n, view in enumerate((FoveaBlur(), FoveaBlur(legacy=True), Depth(), Halved(), long), 2):
        target = ClipImage(view=view)
        seen = target.embed(phantom, ())
        assert seen.space == f"clip-image/tiny_clip/{name_of(view)}"
        assert not np.allclose(seen.vectors, plain.vectors)
        assert target.embed(phantom, ()).vectors.tobytes() == seen.vectors.tobytes()
        assert len(list(cache.iterdir())) == n


def test_options_that_make_no_sense_are_refused():
    for kernel in (0, 2, 3.0):
        with pytest.raises(RecipeError, match="must be 1, 3, 5"):
            GaussianBlur(kernel)
        with pytest.raises(RecipeError, match="FoveaBlur"):
            FoveaBlur(kernel)
    for make in (
        lambda: FoveaBlur(decay=-1), lambda: LowResolution(0), lambda: LowResolution(2), lambda: Mosaic(0),
        lambda: Noise(-1), lambda: GreyBackground(share=0), lambda: GreyBackground(dot=0.5), lambda: Edges(5, 4),
        lambda: Compose(()), lambda: Compose([Edges()]), lambda: Compose((3,)),
    ):  # fmt: skip
        with pytest.raises(RecipeError):
            make()
    with pytest.raises(RecipeError, match=r"Compose\(\(first, second\)\)"):
        ClipImage(view=(Edges(), Noise()))


# --- beside OpenCV, with which the field makes its views -----------------------------------------------------------


def photo(side=224):
    """Smooth shapes and some grain, as a photograph has them."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (f * x + g * y) + p) for f, g, p in rng.uniform(-4, 4, (9, 3))]
    shapes = np.stack([waves[i] + waves[i + 3] * (waves[i + 6] > 0) for i in range(3)], 2)
    return np.clip(128 + 45 * shapes + rng.normal(0, 4, shapes.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kernel", BLUR_LEVELS[1:])
def test_gaussian_blur_is_opencvs_to_a_grey_level(kernel):
    cv2 = pytest.importorskip("cv2")
    seen, theirs = (x.astype(int) for x in (GaussianBlur(kernel)(photo()), cv2.GaussianBlur(photo(), (kernel,) * 2, 0)))
    assert np.abs(seen - theirs).max() <= (1 if kernel > 7 else 2)
    assert np.abs(seen - theirs).mean() < 0.3


def test_the_foveal_blur_of_the_authors_is_ours_with_legacy():
    cv2 = pytest.importorskip("cv2")
    image = photo()
    blurred = cv2.GaussianBlur(image, (51, 51), 0)
    y, x = np.ogrid[:224, :224]
    distance = np.minimum(np.hypot(y - 112, x - 112) / np.hypot(111, 111), 1)
    m = (0.5 * np.exp(-3 * distance))[..., None]
    theirs = cv2.convertScaleAbs(m * image + (1 - m) * blurred)
    assert np.abs(FoveaBlur(51, legacy=True)(image).astype(int) - theirs).max() <= 1


def test_edges_are_opencvs():
    cv2 = pytest.importorskip("cv2")
    image = photo()
    ours, theirs = Edges(low=100, high=200)(image)[..., 0] > 0, cv2.Canny(image, 100, 200) > 0
    assert 0.01 < theirs.mean() < 0.5
    assert (ours == theirs).mean() > 0.995
