"""How often each of very many things came, in a few bytes each."""

from array import array

_FIRST = 1 << 10  # places; always a power of two
_FILLED = 0.5  # of the places, at most: beyond it, looking for a free one takes long


class Tally:
    """Counts things by fingerprints of 64 bits: a million of them in 24 MB, where a dictionary takes 130.

    Two things of one fingerprint count as one: among a million, by a chance of 1 in 37 million. It is a hash table
    with open addressing and linear probing (Knuth, The Art of Computer Programming, volume 3, 6.4, algorithm L).
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._prints = array("Q", bytes(8 * _FIRST))  # 0 where a place is free
        self._counts = array("I", bytes(4 * _FIRST))
        self._held = 0

    def __len__(self) -> int:
        """How many different ones came."""
        return self._held

    def __getitem__(self, fingerprint: int) -> int:
        """How often it came."""
        return self._counts[self._place(fingerprint or 1)]

    def add(self, fingerprint: int) -> int:
        """Count one more, and tell how often it came before."""
        fingerprint = fingerprint or 1
        place = self._place(fingerprint)
        before = self._counts[place]
        if not before:
            if self._held >= _FILLED * len(self._prints):
                self._grow()
                place = self._place(fingerprint)
            self._prints[place] = fingerprint
            self._held += 1
        self._counts[place] = before + 1
        return before

    def _place(self, fingerprint: int) -> int:
        """Where it is, or where it would be."""
        last, prints = len(self._prints) - 1, self._prints
        place = fingerprint & last
        while prints[place] not in (0, fingerprint):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        held = [(each, count) for each, count in zip(self._prints, self._counts, strict=True) if count]
        places = 2 * len(self._prints)
        self._prints, self._counts = array("Q", bytes(8 * places)), array("I", bytes(4 * places))
        for each, count in held:
            place = self._place(each)
            self._prints[place], self._counts[place] = each, count


def fingerprint(digest: str) -> int:
    """The first 64 bits of a hash in hex digits."""
    return int(digest[:16], 16)
