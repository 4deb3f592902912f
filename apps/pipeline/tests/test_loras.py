"""Adapters on a model: on, off and exchanged, in all its modes; whoever asks for them, and however wrongly."""

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from inkpunk import Lora, Pipeline, Request, RequestError
from inkpunk.cli import main
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.models.loading import DEFAULTS_KEY, Defaults, read_defaults
from inkpunk.models.lora_notes import describe_adapter
from inkpunk.road.lora_tags import split_tags
from inkpunk_weights import (
    CheckpointError,
    LowRank,
    open_adapter,
    open_checkpoint,
    save_checkpoint,
    save_lora,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

NAMES = ("ink", "neon", "paper")
REQUEST = Request("a raven", seeds=(3,))


def layers(network: nn.Module, seed: int, share: int) -> dict[str, LowRank]:
    """Strong changes of every so many of a network's linear layers and convolutions."""
    generator = torch.Generator().manual_seed(seed)
    modules = [
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return {
        name: LowRank(
            torch.randn(4, *layer.weight.shape[1:], generator=generator) * 0.2,
            torch.randn(layer.weight.shape[0], 4, *[1] * (layer.weight.ndim - 2), generator=generator) * 0.2,
            alpha=2.0,
        )
        for name, layer in modules[seed::share]
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pipeline: Pipeline) -> Path:
    """Three adapters of different layers that overlap; the last is of the UNet alone."""
    home = tmp_path_factory.mktemp("loras")
    with pipeline.unet.awake() as unet, pipeline.text_encoder.awake() as text_encoder:
        for seed, name in enumerate(NAMES):
            texts = {} if name == "paper" else layers(text_encoder, seed, 2)
            save_lora(home / f"{name}.safetensors", unet=layers(unet, seed, 3 - seed), text_encoder=texts)
    return home


@pytest.fixture(scope="module")
def with_folder(tiny: Path, folder: Path) -> Pipeline:
    return Pipeline.load(tiny, device="cpu", lora_folder=folder)


def tensors(pipeline: Pipeline) -> Mapping[str, Tensor]:
    networks = {"text_encoder": pipeline.text_encoder, "unet": pipeline.unet}
    return {f"{part}/{name}": t for part, each in networks.items() for name, t in each.tensors.items()}


def drawn(pipeline: Pipeline, request: Request = REQUEST) -> list[bytes]:
    return [picture.image.tobytes() for picture in pipeline.generate(request)]


sets = st.lists(
    st.builds(Lora, st.sampled_from(NAMES), st.sampled_from([0.0, 0.5, -1.0]), st.sampled_from([None, 0.25])),
    max_size=3,
)


@pytest.mark.thorough
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([[Lora("ink", 0.5), Lora("ink", 0.5), Lora("ink", -1.0)]])  # which cancel out
@given(st.lists(sets, min_size=1, max_size=4))
def test_any_sequence_of_adapters_is_its_last_set_and_none_is_the_model_as_loaded(
    with_folder: Pipeline, sequence: list[list[Lora]]
) -> None:
    loaded = tensors(with_folder)
    walked = with_folder
    for loras in sequence:
        walked = walked.with_adapters(*loras)
    at_once = tensors(with_folder.with_adapters(*sequence[-1]))
    for name, tensor in tensors(walked).items():
        assert torch.equal(tensor, at_once[name]), name
    for name, tensor in tensors(walked.with_adapters()).items():
        assert torch.equal(tensor, loaded[name]), name
    reordered = tensors(with_folder.with_adapters(*sequence[-1][::-1]))
    alone = [tensors(with_folder.with_adapters(lora)) for lora in sequence[-1]]
    for name, tensor in at_once.items():
        # sums in another order: rounding of float32, relative to the largest that they come to; they may cancel out
        largest = loaded[name].abs().max() + sum((each[name] - loaded[name]).abs().max() for each in alone)
        torch.testing.assert_close(tensor, reordered[name], rtol=0, atol=1e-6 * float(largest))


def test_weights_that_no_adapter_changes_are_shared_and_those_that_come_back_are_the_files_own(
    with_folder: Pipeline, folder: Path
) -> None:
    bent = with_folder.with_adapters("paper")
    changed = open_adapter(folder / "paper.safetensors").unet
    before, after = with_folder.unet.tensors, bent.unet.tensors
    assert {name for name in before if before[name].data_ptr() != after[name].data_ptr()} == {*changed}
    back = bent.with_adapters().unet.tensors
    mapped = {name for name in changed if before[name].is_contiguous()}  # others are laid out anew for speed
    assert mapped
    assert all(back[name].data_ptr() == before[name].data_ptr() for name in mapped)


def test_a_merged_weight_is_the_one_of_the_paper(with_folder: Pipeline, folder: Path) -> None:
    file = load_file(folder / "ink.safetensors")
    name = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    if f"{name}.alpha" not in file:
        name = next(key for key in file if key.startswith("lora_te")).partition(".")[0]
    [ours] = [
        key
        for key, change in open_adapter(folder / "ink.safetensors").text_encoder.items()
        if change.layer == name
    ]
    up, down = (file[f"{name}.lora_{part}.weight"].double() for part in ("up", "down"))
    weight = with_folder.text_encoder.tensors[ours]
    expected = weight.double() + 0.8 * file[f"{name}.alpha"].double() / 4 * up @ down
    merged = with_folder.with_adapters(Lora("ink", 0.8)).text_encoder.tensors[ours]
    # float32's products of four terms and one sum
    torch.testing.assert_close(merged.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "mode",
    [{}, {"offload": True}, {"low_memory": True}, {"dtype": "bfloat16"}],
    ids=lambda mode: str([*mode]),
)
def test_loaded_with_adapters_exchanged_for_them_and_asked_for_in_the_prompt_are_the_same(
    tiny: Path, folder: Path, mode: dict[str, bool]
) -> None:
    plain = Pipeline.load(tiny, device="cpu", lora_folder=folder, **mode)
    loaded = Pipeline.load(tiny, device="cpu", lora_folder=folder, loras=["ink:0.8:0.5"], **mode)
    alone, bent = drawn(plain), drawn(loaded)
    assert alone != bent
    assert drawn(plain.with_adapters(Lora("ink", 0.8, 0.5))) == bent
    assert drawn(plain, replace(REQUEST, prompt="a raven<lora:ink:0.5:0.8>")) == bent
    assert drawn(loaded.with_adapters()) == alone
    assert drawn(plain) == alone


def test_pictures_of_one_batch_may_have_adapters_of_their_own(with_folder: Pipeline) -> None:
    request = Request("a {raven<lora:ink:0.8>|raven<lora:neon>|raven}", seeds=tuple(range(6)))
    together = with_folder.generate(request)
    assert {frozenset(picture.facts.lora_hashes) for picture in together} >= {frozenset({"ink"}), frozenset()}
    for picture, seed in zip(together, request.seeds, strict=True):
        [alone] = drawn(with_folder, replace(request, seeds=(seed,)))
        assert picture.image.tobytes() == alone


def test_threads_with_different_adapters_share_a_model(with_folder: Pipeline) -> None:
    pipelines = [with_folder, *(with_folder.with_adapters(name) for name in NAMES)]
    alone = [drawn(each) for each in pipelines]
    found: dict[int, list[bytes]] = {}
    threads = [
        threading.Thread(target=lambda index=index: found.update({index: drawn(pipelines[index])}))
        for index in range(len(pipelines))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(pipelines))] == alone


@pytest.mark.parametrize(
    ("prompt", "text", "loras"),
    [
        ("a raven", "a raven", []),
        ("a <lora:ink> raven", "a  raven", [Lora("ink")]),
        ("<lora:ink:0.8>", "", [Lora("ink", 0.8, 0.8)]),
        ("<lora:ink:0.5:0.8>", "", [Lora("ink", 0.8, 0.5)]),  # AUTOMATIC1111's order
        ("<lora: ink : te=0.5 : unet=0.8 >", "", [Lora("ink", 0.8, 0.5)]),
        ("<lora:ink:unet=0.8>", "", [Lora("ink", 0.8)]),
        ("<lyco:a/b:-1><lora:ink>", "", [Lora("a/b", -1.0, -1.0), Lora("ink")]),
        ("(<lora:ink:.5>raven:1.2)", "(raven:1.2)", [Lora("ink", 0.5, 0.5)]),
        ("<notlora:ink>", "<notlora:ink>", []),
    ],
)
def test_tags_are_read_as_automatic1111_reads_them(prompt: str, text: str, loras: list[Lora]) -> None:
    assert split_tags(prompt) == (text, tuple(loras))


@pytest.mark.parametrize(
    "tag", ["<lora:>", "<lora:a:b>", "<lora:a:1:2:3>", "<lora:a:x=1>", "<lora:a:nan>", "<lora:a:1e9>"]
)
def test_tags_that_cannot_be_read_are_refused(tag: str) -> None:
    with pytest.raises(RequestError, match=r"prompt: <lora:.* is no LoRA; write <lora:name:0.8>"):
        Request(f"a raven {tag}")


def test_a_lora_in_the_negative_prompt_is_refused_and_in_a_plain_one_is_text() -> None:
    with pytest.raises(RequestError, match="negative prompt: asks for a LoRA"):
        Request("a raven", "<lora:ink:1>")
    assert Request("<lora:ink:x>", plain_prompt=True).asked_of(0) == (("<lora:ink:x>", ""), ())


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("ink.safetensors", Lora("ink.safetensors")),
        ("ink.safetensors:0.8", Lora("ink.safetensors", 0.8)),
        ("a/ink:0.8:0.5", Lora("a/ink", 0.8, 0.5)),
        (r"C:\a\ink.pt:-.5", Lora(r"C:\a\ink.pt", -0.5)),
        ("ink:1e-1", Lora("ink", 0.1)),
    ],
)
def test_an_adapter_is_asked_for_by_file_and_weights(text: str, lora: Lora) -> None:
    assert Lora.read(text) == lora


def test_what_is_no_adapter_for_this_model_is_refused(
    tmp_path: Path, with_folder: Pipeline, folder: Path, tiny: Path
) -> None:
    def refused(lora: str | Path | Lora, told: str) -> None:
        with pytest.raises(CheckpointError, match=told):
            with_folder.with_adapters(lora)

    refused("nothing", "LoRA 'nothing': neither a file nor in .*; there is ink, lcm, lighthouse, neon, paper")
    refused(tiny, "not an adapter but a checkpoint")
    refused(tmp_path, "a folder of no adapter")
    large = {"down.0.resnets.0.conv1": LowRank(torch.ones(2, 320, 3, 3), torch.ones(320, 2, 1, 1), 2.0)}
    save_lora(tmp_path / "large.safetensors", unet=large)
    refused(
        tmp_path / "large.safetensors",
        r"does not fit this model's down.0.resnets.0.conv1.weight of \[32, 32, 3, 3\]",
    )
    deep = {"down.3.resnets.0.conv1": LowRank(torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1), 2.0)}
    save_lora(tmp_path / "deep.safetensors", unet=deep)
    refused(tmp_path / "deep.safetensors", "none of its 1 layers is in this model")
    for place in ("one", "sub"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "twice.safetensors").write_bytes((folder / "ink.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="several of this name; say which, as one/twice and sub/twice"):
        replace(with_folder, lora_folder=tmp_path).with_adapters("twice")
    assert replace(with_folder, lora_folder=tmp_path).with_adapters("sub/twice").loras
    with pytest.raises(CheckpointError, match="cannot be"):
        Lora("ink", float("nan"))


def test_a_recipe_has_each_of_several_adapters_that_are_called_alike(with_folder: Pipeline) -> None:
    bent = with_folder.with_adapters("ink:0.5", "ink:0.25:1")
    [picture] = bent.generate(replace(REQUEST, prompt="a raven<lora:ink>"))
    assert picture.facts.loras == {"ink": "0.5", "ink 2": "0.25:1"}
    assert [*picture.facts.lora_hashes] == ["ink", "ink 2", "ink 3"]


def test_layers_without_a_place_are_told(tmp_path: Path, with_folder: Pipeline) -> None:
    fits = {"down.0.resnets.0.conv1": LowRank(torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1), 2.0)}
    deep = {"down.3.resnets.0.conv1": LowRank(torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1), 2.0)}
    save_lora(tmp_path / "some.safetensors", unet=fits | deep)
    extended = load_file(tmp_path / "some.safetensors") | {"lora_unet_elsewhere.alpha": torch.ones(())}
    save_file(extended, tmp_path / "some.safetensors")
    [fit, *_] = with_folder.with_adapters(tmp_path / "some.safetensors").lora_notes
    assert "1 of its 2 layers fit; without a place: 'lora_unet_down_blocks_3_resnets_0_conv1'" in fit


def test_an_adapter_may_say_how_its_model_is_asked(
    tmp_path: Path, with_folder: Pipeline, folder: Path
) -> None:
    path = tmp_path / "fast.safetensors"
    told = {"inkpunk.defaults": json.dumps({"steps": 2, "guidance": 1, "sampler": "lcm"})}
    save_file(load_file(folder / "ink.safetensors"), path, metadata=told)
    fast = with_folder.with_adapters(path)
    plan = fast.plan(REQUEST)
    assert (plan.steps, plan.guidance, plan.sampler) == (2, 1.0, "lcm")
    assert fast.plan(replace(REQUEST, sampler="euler", steps=5)).sampler == "euler"
    assert fast.with_adapters().plan(REQUEST).steps == with_folder.plan(REQUEST).steps == 3
    in_prompt = replace(with_folder, lora_folder=tmp_path).plan(replace(REQUEST, prompt="a <lora:fast>"))
    assert in_prompt.steps == 2
    save_file(load_file(path), path, metadata={"inkpunk.defaults": json.dumps({"sampler": ["lcm"]})})
    with pytest.raises(CheckpointError, match="'sampler' cannot be"):
        with_folder.with_adapters(path)


def test_converting_bakes_adapters_in(
    tmp_path: Path, tiny: Path, folder: Path, with_folder: Pipeline
) -> None:
    out = tmp_path / "baked.safetensors"
    convert_checkpoint(tiny, out, loras=["ink:0.8:0.5", "paper"], lora_folder=folder)
    bent = with_folder.with_adapters("ink:0.8:0.5", "paper")
    baked = open_checkpoint(out)
    for name, tensor in bent.unet.tensors.items():
        assert torch.equal(baked.unet[name], tensor), name
    for name, tensor in bent.text_encoder.tensors.items():
        assert torch.equal(baked.text_encoder[name], tensor), name
    # the same bits, but at other places in memory, which some products' rounding depends on
    of_file, of_bent = (
        np.frombuffer(*drawn(each), np.uint8) for each in (Pipeline.load(out, device="cpu"), bent)
    )
    assert np.abs(of_file.astype(int) - of_bent).max() <= 1


@pytest.mark.parametrize("layout", ["safetensors", "ckpt", "diffusers"])
def test_converting_bakes_in_how_a_model_is_to_be_asked_with_an_adapter(
    tmp_path: Path, tiny: Path, folder: Path, layout: str
) -> None:
    path = tmp_path / "fast.safetensors"
    told = {"steps": Defaults.steps, "guidance": 1, "sampler": "lcm"}  # usual steps, unlike the model's own
    save_file(load_file(folder / "paper.safetensors"), path, metadata={DEFAULTS_KEY: json.dumps(told)})
    own = read_defaults(open_checkpoint(tiny))
    convert_checkpoint(tiny, tmp_path / "baked", layout=layout, loras=[path])
    baked = open_checkpoint(tmp_path / "baked")
    assert read_defaults(baked) == replace(own, steps=Defaults.steps, guidance=1.0, sampler="lcm")
    convert_checkpoint(
        tmp_path / "baked", tmp_path / "again.safetensors", loras=["paper"], lora_folder=folder
    )
    assert read_defaults(open_checkpoint(tmp_path / "again.safetensors")).sampler == "lcm"


def test_a_part_of_a_checkpoint_takes_what_of_an_adapter_is_its_own(
    tmp_path: Path, tiny: Path, folder: Path, with_folder: Pipeline
) -> None:
    save_checkpoint(tmp_path / "unet.safetensors", unet=open_checkpoint(tiny).unet)
    # a part has no metadata, and so SD v1.5's heads and groups, which these widths divide by
    notes = convert_checkpoint(
        tmp_path / "unet.safetensors", tmp_path / "baked.safetensors", loras=["ink"], lora_folder=folder
    )
    assert any("without a place" in note for note in notes)
    bent = with_folder.with_adapters("ink").unet.tensors
    baked = open_checkpoint(tmp_path / "baked.safetensors").unet
    assert all(torch.equal(baked[name], bent[name]) for name in bent)


def test_the_command_line_draws_with_adapters_and_tells_them(
    tiny: Path, folder: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(main, [*arguments]).output

    common = ("--model", str(tiny), "--device", "cpu", "--seed", "3")
    out = tmp_path / "a.png"
    run("generate", "a raven", *common, "--lora", f"{folder}/ink.safetensors:0.8", "--out", str(out))
    assert '"ink: ' in (recipe := run("inspect", str(out)))
    assert 'Loras: "ink: 0.8"' in recipe
    assert "give it as --lora" in run(
        "generate", "a", "--model", f"{folder}/ink.safetensors", "--out", f"{tmp_path}/b.png"
    )
    assert "give it as --model" in run(
        "generate", "a", *common, "--lora", str(tiny), "--out", str(tmp_path / "b.png")
    )
    assert "LoRA ink: UNet 0.8, text encoder 0.5" in run("prompt", "a <lora:ink:0.5:0.8>")
    shown = run("inspect", f"{folder}/ink.safetensors")
    assert "LoCon, in kohya's layout" in shown
    assert "rank          4" in shown


def test_what_an_adapter_says_of_its_training_is_told(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "told.safetensors"
    tags = {"10_raven": {"nvinkpunk": 12, "raven\n": 3}, "odd": 5}
    notes = {
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": json.dumps(tags),
        "ss_sd_model_name": "v1-5.safetensors",
        "ss_steps": "1500",
        "modelspec.title": "told",
    }
    save_file(load_file(folder / "ink.safetensors"), path, metadata=notes)
    told = describe_adapter(path)
    assert told["base model"] == "Stable Diffusion v1"
    assert told["trigger words"] == "nvinkpunk (12), raven (3) in its captions"
    assert (told["trained on"], told["steps"], told["title"]) == ("v1-5.safetensors", "1500", "told")
    save_file(
        load_file(path), path, metadata={"ss_tag_frequency": "[" * 100_000, "modelspec.title": "\x1b[31m"}
    )
    told = describe_adapter(path)
    assert told["trigger words"] is None
    assert "\x1b" not in str(told["title"])
