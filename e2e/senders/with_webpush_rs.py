"""PyPI's webpush-rs: aes128gcm with `Authorization: vapid`, the audience without its port. It returns only the status."""

import webpush_rs


def send(job: dict) -> dict:
    """The service's answer."""
    subscription, vapid = job["subscription"], job["vapid"]
    keys = subscription["keys"]
    status = webpush_rs.send_one(
        endpoint=subscription["endpoint"],
        p256dh=keys["p256dh"],
        auth=keys["auth"],
        vapid_b64=vapid["privateKey"],
        subject=vapid["subject"],
        payload=job["text"].encode(),
    )
    return {"status": status}
