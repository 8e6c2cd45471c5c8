// The page's one error: what is wrong, what to do, and a code by which the page decides.

/** `message` is what is wrong, `hint` what to do, both for people; `code` and the server's `status` are for the page. */
export class Problem extends Error {
  constructor(code, message, hint = '', status = undefined) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.status = status;
  }

  /** What the server answered; without the JSON that it sends with an error, its status is all that is known. */
  static ofAnswer(status, { code = 'unknown', message = `the server answers ${status}`, hint = '' } = {}) {
    return new Problem(code, sentence(message), hint, status);
  }

  /** The session is over, or there was none. */
  get isSignedOut() {
    return this.code === 'not-signed-in';
  }

  /** Pushes cannot reach this browser: the page shows it where people look for it. */
  get isObstacle() {
    return this.code === 'no-push';
  }

  /** The other person takes no call now, but a voice mail: every conflict of a call, and none of a name. */
  get isUnanswered() {
    return this.status === 409 && !this.isNameTaken;
  }

  /** Another browser is signed in with this name. */
  get isNameTaken() {
    return this.code === 'name-taken';
  }
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? '' : '.');
}
