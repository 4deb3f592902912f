"""CLIP's tokenizer and text encoder, as Stable Diffusion v1 uses them, and the language of prompts: text to context;
and CLIP's image encoder, through which image prompts look.

```python
from inkpunk_clip import TextEncoder, TextEncoderConfig, Tokenizer, context_at

tokenizer = Tokenizer()  # its vocabulary is in the package
encoder = TextEncoder(TextEncoderConfig())  # random until load_state_dict
tokens = tokenizer(["nvinkpunk samurai", ""])  # [2, 77]
context = encoder(tokens)  # [2, 77, 768]
context = context_at("a (samurai:1.2) [at dawn:at night:0.4]", 12, 25, tokenizer, encoder)  # [1, 77, 768]
embeds = ImageEncoder(ImageEncoderConfig())(prepared(images))  # images [batch, 3, any, any] in [-1, 1]: [batch, 1024]
```
"""

from inkpunk_clip.config import TextEncoderConfig
from inkpunk_clip.image_config import ImageEncoderConfig
from inkpunk_clip.image_encoder import ImageEncoder
from inkpunk_clip.image_preparation import prepared
from inkpunk_clip.prompts.chunks import CHUNKINGS, EMPTY, Chunk, Chunks, chunks
from inkpunk_clip.prompts.context import (
    EncodeChunk,
    Moment,
    Timeline,
    chunk_encoder,
    context_at,
    contexts,
    side_by_side,
    understand,
)
from inkpunk_clip.prompts.emphasis import EMPHASES
from inkpunk_clip.prompts.grammar import GRAMMARS, parse
from inkpunk_clip.prompts.language import LANGUAGES, PADDINGS, Language
from inkpunk_clip.prompts.timeline import Line, Span, line_at, timeline
from inkpunk_clip.prompts.tree import Alternation, Break, Content, Emphasis, Part, Prompt, Switch, Text
from inkpunk_clip.prompts.variants import VariantError, choose
from inkpunk_clip.prompts.words import LearnedWords
from inkpunk_clip.text_encoder import TextEncoder
from inkpunk_clip.tokenizer import Tokenizer, vocabulary_files

__all__ = [
    "CHUNKINGS",
    "EMPHASES",
    "EMPTY",
    "GRAMMARS",
    "LANGUAGES",
    "PADDINGS",
    "Alternation",
    "Break",
    "Chunk",
    "Chunks",
    "Content",
    "Emphasis",
    "EncodeChunk",
    "ImageEncoder",
    "ImageEncoderConfig",
    "Language",
    "LearnedWords",
    "Line",
    "Moment",
    "Part",
    "Prompt",
    "Span",
    "Switch",
    "Text",
    "TextEncoder",
    "TextEncoderConfig",
    "Timeline",
    "Tokenizer",
    "VariantError",
    "choose",
    "chunk_encoder",
    "chunks",
    "context_at",
    "contexts",
    "line_at",
    "parse",
    "prepared",
    "side_by_side",
    "timeline",
    "understand",
    "vocabulary_files",
]
