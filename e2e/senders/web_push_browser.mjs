// npm's web-push-browser: aes128gcm with `Authorization: vapid`, or aesgcm with `Authorization: Bearer` and Crypto-Key.

import { deserializeVapidKeys, sendPushNotification } from 'web-push-browser';
import { pkcs8, read } from './job.mjs';

export async function send(job) {
  const { publicKey, subject } = job.vapid;
  const keys = await deserializeVapidKeys({ publicKey, privateKey: await pkcs8(job.vapid) });
  const options = { algorithm: job.encoding, ttl: job.ttl, urgency: job.urgency };
  return read(await sendPushNotification(keys, job.subscription, subject.replace('mailto:', ''), job.text, options));
}
