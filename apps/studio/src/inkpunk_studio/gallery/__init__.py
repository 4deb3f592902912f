"""The gallery: a folder of pictures, looked at as it is."""
