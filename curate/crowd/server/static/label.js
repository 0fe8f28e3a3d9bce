// The answer sheet, one picture at a time: a HIT, a test or practice. The page works without this as a plain form; here it gets
// keys, zoom, type-ahead, undo and a review, and every answer is kept as it is given.
"use strict";

import { About } from "./about.js";
import { startClock } from "./clock.js";
import { Find } from "./find.js";
import { Saving, sendForm } from "./saving.js";
import { readSettings } from "./settings.js";
import { Zoom } from "./zoom.js";

const byId = (id) => document.getElementById(id);
const form = byId("sheet");
const { mode, key: sheetKey, hitType } = form.dataset; // mode: hit, test, practice
const words = JSON.parse(byId("words").textContent);
const items = [...form.querySelectorAll(".item")];
const steps = [...document.querySelectorAll("#steps li")];
const review = byId("review");
const help = byId("help");
const strip = byId("strip");
const settings = readSettings();
const ADVANCE_MS = 250; // long enough to see what was chosen, short enough not to wait for
const AHEAD = 3; // pictures fetched before they are asked for

const seconds = items.map(() => 0); // looked at each picture
const past = []; // [picture, value before] of each choice, for undo
let at = -1; // number of the picture in view; items.length is the review
let since = 0; // when it came into view
let pending = 0; // timer of the move that follows a choice
let returning = false; // the person came from the review to change one answer
let sending = false;
let last = ""; // what was just chosen: said together with the picture that follows, or its news would cut it off

// ---- what was answered

const inputs = (n) => [...items[n].querySelectorAll(".choice input")];
const chosen = (n) => items[n].querySelector(".choice input:checked");
const complete = () => items.every((_, n) => chosen(n));
const nameOf = (input) => input.closest(".choice").querySelector(".name").textContent;
const place = (n) => `${words.picture} ${n + 1} ${words.of} ${items.length}`;
const say = (text) => (byId("said").textContent = text);

const saving = new Saving({
  key: sheetKey,
  url: mode === "hit" ? `/assignment/${sheetKey}/draft` : "",
  csrf: form.elements.csrf.value,
  serverNow: Number(form.dataset.now),
  onState: (state, status) => {
    const text = { saved: words.saved, waiting: words.not_saved, refused: status === 410 ? words.too_late : words.not_saved }[state];
    byId("saved").textContent = text;
    byId("saved").className = `saved ${state}`;
  },
});

function restore() {
  const entries = saving.restore(JSON.parse(byId("drafts").textContent));
  items.forEach((item, n) => {
    const entry = entries[item.dataset.field];
    const input = entry && inputs(n).find((i) => i.value === entry.value);
    if (input) input.checked = true;
    seconds[n] = Number(entry?.seconds) || 0;
  });
  const open = items.findIndex((_, n) => !chosen(n));
  return Number(saving.at ?? (open < 0 ? items.length : open)) || 0;
}

// ---- moving

function count() {
  if (at >= 0 && at < items.length && since) seconds[at] += (performance.now() - since) / 1000;
  since = document.hidden ? 0 : performance.now();
}

function show(n) {
  clearTimeout(pending);
  pending = 0;
  count();
  find.close(false);
  about.hide();
  if (n >= items.length && !complete()) n = items.findIndex((_, k) => !chosen(k)); // nothing is left out
  at = Math.min(Math.max(0, n), items.length);
  const reviewing = at === items.length;
  zooms.forEach((zoom) => zoom.reset());
  items.forEach((item, k) => item.classList.toggle("current", k === at));
  review.classList.toggle("current", reviewing);
  form.classList.toggle("reviewing", reviewing);
  if (reviewing) fillStrip();
  paint();
  for (const next of items.slice(at, at + 1 + AHEAD)) for (const img of next.querySelectorAll("img")) img.loading = "eager";
  (reviewing ? review : items[at]).focus({ preventScroll: true });
  window.scrollTo(0, 0);
  say(last + (reviewing ? words.review : place(at)));
  last = "";
  saving.at = at;
  saving.write();
}

function paint() {
  steps.forEach((step, n) => {
    step.classList.toggle("done", Boolean(chosen(n)));
    step.classList.toggle("current", n === at);
  });
  byId("count").textContent = `${Math.min(at + 1, items.length)}/${items.length}`;
  byId("back").disabled = at === 0;
  byId("undo").disabled = !past.length;
  byId("next").disabled = at === items.length || !chosen(at);
  byId("zoom").disabled = byId("open-find").disabled = at === items.length;
}

function onward() {
  if (returning && complete()) {
    returning = false;
    show(items.length);
  } else show(at + 1);
}

function put(n, value) {
  for (const input of inputs(n)) input.checked = input.value === value;
  count();
  saving.answer(items[n].dataset.field, value, seconds[n]);
}

function choose(input, advance) {
  clearTimeout(pending);
  pending = 0;
  past.push([at, saving.entries[items[at].dataset.field]?.value || ""]);
  put(at, input.value);
  paint();
  say(`${place(at)}, ${nameOf(input)} ${words.chosen}`);
  last = `${nameOf(input)} ${words.chosen}. `;
  if (mode === "practice") tellTruth(at);
  else if (advance && settings.advance) pending = setTimeout(onward, ADVANCE_MS);
}

function undo() {
  last = "";
  const [n, value] = past.pop() || [Math.max(0, at - 1), null];
  if (value !== null) put(n, value);
  if (n === at) {
    clearTimeout(pending);
    pending = 0;
    paint();
  } else show(n);
  const now = chosen(n);
  say(`${place(n)}, ${now ? `${nameOf(now)} ${words.chosen}` : words.unanswered}`);
}

function tellTruth(n) {
  const truth = items[n].querySelector(".truth");
  const right = chosen(n)?.value === truth.dataset.label;
  truth.open = true;
  items[n].classList.toggle("right", right);
  items[n].classList.toggle("wrong", !right);
  truth.querySelector("summary").textContent = right ? words.right : words.wrong;
  say(truth.textContent.replace(/\s+/g, " "));
}

function fillStrip() {
  strip.replaceChildren(
    ...items.map((item, n) => {
      const button = document.createElement("button");
      button.type = "button";
      const img = document.createElement("img");
      img.src = item.querySelector(".stage img").src;
      img.alt = place(n);
      const name = document.createElement("span");
      name.textContent = nameOf(chosen(n));
      button.append(img, name);
      button.addEventListener("click", () => {
        returning = true;
        show(n);
      });
      const entry = document.createElement("li");
      entry.className = ["right", "wrong"].find((kind) => item.classList.contains(kind)) || "";
      entry.append(button);
      return entry;
    }),
  );
  if (mode === "practice") byId("tally").textContent = `${strip.querySelectorAll(".right").length}/${items.length} ${words.right.toLowerCase()}`;
}

// ---- the parts

const zooms = items.map((item) => new Zoom(item.querySelector(".stage")));

const find = new Find({
  box: byId("find"),
  current: () => items[at],
  onPick: (input) => choose(input, true),
  onCount: (n) => say(`${n} ${words.answers_left}`),
  onClose: () => items[at]?.focus({ preventScroll: true }),
});

const about = new About({
  panel: byId("about"),
  form,
  meaning: (value) => [...help.querySelectorAll(".meanings > div")].find((div) => div.dataset.value === value) || null,
  onTell: say,
});

// ---- events

items.forEach((item, n) => {
  item.addEventListener("click", (event) => {
    const label = event.target.closest(".choice");
    if (!label) return;
    if (about.held) {
      event.preventDefault(); // that was a long press: it asked what the answer means
      about.held = false;
      return;
    }
    // A pointer chooses and goes on. Arrow keys inside the group also click, with detail 0: they only choose.
    if (event.detail > 0 && event.target.matches("input")) choose(event.target, true);
  });
  item.addEventListener("change", (event) => {
    if (event.target.value !== saving.entries[item.dataset.field]?.value) choose(event.target, false);
  });
  const img = item.querySelector(".stage img");
  const broken = () => item.classList.add("no-picture");
  img.addEventListener("error", broken);
  img.addEventListener("load", () => item.classList.remove("no-picture"));
  if (img.complete && img.naturalWidth === 0 && n === 0) broken();
  item.querySelector(".retry").addEventListener("click", () => (img.src = `${img.src.split("#")[0]}#${Date.now()}`));
  const blind = item.querySelector(".cannot");
  if (blind) blind.addEventListener("click", () => choose(item.querySelector(".cannot-see input"), true));
});

const choiceOf = (key) => [...items[at].querySelectorAll(".choice")].find((label) => label.dataset.key && label.dataset.key === key);
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// What a key does, or undefined where it is not ours.
function action(event) {
  const { key } = event;
  const pictured = at < items.length;
  if (key === "Escape" && about.open) return () => about.hide();
  if (key === "Backspace") return undo;
  if (pictured && zooms[at].on && key in ARROWS) return () => zooms[at].pan(...ARROWS[key]);
  if (pictured && zooms[at].on && key === "Escape") return () => zooms[at].reset();
  if (key === "ArrowLeft") return () => at > 0 && show(at - 1);
  if (key === "ArrowRight") return () => at < items.length && chosen(at) && show(at + 1);
  if (event.target.closest("button, a, summary") && (key === "Enter" || key === " ")) return undefined;
  if (key === "Enter") return () => (pictured ? chosen(at) && onward() : send());
  if (pictured && key === " ") return () => !event.repeat && zooms[at].press();
  if (pictured && key in ARROWS && event.target.type !== "radio") return () => stepInto(key === "ArrowDown");
  return settings.keys ? character(event, pictured) : undefined;
}

// Keys that are characters: they can be switched off.
function character(event, pictured) {
  if (event.key === "?") return () => help.showModal();
  const label = pictured && choiceOf(event.key.toLowerCase());
  if (label && event.shiftKey) return () => about.show(label, true);
  if (label) return () => !event.repeat && !pending && choose(label.querySelector("input"), true); // held down, a key answers one picture
  if (event.key === "z") return undo;
  if (event.key === "/" && pictured) return () => find.show();
  return undefined;
}

function stepInto(down) {
  const radios = inputs(at);
  const input = chosen(at) || radios[down ? 0 : radios.length - 1];
  input.focus();
  choose(input, false);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.isComposing) return;
  if (event.target.matches("textarea, input[type=checkbox], input[type=search]")) return;
  const act = action(event);
  if (!act) return;
  event.preventDefault();
  act();
});
document.addEventListener("keyup", (event) => event.key === " " && at < items.length && zooms[at].release());

byId("back").addEventListener("click", () => show(at - 1));
byId("undo").addEventListener("click", undo);
byId("next").addEventListener("click", onward);
byId("zoom").addEventListener("click", () => zooms[at].step());
byId("open-find").addEventListener("click", () => find.show());
byId("close-about").addEventListener("click", () => about.hide());
byId("show-help").addEventListener("click", () => help.showModal());
document.addEventListener("visibilitychange", count);
window.addEventListener("pagehide", () => {
  count();
  if (!saving.closed) saving.write();
});

// ---- sending

function send() {
  if (complete()) form.requestSubmit(byId("send"));
}

form.addEventListener("submit", (event) => {
  if (event.submitter?.hasAttribute("formaction")) return saving.forget();
  event.preventDefault();
  if (complete()) return deliver();
  show(items.length);
  return say(words.error_script);
});

async function deliver() {
  if (sending) return;
  if (mode === "practice") {
    saving.forget();
    return location.assign(form.action);
  }
  sending = true;
  byId("send").disabled = true;
  count();
  const body = new URLSearchParams(new FormData(form));
  items.forEach((item, n) => body.append(`seconds.${item.dataset.field}`, seconds[n].toFixed(2)));
  let tries = 1;
  const { status, said } = await sendForm(form.action, body, () => {
    tries += 1;
    tell(words.not_sent);
  });
  if (status < 400 || (status === 409 && tries > 1)) return arrived();
  tell(said.error || words.server_error);
  sending = false;
  byId("send").disabled = false;
}

function tell(text) {
  byId("trouble").textContent = text;
}

async function arrived() {
  saving.forget();
  if (mode === "test") return location.assign(`/test/${sheetKey}/result`);
  if (settings.next) {
    const body = new URLSearchParams({ csrf: form.elements.csrf.value });
    const { status, said } = await sendForm(`/accept/${hitType}`, body, () => tell(words.not_sent));
    if (status === 200) return location.assign(said.url);
  }
  return location.assign("/work?done=1");
}

startClock(document.querySelector(".time"), byId("warned"), words);
form.noValidate = true; // hidden pictures cannot be pointed at by the browser's own messages
document.documentElement.classList.add("js");
show(restore());
