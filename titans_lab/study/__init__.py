"""The language of studies: from a YAML file to the list of its runs, without torch.

A study passes through these files:

    loader.py      YAML text -> nodes, each with its file and line
    document.py    nodes and overrides -> settings, by the table of keys (grammar.py)
    space.py       settings -> axes, conditions and rules, and the combinations of the axes
    point.py       combinations that the rules keep (sieve.py) -> configurations, with `hold` solved
    study.py       configurations and seeds -> runs

A key's value has a shape: a single value (shapes.py), a collection (containers.py), a part of a study (parts.py), or a
setting of `search` or `budget` (terms.py). reading.py has the interface of shapes, expression.py parses conditions,
presets.py has the presets, and template.py writes the study of `titans-lab new`.
"""
