"""The whole of it: from a model and a folder of pictures to a LoRA in kohya's layout."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from inkpunk_weights import save_lora

from inkpunk.memory.allocator import return_freed_memory
from inkpunk.memory.free import free_memory
from inkpunk.models.hashing import model_hash, readable_hash
from inkpunk.pictures.picture import Picture
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.road.encoding import Encoded
from inkpunk.training.buckets import Size
from inkpunk.training.errors import TrainingError
from inkpunk.training.examples import Example
from inkpunk.training.lessons import Lesson, longest_batch, make_lesson
from inkpunk.training.loop import Settings, Training, TrainingStep
from inkpunk.training.loss import Objective
from inkpunk.training.memory import recompute_blocks, refuse_training_that_does_not_fit, training_memory
from inkpunk.training.notes import notes
from inkpunk.training.state import Terms, load_state, save_state, saving, state_path

RATE = 2e-4  # at SD v1.5's width; 1e-4 to 5e-4 are usual for LoRAs
WIDTH = 320


def settings_for(
    pipeline: Pipeline, *, rate: float | None, alpha: float | None, min_snr: float, **others: Any
) -> Settings:
    """The settings of a training on a model, where some are left to it.

    Args:
        pipeline: the model.
        rate: None for 2e-4 at SD v1.5's width, and for a narrower model more in inverse proportion: so the outputs
            of layers change alike at any width (Yang et al., arXiv 2203.03466).
        alpha: None for the rank.
        min_snr: gamma; 0 for none.
        others: as they are.
    """
    width = pipeline.unet.config.widths[0]
    alpha = float(others["rank"] if alpha is None else alpha)
    return Settings(rate=rate or RATE * WIDTH / width, alpha=alpha, gamma=min_snr or None, **others)


def refuse_inpainting(pipeline: Pipeline) -> None:
    """Refuse models that see masks.

    Raises:
        TrainingError: if it is one.
    """
    if pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise TrainingError(
            f"{pipeline.name}: an inpainting model, which sees masks, and there are none here; train on the model "
            "that it was made of"
        )


def training_dtype(name: str, device: torch.device) -> str:
    """Turn "auto" into bfloat16 on CUDA and float32 elsewhere; float16 has no room for small gradients."""
    return ("bfloat16" if device.type == "cuda" else "float32") if name == "auto" else name


@dataclass(frozen=True)
class Encoding:
    """The state after some pictures are encoded: `index` of `total` are."""

    index: int
    total: int


@dataclass(frozen=True, eq=False)
class Course:
    """What is learned: pictures, and their lessons once they are encoded.

    Attributes:
        examples: what is new.
        prior: what shall stay as it is; may be empty.
        side: of a square of as many pixels as each has.
        flip: whether they are seen mirrored, too.
        trigger: the word that calls what is new.
        lessons: those of `examples`, then those of `prior`.
    """

    examples: Sequence[Example]
    prior: Sequence[Example] = ()
    side: int = 512
    flip: bool = False
    trigger: str | None = None
    lessons: list[Lesson] = field(default_factory=list[Lesson])

    def encode(self, pipeline: Pipeline) -> Iterator[Encoding]:
        """Make the lessons.

        Raises:
            PictureError: for a picture that cannot be read any more.
            TrainingError: for an inpainting model.
        """
        refuse_inpainting(pipeline)
        every = [*self.examples, *self.prior]
        with pipeline.vae.awake() as vae:
            for index, example in enumerate(every):
                self.lessons.append(make_lesson(example, vae, pipeline.tokenizer, self.side, flip=self.flip))
                yield Encoding(index + 1, len(every))

    @property
    def fingerprint(self) -> str:
        """A hash of all that is seen of the pictures."""
        seen = hashlib.sha256()
        for lesson in self.lessons:
            tensors = [lesson.tokens, *(each for view in lesson.views for each in (view.mean, view.std))]
            for tensor in tensors:
                seen.update(tensor.numpy().tobytes())
        return seen.hexdigest()[:16]


class LoraTraining:
    """A LoRA that is being trained on a model, and the file that it becomes."""

    def __init__(self, pipeline: Pipeline, course: Course, settings: Settings, out: Path) -> None:
        """Lay what learns beside the networks of a model; go on from where it was stopped.

        Args:
            pipeline: the model, loaded with `inkpunk.speed.PLAIN`: what makes networks fast overwrites what the way
                back needs.
            course: what is learned, its lessons made.
            settings: how.
            out: the file to write; the state is kept beside it.

        Raises:
            TrainingError: for what the memory cannot hold, or a state that is of another training.
        """
        self.pipeline, self.course, self.settings, self.out = pipeline, course, settings, out
        self._open = ExitStack()
        with ExitStack() as refused:  # leaves nothing on the networks
            refused.callback(self.close)
            self._begin()
            refused.pop_all()

    def _begin(self) -> None:
        pipeline, course, settings = self.pipeline, self.course, self.settings
        refuse_inpainting(pipeline)
        text_encoder = self._open.enter_context(pipeline.text_encoder.awake())
        unet = self._open.enter_context(pipeline.unet.awake())
        count = len(course.examples)
        objective = Objective(pipeline.schedule, pipeline.prediction, settings.gamma)
        lessons, prior = course.lessons[:count], course.lessons[count:]
        self.training = Training(text_encoder, unet, objective, lessons, prior, settings)
        self._open.callback(self.training.remove)
        self.recomputed = self._fit_in(free_memory(pipeline.device))
        if self.recomputed:
            self._open.callback(recompute_blocks(unet))
        return_freed_memory()  # holes between what is kept for the way back took more than that
        self.resumed = load_state(self.state, self.training, self.terms)

    @property
    def state(self) -> Path:
        """The file that it goes on from."""
        return state_path(self.out)

    @property
    def terms(self) -> Terms:
        """What it is a training of."""
        path = self.pipeline.path
        return {
            **{name: str(value) for name, value in asdict(self.settings).items()},
            "pictures": self.course.fingerprint,
            "model": (readable_hash(model_hash, path) if path else "") or self.pipeline.name,
            "dtype": str(self.pipeline.dtype).removeprefix("torch."),
        }

    @property
    def size(self) -> Size:
        """Of the largest pictures that it learns from."""
        return longest_batch([*self.course.examples, *self.course.prior], self.course.side)

    def memory(self, recompute: bool) -> int:
        """Estimate the bytes it takes beside the weights, with or without computing blocks anew on the way back."""
        return training_memory(
            self.pipeline.unet.config,
            self.training.learned,
            self.size,
            self.settings.batch,
            itemsize=self.pipeline.dtype.itemsize,
            recompute=recompute,
        )

    def steps(self) -> Iterator[TrainingStep]:
        """Train, and keep the state; whoever stops iterating stops the training."""
        return saving(self.state, self.training, self.terms)

    def keep(self) -> None:
        """Write the state, to go on from it."""
        save_state(self.state, self.training, self.terms)

    def sample(self, prompt: str, seed: int) -> Picture:
        """Draw a picture with what has been learned so far."""
        pipeline = replace(self.pipeline, encoded=Encoded())  # what it remembers was encoded by another
        [picture] = pipeline.generate(Request(prompt, seeds=(seed,)))
        note = f"with the LoRA {self.out.stem} after {self.training.step} of {self.settings.steps} steps"
        return Picture(picture.image, replace(picture.facts, note=note))

    def save(self, *, overwrite: bool = False) -> None:
        """Write the LoRA, and drop the state.

        Raises:
            CheckpointError: if it cannot be written.
        """
        changes = self.training.changes()
        save_lora(
            self.out,
            unet=changes["unet"],
            text_encoder=changes.get("text_encoder"),
            metadata=notes(
                self.out.stem,
                self.settings,
                self.course.examples,
                self.course.prior,
                side=self.course.side,
                trigger=self.course.trigger,
                model=self.pipeline.name,
                prediction=self.pipeline.prediction,
            ),
            overwrite=overwrite,
        )
        self.state.unlink(missing_ok=True)

    def close(self) -> None:
        """Take everything off the networks, which are then what they were."""
        self._open.close()

    def _fit_in(self, free: int | None) -> bool:
        """Whether blocks have to be computed anew for it to fit."""
        if free is None or self.memory(recompute=False) <= free:
            return False
        needed = self.memory(recompute=True)
        refuse_training_that_does_not_fit(needed, free, self.size, self.settings.batch)
        return True
