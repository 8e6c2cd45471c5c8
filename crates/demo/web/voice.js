// Voice mail: recorded here, kept by the server for two weeks, played by the one it is for.

import { api } from './api.js';
import { create, showList } from './lists.js';
import { capture, explain } from './media.js';
import { ago } from './people.js';
import { Problem } from './problem.js';

const element = (id) => document.getElementById(id);
const SECONDS_MAX = 120;
const BYTES_MAX = 1 << 20;
let recording;

/** Offers to record a voice mail. Resolves when it was sent or not. */
export function leaveVoiceMail(name, done, complain) {
  element('record-title').textContent = `Voice mail for ${name}`;
  element('record-state').textContent = 'Up to two minutes.';
  element('record-status').textContent = '';
  element('record-start').hidden = false;
  element('record-send').hidden = true;
  element('record-lacks').textContent = '';
  element('record-start').onclick = () => record(name).catch((error) => {
    close();
    complain(error);
  });
  element('record-send').onclick = async () => {
    element('record-send').disabled = true;
    try {
      const sound = await recording.stop();
      if (sound.size > BYTES_MAX) throw new Problem('too-large', 'This voice mail is too long.', 'Make it shorter.');
      await api('POST', `voice/to/${encodeURIComponent(name)}`, sound);
      done(`Your voice mail is left for ${name}.`);
    } catch (error) {
      complain(error);
    }
    element('record-send').disabled = false;
    close();
  };
  element('record-cancel').onclick = close;
  element('record').oncancel = close;
  element('record').showModal();
}

/** Shows what waits, and whether there is room for more. `callBack` is called with a name. */
export function showVoiceMails(mails, isFull, callBack, complain) {
  element('voice-mails-part').hidden = mails.length === 0;
  element('voice-mails-full').hidden = !isFull;
  showList(element('voice-mails'), mails, {
    key: ({ id }) => id,
    make: (mail) => row(mail, callBack, complain),
    update: (item, { playedAt, leftAt }) => {
      item.classList.toggle('new', !playedAt);
      item.querySelector('.quiet').textContent = ` · ${ago(leftAt)}`;
    },
  });
}

/** Shows a voice mail whose notification was clicked. */
export function pointOutVoiceMail(id) {
  document.querySelector(`.voice[data-key="${Number(id)}"] audio`)?.focus();
}

function row(mail, callBack, complain) {
  const who = create('div', {}, create('strong', { text: mail.from }), create('span', { className: 'quiet' }));
  const player = create('audio', { controls: true, preload: 'metadata', src: `/api/voice/${mail.id}` });
  player.ariaLabel = `Voice mail from ${mail.from}`;
  player.addEventListener('play', () => api('POST', `voice/${mail.id}/played`).catch(complain), { once: true });
  const back = create('button', { type: 'button', className: 'small', text: 'Call back' });
  back.addEventListener('click', () => callBack(mail.from));
  const remove = create('button', { type: 'button', className: 'small', text: 'Delete' });
  remove.addEventListener('click', () => api('DELETE', `voice/${mail.id}`).catch(complain));
  const buttons = create('div', { className: 'actions' }, back, remove);
  return create('li', { className: 'voice' }, who, create('div', { className: 'player' }, player), buttons);
}

async function record(name) {
  const { stream, lacks, stop } = await capture('audio');
  if (!stream.getTracks().length) throw new Problem('no-sound', explain(lacks, name), 'Write a message instead.');
  element('record-lacks').textContent = explain(lacks, name);
  const type = ['audio/webm;codecs=opus', 'audio/ogg;codecs=opus', 'audio/mp4'].find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, { mimeType: type, audioBitsPerSecond: 48_000 });
  const parts = [];
  recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
  const ended = new Promise((resolve) => recorder.addEventListener('stop', resolve));
  recorder.start(1000);
  element('record-status').textContent = 'Recording';
  const began = Date.now();
  const meter = setInterval(() => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    element('record-state').textContent = `Recording: ${seconds} s of ${SECONDS_MAX}`;
    element('record-level').style.width = `${(seconds / SECONDS_MAX) * 100}%`;
    if (seconds >= SECONDS_MAX) element('record-send').click();
  }, 250);
  recording = {
    async stop() {
      clearInterval(meter);
      if (recorder.state !== 'inactive') recorder.stop();
      await ended;
      stop();
      return new Blob(parts, { type: type.split(';')[0] });
    },
  };
  element('record-start').hidden = true;
  element('record-send').hidden = false;
}

function close() {
  recording?.stop();
  recording = undefined;
  element('record-level').style.width = 0;
  element('record').close();
}
