"""The audit: what could make the score of this split a lie, found before anything is scored.

It needs the events of all parts and the EEG as it was before the split (for duplicates); no score is computed, and the
seal of the test part stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sightwave.errors import LeakError, one_of
from sightwave.judge import leaks
from sightwave.judge.confounds import ALPHA, BlockDesign, block_design
from sightwave.judge.leaks import Sides, level
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

FAIL, WARN, INFO, PASS = "FAIL", "WARN", "INFO", "PASS"
COLUMNS = ("recording", "run", "session", "subject")
KINDS = ("trial", "overlap", "duplicate", "stimulus", "image", "caption", *COLUMNS, "fitted", "block-design",
         "one-class", "unknown-stimulus")  # fmt: skip
FEW_CAPTIONS = 0.02  # share of test pictures below which a common caption ("a dog") is no news


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found.

    Parameters
    ----------
    kind : str
        One of `KINDS`; the word by which a recipe may allow it.
    level : {"FAIL", "WARN", "INFO"}
    count : int
        How many trials, pictures, runs ... are concerned.
    where : str
        Folds.
    example : str
    message : str
        The finding in a sentence.
    """

    kind: str
    level: str
    count: int
    where: str
    example: str
    message: str


@dataclass(frozen=True)
class Audit:
    """The verdict on a split.

    Parameters
    ----------
    verdict : {"PASS", "WARN", "FAIL"}
        The gravest level found. Allowing a leak does not change it: the mark stays.
    findings : tuple of Finding
        Gravest first.
    allowed : tuple of str
        Kinds that failed and were allowed by the recipe.
    """

    verdict: str
    findings: tuple[Finding, ...]
    allowed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as JSON keeps it in a `Result`."""
        findings = [asdict(f) for f in self.findings]
        return {"verdict": self.verdict, "findings": findings, "allowed": list(self.allowed)}

    def raise_if_failed(self) -> None:
        """Stop here unless every failure was allowed; the `LeakError` holds the words that would allow it."""
        failed = [f for f in self.findings if f.level == FAIL and f.kind not in self.allowed]
        if not failed:
            return
        said = "\n".join(f"  {f.kind}: {f.message}" for f in failed)
        words = ", ".join(f'"{k}"' for k in sorted({*(f.kind for f in failed), *self.allowed}))
        raise LeakError(
            f"The audit stops this run, because its score would not mean what it says:\n{said}\n"
            f"Split otherwise, or name the leak in the recipe, leaks=({words},), and every table will carry the mark."
        )


def audit(
    splits: Sequence[Split],
    trials: Trials,
    stimuli: Stimuli,
    *,
    holds_out: tuple[str, ...] = ("trial",),
    stimulus_bound: bool = False,
    allow: tuple[str, ...] = (),
) -> Audit:
    """Search a split for leaks and confounds.

    Parameters
    ----------
    splits : sequence of Split
        All folds.
    trials : Trials
        All trials, as they were split.
    stimuli : Stimuli
    holds_out : tuple of str
        Columns that the splitter promises not to share.
    stimulus_bound : bool
        Whether a task is worthless on pictures that were trained on.
    allow : tuple of str
        Kinds that the recipe names as known; see `KINDS`.

    Returns
    -------
    Audit

    Raises
    ------
    UnknownName
        If ``allow`` names no kind.

    Notes
    -----
    Pictures on both sides are a warning even for classifiers: they added 4.5 to 7.4 points of accuracy in 16
    publications (https://arxiv.org/abs/2508.00531).
    """
    for kind in allow:
        if kind not in KINDS:
            raise one_of("leak", kind, KINDS)
    folds = [leaks.sides(s) for s in splits]
    findings = [
        *_identities(folds, holds_out, stimulus_bound),
        *_contents(folds, trials, stimuli, stimulus_bound or "stimulus" in holds_out),
        *_columns(folds, holds_out),
        *_designs(folds, trials, stimulus_bound),
    ]
    findings.sort(key=lambda f: (FAIL, WARN, INFO).index(f.level))
    verdict = findings[0].level if findings and findings[0].level != INFO else PASS
    failed = {f.kind for f in findings if f.level == FAIL}
    return Audit(verdict, tuple(findings), tuple(k for k in KINDS if k in allow and k in failed))


def _identities(folds: list[Sides], holds_out: tuple[str, ...], stimulus_bound: bool) -> list[Finding]:
    """Find the same trial, shared samples, the same picture, steps fitted on test trials."""
    picture = FAIL if stimulus_bound or "stimulus" in holds_out else WARN
    seen = "pictures were trained on and are tested" + ("" if picture == FAIL else ", which inflates categories")
    found = _over(folds, "stimulus", picture, leaks.same_stimulus, seen)
    return [
        *_over(folds, "trial", FAIL, leaks.same_trial, "trials are in train and in test"),
        *_over(folds, "overlap", FAIL, leaks.overlapping, "test trials share samples with training trials"),
        *_over(folds, "fitted", FAIL, leaks.fitted_on_test, "preprocessing steps were fitted on test trials"),
        *(replace(f, message=f"{f.message}: {_whose(folds)}") for f in found),
    ]


def _whose(folds: list[Sides]) -> str:
    """Say by whom tested pictures were seen in training, how many several people saw, and what would hold them out."""
    by = [leaks.same_stimulus_by(f) for f in folds]
    own = {name.partition("/")[2] for mine, _ in by for name in mine}
    others = set().union(*(theirs for _, theirs in by)) - own
    common, n = leaks.common_stimuli(folds)
    people = f"; {common} of {n} pictures were shown to several subjects" if common else ""
    return (
        f"{len(own)} by the subject who is tested, {len(others)} by others alone{people}. "
        "NewImages(split) holds them out, too"
    )


def _contents(folds: list[Sides], trials: Trials, stimuli: Stimuli, bound: bool) -> list[Finding]:
    """Find the same EEG, pixels or caption under different ids."""
    found = []
    if twins := leaks.eeg_twins(trials):
        runs = leaks.twin_runs(trials.events, twins)
        named = "; the same recording under two names: " + ", ".join(f"{a} = {b}" for a, b in runs) if runs else ""
        across = _over(folds, "duplicate", FAIL, lambda f: leaks.duplicated(f, twins),
                       f"test trials have the very EEG of training trials with another id{named}")  # fmt: skip
        found += across or [
            _finding("duplicate", WARN, set(twins), ["one side"], f"trials have the very EEG of another trial{named}")
        ]
    shown = set().union(*({*f.known["stimulus"], *f.test["stimulus"]} for f in folds))
    if same := leaks.image_twins(stimuli, shown & set(stimuli.ids)):
        found += _over(folds, "image", FAIL if bound else WARN, lambda f: leaks.same_image(f, same),
                       "test pictures were trained on under another id")  # fmt: skip
    if captions := leaks.caption_texts(stimuli, shown):
        n_test = len(set().union(*(f.test["stimulus"] for f in folds)))
        for f in _over(folds, "caption", WARN, lambda f: leaks.same_caption(f, captions),
                       "captions describe a training picture and a test picture"):  # fmt: skip
            few = f.count < FEW_CAPTIONS * n_test
            found.append(Finding(f.kind, INFO, f.count, f.where, f.example, f.message) if few else f)
    return found


def _columns(folds: list[Sides], holds_out: tuple[str, ...]) -> list[Finding]:
    """Find recordings, runs, sessions and subjects on both sides: a leak where the splitter promised otherwise."""
    found = []
    for column in COLUMNS:
        weight = FAIL if column in holds_out else INFO
        found += _over(folds, column, weight, lambda f, c=column: leaks.same_level(f, c),
                       f"{column}(s) in train and in test")  # fmt: skip
    return found


def _designs(folds: list[Sides], trials: Trials, stimulus_bound: bool) -> list[Finding]:
    """Classes in blocks, tests that cannot fail, pictures of unknown identity."""
    found = []
    if blocked := _blocked(trials):
        runs = {s: set(level(trials.events[trials.events["subject"] == s], "run")) for s in blocked}
        inside = [f for f in folds if leaks.same_level(f, "run") & set().union(*runs.values())]
        b = next(iter(blocked.values()))
        told = f"a trial's label is its neighbour's in {b.p_same:.0%} of cases, by chance in {b.expected:.0%}"
        message = f"{len(blocked)} subject(s) saw classes in blocks: {told}; " + (
            "blocks lie on both sides of the split, so a decoder of time would score"
            if inside else "whole runs are held out, which helps unless all runs have the same order"
        )  # fmt: skip
        where = [f.name for f in inside or folds]
        found.append(
            Finding("block-design", FAIL if inside else WARN, len(blocked), _names(where), min(blocked), message)
        )
    column = "stimulus" if stimulus_bound else "label"
    if single := [f.name for f in folds if f.test[column].nunique() < 2]:
        message = f"{len(single)} test part(s) hold a single {column}, so nothing can be confused there"
        found.append(Finding("one-class", WARN, len(single), _names(single), single[0], message))
    if "stimulus_known" in trials.events and (unknown := ~trials.events["stimulus_known"].astype(bool)).any():
        ids = set(trials.events["trial"][unknown])
        found.append(_finding("unknown-stimulus", WARN, ids, [f.name for f in folds],
                              "trials do not tell which picture was shown, so it cannot be checked whether "
                              "pictures are on both sides"))  # fmt: skip
    return found


def _blocked(trials: Trials) -> dict[str, BlockDesign]:
    """Subjects who saw classes in blocks.

    Order within a run is that of the onsets, or of the rows where there is no column `onset`. Onsets that are NaN say
    that the order is unknown, and averaged trials have none: then there is nothing to judge.
    """
    events = trials.events
    if "n_averaged" in events and (events["n_averaged"] > 1).any():
        return {}
    if "onset" in events:
        events = events[events["onset"].notna()].sort_values("onset", kind="stable")
    events = events.assign(_run=level(events, "run")).sort_values("_run", kind="stable")
    by = list(events.groupby("subject", sort=False))
    designs = {str(s): block_design(e["label"].to_numpy(), e["_run"].to_numpy()) for s, e in by}
    return {s: d for s, d in designs.items() if d.verdict == "blocked" and d.p * len(by) <= ALPHA}


def _over(folds: list[Sides], kind: str, weight: str, find: Any, what: str) -> list[Finding]:
    """Unite what one finder finds in all folds; ``find`` is a function of `Sides` that returns a set of names."""
    each = {f.name: find(f) for f in folds}
    names = set().union(*each.values())
    return [_finding(kind, weight, names, [n for n, items in each.items() if items], what)] if names else []


def _finding(kind: str, weight: str, items: set[str], where: list[str], what: str) -> Finding:
    example = min(items)
    message = f"{len(items)} {what} (e.g. {example!r}; in {_names(where)})"
    return Finding(kind, weight, len(items), _names(where), example, message)


def _names(where: list[str]) -> str:
    return ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
