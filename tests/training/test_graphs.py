import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from sweepdiag.training.graphs import TracedFunction, trace
from sweepdiag.training.numerics import reproducible_cpu


@pytest.fixture(autouse=True)
def _as_in_training():
    with reproducible_cpu():
        yield


def run_both(function, *inputs):
    """Return what a function and its traced program give, and what the inputs are afterwards."""
    program = trace(function, *(tensor.clone() for tensor in inputs))
    first, second = ([tensor.clone() for tensor in inputs] for _ in range(2))
    with torch.no_grad():
        return function(*first), program(*second), first, second


def assert_same_tensors(some, others):
    for a, b in zip(some, others, strict=True):
        assert a.shape == b.shape
        assert torch.equal(a, b)


def assert_traced(function, *inputs):
    expected, found, first, second = run_both(function, *inputs)
    assert_same_tensors(found, expected)
    assert_same_tensors(second, first)


def n_operations(function, *inputs):
    graph = trace(function, *inputs).__self__.graph
    return sum(node.op == "call_function" for node in graph.nodes)


def sample_loss(weight, x, y):
    log_probabilities = functional.linear(x, weight).relu().log_softmax(1)
    losses = -log_probabilities.gather(1, y.unsqueeze(1)).squeeze(1)
    return losses.mean(), losses


GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = torch.randn(5, 3, 12, generator=GENERATOR)
INPUTS = torch.randn(5, 16, 12, generator=GENERATOR)
CLASSES = torch.randint(3, (5, 16), generator=GENERATOR)


@pytest.mark.parametrize("n_samples", [16, 7, 1])
@pytest.mark.parametrize("n_classes", [3, 10, 20])
def test_gradients_of_a_cross_entropy_are_those_of_a_single_model(n_samples, n_classes):
    weights = torch.randn(5, n_classes, 12, generator=GENERATOR)
    inputs = INPUTS[:, :n_samples]
    classes = torch.randint(n_classes, (5, n_samples), generator=GENERATOR)
    found = trace(vmap(grad(sample_loss, has_aux=True)), weights, inputs, classes)(
        weights, inputs, classes
    )
    members = zip(weights.clone().requires_grad_(), inputs, classes, strict=True)
    alone = []
    for weight, x, y in members:
        loss = functional.cross_entropy(functional.linear(x, weight).relu(), y)
        losses = functional.cross_entropy(functional.linear(x, weight).relu(), y, reduction="none")
        alone.append((*torch.autograd.grad(loss, weight), losses.detach()))
    assert_same_tensors(found, [torch.stack(parts) for parts in zip(*alone, strict=True)])


def test_a_program_is_shorter_than_what_it_was_traced_from():
    from torch.fx.experimental.proxy_tensor import make_fx

    function = vmap(grad(sample_loss, has_aux=True))
    plain = make_fx(function)(WEIGHTS, INPUTS, CLASSES).graph
    n_plain = sum(node.op == "call_function" for node in plain.nodes)
    assert n_operations(function, WEIGHTS, INPUTS, CLASSES) < n_plain / 2


def test_inputs_are_never_written_into():
    def function(x):
        return (x + 1.0).relu() * x.neg(), x.expand(2, *x.shape) + 1.0

    assert_traced(function, INPUTS)


def test_what_is_returned_is_not_overwritten_either():
    def function(x):
        y = x * 2.0
        return y, y + 1.0, (y + 1.0).relu()

    assert_traced(function, INPUTS)


def test_in_place_operations_of_a_model_stay_in_place():
    def function(x, counter):
        counter.add_(1)
        y = x.clone()
        y.mul_(counter)
        return x + y, y

    expected, found, first, second = run_both(function, INPUTS, torch.ones(1))
    assert_same_tensors(found, expected)
    assert_same_tensors(second, first)
    assert float(second[1]) == 2.0


def test_random_operations_are_not_taken_for_repetitions():
    def function(x):
        return torch.rand_like(x), torch.rand_like(x)

    with torch.random.fork_rng():
        a, b = trace(function, INPUTS)(INPUTS)
    assert not torch.equal(a, b)


def test_a_tensor_that_the_function_holds_is_read_anew_each_time():
    held = torch.ones(1)

    def function(x):
        return (x * (held + 1.0),)

    program = trace(function, INPUTS)
    held.fill_(2.0)
    assert torch.equal(program(INPUTS)[0], INPUTS * 3.0)


def test_a_decision_that_depends_on_the_data_cannot_be_traced():
    def function(x):
        return (x if x.sum() > 0 else -x,)

    with pytest.raises(Exception, match=r"data-dependent|symbolic|guard"):
        trace(function, INPUTS)


def test_a_bias_is_added_as_a_single_layer_adds_it():
    # So many inputs that a product is summed in blocks, on top of the bias.
    x = torch.randn(4, 32, 784, generator=GENERATOR)
    weight = torch.randn(4, 16, 784, generator=GENERATOR)
    bias = torch.randn(4, 16, generator=GENERATOR)
    program = trace(lambda *a: (vmap(functional.linear)(*a),), x, weight, bias)
    alone = [functional.linear(x[k], weight[k], bias[k]) for k in range(4)]
    assert torch.equal(program(x, weight, bias)[0], torch.stack(alone))


def test_a_sum_that_the_user_wrote_stays_behind_the_product():
    def function(x, weight, bias):
        return (x @ weight.transpose(1, 2) + bias.unsqueeze(1),)

    x = torch.randn(4, 32, 784, generator=GENERATOR)
    weight = torch.randn(4, 16, 784, generator=GENERATOR)
    assert_traced(function, x, weight, torch.randn(4, 16, generator=GENERATOR))


def test_a_write_whose_result_nobody_uses_is_kept():
    def function(x):
        y = x + 1.0
        y[:, 0].mul_(3.0)
        y.relu_()
        return (y * 1.0,)

    assert_traced(function, INPUTS)


def test_memory_that_a_reshape_shares_is_not_overwritten():
    def function(x):
        turned = x.transpose(1, 2)
        return turned.reshape(len(x), -1).tanh(), turned.reshape(-1) * 2.0

    assert_traced(function, INPUTS)


@pytest.mark.parametrize("n_members", [2, 3, 5])
def test_another_number_of_members_computes_the_same(n_members):
    function = vmap(grad(sample_loss, has_aux=True))
    traced = TracedFunction(function)
    traced(WEIGHTS, INPUTS, CLASSES)
    inputs = [tensor[:n_members] for tensor in (WEIGHTS, INPUTS, CLASSES)]
    assert_same_tensors(traced(*inputs), trace(function, *inputs)(*inputs))


def test_inputs_that_members_share_keep_their_size():
    def outputs(weight, x):
        return (vmap(functional.linear, in_dims=(None, 0))(x, weight),)

    traced = TracedFunction(outputs, n_shared=1)
    for n_members in (5, 2):
        found = traced(WEIGHTS[:n_members], INPUTS[0])
        assert_same_tensors(
            found, trace(outputs, WEIGHTS[:n_members], INPUTS[0])(WEIGHTS[:n_members], INPUTS[0])
        )


def test_what_is_taken_member_by_member_is_traced_for_each_number():
    def each(weight, x):
        # No rule of vmap takes this for all members at once.
        return vmap(lambda w, one: torch.kthvalue(one @ w.T, 2, dim=1).values)(weight, x)[None]

    traced = TracedFunction(each)
    for n_members in (5, 3):
        inputs = WEIGHTS[:n_members], INPUTS[:n_members]
        assert_same_tensors(traced(*inputs), each(*inputs))
