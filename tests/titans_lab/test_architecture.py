"""Who may import whom, which library is whose, and that class names are unique, read from the source.

Imports count at the top of a file and anywhere in it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import titans
import titans_lab
from titans_lab import tasks

#: Needs no torch; of `titans.mixers`, the specifications.
LIGHT = "titans titans.compiler titans.mixers titans.models.config titans.models.cost titans.models.presets"
#: Room: the rooms that it may import besides itself. A module's room is the longest that its name begins with.
MAY_IMPORT = {
    "titans": "",
    "titans.compiler": "",
    "titans.mixers.spec": "",
    "titans.mixers.registry": "titans.mixers.spec",
    "titans.models.config": "titans.mixers.registry",
    "titans.models.cost": "titans.mixers titans.models.config",
    "titans.models.presets": "",
    "titans.ops": "titans.compiler",
    "titans.mixers": "titans.ops titans.mixers.registry titans.mixers.spec titans.models.config",
    "titans.models": "titans.mixers titans.mixers.spec titans.ops titans.models.config",
    "titans.hf": "titans titans.mixers titans.models titans.models.config",
    "titans_lab.huggingface": "titans.hf titans_lab.data titans_lab.errors titans_lab.evaluation titans_lab.quantities "
    "titans_lab.run titans_lab.stats titans_lab.store titans_lab.tables titans_lab.version",
    "titans_lab": "titans_lab.api titans_lab.version",
    "titans_lab.version": "",
    "titans_lab.errors": "",
    "titans_lab.durations": "",
    "titans_lab.source_digest": "",
    "titans_lab.environment": "titans_lab.source_digest",
    "titans_lab.input": "",
    "titans_lab.output": "titans_lab.errors",
    "titans_lab.preferences": "titans_lab.errors",
    "titans_lab.paper": "",
    "titans_lab.stats": "",
    "titans_lab.tables": "titans_lab.errors",
    "titans_lab.run.schedule": "",
    "titans_lab.run.decay": "",
    "titans_lab.run.train": "titans_lab.run.decay titans_lab.run.schedule",
    "titans_lab.run.sections": "titans_lab.run.train",
    "titans_lab.run.metric": "titans_lab.errors",
    "titans_lab.data": "titans_lab.data.arrow titans_lab.errors titans_lab.input titans_lab.run.sections",
    "titans_lab.data.arrow": "",
    "titans_lab.tasks.settings": "titans.models.config titans_lab.data titans_lab.errors titans_lab.run.metric "
    "titans_lab.run.sections",
    "titans_lab.tasks.registry": "titans_lab.tasks.settings",
    "titans_lab.plugins": "titans.mixers.registry titans_lab.errors titans_lab.input titans_lab.preferences "
    "titans_lab.tasks.registry titans_lab.tasks.settings",
    "titans_lab.run": "titans titans.compiler titans.mixers.registry titans.models.config titans.models.cost "
    "titans_lab.errors titans_lab.plugins titans_lab.run.sections titans_lab.tasks.registry "
    "titans_lab.tasks.settings",
    "titans_lab.study": "titans.models.config titans.models.presets titans_lab.durations titans_lab.errors "
    "titans_lab.plugins titans_lab.run titans_lab.run.metric",
    "titans_lab.store": "titans_lab.errors titans_lab.input titans_lab.output titans_lab.run "
    "titans_lab.run.metric titans_lab.tables titans_lab.tasks.settings",
    "titans_lab.quantities": "",
    "titans_lab.follow": "titans_lab.input titans_lab.quantities titans_lab.store titans_lab.tables",
    "titans_lab.control": "titans_lab.selection titans_lab.store",
    "titans_lab.launch": "titans_lab.errors titans_lab.executors titans_lab.planning titans_lab.quantities "
    "titans_lab.run titans_lab.store titans_lab.study titans_lab.sweep",
    "titans_lab.status": "titans_lab.errors titans_lab.quantities titans_lab.run titans_lab.store titans_lab.study "
    "titans_lab.tables",
    "titans_lab.selection": "titans_lab.errors titans_lab.run titans_lab.store titans_lab.study",
    "titans_lab.crew": "titans_lab.environment titans_lab.errors titans_lab.executors titans_lab.quantities "
    "titans_lab.run titans_lab.source_digest titans_lab.store",
    "titans_lab.dispatch": "titans_lab.crew titans_lab.environment titans_lab.executors titans_lab.launch "
    "titans_lab.quantities titans_lab.run titans_lab.store",
    "titans_lab.executors": "titans_lab.durations titans_lab.environment titans_lab.errors titans_lab.preferences "
    "titans_lab.store",
    "titans_lab.doctor": "titans_lab.environment titans_lab.errors titans_lab.executors titans_lab.run "
    "titans_lab.store",
    "titans_lab.planning": "titans_lab.executors titans_lab.quantities titans_lab.run titans_lab.run.metric "
    f"titans_lab.source_digest titans_lab.stats titans_lab.store titans_lab.study {LIGHT}",
    "titans_lab.spending": "titans_lab.study",
    "titans_lab.sweep": "titans_lab.data titans_lab.errors titans_lab.executors titans_lab.run "
    "titans_lab.spending titans_lab.store titans_lab.study",
    "titans_lab.progress": "titans_lab.run titans_lab.store titans_lab.sweep",
    "titans_lab.search": "titans_lab.crew titans_lab.errors titans_lab.executors titans_lab.launch titans_lab.output "
    "titans_lab.planning titans_lab.quantities titans_lab.run titans_lab.run.metric titans_lab.spending "
    "titans_lab.stats titans_lab.store titans_lab.study titans_lab.sweep titans_lab.tasks.settings",
    "titans_lab.scaling": "titans_lab.errors titans_lab.run titans_lab.stats titans_lab.store",
    "titans_lab.report": "titans_lab.version titans_lab.durations titans_lab.environment titans_lab.errors "
    "titans_lab.harness.table titans_lab.output titans_lab.paper titans_lab.quantities "
    "titans_lab.run titans_lab.run.metric titans_lab.scaling titans_lab.stats "
    "titans_lab.store titans_lab.study titans_lab.tables titans_lab.tasks.settings",
    "titans_lab.serve": "titans_lab.durations titans_lab.errors titans_lab.report titans_lab.run titans_lab.status "
    "titans_lab.store titans_lab.study titans_lab.tables",
    "titans_lab.tracking": "titans.models.config titans_lab.errors titans_lab.input titans_lab.run titans_lab.store",
    "titans_lab.notify": "titans_lab.store titans_lab.sweep titans_lab.tables",
    "titans_lab.hooks": "titans_lab.launch titans_lab.notify titans_lab.quantities titans_lab.run titans_lab.sweep "
    "titans_lab.tracking",
    "titans_lab.watching": "titans_lab.durations titans_lab.progress titans_lab.run titans_lab.sweep",
    "titans_lab.api": "titans_lab.errors titans_lab.evaluation titans_lab.executors titans_lab.hooks "
    "titans_lab.huggingface titans_lab.launch titans_lab.planning "
    "titans_lab.plugins titans_lab.quantities titans_lab.report titans_lab.run titans_lab.store titans_lab.study "
    "titans_lab.verify titans_lab.watching",
    "titans_lab.publication": "titans_lab.errors titans_lab.report titans_lab.run titans_lab.store titans_lab.study",
    "titans_lab.reproduce": "titans_lab.report titans_lab.run titans_lab.store",
    "titans_lab.tasks": "titans.models titans_lab.data titans_lab.errors titans_lab.run titans_lab.run.metric "
    "titans_lab.stats titans_lab.tasks.settings",
    "titans_lab.training": "titans titans.compiler titans.models titans_lab.data titans_lab.environment "
    "titans_lab.errors titans_lab.planning titans_lab.plugins titans_lab.run titans_lab.run.decay titans_lab.stats "
    "titans_lab.store titans_lab.tasks",
    "titans_lab.evaluation": "titans titans.models titans_lab.data titans_lab.environment titans_lab.errors "
    "titans_lab.executors titans_lab.plugins titans_lab.run titans_lab.stats titans_lab.store "
    "titans_lab.tasks titans_lab.tasks.settings titans_lab.training",
    "titans_lab.harness.table": "",
    "titans_lab.harness": "titans titans.models titans_lab.data titans_lab.environment titans_lab.errors "
    "titans_lab.evaluation titans_lab.executors titans_lab.harness.table "
    "titans_lab.run.metric titans_lab.store titans_lab.tasks titans_lab.tasks.settings "
    "titans_lab.training",
    "titans_lab.verify": f"titans_lab.environment titans_lab.executors titans_lab.run titans_lab.store {LIGHT}",
    "titans_lab.verify.draw": "titans.mixers titans.models titans.models.config titans.ops",
    "titans_lab.verify.checks": "titans.mixers titans.models titans.models.config titans.ops titans_lab.training "
    "titans_lab.verify titans_lab.verify.draw",
    "titans_lab.verify.__main__": "titans.models.config titans_lab.plugins titans_lab.run titans_lab.verify "
    "titans_lab.verify.checks",
    "titans_lab.bench": "titans_lab.environment titans_lab.errors titans_lab.executors titans_lab.run "
    f"titans_lab.store titans_lab.study {LIGHT}",
    "titans_lab.bench.peer": "titans.mixers titans.models.config",
    "titans_lab.bench.step": "titans.models titans.models.config titans_lab.bench.peer titans_lab.tasks "
    "titans_lab.training",
    "titans_lab.bench.__main__": "titans.models titans.models.config titans_lab.bench.step titans_lab.plugins "
    "titans_lab.run",
    "titans_lab.cli": "titans_lab.version titans_lab.bench titans_lab.control titans_lab.data titans_lab.dispatch "
    "titans_lab.doctor titans_lab.durations titans_lab.errors titans_lab.evaluation titans_lab.executors "
    "titans_lab.follow titans_lab.harness titans_lab.harness.table titans_lab.hooks titans_lab.huggingface "
    "titans_lab.launch titans_lab.output titans_lab.planning titans_lab.plugins titans_lab.progress "
    "titans_lab.publication titans_lab.quantities titans_lab.report titans_lab.reproduce titans_lab.run "
    "titans_lab.scaling titans_lab.search titans_lab.selection titans_lab.serve titans_lab.stats "
    "titans_lab.status titans_lab.store titans_lab.study titans_lab.sweep titans_lab.tables "
    "titans_lab.tasks.settings titans_lab.verify titans_lab.crew",
    "titans_lab.__main__": "titans_lab.cli",
}
#: The half of a task without torch: the package itself, whose other modules are the half with torch.
SLICES = {f"titans_lab.tasks.{path.parent.name}" for path in Path(str(tasks.__file__)).parent.glob("*/__init__.py")}
#: Library: the only rooms that may import it.
BELONGS_TO = {
    "torch": "titans.hf titans.ops titans.mixers titans.models titans_lab.bench.__main__ titans_lab.bench.peer "
    "titans_lab.bench.step titans_lab.evaluation titans_lab.harness titans_lab.tasks titans_lab.tracking "
    "titans_lab.training titans_lab.verify.__main__ titans_lab.verify.checks titans_lab.verify.draw titans_lab.api",
    "transformers": "titans.hf titans_lab.huggingface",
    **dict.fromkeys(("wandb", "trackio", "mlflow"), "titans_lab.tracking"),
    "triton": "titans.ops",
    "duckdb": "titans_lab.store",
    "pyarrow": "titans_lab.api titans_lab.data.arrow titans_lab.store",
    "optuna": "titans_lab.search",
    "optuna_dashboard": "titans_lab.search",
    "jinja2": "titans_lab.report",
    "plotly": "titans_lab.report",
    "IPython": "titans_lab.watching",
    "pydantic": "titans_lab.run",
    "yaml": "titans_lab.study",
    "tokenizers": "titans_lab.data titans_lab.huggingface",
    "datasets": "titans_lab.data titans_lab.harness",
    "lm_eval": "titans_lab.harness",
    "ray": "titans_lab.executors",
    "typer": "titans_lab.cli",
    "rich": "titans_lab.cli",
}


def room(module: str) -> str | None:
    """None: a module of another distribution."""
    if module in SLICES:
        return "titans_lab.tasks.settings"
    return max((name for name in MAY_IMPORT if f"{module}.".startswith(f"{name}.")), key=len, default=None)


@cache
def parsed() -> dict[str, tuple[Path, ast.Module]]:
    """Return the path and the syntax tree of each module of the two packages, by dotted name."""
    found = {}
    for package in (titans, titans_lab):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path, ast.parse(path.read_text())
    return found


def imports() -> Iterator[tuple[Path, str, str]]:
    """Yield the file, its room and the name of a module that it imports, for each import anywhere in a file."""
    for name, (path, tree) in parsed().items():
        if "example_plugin" in path.parts:  # a user's folder, which imports what a user may
            continue
        here = room(name)
        assert here is not None
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                inner = (
                    node.module == "titans_lab"
                )  # whose own names are the interface for scripts: else a module of it
                named = [f"titans_lab.{alias.name}" for alias in node.names] if inner else [str(node.module)]
                yield from ((path, here, name) for name in named)
            elif isinstance(node, ast.Import):
                yield from ((path, here, alias.name) for alias in node.names)


def test_modules_import_only_rooms_below_them():
    wrong = [
        f"{path}: {name}"
        for path, here, name in imports()
        if (there := room(name)) not in (None, here) and there not in MAY_IMPORT[here].split()
    ]
    assert not wrong


def test_no_two_rooms_import_each_other():
    rules = {here: rooms.split() for here, rooms in MAY_IMPORT.items()}
    assert len(list(TopologicalSorter(rules).static_order())) == len(MAY_IMPORT)  # CycleError names those that do


def test_each_library_is_imported_where_it_belongs():
    wrong = [
        f"{path}: {name}"
        for path, here, name in imports()
        if (library := name.split(".")[0]) in BELONGS_TO and here not in BELONGS_TO[library].split()
    ]
    assert not wrong


def test_every_rule_is_about_something_that_is_there():
    seen = {here for _, here, _ in imports()} | {"titans", "titans_lab.version"}  # which import nothing
    assert seen == set(MAY_IMPORT)
    assert set(BELONGS_TO) <= {name.split(".")[0] for _, _, name in imports()}


def test_no_two_classes_share_a_name():
    places = defaultdict(list)
    for path, tree in parsed().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_no_chain_of_imports_within_study_is_longer_than_five_files():
    package = "titans_lab.study"
    below = {name: set[str]() for name in parsed() if name.startswith(f"{package}.")}
    for path, _, name in imports():
        importer = f"{package}.{path.stem}"
        if importer in below and path.parent.name == "study" and name in below:
            below[importer].add(name)
    chains: dict[str, int] = {}
    for name in TopologicalSorter(below).static_order():
        chains[name] = 1 + max((chains[other] for other in below[name]), default=0)
    assert max(chains.values()) <= 5
