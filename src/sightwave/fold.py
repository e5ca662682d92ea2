"""One fold: steps fitted, one decoder per seed trained, test trials decoded and questioned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from sightwave import files
from sightwave.align import STRANGER, Aligner
from sightwave.cache import stored
from sightwave.decode.base import Decoded, Task, joined, side_by_side
from sightwave.decode.captions import Keeper, most_alike, noise_like
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.decoder import Decoder, begin_with, learnt
from sightwave.embeddings import Embeddings
from sightwave.errors import RecipeError
from sightwave.judge.ceiling import noise_free_map
from sightwave.ondisk import OnDisk, fits
from sightwave.preprocess import Step
from sightwave.recipe import Recipe
from sightwave.results import Predictions, read_weights
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.train import Meter, Stage, TrialSet, decode, fit, fit_stacked, n_learning
from sightwave.trials import Trials

Progress = Callable[[int, int], None]
_EPOCH = "epoch-{:04d}.safetensors"


class Fold:
    """A split with its steps fitted on the training part, ready to train one decoder per seed.

    Parameters
    ----------
    recipe : Recipe
    split : Split
        Its test part stays sealed.
    stimuli : Stimuli
    subjects : sequence of str
        Their order gives each subject that is trained its index.
    device : str
        As torch names it.

    Raises
    ------
    RecipeError
        If subjects have heads of their own and a test subject's is not trained, unless the recipe takes the mean.
    """

    def __init__(self, recipe: Recipe, split: Split, stimuli: Stimuli, *, subjects: Sequence[str], device: str):
        self.recipe, self.stimuli, self.device = recipe, stimuli, device
        trained = set(split.trials.events["subject"].iloc[split.train_rows].unique())
        strangers = sorted(set(split.test.events["subject"].unique()) - trained)
        if recipe.subject_heads and strangers and recipe.unknown_subjects == "refuse":
            raise RecipeError(
                f"Fold {split.name!r} tests subject(s) {', '.join(strangers)}, whose heads it never trains. "
                "Use unknown_subjects='mean' or subject_heads=False for subjects that are left out."
            )
        self.name, self.steps = split.name, list[Step]()
        self._train, self._val = _near(split.train), _near(split.val)
        for step in recipe.steps:
            self.steps.append(step.fit_once(self._train))
            self._train, self._val = _near(self.steps[-1](self._train)), _near(self.steps[-1](self._val))
        if self.steps:
            self._train, self._val = (_written(t, half=_is_half(split.trials)) for t in (self._train, self._val))
        self._subject = {s: i for i, s in enumerate(s for s in subjects if s in trained)}
        self._row = {id_: i for i, id_ in enumerate(stimuli.ids)}

    def train(
        self,
        seed: int,
        *,
        checkpoint: Path | None = None,
        resume: bool = False,
        identity: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        epochs: Path | None = None,
    ) -> Decoder:
        """Train one decoder; see `train.fit` for the options.

        With ``epochs``, a folder, the weights after each epoch of the last stage are kept for `after_each_epoch`.
        """

        def told(done: int, total: int) -> None:
            if epochs:
                files.save_tensors(epochs / _EPOCH.format(done), learnt(aligner, towers))
            if progress:
                progress(done, total)

        with Meter(self.device, told) as meter:
            aligner, towers = self._build(seed)
            parameters = n_learning(aligner, towers, self.recipe.stages)
            meter.start()
            history = fit(
                aligner,
                self.recipe.stages,
                self._trial_set(self._train),
                towers,
                seed=seed,
                val=self._trial_set(self._val),
                device=self.device,
                checkpoint=checkpoint,
                resume=resume,
                identity={**(identity or {}), "fold": self.name},
                progress=meter.tick,
            )
        return Decoder(seed, aligner, towers, history, meter.read(parameters))

    def train_together(self, seeds: Sequence[int], *, progress: Progress | None = None) -> list[Decoder]:
        """Train one decoder per seed in one stack of weights; see `train.fit_stacked`."""
        with Meter(self.device, progress) as meter:
            built = [self._build(seed) for seed in seeds]
            aligners, towers = [aligner for aligner, _ in built], built[0][1]
            parameters = n_learning(aligners[0], towers, self.recipe.stages)
            meter.start()
            histories = fit_stacked(
                aligners,
                self.recipe.stages,
                self._trial_set(self._train),
                towers,
                seeds=seeds,
                val=self._trial_set(self._val),
                device=self.device,
                progress=meter.tick,
            )
        cost = meter.read(parameters)
        cost = replace(cost, epoch_s=cost.epoch_s / len(seeds))
        return [Decoder(s, a, towers, h, cost) for s, a, h in zip(seeds, aligners, histories, strict=True)]

    def prepare(self, raw: Trials) -> Trials:
        """Apply the fitted steps to opened test trials, but for those that are for training only."""
        raw = _near(raw)
        for step in self.steps:
            raw = raw if step.train_only else _near(step(raw))
        return raw

    def noise_free(self, decoder: Decoder, features: np.ndarray) -> dict[str, Embeddings]:
        """Put every stimulus into every space by the best map from its true features, without EEG.

        Parameters
        ----------
        decoder : Decoder
            Its towers make the targets.
        features : ndarray, shape (n_stimuli, n_features)
            In the order of ``stimuli.ids``; the map is learnt from the stimuli of the training part alone.
        """
        seen = np.unique([self._row[s] for s in self._train.events["stimulus"]])
        return {
            space: replace(t, vectors=noise_free_map(features[seen], t.vectors[seen])(features))
            for space, t in self._targets(decoder).items()
        }

    def ask_noise_free(self, known: Mapping[str, Embeddings], decoded: Decoded) -> list[Predictions]:
        """Ask what was seen, category or item of a gallery, of noise-free vectors instead of decoded trials.

        Parameters
        ----------
        known : mapping of str to Embeddings
            Space -> every stimulus, as `noise_free` made them by the towers of the same decoder.
        decoded : Decoded
            Its gallery is searched; of an ensemble, that of the first member.
        """
        ids = decoded.events["stimulus"].to_numpy()
        without = replace(decoded, eeg={space: e.at(ids) for space, e in known.items()})
        return [task.predict(without) for task in self.recipe.tasks if _has_ceiling(task)]

    def ask(self, decoded: Decoded) -> list[Predictions]:
        """Put every task's question to decoded trials."""
        return [task.answer(decoded) for task in self.recipe.tasks]

    @torch.no_grad()
    def after_each_epoch(self, decoder: Decoder, epochs: Sequence[Path], trials: Trials) -> list[Predictions]:
        """Put the first task's question after each epoch of the last stage; the decoder ends with its own weights.

        Parameters
        ----------
        decoder : Decoder
        epochs : sequence of Path
            Where `train` kept the weights, one for each member. An ensemble answers after each epoch that all have had.
        trials : Trials
            Prepared test trials.
        """
        own, said = [member.weights() for member in decoder.members], []
        last = self.recipe.stages[-1]
        for done in range(1, last.epochs + 1 if isinstance(last, Stage) else 1):
            paths = [folder / _EPOCH.format(done) for folder in epochs]
            if not all(path.exists() for path in paths):  # one stopped early
                break
            for member, path in zip(decoder.members, paths, strict=True):
                member.put(files.load_tensors(path)[0])
            (decoded,) = self.decode(decoder, [trials])
            said.append(self.recipe.tasks[0].answer(decoded))
        for member, weights in zip(decoder.members, own, strict=True):
            member.put(weights)
        return said

    def keep(self, decoder: Decoder, keeper: Keeper, raw: Trials, decoded: Decoded, n: int, *, nulls: bool) -> None:
        """Hand decoded trials to ``keeper``.

        Parameters
        ----------
        decoder : Decoder
        keeper : Keeper
        raw : Trials
            Opened test trials before the steps.
        decoded : Decoded
            The same, prepared and decoded.
        n : int
            How many repetitions they are the average of, at most.
        nulls : bool
            Whether to decode noise in their place, and to look for the training trials most like them.
        """
        space, as_one = keeper.target.space, joined(decoded)
        mine, targets = as_one.eeg[space].vectors, as_one.targets[space]
        if not nulls:
            return keeper.add(n, mine, targets)
        train = self._train.events["stimulus"].to_numpy()
        nearest = train[most_alike(mine, self._vectors(decoder, self._train, space))]
        alone = all(step.each_alone or step.train_only for step in self.steps)
        parts = [self._vectors(decoder, self.prepare(part), space) for part in noise_like(raw, alone, decoder.seed)]
        return keeper.add(n, mine, targets, noise=np.concatenate(parts), nearest=nearest)

    def _vectors(self, decoder: Decoder, trials: Trials, space: str) -> np.ndarray:
        """Put prepared trials into one space, as `joined` has them."""
        ids, data = trials.events["stimulus"].to_numpy(), self._trial_set(trials)
        own, *others = (
            {space: Embeddings(decode(m.aligner, data, device=self.device)[space], ids, space)} for m in decoder.members
        )
        return (side_by_side([own, *others]) if others else own)[space].vectors

    def _build(self, seed: int) -> tuple[Aligner, dict[str, nn.Module]]:
        """Make an untrained aligner and its towers, with weights drawn from the seed."""
        torch.manual_seed(seed)
        train = self._train
        seen = frozenset(train.events["stimulus"])
        # the encoder starts from the same weights, whatever a tower draws
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            towers = {t.space: t.tower(self.stimuli, seen).to(self.device) for t in self.recipe.targets}
        first = torch.tensor([0], device=self.device)
        dims = {s: int(towers[s](first).shape[1]) for s in self.recipe.spaces}
        encoder = self.recipe.encoder(n_channels=train.eeg.shape[1], n_times=train.eeg.shape[2])
        n_heads = len(self._subject) if self.recipe.subject_heads else 1
        aligner = Aligner(encoder, dims, n_heads, self.recipe.head)
        if self.recipe.start is not None:
            begin_with(aligner, read_weights(self.recipe.start, self.name, seed), self.recipe.start)
        return aligner, towers

    def _trial_set(self, trials: Trials) -> TrialSet:
        code, names = pd.factorize(trials.events["subject"])  # a name is looked up once, not once per trial
        subject = np.array([self._subject.get(str(s), STRANGER) for s in names], np.int64)[code]
        code, names = pd.factorize(trials.events["stimulus"])
        stimulus = np.array([self._row[str(s)] for s in names], np.int64)[code]
        return TrialSet(trials.eeg, torch.from_numpy(subject), torch.from_numpy(stimulus))

    @torch.no_grad()
    def _targets(self, decoder: Decoder) -> dict[str, Embeddings]:
        """Every stimulus in every space, as this decoder's towers put it."""
        parts = torch.arange(len(self.stimuli), device=self.device).split(1024)  # a mixture reads many views of each
        return {
            space: Embeddings(
                torch.cat([tower.eval()(rows).float().cpu() for rows in parts]).numpy(), self.stimuli.ids, space
            )
            for space, tower in decoder.towers.items()
        }

    def decode(self, decoder: Decoder, parts: Sequence[Trials]) -> Iterator[Decoded]:
        """Put prepared trials, part by part, into every space, by each member of an ensemble; stimuli but once."""
        members = [(member, self._targets(member)) for member in decoder.members]
        learns = any(task.needs_train for task in self.recipe.tasks)
        trains = [self._decode(*member, self._train) if learns else None for member in members]
        for trials in parts:
            own, *others = (
                replace(self._decode(*member, trials), train=train)
                for member, train in zip(members, trains, strict=True)
            )
            yield replace(own, others=tuple(replace(o, events=own.events) for o in others))

    def _decode(self, decoder: Decoder, targets: dict[str, Embeddings], trials: Trials) -> Decoded:
        z, ids = decode(decoder.aligner, self._trial_set(trials), device=self.device), trials.events["stimulus"]
        spaces = {space: Embeddings(v, ids.to_numpy(), space) for space, v in z.items()}
        events = trials.events.assign(fold=self.name, seed=decoder.seed)
        return Decoded(spaces, targets, self.stimuli, events, trials.repetitions)


def _has_ceiling(task: Task) -> bool:
    """Whether the best map to the target bounds this task; in other galleries a coarser vector may do better."""
    return isinstance(task, Classify) or (isinstance(task, Retrieve) and task.mode == "exact")


def _near(trials: Trials) -> Trials:
    """Read trials that fit into memory: from there a batch is quickest, and a step leaves nothing behind on disk."""
    return trials.loaded() if fits(trials.eeg) else trials


def _is_half(trials: Trials) -> bool:
    return trials.eeg.dtype == np.float16


def _written(trials: Trials, *, half: bool) -> Trials:
    """Write trials that do not fit into memory, after all steps, to the cache, in half precision if they came so."""
    if not isinstance(trials.eeg, OnDisk):
        return trials
    # volts are too small for half precision
    eeg = stored("trials", trials.eeg, np.float16 if half and trials.unit == "z" else np.float32)
    return replace(trials, eeg=eeg.as_eeg())
