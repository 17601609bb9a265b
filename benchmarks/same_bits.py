"""Are labels, losses and metrics the same to the bit as before a change?

    python benchmarks/same_bits.py --write before.json     # at the old commit
    python benchmarks/same_bits.py --against before.json   # at the new one

Digests are of the values on the sample data that ship with the package: the target of every method (the
hippocampus in 3-D, the spinal cord with its anisotropic voxels, a cell by ten raters in 2-D), the value and
the gradient of every method's loss on random logits, and every metric of a shifted mask. They hold for one
machine and one set of library versions, so none are kept in the repository.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sfumato import metrics
from sfumato.data import Case, samples
from sfumato.methods import METHODS


def digest(value: object) -> str:
    array = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().numpy())
    return f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:24]}"


def cases() -> Iterator[tuple[str, Case, int]]:
    opened = {name: samples.load(name) for name in ("hippocampus", "spinal-cord", "cells")}
    yield "hippocampus", opened["hippocampus"][0], 3
    yield "hippocampus-2", opened["hippocampus"][41], 3
    yield "spinal-cord", opened["spinal-cord"][0], 3
    yield "cells", opened["cells"][3], 2


def method_digests(name: str, case: Case, num_classes: int) -> Iterator[tuple[str, str]]:
    for method in METHODS.values():
        generator = torch.Generator().manual_seed(3)
        target = method.target(
            case.labels,
            case.image,
            num_classes=num_classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
            generator=generator,
        )
        yield f"label {method.name} {name}", digest(target)
        generator = torch.Generator().manual_seed(5)
        logits = torch.randn((2, *target.shape), generator=generator).requires_grad_()
        value = method.make_loss()(logits, torch.stack((target, target)))
        value.backward()
        yield f"loss {method.name} {name}", digest(value)
        yield f"gradient {method.name} {name}", digest(logits.grad)
    for preset in ("paper", "reference"):
        for seeds in ("skeleton", "random", "erosion"):
            options = {"preset": preset, "seeds": seeds}
            generator = torch.Generator().manual_seed(7)
            given = {"num_classes": num_classes, "spacing": case.spacing, "generator": generator}
            soft = METHODS["geols"].target(case.labels, case.image, options=options, **given)
            yield f"label geols {preset} {seeds} {name}", digest(soft)
        for boundary in ("canny", "inner", "outer", "both"):
            given = {"num_classes": num_classes, "spacing": case.spacing}
            options = {"preset": preset, "boundary": boundary}
            soft = METHODS["singr"].target(case.labels, case.image, options=options, **given)
            yield f"label singr {preset} {boundary} {name}", digest(soft)


def metric_digests(name: str, case: Case, num_classes: int) -> Iterator[tuple[str, str]]:
    reference = torch.stack([case.labels == index for index in range(1, num_classes)])
    prediction, axes = reference.roll(shifts=(1, 2), dims=(1, 2)), {"spatial_axes": len(case.spacing)}
    floats = prediction.float(), reference.float()
    for score in ("dice", "iou", "precision", "recall", "specificity"):
        yield f"{score} {name}", digest(getattr(metrics, score)(prediction, reference, **axes))
    for score in ("absolute_volume_difference", "relative_volume_difference"):
        yield f"{score} {name}", digest(getattr(metrics, score)(prediction, reference, **axes))
    for score in ("mean_squared_error", "soft_dice", "soft_iou"):
        yield (
            f"{score} {name}",
            digest(getattr(metrics, score)(*floats, **axes)),
        )
    surfaces = metrics.surface_distances(prediction[:1], reference[:1], spacing=case.spacing)
    yield f"hd95 {name}", digest(surfaces.hausdorff(percentile=95))
    yield f"assd {name}", digest(surfaces.assd())
    yield f"surface dice {name}", digest(surfaces.surface_dice(1.0))
    lesions = metrics.lesion_detection(prediction[:1], reference[:1], **axes)
    yield f"lesions {name}", digest(lesions.true_positive_rate())
    probs = torch.randn((1, num_classes, *case.labels.shape), generator=torch.Generator().manual_seed(9))
    probs, labels = probs.softmax(dim=1), case.labels[None]
    yield f"ece {name}", digest(metrics.expected_calibration_error(probs, labels))
    yield f"tace {name}", digest(metrics.thresholded_adaptive_calibration_error(probs, labels))
    bins = metrics.CalibrationBins(num_classes)
    bins.update(probs, labels)
    scores = bins.compute()
    for score in ("ece", "mce", "ace", "brier", "nll"):
        yield f"bins {score} {name}", digest(getattr(scores, score))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for case in cases():
        found |= dict(method_digests(*case)) | dict(metric_digests(*case))
    if given.write:
        given.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} digests")
    if given.against:
        before = json.loads(given.against.read_text(encoding="utf-8"))
        changed = sorted(key for key in before.keys() | found.keys() if before.get(key) != found.get(key))
        print("\n".join(f"changed: {key}" for key in changed) or "all the same to the bit")
        sys.exit(bool(changed))


if __name__ == "__main__":
    main()
