"""The report: one HTML file and a terminal table. `fake` makes a result as a run would, all of it invented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sightwave.phantom.concepts import CATEGORIES, imagine
from sightwave.phantom.pictures import paint
from sightwave.report import eeg, figures, forest, page, tables, trials, words
from sightwave.results import SCORE_COLUMNS, Predictions, Result

CAP_63 = [
    "Fp1",
    "Fpz",
    "Fp2",
    "AF7",
    "AF3",
    "AFz",
    "AF4",
    "AF8",
    "F7",
    "F5",
    "F3",
    "F1",
    "Fz",
    "F2",
    "F4",
    "F6",
    "F8",
    "FT7",
    "FC5",
    "FC3",
    "FC1",
    "FCz",
    "FC2",
    "FC4",
    "FC6",
    "FT8",
    "T7",
    "C5",
    "C3",
    "C1",
    "Cz",
    "C2",
    "C4",
    "C6",
    "T8",
    "TP7",
    "CP5",
    "CP3",
    "CP1",
    "CPz",
    "CP2",
    "CP4",
    "CP6",
    "TP8",
    "P7",
    "P5",
    "P3",
    "P1",
    "Pz",
    "P2",
    "P4",
    "P6",
    "P8",
    "PO7",
    "PO3",
    "POz",
    "PO4",
    "PO8",
    "O1",
    "Oz",
    "O2",
    "Iz",
    "TP9",
]
RETRIEVALS = ("retrieve clip-image/tiny_clip", "retrieve clip-text/tiny_clip")
CHANCE = {"top-1": 0.05, "top-3": 0.15, "balanced accuracy": 0.05, "kappa": 0.0}


@lru_cache
def scenes(n: int = 40) -> tuple[list[str], np.ndarray, dict[str, str], dict[str, str]]:
    made = [imagine(CATEGORIES[i % 20], i // 20) for i in range(n)]
    ids = [f"{s.concept}-{s.exemplar:02d}" for s in made]
    captions = {i: s.captions[0] for i, s in zip(ids, made, strict=True)}
    return ids, np.stack([paint(s) for s in made]), captions, {i: s.concept for i, s in zip(ids, made, strict=True)}


def evoked(n_trials: int, names: list[str], rng: np.random.Generator, n_times: int = 250) -> np.ndarray:
    """Something like an averaged visual response in volts: two waves over the back of the head, and slow noise."""
    t = np.arange(n_times) / 250 - 0.2
    back = np.array([{"O": 1.0, "P": 0.6, "T": 0.1, "C": 0.0, "F": -0.4, "A": -0.5, "I": 0.9}[c[0]] for c in names])
    side = np.array([{"": 0.0}.get(c.rstrip("0123456789z"), 0.3 if c[-1] in "2468" else -0.3) for c in names])
    waves = [
        back[:, None] * a * np.exp(-(((t - m) / s) ** 2))
        for a, m, s in ((4.0, 0.1, 0.02), (-5.0, 0.165, 0.03), (3.0, 0.29, 0.06))
    ]
    noise = np.cumsum(rng.normal(0, 0.2, (n_trials, len(names), n_times)), 2)
    mixed = np.einsum("ij,njt->nit", 0.6 * np.eye(len(names)) + 0.03, noise)
    lean = side[:, None] * 1.5 * np.exp(-(((t - 0.2) / 0.05) ** 2))
    return ((sum(waves) + lean + mixed) * 1e-6).astype(np.float32)


def events(n: int, ids: list[str], labels: dict[str, str]) -> pd.DataFrame:
    seen = [ids[i % len(ids)] for i in range(n)]
    return pd.DataFrame(
        {
            "subject": [f"{1 + i // len(ids):02d}" for i in range(n)],
            "session": "1",
            "run": "1",
            "stimulus": seen,
            "label": [labels[s] for s in seen],
            "fold": "sub-01",
            "seed": 0,
        }
    )


def row(task, metric, repetitions, subject, value, chance, ceiling=float("nan"), n=20, width=0.035, p=0.000999):
    low, high, noise_free = value - width, value + width, 0.9 * ceiling
    return (task, metric, repetitions, subject, value, chance, low, high, p, ceiling, noise_free, 80, n)


@lru_cache
def fake(name: str = "demo", *, phantom: bool = True, seed: int = 0) -> Result:
    rng = np.random.default_rng(seed)
    ids, pictures, captions, labels = scenes()
    table, scores, predictions = events(80, ids, labels), [], []
    classes = np.unique(list(labels.values()))
    for repetitions, gain in (("1", 0.9), ("16", 2.2)):
        truth = np.searchsorted(classes, table.label)
        s = rng.normal(0, 1, (80, 20)).astype(np.float32)
        s[np.arange(80), truth] += gain
        predictions.append(Predictions("classify", repetitions, s, truth, classes, table))
        for task in RETRIEVALS:
            gallery, truth = np.unique(table.stimulus, return_inverse=True)
            s = rng.normal(0, 0.1, (80, 40)).astype(np.float32)
            s[np.arange(80), truth] += 0.1 * gain
            predictions.append(Predictions(task, repetitions, s, truth, gallery.astype(str), table))
    for repetitions, value in (("1", 0.141), ("16", 0.437)):
        for subject, more in (("all", 0.0), ("01", 0.031), ("02", -0.031)):
            at = value + more
            for metric, chance in CHANCE.items():
                scores.append(row("classify", metric, repetitions, subject, at * (1 + chance), chance, at * 1.4))
            for i, task in enumerate(RETRIEVALS):
                for k in (1, 5, 10):
                    scores.append(
                        row(
                            task,
                            f"recall@{k}",
                            repetitions,
                            subject,
                            at * (0.5 + 0.04 * k - 0.1 * i),
                            k / 40,
                            at * 1.1 + 0.02 * k,
                            40,
                        )
                    )
                scores.append(row(task, "median rank", repetitions, subject, 9.0 - 10 * at, 20.0, n=40, width=1.0))
    findings = [
        "2 test pictures share a caption with training pictures (e.g. 'a red car on a street').",
        {"level": "WARN", "text": "Labels come in blocks", "runs": ["01", "02"]},
    ]
    return Result(
        name,
        {"use": "sightwave.recipe.Recipe", "split": {"use": "sightwave.splits.ByStimulus", "test": 0.2}},
        {
            "phantom": phantom,
            "n_trials": 12800,
            "n_subjects": 2,
            "n_stimuli": 800,
            "fingerprint": "9f3ac1d0b7e24c55",
            "ch_names": CAP_63,
            "sfreq": 250.0,
            "tmin": -0.2,
            "unit": "V",
            "pictures": ids,
            "captions": captions,
            "labels": labels,
            "left_out": {"sub-02/run-07.csv": "no markers in the recording"},
        },
        ("01", "02"),
        (0, 1),
        pd.DataFrame(scores, columns=list(SCORE_COLUMNS)),
        tuple(predictions),
        {"verdict": "WARN", "findings": findings, "allowed": []},
        2,
        "validation loss, lowest of 12 epochs",
        {
            "examples.row": np.array([3, 21, 44, 63]),
            "examples.eeg": evoked(4, CAP_63, rng),
            "pictures": pictures,
            "history.loss": 3.2 * np.exp(-np.arange(12) / 4) + 0.9,
            "history.val": 0.4 - 0.35 * np.exp(-np.arange(12) / 3),
        },
        {
            "seconds": {"train": 48.213, "decode": 2.1},
            "versions": {"torch": "2.13", "numpy": "2.3"},
            "command": "sightwave demo",
        },
    )


def slim() -> Result:
    """Only the scores: renders at once."""
    return replace(fake(), extras={}, predictions=())


def confounds() -> list[Result]:
    """The planted confound: the same EEG under a random split, and with whole blocks left out."""
    base, made = fake("confound"), []
    for verdict, value, p in (("FAIL", 0.763, 0.000999), ("PASS", 0.05, 0.51)):
        scores = pd.DataFrame(
            [row("classify", "top-1", "1", "all", value, 0.05, p=p, width=0.03)], columns=list(SCORE_COLUMNS)
        )
        audit = {
            "verdict": verdict,
            "allowed": ["block"] if verdict == "FAIL" else [],
            "findings": ["All 40 blocks are on both sides of the split, and each block holds one category."]
            if verdict == "FAIL"
            else [],
        }
        made.append(replace(base, scores=scores, audit=audit, predictions=(), extras={}))
    return made


def bare() -> Result:
    """A result as real EEG gives: four channels, two classes, three subjects, no pictures, no extras but the trials."""
    rng, table = np.random.default_rng(1), events(30, ["face", "house"], {"face": "face", "house": "house"})
    s = rng.normal(0, 1, (30, 2)).astype(np.float32)
    truth = np.arange(30) % 2
    scores = pd.DataFrame(
        [
            row("classify", m, "1", sub, v, 0.5, n=2, width=0.06, p=q)
            for m in ("auc", "top-1")
            for sub, v, q in (("1", 0.728, 0.001), ("2", 0.632, 0.004), ("3", 0.586, 0.061))
        ],
        columns=list(SCORE_COLUMNS),
    )
    return Result(
        "n170",
        {},
        {"ch_names": ["TP9", "AF7", "AF8", "TP10"], "sfreq": 256.0, "tmin": -0.1, "unit": "z"},
        ("1", "2", "3"),
        (0,),
        scores,
        (Predictions("classify", "1", s, truth, np.array(["face", "house"]), table),),
        {},
        1,
        "",
        {"examples.row": np.array([0, 7]), "examples.eeg": rng.normal(0, 1, (2, 4, 128)).astype(np.float32)},
        {},
    )


@lru_cache
def rendered() -> str:
    return page.render([fake()], title="What a phantom sees", intro="Two brains, forty pictures.", confound=confounds())


class Outline(HTMLParser):
    """Keeps the tags in balance, and collects what a page would load."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "col"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.says: list[str] = []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data", "srcset") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.says.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.says))


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_script():
    seen = Outline(rendered())
    assert seen.loads
    assert [u[:40] for u in seen.loads if not u.startswith(("data:image/", "#"))] == []
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    assert not re.search(r"@import|url\(\s*['\"]?\s*(?!#)", rendered())


def test_the_page_is_balanced_html_under_three_megabytes():
    assert Outline(rendered()).faults == []
    assert len(rendered().encode()) < 3_000_000


def test_the_same_results_give_the_same_bytes(tmp_path):
    path = page.write(
        tmp_path / "new folder" / "a.html",
        [fake()],
        title="What a phantom sees",
        intro="Two brains, forty pictures.",
        confound=confounds(),
    )
    assert path.read_text(encoding="utf-8") == rendered()


def test_a_result_read_back_from_disk_gives_the_same_page(tmp_path):
    again = Result.load(fake().save(tmp_path / "r"))
    made = page.render([again], title="What a phantom sees", intro="Two brains, forty pictures.", confound=confounds())
    assert made == rendered()


def test_every_score_stands_with_its_interval_chance_p_and_ceiling():
    text, given = Outline(rendered()).text, fake().scores
    for r in given.itertuples():
        cells = [
            words.number(r.value, r.metric),
            words.interval(r.low, r.high, r.metric),
            words.number(r.chance, r.metric),
            "< 0.001",
        ]
        for value in (r.ceiling, r.noise_free):
            cells.append(words.number(value, r.metric) if np.isfinite(value) else "unknown")
        assert " ".join(cells) in text, r


def test_what_is_simulated_is_called_phantom_in_title_headline_captions_and_table():
    html = page.render([slim()], title="Report", confound=confounds())
    assert "<title>Report (phantom)</title>" in html
    assert "phantom subject" in words.headline(fake())
    captions = re.findall(r"<caption.*?</caption>", html, re.DOTALL)
    assert len(captions) >= 4
    assert all("phantom" in c for c in captions)
    assert "phantom" in tables.text(fake()).splitlines()[0]


def test_a_real_brain_is_never_called_phantom():
    html = page.render([bare()], title="Faces")
    assert "phantom" not in Outline(html).text.lower()
    assert "phantom" not in tables.text(bare())


def test_text_from_data_cannot_become_markup():
    evil, given = "<script>alert('x')</script>$x^2$", fake()
    labels = {i: evil if v == "boat" else v for i, v in given.data["labels"].items()}
    p = given.predictions[3]
    assert p.task == "classify"
    classes = np.where(p.candidates == "boat", evil, p.candidates.astype(object)).astype(str)
    data = given.data | {
        "labels": labels,
        "captions": dict.fromkeys(given.data["captions"], evil),
        "left_out": {evil: evil},
    }
    given = replace(
        given,
        name=evil,
        data=data,
        selection=evil,
        recipe={evil: evil},
        audit={"verdict": "WARN", "findings": [evil, {"what": evil}]},
        predictions=(*given.predictions[:3], replace(p, candidates=classes), *given.predictions[4:]),
        provenance={evil: evil},
    )
    html = page.render([given], title=evil, intro=evil, confound=confounds())
    assert "<script" not in html
    assert Outline(html).faults == []
    assert Outline(html).text.count("<script>") > 20
    assert "[bold]" in tables.text(replace(given, name="[bold]", scores=given.scores.head(4)))


def test_the_audit_is_printed_above_the_scores_with_its_findings_and_openings():
    text = Outline(rendered()).text
    assert text.index("Audit WARN") < text.index("share a caption with training pictures") < text.index("Scores")
    assert text.index("Test set opened twice; epoch chosen by validation loss, lowest of 12 epochs.") < text.index(
        "Scores"
    )


def test_the_audits_own_findings_are_told_by_their_message_alone():
    own = {
        "kind": "caption",
        "level": "WARN",
        "count": 2,
        "where": "sub-01",
        "example": "x",
        "message": "2 captions are shared (e.g. 'x')",
    }
    given = replace(fake(), audit={"verdict": "WARN", "findings": [own], "allowed": []})
    assert words.findings(given) == [{"level": "WARN", "text": "2 captions are shared (e.g. 'x')"}]


def test_a_failed_audit_marks_headline_tiles_tables_and_terminal():
    leaky, honest = confounds()
    html = page.render([leaky], title="t")
    assert "Not evidence: the split leaks." in html
    assert html.count("LEAK") >= 3
    assert all("LEAK" in c for c in re.findall(r"<caption.*?</caption>", html, re.DOTALL))
    assert "LEAK" in tables.text(leaky)
    assert "LEAK" not in page.render([honest], title="t") + tables.text(honest)
    marked = [line for line in tables.text([leaky, honest]).splitlines() if "confound LEAK" in line]
    assert len(marked) == 1
    assert "76.3 %" in marked[0]


def test_the_confound_story_tells_both_scores_and_the_verdict():
    text = Outline(rendered()).text.replace("\u00a0", " ")
    story = text[text.index("A confound that would have fooled us") :]
    assert "no picture signal at all" in story
    assert re.search(r"would have scored 76\.3 % where guessing gives 5\.0 %\. The audit says FAIL", story)
    assert re.search(r"scores 5\.0 % ?, which is chance", story)
    assert "All 40 blocks are on both sides" in story
    assert "76.3" not in text[: text.index("A confound that would have fooled us")]
    assert "A confound" not in page.render([bare()], title="t")


def test_a_held_out_score_above_chance_is_not_called_chance():
    leaky, honest = confounds()
    above = replace(honest, scores=honest.scores.assign(value=0.2, low=0.15, high=0.25))
    assert "which is chance" not in page.render([slim()], title="t", confound=[above, leaky])


def test_missing_parts_are_tolerated_one_by_one():
    one = {k: v[:1] if k.startswith("examples") else v for k, v in fake().extras.items()}
    whole = replace(fake(), extras=one, predictions=fake().predictions[3:4])
    for name in whole.extras:
        extras = {
            k: v for k, v in whole.extras.items() if k != name and not (name == "examples.eeg" and "history" in k)
        }
        assert Outline(page.render([replace(whole, extras=extras)], title="t")).faults == []
    lean = replace(
        whole,
        extras={"examples.row": np.array([3, 999])},
        data={},
        audit={},
        provenance={},
    )
    text = Outline(page.render([lean], title="t")).text
    assert "Audit UNKNOWN" in text
    assert "no picture stored" in text
    assert "No EEG was stored" in text
    empty = replace(whole, scores=whole.scores.head(0), predictions=(), extras={})
    assert "No scores were computed" in Outline(page.render([empty], title="t")).text
    assert Outline(page.render([], title="t")).faults == []


def test_four_channels_and_two_classes_give_a_whole_page_without_a_scalp_map():
    html = page.render([bare()], title="Faces")
    seen = Outline(html)
    assert seen.faults == []
    assert "No scalp map: 4 of 4 channels have a known 10-05 position" in seen.text
    assert "a.u." in html
    assert "µV" not in html
    assert "0.586 – 0.728" in seen.text
    assert "(2 of 3 subjects with p < 0.05)" in seen.text.replace("\u00a0", " ")


def test_unknown_channel_names_give_a_note_and_known_ones_a_map():
    rng = np.random.default_rng(0)
    assert eeg.scalp(rng.normal(size=12), [f"E{i}" for i in range(12)], "V")[0] == ""
    svg, note = eeg.scalp(1e-6 * rng.normal(size=64), [*(c.upper() for c in CAP_63), "EOG"], "V")
    assert svg.startswith("<svg")
    assert re.fullmatch(r"±[\d.]+ µV", note)


def test_the_peak_of_the_global_field_power_is_found_after_onset():
    x = np.zeros((8, 100), np.float32)
    x[:4, 10], x[:4, 60] = 9.0, 5.0  # the larger one lies before onset
    assert eeg.field_peak(x, 100.0, -0.5) == 60


def test_cards_tell_the_rank_of_the_truth_and_mark_it():
    cards = trials.cards(fake())
    p = trials.best_predictions(fake())["classify"]
    assert [c.row for c in cards] == [3, 21, 44, 63]
    for c in cards:
        category, image, caption = c.answers
        assert (image.question.kind, caption.question.kind) == ("image", "caption")
        assert category.true.rank == int((p.scores[c.row] >= p.scores[c.row, p.truth[c.row]]).sum())
        assert category.true.text == c.label
        assert caption.true.text == c.caption
        assert image.true.picture == c.picture != ""
        assert [len(a.best) for a in c.answers] == [3, 5, 3]
        assert all(sum(g.right for g in a.best) == a.hit for a in c.answers)


def test_a_tie_is_counted_against_the_truth_on_cards():
    p = Predictions(
        "classify",
        "1",
        np.zeros((1, 4), np.float32),
        np.array([0]),
        np.array(list("abcd")),
        events(1, ["a"], {"a": "a"}),
    )
    assert trials.answer(p, 0, bare(), {}).true.rank == 4


def test_a_caption_that_belongs_to_two_pictures_says_so():
    p = Predictions(
        "retrieve clip-text/x",
        "1",
        np.array([[0.9, 0.5, 0.1]], np.float32),
        np.array([1]),
        np.array(list("abc")),
        events(1, ["b"], {"b": "b"}),
    )
    given = replace(bare(), data={"captions": {"a": "a dog", "b": "a dog", "c": "a cat"}})
    assert [g.same_words for g in trials.answer(p, 0, given, {}).best] == [True, False, False]


def test_confusion_is_a_mean_over_subjects_and_unseen_classes_are_unknown():
    table = events(3, ["x"], {"x": "x"}).assign(subject=["1", "1", "2"])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    names, shares = figures.confusion(
        [Predictions("classify", "1", scores, np.array([0, 0, 0]), np.array(list("abc")), table)]
    )
    assert shares[0].tolist() == [0.25, 0.75, 0.0]
    assert np.isnan(shares[1:]).all()
    assert figures.mistaken(names, shares) == [("a", "b", "75.0 %")]


def test_places_on_a_forest_lie_on_its_axis_in_order():
    for f in forest.forests(fake()) + forest.forests(bare()):
        assert [at for at, _ in f.ticks] == sorted(at for at, _ in f.ticks)
        for m in f.marks:
            assert 0 <= m.left <= m.at <= m.left + m.width <= 100
            assert 0 <= m.chance_at <= 100
    auc = forest.forests(bare())[0]
    assert auc.ticks[0] == (0.0, "0.5")
    assert [m.at for m in auc.marks] == pytest.approx([76.0, 44.0, 28.67], abs=0.01)


def test_several_results_are_set_side_by_side_and_marked_in_the_terminal():
    other = replace(slim(), name="ridge", predictions=fake().predictions[:1])
    html = page.render([slim(), other], title="t")
    assert Outline(html).faults == []
    assert [m.who for m in forest.beside([fake(), other])[0].marks] == ["demo", "demo", "ridge", "ridge"]
    assert "Side by side" in html
    assert forest.beside([fake(), bare()]) == []
    lines = [line for line in tables.text([fake(), other]).splitlines() if "category" in line]
    assert [line.split()[0] for line in lines if "noise-free" not in line] == ["demo", "ridge"]


def test_results_that_search_spaces_of_their_own_stand_on_one_axis():
    image = RETRIEVALS[0]
    other = replace(fake(), name="best", scores=fake().scores.replace({"task": {image: "retrieve fusion/2-0a1b2c"}}))
    asked = {f.question.word: f for f in forest.beside([fake(), other])}
    assert [m.who for m in asked["image"].marks] == ["demo", "demo", "best", "best"]
    assert asked["image"].question.note == "each in a space of its own"
    assert asked["caption"].question.note == RETRIEVALS[1].removeprefix("retrieve ")


def test_the_terminal_table_is_short_and_fits_a_narrow_window():
    short = tables.text(fake(), width=80)
    assert max(map(len, short.splitlines())) <= 80
    for part in (
        "category",
        "top-1",
        "45.9 %",
        "[42.4, 49.4]",
        "5.0 %",
        "< 0.001",
        "61.2 %",
        "audit WARN",
        "opened twice",
    ):
        assert part in short
    assert "median rank" not in short
    assert len(tables.frame(fake())) == len(fake().scores)
    assert set(tables.frame(fake(), metrics=1, subjects=False)["subject"]) == {"all"}


def test_subjects_stand_in_the_table_where_there_is_no_score_for_all():
    assert [s for s in tables.frame(bare(), metrics=1, subjects=False)["subject"]] == ["1", "2", "3"]


def test_of_many_numbers_of_repetitions_the_terminal_shows_three():
    levels = [("1", 0.1), ("2", 0.2), ("4", 0.3), ("8", 0.4), ("20", 0.5)]
    row = fake().scores.iloc[[0]]
    many = replace(fake(), scores=pd.concat([row.assign(repetitions=n, value=v) for n, v in levels]))
    assert tables.frame(many)["repetitions"].tolist() == ["20", "8", "4", "2", "1"]
    assert tables.frame(many, curve=False)["repetitions"].tolist() == ["20", "4", "1"]


def test_a_score_that_is_not_above_chance_is_said_to_be_so():
    scores = pd.DataFrame([row("classify", "top-1", "1", "all", 0.06, 0.05, p=0.31)], columns=list(SCORE_COLUMNS))
    given = replace(slim(), scores=scores)
    assert "(not above chance, p = 0.31)" in words.headline(given)
    assert "not above" not in words.headline(fake())
    assert [f.clear for f in forest.forests(given)] == [False]
    assert 'tile unsure"' in page.render([given], title="t")
    assert all(f.clear for f in forest.forests(slim()) + forest.forests(bare()))


def test_unknown_numbers_are_said_to_be_unknown():
    nan = float("nan")
    scores = pd.DataFrame(
        [("classify", "top-1", "1", "all", 0.5, 0.1, nan, nan, nan, nan, nan, 10, 10)], columns=list(SCORE_COLUMNS)
    )
    given = replace(slim(), scores=scores)
    assert Outline(page.render([given], title="t")).faults == []
    assert "nan" not in tables.text(given)
    assert "nan" not in Outline(page.render([given], title="t")).text.split()


def test_notes_of_the_judge_are_said_once_each():
    lines = [f"{t}, repetitions {n}: one seed" for t in ("classify", *RETRIEVALS) for n in (1, 16)] + [
        "classify, repetitions 1: two trials"
    ]
    given = replace(fake(), data=fake().data | {"notes": lines})
    assert words.notes(given) == ["One seed.", "Two trials (category)."]


def test_the_recipe_and_what_was_left_out_are_on_the_page():
    text = Outline(rendered()).text
    assert json.dumps("sightwave.splits.ByStimulus") in text
    assert "no markers in the recording" in text
    assert "9f3ac1d0b7e24c55" in text


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("validation loss", "Test set opened twice; epoch chosen by validation loss."),
        ("fixed: the last of 20 epochs", "Test set opened twice; epoch fixed: the last of 20 epochs."),
        ("closed form, fixed penalty", "Test set opened twice; closed form, fixed penalty."),
        ("", "Test set opened twice."),
    ],
)
def test_how_the_epoch_was_chosen_is_said_in_a_sentence(selection, said):
    assert words.opened(replace(slim(), selection=selection)) == said


def test_every_metric_of_the_package_is_printed_in_its_own_unit():
    from sightwave.metrics import classification as c
    from sightwave.metrics import retrieval as r

    metrics = (
        c.top_k(1),
        r.recall_at(5),
        c.balanced_accuracy,
        c.f1_macro,
        c.cohen_kappa,
        c.auc,
        r.mean_reciprocal_rank,
    )
    assert [words.number(0.25, m.__name__) for m in metrics] == ["25.0 %"] * 4 + ["0.250"] * 3
    assert words.number(12.0, r.median_rank.__name__) == "12"
    assert "%" not in words.number(3.0, "a metric of the user's own")
