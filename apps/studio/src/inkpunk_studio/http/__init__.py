"""The addresses that other programs call, and what guards them."""
