"""Published experiments, trained again on the user's copy of the data, their numbers beside ours.

A reproduction from Python::

    asked = request("geols-table1", ["BraTS2019"], seeds=[0])
    work = prepare(asked)
    require_sound(work.sources)  # every file is read
    outcomes = {source.part.layout: train(work, source) for source in work.sources}
    print(results(work, outcomes).cells[0])
"""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.reproduction.data import require_sound
    from sfumato.reproduction.experiments import EXPERIMENTS, Experiment, experiment
    from sfumato.reproduction.published import PublishedRow, published_rows, published_tables
    from sfumato.reproduction.run import (
        Reproduction,
        Request,
        Results,
        open_folder,
        prepare,
        request,
        results,
        train,
    )
    from sfumato.reproduction.tables import side_by_side_tables, write_tables

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "PublishedRow",
    "Reproduction",
    "Request",
    "Results",
    "experiment",
    "open_folder",
    "prepare",
    "published_rows",
    "published_tables",
    "request",
    "require_sound",
    "results",
    "side_by_side_tables",
    "train",
    "write_tables",
]
