// npm's webpush-webcrypto: aesgcm with `Authorization: WebPush` and `Crypto-Key: dh=..;p256ecdsa=..`.

import { ApplicationServerKeys, generatePushHTTPRequest, setWebCrypto } from 'webpush-webcrypto';
import { pkcs8, post } from './job.mjs';

export async function send(job) {
  setWebCrypto(globalThis.crypto);
  const { publicKey, subject } = job.vapid;
  const request = await generatePushHTTPRequest({
    applicationServerKeys: await ApplicationServerKeys.fromJSON({ publicKey, privateKey: await pkcs8(job.vapid) }),
    payload: job.text,
    target: job.subscription,
    adminContact: subject,
    ttl: job.ttl,
    urgency: job.urgency,
    topic: job.topic,
  });
  return post(request.endpoint, request);
}
