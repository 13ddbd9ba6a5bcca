"""What the first step tells of mistakes that raise no error."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepdiag.errors import TrainingError
from sweepdiag.records import StepFacts, TrainingSettings
from sweepdiag.training import check_first_step
from tests.training.conftest import classes, mlp, prepared
from tests.training.conftest import trial as trial_of


def facts_of(model=mlp, **changes) -> StepFacts:
    found = check_first_step(
        trial_of(), prepared=prepared(model, **changes), settings=TrainingSettings(epochs=2)
    )
    assert found is not None
    return found


def ended_by(*layers, n_outputs=3):
    return lambda: nn.Sequential(mlp(n_classes=n_outputs), *layers)


def binary(*layers, **changes):
    inputs, targets = classes()
    data = (inputs, (targets[:, None] == 1).astype("float32"))
    return facts_of(ended_by(*layers, n_outputs=1), task="binary", train=data, **changes)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Identity(), "free"),
        (nn.Softmax(dim=1), "probabilities"),
        (nn.LogSoftmax(dim=1), "log_probabilities"),
        (nn.Sigmoid(), "unit"),
        (nn.Tanh(), "signed_unit"),
        (nn.ReLU(), "not_negative"),
        (nn.Softplus(), "free"),  # never negative, but no output loses its gradient
    ],
)
def test_outputs_are_told_by_what_they_keep_to_with_any_weights(layer, kind):
    assert facts_of(ended_by(layer)).outputs == kind


def test_logits_that_begin_within_a_range_by_chance_are_free():
    def begun_at_zero():
        model = mlp()
        nn.init.zeros_(model[-1].weight)
        nn.init.constant_(model[-1].bias, 0.3)
        return model

    assert facts_of(begun_at_zero).outputs == "free"
    assert binary().outputs == "free"
    assert binary(nn.Sigmoid()).outputs == "unit"


def focal(outputs, targets):
    return ((1 - outputs.softmax(1).gather(1, targets[:, None])) ** 2).mean()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (None, "logits"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "logits"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), "logits"),
        (lambda o, y: functional.cross_entropy(o, y), "logits"),
        (nn.NLLLoss(), "log_probabilities"),
        (nn.MultiMarginLoss(), None),
        (focal, None),
    ],
)
def test_a_loss_is_told_by_its_values(loss, expected):
    facts = facts_of(loss=loss)
    assert facts.loss_expects == expected
    assert facts.outputs == (None if expected is None else "free")


@pytest.mark.parametrize(
    ("loss", "ignored"),
    [
        (nn.CrossEntropyLoss(ignore_index=0), (0,)),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.0, 2.0])), (1,)),
        (lambda o, y: functional.cross_entropy(o, y, ignore_index=2), (2,)),
        (nn.CrossEntropyLoss(ignore_index=3), ()),  # four outputs, of which the last never occurs
        (nn.CrossEntropyLoss(label_smoothing=0.1), ()),
        (None, ()),
    ],
)
def test_classes_that_never_count_are_named(loss, ignored):
    assert (
        facts_of(lambda: mlp(n_classes=3 + (ignored == ())), loss=loss).ignored_classes == ignored
    )


def test_losses_of_two_classes_and_the_accuracy_of_logits_are_told():
    assert binary().loss_expects == "logits"
    assert binary(loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(4.0))).loss_expects == "logits"
    told = binary(nn.Sigmoid(), loss=nn.BCELoss())
    assert (told.loss_expects, told.metric_expects, told.outputs) == (
        "probabilities",
        "logits",
        "unit",
    )


class Net(nn.Module):
    """Two layers before the last, what is between the first and the second is to be given."""

    def __init__(self, between=lambda h: h, *, has_spare=False):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.spare = nn.Linear(8, 8) if has_spare else None
        self.between = between

    def forward(self, x):
        hidden = self.between(self.first(x).relu())
        return self.last(self.second(hidden).relu())


def untracked(hidden):
    with torch.no_grad():
        return 1 * hidden


@pytest.mark.parametrize(
    "between", [torch.Tensor.detach, untracked, lambda h: torch.tensor(h.tolist())]
)
def test_layers_that_are_cut_off_are_named(between):
    facts = facts_of(lambda: Net(between))
    assert (facts.cut_off, facts.unused, facts.zero_gradient) == (("first",), (), ())


def test_a_layer_that_is_never_called_is_not_used_and_one_without_gradients_is_not():
    facts = facts_of(lambda: Net(has_spare=True))
    assert (facts.cut_off, facts.unused) == ((), ("spare",))
    assert facts_of(lambda: Net(torch.round)).zero_gradient == ("first",)
    assert facts_of(lambda: Net(torch.sign)).zero_gradient == ("first",)


def set_all(model, value):
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def test_equal_weights_are_told():
    assert facts_of(lambda: set_all(mlp(), 0.0)).zero_gradient == ("0", "2")
    facts = facts_of(lambda: set_all(mlp(), 0.05))
    assert facts.alike == ("0.weight", "2.weight")
    assert facts.zero_gradient == ()


def test_the_facts_are_those_of_the_trial_alone():
    first = facts_of(lambda: Net(torch.round))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        assert facts_of(lambda: Net(torch.round)) == first


class Skipped(nn.Module):
    """A block that is left out at random, as in stochastic depth."""

    def __init__(self):
        super().__init__()
        self.block = nn.Linear(12, 12)

    def forward(self, x):
        return x + self.block(x) if torch.rand(()) < 0.5 else x


class Last(nn.Module):
    def forward(self, of_layer):
        return of_layer[0][:, -1]


class Rescaled(nn.Module):
    """A block whose output is multiplied by a number that begins at zero, as in ReZero."""

    def __init__(self):
        super().__init__()
        self.block, self.gate = nn.Linear(12, 12), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.gate * self.block(x).relu()


class Straight(nn.Module):
    """A sign whose gradient is passed straight through."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.first(x)
        return self.last(hidden + (hidden.sign() - hidden).detach())


def last_at_zero():
    model = mlp()
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return model


def frozen_below():
    model = mlp()
    model[0].requires_grad_(False)
    return model


HEALTHY = {
    "mlp": mlp,
    "last layer at zero": last_at_zero,
    "frozen": frozen_below,
    "bias before a norm": lambda: nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6), mlp(8, 6)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(12), mlp()),
    "dropout": lambda: nn.Sequential(mlp(), nn.Dropout(0.5)),
    "stochastic depth": lambda: nn.Sequential(Skipped(), mlp()),
    "gate at zero": lambda: nn.Sequential(Rescaled(), mlp()),
    "straight-through": Straight,
    "recurrent": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 4)), nn.LSTM(4, 8, batch_first=True), Last(), nn.Linear(8, 3)
    ),
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 4)),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.Flatten(),
        nn.Linear(12, 3),
    ),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 12)),
        nn.Conv1d(1, 4, 3),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(40, 3),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_models(name):
    facts = facts_of(HEALTHY[name])
    assert facts.cut_off == facts.unused == facts.zero_gradient == facts.alike == ()
    assert (facts.outputs, facts.loss_expects) == ("free", "logits")
    assert (facts.n_frozen > 0) == (name == "frozen")


def regression(loss, *, n_outputs=1, squeezed=False):
    inputs, targets = classes()
    layers = (nn.Flatten(0),) if squeezed else ()
    return facts_of(
        ended_by(*layers, n_outputs=n_outputs),
        task="regression",
        train=(inputs, targets.astype("float32")),
        loss=loss,
    )


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.SmoothL1Loss(), lambda o, y: (o - y).abs().mean()]
)
def test_outputs_that_are_broadcast_against_targets_are_refused(loss):
    with pytest.raises(TrainingError, match=r"\(16, 1\).*only the mean can be.*outputs\.squeeze"):
        regression(loss)
    assert regression(loss, squeezed=True).n_outputs == 1


@pytest.mark.parametrize(
    "loss",
    [
        None,  # sweepdiag's own aligns shapes
        lambda o, y: functional.mse_loss(o.squeeze(1), y),
        lambda o, _y: o.square().mean(),  # knows no targets
        lambda o, y: functional.gaussian_nll_loss(o[:, 0], y, torch.ones_like(y)),
    ],
)
def test_losses_that_take_each_output_with_its_target_are_not_refused(loss):
    assert regression(loss).outputs is None
