"""Cheaper 3x3 convolutions on CPUs for any torch model, by Winograd's minimal filtering.

```python
import torch
from inkpunk_winograd import accelerate

model = accelerate(torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3, padding=1)))
with torch.no_grad():
    result = model(torch.zeros(1, 64, 32, 32))
```
"""

from inkpunk_winograd.convolution import winograd_conv2d
from inkpunk_winograd.module import WinogradConv2d, accelerate, is_eligible, restore

__all__ = ["WinogradConv2d", "accelerate", "is_eligible", "restore", "winograd_conv2d"]
