"""What the documents say is true: their scripts run, their commands exist, their links lead somewhere."""

import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from sightwave import cli, house

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
EVERY_PAGE = [*PAGES, *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "LOG"))]
# Some versions of typer bring a click of their own, so its names come by way of typer.
ClickException = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[str, int, str]]:
    """Kind, line number and text of each fenced block."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield found["kind"].strip(), text.count("\n", 0, found.start("text")) + 1, found["text"]


def python_blocks(page: Path) -> list[tuple[int, str]]:
    return [(line, text) for kind, line, text in blocks(page) if kind == "python"]


def label(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_readme_opens_with_a_sentence_and_the_two_commands():
    text = README.read_text(encoding="utf-8")
    top = text[: text.index("./check")]
    assert "./demo" in top
    assert top.count("\n## ") <= 1, "the two commands come first"
    assert len(python_blocks(README)) >= 1, "the library's ten lines are in the README"


def test_the_package_says_of_itself_what_the_readme_says():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["readme"] == "README.md"
    assert project["description"] in README.read_text(encoding="utf-8")
    target, _, name = project["scripts"]["sightwave"].partition(":")
    assert callable(getattr(importlib.import_module(target), name))


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """One after the other in one namespace, in an empty folder; ```python no-run is left out."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("__main__")  # so that dataclasses and the like find their module
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, "__main__", module)
    for line, text in python_blocks(page):
        exec(compile("\n" * (line - 1) + text, str(page), "exec"), vars(module))
    if page == README:  # its last script plants a response and must find it
        assert vars(module)["result"].score("top-1") > 0.6


# --- the command line ---------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Every command by its whole name: ``{"run": ..., "phantom show": ...}``."""
    found: dict[str, Any] = {}

    def walk(prefix: str, command: Any) -> None:
        below = getattr(command, "commands", None)
        if below is None:
            found[prefix.strip()] = command
        else:
            for name, child in below.items():
                walk(f"{prefix} {name}", child)

    walk("", typer.main.get_command(cli.app))
    return found


COMMANDS = commands()


def test_there_are_commands():
    assert {"demo", "run", "list", "show", "check", "audit", "report"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name):
    assert (COMMANDS[name].help or "").strip(), "no help"
    pages = [label(p) for p in PAGES if re.search(rf"\bsightwave {name}\b", p.read_text(encoding="utf-8"))]
    assert pages, f"`sightwave {name}` is neither in README.md nor in docs/"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    silent = [p.name for p in COMMANDS[name].params if p.name != "help" and not (getattr(p, "help", "") or "").strip()]
    assert silent == []


def written_commands(text: str) -> list[str]:
    """Command lines of ours in a text: lines that start with ``sightwave``, after a prompt or none."""
    joined = text.replace("\\\n", " ")
    return [m[1].strip() for m in re.finditer(r"^\s*(?:\$ )?(sightwave [^\n#]*)", joined, re.MULTILINE)]


def parse(line: str) -> None:
    """Parse a command line as the program would, without running it."""
    words = shlex.split(line.split(" | ")[0].split(" > ")[0])[1:]
    if not words or words[0].startswith("-"):
        return
    command: Any = typer.main.get_command(cli.app)
    while (below := getattr(command, "commands", None)) is not None and words:
        assert words[0] in below, f"there is no command {words[0]!r}"
        command, words = below[words[0]], words[1:]
    if "--help" not in words:
        command.make_context("sightwave", list(words))


def test_command_lines_in_the_documents_parse():
    wrong, n = [], 0
    for page in PAGES:
        for kind, line, text in blocks(page):
            if kind not in {"bash", "sh", "console", "shell"}:
                continue
            for written in written_commands(text):
                n += 1
                try:
                    parse(written)
                except (ClickException, AssertionError) as e:
                    wrong.append(f"{label(page)}:{line}: {written}: {getattr(e, 'message', e)}")
    assert wrong == []
    assert n > 0


# --- recipes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", house.names("recipes"))
def test_every_recipe_says_what_its_command_and_what_to_expect(name):
    text = inspect.getdoc(importlib.import_module(f"sightwave.recipes.{name}")) or ""
    assert re.match(r".{20,}[.]$", text.splitlines()[0]), "the first line is a sentence"
    lines = written_commands(text)
    assert any(line.split()[:3] == ["sightwave", "run", name] for line in lines), f"no line `sightwave run {name}`"
    for line in lines:
        parse(line)
    assert re.search(r"\bPublished\b|\bReference\b", text), "what others found is missing"
    assert re.search(r"\bOurs\b", text), "what we found is missing"


# --- links --------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=label)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    broken = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        where, _, anchor = link.partition("#")
        target = (page.parent / where) if where else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
