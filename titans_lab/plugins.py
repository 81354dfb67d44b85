"""Plugins: mixers and tasks from a user's own files or from installed packages.

A plugin is a Python file, a folder with an `__init__.py`, or the name of an entry point in the group
`titans_lab.plugins`. Its mixers are the `MixerSpec`s and `HybridSpec`s that its module holds, its tasks the subclasses
of `TaskSettings` that it defines. Importing the module must not need torch where planning shall stay fast: the layer of
a mixer and the half of a task with torch belong into other modules of the folder, which workers import.

Nothing of a plugin is executed unless its content was allowed: by `--allow-plugins`, or by its SHA-256 in the user's
configuration file. The bytes that were hashed are the bytes that are executed. A child process of this program loads
what its parent has loaded, by the same hashes, from the environment variable `TITANS_LAB_PLUGINS`; a record in a store
loads nothing.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import json
import linecache
import os
import shutil
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import titans.mixers.registry as mixers
import titans_lab.tasks.registry as tasks
from titans_lab.errors import UserError, near
from titans_lab.tasks.settings import TaskSettings

GROUP = "titans_lab.plugins"
PACKAGE = "titans_plugins"  # what the modules of plugins are imported below
INHERITED = "TITANS_LAB_PLUGINS"
MOST_BYTES = 5_000_000  # of all files of a plugin


@dataclass(frozen=True)
class Plugin:
    """The files of a plugin as they were read, before anything of them is executed.

    Attributes:
        name: What a study and a record call it: the file's stem, the folder's name, or the entry point's.
        source: The path of the file or folder.
        files: The content of each Python file by its path relative to the plugin: "__init__.py", "layer.py". Tests,
            files named `test_*.py`, are no part of a plugin.
    """

    name: str
    source: Path
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """The SHA-256, in hex, of the names and contents of all files."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    @property
    def module(self) -> str:
        """The name that its module is imported by."""
        return f"{PACKAGE}.{self.name}"

    def path_of(self, file: str) -> Path:
        """Return where one of its files was read, which a traceback shows."""
        return self.source / file if self.source.is_dir() else self.source


@dataclass
class _Loaded:
    """The plugins of this process."""

    by_name: dict[str, Plugin] = field(default_factory=dict)
    of_mixer: dict[str, Plugin] = field(default_factory=dict)
    of_task: dict[str, Plugin] = field(default_factory=dict)
    all_allowed: bool = False


_loaded = _Loaded()


def allow_all() -> None:
    """Allow every plugin that this process is asked for, whatever its content: the option `--allow-plugins`."""
    _loaded.all_allowed = True


def config_file() -> Path:
    """Return the user's configuration file, which need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "titans-lab" / "config.toml"


def find(reference: str, beside: Path) -> Plugin:
    """Read the files of a plugin; nothing is executed.

    Args:
        reference: A path to a file or folder, or the name of an entry point.
        beside: The folder that a relative path starts from.

    Raises:
        UserError: There is no such plugin, or its files cannot be read.
    """
    path = beside / Path(reference).expanduser()
    if path.is_dir():
        modules = [file for file in sorted(path.rglob("*.py")) if not file.name.startswith("test_")]
        return _read(path.name, path, {file.relative_to(path).as_posix(): file for file in modules})
    if path.is_file():
        return _read(path.stem, path, {"__init__.py": path})
    installed = {found.name: found for found in entry_points(group=GROUP)}
    if reference not in installed:
        hint = f"; did you mean {close[0]}?" if (close := near(reference, installed)) else ""
        raise UserError(
            f"{reference}: no such file or folder ({path}), and no installed package offers a plugin of this name{hint}"
        )
    origin = importlib.util.find_spec(installed[reference].module)
    if origin is None or origin.origin is None:
        raise UserError(f"{reference}: the module {installed[reference].module} of this entry point is not installed")
    file = Path(origin.origin)
    found = find(str(file.parent if origin.submodule_search_locations else file), beside)
    return Plugin(reference, found.source, found.files)


def load(plugin: Plugin) -> None:
    """Execute a plugin's module, if the user allows it, and make its mixers and tasks known.

    A plugin of the same name that was loaded before with other content is replaced.

    Raises:
        UserError: The user has not allowed this content, the module cannot be imported, or it offers nothing.
    """
    if (known := _loaded.by_name.get(plugin.name)) is not None:
        if known.digest == plugin.digest:
            return
        _unload(known)
    if not _loaded.all_allowed and plugin.digest not in _allowed_digests():
        raise UserError(_question(plugin))
    _execute(plugin)
    os.environ[INHERITED] = json.dumps([[str(p.source), p.name, p.digest] for p in _loaded.by_name.values()])


def load_inherited() -> None:
    """Load the plugins that the parent process has loaded, in a process that it started.

    Raises:
        UserError: A plugin is gone, or its content is no longer what the parent has loaded.
    """
    for source, name, digest in json.loads(os.environ.get(INHERITED) or "[]"):
        found = find(source, Path("/"))
        if found.digest != digest:
            raise UserError(f"{source}: the plugin has changed since the study was planned; start the command again")
        if name not in _loaded.by_name:
            _execute(Plugin(name, found.source, found.files))


def plugins_of(mixer_names: Sequence[str], task: str) -> dict[str, str]:
    """Return the plugins behind these mixers and this task: their digests by name, a part of a run's identity."""
    found = [_loaded.of_mixer[name] for name in mixer_names if name in _loaded.of_mixer]
    found += [_loaded.of_task[task]] if task in _loaded.of_task else []
    return {plugin.name: plugin.digest for plugin in sorted(found, key=lambda plugin: plugin.name)}


def write_example(name: str) -> Path:
    """Write a commented plugin that works as it is: a folder with a specification, a layer and their tests.

    Args:
        name: The name of the folder, which is the mixer's too, or its path.

    Raises:
        UserError: The name cannot be a mixer's, is taken, or the folder cannot be written.
    """
    folder = Path(name)
    if not folder.name.isidentifier() or not folder.name.islower():
        raise UserError(f"{name}: cannot name a plugin; use small letters, digits and underscores")
    if folder.name in mixers.variants():
        raise UserError(f"{name}: is a mixer already; choose another name")
    example = "example_plugin"
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir()
        for file in files(f"titans_lab.{example}").iterdir():
            if file.name.endswith(".py"):
                text = file.read_text(encoding="utf-8").replace(example, folder.name)
                partial.joinpath(file.name.replace(example, folder.name)).write_text(text, encoding="utf-8")
        if folder.exists():
            raise UserError(f"{folder}: is there already; choose another name")
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; name a folder in one that exists") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _read(name: str, source: Path, files: Mapping[str, Path]) -> Plugin:
    if not name.isidentifier():
        raise UserError(f"{source}: {name!r} cannot name a plugin; use letters, digits and underscores")
    if "__init__.py" not in files:
        raise UserError(f"{source}: a folder without __init__.py is no plugin; add the file with the specification")
    contents: dict[str, bytes] = {}
    for file, path in files.items():
        try:
            with path.open("rb") as opened:
                contents[file] = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        if sum(map(len, contents.values())) > MOST_BYTES:
            raise UserError(
                f"{source}: the Python files are larger than {MOST_BYTES} bytes; name the plugin's own folder"
            )
    return Plugin(name, source, contents)


def _allowed_digests() -> set[str]:
    """The hashes that the user's configuration allows."""
    path = config_file()
    try:
        allowed = tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", {}).get("allow", [])
    except FileNotFoundError:
        return set()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}; mend or remove the file") from error
    if not isinstance(allowed, list) or not all(isinstance(each, str) for each in allowed):
        raise UserError(f'{path}: plugins.allow: not a list of hashes; write allow = ["<sha256>"]')
    return set(allowed)


def _question(plugin: Plugin) -> str:
    """What would be executed, and how to allow it."""
    lines = sum(content.count(b"\n") for content in plugin.files.values())
    files = ", ".join(sorted(plugin.files)) if plugin.source.is_dir() else plugin.source.name
    return (
        f"{plugin.source}: the study would execute this Python code, which you have not allowed ({files}; {lines} "
        "lines). Read the code, then give --allow-plugins, "
        f'or write [plugins] allow = ["{plugin.digest}"] into {config_file()}'
    )


def _execute(plugin: Plugin) -> None:
    _finder.plugins[plugin.name] = plugin
    try:
        module = importlib.import_module(plugin.module)
        known = set(mixers.variants())  # a plugin may import a shipped specification to derive its own from
        specs = [
            spec for spec in mixers.specs_in(module) if spec.name not in known or mixers.spec(spec.name) is not spec
        ]
        settings = list(_tasks_in(module))
        if not specs and not settings:
            raise UserError(f"{plugin.source}: offers no mixer and no task; define a MixerSpec or a TaskSettings in it")
        for spec in specs:
            mixers.register(spec)
            _loaded.of_mixer[spec.name] = plugin
        for each in settings:
            tasks.register(each)
            _loaded.of_task[each.NAME] = plugin
    except UserError:
        _unload(plugin)
        raise
    except (Exception, SystemExit) as error:  # whatever a plugin's code raises
        _unload(plugin)
        raise UserError(
            f"{_place(plugin, error)}: the plugin cannot be imported: {type(error).__name__}: {error}"
        ) from error
    _loaded.by_name[plugin.name] = plugin


def _unload(plugin: Plugin) -> None:
    for name in [name for name, owner in _loaded.of_mixer.items() if owner.name == plugin.name]:
        mixers.unregister(name)
        del _loaded.of_mixer[name]
    for name in [name for name, owner in _loaded.of_task.items() if owner.name == plugin.name]:
        tasks.unregister(name)
        del _loaded.of_task[name]
    _loaded.by_name.pop(plugin.name, None)
    _finder.plugins.pop(plugin.name, None)
    for module in [each for each in sys.modules if each == plugin.module or each.startswith(plugin.module + ".")]:
        del sys.modules[module]


def _tasks_in(module: ModuleType) -> Iterator[type[TaskSettings]]:
    for value in vars(module).values():
        own = isinstance(value, type) and issubclass(value, TaskSettings) and value.__module__ == module.__name__
        if own and "NAME" in vars(value):
            yield value


def _place(plugin: Plugin, error: BaseException) -> str:
    """The file and line of the plugin that raised an error, or its path."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    own = {str(plugin.path_of(file)) for file in plugin.files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(plugin.source)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules of plugins from the bytes that were read, and nothing else."""

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname == PACKAGE:
            return ModuleSpec(PACKAGE, self, is_package=True)
        found = self._file(fullname)
        if found is None:
            return None
        plugin, file = found
        package = file.endswith("__init__.py")
        spec = ModuleSpec(fullname, self, origin=str(plugin.path_of(file)), is_package=package)
        spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        if fullname == PACKAGE:
            return ""
        found = self._file(fullname)
        if found is None:
            raise ImportError(f"no plugin has the module {fullname}")
        plugin, file = found
        return importlib.util.decode_source(plugin.files[file])

    def get_code(self, fullname: str):  # type: ignore[no-untyped-def]
        source = self.get_source(fullname)
        found = self._file(fullname)
        name = str(found[0].path_of(found[1])) if found else f"<{fullname}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        return compile(source, name, "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        found = self._file(fullname)
        return found is None or found[1].endswith("__init__.py")

    def _file(self, fullname: str) -> tuple[Plugin, str] | None:
        package, _, rest = fullname.partition(".")
        name, _, inner = rest.partition(".")
        plugin = self.plugins.get(name) if package == PACKAGE else None
        if plugin is None:
            return None
        stem = inner.replace(".", "/")
        for file in (f"{stem}/__init__.py", f"{stem}.py") if stem else ("__init__.py",):
            if file in plugin.files:
                return plugin, file
        return None


_finder = _Finder()
sys.meta_path.append(_finder)
