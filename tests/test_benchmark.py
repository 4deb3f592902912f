"""The benchmark's arithmetic; what it times is tested elsewhere."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
import torch
from inkpunk_unet import UNet, UNetConfig

from tools import benchmark_accelerate, what_remains
from tools.benchmark import measuring, peers
from tools.benchmark.asked import Refused, check_model, chosen, installed
from tools.benchmark.figures import Failure, Figure, OtherSettings, Record
from tools.benchmark.peers import PEERS
from tools.benchmark.processes import PeerFailed, ask
from tools.benchmark.report import Summary, plot, table
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


def test_what_remains_of_a_step_is_all_of_it() -> None:
    unet = UNet(UNetConfig(widths=(32, 32), attention=(True, False), context_width=16, heads=4))
    inputs = torch.randn(2, 4, 8, 8), torch.full((2,), 5), torch.randn(2, 5, 16)
    called = Counter[str]()
    before = unet(*inputs)
    with what_remains.timed(unet, called):
        assert torch.equal(unet(*inputs), before)
    assert set(called) == {*what_remains.KINDS.values()}
    assert all(each > 0 for each in called.values())
    unet(*inputs)
    spent = what_remains.seconds(unet, inputs, runs=1)
    assert [*spent] == [*what_remains.KINDS.values(), what_remains.REST]
    assert all(each > 0 for each in spent.values())


def test_what_remains_knows_all_arithmetic_of_a_step() -> None:
    with torch.device("meta"):
        counts = what_remains.operations(UNet(UNetConfig()), STEP.inputs(device="meta"))
    assert counts.total() == STEP.flops()
    assert min(counts[kind] for kind in what_remains.KINDS.values()) > 0.1 * STEP.flops()


STEP = Work("step")
RATE = STEP.flops() / 10  # so that the limit in float32 is ten seconds


def figure(
    peer: str, seconds: float, turn: int = 0, error: float | None = 1e-6, work: str = STEP.name
) -> Figure:
    rate = RATE * 2 if "bf16" in peer else RATE
    return Figure(work, peer, turn, seconds, 3 << 29, error, rate)


def test_the_table_has_a_block_for_each_precision_and_relates_each_to_ours_and_the_limit(
    tmp_path: Path,
) -> None:
    figures = [
        *(figure("inkpunk", seconds, turn) for turn, seconds in enumerate((8.0, 9.0, 7.0))),
        figure("openvino", 16.0),
        figure("inkpunk bf16", 4.0, error=0.011),
        figure("openvino bf16", 5.0, error=0.02),
        Figure("load", "diffusers", 0, 4.0),
        Figure("picture, 512x512, 25 steps", "inkpunk bf16", 0, 100.0, 3 << 30, 0.25),
    ]
    summary = Summary(figures)
    lines = table(summary, "a remark").splitlines()
    step = "| guided step, 512x512 |"
    assert f"{step} inkpunk | 8.00 | 0.50x | 1.00x | 0.80x | - | 1.50 |" in lines
    assert f"{step} openvino | 16.00 | 1.00x | 2.00x | 1.60x | 1.0e-06 | 1.50 |" in lines
    assert f"{step} inkpunk bf16 | 4.00 | 0.80x | 0.50x | 0.80x | 1.1e-02 | 1.50 |" in lines
    assert "| load | diffusers | 4.00 | - | - | - | - | - |" in lines
    assert "| picture, 512x512, 25 steps | inkpunk bf16 | 100 | 3.00 | 0.25 |" in lines
    assert not summary.disagreements(), "16 bits may differ"
    pytest.importorskip("matplotlib")
    plot(summary, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize("error", [0.1, float("nan")])
def test_a_float32_result_that_differs_is_told_and_the_rest_goes_on(error: float) -> None:
    summary = Summary([figure("inkpunk", 8.0), figure("diffusers", 9.0, error=error)])
    assert [line.split(" differs")[0] for line in summary.disagreements()] == [f"{STEP.name}: diffusers"]
    assert ", disagrees |" in table(summary, "")


def test_who_failed_at_a_work_is_left_out_of_its_row_alone() -> None:
    figures = [figure(peer, 8.0, work=work.name) for peer in ("inkpunk", "diffusers") for work in TABLE[:2]]
    summary = Summary(figures, [Failure(TABLE[0].name, "diffusers", "too large")])
    told = table(summary, "")
    assert f"| {TABLE[0].name} | diffusers |" not in told
    assert f"| {TABLE[1].name} | diffusers |" in told
    assert f"{TABLE[0].name}: diffusers failed: too large" in told


def test_figures_are_in_the_file_at_once_and_an_interrupted_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "out" / "figures.jsonl"
    record = Record(path, {"model": "random"})
    record.add(figure("inkpunk", 8.0))
    record.add(figure("diffusers", 9.0))
    with path.open("a") as file:
        file.write('{"work": "guided st')
    again = Record(path, {"model": "random"})
    assert again.figures == record.figures
    again.add(figure("diffusers", 9.5, turn=1))
    assert Record(path, {"model": "random"}).missing(STEP.name, "diffusers", 3) == [2]


def test_a_failure_is_tried_again_and_ends_with_success(tmp_path: Path) -> None:
    record = Record(tmp_path / "figures.jsonl", {})
    record.add(Failure(STEP.name, "openvino", "killed"))
    assert record.missing(STEP.name, "openvino", 1) == [0]
    record.add(figure("openvino", 9.0))
    assert not record.failures
    assert not Record(tmp_path / "figures.jsonl", {}).failures


def test_what_is_asked_for_again_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    record = Record(tmp_path / "figures.jsonl", {})
    record.add(figure("inkpunk", 8.0))
    record.add(figure("diffusers", 9.0))
    record.add(figure("diffusers", 9.0, work="load"))
    record.forget([STEP.name], ["diffusers"])
    left = [(each.work, each.peer) for each in Record(tmp_path / "figures.jsonl", {}).figures]
    assert left == [(STEP.name, "inkpunk"), ("load", "diffusers")]


def test_figures_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    Record(tmp_path / "figures.jsonl", {"model": "one", "threads": 2})
    with pytest.raises(OtherSettings, match="of another model; give another --out"):
        Record(tmp_path / "figures.jsonl", {"model": "other", "threads": 2})


def test_only_turns_that_are_missing_are_taken_and_who_fails_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    class Stub:
        def __init__(self, name: str, folder: Path, work: Work) -> None:
            if name == "openvino":
                raise PeerFailed("ModuleNotFoundError: openvino")
            self.name = name

        def do(self) -> measuring.Done:
            taken.append(self.name)
            if self.name == "compiled":
                raise PeerFailed("it was killed")
            return measuring.Done(1.0, np.full(3, 2.0 if self.name == "inkpunk" else 2.5, np.float32), None)

        def stop(self) -> None: ...

    monkeypatch.setattr(measuring, "Worker", Stub)
    monkeypatch.setattr(measuring, "matmul_rate", lambda dtype: 1.0)
    record = Record(tmp_path / "figures.jsonl", {})
    record.add(figure("inkpunk", 8.0))
    bench = measuring.Bench(tmp_path, record, tmp_path / "results", turns=2)
    bench.measure(STEP, ["inkpunk", "diffusers", "compiled", "openvino"])
    assert taken == ["diffusers", "compiled", "inkpunk", "diffusers"]
    assert {(each.peer, each.why) for each in record.failures} == {
        ("compiled", "it was killed"),
        ("openvino", "ModuleNotFoundError: openvino"),
    }
    errors = {(each.peer, each.turn): each.error for each in record.figures}
    assert errors["diffusers", 1] == pytest.approx(0.25)
    bench.measure(STEP, ["inkpunk", "diffusers"])
    assert len(taken) == 4, "nothing is measured twice"


@pytest.mark.parametrize(
    ("call", "why"), [("close", "it ended with status 0"), ("nothing", "AttributeError: .*'nothing'.*")]
)
def test_a_peer_that_breaks_or_dies_is_told_in_one_line(call: str, why: str) -> None:
    with pytest.raises(PeerFailed) as told:
        ask(methodcaller(call))  # of the connection, in a process of its own
    assert re.fullmatch(why, str(told.value))


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert chosen("diffusers,inkpunk", list(PEERS), "--peers") == ["inkpunk", "diffusers"]
    with pytest.raises(Refused, match=r"--peers onnx, ours: not known; there are inkpunk, diffusers"):
        chosen("onnx,inkpunk,ours", list(PEERS), "--peers")


def test_all_that_a_model_lacks_is_said_at_once(
    tmp_path: Path, diffusers_folder: Callable[[str], Path]
) -> None:
    check_model(diffusers_folder("small"))
    with pytest.raises(Refused, match="no such folder"):
        check_model(tmp_path / "nowhere")
    model = shutil.copytree(diffusers_folder("small"), tmp_path / "model")
    (model / "unet/config.json").unlink()
    for weights in (model / "vae").glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(Refused, match=r"lacks unet/config.json, vae/\*.safetensors"):
        check_model(model)


def test_a_peer_without_its_library_is_left_out_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "openvino" else name)
    names, lines = installed(["inkpunk", "openvino", "openvino bf16"])
    assert names == ["inkpunk"]
    assert lines[0].startswith("openvino is not installed, so without openvino, openvino bf16;")
    assert lines[0].endswith("uv run --group benchmark python -m tools.benchmark")


def test_the_benchmark_of_foreign_models_tells_what_it_found() -> None:
    row = benchmark_accelerate.compare("resnet50", runs=1)
    name, *seconds, ratio, error, changed = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "resnet50"
    assert all(cell.endswith(" s") for cell in seconds)
    assert ratio.endswith("x")
    assert float(error) < 1e-4
    assert int(changed) >= 17
