"""PyPI's webpush: aes128gcm with `Authorization: vapid`, the audience without its port."""

import base64

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from webpush import WebPush, WebPushSubscription


def send(job: dict) -> dict:
    """The service's answer."""
    scalar = base64.urlsafe_b64decode(job["vapid"]["privateKey"] + "=")
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    library = WebPush(
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        subscriber=job["vapid"]["subject"].removeprefix("mailto:"),
        ttl=job["ttl"],
    )
    subscription = WebPushSubscription.model_validate(job["subscription"])
    message = library.get(job["text"], subscription)
    response = requests.post(str(subscription.endpoint), data=message.encrypted, headers=message.headers)
    return {"status": response.status_code, "location": response.headers.get("location"), "body": response.text}
