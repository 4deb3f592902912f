"""CLIP's tokenizer and text encoder, as Stable Diffusion v1 uses them: text to context.

```python
from inkpunk_clip import TextEncoder, TextEncoderConfig, Tokenizer

tokenizer = Tokenizer()  # its vocabulary is in the package
encoder = TextEncoder(TextEncoderConfig())  # random until load_state_dict
tokens = tokenizer(["nvinkpunk samurai", ""])  # [2, 77]
context = encoder(tokens)  # [2, 77, 768]
```
"""

from inkpunk_clip.config import TextEncoderConfig
from inkpunk_clip.text_encoder import TextEncoder
from inkpunk_clip.tokenizer import Tokenizer, vocabulary_files

__all__ = ["TextEncoder", "TextEncoderConfig", "Tokenizer", "vocabulary_files"]
