"""Anatomies have the published sizes and are read back off the shapes they give."""

import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights.anatomy import Anatomy, TextEncoderAnatomy, UNetAnatomy, VAEAnatomy, anatomy_of
from inkpunk_weights.errors import CheckpointError

sizes = st.integers(1, 9)
# Strategies give anatomies yet to be made: the type checker draws random numbers, which hypothesis forbids.
text_encoders = st.builds(
    partial, st.just(TextEncoderAnatomy), sizes, sizes, sizes, layers=st.integers(1, 4), feed_forward=sizes
)
unets = st.lists(st.tuples(sizes, st.booleans()), min_size=1, max_size=4).flatmap(
    lambda levels: st.builds(
        partial,
        st.just(UNetAnatomy),
        in_channels=sizes,
        out_channels=sizes,
        widths=st.just(tuple(width for width, _ in levels)),
        layers=st.integers(1, 3),
        attention=st.just(tuple(attends for _, attends in levels)),
        context_width=sizes,
    )
)
vaes = st.builds(
    partial,
    st.just(VAEAnatomy),
    sizes,
    sizes,
    st.lists(sizes, min_size=1, max_size=4).map(tuple),
    layers=st.integers(1, 3),
)
NAMES = {TextEncoderAnatomy: "text_encoder", UNetAnatomy: "unet", VAEAnatomy: "vae"}


@pytest.mark.parametrize(
    ("anatomy", "parameters"),
    [
        (TextEncoderAnatomy(), 123_060_480),
        (UNetAnatomy(), 859_520_964),
        (UNetAnatomy(in_channels=9), 859_535_364),
        (VAEAnatomy(), 83_653_863),
    ],
    ids=str,
)
def test_components_have_their_published_number_of_parameters(anatomy: Anatomy, parameters: int) -> None:
    assert sum(math.prod(shape) for _, shape in anatomy.tensors()) == parameters


@settings(deadline=None, max_examples=50)
@given(text_encoders | unets | vaes)
def test_an_anatomy_is_read_off_its_own_shapes(make: Callable[[], Anatomy]) -> None:
    anatomy = make()
    shapes = dict(anatomy.tensors())
    assert len(shapes) == len(list(anatomy.tensors()))
    assert anatomy_of(NAMES[type(anatomy)], shapes) == anatomy


@settings(deadline=None, max_examples=40)
@given(text_encoders | unets | vaes, st.data())
def test_any_one_misshapen_or_missing_tensor_leaves_the_widths_as_they_are(
    make: Callable[[], Anatomy], data: st.DataObject
) -> None:
    anatomy = make()
    shapes = dict(anatomy.tensors())
    name = data.draw(st.sampled_from(sorted(shapes)))
    if data.draw(st.booleans()):
        del shapes[name]
    else:
        shapes[name] = data.draw(st.lists(st.integers(0, 9), max_size=5).map(tuple))
    found = anatomy_of(NAMES[type(anatomy)], shapes)
    assert getattr(found, "widths", None) == getattr(anatomy, "widths", None)
    assert getattr(found, "width", None) == getattr(anatomy, "width", None)


def test_tensors_of_something_else_have_no_anatomy() -> None:
    for component in ("text_encoder", "unet", "vae"):
        with pytest.raises(CheckpointError, match="not one whole block"):
            anatomy_of(component, {"weight": (3, 3)})
