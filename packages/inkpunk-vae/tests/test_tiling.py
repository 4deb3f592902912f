import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inkpunk_vae import VAE, VAEConfig, decode_memory, tiled_decode, tiled_encode
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

few = settings(deadline=None, max_examples=20)
sides = st.integers(1, 12)
strips = st.integers(1, 60)

# Tiling changes the order of sums, in float32's 24 bits; each of some fifteen layers may add a little.
ROUNDING = 1e-5


def images_of(batch: int, rows: int, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.rand(batch, 3, 4 * rows, 4 * columns, generator=generator) * 2 - 1


def latents_of(batch: int, rows: int, columns: int) -> Tensor:
    return torch.randn(batch, 4, rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@few
@given(rows=sides, columns=sides, batch=st.integers(1, 2), strip=strips)
@example(rows=5, columns=3, batch=2, strip=1)
@example(rows=4, columns=3, batch=1, strip=1000)
def test_tiled_decoding_is_decoding(vae: VAE, rows: int, columns: int, batch: int, strip: int):
    latents = latents_of(batch, rows, columns)
    assert difference(tiled_decode(vae, latents, strip), vae.decode(latents)) < ROUNDING


@few
@given(rows=sides, columns=sides, batch=st.integers(1, 2), strip=strips)
@example(rows=5, columns=3, batch=2, strip=1)
@example(rows=4, columns=3, batch=1, strip=1000)
def test_tiled_encoding_is_encoding(vae: VAE, rows: int, columns: int, batch: int, strip: int):
    images = images_of(batch, rows, columns)
    tiled, whole = tiled_encode(vae, images, strip), vae.encode(images)
    assert difference(tiled.mean, whole.mean) < ROUNDING
    assert difference(tiled.std, whole.std) < ROUNDING


@few
@given(rows=sides, columns=sides, strip=strips, down=st.integers(0, 11))
def test_strips_of_an_image_whose_rows_go_round_know_no_first_row(
    vae: VAE, rows: int, columns: int, strip: int, down: int
):
    latents, images = latents_of(1, rows, columns), images_of(1, 2 * rows, columns)
    decoded = tiled_decode(vae, latents, strip, circular=True)
    rolled = tiled_decode(vae, latents.roll(down, 2), strip, circular=True)
    assert difference(rolled, decoded.roll(4 * down, 2)) < ROUNDING
    encoded = tiled_encode(vae, images, strip, circular=True).mean
    rolled = tiled_encode(vae, images.roll(4 * down, 2), strip, circular=True).mean
    assert difference(rolled, encoded.roll(down, 2)) < ROUNDING


@few
@given(rows=sides, columns=sides, strip=strips)
def test_the_difference_is_nothing_but_rounding(vae: VAE, rows: int, columns: int, strip: int):
    """In float64 it shrinks by the nine digits that float64 has more; a real difference would stay."""
    double = copy.deepcopy(vae).double()
    latents, images = latents_of(1, rows, columns).double(), images_of(1, rows, columns).double()
    assert difference(tiled_decode(double, latents, strip), double.decode(latents)) < 1e-13
    assert difference(tiled_encode(double, images, strip).mean, double.encode(images).mean) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("strip", [1, 5, 1000])
def test_in_half_precision_tiling_errs_no_more_than_the_plain_network(
    vae: VAE, dtype: torch.dtype, strip: int
):
    half, latents, images = copy.deepcopy(vae).to(dtype), latents_of(1, 12, 9), images_of(1, 12, 9)
    exact = vae.decode(latents)
    whole = difference(half.decode(latents.to(dtype)).float(), exact)
    # Both round every map to half precision, but after other sums, so that their errors are two draws from
    # one distribution: the largest of some 5,000 values each, which differ by far less than twice.
    assert difference(tiled_decode(half, latents.to(dtype), strip).float(), exact) < 2 * whole
    encoded = half.encode(images.to(dtype)).mean.float()
    error = difference(encoded, vae.encode(images).mean)
    tiled = tiled_encode(half, images.to(dtype), strip).mean.float()
    assert difference(tiled, vae.encode(images).mean) < 2 * error


def test_ordinary_tiles_would_have_shown(vae: VAE):
    """What the exact way is for: halves decoded each on its own differ by more than a hundred roundings."""
    latents = latents_of(1, 8, 4)
    halves = torch.cat([vae.decode(latents[:, :, :4]), vae.decode(latents[:, :, 4:])], dim=2)
    assert difference(halves, vae.decode(latents)) > 100 * ROUNDING


def test_a_large_mean_costs_no_digits(vae: VAE):
    """Statistics by sums of squares would lose them all."""
    shifted = copy.deepcopy(vae)
    shifted.decoder.conv_in.bias += 1000
    shifted.encoder.conv_in.bias += 1000
    double, latents, images = copy.deepcopy(shifted).double(), latents_of(1, 9, 7), images_of(1, 9, 7)
    for tiled, whole, exact in (
        (
            tiled_decode(shifted, latents, 5),
            shifted.decode(latents),
            double.decode(latents.double()),
        ),
        (
            tiled_encode(shifted, images, 5).mean,
            shifted.encode(images).mean,
            double.encode(images.double()).mean,
        ),
    ):
        assert difference(tiled.double(), exact) < 3 * difference(whole.double(), exact) + ROUNDING


@pytest.mark.parametrize("strip", [1, 6])
def test_channels_last_networks_are_tiled_just_as_well(vae: VAE, strip: int):
    fast = copy.deepcopy(vae).to(memory_format=torch.channels_last)
    assert (
        difference(tiled_decode(fast, latents_of(1, 7, 5), strip), vae.decode(latents_of(1, 7, 5))) < ROUNDING
    )
    tiled = tiled_encode(fast, images_of(1, 7, 5), strip)
    assert difference(tiled.mean, vae.encode(images_of(1, 7, 5)).mean) < ROUNDING


def test_many_queries_are_attended_to_in_chunks(vae: VAE, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("inkpunk_vae.tiling.ATTENTION_SCORES", 100)
    latents = latents_of(1, 7, 5)
    assert difference(tiled_decode(vae, latents), vae.decode(latents)) < ROUNDING


def test_a_convolution_put_in_another_s_place_is_used(vae: VAE):
    class Counted(nn.Module):
        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.conv, self.calls = conv, 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.conv(x)

    changed = copy.deepcopy(vae)
    for parent in list(changed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, Counted(child))
    for conv in (changed.quant_conv, changed.post_quant_conv):
        conv.weight = conv.conv.weight
    latents, images = latents_of(1, 5, 4), images_of(1, 5, 4)
    assert difference(tiled_decode(changed, latents, 3), vae.decode(latents)) < ROUNDING
    assert difference(tiled_encode(changed, images, 3).mean, vae.encode(images).mean) < ROUNDING
    assert all(module.calls > 0 for module in changed.modules() if isinstance(module, Counted))


def test_nothing_that_was_given_is_changed(vae: VAE):
    latents, images = latents_of(2, 5, 4), images_of(2, 5, 4)
    before = [tensor.clone() for tensor in (latents, images, *vae.parameters())]
    tiled_decode(vae, latents, 3)
    tiled_encode(vae, images, 3)
    assert all(map(torch.equal, before, (latents, images, *vae.parameters())))


def test_no_gradient_flows(vae: VAE):
    student = copy.deepcopy(vae).requires_grad_(True)
    assert not tiled_decode(student, latents_of(1, 3, 3)).requires_grad


@pytest.mark.parametrize("rows", [0, -4])
def test_strips_without_rows_are_refused(vae: VAE, rows: int):
    with pytest.raises(ValueError, match=f"rows is {rows}"):
        tiled_decode(vae, latents_of(1, 3, 3), rows)
    with pytest.raises(ValueError, match=f"rows is {rows}"):
        tiled_encode(vae, images_of(1, 3, 3), rows)


def test_what_the_network_refuses_is_refused_in_the_same_words(vae: VAE):
    with pytest.raises(ValueError, match="multiples of 4"):
        tiled_encode(vae, torch.zeros(1, 3, 8, 9))
    with pytest.raises(ValueError, match="latents have shape"):
        tiled_decode(vae, torch.zeros(1, 3, 8, 8))


class LiveMemory(TorchDispatchMode):
    """The most bytes that tensors made under it have held at one time on a device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.peak = 0
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device.type == self.device:
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self.live[reference.cdata] = reference, storage.nbytes()
        self.live = {key: held for key, held in self.live.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


@torch.no_grad()
def test_tiling_keeps_two_maps_where_the_plain_network_keeps_more():
    """On meta, at the full widths and 1024 x 1024, where only shapes count: in maps of 128 channels.

    Decoding is at its worst where 256 channels become 128 at full resolution: three such maps are read and
    written. The plain network holds six, and its convolutions' scratch, which no tensor shows, comes on top.
    """
    with torch.device("meta"):
        vae = VAE(VAEConfig(layers=1)).eval()  # further blocks would only be more of the same
        latents, images = torch.empty(1, 4, 128, 128), torch.empty(1, 3, 1024, 1024)
    one_map = 4 * 128 * 1024 * 1024

    def maps(work) -> float:
        with LiveMemory("meta") as memory:
            work()
        return memory.peak / one_map

    whole, tiled = maps(lambda: vae.decode(latents)), maps(lambda: tiled_decode(vae, latents))
    assert whole > 6
    assert tiled < 3.5
    assert maps(lambda: vae.encode(images)) > 3
    assert maps(lambda: tiled_encode(vae, images)) < 2.5
    # The estimates leave room for what the convolutions need besides, and no more than that.
    assert whole < decode_memory(vae.config, 1024, 1024) / one_map < 1.4 * whole
    assert tiled < decode_memory(vae.config, 1024, 1024, rows=64) / one_map < 1.4 * tiled


def test_with_a_store_elsewhere_the_device_holds_strips_only(vae: VAE):
    """On a pretended GPU, which also refuses to mix devices, as a true one would."""
    with FakeTensorMode():
        with torch.device("cuda"):
            pretended = VAE(vae.config).eval().requires_grad_(False)
        latents = torch.zeros(1, 4, 32, 1)
        widest_map = 4 * 16 * (4 * 32) * 4  # float32, 16 channels, 128 x 4
        with LiveMemory("cuda") as strips:
            images = tiled_decode(pretended, latents, 16, store="cpu")
        assert images.device.type == "cpu"
        assert strips.peak < widest_map
        assert tiled_decode(pretended, latents, 64).device.type == "cuda"
        posterior = tiled_encode(pretended, images, 64, store="cpu")
        assert posterior.mean.device.type == posterior.std.device.type == "cpu"
