"""Seconds per epoch, memory and accuracy of retrieval systems: ours beside the same as its authors wrote it.

    python benchmarks/retrieval_training.py --nice NICE-EEG --atm EEG_Image_decode --ubp Uncertainty-aware-Blur-Prior \
        --liu VisualEEGDecoding
    python benchmarks/retrieval_training.py --nice NICE-EEG --trials 2000 --epochs 5 --threads 1    # a quick look

Each option is a checkout of the authors' repository; none is part of this one:

    --nice  github.com/eeyhsong/NICE-EEG                        class IE, method train
    --atm   github.com/dongyangli-del/EEG_Image_decode          class ATMS, function train_model
    --ubp   github.com/HaitaoWuTJU/Uncertainty-aware-Blur-Prior class PLModel, method training_step
    --liu   github.com/makeitperfect/VisualEEGDecoding          function train

Their model classes and their training steps run as they stand, on a CPU: ``.cuda()`` returns its tensor, and packages
that they import and a training step does not need (CLIP, Lightning, wandb, ...) are empty where they are absent; einops
must be there. Both sides get the same arrays, of a phantom in the manner of THINGS-EEG2: averaged trials of 63 x 250
(UBP 17 x 250), CLIP features turned into the number of dimensions that the authors' code has written down, which
changes no cosine. Where they hold trials out for validation, ours go without the same ones. The test is on 200 new
pictures, 20 repetitions averaged, whose own features are the gallery.

Every side runs in a process of its own, one after the other. Time per epoch counts training alone: for theirs from the
first batch that is drawn to the last step, so that their validation and their tests do not count; for ours all of
`fit`. Where theirs drop a last batch that is not full, so do ours. All answer with the weights of the last epoch.
Seconds of processor time are printed beside seconds on the clock, since the former bear a busy machine, and the ratio
is theirs. Memory is the greatest resident size of the process, the arrays included. "More" is ours less theirs over
the same pictures. Its interval is that of the pictures alone: another seed of training moves both sides, so that a
difference needs several.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import authors
from authors import now

SYSTEMS = ("nice", "atm", "ubp", "liu")
DIMS = {"nice": 768, "atm": 1024, "ubp": 1024, "liu": 1024}
SIDES = {"theirs": "", "ours": "float32", "bfloat16": "bfloat16"}
BATCH = {"nice": 1000, "atm": 64, "ubp": 1024, "liu": 1024}


# --- data ---------------------------------------------------------------------------------------------------------


def make_data(folder: Path, n_trials: int) -> None:
    """Write averaged trials and CLIP features of a phantom, the same for everybody."""
    from sightwave.datasets.phantom import Phantom
    from sightwave.fold import Fold
    from sightwave.preprocess import Average, PickChannels, Standardise, Whiten
    from sightwave.recipes import nice
    from sightwave.story import audited
    from sightwave.targets.blur_choice import foveated
    from sightwave.targets.fusion import blurred

    world = Phantom.like("things-eeg2", categories=n_trials // 10, test_repetitions=20, n_subjects=1)
    recipe = replace(nice.recipe, dataset=world, steps=(Whiten(), Average(), Standardise()))
    recipe, trials, stimuli, (split,), _ = audited(recipe)
    fold = Fold(recipe, split, stimuli, subjects=("01",), device="cpu")
    train = fold._train
    test = fold.prepare(trials[split.test_rows].average())
    row = {s: i for i, s in enumerate(stimuli.ids)}
    parts = {"train": train, "test": test}
    for name, part in parts.items():
        order = np.argsort(part.events["stimulus"].to_numpy().astype(str))  # ten pictures of a concept in a row
        parts[name] = part[order]
        np.save(folder / f"eeg_{name}.npy", np.ascontiguousarray(parts[name].eeg, np.float32))
    views = {"image": [nice.image], "fovea": foveated(), "blur": blurred()}
    for kind, targets in views.items():
        x = np.stack([t.embed(stimuli, ()).vectors for t in targets], 1)
        x /= np.linalg.norm(x, axis=2, keepdims=True)
        for dim in set(DIMS.values()):
            turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, x.shape[2])))[0].T.astype(np.float32)
            for name, part in parts.items():
                rows = [row[s] for s in part.events["stimulus"]]
                np.save(folder / f"{kind}_{name}_{dim}.npy", np.ascontiguousarray((x @ turn)[rows]))
    kept = PickChannels(regions=("posterior",)).apply(trials[:1]).ch_names
    np.save(folder / "posterior.npy", np.isin(trials.ch_names, kept))


class Data:
    """What `make_data` wrote, for one system."""

    def __init__(self, folder: Path, system: str):
        self.dim, self.batch = DIMS[system], BATCH[system]
        read = {name: np.load(folder / f"eeg_{name}.npy") for name in ("train", "test")}
        if system == "ubp":
            keep = np.load(folder / "posterior.npy")
            read = {name: np.ascontiguousarray(x[:, keep]) for name, x in read.items()}
        self.train, self.test = read["train"], read["test"]
        self.image, self.gallery = (np.load(folder / f"image_{p}_{self.dim}.npy")[:, 0] for p in ("train", "test"))
        kind = {"ubp": "fovea", "liu": "blur"}.get(system)
        self.views = self.views_test = None
        if kind:
            self.views, self.views_test = (np.load(folder / f"{kind}_{p}_{self.dim}.npy") for p in ("train", "test"))


def ranks(eeg_ND: Tensor, gallery_ND: Tensor) -> list[int]:
    """Rank of each trial's own picture by cosine, from 1; ties against."""
    s_NN = F.normalize(eeg_ND, dim=1) @ F.normalize(gallery_ND, dim=1).T
    found: list[int] = (s_NN >= s_NN.diagonal()[:, None]).sum(1).tolist()
    return found


# --- ours ---------------------------------------------------------------------------------------------------------


def ours(
    system: str, data: Data, epochs: int, seed: int, precision: str
) -> tuple[list[tuple[float, float]], Tensor, Tensor]:
    """Train the same system here; returns what each epoch took, on the clock and of the processor, EEG and gallery."""
    from sightwave.align import Aligner, straight
    from sightwave.encoders.atms import ATMS
    from sightwave.encoders.nice import TSConv
    from sightwave.encoders.positive_spatial import PositiveSpatial
    from sightwave.encoders.project import EEGProject
    from sightwave.losses.blur_prior import BlurPrior
    from sightwave.losses.contrastive import InfoNCE
    from sightwave.targets.base import Lookup
    from sightwave.targets.blur_choice import ChoiceTower
    from sightwave.targets.fusion import FusionTower
    from sightwave.train import Stage, TrialSet, decode, fit

    dim, n, space = data.dim, len(data.train), "clip"
    image = torch.from_numpy(np.concatenate([data.image, data.gallery]))
    np.random.seed(seed)
    order = np.random.permutation(n)  # as theirs draw their validation part
    rows = {"nice": order[740:], "liu": order[: int(n * 0.95)]}.get(system, np.arange(n))
    torch.manual_seed(seed)
    encoder: Callable[..., Any] = {
        "nice": partial(TSConv, width=dim, init_std=0.02), "atm": partial(ATMS, width=dim, legacy=True),
        "ubp": partial(EEGProject, width=dim), "liu": PositiveSpatial,
    }[system]  # fmt: skip
    tower: nn.Module = Lookup(image)
    if data.views is not None:
        assert data.views_test is not None
        views = torch.from_numpy(np.concatenate([data.views, data.views_test]))
        if system == "ubp":
            tower = ChoiceTower(views)
        else:
            parts = [Lookup(views[:, m]) for m in range(views.shape[1])]
            mixed = FusionTower(parts, len(views), by="dimension", n_default=4, start=None, normalise=True)
            after = nn.Sequential(nn.Linear(dim, 768), nn.ELU(), nn.Dropout(0.85), nn.Linear(768, dim))
            tower = nn.Sequential(mixed, after)
    loss = {
        "nice": partial(InfoNCE, space=space, scale="fixed"),
        "atm": partial(InfoNCE, space=space, scale="raw", normalise="target"),
        "ubp": partial(BlurPrior, space=space),
        "liu": partial(InfoNCE, space=space, scale="one", normalise="target"),
    }[system]
    lr, decay = {"nice": (2e-4, 0.0), "atm": (3e-4, 1e-2), "ubp": (1e-4, 1e-4), "liu": (1e-3, 1e-2)}[system]
    stage = Stage(
        losses=(loss,), epochs=epochs, batch_size=data.batch, drop_last=system in ("atm", "liu"), lr=lr,
        weight_decay=decay, precision=precision,
    )  # fmt: skip
    aligner = Aligner(encoder(*data.train.shape[1:]), {space: dim}, head=straight)
    zero = torch.zeros(n, dtype=torch.long)
    trials = TrialSet(data.train[rows], zero[rows], torch.from_numpy(rows))
    ticks = [now()]
    fit(
        aligner, [stage], trials, {space: tower}, seed=seed,
        progress=lambda done, total: ticks.append(now()),
    )  # fmt: skip
    seconds = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ticks)]
    test = TrialSet(data.test, torch.zeros(len(data.test), dtype=torch.long), torch.arange(len(data.test)))
    z = torch.from_numpy(decode(aligner, test)[space])
    with torch.no_grad():
        gallery = tower.eval()(n + torch.arange(len(data.test)))
    return seconds, z, gallery


# --- both ---------------------------------------------------------------------------------------------------------


def child(folder: Path, system: str, side: str, root: str, epochs: int, seed: int, threads: int) -> None:
    """Run one side of one system and print what it took as JSON."""
    torch.set_num_threads(threads)
    data = Data(folder, system)
    if side == "theirs":
        with tempfile.TemporaryDirectory() as own:
            there = getattr(authors, f"theirs_{system}")
            steps, z, gallery = there(Path(root).resolve(), data, epochs, seed, Path(own))
        seconds = steps.seconds()
    else:
        seconds, z, gallery = ours(system, data, epochs, seed, SIDES[side])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print("RESULT" + json.dumps({"seconds": seconds, "ranks": ranks(z, gallery), "memory": peak}))


def interval(hits_SN: np.ndarray) -> str:
    """Mean of accuracies over seeds, and its 95 % interval by the test pictures alone (Wilson), in percent."""
    p, n, z = hits_SN.mean(), hits_SN.shape[1], 1.96
    middle, half = (p + z * z / 2 / n), z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    low, high = ((middle + s * half) / (1 + z * z / n) for s in (-1, 1))
    return f"{100 * p:5.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def gain(hits_SN: np.ndarray, theirs_SN: np.ndarray) -> str:
    """Points more than theirs on the same pictures, the mean over seeds, and its 95 % interval (bootstrap)."""
    more_N = 100 * (hits_SN.mean(0) - theirs_SN.mean(0))
    again = np.random.default_rng(0).choice(more_N, (10_000, len(more_N))).mean(1)
    low, high = np.percentile(again, (2.5, 97.5))
    return f"{more_N.mean():+5.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for system in SYSTEMS:
        ask.add_argument(f"--{system}", default="", help="checkout of the authors' repository")
    ask.add_argument("--trials", type=int, default=16540)
    ask.add_argument("--epochs", type=int, default=10)
    ask.add_argument("--seeds", type=int, nargs="+", default=[0])
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--bfloat16", action="store_true", help="a third row: ours, with products in half precision")
    ask.add_argument("--arrays", type=Path, help="folder that keeps the arrays, so that they are made once")
    ask.add_argument("--child", nargs=5, metavar=("FOLDER", "SYSTEM", "SIDE", "ROOT", "SEED"), help=argparse.SUPPRESS)
    a = ask.parse_args()
    if a.child:
        folder, system, side, root, seed = a.child
        child(Path(folder), system, side, root, a.epochs, int(seed), a.threads)
        return
    wanted = {s: getattr(a, s) for s in SYSTEMS if getattr(a, s)}
    if not wanted:
        raise SystemExit("Give at least one checkout, e.g. --nice NICE-EEG; see the top of this file.")
    with tempfile.TemporaryDirectory() as own:
        folder = str(a.arrays or own)
        if not (Path(folder) / "posterior.npy").is_file():  # the last one that is made
            Path(folder).mkdir(exist_ok=True)
            make_data(Path(folder), a.trials)
        n_trials = len(np.load(Path(folder) / "eeg_train.npy", mmap_mode="r"))
        print(f"{n_trials} averaged trials, {a.epochs} epochs, seeds {a.seeds}, {a.threads} thread(s), torch "
              f"{torch.__version__}; phantom, 200 new pictures, 20 repetitions")  # fmt: skip
        print(f"{'':14}{'s/epoch':>9}{'cpu s':>8}{'ratio':>7}{'MB':>7}  {'top-1':<19}  {'top-5':<19}  "
              f"{'top-1, more':<19}  top-5, more")  # fmt: skip
        for system, root in wanted.items():
            found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES if a.bfloat16 or side != "bfloat16"}
            for seed in a.seeds:  # the sides take turns
                for side, runs in found.items():
                    line = [sys.executable, __file__, "--epochs", str(a.epochs), "--threads", str(a.threads),
                            "--child", folder, system, side, root, str(seed)]  # fmt: skip
                    done = subprocess.run(line, capture_output=True, text=True, check=False)
                    said = [x for x in done.stdout.splitlines() if x.startswith("RESULT")]
                    if not said:
                        raise SystemExit(f"{system}, {side} failed:\n{done.stderr[-3000:]}")
                    runs.append(json.loads(said[-1].removeprefix("RESULT")))
            table(system, found)


def table(system: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print a row per side."""
    hits = {side: {k: np.array([r["ranks"] for r in runs]) <= k for k in (1, 5)} for side, runs in found.items()}
    base = 0.0
    for side, runs in found.items():
        # the first epoch warms up
        each = [e for r in runs for e in (r["seconds"][1:] or r["seconds"])]
        clock, cpu = (statistics.median(e[i] for e in each) for i in (0, 1))
        base = base or cpu
        memory = max(r["memory"] for r in runs)
        words = [interval(hits[side][k]) for k in (1, 5)]
        words += [gain(hits[side][k], hits["theirs"][k]) for k in (1, 5) if side != "theirs"]
        print(f"{system + ', ' + side:14}{clock:9.2f}{cpu:8.2f}{cpu / base:7.2f}{memory:7.0f}  "
              + "  ".join(f"{w:<19}" for w in words).rstrip(), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
