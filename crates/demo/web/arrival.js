// How this page came here: by a link or a notification, or restored by the browser, after a crash or a reload.

/**
 * Takes what the address asks for, once: the browser restores a page without it. A page that was killed before that is
 * known by the kind of its navigation.
 */
export function arrive({ location, history, performance }) {
  const [navigation] = performance.getEntriesByType('navigation');
  const isRestored = navigation?.type !== 'navigate' || Boolean(history.state?.hasArrived);
  const url = location.href;
  history.replaceState({ hasArrived: true }, '', '/');
  const asked = new URLSearchParams(new URL(url).hash.slice(1));
  return { url, isRestored, name: asked.get('name'), invitation: asked.get('in'), guest: asked.get('guest') };
}

/**
 * What a page does about a call when it is opened at `url`: `answer`, `ring`, `offer` (show that it rings, and ring only if
 * the user wants it), `over`, or nothing. `rings` is the call that rings for this person now. An address never answers: only
 * the service worker's message does, right after the click, and no browser restores a message.
 */
export function reaction({ url, does, isRestored = false }, rings) {
  const asked = new URL(url).searchParams.get('call');
  if (isRestored) return rings && 'offer';
  if (asked && asked !== rings?.id) return 'over';
  if (asked && does === 'answer') return 'answer';
  return rings && 'ring';
}
