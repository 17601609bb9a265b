"""A method: a label, an activation, a loss and a decoder, and what training must know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.activations import Activation
from sfumato.checks import as_tensor
from sfumato.decode import Decoder
from sfumato.errors import InputError, ShapeError, UnknownNameError
from sfumato.labels.definition import Label, TargetCase
from sfumato.losses.definition import Loss
from sfumato.methods.parts import PARTS
from sfumato.structures import Structures, TargetKind
from sfumato.types import ArrayLike, Spacing

Options = Mapping[str, Any]
RegionValues = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Method:
    """One method: what to train towards, and how to read what the network says.

    A part is a name of its table, a user's ``module.path:NAME``, or a row.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        reference: Author (year).
        label: How the target is made.
        activation: From logits to the target's range.
        loss: Between the two.
        decoder: From a prediction to hard labels.
        label_changes: Options of the label that differ from its own defaults.
        loss_changes: Options of the loss, likewise.
    """

    name: str
    title: str
    reference: str
    label: str | Label
    activation: str | Activation
    loss: str | Loss
    decoder: str | Decoder
    label_changes: Options = field(default_factory=dict)
    loss_changes: Options = field(default_factory=dict)

    @property
    def label_row(self) -> Label:
        """The label."""
        label: Label = PARTS["label"].look_up(self.label)
        return label

    @property
    def activation_row(self) -> Activation:
        """The activation."""
        activation: Activation = PARTS["activation"].look_up(self.activation)
        return activation

    @property
    def loss_row(self) -> Loss:
        """The loss."""
        loss: Loss = PARTS["loss"].look_up(self.loss)
        return loss

    @property
    def decoder_row(self) -> Decoder:
        """The decoder."""
        decoder: Decoder = PARTS["decoder"].look_up(self.decoder)
        return decoder

    @property
    def kind(self) -> TargetKind:
        """What the target is: classes that sum to 1, regions in [0, 1], or signed maps in [-1, 1]."""
        return self.label_row.kind

    @property
    def label_options(self) -> dict[str, Any]:
        """Every option of the label, with this method's defaults."""
        return {**self.label_row.options, **self.label_changes}

    @property
    def loss_options(self) -> dict[str, Any]:
        """Every option of the loss, with this method's defaults."""
        return {**self.loss_row.options(self.kind), **self.loss_changes}

    def channels(self, num_classes: int, regions: RegionValues | None = None) -> int:
        """Return the number of channels of target and network: K for classes, else one per region.

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
        """Build the target of one case: labels, number of classes and spacing are enough for most methods.

        Args:
            labels: Class indices, ``(*S)``.
            image: ``(C, *S)``; only labels that need it look at it.
            num_classes: Number of classes ``K``, background included.
            spacing: Millimetres between voxel centres, one value per spatial axis.
            labels_per_rater: ``(D, *S)``; only the rater methods look at it, ``None`` means ``labels`` alone.
            regions: Label values per region name, for region methods; ``None`` takes one region per
                foreground label.
            options: Overrides of ``label_options``.
            generator: Source of random seeds.
            soft: Class weights, ``(K, *S)``, that the target is made of in place of ``labels``; only for
                labels that take weights.

        Returns:
            ``(channels, *S)``, float32.

        Raises:
            InputError: the method needs an image and there is none, or it needs labels and weights are given.
            UnknownNameError: an option is not one of the label's.
        """
        if soft is not None and not self.label_row.takes_weights:
            raise InputError(f"method {self.name!r} makes its label of a hard mask: give it no class weights")
        case = TargetCase(
            labels=as_tensor(labels),
            image=image,
            structures=Structures.numbered(num_classes, regions),
            spacing=spacing,
            labels_per_rater=None if labels_per_rater is None else as_tensor(labels_per_rater),
            generator=generator,
            soft=None if soft is None else as_tensor(soft),
        )
        return self.label_row.make(case, self.label_settings(options))

    def takes_weights(self, *, beside_mask: bool) -> bool:
        """Tell whether a data set's own class weights, ``beside_mask`` or alone, make the method's target.

        Labels that are the mask itself take weights in its place; moved masks, which are never binarised,
        prefer them to it.
        """
        return self.label_row.moves_mask if beside_mask else self.label_row.takes_weights

    def label_settings(self, options: Options | None = None) -> dict[str, Any]:
        """Return every option of the label, with the overrides.

        Raises:
            UnknownNameError: an override is not one of the label's options.
            InputError: it is text, where the default is a number.
        """
        return self._settings("label option", self.label_options, options)

    def loss_settings(self, options: Options | None = None) -> dict[str, Any]:
        """Return every option of the loss, with the overrides.

        Raises:
            UnknownNameError: an override is not one of the loss's options.
        """
        return self._settings("loss option", self.loss_options, options)

    def make_loss(self, options: Options | None = None) -> nn.Module:
        """Build the loss: a module that takes raw logits and the target, both ``(B, channels, *S)``.

        Raises:
            UnknownNameError: an option is not one of the loss's.
        """
        return self.loss_row.build(self.activation_row, self.loss_settings(options))

    def _settings(self, what: str, defaults: Options, options: Options | None) -> dict[str, Any]:
        for key, value in (options or {}).items():
            if key not in defaults:
                raise UnknownNameError(f"{what} of method {self.name!r}", key, defaults)
            if isinstance(value, str) and isinstance(defaults[key], bool | int | float):
                raise InputError(
                    f"{what} {key!r} of method {self.name!r} is the text {value!r}: give a number, true or "
                    "false (YAML reads 1.0e-5 as a number, 1e-5 as text)"
                )
        return {**defaults, **(options or {})}

    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits ``(B, C, *S)`` into a prediction in the target's range."""
        return self.activation_row(logits)

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
        return self.decoder_row.labels(prediction, threshold=threshold)

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
        return self.decoder_row.regions(prediction, threshold=threshold)

    def finished(self, target: Tensor) -> Tensor:
        """Return the moved target ``(channels, *S)`` as the loss wants it.

        Labels that ``binarise`` get it hard again: regions rounded at 0.5, classes one-hot at the largest.
        """
        return self.kind.hardened(target) if self.label_row.binarise else target
