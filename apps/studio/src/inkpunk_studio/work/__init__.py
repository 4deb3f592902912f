"""The one queue: jobs, the desk that takes them, the worker that draws them."""
