"""Image prompts (IP-Adapters), and the image encoder through which they look."""
