"""What stands where the picture comes: a place for it, its preview, the picture itself, or why there is none."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from inkpunk.orders.order import Order
from PIL import Image

from inkpunk_studio.work.job import Drawn, Job

EMPTY = """<div class="stage empty"><div class="blot" aria-hidden="true"></div>
<p>Say what you would like to see.</p></div>"""


def address(path: Path) -> str:
    """Where the page finds a file of the gallery."""
    return f"gradio_api/file={quote(str(path))}"


def stage(job: Job, preview: Image.Image | None = None) -> str:
    """Show how far a job is.

    Args:
        job: as it is now.
        preview: of the picture that is being drawn.
    """
    shown = [_figure(job.orders[each.order], each) for each in job.drawn]
    if not job.is_over:
        shown.append(_coming(job, preview))
    notes = "".join(f'<p class="note">{escape(each)}</p>' for each in job.warnings)
    if job.state == "failed":
        notes += warning(job.error or "It could not be drawn.")
    if job.state == "cancelled":
        notes += '<p class="note">Stopped.</p>'
    if not shown:
        return f'<div class="stage empty">{notes}</div>'
    many = " many" if len(job.orders) > 1 else ""
    return f'<div class="stage{many}" data-state="{job.state}">{"".join(shown)}{notes}</div>'


def problem(text: str) -> str:
    """Show why nothing was asked for."""
    return f'<div class="stage empty">{warning(text)}</div>'


def warning(error: object) -> str:
    """A line that says what is wrong."""
    return f'<p class="note problem" role="alert">{escape(str(error))}</p>'


def note(text: str) -> str:
    """A line that says how things are."""
    return f'<p class="note" role="status">{escape(text)}</p>'


def said(job: Job) -> str:
    """How far a job is, in a few words."""
    progress = job.progress
    if job.state == "waiting":
        before = job.place or 0
        return "Next in the queue" if not before else f"{before} before it in the queue"
    if job.state != "drawing":
        return {"done": "Done", "failed": "Failed", "cancelled": "Stopped"}[job.state]
    if job.stopping:
        return "Stopping"
    which = f"Picture {progress.picture + 1} of {progress.pictures} · " if progress.pictures > 1 else ""
    step = f"step {progress.step} of {progress.steps}" if progress.steps else "getting ready"
    return (which + step + _left(progress.seconds_left)).capitalize()


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= 90:
        return f" · {seconds / 60:.0f} min left"
    return f" · {max(1, round(seconds))} s left"


def _coming(job: Job, preview: Image.Image | None) -> str:
    picture = (
        f'<img class="preview" alt="Preview" src="{_inline(preview)}" {_shape(job, preview)}>'
        if preview
        else f'<div class="paper" {_shape(job, None)} aria-hidden="true"></div>'
    )
    share = round(100 * job.progress.share)
    words = escape(said(job))
    return (
        f"<figure>{picture}<figcaption>{words}</figcaption>"
        f'<div class="bar" role="progressbar" aria-label="Drawing" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share}" aria-valuetext="{words}"><div style="width:{share}%"></div></div></figure>'
    )


def _shape(job: Job, preview: Image.Image | None) -> str:
    values = job.orders[min(job.progress.picture, len(job.orders) - 1)].values
    width, height = values.get("width"), values.get("height")
    if preview is not None:
        width, height = preview.size
    if not isinstance(width, int) or not isinstance(height, int):
        width = height = 1
    return f'style="--wide:{width};--high:{height}"'


def _inline(picture: Image.Image) -> str:
    held = BytesIO()
    picture.convert("RGB").save(held, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode()


def _figure(order: Order, drawn: Drawn) -> str:
    prompt = str(order.values.get("prompt", ""))
    alt = escape(prompt or "A picture without a prompt", quote=True)
    where = address(drawn.path)
    return (
        f'<figure class="drawn"><a href="{where}" target="_blank" rel="noopener" '
        f'aria-label="Open the picture, seed {drawn.seed}"><img src="{where}" alt="{alt}"></a>'
        f"<figcaption>Seed {drawn.seed} · {drawn.seconds:.1f} s "
        f'<a href="{where}" download="{escape(drawn.path.name, quote=True)}" '
        f'aria-label="Save the picture, seed {drawn.seed}">Save</a></figcaption></figure>'
    )
