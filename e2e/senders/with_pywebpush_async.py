"""PyPI's pywebpush with asyncio: the same over aiohttp."""

import asyncio

from pywebpush import WebPushException, webpush_async
from with_pywebpush import arguments


async def sent(job: dict) -> dict:
    """The service's answer, whatever it is."""
    try:
        response = await webpush_async(**arguments(job))
    except WebPushException as error:
        if error.response is None:
            raise
        response = error.response
    return {"status": response.status, "location": response.headers.get("location"), "body": await response.text()}


def send(job: dict) -> dict:
    """The same for a caller without asyncio."""
    return asyncio.run(sent(job))
