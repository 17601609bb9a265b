"""Cases and data sets: read, checked, divided, prepared, augmented."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.data import samples
    from sfumato.data.augment import Augmentation, Movement
    from sfumato.data.case import Case, CaseFiles, Dataset
    from sfumato.data.dataset import open_dataset
    from sfumato.data.inspection import Inspection, check_dataset, inspect_dataset
    from sfumato.data.preprocess import Preprocessing
    from sfumato.data.readers import Volume, load_case, read_volume, write_volume
    from sfumato.data.splits import Split, Splits, explicit_splits, make_splits, read_splits, write_splits

__all__ = [
    "Augmentation",
    "Case",
    "CaseFiles",
    "Dataset",
    "Inspection",
    "Movement",
    "Preprocessing",
    "Split",
    "Splits",
    "Volume",
    "check_dataset",
    "explicit_splits",
    "inspect_dataset",
    "load_case",
    "make_splits",
    "open_dataset",
    "read_splits",
    "read_volume",
    "samples",
    "write_splits",
    "write_volume",
]
