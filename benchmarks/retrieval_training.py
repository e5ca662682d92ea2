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
`fit`. Seconds of processor time are printed beside seconds on the clock, since the former bear a busy machine, and the
ratio is theirs. Memory is the greatest resident size of the process, the arrays included.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.util
import io
import json
import logging
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SYSTEMS = ("nice", "atm", "ubp", "liu")
DIMS = {"nice": 768, "atm": 1024, "ubp": 1024, "liu": 1024}
BATCH = {"nice": 1000, "atm": 64, "ubp": 1024, "liu": 1024}
ABSENT = {"clip", "open_clip", "braindecode", "torchvision", "eegdatasets_leaveone", "wandb", "pytorch_lightning",
          "omegaconf", "cv2", "reformer_pytorch", "tqdm", "models.util"}  # fmt: skip


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
        dim = DIMS[system]
        read = {name: np.load(folder / f"eeg_{name}.npy") for name in ("train", "test")}
        if system == "ubp":
            keep = np.load(folder / "posterior.npy")
            read = {name: np.ascontiguousarray(x[:, keep]) for name, x in read.items()}
        self.train, self.test = read["train"], read["test"]
        self.image, self.gallery = (np.load(folder / f"image_{p}_{dim}.npy")[:, 0] for p in ("train", "test"))
        kind = {"ubp": "fovea", "liu": "blur"}.get(system)
        self.views = self.views_test = None
        if kind:
            self.views, self.views_test = (np.load(folder / f"{kind}_{p}_{dim}.npy") for p in ("train", "test"))


def accuracy(eeg_ND: Tensor, gallery_ND: Tensor) -> tuple[float, float]:
    """Top-1 and top-5 in percent by cosine, ties against."""
    s_NN = F.normalize(eeg_ND, dim=1) @ F.normalize(gallery_ND, dim=1).T
    rank_N = (s_NN >= s_NN.diagonal()[:, None]).sum(1)
    return tuple(100 * (rank_N <= k).float().mean().item() for k in (1, 5))  # type: ignore[return-value]


# --- theirs -------------------------------------------------------------------------------------------------------


class Steps:
    """Clock of their training: when an epoch begins to draw its shuffled batches, and when each step has ended."""

    def __init__(self) -> None:
        self.epochs: list[list[tuple[float, float]]] = []
        draw = torch.utils.data.DataLoader.__iter__

        def told(loader: Any) -> Any:
            if isinstance(loader.sampler, torch.utils.data.RandomSampler):
                self.epochs.append([now()])
            return draw(loader)

        torch.utils.data.DataLoader.__iter__ = told  # type: ignore[method-assign]

    def wrap(self, base: type) -> type:
        """Make an optimiser class that tells when it has stepped."""
        epochs = self.epochs

        class Told(base):  # type: ignore[misc, valid-type]
            def step(self, *given: Any, **named: Any) -> Any:
                done = super().step(*given, **named)
                epochs[-1].append(now())
                return done

        return Told

    def seconds(self) -> list[tuple[float, float]]:
        """Seconds on the clock and of the processor of each epoch, without validation and tests."""
        return [(e[-1][0] - e[0][0], e[-1][1] - e[0][1]) for e in self.epochs]


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class Pretend(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Give an empty module for a package that is absent and that no training step needs."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Know the names that may be absent."""
        known = name in ABSENT or name.split(".")[0] in ABSENT
        return ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make a module in which every name is an empty class."""
        module = ModuleType(spec.name)

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name == "LightningModule":
                quiet = {k: lambda self, *a, **kw: None for k in ("log", "log_dict")}
                return type(name, (nn.Module,), quiet | {"device": torch.device("cpu")})
            if name == "tqdm":
                return lambda x, *a, **kw: x
            return type(name, (), {})

        module.__getattr__ = missing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def load(file: Path, root: Path) -> Any:
    """Import a file of a checkout, with its folder on the path."""
    sys.meta_path.append(Pretend())
    sys.path[:0] = [str(file.parent), str(root)]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def on_cpu(folder: Path) -> Iterator[None]:
    """Let code that says ``.cuda()`` run without, in a folder of its own, and keep what it prints to itself."""
    before = Path.cwd()
    nn.Module.cuda = Tensor.cuda = lambda self, *a, **kw: self  # type: ignore[method-assign, assignment]
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)


def theirs_nice(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> tuple[Steps, tuple[float, float]]:
    files = folder / "sub-01"
    files.mkdir()
    (folder / "model").mkdir()
    for name, x in (("training", data.train), ("test", data.test)):
        (files / f"preprocessed_eeg_{name}.npy").write_bytes(pickle.dumps({"preprocessed_eeg_data": x[:, None]}))
    np.save(folder / "clip_feature_maps_training.npy", data.image)
    np.save(folder / "clip_feature_maps_test.npy", data.gallery)
    np.save(folder / "center_clip.npy", data.gallery)
    steps = Steps()
    with on_cpu(folder):
        module = load(root / "nice_stand.py", root)
        module.result_path = f"{folder}/"
        torch.cuda.FloatTensor, torch.cuda.LongTensor = torch.FloatTensor, torch.LongTensor
        torch.manual_seed(seed)
        np.random.seed(seed)
        system = module.IE(SimpleNamespace(batch_size=BATCH["nice"], epoch=epochs, dnn="clip"), 1)
        system.eeg_data_path = system.img_data_path = system.test_center_path = f"{folder}/"
        torch.optim.Adam = steps.wrap(torch.optim.Adam)  # type: ignore[misc]
        top = system.train()
    return steps, (100 * top[0], 100 * top[2])


def theirs_atm(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> tuple[Steps, tuple[float, float]]:
    from torch.utils.data import DataLoader, TensorDataset

    eeg, image = torch.from_numpy(data.train), torch.from_numpy(data.image)
    label = torch.arange(len(eeg)) // 10
    with on_cpu(folder):
        module = load(root / "Retrieval" / "ATMS_retrieval.py", root)
        torch.manual_seed(seed)
        model = module.ATMS()
        steps = Steps()
        optimiser = steps.wrap(torch.optim.AdamW)(model.parameters(), lr=3e-4)
        # one per cent of their loss is on texts; the pictures stand in for them, so that it is the same on both sides
        batches = DataLoader(
            TensorDataset(eeg, label, label, image, label, image), batch_size=BATCH["atm"], shuffle=True, drop_last=True
        )
        for _ in range(epochs):
            module.train_model("sub-01", model, batches, optimiser, torch.device("cpu"), image, image, None)
        model.eval()
        with torch.no_grad():
            test = torch.from_numpy(data.test)
            z = model(test, torch.ones(len(test), dtype=torch.long))
    return steps, accuracy(z, torch.from_numpy(data.gallery))


class Blurs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Trials and the features of the level of blur that UBP's labels ask for."""

    def __init__(self, data: Data):
        self.data, self.match_label = data, np.ones(len(data.train), int)

    def __len__(self) -> int:
        return len(self.data.train)

    def __getitem__(self, i: int) -> dict[str, Any]:
        assert self.data.views is not None
        features = self.data.views[i, self.match_label[i]]
        return {"idx": i, "eeg": self.data.train[i], "img": 0, "img_features": features}


def theirs_ubp(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> tuple[Steps, tuple[float, float]]:
    batches = torch.utils.data.DataLoader(Blurs(data), batch_size=BATCH["ubp"], shuffle=True)
    steps = Steps()
    # without a GPU its choice of one fails, while it is imported
    fake = folder / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho '0, 1, 1'\n")
    fake.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    with on_cpu(folder):
        module = load(root / "main.py", root)
        backbone = importlib.import_module("base.eeg_backbone")
        torch.manual_seed(seed)
        brain = backbone.EEGProjectLayer(DIMS["ubp"], data.train.shape[1], [0, data.train.shape[2]])
        config = {
            "z_dim": DIMS["ubp"],
            "data": {"uncertainty_aware": True},
            "train": {"optimizer": "AdamW", "lr": 1e-4},
        }
        module.AdamW = steps.wrap(torch.optim.AdamW)
        model = module.PLModel({"brain": brain}, config, batches, None)
        model.trainer = SimpleNamespace(num_training_batches=len(batches), train_dataloader=batches)
        (optimiser,) = model.configure_optimizers()
        for _ in range(epochs):
            for i, batch in enumerate(batches):
                optimiser.zero_grad()
                model.training_step(batch, i).backward()
                optimiser.step()
        model.eval()
        with torch.no_grad():
            z = brain(torch.from_numpy(data.test))
    assert data.views_test is not None
    return steps, accuracy(z, torch.from_numpy(data.views_test[:, 1]))


def theirs_liu(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> tuple[Steps, tuple[float, float]]:
    from sightwave.targets.views import BLUR_LEVELS

    (folder / "Image_feature").mkdir()
    (folder / "Preprocessed_data" / "sub-01").mkdir(parents=True)
    for name, eeg, views in (("train", data.train, data.views), ("test", data.test, data.views_test)):
        assert views is not None
        paths = np.array([[f"{name}/{i:05d}.jpg"] for i in range(len(eeg))])
        torch.save(
            {"eeg": eeg[:, None], "img": paths},
            folder / "Preprocessed_data" / "sub-01" / f"{name}.pt",
            pickle_protocol=5,
        )
        levels = {
            str(k): {p: torch.from_numpy(v) for p, v in zip(paths[:, 0], views[:, m], strict=True)}
            for m, k in enumerate(BLUR_LEVELS)
        }
        torch.save(levels, folder / "Image_feature" / f"MultiBlur_RN50_{name}.pt")
    steps = Steps()
    with on_cpu(folder):
        module = load(root / "main_eeg.py", root)
        torch.optim.AdamW = steps.wrap(torch.optim.AdamW)  # type: ignore[misc]
        from sightwave.phantom.head import THINGS63

        params = {
            "seed": seed, "data_path": str(folder), "sub": 1, "cross_subject": False, "select_chs": list(THINGS63),
            "use_filter": False, "low_freq": 0.1, "high_freq": 50.0, "select_period": [0, 250],
            "train_batch_size": BATCH["liu"], "net_name": "Brain_Visual_Encoder_EEG", "epoch": epochs, "mixup": False,
            "blur_level": [f"l_{k}" for k in BLUR_LEVELS], "save_path": str(folder), "save_feature": False, "lr": 1e-3,
        }  # fmt: skip
        module.args, module.params = SimpleNamespace(lr=params["lr"]), params  # read as globals there
        found = module.train(params, logging.getLogger("liu"))
    return steps, tuple(100 * found[f"test_top{k}_acc_points"][-1] for k in (1, 5))  # type: ignore[return-value]


# --- ours ---------------------------------------------------------------------------------------------------------


def ours(system: str, data: Data, epochs: int, seed: int) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Train the same system here; returns what each epoch took, on the clock and of the processor, and the accuracy."""
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

    dim, n, space = DIMS[system], len(data.train), "clip"
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
    stage = Stage(losses=(loss,), epochs=epochs, batch_size=BATCH[system], lr=lr, weight_decay=decay)
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
    return seconds, accuracy(z, gallery)


# --- both ---------------------------------------------------------------------------------------------------------


def child(folder: Path, system: str, root: str, epochs: int, seed: int, threads: int) -> None:
    """Run one side of one system and print what it took as JSON."""
    torch.set_num_threads(threads)
    data = Data(folder, system)
    if root:
        there = {"nice": theirs_nice, "atm": theirs_atm, "ubp": theirs_ubp, "liu": theirs_liu}[system]
        with tempfile.TemporaryDirectory() as own:
            steps, top = there(Path(root).resolve(), data, epochs, seed, Path(own))
        seconds = steps.seconds()
    else:
        seconds, top = ours(system, data, epochs, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print("RESULT" + json.dumps({"seconds": seconds, "top": top, "memory": peak}))


def interval(hits: Sequence[float]) -> str:
    """Mean of accuracies over seeds, and its 95 % interval by the test pictures alone (Wilson), in percent."""
    p, n, z = statistics.mean(hits) / 100, 200, 1.96
    middle, half = (p + z * z / 2 / n), z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    low, high = ((middle + s * half) / (1 + z * z / n) for s in (-1, 1))
    return f"{100 * p:5.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for system in SYSTEMS:
        ask.add_argument(f"--{system}", default="", help="checkout of the authors' repository")
    ask.add_argument("--trials", type=int, default=16540)
    ask.add_argument("--epochs", type=int, default=10)
    ask.add_argument("--seeds", type=int, nargs="+", default=[0])
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--arrays", type=Path, help="folder that keeps the arrays, so that they are made once")
    ask.add_argument("--child", nargs=4, metavar=("FOLDER", "SYSTEM", "ROOT", "SEED"), help=argparse.SUPPRESS)
    a = ask.parse_args()
    if a.child:
        folder, system, root, seed = a.child
        child(Path(folder), system, root, a.epochs, int(seed), a.threads)
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
        print(f"{'':16}{'s/epoch':>9}{'cpu s':>8}{'ratio':>7}{'MB':>7}  {'top-1':<19}  top-5")
        for system, root in wanted.items():
            cpu = {}
            for side, where in (("theirs", root), ("ours", "")):
                found = []
                for seed in a.seeds:
                    line = [sys.executable, __file__, "--epochs", str(a.epochs), "--threads", str(a.threads),
                            "--child", folder, system, where, str(seed)]  # fmt: skip
                    done = subprocess.run(line, capture_output=True, text=True, check=False)
                    said = [x for x in done.stdout.splitlines() if x.startswith("RESULT")]
                    if not said:
                        raise SystemExit(f"{system}, {side} failed:\n{done.stderr[-3000:]}")
                    found.append(json.loads(said[-1].removeprefix("RESULT")))
                # the first epoch warms up
                each = [e for f in found for e in (f["seconds"][1:] or f["seconds"])]
                clock, cpu[side] = (statistics.median(e[i] for e in each) for i in (0, 1))
                tops = [interval([f["top"][i] for f in found]) for i in (0, 1)]
                memory = max(f["memory"] for f in found)
                print(f"{system + ', ' + side:16}{clock:9.2f}{cpu[side]:8.2f}{cpu[side] / cpu['theirs']:7.2f}"
                      f"{memory:7.0f}  {tops[0]:<19}  {tops[1]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
