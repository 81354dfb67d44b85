"""Load plugins: register their mixers and tasks."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import titans.mixers.registry as mixers
import titans_lab.tasks.registry as tasks
from titans_lab.errors import UserError
from titans_lab.plugins.consent import check_allowed
from titans_lab.plugins.importer import finder
from titans_lab.plugins.source import Plugin, find

INHERITED = "TITANS_LAB_PLUGINS"  # the environment variable that tells a child process what its parent has loaded


@dataclass
class _Loaded:
    """The plugins of this process."""

    by_name: dict[str, Plugin] = field(default_factory=dict)
    of_mixer: dict[str, Plugin] = field(default_factory=dict)
    of_task: dict[str, Plugin] = field(default_factory=dict)


_loaded = _Loaded()


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
    check_allowed(plugin)
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


def _execute(plugin: Plugin) -> None:
    finder.plugins[plugin.name] = plugin
    try:
        module = importlib.import_module(plugin.module)
        known = set(mixers.variants())  # a plugin may import a shipped specification to derive its own from
        specs = [
            spec for spec in mixers.specs_in(module) if spec.name not in known or mixers.spec(spec.name) is not spec
        ]
        settings = list(tasks.tasks_in(module))
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
    finder.plugins.pop(plugin.name, None)
    for module in [each for each in sys.modules if each == plugin.module or each.startswith(plugin.module + ".")]:
        del sys.modules[module]


def _place(plugin: Plugin, error: BaseException) -> str:
    """Return the file and line of the plugin that raised an error, or its path."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    own = {str(plugin.path_of(file)) for file in plugin.files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(plugin.source)
