import copy
import gc
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any

import pytest
import torch
from inkpunk_winograd import changes, unwrap, wrap
from inkpunk_winograd.wrapping import Inner
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Then:
    """A change that does one more thing to the result."""

    add: float = 0.0
    times: float = 1.0

    def __call__(self, module: nn.Module, inner: Inner, x: Tensor, **named: Any) -> Tensor:
        return inner(module, x, **named) * self.times + self.add


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, *, more: float = 0.0) -> Tensor:
        return x + self.by + more


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_changes_lie_around_each_other_and_come_off_in_any_order(order: tuple[int, ...]) -> None:
    layer, before = Shift(), {*vars(Shift())}
    steps = [Then(add=1), Then(times=10), Then(add=5)]
    undo = [wrap(layer, step) for step in steps]
    assert layer(torch.zeros(1), more=2.0).item() == (1 + 2 + 1) * 10 + 5
    assert changes(layer) == tuple(steps)
    left = [*steps]
    for place in order:
        undo[place]()
        undo[place]()  # again: nothing
        left.remove(steps[place])
        expected = torch.ones(1)
        for step in left:
            expected = expected * step.times + step.add
        assert torch.equal(layer(torch.zeros(1)), expected)
    assert {*vars(layer)} == before


def test_a_module_stays_what_it_was_to_whoever_asks() -> None:
    layer = Shift()
    wrap(layer, Then(add=1))
    assert type(layer) is Shift
    assert [*layer.state_dict()] == ["by"]
    assert isinstance(layer.forward, types.MethodType)
    assert layer.forward.__func__ is Shift.forward


def copies(layer: nn.Module) -> list[nn.Module]:
    return [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]


def test_copies_have_the_changes_and_weights_of_their_own() -> None:
    model = nn.Sequential(Shift(), Shift())
    wrap(model[0], Then(add=10))
    for copied in copies(model):
        with torch.no_grad():
            copied[0].by.fill_(5)
        assert copied(torch.zeros(1)).item() == 5 + 10 + 1
        assert model(torch.zeros(1)).item() == 1 + 10 + 1
        for change in changes(copied[0]):
            unwrap(copied[0], change)
        assert copied(torch.zeros(1)).item() == 5 + 1
        assert model(torch.zeros(1)).item() == 1 + 10 + 1


def test_no_module_is_kept_alive() -> None:
    layer = Shift()
    undo = wrap(layer, Then())
    gone = weakref.ref(layer)
    gc.disable()  # by counting references alone
    try:
        del layer
        assert gone() is None
    finally:
        gc.enable()
    undo()


def test_another_librarys_change_beneath_and_above_stays() -> None:
    layer = Shift()
    layer.forward = beneath = lambda x: x + 100
    inner = wrap(layer, Then(times=2))
    inner()
    assert layer.forward is beneath
    inner = wrap(layer, Then(times=2))
    layer._old_forward = layer.forward  # above, as Hugging Face's hooks do it
    layer.forward = partial(lambda before, x: before(x) + 1, layer._old_forward)
    outer = wrap(layer, Then(times=3))
    assert layer(torch.zeros(1)).item() == (100 * 2 + 1) * 3
    inner()
    assert layer(torch.zeros(1)).item() == (100 + 1) * 3
    outer()
    assert layer(torch.zeros(1)).item() == 100 + 1


def test_a_class_that_is_swapped_later_is_followed() -> None:
    layer = Shift()
    undo = wrap(layer, Then(add=10))
    layer.__class__ = type("Other", (Shift,), {"forward": lambda self, x: x - self.by})
    assert layer(torch.zeros(1)).item() == -1 + 10
    undo()
    assert layer(torch.zeros(1)).item() == -1


def test_a_change_may_hand_another_module_to_what_lies_within() -> None:
    layer, other = Shift(), Shift()
    other.by.data.fill_(7)
    wrap(layer, Then(add=1))
    wrap(layer, lambda module, inner, x: inner(other, x))
    assert layer(torch.zeros(1)).item() == 7 + 1


def test_threads_may_call_while_changes_come_and_go() -> None:
    layer, wrong = Shift(), []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            if (result := layer(torch.zeros(1)).item()) not in (1, 2):
                wrong.append(result)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for _ in range(300):
        undo: Callable[[], None] = wrap(layer, Then(add=1))
        undo()
    stop.set()
    for caller in callers:
        caller.join()
    assert not wrong
