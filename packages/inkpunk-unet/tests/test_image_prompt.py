"""Pictures are attended to beside the words while they are shown, and leave no trace."""

import functools
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import (
    ImagePrompt,
    ImagePromptConfig,
    ResamplerConfig,
    Shown,
    UNet,
    UNetConfig,
    cross_attentions,
    image_attentions,
    image_prompts,
)
from torch import Tensor

CONFIG = UNetConfig(
    widths=(16, 32, 48), attention=(True, False, True), layers=1, heads=4, context_width=24, groups=8
)
WIDTHS = (16, 48, 48, 48, 16, 16, 48)  # down, up, middle
EXACT = 1e-10  # float64 sums in another order


@functools.cache
def build() -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(CONFIG).requires_grad_(False).double().eval()


@functools.cache
def prompt(seed: int = 0, resampler: ResamplerConfig | None = None) -> ImagePrompt:
    config = ImagePromptConfig(embed_width=10, context_width=24, tokens=3, widths=WIDTHS, resampler=resampler)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ImagePrompt(config).requires_grad_(False).double().eval()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LATENTS, WORDS, TIME = drawn(2, 4, 8, 6), drawn(2, 5, 24, seed=1), torch.tensor(500)
EMBEDS = drawn(2, 10, seed=2)


def seen(*tokens: Tensor) -> Tensor:
    return torch.cat([WORDS, *tokens], dim=1)


def test_the_defaults_are_the_published_sizes() -> None:
    with torch.device("meta"):
        plain = ImagePrompt(ImagePromptConfig())
        plus = ImagePrompt(ImagePromptConfig(embed_width=1280, tokens=16, resampler=ResamplerConfig()))
        layers = cross_attentions(UNet(UNetConfig()))
    assert [layer.query.out_features for layer in layers] == list(ImagePromptConfig().widths)
    keys_and_values = 2 * 768 * sum(ImagePromptConfig().widths)
    assert sum(each.numel() for each in plain.parameters()) == keys_and_values + 1025 * 4 * 768 + 2 * 768
    blocks = 4 * (12 * 768**2 + 6 * 768)
    ends = 16 * 768 + 1281 * 768 + 769 * 768 + 2 * 768
    assert sum(each.numel() for each in plus.parameters()) == keys_and_values + blocks + ends


@settings(deadline=None, max_examples=25)
@given(
    numbers=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    resampler=st.none() | st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 2)),
)
def test_weights_tell_their_own_config(
    numbers: tuple[int, int, int], widths: list[int], resampler: tuple[int, int, int] | None
) -> None:
    config = ImagePromptConfig(*numbers, tuple(widths), resampler and ResamplerConfig(*resampler))
    with torch.device("meta"):
        weights = ImagePrompt(config).state_dict()
    assert ImagePromptConfig.from_weights(weights) == config


@pytest.mark.parametrize("dims", [(10,), (7, 10)], ids=["whole", "patches"])
def test_a_picture_becomes_tokens_by_itself(dims: tuple[int, ...]) -> None:
    network = prompt(resampler=ResamplerConfig(8, 2, 1) if len(dims) > 1 else None)
    embeds = drawn(3, *dims)
    tokens = network(embeds)
    assert tokens.shape == (3, 3, 24)
    alone = torch.cat([network(each[None]) for each in embeds])
    assert (tokens - alone).abs().max() < EXACT


def test_a_network_that_was_shown_pictures_is_as_it_was_to_the_bit() -> None:
    unet = build()
    before, state = unet(LATENTS, TIME, WORDS), [set(vars(module)) for module in unet.modules()]
    with image_prompts(unet, [Shown(prompt())]):
        during = unet(LATENTS, TIME, seen(prompt()(EMBEDS)))
    assert not torch.equal(during, before)
    assert torch.equal(unet(LATENTS, TIME, WORDS), before)
    assert [set(vars(module)) for module in unet.modules()] == state


def test_what_stood_before_a_layers_forward_stands_there_again_even_after_an_error() -> None:
    unet = build()
    layer = cross_attentions(unet)[0]
    layer.forward = own = layer.forward  # an attribute of its own, as libraries that wrap modules set one
    try:
        with pytest.raises(RuntimeError), image_prompts(unet, [Shown(prompt())]):
            raise RuntimeError
        assert vars(layer)["forward"] is own
        assert all("forward" not in vars(other) for other in cross_attentions(unet)[1:])
    finally:
        del layer.forward


def test_each_image_of_a_batch_sees_its_own_pictures() -> None:
    unet, tokens = build(), prompt()(EMBEDS)
    with image_prompts(unet, [Shown(prompt())]):
        together = unet(LATENTS, TIME, seen(tokens))
        for i in range(2):
            alone = unet(LATENTS[i : i + 1], TIME, seen(tokens)[i : i + 1])
            assert (together[i : i + 1] - alone).abs().max() < EXACT


def test_pictures_of_no_weight_do_nothing() -> None:
    unet, tokens = build(), prompt()(EMBEDS)
    alone = unet(LATENTS, TIME, WORDS)
    for weight in (0.0, (0.0,) * len(WIDTHS)):
        with image_prompts(unet, [Shown(prompt(), weight)]):
            assert (unet(LATENTS, TIME, seen(tokens)) - alone).abs().max() < EXACT


def test_each_layer_may_have_its_own_weight() -> None:
    unet, tokens = build(), prompt()(EMBEDS)
    results = [unet(LATENTS, TIME, WORDS)]
    for place in range(len(WIDTHS)):
        weights = tuple(float(place == each) for each in range(len(WIDTHS)))
        with image_prompts(unet, [Shown(prompt(), weights)]):
            results.append(unet(LATENTS, TIME, seen(tokens)))
    assert all((one - other).abs().max() > 1e-6 for i, one in enumerate(results) for other in results[:i])


def test_the_order_of_image_prompts_does_not_matter() -> None:
    unet, one, other = build(), Shown(prompt(0), 0.3), Shown(prompt(1), 0.9, pictures=2)
    ones, others = prompt(0)(EMBEDS), torch.cat([prompt(1)(EMBEDS), prompt(1)(-EMBEDS)], dim=1)
    with image_prompts(unet, [one, other]):
        first = unet(LATENTS, TIME, seen(ones, others))
    with image_prompts(unet, [other, one]):
        second = unet(LATENTS, TIME, seen(others, ones))
    assert (first - second).abs().max() < EXACT


def test_the_order_of_one_prompts_pictures_does_not_matter() -> None:
    unet = build()
    pictures = [prompt()(EMBEDS), prompt()(-EMBEDS)]
    with image_prompts(unet, [Shown(prompt(), pictures=2)]):
        one, other = (unet(LATENTS, TIME, seen(*each)) for each in (pictures, pictures[::-1]))
    assert (one - other).abs().max() < EXACT


def test_all_attention_goes_through_what_is_given() -> None:
    unet, shapes = build(), list[tuple[int, ...]]()

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        shapes.append(tuple(key.shape[:3]))
        return torch.zeros_like(query)

    for layer, instead in image_attentions(unet, [Shown(prompt(), pictures=2)], attend):
        tokens = drawn(2, 6, layer.query.in_features)
        assert torch.equal(instead(layer, tokens, seen(drawn(2, 6, 24))), layer.out.bias.expand_as(tokens))
    assert shapes == [(2, 4, 5), (2, 4, 6)] * len(WIDTHS)


def test_threads_may_share_a_network_that_is_shown_pictures() -> None:
    unet, tokens = build(), prompt()(EMBEDS)
    results: dict[int, Tensor] = {}
    with image_prompts(unet, [Shown(prompt())]):
        contexts = [seen(tokens * scale) for scale in (1, 2, 3)]
        expected = [unet(LATENTS, TIME, context) for context in contexts]

        def run(i: int) -> None:
            results[i] = unet(LATENTS, TIME, contexts[i])

        threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(results[i], expected[i]) for i in range(3))


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    unet = build()
    narrow = ImagePrompt(ImagePromptConfig(10, 24, 3, WIDTHS[:-1]))
    for shown, said in (
        (Shown(narrow), "does not fit this one"),
        (Shown(prompt(), (1.0, 2.0)), "one weight, or 7"),
        (Shown(prompt(), pictures=0), "at least one picture"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            image_attentions(unet, [shown])
        assert str(caught.value).isprintable()
    few = pytest.raises(ValueError, match="more than the 6 tokens that are its pictures', not 5")
    with image_prompts(unet, [Shown(prompt(), pictures=2)]), few:
        unet(LATENTS, TIME, WORDS)
    for embeds in (drawn(2, 9), drawn(2, 7, 10)):
        with pytest.raises(ValueError, match=r"embeds must be \[batch, 10\]"):
            prompt()(embeds)


@pytest.mark.parametrize("field", ["embed_width", "context_width", "tokens"])
@pytest.mark.parametrize("number", [0, 2**17, True])
def test_numbers_that_make_no_network_are_refused(field: str, number: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a whole number from 1"):
        ImagePromptConfig(**{field: number})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["keys.0.weight", "projection.linear.weight"])
def test_weights_of_something_else_are_refused_by_what_is_missing(name: str) -> None:
    weights = dict(prompt().state_dict())
    del weights[name]
    with pytest.raises(ValueError, match=f"no '{name}'"):
        ImagePromptConfig.from_weights(weights)
    weights[name] = torch.zeros(3)
    with pytest.raises(ValueError, match=f"'{name}' must be a matrix"):
        ImagePromptConfig.from_weights(weights)
