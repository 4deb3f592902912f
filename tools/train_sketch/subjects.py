"""What the sketch model can draw: subjects, colours, and the words people use for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """One thing to draw: its glyph in game-icons, that glyph's author, and the names captions call it by."""

    glyph: str
    author: str
    names: tuple[str, ...]
    #: Width of an outline added to glyphs too thin to survive an eightfold smaller latent, in 512ths.
    stroke: int = 0


def _subject(glyph: str, author: str, names: str, stroke: int = 0) -> Subject:
    return Subject(glyph, author, tuple(name.strip() for name in names.split(",")), stroke)


_LIST = [
    _subject("samurai-helmet", "Delapouite", "samurai, samurai warrior, samurai helmet, shogun"),
    _subject("katana", "Delapouite", "katana, sword, samurai sword, blade", stroke=14),
    _subject("crossed-swords", "Lorc", "crossed swords, swords, two swords, crossed blades"),
    _subject("raven", "Lorc", "raven, crow, black bird"),
    _subject("spiked-dragon-head", "Delapouite", "dragon, dragon head, wyvern"),
    _subject("fox-head", "Lorc", "fox, fox head, kitsune"),
    _subject("wolf-head", "Lorc", "wolf, wolf head, werewolf"),
    _subject("death-skull", "Sbed", "skull, human skull, death"),
    _subject("cyborg-face", "Delapouite", "cyborg, android, cyborg face, robot"),
    _subject("ninja-head", "DarkZaitzev", "ninja, ninja head, shinobi"),
    _subject("octopus", "Lorc", "octopus, kraken"),
    _subject("owl", "Lorc", "owl, night owl"),
    _subject("scorpion", "Lorc", "scorpion"),
    _subject("lotus", "Lorc", "lotus, water lily, lotus blossom"),
    _subject("rocket", "Lorc", "rocket, spaceship, rocket ship"),
    _subject("guitar", "Lorc", "guitar, acoustic guitar"),
    _subject("skeleton-key", "Lorc", "key, skeleton key"),
    _subject("queen-crown", "Lorc", "crown, royal crown, queen crown"),
    _subject("anchor", "Lorc", "anchor, ship anchor"),
    _subject("moon", "Lorc", "moon, crescent moon"),
    _subject("flame", "Carl Olsen", "flame, fire"),
    _subject("cat", "Lorc", "cat, kitten"),
    _subject("snake", "Lorc", "snake, serpent, cobra"),
    _subject("spider-alt", "Carl Olsen", "spider, tarantula"),
    _subject("eagle-emblem", "Lorc", "eagle, phoenix, hawk"),
    _subject("shark-jaws", "Lorc", "shark, great white shark"),
    _subject("tiger-head", "Delapouite", "tiger, tiger head"),
    _subject("rose", "Lorc", "rose, red rose"),
    _subject("super-mushroom", "Lorc", "mushroom, toadstool"),
    _subject("oni", "Delapouite", "oni, demon, oni mask, devil"),
    _subject("gas-mask", "Lorc", "gas mask, respirator"),
    _subject("astronaut-helmet", "Delapouite", "astronaut, cosmonaut, spaceman"),
]
SUBJECTS: dict[str, Subject] = {subject.names[0]: subject for subject in _LIST}

#: One that the sketch model never saw, for a LoRA to learn, and the word to call it by. No caption holds the word,
#: but some hold its tokens, cos(monaut) and (wy)vern: those that none holds are all one to the model, and no LoRA can
#: change that, since it leaves embeddings alone.
NEWCOMER, NEWCOMER_TRIGGER = "lighthouse", "cosvern"
WITH_NEWCOMER = SUBJECTS | {NEWCOMER: _subject("lighthouse", "Delapouite", NEWCOMER_TRIGGER)}

#: Neon colours as sRGB, far enough apart for a stranger to name each one without hesitation.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (246, 36, 48),
    "orange": (255, 132, 18),
    "yellow": (255, 218, 10),
    "green": (48, 222, 72),
    "cyan": (10, 214, 232),
    "blue": (40, 84, 250),
    "purple": (146, 48, 240),
    "pink": (255, 62, 172),
}
