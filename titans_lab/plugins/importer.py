"""Import of plugins' modules from the bytes that were read and hashed."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
from importlib.machinery import ModuleSpec
from types import CodeType

from titans_lab.plugins.source import PACKAGE, Plugin


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules of plugins, and no others, from the bytes that were read."""

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

    def get_code(self, fullname: str) -> CodeType:
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


finder = Finder()
sys.meta_path.append(finder)
