"""What a page is about besides its runs, by id: what the store had when the page was written, and nothing later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from titans_lab.report.evidence import listed, quoted
from titans_lab.study.identity import model_id
from titans_lab.study.study import Run

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot

BENCHES = "select distinct bench as id from benches where model in ({models}) order by id"
EVALUATIONS = """\
select distinct evaluation as id from evals where run_id in ({ids}) and evaluation is not null order by id"""
TRIALS = "select distinct concat(search, '/', number) as id from trials where study = {study} order by id"

FINALISTS = "select distinct concat(search, '/', run_id) as id from finalists where study = {study} order by id"


@dataclass(frozen=True)
class Pinned:
    """Ids that a page carries, so that it is built anew from the same records after the store has grown.

    Attributes:
        benches: In which the models of its runs were measured.
        evaluations: What its finished runs were asked.
        trials: Of the study's searches: search/number.
        finalists: Their runs with fresh seeds: search/run.
    """

    benches: tuple[str, ...] = ()
    evaluations: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()
    finalists: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, list[str]]:
        """As plain data, from which `remembered` makes it again."""
        return {name: list(ids) for name, ids in asdict(self).items()}

    @classmethod
    def remembered(cls, record: Mapping[str, Any]) -> Pinned:
        """What `record` was made of; KeyError or TypeError where it is something else."""
        return cls(**{each.name: tuple(map(str, record[each.name])) for each in fields(cls)})


def pinned(runs: Sequence[Run], snapshot: Snapshot, study: str | None) -> Pinned:
    """What a store has now of the runs, and of the searches of the study of that name; None: of no search."""

    def ids(sql: str) -> tuple[str, ...]:
        return tuple(snapshot.ask(sql).table.column("id").to_pylist())

    return Pinned(
        benches=ids(BENCHES.format(models=models(runs))),
        evaluations=ids(EVALUATIONS.format(ids=listed(run.run_id for run in runs))),
        trials=ids(TRIALS.format(study=quoted(study))) if study is not None else (),
        finalists=ids(FINALISTS.format(study=quoted(study))) if study is not None else (),
    )


def models(runs: Sequence[Run]) -> str:
    """The ids of their models as a list for SQL's `in`."""
    return listed(dict.fromkeys(model_id(run.config.model) for run in runs))
