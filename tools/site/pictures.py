"""Pictures of what is on the way: latents, noise, and where the steps lie on the schedule."""

from collections.abc import Sequence
from pathlib import Path

from inkpunk_sampling import NoiseSchedule
from PIL import Image
from torch import Tensor

SPREAD = 3.0  # standard deviations from the middle grey to black and to white
PIXELS = 128  # a picture's width and height, at least


def save_channel(channel: Tensor, path: Path) -> None:
    """Save one channel of latents, [rows, columns] of about unit variance, as greys."""
    levels = ((channel.float() / SPREAD).clamp(-1, 1) + 1) * 127.5
    _save(Image.fromarray(levels.round().byte().numpy()), path)


def save_colours(image: Tensor, path: Path) -> None:
    """Save an image, [3, height, width] in about [-1, 1]; a small one with its pixels drawn large."""
    levels = ((image.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    _save(Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy()), path)


def _save(image: Image.Image, path: Path) -> None:
    larger = max(1, PIXELS // image.width)
    image.resize((image.width * larger, image.height * larger), Image.Resampling.NEAREST).save(
        path, optimize=True
    )


WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 240, 36, 28, 12
GREY, SIGNAL, NOISE = "#8a8a8a", "#0f9d76", "#d6338a"  # to be seen on white and on black


def save_schedule(schedule: NoiseSchedule, visited: Sequence[float], path: Path) -> None:
    """Draw how much signal and noise there is at each timestep, and which timesteps are visited."""

    def place(t: float, part: float) -> tuple[float, float]:
        across = LEFT + (schedule.steps - 1 - t) / (schedule.steps - 1) * (WIDTH - LEFT - 12)
        return round(across, 1), round(HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP), 1)

    def line(points: Sequence[tuple[float, float]], colour: str) -> str:
        joined = " ".join(f"{x},{y}" for x, y in points)
        return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def text(x: float, y: float, words: str, colour: str = GREY, anchor: str = "middle") -> str:
        return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{words}</text>'

    whole = [*range(0, schedule.steps, 15), schedule.steps - 1]
    parts = [
        line([place(t, schedule.signal(t)) for t in whole], SIGNAL),
        line([place(t, schedule.noise(t)) for t in whole], NOISE),
        line([place(schedule.steps - 1, 0), place(0, 0)], GREY),
        text(LEFT - 6, HEIGHT - BOTTOM, "0", anchor="end"),
        text(LEFT - 6, TOP + 10, "1", anchor="end"),
        *(text(place(t, 0)[0], HEIGHT - 8, str(t)) for t in (999, 750, 500, 250, 0)),
        text(*place(870, 0.06), "signal", SIGNAL),
        text(*place(870, 0.85), "noise", NOISE),
        *(
            f'<circle cx="{place(t, part(t))[0]}" cy="{place(t, part(t))[1]}" r="3.5" fill="{colour}"/>'
            for t in visited
            for part, colour in ((schedule.signal, SIGNAL), (schedule.noise, NOISE))
        ),
    ]
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13">{"".join(parts)}</svg>\n'
    )
