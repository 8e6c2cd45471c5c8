// npm's webpush-webcrypto: aesgcm with `Authorization: WebPush` and `Crypto-Key: dh=..;p256ecdsa=..`.

import { createPrivateKey } from 'node:crypto';
import { ApplicationServerKeys, generatePushHTTPRequest, setWebCrypto } from 'webpush-webcrypto';
import { answer, jwk, post, readJob } from './job.mjs';

const job = readJob();
setWebCrypto(globalThis.crypto);
const privateKey = createPrivateKey({ key: jwk(job.vapid), format: 'jwk' }).export({ type: 'pkcs8', format: 'der' });
const request = await generatePushHTTPRequest({
  applicationServerKeys: await ApplicationServerKeys.fromJSON({
    publicKey: job.vapid.publicKey,
    privateKey: privateKey.toString('base64url'),
  }),
  payload: job.text,
  target: job.subscription,
  adminContact: job.vapid.subject,
  ttl: job.ttl,
  urgency: job.urgency,
  topic: job.topic,
});
answer(await post(request.endpoint, request.headers, request.body, job.ca));
