"""Where networks live, in which precision, and what it takes."""
