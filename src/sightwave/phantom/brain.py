r"""The brain: a generative EEG whose truth is known. Flow: `features` -> `Brain.record` -> trials.

One trial of picture *i* at channel *c* and frequency *f* (everything is linear and Gaussian in the Fourier domain):

.. math:: X(c,f) = a\,e^{-2\pi i f\tau}\,\Big[E(c,f) + \sum_k z_{ik}\,g_k\,\ell_{kc}\,h_k(f)\Big] + N(c,f)

z features, g gain, l lead field column, h response kernel, E the response to any picture, a and tau the amplitude
and latency of the trial, and N noise with the spatial covariance
:math:`S(f) = B(f) L_b L_b^T + A(f) L_\alpha L_\alpha^T + P(f) pp^T + \sigma^2 I`: 1/f background, alpha, mains and
sensors. The noise is stationary and circular in the window, so its covariance is block diagonal over f and the
likelihood of a trial without nuisances (jitter, blinks, drift, cap shift) is exact. Everything here is in microvolt.

Shape suffixes: N trials, C channels, F frequencies, K features, T times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sightwave.errors import RecipeError, ShapeError, one_of
from sightwave.phantom import confounds
from sightwave.phantom.features import LEVELS, N_FEATURES
from sightwave.phantom.head import THINGS63, load_head

# Centre in head coordinates of unit length, spread around it; peak, its spread, width of the response in s; RMS in uV
_PLAN = {
    "early": ((0, -0.95, 0.15), 0.25, 0.100, 0.008, 0.016, 0.55),
    "mid": ((0, -0.75, 0.10), 0.40, 0.165, 0.018, 0.024, 0.45),
    "semantic": ((0, -0.40, 0.30), 0.60, 0.290, 0.050, 0.042, 0.50),
}
_COMMON = ((0.10, 0.02, 3.0), (0.17, 0.03, -4.0), (0.30, 0.06, 3.0))  # peak s, width s, uV
_BAND_HZ = 64.0  # responses are as good as empty above it, and defined as empty
_CHUNK = 64  # so many trials stay in the processor's cache


@dataclass(frozen=True)
class Brain:
    """One subject's head, sources and noise.

    Parameters
    ----------
    subject : int
        Seeds places, directions, gains and latencies of the sources around the ones that all subjects share.
    ch_names : tuple of str
        From the 128 names of `head.CVPR128`; Fz is the reference.
    sfreq : float
        In Hz.
    n_times : int
        Samples of a trial; the first is the onset of the picture.
    signal : float
        Multiplies every source that depends on the picture; 0 leaves the response common to all pictures.
    background_uv, alpha_uv, line_uv, sensor_uv : float
        Root mean square of each kind of noise.
    amplitude_jitter, latency_jitter_s : float
        Spread from trial to trial, log-normal and normal.
    blink_rate : float
        Share of trials with a blink.
    drift_uv : float
        Spread of each channel's linear drift within a trial.
    shared_seed : int
        Another seed, another species: it seeds what all subjects share.

    Raises
    ------
    UnknownName
        If a channel is not on this head.
    RecipeError
        If a number is out of range.
    """

    subject: int = 1
    ch_names: tuple[str, ...] = THINGS63
    sfreq: float = 250.0
    n_times: int = 250
    signal: float = 1.4
    background_uv: float = 8.0
    alpha_uv: float = 5.0
    line_uv: float = 0.7
    sensor_uv: float = 1.5
    amplitude_jitter: float = 0.25
    latency_jitter_s: float = 0.006
    blink_rate: float = 0.03
    drift_uv: float = 3.0
    shared_seed: int = 0

    def __post_init__(self) -> None:
        known = load_head().ch_names
        strange = next((c for c in self.ch_names if c not in known), None)
        if strange is not None:
            raise one_of("electrode on the phantom's head", strange, known)
        if self.n_times < 8 or not self.sfreq > 0 or not self.ch_names or self.signal < 0 or not self.sensor_uv > 0:
            raise RecipeError(
                f"Brain needs at least one channel and 8 samples, sfreq > 0, signal >= 0 and sensor_uv > 0; got "
                f"{len(self.ch_names)} channels, n_times={self.n_times}, sfreq={self.sfreq}, signal={self.signal}, "
                f"sensor_uv={self.sensor_uv}."
            )

    @cached_property
    def freqs(self) -> np.ndarray:
        """Frequencies of the window's Fourier transform in Hz, shape (n_freqs,)."""
        return np.fft.rfftfreq(self.n_times, 1 / self.sfreq)

    @cached_property
    def sources(self) -> tuple[np.ndarray, np.ndarray]:
        """Spectra of the picture's sources, (K, C, F), and of the common response, (C, F); complex64."""
        rng, own = np.random.default_rng(self.shared_seed), np.random.default_rng([self.shared_seed, self.subject, 1])
        t, head, rows = np.arange(self.n_times) / self.sfreq, load_head(), self._rows
        lag, waves, columns = own.normal(0, 0.006), [], []
        for level, k in LEVELS.items():
            centre, spread, peak, jitter, width, uv = _PLAN[level]
            for _ in range(k):
                place = np.array(centre) + rng.normal(0, spread, 3) + own.normal(0, 0.08, 3)
                moment = rng.normal(size=3) + 0.35 * own.normal(size=3)
                mu, sd = peak + jitter * np.clip(rng.normal(), -2, 2) + lag, width * rng.uniform(0.8, 1.3)
                columns.append(head.dipole(place, moment, rows) * uv * np.exp(0.2 * own.normal()))
                waves.append(_bump(t, mu, sd) - 0.6 * _bump(t, mu + 2.4 * sd, 1.3 * sd))
        w_KCF = self.signal * np.stack(columns)[:, :, None] * np.fft.rfft(np.stack(waves))[:, None, :]
        common_CF = np.zeros((len(rows), len(self.freqs)), complex)
        for mu, sd, uv in _COMMON:
            column = head.dipole(np.array((0, -0.7, 0.2)) + own.normal(0, 0.2, 3), rng.normal(size=3), rows)
            common_CF += uv * column[:, None] * np.fft.rfft(_bump(t, mu, sd))[None]
        w_KCF[..., self.freqs > _BAND_HZ] = common_CF[:, self.freqs > _BAND_HZ] = 0
        return w_KCF.astype(np.complex64), common_CF.astype(np.complex64)

    @cached_property
    def noise_factor(self) -> np.ndarray:
        """Cholesky factors, (F, C, C) float32, of the noise covariance of the real, and of the imaginary, part."""
        own, head, rows = np.random.default_rng([self.shared_seed, self.subject, 2]), load_head(), self._rows
        f, place, n_channels = self.freqs, load_head().place, len(rows)
        occipital = [i for i in range(len(place)) if place[i, 1] < -0.5 and abs(place[i, 2]) < 0.6][:40]
        maps = [
            np.stack([head.dipole(place[i], own.normal(size=3), rows) for i in some], 1)
            for some in (range(len(place)), occipital)
        ]
        maps += [own.normal(size=(n_channels, 1)), np.eye(n_channels)]
        power = (1 / np.maximum(f, 0.7) ** 1.2 * (f < 0.45 * self.sfreq) + 1e-6,
                 np.exp(-0.5 * ((f - 10) / 1.2) ** 2) + 1e-9,
                 (np.abs(f - 50) < 1.1) + 1e-9,
                 np.ones_like(f))  # fmt: skip
        # a cosine and a sine share each inner frequency
        parts_F = np.where(self._real_only, 1.0, 2.0)
        s_FCC = np.zeros((len(f), n_channels, n_channels))
        for uv, m, p in zip(
            (self.background_uv, self.alpha_uv, self.line_uv, self.sensor_uv), maps, power, strict=True
        ):
            spatial = m @ m.T / np.trace(m @ m.T) * n_channels
            s_FCC += uv**2 * (p / (p * parts_F).sum())[:, None, None] * spatial
        # irfft divides by n_times, and an inner coefficient stands for itself and its conjugate
        scale_F = self.n_times**2 / parts_F
        return np.linalg.cholesky(s_FCC * scale_F[:, None, None]).astype(np.float32)

    def record(
        self, z: np.ndarray, *, seed: int = 0, session: int = 0, nuisances: bool = True,
        clock: np.ndarray | None = None, wander_uv: float = 0.0, eye_uv: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Record one trial per row of features.

        Parameters
        ----------
        z : ndarray, shape (n, N_FEATURES)
            Features of the picture of each trial.
        seed : int
            Seeds all that differs between trials, together with subject and session.
        session : int
            0 is the cap at its true place; each other number shifts the cap: channel gains and a small mixing of
            neighbours.
        nuisances : bool
            Jitter, blinks and drift, which the ideal observer knows nothing of.
        clock : ndarray, shape (n,), or None
            Place of each trial in the order of presentation.
        wander_uv : float
            Confound: RMS of a slow random walk of every channel along the clock. It tells blocks apart.
        eye_uv : ndarray, shape (n,), or None
            Confound: amplitude of an eye movement to the side in each trial.
        out : ndarray, shape (n, C, T), float32, or None
            Where to write.

        Returns
        -------
        ndarray, shape (n, C, T), float32
            In microvolt. The first m trials do not depend on how many follow, up to rounding.
        """
        if z.ndim != 2 or z.shape[1] != N_FEATURES:
            raise ShapeError(f"Brain.record: z must be (n_trials, {N_FEATURES}), got {z.shape}.")
        key, n = [self.shared_seed, seed, self.subject, session], len(z)
        out = np.empty((n, len(self._rows), self.n_times), np.float32) if out is None else out
        fate_N2 = np.random.default_rng([*key, 1]).standard_normal((n, 2))
        gain_N = np.exp(self.amplitude_jitter * fate_N2[:, 0] - self.amplitude_jitter**2 / 2)
        late_N = self.latency_jitter_s * fate_N2[:, 1]
        if not nuisances:
            gain_N, late_N = np.ones(n), np.zeros(n)
        slow = self._slow(n, key, nuisances, eye_uv)
        if clock is not None and wander_uv:
            rng = np.random.default_rng([self.shared_seed, self.subject, session, 4])
            slow.append(confounds.walk(clock, len(self._rows), self.n_times, uv=wander_uv, rng=rng))
        # torch's normals are drawn in half the time of numpy's
        noise = torch.Generator().manual_seed(int(np.random.SeedSequence([*key, 0]).generate_state(1)[0]))
        mixers = self._mixers(session)
        for start in range(0, n, _CHUNK):
            part = slice(start, start + _CHUNK)
            x_NCT = self._trials(z[part], gain_N[part], late_N[part], noise, mixers)
            if slow:  # one pass over the trials for all that is slow
                weight_NCR = np.stack([weight[part] for weight, _ in slow], 2)
                course_NRT = np.empty((len(weight_NCR), len(slow), self.n_times), np.float32)
                for r, (_, course) in enumerate(slow):
                    course_NRT[:, r] = course if len(course) == 1 else course[part]
                x_NCT = torch.baddbmm(x_NCT, torch.from_numpy(weight_NCR), torch.from_numpy(course_NRT))
            out[part] = x_NCT.numpy()
        return out

    def responses(self, session: int = 0) -> np.ndarray:
        """Response common to all pictures and those to each feature, in microvolt, (1 + K, C, T), under that cap."""
        return np.fft.irfft(self._shifted(session)[0], n=self.n_times).astype(np.float32)

    # -- pieces of a trial

    @cached_property
    def _rows(self) -> list[int]:
        return [load_head().ch_names.index(c) for c in self.ch_names]

    @cached_property
    def _real_only(self) -> np.ndarray:
        """Coefficients without an imaginary part: the mean, and the highest when the window is even, shape (F,)."""
        edge = np.zeros(len(self.freqs), bool)
        edge[0], edge[-1] = True, self.n_times % 2 == 0
        return edge

    def _shifted(self, session: int) -> tuple[np.ndarray, np.ndarray]:
        """Return common response and sources, (1 + K, C, F), and noise factors, where the cap sits in that session.

        Mixing these is cheaper than mixing every trial.
        """
        w_KCF, common_CF = self.sources
        spectra_KCF, factor_FCC, mix = (
            np.concatenate([common_CF[None], w_KCF]),
            self.noise_factor,
            self._cap_shift(session),
        )
        return (spectra_KCF, factor_FCC) if mix is None else (mix @ spectra_KCF, mix @ factor_FCC)

    def _mixers(self, session: int) -> tuple[Tensor, Tensor]:
        """`_shifted` as real numbers, (1 + K, C * F_low * 2), and transposed."""
        spectra_KCF, factor_FCC = self._shifted(session)
        low = np.ascontiguousarray(spectra_KCF[..., self.freqs <= _BAND_HZ])
        flat = torch.view_as_real(torch.from_numpy(low)).reshape(len(low), -1)
        return flat, torch.from_numpy(np.ascontiguousarray(factor_FCC.transpose(0, 2, 1)))

    def _trials(
        self, z_NK: np.ndarray, gain_N: np.ndarray, late_N: np.ndarray, rng: torch.Generator,
        mixers: tuple[Tensor, Tensor],
    ) -> Tensor:  # fmt: skip
        """Noise and responses, (n, C, T)."""
        (flat, factor_FCC), n, n_c, n_f = mixers, len(z_NK), len(self._rows), len(self.freqs)
        # drawn trial by trial, so that a trial does not depend on its neighbours, and in whole groups of torch's 16
        size = 2 * n * n_f * n_c
        draw = torch.empty(-(-size // 16) * 16).normal_(generator=rng)[:size].view(2 * n, n_f, n_c)
        noise = torch.bmm(draw.transpose(0, 1), factor_FCC).view(n_f, n, 2, n_c)
        x_NCF = torch.view_as_complex(noise.permute(1, 3, 0, 2).contiguous())
        weight_NK = torch.from_numpy(np.column_stack([gain_N, gain_N[:, None] * z_NK]).astype(np.float32))
        evoked_NCF = torch.view_as_complex((weight_NK @ flat).view(n, n_c, -1, 2))
        n_low = evoked_NCF.shape[2]
        turn_NF = np.exp(-2j * np.pi * late_N[:, None] * self.freqs[:n_low]).astype(np.complex64)
        x_NCF[..., :n_low] += evoked_NCF.mul_(torch.from_numpy(turn_NF)[:, None])
        # the imaginary parts of the mean, and of the highest frequency of an even window, are ignored
        return torch.fft.irfft(x_NCF, n=self.n_times)

    def _slow(self, n: int, key: list[int], nuisances: bool, eye_uv: np.ndarray | None) -> list[confounds.Slow]:
        """Draw what moves with the cap: blinks and drift, and the eyes."""
        t, where, mix = np.arange(self.n_times) / self.sfreq, load_head().where[self._rows], self._cap_shift(key[-1])
        slow = []
        if nuisances:
            rngs = [np.random.default_rng([*key, k]) for k in (2, 3)]
            slow.append(confounds.blinks(n, where, t, rate=self.blink_rate, rng=rngs[0]))
            slow.append(confounds.drift(n, len(where), t, uv=self.drift_uv, rng=rngs[1]))
        if eye_uv is not None:
            slow.append(confounds.saccade(eye_uv, where, t))
        return slow if mix is None else [(weight @ mix.T, course) for weight, course in slow]

    def _cap_shift(self, session: int) -> np.ndarray | None:
        """Mixing of the channels when the cap sits a little elsewhere, (C, C)."""
        if not session:
            return None
        rng, where = np.random.default_rng([self.shared_seed, self.subject, session, 3]), load_head().where[self._rows]
        shift = where + rng.normal(0, 0.04, 3) + rng.normal(0, 0.01, where.shape)
        near = lambda a: np.exp(-((a[:, None] - where[None]) ** 2).sum(2) / 0.02)  # noqa: E731
        mix = np.linalg.solve(near(where) + 0.1 * np.eye(len(where)), near(shift).T).T
        return (mix * np.exp(0.05 * rng.normal(size=(len(where), 1)))).astype(np.float32)


def _bump(t: np.ndarray, mu: float, sd: float) -> np.ndarray:
    return np.exp(-0.5 * ((t - mu) / sd) ** 2)
