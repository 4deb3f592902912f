"""Settings for all tests."""

import torch

torch.set_num_threads(1)  # these convolutions are too small to share
