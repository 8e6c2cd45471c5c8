// What a person can do next to see that a browser rings which is not running.

/** In words, for a person who can be reached here or not, among these people; nothing if no other person is there. */
export function nextStep(isReachable, people) {
  const others = people.filter(({ available }) => available);
  const one = (kind) => others.find(({ reach }) => reach === kind)?.name;
  const [byPush, byPage, none] = ['push', 'page', 'none'].map(one);
  if (isReachable && byPush) return `Next: close this browser, and call from the page of ${byPush}. Or close theirs, and call from here.`;
  if (isReachable && byPage) {
    return `Next: close this browser, and call from the page of ${byPage}. Choose “Be reachable” there, too: then ${byPage} can be called back.`;
  }
  if (byPush) return `Next: close the browser of ${byPush}, and call ${byPush} from here. Choose “Be reachable”, too: then ${byPush} can call back.`;
  if (byPage) return 'Next: choose “Be reachable” here, close this browser, and call from the other one.';
  return none ? `${none} cannot be called now: choose “Be reachable” on the page of ${none}, or leave a message or a voice mail.` : '';
}
