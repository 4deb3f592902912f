"""Fast networks compute what plain ones do, each way of it acts, and each can be left out."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from inkpunk import Pipeline, Request
from inkpunk.cli import main
from inkpunk.cli.options.choices import WAYS
from inkpunk.road.encoding import CHUNKS
from inkpunk.speed import PLAIN, Speed, blocks, speed_up
from inkpunk.speed.attention import Natively
from inkpunk.speed.blocks import IN_PLACE, TOKENS_AT_ONCE, feed_forward
from inkpunk.speed.guided import once_for_both, share_guided_work
from inkpunk.speed.memo import TIMESTEPS, Memo, TimestepMemo
from inkpunk_clip import TextEncoder
from inkpunk_unet import UNet
from inkpunk_unet.attention import FeedForward
from inkpunk_vae import VAE
from inkpunk_winograd import Inner, changes, explain, has_native_attention, wrap
from torch import Tensor, nn

CPU = torch.device("cpu")
ROUNDING = 3e-5  # float32, relative to the largest value, through some dozens of layers that feed each other
Networks = tuple[TextEncoder, UNet, VAE]
needs_kernels = pytest.mark.skipif(not has_native_attention(), reason="no native kernels on this machine")


def make(networks: Callable[[], Networks]) -> Networks:
    torch.manual_seed(0)
    made = networks()
    for network in made:
        network.eval().requires_grad_(False)
    return made


@torch.no_grad()
def results(text_encoder: TextEncoder, unet: UNet, vae: VAE) -> list[Tensor]:
    """What each network makes of the same inputs, of an odd size.

    The UNet twice, since it may remember, and once with the same latents for both prompts, as guidance has it.
    """
    torch.manual_seed(1)
    context = text_encoder(torch.arange(2 * 77).view(2, 77))
    latents, timesteps = torch.randn(2, 4, 45, 38), torch.tensor([500, 500])
    image = torch.randn(1, 3, 96, 104)
    guided = latents[:1].repeat(2, 1, 1, 1)
    steps = [unet(each, timesteps, context) for each in (latents, latents, guided)]
    return [context, *steps, vae.decode(latents[:1]), vae.encode(image).mean]


def around(network: nn.Module) -> set[object]:
    """All changes of a network's modules; of a memo and its like, the kind."""
    found = [change for module in network.modules() for change in changes(module)]
    return {*found, *map(type, found)}


def told(network: nn.Module) -> set[str]:
    """What was done to layers by inkpunk-winograd."""
    return {layer.why for layer in explain(network).layers if layer.changed}


def kinds(network: nn.Module) -> set[str]:
    """Names of the kinds of its changes."""
    return {each.__name__ for each in around(network) if isinstance(each, type)}


FILTERED = "minimal filtering, or the direct way, whichever is cheaper for the input"


@pytest.fixture(scope="module")
def plain_results(networks: Callable[[], Networks]) -> list[Tensor]:
    return results(*make(networks))


@pytest.mark.thorough
@pytest.mark.parametrize("way", [*WAYS, "all"])
def test_each_way_computes_the_same(
    way: str, networks: Callable[[], Networks], plain_results: list[Tensor]
) -> None:
    fast = make(networks)
    speed_up(*fast, device=CPU, speed=Speed() if way == "all" else replace(PLAIN, **{way: True}))
    for result, right in zip(results(*fast), plain_results, strict=True):
        assert (result - right).abs().max() <= ROUNDING * right.abs().max()


@pytest.mark.parametrize(
    ("way", "acts"),
    [
        ("winograd", lambda text, unet, vae: FILTERED in told(unet) & told(vae)),
        ("linears", lambda text, unet, vae: "oneDNN" in told(text) & told(unet) & told(vae)),
        pytest.param(
            "threads",
            lambda text, unet, vae: "Threads" in kinds(text) & kinds(unet) & kinds(vae),
            marks=needs_kernels,
        ),
        ("in_place", lambda text, unet, vae: {*IN_PLACE.values()} <= around(unet) | around(vae)),
        ("share", lambda text, unet, vae: once_for_both in changes(unet.down[0].resnets[0])),
        ("memo", lambda text, unet, vae: {Memo, TimestepMemo} <= around(unet)),
        pytest.param(
            "attention",
            lambda text, unet, vae: any(isinstance(each, Natively) for each in around(unet)),
            marks=needs_kernels,
        ),
    ],
)
def test_each_way_acts_and_can_be_left_out(
    way: str, acts: Callable[..., bool], networks: Callable[[], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkpunk_winograd.linear.FAST", "")  # as on a processor where oneDNN wins
    for settings, expected in ((Speed(), True), (replace(Speed(), **{way: False}), False), (PLAIN, False)):
        fast = make(networks)
        names = [[*network.state_dict()] for network in fast]
        speed_up(*fast, device=CPU, speed=settings)
        assert acts(*fast) is expected
        assert [[*network.state_dict()] for network in fast] == names


@needs_kernels
@torch.no_grad()
def test_large_maps_are_normalised_natively_in_bfloat16_and_by_torch_in_float32(
    networks: Callable[[], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    normed = Mock(wraps=blocks.native_group_norm)
    monkeypatch.setattr(blocks, "native_group_norm", normed)
    for dtype in (torch.float32, torch.bfloat16):
        drawn = list[list[Tensor]]()
        for large in (1, 1 << 60):
            monkeypatch.setattr(blocks, "LARGE", large)
            fast = tuple(network.to(dtype) for network in make(networks))
            speed_up(*fast, device=CPU, speed=Speed(), narrow=dtype is torch.bfloat16)
            drawn.append(results(*fast))
        for result, right in zip(*drawn, strict=True):
            if dtype is torch.float32:
                assert torch.equal(result, right)
            else:  # what differs in the last bit of float32 is rounded to another of bfloat16's now and then
                assert (result - right).abs().max() <= 2**-6 * right.abs().max()
        assert normed.called is (dtype is torch.bfloat16)


@torch.no_grad()
def test_channels_stay_last_all_the_way(networks: Callable[[], Networks]) -> None:
    for channels_last in (True, False):
        _, unet, vae = fast = make(networks)
        speed_up(*fast, device=CPU, speed=replace(PLAIN, channels_last=channels_last))
        seen: list[bool] = []

        def look(_: nn.Module, inputs: tuple[Tensor], __: Tensor, seen: list[bool] = seen) -> None:
            seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

        for network in (unet, vae):
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                    module.register_forward_hook(look)
        results(*fast)
        assert all(seen) if channels_last else not any(seen)
        assert len(seen) > 20


def test_a_picture_takes_the_fast_road_unless_told_otherwise(tiny: Path, pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,))
    plain = Pipeline.load(tiny, device="cpu", speed=PLAIN)
    with pipeline.unet.awake() as fast, plain.unet.awake() as slow:
        assert {*IN_PLACE.values()} & around(fast)
        assert not around(slow)
    pictures = [each.generate(request)[0].image.tobytes() for each in (pipeline, plain)]
    assert max(abs(a - b) for a, b in zip(*pictures, strict=True)) <= 1  # of 255: rounding to bytes


def test_the_command_line_has_every_way() -> None:
    assert {*WAYS, "compile"} == {way.name for way in fields(Speed)}


def test_the_command_line_leaves_ways_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Speed] = []
    load = Pipeline.load

    def spy(model: str, *, speed: Speed, **settings: object) -> Pipeline:
        asked.append(speed)
        return load(model, speed=replace(speed, compile=False), **settings)

    monkeypatch.setattr(Pipeline, "load", spy)
    arguments = ["generate", "a raven", "--model", str(tiny), "--steps", "1", "--out", str(tmp_path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    chosen = ["--without", "winograd", "--without", "memo", "--compile"]
    assert CliRunner().invoke(main, [*arguments, *chosen]).exit_code == 0
    assert asked == [Speed(), Speed(winograd=False, memo=False, compile=True)]


@pytest.mark.thorough
def test_compiled_networks_compute_the_same(tiny: Path) -> None:
    # in a process of its own: here every call is checked by beartype, which torch.compile cannot trace
    script = """
import sys
import torch
from inkpunk import Pipeline, Request, speed
from inkpunk.speed import Speed
from inkpunk_winograd import changes
speed.COMPILER = "eager"  # traces everything, and runs it without a minute of compiling
request = Request("a raven", seeds=(7,))
compiled, plain = (Pipeline.load(sys.argv[1], device="cpu", speed=Speed(compile=on)) for on in (True, False))
pictures = [each.generate(request)[0].image.tobytes() for each in (compiled, plain)]
with compiled.unet.awake() as unet:
    changed = [module for module in unet.modules() if changes(module)]
from torch._dynamo.utils import counters
print(counters["stats"]["unique_graphs"], max(abs(a - b) for a, b in zip(*pictures)))
print(len(changed))
"""
    command = [sys.executable, "-W", "ignore", "-c", script, str(tiny)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    graphs, difference = map(int, said[0].split())
    assert graphs >= 2  # UNet and decoder
    assert difference <= 1  # of 255: rounding to bytes
    assert said[1] == "0"  # nothing that compiling would have to see through


# -- Guidance ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_both_halves_of_a_guided_batch_are_one_until_they_read_their_prompts(
    networks: Callable[[], Networks],
) -> None:
    unet = make(networks)[1]
    share_guided_work(unet)
    seen: dict[nn.Module, int] = {}
    layers = {
        "first block": unet.down[0].resnets[0].conv1,
        "first self-attention": unet.down[0].attentions[0].block.self_attention.query,
        "first cross-attention": unet.down[0].attentions[0].block.cross_attention.query,
        "second block": unet.down[0].resnets[1].conv1,
    }
    for layer in layers.values():
        layer.register_forward_pre_hook(lambda layer, inputs: seen.update({layer: len(inputs[0])}))

    def batches(latents: Tensor, timesteps: Tensor) -> list[int]:
        torch.manual_seed(2)
        unet(latents, timesteps, torch.randn(len(latents), 9, unet.config.context_width))
        return [seen[layer] for layer in layers.values()]

    two = torch.randn(2, 4, 16, 16)
    assert batches(two.repeat(2, 1, 1, 1), torch.tensor([5, 6, 5, 6])) == [2, 2, 4, 4]
    assert batches(two.repeat(2, 1, 1, 1), torch.tensor([5, 6, 6, 5])) == [4, 4, 4, 4]
    assert batches(two, torch.tensor([5, 5])) == [2, 2, 2, 2]
    assert batches(two[:1], torch.tensor([5])) == [1, 1, 1, 1]


@given(st.integers(0, 99), st.integers(1, 5), st.booleans(), st.booleans())
def test_once_for_both_gives_what_the_pass_gives(
    seed: int, half: int, equal: bool, channels_last: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(half, 3, 4, 5, generator=generator)
    other = image if equal else torch.randn(half, 3, 4, 5, generator=generator)
    order = torch.channels_last if channels_last else torch.contiguous_format
    batch = torch.cat([image, other]).contiguous(memory_format=order)
    passes: list[int] = []

    class Double(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            passes.append(len(batch))
            return 2 * batch

    layer = Double()
    wrap(layer, once_for_both)
    result = layer(batch)
    assert torch.equal(result, 2 * batch)
    assert result.is_contiguous(memory_format=order)
    assert passes == [half if equal else 2 * half]


# -- What is remembered --------------------------------------------------------------------------------------------


def test_a_memo_computes_once_for_each_tensor_and_again_when_something_changed() -> None:
    plain, memo, calls = nn.Linear(2, 2), nn.Linear(2, 2), []
    memo.weight, memo.bias = plain.weight, plain.bias

    def count(layer: nn.Module, inner: Inner, tensor: Tensor) -> Tensor:
        calls.append(tensor)
        return inner(layer, tensor)

    wrap(memo, count)
    wrap(memo, Memo())
    first, second = torch.ones(1, 2), torch.ones(1, 2)
    with torch.no_grad():
        results = [memo(first), memo(first), memo(second)]
        assert len(calls) == 2
        assert results[0] is results[1]
        first += 1
        assert torch.equal(memo(first), plain(first))
        plain.weight += 1
        assert torch.equal(memo(first), plain(first))
        plain.weight.data = torch.zeros(2, 2)
        assert torch.equal(memo(first), plain(first))
    assert len(calls) == 5


def test_what_belongs_to_the_prompt_or_the_timestep_is_computed_once(
    networks: Callable[[], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, unet, _ = fast = make(networks)
    speed_up(*fast, device=CPU, speed=replace(PLAIN, in_place=True, memo=True))
    counts = {"keys": 0, "times": 0}
    original = F.linear

    def count(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        counts["keys"] += (
            weight.shape[1] == unet.config.context_width and inputs.ndim == 3 and inputs.shape[1] == 77
        )
        counts["times"] += inputs.shape == (1, unet.config.time_width)
        return original(inputs, weight, bias)

    monkeypatch.setattr(F, "linear", count)
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, unet.config.context_width)
    with torch.no_grad():
        unet(latents, torch.tensor([10]), context)
        first = dict(counts)
        assert min(first.values()) > 3
        unet(latents, torch.tensor([20]), context)
        assert (counts["keys"], counts["times"]) == (first["keys"], 2 * first["times"])
        unet(latents, torch.tensor([10]), context.clone())
        assert (counts["keys"], counts["times"]) == (2 * first["keys"], 2 * first["times"])


def test_only_so_many_timesteps_are_remembered(networks: Callable[[], Networks]) -> None:
    _, unet, _ = fast = make(networks)
    speed_up(*fast, device=CPU, speed=replace(PLAIN, memo=True))
    embed = unet.time_embedding
    [memo] = [change for change in changes(embed) if isinstance(change, TimestepMemo)]
    width = unet.config.widths[0]
    with torch.no_grad():
        first = embed(torch.zeros(1, width))
        for number in range(TIMESTEPS - 1):
            embed(torch.full((1, width), 1.0 + number))
        assert embed(torch.zeros(1, width)) is first  # and is now the latest
        embed(torch.full((1, width), -1.0))
        assert len(memo.known) == TIMESTEPS
        assert embed(torch.zeros(1, width)) is first


def test_a_repeated_prompt_is_encoded_once(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    calls: list[int] = []
    with pipeline.text_encoder.awake() as text_encoder:
        text_encoder.register_forward_hook(lambda *_: calls.append(1))
    alone = pipeline.encode_prompts(["a raven"])
    together = pipeline.encode_prompts(["", "a raven", "a fox", ""])
    assert len(calls) == 3
    assert torch.equal(together[1], alone[0])
    assert torch.equal(together[0], together[3])
    for number in range(CHUNKS + 8):
        pipeline.encode_prompts([f"prompt {number}"])
    assert len(pipeline.encoded) <= CHUNKS


@torch.no_grad()
def test_hidden_units_in_parts_are_the_same(networks: Callable[[], Networks]) -> None:
    plain = FeedForward(16).eval()
    tokens = torch.randn(2, TOKENS_AT_ONCE, 16)  # two parts, one of each picture, and then an uneven one
    for some in (tokens, tokens[:, : TOKENS_AT_ONCE * 3 // 4]):
        expected = plain(some)
        fast = FeedForward(16).eval()
        fast.load_state_dict(plain.state_dict())
        wrap(fast, feed_forward)
        assert torch.allclose(fast(some), expected, atol=1e-6)
