"""OpenAI's images API: `/v1/images/generations`, `edits`, `variations`, and `/v1/models`.

All of inkpunk's options may stand beside OpenAI's fields, as in OpenAI's own Python client:

    client.images.generate(prompt="a raven", size="512x512", extra_body={"steps": 30, "sampler": "dpmpp_2m"})
"""

from inkpunk_studio.http.openai.addresses import router

__all__ = ["router"]
