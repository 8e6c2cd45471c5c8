"""PyPI's pywebpush: aes128gcm or aesgcm, always with `Authorization: vapid`."""

from pywebpush import WebPushException, webpush


def arguments(job: dict) -> dict:
    """What both of its functions take."""
    return {
        "subscription_info": job["subscription"],
        "data": job["text"],
        "vapid_private_key": job["vapid"]["privateKey"],
        "vapid_claims": {"sub": job["vapid"]["subject"]},
        "content_encoding": job["encoding"],
        "ttl": job["ttl"],
        "headers": {name: job[name] for name in ("urgency", "topic") if job.get(name)},
    }


def send(job: dict) -> dict:
    """The service's answer, whatever it is."""
    try:
        response = webpush(**arguments(job))
    except WebPushException as error:
        if error.response is None:
            raise
        response = error.response
    return {"status": response.status_code, "location": response.headers.get("location"), "body": response.text}
