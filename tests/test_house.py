"""The house keeps its own rules. A rule that makes the code worse is changed here, with the reason."""

import ast
import importlib
import inspect
import pkgutil
import re
import statistics
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from numpydoc.docscrape import NumpyDocString

import sightwave

SRC = Path(sightwave.__file__).parent
ROOT = SRC.parents[1]
FILES = sorted(SRC.rglob("*.py"))

# A file imports only from lower floors; what stands on one floor does not know each other.
FLOORS = (
    # ground: errors, plain JSON, files
    {"errors"},
    {"describe", "files"},
    {"ondisk"},
    {"cache"},
    # currencies: what is handed from room to room
    {"trials", "stimuli", "embeddings", "results"},
    {"recordings", "split"},
    {"reading"},
    # rooms
    {"datasets", "phantom", "splits", "preprocess", "targets", "encoders", "losses", "generators", "metrics"},
    {"align"},
    {"train", "decode"},
    {"judge", "report"},
    # the story
    {"recipe", "decoder"},
    {"fold"},
    {"where", "account"},
    {"story"},
    # doors
    {"recipes", "house", "captions", "progress", "cli_options"},
    {"demo", "compare", "survey", "fetch", "convert", "cli_phantom", "cli_where", "eeg_captions"},
    {"reflect", "cli_compare"},
    {"cli_captions"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED = {("datasets", "phantom")}  # the simulated data set is made of the phantom

HEAVY = {"transformers", "mne", "matplotlib", "sklearn", "diffusers", "peft"}
NO_TORCH = set().union(*FLOORS[:7]) | {
    "splits",
    "preprocess",
    "metrics",
    "judge",
    "report",
    "cli",
    "cli_phantom",
    "cli_captions",
    "cli_compare",
    "cli_options",
    "cli_where",
    "house",
}


def listed(found: list[str]) -> str:
    return "\n" + "\n".join(found)


def name_of(path: Path) -> str:
    return str(path.relative_to(SRC))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Rooms of the package that a file imports, wherever in the file it does."""
    package = ("sightwave", *path.relative_to(SRC).parts[:-1])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            dotted = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            dotted = [f"{module}.{a.name}" for a in node.names] if module == "sightwave" else [module]
        else:
            continue
        for name in dotted:
            parts = name.split(".")
            if parts[0] == "sightwave" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


def imports_at_the_top(path: Path) -> Iterator[tuple[int, str]]:
    """Packages that are imported when the file is, so not those inside functions or for types alone."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name.split(".")[0]) for a in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, (node.module or "").split(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def test_imports_go_down():
    found = []
    for path in FILES:
        room = room_of(path)
        if room == "__init__":
            continue  # the front door shows what lies on every floor
        assert room in FLOOR, f"{room} has no floor; give it one in tests/test_house.py"
        found += [
            f"{name_of(path)}:{line}: {room} may not import {other}"
            for line, other in imported_rooms(path)
            if other != room and (room, other) not in ALLOWED and not FLOOR.get(other, 99) < FLOOR[room]
        ]
    assert not found, listed(found)


def test_the_rule_sees_every_kind_of_import(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SRC", tmp_path)
    file = tmp_path / "encoders" / "bad.py"
    file.parent.mkdir()
    file.write_text(
        "import sightwave.story\nfrom sightwave import judge, __version__\nfrom sightwave.train.loop import fit\n"
        "def f():\n    from sightwave.decode import base\n    from ..align import Aligner\n"
        "    from .base import Encoder\n    import numpy\n"
    )
    assert [other for _, other in imported_rooms(file)] == ["story", "judge", "train", "decode", "align", "encoders"]
    assert sorted(name for _, name in imports_at_the_top(file)) == ["sightwave"] * 3


def test_heavy_packages_are_imported_where_they_are_needed():
    found = []
    for path in FILES:
        forbidden = HEAVY | ({"torch"} if room_of(path) in NO_TORCH | {"__init__"} else set())
        found += [f"{name_of(path)}:{line}: {name}" for line, name in imports_at_the_top(path) if name in forbidden]
    assert not found, listed(found)


LIGHT = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    heavy = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
    if heavy:
        sys.exit(f"importing {name} imports {', '.join(heavy)}")
"""


def test_what_needs_no_torch_imports_none():
    """Also not by way of others: ``sightwave --help`` and the report must start at once."""
    light = [
        ".".join(("sightwave", *p.relative_to(SRC).with_suffix("").parts)) for p in FILES if room_of(p) in NO_TORCH
    ]
    light = ["sightwave", "sightwave.cli", *(m.removesuffix(".__init__") for m in light if m != "sightwave.house")]
    heavy = ",".join(HEAVY | {"torch"})
    done = subprocess.run([sys.executable, "-c", LIGHT, heavy, *light], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small():
    lines = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert {name: n for name, n in lines.items() if n > 400} == {}
    assert statistics.median(n for name, n in lines.items() if not name.endswith("__init__.py")) <= 200


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


WRITERS = {"write_text", "write_bytes", "to_csv", "to_json", "to_parquet", "to_pickle", "savefig", "savetxt", "tofile"}
SAVERS = {"np.save", "np.savez", "numpy.save", "torch.save", "pickle.dump", "json.dump", "save_file", "os.rename"}
RUNNERS = {"eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "os.system", "yaml.load"}


def buffers(path: Path) -> set[str]:
    """Names that stand for memory and not for a file."""
    made = [
        n
        for n in ast.walk(tree(path))
        if isinstance(n, ast.Assign) and re.search(r"\b(String|Bytes)IO\(", ast.unparse(n))
    ]
    return {ast.unparse(target) for n in made for target in n.targets}


def staged(path: Path) -> list[range]:
    """Lines inside ``with files.replacing(...)``: what is written there is staged, synced and renamed."""
    blocks = [n for n in ast.walk(tree(path)) if isinstance(n, ast.With)]
    doors = [n for n in blocks if any("replacing" in ast.unparse(item.context_expr) for item in n.items)]
    return [range(n.lineno, (n.end_lineno or n.lineno) + 1) for n in doors]


def writes(call: ast.Call, function: str) -> bool:
    """Whether a call opens a path for writing, or writes one itself."""
    last = function.rsplit(".", 1)[-1]
    if last == "open":
        modes = [*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")]
        text = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
        return any(set(m) & set("wax+") and set(m) <= set("rwaxbt+") for m in text)
    return function in SAVERS or (last in WRITERS and bool(call.args) and not function.startswith("files."))


def test_files_are_written_through_one_door_and_nothing_is_unpickled():
    found = []
    for path in FILES:
        memory, doors = buffers(path), staged(path)
        for call, function in calls(path):
            at = f"{name_of(path)}:{call.lineno}: {ast.unparse(call)[:80]}"
            options = {(k.arg, k.value.value) for k in call.keywords if isinstance(k.value, ast.Constant)}
            if options & {("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True)}:
                found.append(f"{at}: runs code from a file")
            if function in RUNNERS:
                found.append(f"{at}: runs code")
            into_memory = any(ast.unparse(a) in memory for a in call.args)
            through_the_door = room_of(path) == "files" or any(call.lineno in lines for lines in doors)
            if writes(call, function) and not into_memory and not through_the_door:
                found.append(f"{at}: write through sightwave.files")
    assert not found, listed(found)


def test_no_error_is_swallowed_and_nothing_is_left_for_later():
    found = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            )
            if broad and not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                found.append(f"{name_of(path)}:{node.lineno}: a broad except")
            if isinstance(node, ast.Raise) and node.exc and "NotImplementedError" in ast.unparse(node.exc):
                found.append(f"{name_of(path)}:{node.lineno}: not implemented")
        text = path.read_text(encoding="utf-8")
        words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
        found += [f"{name_of(path)}: {word} is left" for word in words if re.search(rf"\b{word}\b", text)]
    assert not found, listed(found)


def test_no_global_seed_is_set():
    setters = {"np.random.seed", "numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all"}
    found = [f"{name_of(p)}:{c.lineno}: {f}" for p in FILES for c, f in calls(p) if f in setters]
    assert not found, listed(found)


# --- docstrings ---------------------------------------------------------------------------------------------------


def modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(sightwave.__path__, "sightwave.") if not m.name.endswith("__main__")]
    return [importlib.import_module(n) for n in sorted(names)]


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public classes and functions that a module defines, and the public methods of these classes."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            yield f"{module.__name__}.{name}", thing
            for method, f in vars(thing).items():
                f = f.__func__ if isinstance(f, classmethod | staticmethod) else f
                if inspect.isfunction(f) and not method.startswith("_"):
                    inherited = any(method in vars(base) for base in thing.__mro__[1:])
                    if not inherited:  # the base says what it is
                        yield f"{module.__name__}.{name}.{method}", f
        elif inspect.isfunction(thing):
            yield f"{module.__name__}.{name}", thing


# Mean the same wherever they stand, so a docstring need not repeat it.
KNOWN_EVERYWHERE = {
    "batch_size",
    "device",
    "folder",
    "name",
    "path",
    "progress",
    "rng",
    "seed",
    "seeds",
    "stimuli",
    "subjects",
    "table",
    "trials",
}
# Told once for the whole room, in its base: what every metric takes.
KNOWN_IN_ROOM = {"sightwave.metrics": {"scores", "truth"}}
# Workshops whose pieces are put together next door: there a summary will do, and arrays still say their shapes.
WORKSHOPS = {"sightwave.phantom", "sightwave.report"}
ARRAY = re.compile(r"^(np\.ndarray|torch\.Tensor|Tensor)( \| None)?$")
# One drawing per function, named by what it draws.
NAMED_BY_WHAT_THEY_DO = {"sightwave.phantom.drawings"}


def parameters(thing: object) -> dict[str, str]:
    """Public parameters, with their annotations as written."""
    if inspect.isclass(thing) and (thing.__init__ is object.__init__ or issubclass(thing, Exception)):
        return {}
    found = inspect.signature(thing).parameters.values()  # type: ignore[arg-type]
    plain = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and not p.name.startswith("_")]
    return {p.name: str(p.annotation) for p in plain if p.name not in ("self", "cls")}


def gaps(thing: object, room: str = "") -> Iterator[str]:
    """What a docstring lacks: a summary, a parameter, a shape; or a parameter that the signature lacks."""
    text = inspect.getdoc(thing) if thing.__doc__ else None
    if not text:
        yield "no docstring"
        return
    prose = re.split(r"^\s*>>> ", text, maxsplit=1, flags=re.MULTILINE)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpydoc warns of sections that it does not know
        doc = NumpyDocString(prose)
    if not doc["Summary"]:
        yield "no summary"

    wanted = parameters(thing)
    told: dict[str, str] = {}
    for entry in doc["Parameters"]:
        names = [n.strip().lstrip("*") for n in entry.name.split(",")]
        told |= dict.fromkeys(names, f"{entry.type} {' '.join(entry.desc)}")
        yield from (
            f"documents {n!r}, which it does not take" for n in names if n not in wanted and not n.startswith("_")
        )
    for entry in doc["Attributes"]:
        told |= {entry.name: f"{entry.type} {' '.join(entry.desc)}"}

    elsewhere = re.search(r"see `[\w.]+` for the options", prose)
    known = KNOWN_EVERYWHERE | KNOWN_IN_ROOM.get(room, set())
    for name, annotation in wanted.items():
        mentioned = name in told or name in known or elsewhere or re.search(rf"\b{name}\b", prose)
        if not mentioned and (len(wanted) >= 3 or doc["Parameters"]) and room not in WORKSHOPS:
            yield f"says nothing about {name!r}"
        # a suffix, as in eeg_BCT, is a shape already
        if ARRAY.match(annotation) and not re.search(r"_[A-Z0-9]+$", name) and name not in known:
            about = told.get(name, prose)
            if not re.search(r"shape|length n|\([A-Za-z_]+, |per trial|per subject", about):
                yield f"does not say the shape of {name!r}"


def test_every_public_name_is_documented_with_its_parameters_and_shapes():
    found = []
    for module in modules():
        room = ".".join(module.__name__.split(".")[:2])
        if not (module.__doc__ or "").strip():
            found.append(f"{module.__name__}: no docstring")
        # the help texts document the command line; see test_docs.py
        if not module.__name__.startswith("sightwave.cli") and module.__name__ not in NAMED_BY_WHAT_THEY_DO:
            found += [f"{name}: {gap}" for name, thing in public(module) for gap in gaps(thing, room)]
    assert not found, listed(found)


def test_every_public_name_of_the_package_is_there():
    assert len(sightwave.__all__) > 10
    for name in sightwave.__all__:
        assert getattr(sightwave, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sightwave.nonsense


# --- the repository -----------------------------------------------------------------------------------------------


def repository_files() -> list[Path]:
    """Files that git tracks or would track; everything but known by-products where there is no git."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        names = [n for n in done.stdout.split("\0") if n]
    else:
        skip = re.compile(
            r"(^|/)(\.venv|\.git|results|build|dist|__pycache__|\.[a-z]+_cache|\.hypothesis|.*\.egg-info)/"
        )
        names = [n for p in ROOT.rglob("*") if not skip.search((n := p.relative_to(ROOT).as_posix()) + "/")]
    return [ROOT / n for n in names if (ROOT / n).is_file()]


# written in pieces, so that this file passes its own test
MACHINES = (
    r"(?<![\w.])/" + "(root|work|home|Users)" + r"/\w",
    r"[A-Z]:\\Users",
    r"(pypi|pythonhosted|anaconda|conda-forge|download\.py" + r"torch)\.(org|com|io)",
    "--(extra-)?index" + "-url",
    "--trusted" + "-host",
    "--find" + "-links",
)
MACHINE = re.compile("|".join(MACHINES))


def test_nothing_names_a_machine_or_a_package_registry():
    found = []
    for path in repository_files():
        if path.suffix in {".safetensors", ".png", ".jpg", ".npy", ".gz"}:
            continue
        for i, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if len(line) < 5000 and MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{i}: {line.strip()[:100]}")
    assert not found, listed(found)


def test_the_rule_knows_a_machine_when_it_sees_one():
    assert MACHINE.search("see /" + "home/ada/data")
    assert MACHINE.search("pip install --index" + "-url x")
    assert not MACHINE.search("https://example.org/home/page and shared/data")


def test_the_repository_stays_light():
    sizes = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in repository_files()}
    assert {name: n for name, n in sizes.items() if n > 3_000_000} == {}
    assert sum(sizes.values()) < 14_000_000  # 10 of them are the phantom's weights


@pytest.mark.parametrize("script", ["demo", "check", ".ci/run"])
def test_scripts_can_be_run_and_parse(script):
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    subprocess.run(["bash", "-n", str(ROOT / "tools" / "setup.sh")], check=True)
