"""A recipe as XMP, which JPEG, WebP and AVIF hold: ours as JSON, AUTOMATIC1111's text as the comment of a user.

Source: Adobe, XMP Specification Part 1 (packets) and Part 3 (in JPEG, where the long are parted as Extended XMP).
"""

import hashlib
import html
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

NAMESPACE = "https://inkpunk/ns/facts/1.0/"
"""Ours: a name, and no address."""
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
MOST_OF_A_PACKET = 65_502  # of a JPEG's segment, without its length and name
PART = 65_400  # of an extended one, which a hash, a length and a place stand before

_HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:inkpunk="{NAMESPACE}" '
    'xmlns:xmpNote="http://ns.adobe.com/xmp/note/">'
)
_TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# By pattern, as no entity that a stranger defines can act on one; as an element or, as others save it again, an
# attribute.
_FACTS = re.compile(r'<inkpunk:facts>([^<]*)<|\binkpunk:facts="([^"]*)"|\binkpunk:facts=\'([^\']*)\'')
_COMMENT = re.compile(r"<exif:UserComment>\s*<rdf:Alt>\s*<rdf:li[^>]*>([^<]*)<")
_EXTENDED = re.compile(r"xmpNote:HasExtendedXMP(?:>|=[\"'])([0-9A-F]{32})")


def packet(infotext: str, facts: str) -> bytes:
    """A recipe as one packet; what XML cannot hold of AUTOMATIC1111's text becomes U+FFFD."""
    return (_BEGIN + _meta(_recipe(infotext, facts)) + _END).encode()


def jpeg_segments(infotext: str, facts: str) -> list[bytes]:
    """The contents of the APP1 segments that hold a recipe: one, or for a long one several."""
    whole = packet(infotext, facts)
    if len(whole) <= MOST_OF_A_PACKET:
        return [JPEG_XMP + whole]
    extended = _meta(_recipe(infotext, facts)).encode()
    guid = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()
    main = _meta(f"<xmpNote:HasExtendedXMP>{guid}</xmpNote:HasExtendedXMP>")
    head = JPEG_EXTENDED + guid.encode() + len(extended).to_bytes(4, "big")
    parts = [
        head + start.to_bytes(4, "big") + extended[start : start + PART]
        for start in range(0, len(extended), PART)
    ]
    return [JPEG_XMP + (_BEGIN + main + _END).encode(), *parts]


def read_packet(xmp: bytes, segments: Sequence[bytes] = ()) -> dict[str, str]:
    """The texts of a packet, "inkpunk" and "parameters", as far as it has them.

    Args:
        xmp: the packet, which may be a stranger's.
        segments: the contents of a JPEG's APP1 segments, among which the rest of a long one is.
    """
    text = xmp.decode(errors="replace")
    if extended := _EXTENDED.search(text):
        text += _joined(extended[1].encode(), segments).decode(errors="replace")
    told = dict[str, str]()
    for name, pattern in (("inkpunk", _FACTS), ("parameters", _COMMENT)):
        if found := pattern.search(text):
            told[name] = html.unescape(next(group for group in found.groups() if group is not None))
    return told


def _joined(guid: bytes, segments: Sequence[bytes]) -> bytes:
    head = JPEG_EXTENDED + guid
    parts = sorted(each[len(head) + 4 :] for each in segments if each.startswith(head))  # by their places
    return b"".join(part[4:] for part in parts)


def _recipe(infotext: str, facts: str) -> str:
    comment = escape(_NO_XML.sub("\ufffd", infotext), {"\r": "&#13;"})
    return (
        f'<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></exif:UserComment>'
        f"<inkpunk:facts>{escape(facts)}</inkpunk:facts>"
    )


def _meta(properties: str) -> str:
    return f"{_HEAD}{properties}{_TAIL}"
