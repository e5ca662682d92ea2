"""story: from recordings to a judged result, top to bottom. Read this file first.

recordings -> trials -> split -> audit -> steps -> encoder -> alignment -> task -> judge -> Result
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sightwave import __version__, account, files
from sightwave.decoder import Decoder, together_as_one
from sightwave.describe import describe, key
from sightwave.errors import DataError, LeakError, MissingFile, RecipeError, one_of
from sightwave.fold import Fold
from sightwave.judge.audit import Audit, audit
from sightwave.judge.peek import best_on_test
from sightwave.judge.score import score
from sightwave.judge.sealed import open_test, test_key, times_opened
from sightwave.recipe import Recipe, small
from sightwave.report.material import material
from sightwave.results import Predictions, Result, weights_name
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.train import Cost, Stage
from sightwave.trials import Trials
from sightwave.where import where as where_

Progress = Callable[[str, int, int], None]


def run(
    recipe: Recipe,
    *,
    name: str = "recipe",
    data: Path | str | None = None,
    out: Path | str = "results",
    subjects: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    device: str = "auto",
    resume: bool = False,
    together: bool = False,
    reuse: bool = False,
    save_weights: bool = False,
    smoke: bool = False,
    where: bool = False,
    peek: bool = False,
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    progress: Progress | None = None,
) -> Result:
    """Run a recipe and judge it.

    Parameters
    ----------
    recipe : Recipe
    name : str
        How the result is called; its folder is ``out / f"{name}-{key}"``.
    data : path or None
        The data set's folder; the phantom needs none.
    out : path
        Results, checkpoints and the ledger of test openings go here.
    subjects : sequence of str or None
        None takes all that there are.
    seeds : sequence of int
    device : str
        ``"auto"`` takes a GPU when there is one; else as torch names it.
    resume : bool
        Go on from the checkpoints of a run that was killed; the result is the same to the bit.
    together : bool
        Train the seeds in one stack of weights, for a GPU that one seed leaves idle; equal up to rounding. Slower on a
        CPU, and no checkpoints are kept.
    reuse : bool
        Take the result that is under ``out`` already, if there is one of the same recipe, data, subjects, seeds and
        version; a damaged one is made anew.
    save_weights : bool
        Keep what each decoder has learnt beside the result, for `Recipe.start` of other recipes.
    smoke : bool
        Run on a small phantom for one epoch: does the recipe work at all?
    where : bool
        Also ask the headline of parts of the EEG, by time, region and frequency; see `sightwave.where`.
    peek : bool
        Also tell what choosing the epoch on the test part would have added: the weights of every epoch are kept on disk
        until the fold is scored. It is told as no result, nothing is chosen by it, and the ledger says that it was
        done.
    n_permutations, n_bootstrap : int
    progress : callable
        Called as ``progress(what, done, total)``.

    Returns
    -------
    Result
        Saved under ``out``.

    Raises
    ------
    LeakError
        If the audit fails and the recipe does not name the leak.
    RecipeError
        If the device is not there, or seeds shall be trained together that cannot be.
    """
    if together and (resume or peek):
        raise RecipeError("Seeds that are trained together keep no weights on the way: leave --together out.")
    start, tell = time.time(), progress or (lambda what, done, total: None)
    out, root = Path(out), Path(data) if data and not smoke else None
    recipe = small(recipe) if smoke else recipe
    device = _device(device)
    if peek and not isinstance(recipe.stages[-1], Stage):
        raise RecipeError("There is no epoch to choose among: the last stage of this recipe is solved in closed form.")
    wanted = [member for seed in seeds for member in recipe.seeds_of(seed)]
    for target in recipe.targets:
        target.check()

    # recordings -> trials -> split -> audit
    tell("loading", 0, 1)
    recipe, trials, stimuli, splits, verdict = audited(recipe, data=root, subjects=subjects)
    verdict.raise_if_failed()
    _check_pictures(recipe, stimuli, root)
    subjects, fingerprint = tuple(subjects or recipe.dataset.subjects(root)), trials.fingerprint()
    who: dict[str, object] = {"recipe": key(recipe), "data": fingerprint, "subjects": list(subjects), "device": device}
    who |= {"peek": True} if peek else {}
    who |= {"together": True} if together and len(seeds) * recipe.ensemble > 1 else {}
    who |= {"start": _check_start(recipe, fingerprint, subjects)} if recipe.start is not None else {}
    folder = out / f"{name}-{key([who, list(seeds)])[:8]}"
    if reuse and (there := _already(folder)) is not None:
        return there
    unfinished = out / f".{folder.name}.partial"
    if not resume:
        shutil.rmtree(unfinished, ignore_errors=True)
    tested = pd.concat([s.test.events for s in splits])
    ledger, sealed, levels = out / "ledger.jsonl", test_key(tested, fingerprint), _levels(recipe.repetitions, tested)
    this_run = _run_id(unfinished / "run.json")
    tell("loading", 1, 1)

    # each fold: steps -> encoder -> alignment -> opened test trials -> tasks
    said: dict[tuple[str, int], list[Predictions]] = {}
    free: dict[tuple[str, int], list[Predictions]] = {}
    features = recipe.dataset.features(stimuli.ids)
    opened: list[Trials] = []
    history: dict[str, list[float]] = {}
    costs: list[Cost] = []
    learnt: dict[str, dict[str, np.ndarray]] = {}
    keepers = account.keepers(recipe)
    peeked: list[list[Predictions]] = []
    for f, split in enumerate(splits):
        fold = Fold(recipe, split, stimuli, subjects=subjects, device=device)
        trained: list[Decoder] = []
        if "together" in who:
            trained = fold.train_together(wanted, progress=partial(_tell_training, tell, f, len(splits)))
            tell("training", f + 1, len(splits))
        for s, seed in enumerate(() if trained else wanted):
            before, jobs = f * len(wanted) + s, len(splits) * len(wanted)
            decoder = fold.train(
                seed,
                checkpoint=unfinished / f"fold-{f:03d}-seed-{seed}.safetensors",
                resume=resume,
                identity=who,
                progress=partial(_tell_training, tell, before, jobs),
                epochs=_epochs(unfinished, f, seed) if peek else None,
            )
            tell("training", before + 1, jobs)
            trained.append(decoder)
        costs += [d.cost for d in trained]
        learnt |= {weights_name(split.name, d.seed): d.weights() for d in trained if save_weights}
        history = history or trained[0].history
        decoders = [together_as_one(trained[i : i + recipe.ensemble]) for i in range(0, len(trained), recipe.ensemble)]
        why = f"score {name}, {split.name}" + ("; where the information sits" if where else "")
        why += "; PEEK: each epoch is scored on this test part" if peek else ""
        known = None if features is None else fold.noise_free(decoders[0], features)
        test = open_test(split.test, ledger=ledger, key=sealed, run=this_run, recipe=str(who["recipe"]), why=why)
        raws = [test if n == 1 else test.average(at_most=n) for n in levels]
        ready = [fold.prepare(raw) for raw in raws]
        for decoder in decoders:
            for n, raw, decoded in zip(levels, raws, fold.decode(decoder, ready), strict=True):
                for keeper in keepers:
                    fold.keep(decoder, keeper, raw, decoded, n, nulls=n == levels[-1])
                for task, answer in zip(recipe.tasks, fold.ask(decoded), strict=True):
                    said.setdefault((task.name, n), []).append(answer)
                for answer in fold.ask_noise_free(known, decoded) if known and decoder is decoders[0] else ():
                    free.setdefault((answer.task, n), []).append(answer)
        opened.append(raws[-1])
        for seed, decoder in zip(seeds, decoders if peek else (), strict=False):
            each = [_epochs(unfinished, f, member) for member in recipe.seeds_of(seed)]
            peeked.append(fold.after_each_epoch(decoder, each, ready[-1]))
            for epochs in each:
                shutil.rmtree(epochs, ignore_errors=True)

    drawn = {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap}
    found = (
        where_(recipe, splits, opened, stimuli, subjects=subjects, device=device, progress=tell, **drawn)
        if where
        else []
    )

    # judge -> Result
    tell("judging", 0, 1)
    predictions = tuple(Predictions.pool(parts) for parts in said.values())
    scores = score(
        predictions,
        {task.name: task.metrics for task in recipe.tasks},
        ideal=partial(account.ideal, recipe),
        noise_free=[Predictions.pool(parts) for parts in free.values()],
        **drawn,
    )
    extras, facts = material(predictions[-1], opened, stimuli)
    if keepers:
        tell("keeping captions", 0, 1)
        of_captions, facts["kept"] = account.kept(keepers, predictions, stimuli, splits)
        extras |= of_captions
        tell("keeping captions", 1, 1)
    extras |= {f"history.{k}": np.array(v) for k, v in history.items() if v}
    facts |= trials.describe() | {
        "fingerprint": fingerprint,
        "phantom": recipe.dataset.is_phantom(root),
        "smoke": smoke,
    }
    facts |= {"where": found} if where else {}
    if peek:
        kept_epoch = next(p for p in reversed(predictions) if p.task == recipe.tasks[0].name)
        facts |= {"peek": best_on_test(peeked, kept_epoch, recipe.tasks[0].metrics[0])}
    facts |= account.beside(recipe, predictions, **drawn)
    facts |= {"citation": recipe.dataset.citation, "licence": recipe.dataset.licence}
    facts |= {
        "left_out": recipe.dataset.left_out(root),
        "notes": [*scores.attrs["notes"], *account.notes(recipe, subjects, splits, opened)],
    }
    result = Result(
        name=name,
        recipe=describe(recipe),
        data=facts,
        subjects=subjects,
        seeds=tuple(seeds),
        scores=scores,
        predictions=predictions,
        audit=verdict.as_dict(),
        opened=times_opened(ledger, sealed),
        selection=recipe.selection,
        extras=extras,
        weights=learnt,
        parameters={part: n * recipe.ensemble for part, n in costs[0].parameters.items()},
        provenance=account.provenance(start, device, costs, recipe.ensemble),
    )
    result.save(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    tell("judging", 1, 1)
    return result


def audited(
    recipe: Recipe, *, data: Path | None = None, subjects: Sequence[str] | None = None
) -> tuple[Recipe, Trials, Stimuli, list[Split], Audit]:
    """Load a recipe's trials, split them, and audit the split.

    Parameters
    ----------
    recipe : Recipe
    data : Path or None
    subjects : sequence of str or None

    Returns
    -------
    recipe : Recipe
        With the splitter that was chosen.
    trials : Trials
    stimuli : Stimuli
    splits : list of Split
    verdict : Audit
        Call its ``raise_if_failed`` to stop at a leak that the recipe does not name.
    """
    there = recipe.dataset.subjects(data)
    for subject in subjects or ():
        if subject not in there:
            raise one_of("subject", subject, there)
    trials, stimuli = recipe.dataset.load(data, tuple(subjects or there))
    recipe = replace(recipe, split=recipe.split.choose(trials))
    splits = recipe.split(trials)
    verdict = audit(
        splits,
        trials,
        stimuli,
        holds_out=recipe.split.holds_out,
        stimulus_bound=any(task.stimulus_bound for task in recipe.tasks),
        allow=recipe.leaks,
    )
    return recipe, trials, stimuli, splits, verdict


def _check_start(recipe: Recipe, fingerprint: str, subjects: Sequence[str]) -> str:
    """Refuse weights that were learnt on other trials or under another split: they may have seen the test part."""
    folder = Path(recipe.start or "")
    there = Result.load(folder)
    now = {
        "data": fingerprint,
        "subjects": list(subjects),
        "split": describe(recipe.split),
        "steps": describe(recipe.steps),
    }
    then = {"data": there.data["fingerprint"], "subjects": list(there.subjects)}
    then |= {name: there.recipe[name] for name in ("split", "steps")}
    if differ := [name for name in now if now[name] != then[name]]:
        raise LeakError(
            f"{folder} was trained on other {' and '.join(differ)}, so its encoder may have seen this test part. "
            "Run it anew on the same, with --save-weights."
        )
    return files.sha256(folder / "manifest.json")


def _check_pictures(recipe: Recipe, stimuli: Stimuli, root: Path | None) -> None:
    """Refuse targets made of pictures where there are none, before anything is trained."""
    spaces = [t.space for t in recipe.targets if t.from_pictures]
    if spaces and stimuli.read is None:
        get = f" By hand: {recipe.dataset.by_hand}." if recipe.dataset.by_hand else ""
        raise DataError(f"{root or 'The data set'} holds no pictures, of which {spaces[0]} is made.{get}")


def _device(wanted: str) -> str:
    """Resolve ``"auto"``, and refuse a device that is not there before anything is computed."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        raise RecipeError(f"Device {wanted!r} is not there: {str(e).splitlines()[0]} Use 'cpu' or 'auto'.") from e
    return wanted


def _levels(asked: Sequence[int | None], tested: pd.DataFrame) -> list[int]:
    """Count repetitions to average, the fewest first; what is beyond those that there are is all that there are."""
    most = int(tested.drop_duplicates("trial").groupby(["subject", "stimulus"]).size().max())
    return sorted({min(most if n is None else n, most) for n in asked})


def _epochs(unfinished: Path, fold: int, seed: int) -> Path:
    """Folder of the weights after each epoch."""
    return unfinished / f"epochs-{fold:03d}-{seed}"


def _already(folder: Path) -> Result | None:
    """Read the result of an earlier run, or None when there is none that can be used."""
    try:
        found = Result.load(folder)
    except (DataError, MissingFile):
        return None
    return found if found.provenance.get("sightwave") == __version__ else None


def _run_id(path: Path) -> str:
    """Name this run; a resumed run keeps its name, so that it opens the test set once."""
    if not path.exists():
        files.write_json(path, uuid.uuid4().hex)
    return str(files.read_json(path))


def _tell_training(tell: Progress, before: int, jobs: int, done: int, total: int) -> None:
    tell("training", before * total + done, jobs * total)
