"""Ours against diffusers, diffusers compiled, and OpenVINO, on the same random full-size weights, in one run."""
