"""A method: a label, an activation, a loss and a decoder, and what training must know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.activations import ACTIVATIONS
from sfumato.checks import as_tensor
from sfumato.decode import DECODERS
from sfumato.errors import InputError, ShapeError, UnknownNameError
from sfumato.geodesic import gpu
from sfumato.labels.definition import Label, TargetBatch, TargetCase, When
from sfumato.labels.table import LABELS
from sfumato.losses.table import LOSSES
from sfumato.structures import Structures, TargetKind
from sfumato.types import ArrayLike, Spacing

Options = Mapping[str, object]
RegionValues = Mapping[str, Sequence[int]]

_LABELS: dict[str, Label] = {label.title: label for label in LABELS.values()}
_LOSSES = {loss.title: loss for loss in LOSSES.values()}
_ACTIVATIONS = {row.title: row for row in ACTIVATIONS.values()}


@dataclass(frozen=True)
class Method:
    """One method: what to train towards, and how to read what the network says.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        summary: One sentence.
        reference: Author (year).
        label: How the target is made.
        activation: From logits to the target's range.
        loss: Between the two.
        decoder: ``"argmax"``, ``"half"``, ``"zero"`` or ``"tuned"``.
        kind: The target: ``CLASSES`` (K channels that sum to 1), ``REGIONS`` (R maps in ``[0, 1]``) or
            ``SIGNED`` (R maps in ``[-1, 1]``).
        when: Whether the target is built before or after augmentation, unless a recipe says otherwise.
        needs_image: The label depends on the image.
        takes_raters: The label is made from every rater's mask; the others look at the consensus alone.
        binarise: The moved target is made hard again after augmentation.
        moves_mask: The target is the mask itself, resampled and augmented linearly, so it is made before
            preprocessing, on the mask's own grid.
        label_options: Every option of the label, with its default.
        loss_options: Every option of the loss, with its default.
    """

    name: str
    title: str
    summary: str
    reference: str
    label: str
    activation: str
    loss: str
    decoder: str
    kind: TargetKind
    when: When
    needs_image: bool = False
    takes_raters: bool = False
    binarise: bool = False
    moves_mask: bool = False
    label_options: Options = field(default_factory=dict)
    loss_options: Options = field(default_factory=dict)

    def channels(self, num_classes: int, regions: RegionValues | None = None) -> int:
        """Number of channels of target and network: K for classes, else one per region.

        Args:
            num_classes: Number of classes ``K``, background included.
            regions: Label values per region name; ``None`` takes one region per foreground label.

        Raises:
            ValueRangeError: the method works on regions and there is none.
        """
        return self.kind.channels(Structures.numbered(num_classes, regions))

    def target(
        self,
        labels: ArrayLike,
        image: ArrayLike | None = None,
        *,
        num_classes: int,
        spacing: Spacing,
        labels_per_rater: ArrayLike | None = None,
        regions: RegionValues | None = None,
        options: Options | None = None,
        generator: torch.Generator | None = None,
        soft: ArrayLike | None = None,
    ) -> Tensor:
        """Build the target of one case.

        Args:
            labels: Class indices, ``(*S)``.
            image: ``(C, *S)``; only ``needs_image`` methods look at it.
            num_classes: Number of classes ``K``, background included.
            spacing: Millimetres between voxel centres, one value per spatial axis.
            labels_per_rater: ``(D, *S)``; only the rater methods look at it, ``None`` means ``labels`` alone.
            regions: Label values per region name, for region methods; ``None`` takes one region per
                foreground label.
            options: Overrides of ``label_options``.
            generator: Source of random seeds.
            soft: Class weights, ``(K, *S)``, that the target is made of in place of ``labels``; only for
                methods with :meth:`takes_weights`.

        Returns:
            ``(channels, *S)``, float32.

        Raises:
            InputError: the method needs an image and there is none, or it needs labels and weights are given.
            UnknownNameError: an option is not one of the label's.
        """
        case = _case(labels, image, num_classes, spacing, labels_per_rater, regions, generator)
        if soft is not None:
            if not _LABELS[self.label].takes_weights:
                raise InputError(
                    f"method {self.name!r} makes its label of a hard mask: give it no class weights"
                )
            case = replace(case, soft=as_tensor(soft))
        return _LABELS[self.label].make(case, self.label_settings(options))

    def takes_weights(self, *, beside_mask: bool) -> bool:
        """Whether a data set's own class weights are what the method's target is made of.

        Labels that are the mask itself take weights in its place; moved masks, which are never binarised,
        prefer them to it.

        Args:
            beside_mask: The case has a mask as well.
        """
        return self.moves_mask if beside_mask else _LABELS[self.label].takes_weights

    @property
    def follows_the_batch(self) -> bool:
        """Whether :meth:`batch_target` makes the target on the GPU that the batch lies on."""
        return _LABELS[self.label].on_device is not None and gpu.works()

    def marks(
        self,
        labels: ArrayLike,
        image: ArrayLike | None = None,
        *,
        num_classes: int,
        spacing: Spacing,
        labels_per_rater: ArrayLike | None = None,
        regions: RegionValues | None = None,
        options: Options | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor | None:
        """Find what :meth:`batch_target` needs from the CPU, for one item; arguments as in :meth:`target`.

        Returns:
            Canny edges, skeletons or random seeds, boolean ``(M, *S)``; ``None`` where nothing is needed.
        """
        case = _case(labels, image, num_classes, spacing, labels_per_rater, regions, generator)
        return _LABELS[self.label].prepare(case, self.label_settings(options))

    def batch_target(
        self,
        labels: Tensor,
        image: Tensor,
        *,
        num_classes: int,
        spacing: Sequence[Spacing],
        regions: RegionValues | None = None,
        options: Options | None = None,
        marks: Tensor | None = None,
    ) -> Tensor:
        """Build the targets of a batch where it lies, if the method :attr:`follows_the_batch`.

        Args:
            labels: Class indices, ``(B, *S)``.
            image: ``(B, C, *S)``.
            num_classes: Number of classes ``K``, background included.
            spacing: Millimetres per spatial axis, for each item.
            regions: Label values per region name, for region methods.
            options: Overrides of ``label_options``.
            marks: What :meth:`marks` found for each item, ``(B, M, *S)``, if it found anything.

        Returns:
            ``(B, channels, *S)``, float32: the targets of the items, as :meth:`target` builds them.
        """
        batch = TargetBatch(labels, image, Structures.numbered(num_classes, regions), spacing, marks)
        return _LABELS[self.label].make_batch(batch, self.label_settings(options))

    def label_settings(self, options: Options | None = None) -> dict[str, Any]:
        """Every option of the label, with the overrides.

        Raises:
            UnknownNameError: an override is not one of the label's options.
        """
        return self._chosen("label option", self.label_options, options)

    def make_loss(self, options: Options | None = None) -> nn.Module:
        """Build the loss: a module that takes raw logits and the target, both ``(B, channels, *S)``.

        Args:
            options: Overrides of ``loss_options``.

        Raises:
            UnknownNameError: an option is not one of the loss's.
        """
        chosen = self._chosen("loss option", self.loss_options, options)
        return _LOSSES[self.loss].build(_ACTIVATIONS[self.activation], chosen)

    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits ``(B, C, *S)`` into a prediction in the target's range."""
        return _ACTIVATIONS[self.activation](logits)

    def probabilities(self, prediction: Tensor, *, batched: bool | None = None) -> Tensor:
        """Turn a prediction into class probabilities, background first, that sum to 1.

        Class predictions stay as they are. For regions the background gets what the regions leave of 1, and
        where they sum to more than 1 they are scaled down; signed maps ``z`` count as ``(z + 1) / 2``.

        Args:
            prediction: ``(C, *S)`` or ``(B, C, *S)``.
            batched: Whether there is a batch axis. ``None`` is enough for classes, and where the number of
                axes tells: three mean ``(C, *S)``, five ``(B, C, *S)``.

        Returns:
            ``(K, *S)`` or ``(B, K, *S)``; ``K`` is the number of regions plus 1.

        Raises:
            ShapeError: the number of axes does not tell whether there is a batch axis.
        """
        if self.kind.joint:
            return prediction
        if batched is None:
            if prediction.ndim not in (3, 5):
                raise ShapeError(
                    f"prediction has shape {tuple(prediction.shape)}, which may be (C, *S) or (B, C, *S): "
                    "say which with batched=False or batched=True"
                )
            batched = prediction.ndim == 5
        return self.kind.probabilities(prediction, axis=1 if batched else 0)

    def decode(self, prediction: Tensor, *, threshold: float | None = None) -> Tensor:
        """Turn a prediction ``(C, *S)`` into labels ``(*S)``, int64.

        For regions: the channel with the largest prediction among those above the threshold, counted from 1;
        0 where there is none.

        Args:
            prediction: ``(C, *S)``, activated.
            threshold: In place of the decoder's own; a tuned decoder without one takes 0.5.

        Raises:
            ValueRangeError: a threshold is given, but the decoder is argmax.
        """
        return DECODERS[self.decoder].labels(prediction, threshold=threshold)

    def decode_regions(self, prediction: Tensor, *, threshold: float | None = None) -> Tensor:
        """Turn a prediction ``(C, *S)`` into region masks, boolean.

        Args:
            prediction: ``(C, *S)``, activated.
            threshold: In place of the decoder's own; a tuned decoder without one takes 0.5.

        Returns:
            ``(R, *S)``; for a class method one mask per foreground label, ``R = K - 1``.

        Raises:
            ValueRangeError: a threshold is given, but the decoder is argmax.
        """
        return DECODERS[self.decoder].regions(prediction, threshold=threshold)

    def finished(self, target: Tensor) -> Tensor:
        """Give the moved target ``(channels, *S)`` as the loss wants it.

        Methods that ``binarise`` get it hard again: regions rounded at 0.5, classes one-hot at the largest.
        """
        return self.kind.hardened(target) if self.binarise else target

    def _chosen(self, kind: str, defaults: Options, options: Options | None) -> dict[str, Any]:
        for key in options or {}:
            if key not in defaults:
                raise UnknownNameError(f"{kind} of method {self.name!r}", key, defaults)
        return {**defaults, **(options or {})}


def _case(
    labels: ArrayLike,
    image: ArrayLike | None,
    num_classes: int,
    spacing: Spacing,
    labels_per_rater: ArrayLike | None,
    regions: RegionValues | None,
    generator: torch.Generator | None,
) -> TargetCase:
    return TargetCase(
        labels=as_tensor(labels),
        image=image,
        structures=Structures.numbered(num_classes, regions),
        spacing=spacing,
        labels_per_rater=None if labels_per_rater is None else as_tensor(labels_per_rater),
        generator=generator,
    )
