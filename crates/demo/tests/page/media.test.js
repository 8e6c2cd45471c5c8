// What a call sends on a machine that lacks a device, or whose user refuses one.

import assert from 'node:assert/strict';
import test from 'node:test';

const canvas = {
  getContext: () => ({ fillRect() {}, fillText() {} }),
  captureStream: () => ({ getVideoTracks: () => [track('test picture')] }),
};
class MediaStream {
  constructor(tracks) { this.tracks = tracks; }
  getTracks() { return this.tracks; }
}
const globals = {
  document: { title: 'Star', createElement: () => canvas }, MediaStream,
  // Without sound for pages there is no test tone either.
  window: {},
};
for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
const { capture, explain, kindsOf } = await import('../../web/media.js');

function track(name) {
  return { name, stop() { this.isStopped = true; } };
}

/** A browser whose devices fail so, by kind; `granted` ones need no question. Returns what it was asked for. */
function browser(failures, granted = []) {
  const asked = [];
  const mediaDevices = {
    async getUserMedia(wanted) {
      const kinds = Object.keys(wanted);
      asked.push(kinds.join('+'));
      const failed = kinds.find((kind) => failures[kind]);
      if (failed) throw Object.assign(new Error(failed), { name: failures[failed] });
      return new MediaStream(kinds.map(track));
    },
  };
  const permissions = { query: async ({ name }) => ({ state: granted.includes(name) ? 'granted' : 'prompt' }) };
  Object.defineProperty(globalThis, 'navigator', { value: { mediaDevices, permissions }, configurable: true });
  return asked;
}

async function sends(media) {
  const { stream, lacks, stop } = await capture(media);
  stop();
  assert.ok(stream.getTracks().every(({ isStopped }) => isStopped), 'nothing goes on after the call');
  return [stream.getTracks().map(({ name }) => name), explain(lacks, 'Mom')];
}

test('a call has the kinds of tracks of its media', () => {
  assert.deepEqual([kindsOf('audio'), kindsOf('video')], [['audio'], ['audio', 'video']]);
});

test('with both devices nothing stands in and nothing is explained', async () => {
  const asked = browser({});
  assert.deepEqual(await sends('video'), [['audio', 'video'], '']);
  assert.deepEqual(asked, ['audio+video']);
});

test('without a camera the microphone is used, and without a microphone the camera', async () => {
  let asked = browser({ video: 'NotFoundError' });
  assert.deepEqual(await sends('video'), [['audio', 'test picture'], 'There is no camera. Mom sees a test picture.']);
  assert.deepEqual(asked, ['audio+video', 'audio', 'video']);
  asked = browser({ audio: 'NotReadableError' });
  const words = 'Another program uses the microphone: close it before the next call. Mom hears nothing.';
  assert.deepEqual(await sends('video'), [['video'], words]);
  assert.deepEqual(asked, ['audio+video', 'audio', 'video']);
});

test('a user who refuses is not asked again, and the device that is allowed is used', async () => {
  let asked = browser({ audio: 'NotAllowedError', video: 'NotAllowedError' });
  const [tracks, words] = await sends('video');
  assert.deepEqual(tracks, ['test picture']);
  assert.match(words, /^The microphone is blocked: .* The camera is blocked: /);
  assert.deepEqual(asked, ['audio+video']);
  asked = browser({ video: 'NotAllowedError' }, ['microphone']);
  assert.deepEqual((await sends('video'))[0], ['audio', 'test picture']);
  assert.deepEqual(asked, ['audio+video', 'audio']);
});

test('a page that is not secure, or a device that fails otherwise, is explained', async () => {
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  const insecure = 'Browsers give no microphone to a page at http://, except on localhost. Mom hears nothing.';
  assert.deepEqual(await sends('audio'), [[], insecure]);
  browser({ audio: 'AbortError' });
  assert.equal((await sends('audio'))[1], 'The microphone does not start (AbortError). Mom hears nothing.');
});
