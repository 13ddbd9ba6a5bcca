"""What is known of a sweep's task and data before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DataFacts", "StepFacts", "SweepFacts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """What a look at the samples tells before anything is trained.

    Distances are taken between features divided by their deviation in training, over at most
    2,000 samples of each part. ``None`` where something cannot be known: targets that are no
    classes, token ids as inputs, items that are read with random numbers for copies.

    Attributes:
        n_classes: Number of classes that occur in training.
        largest_class: Share of the most frequent of them.
        input_size: Root mean square of all training inputs.
        feature_spread: 95 % quantile of the features' deviations over their median.
        copied_share: Share of the validation inputs that also occur in training, bit by bit.
        repeated_share: Share of the training inputs that occur more than once in training.
        validation_shift: Root mean square over features of the distance between the means of
            validation and training, in deviations of training, without what chance explains.
        validation_spread: Median over features of their deviation in validation over that in
            training.
        neighbour_accuracy: Share of training labels that most of ten neighbours have as well.
        neighbour_val_accuracy: Share of validation labels that most of ten training neighbours
            have.
        validation_neighbour_accuracy: The same of neighbours within validation.
        label_noise: Share of training labels that neighbours contradict, over the quarter of the
            samples whose neighbours agree most.
        noise_spread: How often two of these labels are equal where the neighbours' class is, over
            how often they would be if all other classes were as likely: 1 for labels that were
            drawn at random. ``None`` for two classes, or too few to tell.
        sure_agreement: Least share of neighbours of the same class within that quarter.
        agreement: Median share of neighbours that have the most frequent class among them.
        only_train_is_random: Whether reading training items draws random numbers, as augmentation
            does, and reading validation items does not.
        loss_growth: For a loss of the user's own, its value on samples taken twice over that on
            samples taken once: 1 for a mean, 2 for a sum.
        target_size: Root mean square of all training targets of a regression.
        target_deviation: Root mean square over its targets of their deviations.
    """

    n_classes: int | None = None
    largest_class: float | None = None
    input_size: float | None = None
    feature_spread: float | None = None
    copied_share: float | None = None
    repeated_share: float | None = None
    validation_shift: float | None = None
    validation_spread: float | None = None
    neighbour_accuracy: float | None = None
    neighbour_val_accuracy: float | None = None
    validation_neighbour_accuracy: float | None = None
    label_noise: float | None = None
    noise_spread: float | None = None
    sure_agreement: float | None = None
    agreement: float | None = None
    only_train_is_random: bool | None = None
    loss_growth: float | None = None
    target_size: float | None = None
    target_deviation: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFacts:
    """What the first step of one model tells before anything is trained.

    Parameters are named as in ``named_parameters``; where all of a module's get no gradient, the
    module stands for them.

    Attributes:
        n_outputs: Numbers that the model returns per sample.
        outputs: What the outputs keep to whatever the weights are: ``probabilities`` (of classes:
            not negative, sum 1), ``log_probabilities``, ``unit`` ([0, 1]), ``signed_unit``
            ([-1, 1]), ``not_negative`` (with exact zeros) or ``free``. ``None`` where it was not
            looked at or cannot be known.
        loss_expects: What the loss takes outputs for: ``logits``, ``log_probabilities`` or
            ``probabilities``; ``None`` for any other loss.
        metric_expects: What the metric takes them for: ``logits`` where it counts those above 0.
        ignored_classes: Classes that occur in training and never count in the loss.
        n_trainable: Numbers in parameters that require a gradient.
        n_frozen: Numbers in those that do not.
        cut_off: Parameters that change the outputs, require a gradient and are not reached by it.
        unused: Parameters that require a gradient and do not change the outputs.
        zero_gradient: Parameters whose gradient was exactly zero in each step that was looked at.
        alike: Parameters whose rows (units) are all the same, and get the same gradient.
        n_steps: Steps that were looked at.
    """

    n_outputs: int
    outputs: str | None = None
    loss_expects: str | None = None
    metric_expects: str | None = None
    ignored_classes: tuple[int, ...] = ()
    n_trainable: int = 0
    n_frozen: int = 0
    cut_off: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    zero_gradient: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    n_steps: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFacts:
    """What is known of a sweep's task before anything is trained.

    Losses are in the loss's own unit (nats for cross-entropy). ``None`` where it cannot be known,
    as for a loss that the user wrote.

    Attributes:
        workload: Name of the workload.
        workload_version: Its version, part of every trial's identity.
        task: ``classification``, ``binary``, ``regression`` or ``custom``.
        loss: Name of the loss; ``unknown`` in curves that other programs have logged.
        metric: Name of the metric, if there is one.
        metric_mode: ``max`` if larger is better, ``min`` if smaller is.
        n_train: Training samples.
        n_train_eval: Training samples on which the training loss is evaluated.
        n_validation: Validation samples.
        baseline_train_loss: Training loss of the best constant prediction (zero-rule baseline).
        baseline_val_loss: Validation loss of that same prediction.
        baseline_metric: Validation metric of that same prediction.
        loss_floor: The lowest value the loss can take; ``None`` if it has none.
        data: What a look at the samples tells; ``None`` where they were not seen.
        step: What the first step of one model tells; ``None`` where none was taken.
    """

    workload: str
    workload_version: str = "1"
    task: str = "custom"
    loss: str = "custom"
    metric: str | None = None
    metric_mode: str | None = None
    n_train: int | None = None
    n_train_eval: int | None = None
    n_validation: int | None = None
    baseline_train_loss: float | None = None
    baseline_val_loss: float | None = None
    baseline_metric: float | None = None
    loss_floor: float | None = None
    data: DataFacts | None = None
    step: StepFacts | None = None
