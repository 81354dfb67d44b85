"""Plugins: mixers and tasks from a user's own files or from installed packages.

A plugin is a Python file, a folder with an `__init__.py`, or the name of an entry point in the group
`titans_lab.plugins`. Its mixers are the `MixerSpec`s and `HybridSpec`s that its module holds, its tasks the subclasses
of `TaskSettings` that it defines. The module itself should import no torch, so that planning stays fast: the layer of a
mixer and the half of a task with torch belong into other modules of the folder, which workers import.

Nothing of a plugin is executed unless the user has allowed its content: by `--allow-plugins`, or by its SHA-256 in the
user's configuration file. The bytes that were hashed are the bytes that are executed. A child process of this program
loads what its parent has loaded, by the same hashes. A record in a store loads nothing.
"""
