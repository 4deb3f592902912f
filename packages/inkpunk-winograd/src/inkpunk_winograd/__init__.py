"""A faster CPU for any torch model: 3x3 convolutions by Winograd's minimal filtering, attention, linear layers.

```python
import torch
from inkpunk_winograd import accelerate, explain

model = accelerate(torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3, padding=1)))
with torch.no_grad():
    result = model(torch.zeros(1, 64, 32, 32))
print(explain(model))
```
"""

from inkpunk_winograd.acceleration import accelerate, convolve_doubled, restore
from inkpunk_winograd.choice import is_eligible
from inkpunk_winograd.convolution import winograd_conv2d
from inkpunk_winograd.inference import is_plain_inference
from inkpunk_winograd.native.attention import has_native_attention, is_fit_for_attention, native_attention
from inkpunk_winograd.native.library import why_not_native
from inkpunk_winograd.native.norm import is_fit_for_group_norm, native_group_norm
from inkpunk_winograd.native.products import why_not_bfloat16
from inkpunk_winograd.native.threads import few_threads
from inkpunk_winograd.products import with_wide_weights
from inkpunk_winograd.report import Layer, Report, explain
from inkpunk_winograd.wrapping import Around, Inner, changes, unwrap, wrap

__all__ = [
    "Around",
    "Inner",
    "Layer",
    "Report",
    "accelerate",
    "changes",
    "convolve_doubled",
    "explain",
    "few_threads",
    "has_native_attention",
    "is_eligible",
    "is_fit_for_attention",
    "is_fit_for_group_norm",
    "is_plain_inference",
    "native_attention",
    "native_group_norm",
    "restore",
    "unwrap",
    "why_not_bfloat16",
    "why_not_native",
    "winograd_conv2d",
    "with_wide_weights",
    "wrap",
]
