"""A checkpoint, opened: its components as named tensors that are read when they are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from inkpunk_weights.components import COMPONENTS, Component, Found, find_components
from inkpunk_weights.errors import CheckpointError, shown_path
from inkpunk_weights.folders import open_folder
from inkpunk_weights.hub_cache import snapshot_of
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.report import Report, report_component
from inkpunk_weights.tensor_files import open_tensor_file

FOLDER = "diffusers folder"


@dataclass(frozen=True)
class Checkpoint:
    """A Stable Diffusion v1 checkpoint, or some component of one.

    Args:
        path: the file or folder it was opened from.
        layout: "single-file safetensors", "single-file ckpt (zip)", "single-file ckpt (legacy)" or "diffusers
            folder".
        components: those that it has, in the order text encoder, UNet, VAE.
        configs: a folder's parsed config.json files under "text_encoder", "unet", "vae" and "scheduler";
            empty for single files, which have none.
        metadata: safetensors' `__metadata__`, or the plain numbers and strings beside the tensors of a
            pickle.
        imports: what a pickle would have imported. Nothing is ever imported.
        buffers: of a single file, what training left in it of its noise and of its latents' scaling: `betas`,
            `alphas_cumprod`, `sqrt_alphas_cumprod` and `scale_factor`, as far as they are there.
        leftovers: names of tensors that training left in the file; ignored.
        unknown: names of tensors that belong to no component; ignored.
    """

    path: Path
    layout: str
    components: Mapping[str, Component]
    configs: Mapping[str, Mapping[str, object]]
    metadata: Mapping[str, object]
    imports: tuple[str, ...]
    buffers: LazyTensors
    leftovers: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def text_encoder(self) -> LazyTensors:
        """CLIP's text encoder, by our names; empty if the checkpoint has none."""
        return self._tensors("text_encoder")

    @property
    def unet(self) -> LazyTensors:
        """The UNet, by our names; empty if the checkpoint has none."""
        return self._tensors("unet")

    @property
    def vae(self) -> LazyTensors:
        """The autoencoder, by our names; empty if the checkpoint has none."""
        return self._tensors("vae")

    def report(self, *, finite: bool = False) -> Report:
        """What this checkpoint is, and everything that is wrong with it.

        Args:
            finite: also read every tensor, one at a time, to find NaN and infinity.
        """
        return Report(
            path=str(self.path),
            layout=self.layout,
            components=tuple(
                report_component(component, finite=finite) for component in self.components.values()
            ),
            leftovers=len(self.leftovers),
            unknown=self.unknown,
            imports=self.imports,
        )

    def _tensors(self, component: str) -> LazyTensors:
        return (
            self.components[component].tensors if component in self.components else LazyTensors({}, _nothing)
        )


def open_checkpoint(
    path: str | PathLike[str], *, ema: bool = False, variant: str | None = None
) -> Checkpoint:
    """Open a Stable Diffusion v1 checkpoint: a single file, a diffusers folder, or one component of either
    kind.

    What a file is, is told by its content. Only headers are read; tensors are mapped into memory when asked
    for. No code of the file runs. An incomplete or oddly shaped checkpoint opens all the same: see
    `Checkpoint.report`.

    Args:
        path: a `.safetensors`, `.ckpt`, `.pt` or `.bin` file, or a folder; `models--owner--name` of the Hugging
            Face hub's cache stands for the snapshot in it.
        ema: take the UNet's exponential moving averages, which some single files carry beside the last
            weights. They are taken in any case where a file has no others.
        variant: for a folder, "fp16" takes `*.fp16.safetensors`; None takes the plain files, or the only
            variant.

    Raises:
        CheckpointError: if there is nothing there, it is damaged, or it is not Stable Diffusion v1.
    """
    path = snapshot_of(Path(path))
    if path.is_dir():
        return _open_folder(path, ema, variant)
    if not path.exists():
        raise CheckpointError(f"{shown_path(path)}: no such file or folder")
    if not path.is_file():
        raise CheckpointError(f"{shown_path(path)}: neither a file nor a folder")
    if variant is not None:
        raise CheckpointError(f"{shown_path(path)}: a single file has no variants; open it without `variant`")
    file = open_tensor_file(path)
    found = find_components(path, file.tensors, ema=ema)
    return Checkpoint(
        path=path,
        layout=f"single-file {file.format}",
        components=found.components,
        configs={},
        metadata=file.metadata,
        imports=file.imports,
        buffers=found.buffers,
        leftovers=found.leftovers,
        unknown=found.unknown,
    )


def _open_folder(path: Path, ema: bool, variant: str | None) -> Checkpoint:
    if ema:
        raise CheckpointError(
            f"{shown_path(path)}: a folder has no EMA weights beside others; open it without `ema`"
        )
    try:
        folder = open_folder(path, variant=variant)
    except OSError as error:
        raise CheckpointError(f"{shown_path(path)}: cannot be read ({error.strerror})") from error
    found = {name: find_components(path / name, part.tensors) for name, part in folder.parts.items()}
    components: dict[str, Component] = {}
    configs = dict(folder.configs)
    for name, part in found.items():
        component = _the_one(path / name, part, name)
        components[component.name] = component
        if not name and name in configs:
            configs[component.name] = configs.pop(name)
    parts = folder.parts.values()
    return Checkpoint(
        path=path,
        layout=FOLDER,
        components={name: components[name] for name in COMPONENTS if name in components},
        configs=configs,
        metadata={key: value for part in parts for key, value in part.metadata.items()},
        imports=tuple(sorted({name for part in parts for name in part.imports})),
        buffers=LazyTensors({}, _nothing),
        leftovers=tuple(name for part in found.values() for name in part.leftovers),
        unknown=tuple(name for part in found.values() for name in part.unknown),
    )


def _the_one(path: Path, found: Found, wanted: str) -> Component:
    """The component that a subfolder is named for, or the only one if it is not named."""
    if len(found.components) != 1 or (wanted and wanted not in found.components):
        there = ", ".join(found.components)
        raise CheckpointError(
            f"{shown_path(path)}: holds {there} where {wanted or 'one component'} should be; fetch it again"
        )
    return next(iter(found.components.values()))


def _nothing(name: str) -> Tensor:
    raise KeyError(name)
