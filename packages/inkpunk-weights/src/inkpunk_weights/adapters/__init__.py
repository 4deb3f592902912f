"""Adapters, the LoRA family: files to the change that each makes to a checkpoint's weights, and back."""
