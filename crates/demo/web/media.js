// What this end of a call sends: its microphone and its camera. In place of one that is missing or blocked it sends a test
// tone or a test picture, so that a call rings and connects on any machine.

import { owner, paintPicture } from './identity.js';

/** Each kind of track: the device that it comes from, and what the other end gets without it, or without both. */
const KINDS = {
  audio: { device: 'microphone', standIn: tone, instead: 'hears a test tone', without: 'hears nothing' },
  video: { device: 'camera', standIn: picture, instead: 'sees a test picture', without: 'sees nothing' },
};
const PICTURE = { width: 640, height: 480, framesPerSecond: 10 };

/** The kinds of tracks that a call with this media has. */
export function kindsOf(media) {
  return media === 'video' ? ['audio', 'video'] : ['audio'];
}

/**
 * What this end sends in a call with this media: `stream`, `lacks` (each kind of track that no device gives, with the error
 * and with what stands in for it, if anything can), and `stop`.
 */
export async function capture(media) {
  const { tracks, errors } = await ask(kindsOf(media));
  const lacks = Object.entries(errors).map(([kind, error]) => ({ kind, error, standIn: KINDS[kind].standIn() }));
  const standIns = lacks.map(({ standIn }) => standIn).filter(Boolean);
  const stream = new MediaStream([...tracks, ...standIns.map(({ track }) => track)]);
  const stop = () => {
    stream.getTracks().forEach((track) => track.stop());
    standIns.forEach((standIn) => standIn.stop());
  };
  return { stream, lacks, stop };
}

/** In words: what is missing and why, what `other` gets instead, and what to do. Empty if nothing is missing. */
export function explain(lacks, other) {
  const words = lacks.map(({ kind, error, standIn }) => {
    const { device, instead, without } = KINDS[kind];
    return `${why(device, error)} ${other} ${standIn ? instead : without}.`;
  });
  return words.join(' ');
}

/** The tracks of the devices, and an error for each kind without one. */
async function ask(kinds) {
  const errors = {};
  const get = async (wanted) => {
    // Pages at an address that is not secure have no devices.
    if (!navigator.mediaDevices) throw new DOMException('no devices here', 'InsecureContext');
    const stream = await navigator.mediaDevices.getUserMedia(Object.fromEntries(wanted.map((kind) => [kind, true])));
    return stream.getTracks();
  };
  try {
    return { tracks: await get(kinds), errors };
  } catch (error) {
    kinds.forEach((kind) => { errors[kind] = error; });
  }
  const tracks = [];
  // One device may be there without the other. The user is not asked a second time for what was refused.
  for (const kind of kinds.length > 1 ? kinds : []) {
    if (errors[kind].name === 'NotAllowedError' && !await isAllowed(kind)) continue;
    await get([kind]).then((found) => {
      tracks.push(...found);
      delete errors[kind];
    }, (error) => { errors[kind] = error; });
  }
  return { tracks, errors };
}

/** Whether the browser gives the device without a question. One that does not answer that asks its user. */
async function isAllowed(kind) {
  const status = await navigator.permissions?.query({ name: KINDS[kind].device }).catch(() => undefined);
  return status?.state === 'granted';
}

function why(device, { name }) {
  switch (name) {
    case 'NotFoundError':
      return `There is no ${device}.`;
    case 'NotAllowedError':
      return `The ${device} is blocked: click the icon in the address bar to allow it the next time.`;
    case 'NotReadableError':
      return `Another program uses the ${device}: close it before the next call.`;
    case 'InsecureContext':
      return `Browsers give no ${device} to a page at http://, except on localhost.`;
    default:
      return `The ${device} does not start (${name}).`;
  }
}

/** A soft tone, every other second. None in a browser that lets pages make no sound: then this end only listens. */
function tone() {
  if (!window.AudioContext) return undefined;
  const context = new AudioContext();
  const volume = new GainNode(context, { gain: 0.05 });
  const beat = new OscillatorNode(context, { type: 'square', frequency: 0.5 });
  const sound = new OscillatorNode(context, { frequency: 440 });
  const exit = new MediaStreamAudioDestinationNode(context);
  beat.connect(new GainNode(context, { gain: 0.05 })).connect(volume.gain);
  sound.connect(volume).connect(exit);
  [beat, sound].forEach((node) => node.start());
  // A page that a notification has opened may make sound only after a click on it.
  const unblocked = new AbortController();
  for (const gesture of ['pointerdown', 'keydown']) {
    document.addEventListener(gesture, () => context.resume(), { signal: unblocked.signal });
  }
  const stop = () => {
    unblocked.abort();
    context.close();
  };
  return { track: exit.stream.getAudioTracks()[0], stop };
}

/** The name, and a clock that shows that the picture moves. */
function picture() {
  const canvas = Object.assign(document.createElement('canvas'), PICTURE);
  const draw = () => paintPicture(canvas, owner, new Date().toLocaleTimeString());
  draw();
  const clock = setInterval(draw, 1000 / PICTURE.framesPerSecond);
  const [track] = canvas.captureStream(PICTURE.framesPerSecond).getVideoTracks();
  return { track, stop: () => clearInterval(clock) };
}
