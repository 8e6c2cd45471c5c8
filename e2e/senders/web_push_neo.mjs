// npm's web-push-neo: aes128gcm with `Authorization: vapid` and no space after the comma.

import { sendNotification } from 'web-push-neo';
import { taken } from './job.mjs';

export function send(job) {
  const options = { vapidDetails: job.vapid, TTL: job.ttl, urgency: job.urgency, topic: job.topic };
  return taken(sendNotification(job.subscription, job.text, options));
}
