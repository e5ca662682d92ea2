"""The page of reflection says what the numbers say, and the opposite when they do."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sightwave.captions import CaptionScores
from sightwave.judge.captions import judge
from sightwave.reflect import tell
from sightwave.report import reflection
from sightwave.report.reflection import CLASS, INSTANCE, WITHIN, Number, Told
from sightwave.results import Result

NOTHING = pd.DataFrame(columns=["of", "n", "score", "value", "low", "high", "chance"])
GOOD = Told(
    name="run",
    protocol="new pictures",
    phantom=False,
    leak=False,
    facts={"n_trials": 200, "n_subjects": 8, "n_captions": 100, "n_images": 100, "n_seeds": 3},
    scores={INSTANCE: Number(0.2, 0.15, 0.25), CLASS: Number(0.5, 0.4, 0.6), WITHIN: Number(0.4, 0.3, 0.5)},
    chance={INSTANCE: 0.01, CLASS: 0.05, WITHIN: 0.2},
    ceiling={INSTANCE: 0.9, CLASS: 0.95, WITHIN: 0.92},
    share={INSTANCE: Number(0.2, 0.1, 0.3), CLASS: Number(0.5, 0.4, 0.6)},
    gain={"total": Number(4.3, 3.5, 5), "class": Number(3.3, 3, 3.6), "instance": Number(1, 0.5, 1.5),
          "share": Number(0.77, 0.6, 0.9)},
    against={"nearest": Number(0.1, 0.02, 0.2)},
    curve=NOTHING,
    shared=0,
    bert=(0.9, 0.3),
)  # fmt: skip


def said(lines):
    return " ".join(lines)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number(0.2, 0.15, 0.25), "which the interval excludes"),
        (Number(0.02, 0.005, 0.05), "which the interval includes: nothing is shown"),
        (Number(0.001, 0.0, 0.004), "fewer than chance"),
    ],
)
def test_what_is_found_is_claimed_only_above_chance(number, words):
    line = reflection.found(replace(GOOD, scores={INSTANCE: number}))[0]
    assert words in line


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Number(0.1, 0.02, 0.2), "it is more than that null can do"),
        (Number(0.1, -0.02, 0.2), "it cannot be told from that null"),
        (Number(-0.1, -0.2, -0.02), "the null does better"),
    ],
)
def test_eeg_is_better_than_memory_only_where_the_difference_says_so(difference, words):
    assert words in said(reflection.found(replace(GOOD, against={"nearest": difference})))


def test_more_than_the_class_is_claimed_only_where_the_own_caption_stands_out_within_it():
    assert "there is more in the decoded EEG than the class" in said(reflection.class_or_instance(GOOD))
    flat = replace(GOOD, scores={**GOOD.scores, WITHIN: Number(0.21, 0.15, 0.27)})
    assert "nothing beyond the class was shown" in said(reflection.class_or_instance(flat))
    lost = replace(flat, scores={**flat.scores, CLASS: Number(0.05, 0.02, 0.09)})
    assert "neither class nor picture was shown" in said(reflection.class_or_instance(lost))
    open_ = replace(GOOD, gain={**GOOD.gain, "share": Number(0.8, 0.5, 1.1)})
    assert "do not show more than the class" in said(reflection.class_or_instance(open_))
    assert "bits" not in said(reflection.class_or_instance(replace(GOOD, gain={"total": Number(1, -1, 3)})))


def test_shared_pictures_are_called_possible_memory():
    assert "memory" not in said(reflection.class_or_instance(GOOD))
    assert "40 of 100 test pictures were trained on" in said(reflection.class_or_instance(replace(GOOD, shared=40)))


def test_the_ceiling_is_told_with_its_doubt():
    assert "20 % [10, 30]" in said(reflection.ceiling(GOOD))
    none = replace(GOOD, share={INSTANCE: Number(0.01, -0.02, 0.04)})
    assert "includes 0" in said(reflection.ceiling(none))
    assert "within reach" in said(reflection.ceiling(replace(GOOD, share={INSTANCE: Number(0.9, 0.8, 1.02)})))
    assert "unknown" in said(reflection.ceiling(replace(GOOD, share={})))


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (Number(0.1, 0.05, 0.15), "so it is lost in part"),
        (Number(0.45, 0.3, 0.6), "which is no clear change"),
        (Number(0.9, 0.8, 1.0), "so it is more"),
        (Number(0.02, -0.05, 0.09), "and nothing is shown to be left"),
    ],
)
def test_generalisation_is_told_by_the_interval_of_the_difference(share, words):
    other = replace(GOOD, protocol="new people", share={CLASS: share})
    assert words in said(reflection.generalisation([GOOD, other]))
    assert reflection.generalisation([GOOD]) == []


def curve(first, last, of="repetitions"):
    return pd.DataFrame([
        {"of": of, "n": n, "score": "recall@5", "value": v, "low": v - 0.05, "high": v + 0.05, "chance": 0.05}
        for n, v in (("1", first), ("8", last))
    ])  # fmt: skip


def test_a_curve_rises_only_where_its_ends_do_not_overlap():
    assert "it rises" in said(reflection.rises(replace(GOOD, curve=curve(0.2, 0.6)), "repetitions"))
    assert "no rise was shown" in said(reflection.rises(replace(GOOD, curve=curve(0.2, 0.25)), "repetitions"))
    assert "it falls" in said(reflection.rises(replace(GOOD, curve=curve(0.6, 0.2)), "repetitions"))
    assert reflection.rises(replace(GOOD, curve=curve(0.2, 0.6)), "seeds") == []


def test_limits_follow_from_the_run():
    assert "simulated" not in said(reflection.limits([GOOD]))
    assert "simulated" in said(reflection.limits([replace(GOOD, phantom=True)]))
    assert "not evidence" in said(reflection.limits([replace(GOOD, leak=True)]))
    few = replace(GOOD, facts={**GOOD.facts, "n_subjects": 2, "n_seeds": 1})
    assert "2 subjects: intervals speak of these" in said(reflection.limits([few]))
    assert "One seed" in said(reflection.limits([few]))
    assert "compare the two" in said(reflection.limits([GOOD]))
    assert "says little" in said(reflection.limits([replace(GOOD, bert=(1.0, 1.0))]))


def scores_with(instance, kind, n=400, seed=0):
    """Scores of trials whose first caption is right, or of the right class, with given probabilities."""
    rng = np.random.default_rng(seed)
    hit = rng.random(n) < instance
    kin = hit | (rng.random(n) < (kind - instance) / (1 - instance))
    value = {INSTANCE: hit.astype(float), CLASS: kin.astype(float), WITHIN: hit.astype(float)}
    ceiling = {s: (rng.random(n) < 0.95).astype(float) for s in value}
    null = {s: (rng.random(n) < p).astype(float) for s, p in ((INSTANCE, 0.01), (CLASS, 0.05), (WITHIN, 0.2))}
    chance = {s: np.full(n, p) for s, p in ((INSTANCE, 0.01), (CLASS, 0.05), (WITHIN, 0.2))}
    nulls = dict.fromkeys(("shuffled", "noise", "most_frequent", "nearest"), null)
    ids = np.arange(n).astype(str)
    events = pd.DataFrame({"stimulus": ids, "trial": ids, "label": "x", "fold": "all", "seed": 0})
    events[["subject", "session", "run"]] = "1"
    judged = judge({"value": value, "ceiling": ceiling, **nulls, "chance": chance}, {}, events, n=300, seed=seed)
    return CaptionScores(judged.table, pd.DataFrame(), pd.DataFrame(), {}, (), GOOD.facts, {}, NOTHING, judged)


RESULT = Result("run", {"split": {"use": "sightwave.splits.BySession"}}, {}, ("01",), (0,), pd.DataFrame(), (),
                {"verdict": "WARN", "findings": [{"kind": "stimulus", "count": 7}]}, 1, "")  # fmt: skip


def test_numbers_come_from_the_scores_with_the_same_draws():
    told = tell(RESULT, scores_with(0.3, 0.6))
    assert told.protocol == "new sessions"
    assert told.shared == 7
    value = told.scores[INSTANCE].value
    assert told.share[INSTANCE].value == pytest.approx((value - 0.01) / (told.ceiling[INSTANCE] - 0.01))
    assert told.share[INSTANCE].low < told.share[INSTANCE].value < told.share[INSTANCE].high
    assert told.gain["total"].value == pytest.approx(np.log2(value / 0.01))
    assert told.gain["class"].value + told.gain["instance"].value == pytest.approx(told.gain["total"].value)
    assert told.against["nearest"].above(0)
    page = reflection.render([told, replace(told, protocol="new people")], title="Reflection")
    assert "new people" in page
    assert page.count("<svg") == 2


def test_no_hit_at_all_leaves_the_logarithm_undefined_and_unsaid():
    told = tell(RESULT, scores_with(0.0, 0.05))
    assert np.isnan(told.gain["total"].low)
    page = reflection.render([told], title="Reflection")
    assert "bits [" not in page
    assert "nothing is shown" in page
