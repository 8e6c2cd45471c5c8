// npm's @pushforge/builder: aesgcm with `Authorization: vapid`, a pairing that no other sender makes.

// First, because it makes Web Crypto global on old versions of Node.
import { answer, jwk, post, readJob } from './job.mjs';
import { buildPushHTTPRequest } from '@pushforge/builder';

const job = readJob();
const request = await buildPushHTTPRequest({
  privateJWK: jwk(job.vapid),
  subscription: job.subscription,
  message: {
    payload: job.text,
    adminContact: job.vapid.subject,
    options: { ttl: job.ttl, urgency: job.urgency, topic: job.topic },
  },
});
answer(await post(request.endpoint, Object.fromEntries(new Headers(request.headers)), request.body, job.ca));
