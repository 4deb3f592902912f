"""Of our own infotext, what AUTOMATIC1111 has no words for: for pictures whose own facts are lost."""

from inkpunk.pictures.others.infotext import pairs
from inkpunk.pictures.others.plain import file_name, in_a_line
from inkpunk.pictures.others.settings import Settings
from inkpunk.pictures.others.told import Telling

TEXTS = {
    "Spacing": "spacing",
    "Tileable": "tileable",
    "Blend": "blend",
    "Prediction": "prediction",
    "Device": "device",
    "Precision": "dtype",
}
FLAGS = {
    "APG": "apg",
    "Zero SNR": "zero-snr",
    "EMA weights": "ema",
    "Low memory": "low-memory",
    "Tiled": "tiled",
}
WAITING = {"Match colours": "match-colours", "Resize": "resize"}
IDLE = ("Init image hash", "Tiny VAE", "Note")


def our_own(settings: Settings, told: Telling) -> None:
    """Take what `infotext` writes in our words."""
    for key, name in TEXTS.items():
        if value := settings.take(key):
            told.values[name] = value
    for key, name in FLAGS.items():
        if settings.take(key) == "True":
            told.values[name] = True
    for key, name in WAITING.items():
        if value := settings.take(key):
            told.resize(value, key) if name == "resize" else told.waiting.update({name: value == "True"})
    told.put("tile-size", settings.take("Tile size"), "Tile size")
    if interval := settings.take("Guidance interval"):
        told.values["guidance-interval"] = interval.replace(" to ", ":")
    if loras := settings.take("Loras"):
        told.values["lora"] = tuple(f"{file_name(name)}:{weight}" for name, weight in pairs(loras))
    _pictures(settings, told)
    _speed(settings, told)
    for key in IDLE:
        settings.take(key)


def _pictures(settings: Settings, told: Telling) -> None:
    """Pictures that it was drawn with, of which the infotext has hashes and perhaps paths."""
    if settings.take("Kept alpha hash"):
        told.waiting["keep-alpha"] = True
    if extend := settings.take("Extend"):
        told.waiting["extend"] = extend
    masks = settings.take("Region masks") or ""
    for place, prompt in pairs(settings.take("Regions") or ""):
        told.need(f"region {prompt}@FILE", f"region {place}: {in_a_line(prompt)}, its mask")
    if masks and not any(each.startswith("region ") for each in told.needs):
        told.note("Region masks", masks)
    for place, weight in pairs(settings.take("Image prompts") or ""):
        told.need(f"image-prompt FILE:{str(weight).partition(' ')[0]}", f"image prompt {place}, its picture")
    if adapter := settings.take("IP-Adapter"):
        told.need("ip-adapter", f"IP-Adapter: {in_a_line(adapter)}")
    if upscaler := settings.take("Upscaler"):
        told.need("upscaler", f"Upscaler: {in_a_line(upscaler)}")
    if paths := settings.take("Input paths"):
        told.note("Input paths", paths, "they are not taken on trust")


def _speed(settings: Settings, told: Telling) -> None:
    """The ways of making it fast that were left out, or added: "without share, winograd"."""
    for each in (settings.take("Speed") or "").split("; "):
        if each.startswith("without "):
            told.values["without"] = tuple(each.removeprefix("without ").split(", "))
        elif each == "compiled":
            told.values["compile"] = True
        elif each:
            told.note("Speed", each)
