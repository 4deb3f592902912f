"""Names map both ways by the same rules, for SD v1.5 and for every other number of levels and layers."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights.anatomy import Anatomy, TextEncoderAnatomy, UNetAnatomy, VAEAnatomy
from inkpunk_weights.names import DIFFUSERS, LDM, OUR_BLOCKS, Dialect, Names

COMPONENTS = {TextEncoderAnatomy: "text_encoder", UNetAnatomy: "unet", VAEAnatomy: "vae"}
DIALECTS = {(style, dialect.component): dialect for style in (LDM, DIFFUSERS) for dialect in style}

# Strategies give anatomies yet to be made: the type checker draws random numbers, which hypothesis forbids.
layers = st.integers(1, 12)
anatomies = st.one_of(
    st.builds(partial, st.just(TextEncoderAnatomy), layers=st.integers(1, 30)),
    st.lists(st.booleans(), min_size=1, max_size=5).flatmap(
        lambda attention: st.builds(
            partial,
            st.just(UNetAnatomy),
            widths=st.just((8, 16, 24, 32, 40)[: len(attention)]),
            layers=layers,
            attention=st.just(tuple(attention)),
        )
    ),
    st.builds(
        partial,
        st.just(VAEAnatomy),
        widths=st.lists(st.sampled_from([8, 16]), min_size=1, max_size=5).map(tuple),
        layers=layers,
    ),
)


def assert_maps_both_ways(anatomy: Anatomy, dialect: Dialect) -> None:
    ours = [name for name, _ in anatomy.tensors()]
    blocks = OUR_BLOCKS[dialect.component](ours)
    names = Names(dialect, blocks)
    theirs = [name for name in map(names.theirs, ours) if name is not None]
    assert len(theirs) == len(set(theirs)) == len(ours)
    assert [names.ours(name) for name in theirs] == ours
    assert dialect.blocks(theirs) == blocks  # the file's names alone say how many blocks there are


@settings(deadline=None, max_examples=30)
@given(anatomies, st.sampled_from([LDM, DIFFUSERS]))
def test_every_name_translates_there_and_back(
    make: Callable[[], Anatomy], style: tuple[Dialect, ...]
) -> None:
    anatomy = make()
    for dialect in style:
        if dialect.component == COMPONENTS[type(anatomy)]:
            assert_maps_both_ways(anatomy, dialect)


@pytest.mark.parametrize(
    "anatomy", [TextEncoderAnatomy(), UNetAnatomy(), VAEAnatomy()], ids=COMPONENTS.values()
)
@pytest.mark.parametrize("style", [LDM, DIFFUSERS], ids=["LDM", "diffusers"])
def test_every_name_of_sd_v1_translates_there_and_back(anatomy: Anatomy, style: tuple[Dialect, ...]) -> None:
    for dialect in style:
        if dialect.component == COMPONENTS[type(anatomy)]:
            assert_maps_both_ways(anatomy, dialect)


@pytest.mark.parametrize(
    ("component", "ours", "ldm", "diffusers"),
    [
        ("unet", "conv_in.weight", "input_blocks.0.0.weight", "conv_in.weight"),
        ("unet", "time_embedding.linear2.bias", "time_embed.2.bias", "time_embedding.linear_2.bias"),
        (
            "unet",
            "down.0.resnets.1.time.weight",
            "input_blocks.2.0.emb_layers.1.weight",
            "down_blocks.0.resnets.1.time_emb_proj.weight",
        ),
        (
            "unet",
            "down.1.attentions.0.block.cross_attention.key.weight",
            "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        ),
        (
            "unet",
            "down.1.resnets.0.shortcut.bias",
            "input_blocks.4.0.skip_connection.bias",
            "down_blocks.1.resnets.0.conv_shortcut.bias",
        ),
        (
            "unet",
            "down.2.downsample.conv.bias",
            "input_blocks.9.0.op.bias",
            "down_blocks.2.downsamplers.0.conv.bias",
        ),
        (
            "unet",
            "down.3.resnets.1.norm2.bias",
            "input_blocks.11.0.out_layers.0.bias",
            "down_blocks.3.resnets.1.norm2.bias",
        ),
        (
            "unet",
            "middle.resnets.1.conv1.bias",
            "middle_block.2.in_layers.2.bias",
            "mid_block.resnets.1.conv1.bias",
        ),
        (
            "unet",
            "middle.attention.proj_in.bias",
            "middle_block.1.proj_in.bias",
            "mid_block.attentions.0.proj_in.bias",
        ),
        (
            "unet",
            "up.0.upsample.conv.bias",
            "output_blocks.2.1.conv.bias",
            "up_blocks.0.upsamplers.0.conv.bias",
        ),
        (
            "unet",
            "up.1.upsample.conv.bias",
            "output_blocks.5.2.conv.bias",
            "up_blocks.1.upsamplers.0.conv.bias",
        ),
        (
            "unet",
            "up.3.attentions.2.block.feed_forward.fc1.bias",
            "output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.bias",
            "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj.bias",
        ),
        ("unet", "norm_out.weight", "out.0.weight", "conv_norm_out.weight"),
        ("unet", "conv_out.weight", "out.2.weight", "conv_out.weight"),
        (
            "vae",
            "encoder.down.1.resnets.0.shortcut.weight",
            "encoder.down.1.block.0.nin_shortcut.weight",
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        ),
        (
            "vae",
            "decoder.up.0.resnets.2.conv1.weight",
            "decoder.up.3.block.2.conv1.weight",
            "decoder.up_blocks.0.resnets.2.conv1.weight",
        ),
        (
            "vae",
            "decoder.up.2.upsample.conv.weight",
            "decoder.up.1.upsample.conv.weight",
            "decoder.up_blocks.2.upsamplers.0.conv.weight",
        ),
        (
            "vae",
            "encoder.middle.attention.out.weight",
            "encoder.mid.attn_1.proj_out.weight",
            "encoder.mid_block.attentions.0.to_out.0.weight",
        ),
        (
            "vae",
            "decoder.middle.resnets.1.norm1.weight",
            "decoder.mid.block_2.norm1.weight",
            "decoder.mid_block.resnets.1.norm1.weight",
        ),
        ("vae", "post_quant_conv.bias", "post_quant_conv.bias", "post_quant_conv.bias"),
        (
            "text_encoder",
            "layers.11.attention.out.bias",
            "encoder.layers.11.self_attn.out_proj.bias",
            "encoder.layers.11.self_attn.out_proj.bias",
        ),
        (
            "text_encoder",
            "position_embedding.weight",
            "embeddings.position_embedding.weight",
            "embeddings.position_embedding.weight",
        ),
    ],
)
def test_names_are_those_of_the_published_checkpoints(
    component: str, ours: str, ldm: str, diffusers: str
) -> None:
    anatomy = {"text_encoder": TextEncoderAnatomy(), "unet": UNetAnatomy(), "vae": VAEAnatomy()}[component]
    blocks = OUR_BLOCKS[component]([name for name, _ in anatomy.tensors()])
    assert Names(DIALECTS[LDM, component], blocks).theirs(ours) == ldm
    assert Names(DIALECTS[DIFFUSERS, component], blocks).theirs(ours) == diffusers


def test_names_of_no_layer_translate_to_none() -> None:
    names = Names(DIALECTS[LDM, "unet"], OUR_BLOCKS["unet"]([name for name, _ in UNetAnatomy().tensors()]))
    assert names.ours("input_blocks.12.0.in_layers.0.weight") is None
    assert names.ours("nothing") is None
    assert names.theirs("down.4.resnets.0.norm1.weight") is None


def test_absurd_numbers_in_names_cost_nothing() -> None:
    for dialect in (*LDM, *DIFFUSERS):
        for digits in ("9" * 5000, "63", "\N{ARABIC-INDIC DIGIT THREE}"):
            landmark = dialect.landmark + digits
            names = Names(
                dialect, dialect.blocks([f"{landmark}.resnets.{digits}.x", f"{landmark}.0.op.{digits}"])
            )
            assert names.ours(f"{landmark}.resnets.{digits}.x") is None
