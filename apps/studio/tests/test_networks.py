"""Networks beside the model: which there are, how they are named, and what is kept of them between pictures."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inkpunk import Lora, Order, Pipeline
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.values import OrderError
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import Attachment
from inkpunk_studio.work.drawing import Easel
from inkpunk_studio.work.inspecting import inspect
from inkpunk_studio.work.models import Models
from inkpunk_studio.work.needs import Needs, needs_of
from inkpunk_studio.work.networks import NotListedError
from inkpunk_unet import ControlNet, ControlNetConfig, UNetConfig
from inkpunk_weights import CheckpointError, save_control
from PIL import Image

Make = Callable[..., Order]
PATIENCE = 30.0


@pytest.fixture
def models(settings: Settings, shelf: Path) -> Models:
    return Models(replace(settings, models=(shelf,)))


def drawing(colour: str = "white") -> Attachment:
    picture = Image.new("RGB", (64, 64))
    picture.paste(colour, (16, 16, 48, 48))
    held = BytesIO()
    picture.save(held, "PNG")
    return Attachment(held.getvalue())


def test_what_a_file_is_decides_what_it_is_listed_as(models: Models) -> None:
    assert [each.name for each in models.known()] == ["sketch"]
    listed = {each.name: (each.kind, each.family, each.hint) for each in models.networks.known()}
    assert listed == {
        "sketch-canny": ("control network", "ControlNet", "canny"),
        "outline_canny": ("control network", "ControlNet", "canny"),
        "t2i/t2iadapter_canny": ("control network", "T2I-Adapter", "canny"),
        "ip-adapter_one": ("image prompt", "IP-Adapter", None),
        "ip-adapter_two": ("image prompt", "IP-Adapter", None),
        "image_encoder": ("image encoder", "CLIP", None),
        "lcm": ("adapter", "LoRA", None),
        "lighthouse": ("adapter", "LoRA", None),
        "lighthouse-too": ("adapter", "LoRA", None),
    }


def test_no_path_is_told_of_a_network(models: Models, shelf: Path) -> None:
    assert not any(str(shelf) in str(each) for each in models.networks.known())


def test_a_damaged_file_stays_among_the_models_where_it_is_told_what_is_wrong(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"12")
    (tmp_path / "broken.pth").write_bytes(b"12")
    models = Models(replace(settings, models=(tmp_path,)))
    assert [each.name for each in models.known()] == ["sketch", "broken"]
    assert {each.name for each in models.networks.known()} == {"sketch-canny", "lcm", "lighthouse"}


def test_a_file_is_looked_into_once_until_it_changes(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "a.safetensors", list[Path]()
    shutil.copyfile(shelf / "outline_canny.safetensors", path)
    from inkpunk_studio.work import inspecting

    real = inspecting.open_checkpoint
    monkeypatch.setattr(inspecting, "open_checkpoint", lambda path: (opened.append(path), real(path))[1])
    assert [inspect(path).kind for _ in range(3)] == ["control network"] * 3
    assert opened == [path]
    shutil.copyfile(shelf / "ip-adapter_one.safetensors", path)
    os.utime(path, ns=(1, 1))
    assert inspect(path).kind == "image prompt"
    path.unlink()
    assert inspect(path).kind == "other"


@pytest.mark.parametrize(
    "told",
    [
        "t2i/t2iadapter_canny",
        "t2iadapter_canny",
        "T2IAdapter_Canny [d14c016b]",
        "t2iadapter_canny.safetensors",
    ],
)
def test_a_network_is_named_as_it_is_listed_or_as_other_programs_write_it(models: Models, told: str) -> None:
    assert models.networks.named(told, "control network") == "t2i/t2iadapter_canny"


@pytest.mark.parametrize("told", ["/etc/passwd", "../outline_canny", "ip-adapter_one", "", "canny"])
def test_any_other_name_is_refused_with_what_there_is(models: Models, told: str) -> None:
    with pytest.raises(
        NotListedError, match="is not among those listed; there is sketch-canny, outline_canny"
    ):
        models.networks.named(told, "control network")


@given(st.text(max_size=30))
def test_a_name_leads_to_what_is_listed_and_nowhere_else(told: str) -> None:
    models = Models(Settings(hub=None))
    try:
        name = models.networks.named(told, "adapter")
    except NotListedError as error:
        assert "\n" not in str(error).replace(told, "")
        return
    assert name in ("lcm", "lighthouse")


def test_two_files_of_one_name_are_told_apart_by_their_folders(
    settings: Settings, shelf: Path, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copyfile(shelf / "outline_canny.safetensors", tmp_path / folder / "canny.safetensors")
    networks = Models(replace(settings, models=(tmp_path,))).networks
    assert networks.named("two/canny", "control network") == "two/canny"
    with pytest.raises(OrderError, match="say which, as one/canny, two/canny"):
        networks.named("canny", "control network")


def test_networks_of_the_hubs_cache_are_listed_by_their_ids(
    settings: Settings, shelf: Path, tmp_path: Path
) -> None:
    for repo, name in (
        ("models--owner--control_lines", "diffusion_pytorch_model.safetensors"),
        ("models--h94--IP-Adapter", "models/ip-adapter_one.safetensors"),
        ("models--owner--voice", "model.safetensors"),
    ):
        path = tmp_path / repo / "snapshots" / "1" / name
        path.parent.mkdir(parents=True)
        shutil.copyfile(
            shelf / ("ip-adapter_one" if "ip-" in name else "outline_canny").__add__(".safetensors"), path
        )
    (tmp_path / "models--owner--control_lines" / "snapshots" / "1" / "config.json").write_text("{}")
    listed = [each.name for each in Models(replace(settings, hub=tmp_path)).networks.known()]
    assert {"owner/control_lines", "h94/IP-Adapter/models/ip-adapter_one"} < {*listed}
    assert not any("voice" in each for each in listed)


# -- What a picture needs


def test_a_picture_needs_what_it_names_and_of_all_else_the_usual(
    models: Models, shelf: Path, order: Make
) -> None:
    name = drawing().name
    followed = order(control=[f"canny:{name}"])
    assert needs_of(order(), models) == Needs()
    assert needs_of(followed, models) == Needs((("canny", None),))
    named = needs_of(followed.changed({"control-net": ["canny=outline_canny"]}), models)
    assert named == Needs((("canny", str(shelf / "outline_canny.safetensors")),))
    seen = needs_of(order(**{"image-prompt": [name], "ip-adapter": "ip-adapter_two"}), models)
    assert seen == Needs((), str(shelf / "ip-adapter_two.safetensors"), None)


def test_without_a_name_the_one_whose_name_says_the_kind_and_that_fits_is_usual(
    settings: Settings, shelf: Path, tmp_path: Path, order: Make
) -> None:
    for name in ("t2iadapter_softedge", "control_softedge_v1", "control_canny"):
        source = shelf / ("t2i/t2iadapter_canny" if name.startswith("t2i") else "outline_canny").__add__(
            ".safetensors"
        )
        shutil.copyfile(source, tmp_path / f"{name}.safetensors")
    models = Models(replace(settings, models=(tmp_path,)))
    needs = needs_of(order(control=[f"softedge:{drawing().name}", f"canny:{drawing().name}"]), models)
    assert needs.controls == (
        ("softedge", str(tmp_path / "control_softedge_v1.safetensors")),
        ("canny", None),
    )


def test_a_network_that_the_studio_was_started_with_comes_first(
    settings: Settings, shelf: Path, order: Make
) -> None:
    path = str(shelf / "outline_canny.safetensors")
    models = Models(replace(settings, choice=ModelChoice(control_nets=(f"canny={path}",))))
    assert needs_of(order(control=[f"canny:{drawing().name}"]), models).controls == (("canny", path),)
    assert "outline_canny" in [each.name for each in models.networks.known("control network")]


def test_which_image_prompt_is_asked_for_where_there_are_several(models: Models, order: Make) -> None:
    with pytest.raises(OrderError, match="say by which ip-adapter; there is ip-adapter_one, ip-adapter_two"):
        needs_of(order(**{"image-prompt": [drawing().name]}), models)


def test_without_any_image_prompt_it_is_told_how_to_have_one(settings: Settings, order: Make) -> None:
    with pytest.raises(OrderError, match="put an IP-Adapter into a folder of models"):
        needs_of(order(**{"image-prompt": [drawing().name]}), Models(settings))


kinds = st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, "x", "y"])).map(
    lambda told: tuple(told.items())
)


@given(kinds, kinds)
def test_what_is_at_hand_is_enough_if_every_kind_is_read_by_the_same(wanted: Any, held: Any) -> None:
    there = {kind: file for kind, file in held if file}
    assert Needs(wanted).within(Needs(held)) == all(there.get(kind) == file for kind, file in wanted)
    assert Needs(wanted).within(Needs(wanted))


# -- What is kept


@pytest.fixture
def easel(sketch: Pipeline) -> Easel:
    loaded = list[ModelChoice]()

    def load(choice: ModelChoice) -> Pipeline:
        assert not loaded, "the model is loaded twice"
        loaded.append(choice)
        return sketch

    return Easel(load)


def test_other_networks_load_no_model_and_the_same_or_fewer_are_kept(easel: Easel, shelf: Path) -> None:
    choice, outline = ModelChoice(), str(shelf / "outline_canny.safetensors")
    plain = easel.pipeline(choice)
    both = easel.pipeline(choice, (), Needs((("canny", outline), ("lines", outline))))
    assert both.unet is plain.unet
    assert both.control_nets is not None
    net = both.control_nets.of("canny")
    assert easel.pipeline(choice, (), Needs((("canny", outline),))) is both
    assert easel.pipeline(choice) is both
    usual = easel.pipeline(choice, (), Needs((("canny", None),)))
    assert usual.control_nets is not None
    assert usual.control_nets.of("canny") is not net
    assert usual.unet is plain.unet


def test_adapters_stay_when_networks_change_and_networks_when_adapters_do(easel: Easel, shelf: Path) -> None:
    choice, needs = ModelChoice(), Needs((("canny", str(shelf / "outline_canny.safetensors")),))
    bent = easel.pipeline(choice, (Lora("lighthouse"),))
    both = easel.pipeline(choice, (Lora("lighthouse"),), needs)
    assert (both.unet, [each.name for each in both.loras]) == (bent.unet, ["lighthouse"])
    assert both.control_nets is not None
    net = both.control_nets.of("canny")
    alone = easel.pipeline(choice, (), needs)
    assert alone.loras == ()
    assert alone.control_nets is not None and alone.control_nets.of("canny") is net


def test_jobs_draw_with_the_networks_that_they_name(open_desk: Any, shelf: Path, order: Make) -> None:
    desk, picture = open_desk(models=(shelf,)), drawing()
    orders = [
        order(),
        order(control=[f"canny:{picture.name}"]),
        order(control=[f"canny:{picture.name}"], **{"control-net": "canny=t2iadapter_canny"}),
        order(**{"image-prompt": [picture.name], "ip-adapter": "ip-adapter_one"}),
        order(**{"image-prompt": [picture.name], "ip-adapter": "ip-adapter_two"}),
        order(lora="lighthouse-too:0.5"),
        order(control=[f"canny:{picture.name}"]),
    ]
    job = desk.wait(desk.submit(orders, client="test", attachments=[picture]).id, PATIENCE)
    assert (job.state, job.error) == ("done", None)
    assert job.orders[2].values["control-net"] == ("canny=t2i/t2iadapter_canny",)
    drawn = [each.path.read_bytes() for each in job.drawn]
    pictures = [Image.open(BytesIO(each)).tobytes() for each in drawn]
    assert len({*pictures}) == len(orders) - 1
    assert pictures[6] == pictures[1]
    assert "t2iadapter_canny" in job.drawn[2].infotext
    assert not any(str(shelf).encode() in each for each in drawn)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"control-net": "canny=/etc/passwd"},
            "control-net '/etc/passwd': is not among those listed; there is sketch",
        ),
        ({"control-net": "outline_canny"}, "is not KIND=FILE"),
        ({"ip-adapter": "nobody"}, "ip-adapter 'nobody': is not among those listed; there is none"),
        ({"image-encoder": "../eye"}, "image-encoder '../eye': is not among those listed"),
        ({"lora": "nobody:0.5"}, "lora 'nobody': is not among those listed; there is lcm, lighthouse"),
        (
            {"control": f"softedge:{drawing().name}"},
            "control softedge: no network here reads it for this model",
        ),
    ],
)
def test_a_network_that_is_not_there_is_refused_in_one_line(
    open_desk: Any, order: Make, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(OrderError) as refused:
        open_desk().submit([order(**values)], client="test", attachments=[drawing()])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_network_for_another_model_is_told_without_its_folder(
    open_desk: Any, tmp_path: Path, order: Make
) -> None:
    unet = UNetConfig(widths=(8, 8), attention=(True, True), heads=1, context_width=8, groups=8)
    small = ControlNet(ControlNetConfig(unet, hint_widths=(4, 8, 8, 8)))
    (tmp_path / "models").mkdir()
    save_control(tmp_path / "models" / "small_canny.safetensors", small.state_dict(), dtype=torch.float32)
    desk, picture = open_desk(models=(tmp_path / "models",)), drawing()
    asked = order(control=[f"canny:{picture.name}"], **{"control-net": "canny=small_canny"})
    job = desk.wait(desk.submit([asked], client="test", attachments=[picture]).id, PATIENCE)
    assert job.state == "failed"
    assert job.error is not None and "small_canny" in job.error
    assert str(tmp_path) not in job.error


def test_adapters_are_there_again_after_others_could_not_be_read(sketch: Pipeline, tmp_path: Path) -> None:
    easel, choice, lighthouse = Easel(lambda _: sketch), ModelChoice(), (Lora("lighthouse"),)
    assert easel.pipeline(choice, lighthouse).loras
    with pytest.raises(CheckpointError):
        easel.pipeline(choice, (Lora(tmp_path / "gone.safetensors"),))
    assert easel.pipeline(choice, lighthouse).loras
