"""Every encoder keeps the room's contract; the fast TSConv is the plain one; known sizes are met."""

import inspect

import pytest
import torch
from torch import nn

from sightwave import house
from sightwave.encoders.atms import ATMS
from sightwave.encoders.base import Encoder
from sightwave.encoders.eegnet import EEGNet
from sightwave.encoders.nice import TSConv
from sightwave.encoders.positive_spatial import PositiveSpatial
from sightwave.encoders.project import EEGProject
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import RecipeError, ShapeError

ENCODERS = house.members("encoders", Encoder)
SHAPES = [(17, 100), (63, 250)]
SUBJECT = torch.tensor([0, 1, 0, 2])


def build(cls, n_channels, n_times):
    torch.manual_seed(0)
    return cls(n_channels=n_channels, n_times=n_times)


def trials(n_channels, n_times, n=4):
    return torch.randn(n, n_channels, n_times, generator=torch.Generator().manual_seed(1))


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_room_is_not_empty():
    assert {EEGProject, TSConv, EEGNet, TimeBins} <= set(ENCODERS)


@pytest.mark.parametrize("cls", ENCODERS)
def test_options_are_keyword_only_with_defaults(cls):
    n_channels, n_times, *options = inspect.signature(cls).parameters.values()
    assert (n_channels.name, n_times.name) == ("n_channels", "n_times")
    assert all(o.kind is o.KEYWORD_ONLY and o.default is not o.empty for o in options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", ENCODERS)
def test_features_have_the_promised_width_and_every_parameter_learns(cls, shape):
    encoder = build(cls, *shape)
    z_BD = encoder(trials(*shape), SUBJECT)
    assert z_BD.shape == (4, encoder.width)
    assert z_BD.dtype == torch.float32
    if n_parameters(encoder):  # an encoder may have none, and then nothing to learn
        z_BD.pow(3).sum().backward()
        assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("cls", ENCODERS)
def test_evaluation_is_deterministic_and_rows_do_not_mix(cls):
    encoder, eeg = build(cls, 17, 100), trials(17, 100)
    encoder(eeg, SUBJECT)  # running statistics move away from their start
    encoder.eval()
    z_BD = encoder(eeg, SUBJECT)
    assert torch.equal(z_BD, encoder(eeg, SUBJECT))
    torch.testing.assert_close(encoder(eeg[1:2], SUBJECT[1:2]), z_BD[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cls", ENCODERS)
def test_constant_input_gives_finite_features(cls, training):
    encoder = build(cls, 17, 100).train(training)
    for value in (0.0, 5.0):
        assert encoder(torch.full((4, 17, 100), value), SUBJECT).isfinite().all()


@pytest.mark.parametrize("cls", ENCODERS)
def test_a_saved_encoder_comes_back_the_same(cls):
    encoder, eeg = build(cls, 17, 100), trials(17, 100)
    encoder(eeg, SUBJECT)
    torch.manual_seed(99)
    other = cls(17, 100)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder.eval()(eeg, SUBJECT), other.eval()(eeg, SUBJECT))


@pytest.mark.parametrize("shape", [(4, 80), (4, 333), (129, 81)])
@pytest.mark.parametrize("cls", ENCODERS)
def test_any_montage_and_length_works(cls, shape):
    encoder = build(cls, *shape)
    assert encoder(trials(*shape), SUBJECT).shape == (4, encoder.width)


@pytest.mark.parametrize("cls", ENCODERS)
def test_trials_of_another_shape_are_refused(cls):
    with pytest.raises(ShapeError, match=r"\(17, 100\)"):
        build(cls, 17, 100)(trials(17, 99), SUBJECT)


@pytest.mark.parametrize("cls", ENCODERS)
def test_mixed_precision_stays_near(cls):
    encoder, eeg = build(cls, 17, 100).eval(), trials(17, 100)
    with torch.autocast("cpu", torch.bfloat16):
        low = encoder(eeg, SUBJECT).float()
    high = encoder(eeg, SUBJECT)
    assert (low - high).abs().max() < 0.1 * high.abs().max()


@pytest.mark.parametrize(("n_channels", "n_weights"), [(17, 5_404_672), (63, 17_180_672)])
def test_eegproject_has_the_published_size(n_channels, n_weights):
    with torch.device("meta"):
        assert n_parameters(EEGProject(n_channels, 250)) == n_weights


def test_tsconv_has_the_published_sizes():
    assert (n_parameters(TSConv(63, 250)), TSConv(63, 250).width) == (103_680, 1440)
    assert (n_parameters(TSConv(122, 500)), TSConv(122, 500).width) == (198_080, 3440)
    assert n_parameters(TSConv(63, 250, width=768)) == 1_802_496
    assert n_parameters(TSConv(63, 250, width=1024)) == 2_630_912


class PlainTSConv(nn.Module):
    """The layers as NICE lists them, sharing the parameters of a `TSConv`."""

    def __init__(self, fast):
        super().__init__()
        self.net = nn.Sequential(
            fast.temporal, nn.AvgPool2d((1, 51), (1, 5)), fast.temporal_norm, nn.ELU(),
            fast.spatial, fast.spatial_norm, nn.ELU(), fast.dropout, fast.mix,
        )  # fmt: skip

    def forward(self, eeg_BCT):
        return self.net(eeg_BCT[:, None]).squeeze(2).transpose(1, 2).flatten(1)


@pytest.mark.parametrize(("dtype", "offset", "tolerance"), [(torch.float32, 0, 1e-4), (torch.float64, 3, 1e-10)])
@pytest.mark.parametrize("shape", [(63, 250), (17, 100), (5, 75), (4, 333)])
def test_the_fast_tsconv_equals_its_layers_with_gradients_and_running_statistics(shape, dtype, offset, tolerance):
    fast = build(TSConv, *shape).to(dtype)
    fast.dropout.p = 0.0
    for norm in (fast.temporal_norm, fast.spatial_norm):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    start = {k: v.clone() for k, v in fast.state_dict().items()}
    eeg = (offset + 2 * trials(*shape, n=6).to(dtype)).requires_grad_()
    pull = torch.randn(6, fast.width, generator=torch.Generator().manual_seed(2)).to(dtype)

    def step(module):
        fast.load_state_dict(start)
        fast.zero_grad()
        eeg.grad = None
        z_BD = module()
        (z_BD * pull).sum().backward()
        grads = {name: p.grad for name, p in fast.named_parameters()} | {"eeg": eeg.grad}
        buffers = {name: b.clone() for name, b in fast.named_buffers()}
        with torch.no_grad():
            fast.eval()
            tested = module()
            fast.train()
        return {"features": z_BD.detach(), "tested": tested} | buffers | grads

    plain = PlainTSConv(fast)
    ours, theirs = step(lambda: fast(eeg, torch.zeros(6))), step(lambda: plain(eeg))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        # a bias in front of a batch normalisation has gradient 0, of which both sides keep rounding errors
        if name in ("temporal.bias", "spatial.bias"):
            assert ours[name].abs().max() < 1e-2
            continue
        assert (ours[name] - value).abs().max() <= tolerance * max(1.0, float(value.abs().max())), name


def test_tsconv_draws_its_weights_as_nice_does_when_asked():
    torch.manual_seed(0)
    encoder = TSConv(63, 250, width=64, init_std=0.02)
    weights = [m.weight for m in encoder.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weights) == 5
    assert all(abs(w.std().item() - 0.02) < 0.003 for w in weights)


def test_a_trial_too_short_for_tsconv_is_refused():
    with pytest.raises(ShapeError, match="at least 75 samples"):
        TSConv(63, 74)
    with pytest.raises(ShapeError, match="at least 32 samples"):
        EEGNet(63, 31)


def test_eegnet_shortens_only_spatial_filters_that_are_too_long():
    encoder = build(EEGNet, 17, 100).eval()
    eeg = trials(17, 100)
    with torch.no_grad():
        encoder.spatial.weight *= 10 / encoder.spatial.weight.flatten(1).norm(dim=1)[:, None, None, None]
        z_long = encoder(eeg, SUBJECT)
        encoder.spatial.weight /= 10
        z_unit = encoder(eeg, SUBJECT)
        encoder.spatial.weight /= 2
        z_short = encoder(eeg, SUBJECT)
    torch.testing.assert_close(z_long, z_unit, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(z_short, z_unit, rtol=1e-2)


def test_eegnet_has_the_published_number_of_weights():
    # Lawhern et al., table 2, C = 64, kernel 64: 8 * 64 + 16 * 64 + 16 * 16 + 16 * 16 convolution weights
    convolutions = [m for m in EEGNet(64, 128).modules() if isinstance(m, nn.Conv2d)]
    assert sum(n_parameters(m) for m in convolutions) == 8 * 64 + 16 * 64 + 16 * 16 + 16 * 16


def test_time_bins_average_each_channel_within_the_window():
    eeg = torch.arange(20.0).reshape(1, 2, 10)
    z = TimeBins(2, 10, n_bins=2, window=(0.2, 1.0))(eeg, torch.zeros(1))
    assert z.tolist() == [[3.5, 7.5, 13.5, 17.5]]
    assert TimeBins(2, 10, n_bins=2).state_dict() == {}


def test_time_bins_refuse_more_bins_than_samples_and_windows_outside_the_trial():
    with pytest.raises(ShapeError, match="fewer bins"):
        TimeBins(2, 10, n_bins=11)
    with pytest.raises(RecipeError, match="fractions"):
        TimeBins(2, 10, window=(0.5, 1.5))


def test_atms_has_the_published_size_but_for_what_nothing_reads():
    # read in the authors' code: maps of two subjects, a map of clock times, tokens for strangers and masks; the scale
    unread = 2 * (250 * 250 + 250) + 4 * 250 + 3 * 250
    assert n_parameters(ATMS(63, 250)) + unread + 1 == 3_202_413


def plain_block(encoder, tokens_BNT):
    """ATM's block as its equations list it, without dropout, from the weights of an `ATMS`."""
    n_heads, width = encoder.n_heads, encoder.shape[1] // encoder.n_heads
    first, second, last = encoder.norms
    q, k, v = encoder.query_key_value(tokens_BNT).chunk(3, 2)
    heads = []
    for h in range(n_heads):
        part = slice(h * width, (h + 1) * width)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / width**0.5).softmax(2)
        heads.append(weights @ v[..., part])
    h_BNT = first(tokens_BNT + encoder.out(torch.cat(heads, 2)))
    return last(second(h_BNT + encoder.feed(h_BNT)))


@pytest.mark.parametrize("legacy", [False, True])
def test_atms_is_its_block_before_the_convolutions_and_legacy_drops_the_last_electrode(legacy):
    torch.manual_seed(0)
    encoder = ATMS(5, 82, width=8, legacy=legacy).eval()  # 82 is no multiple of 4 heads
    eeg = trials(5, 82)
    tokens = torch.cat([encoder.subject_ST[SUBJECT][:, None], encoder.value(eeg)], 1)
    rate = 10_000 ** (-torch.arange(0, 82, 2) / 82)
    place = torch.zeros(6, 82)
    place[:, 0::2] = (torch.arange(6)[:, None] * rate).sin()
    place[:, 1::2] = (torch.arange(6)[:, None] * rate).cos()
    out = plain_block(encoder, tokens if legacy else tokens + place)
    kept = out[:, :5] if legacy else out[:, 1:]
    torch.testing.assert_close(encoder(eeg, SUBJECT), encoder.conv(kept, SUBJECT), rtol=1e-4, atol=1e-4)


def test_atms_gives_a_stranger_the_mean_of_the_subjects_that_were_trained():
    torch.manual_seed(0)
    encoder, eeg = ATMS(5, 80, width=8, n_subjects=4), trials(5, 80)
    encoder(eeg, torch.tensor([0, 2, 0, 2]))
    encoder.eval()
    stranger = encoder(eeg, torch.full((4,), -1))
    with torch.no_grad():
        encoder.subject_ST[3] = (encoder.subject_ST[0] + encoder.subject_ST[2]) / 2
    torch.testing.assert_close(encoder(eeg, torch.full((4,), 3)), stranger)
    with pytest.raises(ShapeError, match="n_subjects"):
        encoder(eeg, torch.full((4,), 4))


def test_positive_spatial_has_the_published_size():
    encoder = PositiveSpatial(63, 250)
    assert n_parameters(encoder) + n_parameters(nn.Linear(encoder.width, 1024)) == 5_213_049


def test_positive_spatial_is_its_layers_and_its_weights_stay_positive():
    torch.manual_seed(0)
    encoder, eeg = PositiveSpatial(6, 40, n_maps=3, hidden=5, dropout=(0.0, 0.0)), trials(6, 40, n=8)
    plain = nn.Sequential(nn.Conv2d(1, 3, (6, 1), bias=False), nn.BatchNorm2d(3), encoder.read)
    with torch.no_grad():
        encoder.map_FC[0, 0] = -0.3  # as a step of training may leave it
        plain[0].weight.copy_(encoder.map_FC.abs().reshape(3, 1, 6, 1))
    torch.testing.assert_close(encoder(eeg, SUBJECT), plain(eeg[:, None]).flatten(1))
    assert encoder.map_FC[0, 0].item() == pytest.approx(0.3)
    for training in (True, False):
        encoder.train(training)
        with torch.no_grad():
            encoder.map_FC[1, 2] = -0.2
        assert torch.equal(encoder(eeg, SUBJECT), encoder(eeg, SUBJECT))
    assert encoder.map_FC[1, 2].item() == pytest.approx(-0.2)  # looking changes nothing
    free = PositiveSpatial(6, 40, positive=False)
    assert free.map_FC.min() < 0
