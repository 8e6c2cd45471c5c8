// Sends with one of the libraries what stdin describes: `node e2e/senders/run.mjs web_push`. Deno and Bun run it too.

import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
import { does } from './job.mjs';

// Node 18, Debian's, has Web Crypto but does not make it global.
globalThis.crypto ??= webcrypto;

const job = JSON.parse(readFileSync(0, 'utf8'));
await does(job, process.argv[2], (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
