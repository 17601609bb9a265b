"""Many runs of one plan: methods times seeds times folds."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.study.executors.here import ThisProcess
    from sfumato.study.executors.local import LocalProcesses, train_command
    from sfumato.study.outcomes import Outcome, Started, require_all, write_outcomes
    from sfumato.study.plan import PlannedRun, Study, StudyPlan, read_study
    from sfumato.study.run import complete_run, evaluate_run
    from sfumato.study.trainings import train_runs

__all__ = [
    "LocalProcesses",
    "Outcome",
    "PlannedRun",
    "Started",
    "Study",
    "StudyPlan",
    "ThisProcess",
    "complete_run",
    "evaluate_run",
    "read_study",
    "require_all",
    "train_command",
    "train_runs",
    "write_outcomes",
]
