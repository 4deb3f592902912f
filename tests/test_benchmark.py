"""The benchmark's arithmetic; what it times is tested elsewhere."""

from pathlib import Path

import pytest
import torch

from tools import benchmark_accelerate
from tools.benchmark.report import Figures, plot, table
from tools.benchmark.work import TABLE, Work


def test_a_guided_step_costs_what_its_layers_say() -> None:
    assert Work("step").flops() == pytest.approx(1.6e12, rel=0.02)
    assert Work("step", pictures=2).flops() == 2 * Work("step").flops()
    assert Work("decode").flops() == pytest.approx(2.48e12, rel=0.02)


def test_every_peer_gets_the_same_inputs() -> None:
    for work in TABLE:
        for one, other in zip(work.inputs(), work.inputs(), strict=True):
            assert torch.equal(one, other)


def test_a_guided_step_is_one_picture_under_two_prompts() -> None:
    latents, _, context = Work("step", 64, 64, pictures=3).inputs()
    assert torch.equal(latents[:3], latents[3:])
    assert not torch.equal(context[:3], context[3:])


def test_the_table_relates_ours_to_the_others_and_to_the_limit(tmp_path: Path) -> None:
    work, other = Work("step"), Work("decode")
    figures = Figures(
        ["inkpunk", "diffusers"],
        rate=work.flops() / 10,  # so that the limit is ten seconds
        load={"inkpunk": 1.0, "diffusers": 4.0},
        seconds={work: {"inkpunk": 8.0, "diffusers": 16.0}, other: {"inkpunk": 5.0}},
        peaks={work: {"inkpunk": 1 << 30, "diffusers": 5 << 29}, other: {"inkpunk": 3 << 30}},
        pictures={"inkpunk": (100.0, 3 << 30)},
    )
    lines = table(figures, "a remark").splitlines()
    assert lines[2] == "| guided step, 512x512 | 1.61 | 8.00 | 16.00 | 0.50x | 0.80x | 1.00, 2.50 |"
    assert lines[3].startswith(f"| VAE decode, 512x512 | {other.flops() / 1e12:.2f} | 5.00 | - | - |")
    assert lines[3].endswith("| 3.00, - |")
    assert lines[4] == "| load |  | 1.00 | 4.00 | 0.25x |  |  |"
    assert "3.00 GiB" in lines[-1]
    pytest.importorskip("matplotlib")
    plot(figures, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_benchmark_of_foreign_models_tells_what_it_found() -> None:
    row = benchmark_accelerate.compare("resnet50", runs=1)
    name, *seconds, ratio, error, changed = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "resnet50"
    assert all(cell.endswith(" s") for cell in seconds)
    assert ratio.endswith("x")
    assert float(error) < 1e-4
    assert int(changed) >= 17
