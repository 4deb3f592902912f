"""Less memory on request, and no work that cannot fit."""

import pickle
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner
from inkpunk import Pipeline, Request, RequestError
from inkpunk import pipeline as pipeline_file
from inkpunk.cli import main
from inkpunk.memory import allocator, pages
from inkpunk.memory.allocator import GivingBackPieces, giving_back_maps, keep_freed_memory
from inkpunk.memory.free import free_memory
from inkpunk.memory.pages import let_go_of_pages
from inkpunk.memory.residence import Residence
from inkpunk.speed import PLAIN
from inkpunk_unet import UNet
from inkpunk_weights import open_checkpoint, save_checkpoint
from inkpunk_winograd import wrap
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CPU = torch.device("cpu")
REQUEST = Request("a raven", seeds=(7,))


def pixels(pipeline: Pipeline) -> np.ndarray:
    return np.asarray(pipeline.generate(REQUEST)[0].image).astype(int)


def resave(tiny: Path, path: Path, dtype: torch.dtype) -> Path:
    checkpoint = open_checkpoint(tiny)
    parts: dict[str, dict[str, Tensor]] = {
        name: {key: tensor.to(dtype) for key, tensor in getattr(checkpoint, name).items()}
        for name in ("text_encoder", "unet", "vae")
    }
    save_checkpoint(path, **parts, metadata=dict(checkpoint.metadata))
    return path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_16_bit_weights_low_memory_draws_the_same_picture(
    dtype: torch.dtype, tiny: Path, tmp_path: Path
) -> None:
    halves = resave(tiny, tmp_path / "half.safetensors", dtype)
    usual, low = (Pipeline.load(halves, device="cpu", low_memory=on) for on in (False, True))
    assert abs(pixels(usual) - pixels(low)).max() <= 1  # of 255: strips and rounding


def test_of_32_bit_weights_low_memory_draws_what_their_16_bit_edition_draws(
    tiny: Path, tmp_path: Path
) -> None:
    halves = resave(tiny, tmp_path / "half.safetensors", torch.float16)
    assert np.array_equal(
        pixels(Pipeline.load(tiny, device="cpu", low_memory=True)),
        pixels(Pipeline.load(halves, device="cpu", low_memory=True)),
    )


def test_low_memory_holds_16_bits_while_it_computes_and_what_was_loaded_afterwards(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", low_memory=True)
    assert pipeline.tiled
    at_work: set[torch.dtype] = set()
    with pipeline.unet.awake() as unet:
        assert {weight.dtype for weight in unet.parameters()} == {torch.float16}
        original = type(unet.conv_in)._conv_forward

        def look(layer: nn.Conv2d, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            at_work.add(weight.dtype)
            return original(layer, image, weight, bias)

        monkeypatch.setattr(nn.Conv2d, "_conv_forward", look)
    before = [weight.data_ptr() for weight in unet.parameters()]
    pipeline.generate(REQUEST)
    assert at_work == {torch.float32}
    assert {weight.dtype for weight in unet.parameters()} == {torch.float32}
    assert [weight.data_ptr() for weight in unet.parameters()] == before


def test_a_layer_that_fails_gets_its_own_weights_back() -> None:
    layer = nn.Linear(3, 3)
    residence = Residence(nn.Sequential(layer), CPU, offload=False, halve=True)
    with residence.awake() as network:
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 4))
        assert layer.weight.dtype == torch.float16
        assert network(torch.ones(1, 3)).dtype == torch.float32


def resident(path: Path) -> int:
    """Bytes of a file that this process holds in memory."""
    maps = psutil.Process().memory_maps(grouped=False)
    return sum(each.rss for each in maps if each.path == str(path))


def mapped_numbers(path: Path, count: int = 1 << 20) -> Tensor:
    np.arange(count, dtype=np.float32).tofile(path)
    mapped = torch.from_file(str(path), shared=False, size=count)
    mapped.sum()  # reads it all
    return mapped


@pytest.fixture
def nothing_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "WORTH_LETTING_GO", 0)


@pytest.mark.usefixtures("nothing_is_too_small")
def test_pages_that_are_let_go_of_are_gone_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    mapped = mapped_numbers(path)
    assert resident(path) >= 4 << 20
    let_go_of_pages([mapped[:1024], torch.ones(3), mapped[3:7], mapped[4096:], torch.ones(3, device="meta")])
    assert resident(path) <= 16 << 10  # what lies between them, and the ends of a page
    assert torch.equal(mapped, torch.arange(1 << 20, dtype=torch.float32))


@pytest.mark.usefixtures("nothing_is_too_small")
def test_what_this_process_has_written_is_never_let_go_of(tmp_path: Path) -> None:
    mapped = mapped_numbers(tmp_path / "numbers")
    mapped[5] = -1.0
    let_go_of_pages([mapped])
    assert mapped[5] == -1.0


@pytest.mark.usefixtures("nothing_is_too_small")
def test_what_was_written_beside_a_tensor_does_not_keep_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    mapped = mapped_numbers(path)
    mapped[5] = -1.0
    let_go_of_pages([mapped[4096:]])
    assert resident(path) <= 20 << 10  # what lies before it, and the end of a page
    assert mapped[5] == -1.0
    assert torch.equal(mapped[4096:], torch.arange(4096, 1 << 20, dtype=torch.float32))


@pytest.mark.usefixtures("nothing_is_too_small")
def test_where_the_system_does_not_tell_of_its_pages_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGEMAP", str(tmp_path / "none"))
    path = tmp_path / "numbers"
    mapped = mapped_numbers(path)
    let_go_of_pages([mapped])
    assert resident(path) >= 4 << 20
    assert mapped[5] == 5.0


@pytest.mark.usefixtures("nothing_is_too_small")
def test_what_lies_in_no_file_stays() -> None:
    tensor = torch.arange(1 << 22, dtype=torch.float32)
    let_go_of_pages([tensor])
    assert torch.equal(tensor, torch.arange(1 << 22, dtype=torch.float32))


def test_a_few_pages_are_not_worth_it(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    mapped = mapped_numbers(path)
    let_go_of_pages([mapped])
    assert resident(path) >= 4 << 20


@pytest.mark.usefixtures("nothing_is_too_small")
def test_what_was_narrowed_from_a_file_keeps_none_of_its_pages(tiny: Path, tmp_path: Path) -> None:
    path = resave(tiny, tmp_path / "model.safetensors", torch.float32)
    pipeline = Pipeline.load(path, device="cpu", dtype="bfloat16", speed=PLAIN)
    assert resident(path) < path.stat().st_size / 4  # pages between tensors
    assert {weight.dtype for weight in pipeline.unet.tensors.values()} == {torch.bfloat16}


@pytest.mark.usefixtures("nothing_is_too_small")
@pytest.mark.parametrize("low_memory", [False, True])
def test_networks_at_rest_hold_no_page_of_their_file(tiny: Path, tmp_path: Path, low_memory: bool) -> None:
    path = resave(tiny, tmp_path / "model.safetensors", torch.float32)
    pipeline = Pipeline.load(path, device="cpu", low_memory=low_memory)
    with pipeline.unet.awake() as unet:
        all_weights = sum(weight.numel() * 4 for weight in unet.parameters())
        sum(weight.sum() for weight in unet.parameters())
        if not low_memory:
            assert resident(path) > all_weights / 2
    assert resident(path) < all_weights / 4
    assert pipeline.generate(REQUEST)[0].image.size == (64, 64)
    assert resident(path) < all_weights / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_a_network_at_rest_keeps_no_memory_that_it_freed() -> None:
    keep_freed_memory()
    residence = Residence(nn.Linear(4096, 4096), CPU, offload=False, halve=True)
    held = psutil.Process().memory_info
    before = held().rss
    with residence.awake() as layer:
        halves = held().rss
        assert halves > before + (30 << 20)
        with torch.no_grad():
            layer(torch.ones(1, 4096))
        assert held().rss < halves + (16 << 20)  # the widened weights are 64 MiB
    assert held().rss < before + (8 << 20)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_memory_that_is_returned_leaves_no_holes() -> None:
    """In a process of its own: one that has held and freed much has room for all of this, which it keeps."""
    script = (
        "import psutil, torch\n"
        "from inkpunk.memory.allocator import keep_freed_memory, return_freed_memory\n"
        "keep_freed_memory()\n"
        "return_freed_memory()\n"
        "before = psutil.Process().memory_info().rss\n"
        "tensors = [torch.ones(1 << 20) for _ in range(16)]\n"  # 64 MiB
        "del tensors[::2]\n"
        "print(psutil.Process().memory_info().rss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(grown) < 36 << 20


@pytest.mark.thorough
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
@pytest.mark.parametrize(("within", "held"), [("nullcontext", True), ("giving_back_maps", False)])
def test_what_large_maps_free_is_given_back_where_that_is_asked_for(within: str, held: bool) -> None:
    script = (
        "import psutil, torch\n"
        "from contextlib import nullcontext\n"
        "from inkpunk.memory.allocator import giving_back_maps, keep_freed_memory\n"
        "keep_freed_memory()\n"
        "before = psutil.Process().memory_info().rss\n"
        f"with {within}():\n"
        "    maps = [torch.ones(4 << 20) for _ in range(8)]\n"  # of 16 MiB
        "    between = torch.ones(1 << 10)\n"  # and so the heap's end cannot be given back
        "    maps.clear()\n"
        "print(psutil.Process().memory_info().rss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert (int(grown) > 96 << 20) is held


def test_giving_back_maps_changes_nothing_of_a_process_that_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocator, "_keeping", False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("it was changed"))
    with giving_back_maps():
        pass


def test_pieces_are_given_back_once_they_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    held, given_back = 0, list[int]()
    monkeypatch.setattr(allocator.psutil, "Process", lambda: Mock(memory_info=lambda: Mock(rss=held)))
    monkeypatch.setattr(allocator, "give_back_freed_memory", lambda: given_back.append(held))
    layer = nn.Linear(2, 2)
    wrap(layer, GivingBackPieces())
    layer = pickle.loads(pickle.dumps(layer))
    for each in (100, 200, 250, 259, 261, 150, 250, 300, 311, 100):  # MiB after a pass; the sixth begins anew
        held = each << 20
        assert layer(torch.zeros(1, 2)).shape == (1, 2)
    assert given_back == [261 << 20, 311 << 20]


def test_matrices_are_narrow_at_work_and_wait_as_they_were() -> None:
    network = nn.Sequential(nn.Embedding(8, 32), nn.Linear(32, 32), nn.LayerNorm(32))
    residence = Residence(network.requires_grad_(False), CPU, offload=False, narrow_matrices=True)
    waiting = dict(residence.tensors)
    with residence.awake() as awake:
        dtypes = {name: each.dtype for name, each in awake.state_dict().items()}
        assert {name for name, dtype in dtypes.items() if dtype is torch.bfloat16} == {"1.weight"}
        assert {*dtypes.values()} == {torch.bfloat16, torch.float32}
    for name, tensor in network.state_dict().items():
        assert tensor.data_ptr() == waiting[name].data_ptr()
    changed = residence.with_tensors({"1.weight": torch.ones(32, 32, dtype=torch.bfloat16)})
    with changed.awake() as awake:
        assert awake[1].weight.dtype is torch.bfloat16
        assert awake[1].bias.dtype is torch.float32


def test_low_memory_on_an_accelerator_offloads_and_keeps_half_precision(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="meta", dtype="float16", low_memory=True)
    assert pipeline.tiled
    assert pipeline.unet.device.type == "cpu"
    with pipeline.unet.awake() as unet:
        assert {(weight.device.type, weight.dtype) for weight in unet.parameters()} == {
            ("meta", torch.float16)
        }


# -- What would not fit --------------------------------------------------------------------------------------------


def test_what_would_not_fit_is_refused_before_the_work(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_file, "free_memory", lambda _: 1 << 30)
    monkeypatch.setattr(Pipeline, "encode_prompts", lambda *_: pytest.fail("the work began"))
    with pytest.raises(RequestError) as refusal:
        pipeline.run(Request("a raven", seeds=(1, 2), width=8192, height=4096))
    said = str(refusal.value)
    assert said.startswith("8192 x 4096, 2 pictures at once: takes about ")
    assert "1.0 GiB are free; try a smaller size or fewer at once or --low-memory" in said


def test_the_command_line_says_so_in_one_line(tiny: Path, tmp_path: Path) -> None:
    huge = ["--width", "65536", "--height", "65536", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, ["generate", "a raven", "--model", str(tiny), "--device", "cpu", *huge])
    assert result.exit_code == 1
    assert "GiB are free" in result.output
    assert "Traceback" not in result.output
    assert not [*tmp_path.iterdir()]


def test_the_estimate_grows_with_size_and_number_and_shrinks_with_strips(pipeline: Pipeline) -> None:
    def estimate(size: int, count: int = 1, tiled: bool = False, guidance: float = 4.0) -> int:
        request = Request("", seeds=tuple(range(count)), width=size, height=size, guidance=guidance)
        return replace(pipeline, tiled=tiled).memory(pipeline.plan(request))

    assert estimate(512) < estimate(1024) < estimate(2048)
    assert estimate(1024) < estimate(1024, count=64)
    assert estimate(2048, tiled=True) < estimate(2048)
    assert estimate(504, count=64, guidance=1.0) < estimate(504, count=64)
    assert estimate(512, count=64) < estimate(504, count=64)  # from here on one is drawn after the other


def test_networks_that_have_yet_to_move_count_too(
    pipeline: Pipeline, networks: Callable[[], tuple[nn.Module, UNet, nn.Module]]
) -> None:
    unet = networks()[1]
    numbers = sum(weight.numel() for weight in unet.parameters())
    plan = pipeline.plan(REQUEST)
    there = replace(pipeline, unet=Residence(unet, CPU, offload=False)).memory(plan)
    moves = replace(pipeline, unet=Residence(unet, CPU, offload=True)).memory(plan)
    halves = replace(pipeline, unet=Residence(unet, CPU, offload=False, halve=True)).memory(plan)
    assert moves - there == 4 * numbers
    assert halves - there == 2 * numbers


def test_free_memory_is_known_here_and_not_where_there_is_no_device() -> None:
    free = free_memory(CPU)
    assert free is not None
    assert 0 < free <= psutil.virtual_memory().total
    assert free_memory(torch.device("meta")) is None


WAYS = [{}, {"offload": True}, {"low_memory": True}, {"dtype": "float16"}, {"dtype": "bfloat16"}]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str
)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_dtype_that_a_file_may_have_is_drawn_with_in_every_mode(
    tiny: Path, tmp_path: Path, dtype: torch.dtype, way: dict[str, object]
) -> None:
    with safe_open(tiny, framework="pt") as file:
        metadata = file.metadata()
    path = tmp_path / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(tiny).items()}, path, metadata=metadata)
    [picture] = Pipeline.load(path, device="cpu", **way).generate(Request("a raven", seeds=(1,), steps=1))
    assert picture.image.size == (64, 64)
