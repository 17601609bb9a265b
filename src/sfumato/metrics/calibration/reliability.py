"""What a calibration histogram says: reliability diagrams and scores."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ReliabilityBins:
    """One reliability diagram: bins of equal width on [0, 1], their voxels and what they show."""

    voxels: tuple[int, ...]  # per bin
    confidence: tuple[float, ...]  # mean probability; nan for an empty bin
    accuracy: tuple[float, ...]  # share of voxels whose reference is the class; nan for an empty bin

    @property
    def gaps(self) -> list[tuple[int, float]]:
        """Voxels and ``|accuracy - confidence|`` of each bin that is not empty."""
        columns = zip(self.voxels, self.confidence, self.accuracy, strict=True)
        return [(count, abs(accuracy - confidence)) for count, confidence, accuracy in columns if count]

    @property
    def expected_error(self) -> float:
        """Mean gap, weighted by voxels (ECE); nan without voxels."""
        total = sum(self.voxels)
        return math.fsum(count * gap for count, gap in self.gaps) / total if total else math.nan

    @property
    def maximum_error(self) -> float:
        """Largest gap (MCE); nan without voxels."""
        return max((gap for _, gap in self.gaps), default=math.nan)


@dataclass(frozen=True)
class CalibrationScores:
    """The result of :meth:`~sfumato.metrics.calibration.bins.CalibrationBins.compute`.

    Every score is nan where no voxel was counted. The exact ACE or TACE differs from the one given by at
    most the ``_error`` beside it.
    """

    voxels: int
    ece: float  # of the predicted class's confidence
    mce: float  # the largest gap instead of the mean one
    ace: float  # equal-mass bins of the predicted class's confidence
    ace_error: float
    classwise_ece: tuple[float, ...]  # one per class, background first
    classwise_ace: float  # mean gap over the equal-mass bins of every class
    classwise_ace_error: float
    tace: float  # as classwise_ace, foreground classes and probabilities above the threshold only
    tace_error: float
    brier: float  # mean over voxels of the sum over classes of (p - onehot)^2, in [0, 2]
    nll: float  # mean of -log p of the reference's class, in nats; p = 0 counts as 1.2e-38
    reliability: ReliabilityBins  # of the predicted class
    classwise_reliability: tuple[ReliabilityBins, ...]

    @property
    def classwise_ece_mean(self) -> float:
        """Mean of ``classwise_ece`` over all classes, background included."""
        return math.fsum(self.classwise_ece) / len(self.classwise_ece)
