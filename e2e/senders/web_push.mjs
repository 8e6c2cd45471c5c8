// npm's web-push: aes128gcm with `Authorization: vapid`, or aesgcm with `Authorization: WebPush` and Crypto-Key.

import webpush from 'web-push';
import { taken } from './job.mjs';

export function send(job) {
  const options = {
    vapidDetails: job.vapid,
    TTL: job.ttl,
    contentEncoding: job.encoding,
    urgency: job.urgency,
    topic: job.topic,
    headers: job.headers,
  };
  return taken(webpush.sendNotification(job.subscription, job.text, options));
}
