"""Orders: pictures asked for in plain values, so that they can stand in a file, be named, resumed and sent away."""
