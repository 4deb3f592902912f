"""What pictures are saved as: `--format` and `--quality`, refused before any work where they cannot be had."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inkpunk.cli.destinations import check_picture_path, is_picture_name, make_folder
from inkpunk.pictures.formats import ENDINGS, FORMATS, QUALITY

if TYPE_CHECKING:
    from inkpunk.pictures.picture import Picture
    from inkpunk.road.plan import Plan

SAVING_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice([*FORMATS]),
        help="As what pictures are saved into a folder; all hold their recipe. [default: png]",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        help=f"Of jpeg, webp and avif; a WebP of 100 is lossless. [default: {QUALITY}]",
    ),
)


@dataclass(frozen=True)
class Saving:
    """Where pictures go, and as what.

    Attributes:
        out: a file or a folder.
        form: a name in `inkpunk.pictures.formats.FORMATS`.
        quality: None for the usual.
        overwrite: whether a file may be replaced.
    """

    out: Path
    form: str
    quality: int | None
    overwrite: bool

    @classmethod
    def read(
        cls, out: Path, form: str | None, quality: int | None, overwrite: bool, *, alpha: bool = False
    ) -> "Saving":
        """Check where pictures shall go, and as what; `alpha` is whether they may have transparency.

        Raises:
            ClickException: for what could not be saved.
            PictureError: for what the format cannot hold, or this machine not write.
        """
        from inkpunk.pictures.formats import check_writable

        named = ENDINGS[out.suffix.lower()] if is_picture_name(out) else None
        if named and form and named != form:
            raise click.UsageError(f"--format {form}: --out {out} says {named} by its ending; leave one out")
        saving = cls(out, named or form or "png", quality, overwrite)
        check_writable(saving.form, quality=quality, alpha=alpha)
        return saving

    @property
    def to_file(self) -> bool:
        """Whether it is a single file."""
        return is_picture_name(self.out)

    def prepare(self) -> None:
        """Make the folder, or refuse a file that could not be written.

        Raises:
            ClickException: saying why not.
        """
        if self.to_file:
            check_picture_path(self.out, self.overwrite)
        else:
            make_folder("--out", self.out)

    def refuse_too_large(self, plan: "Plan") -> None:
        """Refuse, before it is drawn, a picture that is larger than its file can hold.

        Raises:
            PictureError: if it is.
        """
        from inkpunk.pictures.formats import check_sides

        check_sides(self.form, *plan.picture_size)

    def save(self, picture: "Picture") -> Path:
        """Save a picture, and return its path."""
        if self.to_file:
            return picture.save(self.out, overwrite=self.overwrite, quality=self.quality)
        return self.save_into(self.out, picture)

    def save_into(self, folder: Path, picture: "Picture") -> Path:
        """Save a picture into another folder in the same way, and return its path."""
        return picture.save_into(folder, format=self.form, quality=self.quality)
