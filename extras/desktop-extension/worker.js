// Keeps Chromium able to receive without a window, and hands the token that opens the service's wake door, and nothing
// else, to `doorbell desktop`. It acts on no web page.

const HOST = 'org.doorbell.desktop';
// The name of a sender belongs to a registration; the service takes any.
const SENDER = 'doorbell';
// Chromium holds its push client back until a first page has loaded, or for three minutes.
const PAGE_MS = 10_000;
const RETRY_FIRST_MS = 2_000;
const RETRY_MAX_MS = 300_000;
const ATTEMPTS_MAX = 24;
const WINDOW_TYPES = ['normal', 'popup', 'panel', 'app', 'devtools'];

let begun = false;

// A first start has both events.
chrome.runtime.onStartup.addListener(begin);
chrome.runtime.onInstalled.addListener(begin);

function begin() {
  if (begun) return;
  begun = true;
  showPage();
  connect();
}

async function showPage() {
  try {
    await chrome.offscreen.createDocument({
      url: 'page.html',
      reasons: ['DOM_PARSER'],
      justification: 'Chromium starts its push client when a first page has loaded.',
    });
    await pause(PAGE_MS);
  } finally {
    await chrome.offscreen.closeDocument();
  }
}

// The open port keeps this worker alive.
function connect() {
  const port = chrome.runtime.connectNative(HOST);
  let watches = false;
  port.onDisconnect.addListener(() => {
    // Reading it keeps Chromium from logging it once more. Without the host Chromium goes on as it is.
    void chrome.runtime.lastError;
  });
  port.onMessage.addListener((message) => {
    if (message.type === 'welcome') {
      watches = message.watch;
      if (watches) watchWindows(port);
      register(port);
    } else if (message.type === 'saved' && !watches) {
      port.disconnect();
    }
  });
  port.postMessage({ type: 'started' });
}

async function register(port) {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    try {
      const token = await chrome.gcm.register([SENDER]);
      port.postMessage({ type: 'token', token });
      return;
    } catch {
      // Such as without a network after a login.
      await pause(Math.min(RETRY_FIRST_MS * 2 ** attempt, RETRY_MAX_MS));
    }
  }
}

// A woken Chromium ends when nothing is left to do: the host needs to know of windows.
function watchWindows(port) {
  const report = async () => {
    const windows = await chrome.windows.getAll({ windowTypes: WINDOW_TYPES });
    // Private windows are seen if the profile's settings say so.
    const seesAll = await chrome.extension.isAllowedIncognitoAccess();
    port.postMessage({ type: 'windows', count: seesAll ? windows.length : null });
  };
  const filter = { windowTypes: WINDOW_TYPES };
  chrome.windows.onCreated.addListener(report, filter);
  chrome.windows.onRemoved.addListener(report, filter);
  report();
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
