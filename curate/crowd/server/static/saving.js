// What was answered, kept twice: in this browser at once, and on the server as soon as it can be reached. After a reload or on
// another device the newer of the two counts.
"use strict";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;
const ON_ITS_WAY_S = 30;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const headers = { Accept: "application/json" };

export class Saving {
  // url: where drafts go ("" = kept in this browser only); serverNow: the server's clock when the page was made, in seconds.
  constructor({ key, url, csrf, serverNow, onState }) {
    this.store = `consenso.${key}`;
    this.url = url;
    this.csrf = csrf;
    const [load] = performance.getEntriesByType("navigation");
    const made = load ? performance.timeOrigin + load.responseStart : Date.now(); // not when a slow page is there at last
    this.ahead = serverNow - made / 1000; // clocks differ from device to device
    this.onState = onState;
    this.entries = {}; // field: {value, seconds, at, saved, before: the value that this one replaced}
    this.at = null; // the picture in view
    this.wait = FIRST_WAIT_MS;
    this.sending = null;
    this.closed = false;
    window.addEventListener("online", () => this.send());
  }

  // Takes up what the server and this browser hold; returns the entries.
  restore(drafts) {
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(this.store)) || {};
    } catch {
      // private windows may refuse; then the server's drafts are all
    }
    this.entries = kept.entries || {};
    this.at = kept.at ?? null;
    for (const { field, value, seconds, saved_at: at } of drafts) {
      const own = this.entries[field];
      const late = own && value === own.before && at - own.at < ON_ITS_WAY_S; // the one before it came after it was replaced
      if (!own || own.saved || (own.at <= at && !late)) this.entries[field] = { value, seconds: seconds || 0, at, saved: true };
    }
    this.send();
    return this.entries;
  }

  answer(field, value, seconds) {
    const before = this.entries[field]?.value;
    this.entries[field] = { value, seconds, at: Date.now() / 1000 + this.ahead, saved: !this.url, before };
    this.write();
    this.send();
  }

  write() {
    try {
      localStorage.setItem(this.store, JSON.stringify({ entries: this.entries, at: this.at }));
    } catch {
      // the server has them
    }
  }

  forget() {
    this.closed = true;
    try {
      localStorage.removeItem(this.store);
    } catch {
      // nothing was kept
    }
  }

  unsaved() {
    return Object.entries(this.entries).filter(([, entry]) => !entry.saved);
  }

  send() {
    if (!this.sending && this.unsaved().length) this.sending = this.deliver().finally(() => (this.sending = null));
  }

  // Sends what is not saved yet, again and again until the server has it or refuses it for good.
  async deliver() {
    while (!this.closed) {
      const batch = this.unsaved();
      if (!batch.length) return;
      const body = new URLSearchParams({ csrf: this.csrf });
      for (const [field, { value, seconds }] of batch) {
        body.append("field", field);
        body.append("value", value);
        body.append("seconds", seconds.toFixed(2));
      }
      const status = await fetch(this.url, { method: "POST", body, headers, keepalive: true }).then((r) => r.status, () => 0);
      if (this.closed) return;
      if (status === 204) {
        for (const [field, entry] of batch) if (this.entries[field] === entry) entry.saved = true;
        this.wait = FIRST_WAIT_MS;
        this.write();
        this.onState(this.unsaved().length ? "waiting" : "saved");
      } else if (status >= 400 && status < 500 && status !== 429) {
        this.closed = true;
        this.onState("refused", status);
      } else {
        this.onState("waiting");
        await pause(this.wait);
        this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
      }
    }
  }
}

// Sends a form until the server has it; returns {status, said}. A server that is gone for a moment loses nothing: a second try
// that finds the answers there already has arrived, too.
export async function sendForm(url, body, onWait) {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    const reply = await fetch(url, { method: "POST", body, headers }).catch(() => null);
    if (reply && reply.status < 500 && reply.status !== 429) return { status: reply.status, said: await reply.json().catch(() => ({})) };
    onWait();
    await pause(wait);
  }
}
