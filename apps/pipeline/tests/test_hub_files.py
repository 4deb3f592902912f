import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.models.hub_files import FilesError, choose_files, choose_image_encoder_files

CONFIGS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
]
NOISE = [
    ".gitattributes",
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "images/grid.png",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "safety_checker/pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "unet/diffusion_flax_model.msgpack",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.onnx",
    "v1-5-pruned.ckpt",
    "vae/diffusion_flax_model.msgpack",
]


def weights(kind: str, variant: str = "") -> list[str]:
    encoder = "model" if kind == "safetensors" else "pytorch_model"
    return [
        f"text_encoder/{encoder}{variant}.{kind}",
        f"unet/diffusion_pytorch_model{variant}.{kind}",
        f"vae/diffusion_pytorch_model{variant}.{kind}",
    ]


SAFE, BIN = weights("safetensors"), weights("bin")
SAFE_HALF, BIN_HALF = weights("safetensors", ".fp16"), weights("bin", ".fp16")


@pytest.mark.parametrize(
    ("there", "half", "wanted"),
    [
        (SAFE + BIN + SAFE_HALF + BIN_HALF, False, SAFE),
        (SAFE + BIN + SAFE_HALF + BIN_HALF, True, SAFE_HALF),
        (BIN + BIN_HALF, False, BIN),
        (BIN + SAFE_HALF, False, BIN),
        (SAFE + BIN_HALF, True, BIN_HALF),
        (SAFE_HALF, False, SAFE_HALF),
        (BIN, True, BIN),
    ],
)
def test_one_set_of_weights_is_chosen_and_the_configs(
    there: list[str], half: bool, wanted: list[str]
) -> None:
    assert sorted(choose_files(NOISE + CONFIGS + there, half=half)) == sorted(CONFIGS + wanted)


@settings(max_examples=50, deadline=None)
@given(names=st.permutations(NOISE + CONFIGS + SAFE + BIN + SAFE_HALF))
def test_the_order_of_the_listing_does_not_matter(names: list[str]) -> None:
    assert choose_files(names) == choose_files(sorted(names))


@pytest.mark.parametrize("folder", ["", "image_encoder/", "models/image_encoder/"])
def test_an_image_encoder_is_found_where_repositories_keep_it(folder: str) -> None:
    names = [f"{folder}{name}" for name in ("config.json", "model.safetensors", "pytorch_model.bin")]
    others = ["models/ip-adapter_sd15.safetensors", "sdxl_models/image_encoder/model.safetensors"]
    assert choose_image_encoder_files([*others, *names], half=True) == names[:2]
    with pytest.raises(FilesError, match="has no image encoder"):
        choose_image_encoder_files(others)


SHARDS = [
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
]


def test_shards_are_taken_with_their_index() -> None:
    rest = [SAFE[0], SAFE[2]]
    assert sorted(choose_files(CONFIGS + rest + SHARDS)) == sorted(CONFIGS + rest + SHARDS)


@pytest.mark.parametrize("lost", SHARDS)
def test_an_incomplete_set_of_shards_is_passed_over(lost: str) -> None:
    shards = [name for name in SHARDS if name != lost]
    assert BIN[1] in choose_files([*CONFIGS, SAFE[0], SAFE[2], BIN[1], *shards])


def test_a_safetensors_file_is_preferred_to_the_same_checkpoint_as_a_pickle() -> None:
    assert choose_files(["README.md", "ink.ckpt", "ink.safetensors"]) == ["ink.safetensors"]
    assert choose_files(["README.md", "ink.ckpt"]) == ["ink.ckpt"]


def test_a_single_file_comes_with_the_config_beside_it() -> None:
    assert choose_files([*NOISE[:4], "ink.ckpt", "ink.yaml", "other.yaml"]) == ["ink.ckpt", "ink.yaml"]


def test_a_single_file_stands_in_for_an_incomplete_diffusers_layout() -> None:
    assert choose_files([*CONFIGS, "unet/diffusion_pytorch_model.bin", "ink.ckpt"]) == ["ink.ckpt"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "holds no Stable Diffusion checkpoint"),
        (["README.md", "lora/ink.safetensors"], "holds no Stable Diffusion checkpoint"),
        (["v1.ckpt", "v2.ckpt"], r"several checkpoints; add the name of one: v1\.ckpt, v2\.ckpt"),
        ([f"v{n}.ckpt" for n in range(9)], r"v7\.ckpt, \.\.\.$"),
        ([*CONFIGS, SAFE[0]], "has no weights for its unet and vae, as .safetensors or .bin"),
        ([*CONFIGS, *SAFE, "text_encoder_2/model.safetensors"], "has a text_encoder_2"),
        ([*CONFIGS, "transformer/config.json"], "has a transformer"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_to_do(names: list[str], reason: str) -> None:
    with pytest.raises(FilesError, match=reason):
        choose_files(names)


@pytest.mark.parametrize("half", [True, False])
def test_half_shards_of_older_diffusers_are_taken(half: bool) -> None:
    shards = [
        "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors.fp16.index.json",
    ]
    rest = [SAFE[0], SAFE[2]]
    assert sorted(choose_files(CONFIGS + rest + shards, half=half)) == sorted(CONFIGS + rest + shards)


HALF_SHARDS = {
    "late": "unet/diffusion_pytorch_model-0000{}-of-00002.fp16.safetensors",
    "early": "unet/diffusion_pytorch_model.fp16-0000{}-of-00002.safetensors",
}
HALF_INDEXES = {
    "late": "unet/diffusion_pytorch_model.safetensors.fp16.index.json",
    "early": "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
}


def half_shards(spelling: str) -> list[str]:
    return [HALF_SHARDS[spelling].format(number) for number in (1, 2)]


@pytest.mark.parametrize("index", HALF_INDEXES)
@pytest.mark.parametrize("spelling", HALF_SHARDS)
def test_half_shards_and_their_index_need_not_be_spelled_alike(spelling: str, index: str) -> None:
    shards = [*half_shards(spelling), HALF_INDEXES[index]]
    full = [*CONFIGS, *SAFE]  # of the other components there is nothing in half precision
    taken = choose_files([*full, *shards], half=True)
    assert sorted(taken) == sorted([*CONFIGS, SAFE[0], SAFE[2], *shards])
    assert sorted(choose_files([*full, *shards])) == sorted(full)
    for lost in shards:
        assert sorted(choose_files([*full, *(set(shards) - {lost})], half=True)) == sorted(full)


@pytest.mark.parametrize("lost", [None, *HALF_INDEXES])
def test_of_half_shards_in_both_spellings_one_set_is_taken(lost: str | None) -> None:
    names = [*CONFIGS, SAFE[0], SAFE[2], *half_shards("late"), *half_shards("early")]
    names += [name for spelling, name in HALF_INDEXES.items() if spelling != lost]
    taken = choose_files(names, half=True)
    assert len(taken) == len(CONFIGS) + 2 + 3
    assert not lost or HALF_INDEXES[lost] not in taken
