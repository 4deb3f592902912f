"""What a request adds to the road from noise to picture, a file a way."""
