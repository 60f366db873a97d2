"""Files as URIs, so that a page needs no other file; photographs in the form that makes it light."""

import base64
import io

from PIL import Image

LIGHT = 50_000  # bytes of a PNG that is embedded as it is
QUALITY = 90  # of WebP: no artefact is seen, nor do letters blur


def uri(kind: str, content: bytes) -> str:
    """The content of a file of that media type as a URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture_uri(png: bytes) -> str:
    """A PNG as a URI: as WebP where it is heavy and that takes less than half, as photographs do and plots do not."""
    if len(png) <= LIGHT:
        return uri("image/png", png)
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(file, format="WEBP", quality=QUALITY)
    webp = file.getvalue()
    return uri("image/webp", webp) if 2 * len(webp) < len(png) else uri("image/png", png)
