"""Retrieval systems as their authors wrote them, trained on a CPU: for `retrieval_training.py`, which says how.

Each `theirs_*` takes a checkout, the arrays, epochs, a seed and an empty folder. It returns the clock of the training,
and, of the test part, decoded EEG and gallery, both (200, D).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import io
import logging
import os
import pickle
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from retrieval_training import Data

ABSENT = {"clip", "open_clip", "braindecode", "torchvision", "eegdatasets_leaveone", "wandb", "pytorch_lightning",
          "omegaconf", "cv2", "reformer_pytorch", "tqdm", "models.util"}  # fmt: skip


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


Trained = tuple[Steps, Tensor, Tensor]


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


def theirs_nice(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> Trained:
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
        system = module.IE(SimpleNamespace(batch_size=data.batch, epoch=epochs, dnn="clip"), 1)
        system.eeg_data_path = system.img_data_path = system.test_center_path = f"{folder}/"
        torch.optim.Adam = steps.wrap(torch.optim.Adam)  # type: ignore[misc]
        system.train()  # and leaves it in evaluation mode
        with torch.no_grad():
            z = system.Proj_eeg(system.Enc_eeg(torch.from_numpy(data.test)[:, None]))
    return steps, z, torch.from_numpy(data.gallery)


def theirs_atm(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> Trained:
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
            TensorDataset(eeg, label, label, image, label, image), batch_size=data.batch, shuffle=True, drop_last=True
        )
        for _ in range(epochs):
            module.train_model("sub-01", model, batches, optimiser, torch.device("cpu"), image, image, None)
        model.eval()
        with torch.no_grad():
            test = torch.from_numpy(data.test)
            z = model(test, torch.ones(len(test), dtype=torch.long))
    return steps, z, torch.from_numpy(data.gallery)


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


def theirs_ubp(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> Trained:
    batches = torch.utils.data.DataLoader(Blurs(data), batch_size=data.batch, shuffle=True)
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
        brain = backbone.EEGProjectLayer(data.dim, data.train.shape[1], [0, data.train.shape[2]])
        config = {
            "z_dim": data.dim,
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
    return steps, z, torch.from_numpy(data.views_test[:, 1])


def theirs_liu(root: Path, data: Data, epochs: int, seed: int, folder: Path) -> Trained:
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
            "train_batch_size": data.batch, "net_name": "Brain_Visual_Encoder_EEG", "epoch": epochs, "mixup": False,
            "blur_level": [f"l_{k}" for k in BLUR_LEVELS], "save_path": str(folder), "save_feature": False, "lr": 1e-3,
        }  # fmt: skip
        module.args, module.params = SimpleNamespace(lr=params["lr"]), params  # read as globals there
        built: list[Any] = []
        network = module.models.Brain_Visual_Encoder_EEG
        module.models.Brain_Visual_Encoder_EEG = lambda *a: built.append(network(*a)) or built[-1]
        module.train(params, logging.getLogger("liu"))
        model = built[0].eval()
        with torch.no_grad():
            z, gallery = model(torch.from_numpy(data.test)), model.get_image_feature(torch.from_numpy(data.views_test))
    return steps, z, gallery
