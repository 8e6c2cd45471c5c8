// npm's web-push: aes128gcm with `Authorization: vapid`, or aesgcm with `Authorization: WebPush` and Crypto-Key.

import { readFileSync } from 'node:fs';
import https from 'node:https';
import webpush from 'web-push';
import { answer, readJob } from './job.mjs';

const job = readJob();
try {
  const sent = await webpush.sendNotification(job.subscription, job.text, {
    vapidDetails: job.vapid,
    TTL: job.ttl,
    contentEncoding: job.encoding ?? 'aes128gcm',
    urgency: job.urgency,
    topic: job.topic,
    headers: job.headers,
    agent: new https.Agent({ ca: readFileSync(job.ca) }),
  });
  answer({ status: sent.statusCode, location: sent.headers.location, link: sent.headers.link, body: sent.body });
} catch (error) {
  if (!error.statusCode) throw error;
  answer({ status: error.statusCode, location: error.headers?.location, body: error.body });
}
