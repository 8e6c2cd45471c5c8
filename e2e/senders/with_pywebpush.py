"""pywebpush: aes128gcm or aesgcm, always with `Authorization: vapid`. The job and the answer are those of job.mjs."""

import json
import sys

import requests
from pywebpush import WebPushException, webpush


def send(job: dict) -> requests.Response:
    """Sends the job's text; the service's answer, whatever it is."""
    session = requests.Session()
    # The environment may name a bundle of its own, which requests would prefer to the job's.
    session.trust_env = False
    session.verify = job["ca"]
    extra = {name: job[name] for name in ("urgency", "topic") if job.get(name)}
    try:
        return webpush(
            job["subscription"],
            data=job["text"],
            vapid_private_key=job["vapid"]["privateKey"],
            vapid_claims={"sub": job["vapid"]["subject"]},
            content_encoding=job.get("encoding") or "aes128gcm",
            ttl=job["ttl"],
            headers=extra,
            requests_session=session,
        )
    except WebPushException as error:
        if error.response is None:
            raise
        return error.response


response = send(json.load(sys.stdin))
print(json.dumps({"status": response.status_code, "location": response.headers.get("location"), "body": response.text}))
