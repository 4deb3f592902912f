"""The small model in the box: what Inkpunk draws with when no checkpoint is named.

```python
from inkpunk_sketch import adapters, weights

path = weights()  # one safetensors file, in the layout of Stable Diffusion's checkpoints
quick = adapters()["lcm"]  # a LoRA for it, with which it draws in four steps
with path.open("rb") as file:
    header_size = int.from_bytes(file.read(8), "little")
```
"""

from inkpunk_sketch.files import adapters, controls, weights
from inkpunk_sketch.preview import PREVIEW

__all__ = ["PREVIEW", "adapters", "controls", "weights"]
