"""Which model draws, where and how: what `Pipeline.load` takes, in plain values that can be compared and hashed."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline


class ChoiceError(ValueError):
    """A choice that cannot be; the message says which value, why, and what to give instead."""


@dataclass(frozen=True)
class ModelChoice:
    """A model, and how it is loaded; two that are equal load alike.

    Attributes: those of `Pipeline.load`, with these for what is no plain value there:
        control_nets: KIND=FILE each.
        without: the ways of making it fast that are left out, names of `inkpunk.speed.Speed`.
        compile: by torch.compile.

    Raises:
        ChoiceError: for control networks that are not told rightly.
    """

    model: str = "sketch"
    device: str = "auto"
    dtype: str = "auto"
    offload: bool = False
    tiled: bool = False
    low_memory: bool = False
    ema: bool = False
    prediction: str | None = None
    zero_snr: bool | None = None
    embeddings: tuple[str | Path, ...] = ()
    loras: tuple[str, ...] = ()
    lora_folder: str | Path | None = None
    control_nets: tuple[str, ...] = ()
    ip_adapter: str | None = None
    image_encoder: str | None = None
    tiny_vae: str | None = None
    without: tuple[str, ...] = ()
    compile: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        self.nets_by_kind  # noqa: B018  # refuses for itself

    @property
    def nets_by_kind(self) -> dict[str, str]:
        """Its control networks' files, by the kinds of their hints."""
        told = dict[str, str]()
        for value in self.control_nets:
            kind, equals, file = value.partition("=")
            if not (kind and equals and file):
                raise ChoiceError(f"{value!r} is not KIND=FILE, such as canny=control_v11p_sd15_canny.pth")
            if kind in told:
                raise ChoiceError(f"{kind} is given twice; one network draws a kind")
            told[kind] = file
        return told

    def load(self) -> "Pipeline":
        """Load the model.

        Raises:
            DeviceError, HubError, CheckpointError: as `Pipeline.load`.
            ChoiceError: for a way of speed that there is not.
        """
        from inkpunk.pipeline import Pipeline
        from inkpunk.speed import Speed

        ways = {each.name for each in fields(Speed)}
        for way in self.without:
            if way not in ways:
                raise ChoiceError(f"without {way!r}: use {', '.join(sorted(ways))}")
        return Pipeline.load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            offload=self.offload,
            tiled=self.tiled,
            low_memory=self.low_memory,
            ema=self.ema,
            prediction=self.prediction,
            zero_snr=self.zero_snr,
            embeddings=self.embeddings,
            loras=self.loras,
            lora_folder=self.lora_folder,
            control_nets=self.nets_by_kind,
            ip_adapter=self.ip_adapter,
            image_encoder=self.image_encoder,
            tiny_vae=self.tiny_vae,
            deterministic=self.deterministic,
            speed=Speed(**dict.fromkeys(self.without, False) | {"compile": self.compile}),
        )
