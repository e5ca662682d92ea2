"""Question: a task's name as people say it. Names are made by the tasks of this room, and read here and in the report.

A retrieval is called ``"retrieve SPACE"`` when it is the plain one, and ``"retrieve SPACE | WAY"`` in any other gallery
or way of inference: each way is a row of its own in every table, and none is ever averaged with another.
"""

from __future__ import annotations

from dataclasses import dataclass

TRANSDUCTIVE, ORACLE = "transductive", "oracle: no decoder"
TEMPLATE, CSLS, WHITENING, ASSIGNMENT = "class template", "CSLS", "whitening", "one-to-one assignment"
MARKS = {CSLS: TRANSDUCTIVE, WHITENING: TRANSDUCTIVE, ASSIGNMENT: TRANSDUCTIVE}
"""Way of inference -> what must be said wherever its score is printed."""
ANY_OF = "any of "
SEPARATOR = " | "


@dataclass(frozen=True)
class Question:
    """A task as people say it.

    Parameters
    ----------
    word : str
        ``"category"``, ``"image"``, ``"caption"``, or what is probed.
    note : str
        The rest of the task's name: the space that was searched, or ``"linear probe"``.
    kind : {"classify", "image", "caption"}
        What its candidates are.
    way : str
        Gallery or way of inference, ``"class template"`` or ``"CSLS"``; empty for the plain one.
    mark : str
        ``"transductive"`` where the other test trials helped, ``"oracle: no decoder"`` where the answer did, or empty.
    """

    word: str
    note: str
    kind: str
    way: str = ""
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.note})" if self.note else self.title

    @property
    def title(self) -> str:
        """Word, way and mark: ``"image, CSLS (transductive)"``."""
        return self.word + (f", {self.said}" if self.way else "")

    @property
    def said(self) -> str:
        """Way and mark: ``"CSLS (transductive)"``; empty for the plain way."""
        return self.way + (f" ({self.mark})" if self.mark else "")


def question(task: str) -> Question:
    """Say a task's name to people.

    >>> str(question("retrieve clip-text/tiny_clip")), str(question("classify")), str(question("probe colour"))
    ('caption (clip-text/tiny_clip)', 'category', 'colour (linear probe)')
    >>> question("retrieve clip-image/tiny_clip | CSLS").title
    'image, CSLS (transductive)'
    """
    plain, _, way = task.partition(SEPARATOR)
    verb, _, rest = plain.partition(" ")
    if verb == "retrieve":
        spaces = rest.split(" + ")
        word = "caption" if all("text" in s or "caption" in s for s in spaces) else "image"
        return Question(word, rest, word, way, ORACLE if way.startswith(ANY_OF) else MARKS.get(way, ""))
    if verb == "probe":
        return Question("category" if rest in ("", "label") else rest, "linear probe", "classify")
    return Question("category" if verb == "classify" else task, rest if verb == "classify" else "", "classify")
