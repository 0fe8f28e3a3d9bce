// The answer sheet, one picture at a time. The page works without this as a plain form; here it gets keys, zoom, undo and a
// review, and keeps what was answered in the browser, so that a reload loses nothing.
"use strict";

const form = document.getElementById("sheet");
const words = JSON.parse(document.getElementById("words").textContent);
const items = [...form.querySelectorAll(".item")];
const steps = [...document.querySelectorAll("#steps li")];
const review = document.getElementById("review");
const help = document.getElementById("help");
const strip = document.getElementById("strip");
const byId = (id) => document.getElementById(id);
const store = `consenso.${form.dataset.key}`;
const ADVANCE_MS = 250; // long enough to see what was chosen, short enough not to wait for

const seconds = items.map(() => 0); // looked at each picture
let at = -1; // number of the picture in view; items.length is the review
let since = 0; // when it came into view
let pending = 0; // timer of the move that follows a choice
let returning = false; // the person came from the review to change one answer

// ---- what was answered

const chosen = (n) => items[n].querySelector("input:checked");
const complete = () => items.every((_, n) => chosen(n));
const nameOf = (input) => input.closest(".choice").querySelector(".name").textContent;
const place = (n) => `${words.picture} ${n + 1} ${words.of} ${items.length}`;

function say(text) {
  byId("said").textContent = text;
}

function keep() {
  const answers = Object.fromEntries(items.map((item, n) => [item.dataset.field, chosen(n)?.value]));
  try {
    localStorage.setItem(store, JSON.stringify({ answers, seconds, at }));
  } catch {
    // private windows may refuse; then a reload starts again
  }
}

function restore() {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(store));
  } catch {
    return 0;
  }
  if (!kept) return 0;
  items.forEach((item, n) => {
    const input = [...item.querySelectorAll("input")].find((i) => i.value === kept.answers[item.dataset.field]);
    if (input) input.checked = true;
    seconds[n] = Number(kept.seconds[n]) || 0;
  });
  return Math.min(Math.max(0, Number(kept.at) || 0), items.length);
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
  if (n >= items.length && !complete()) n = items.findIndex((_, k) => !chosen(k)); // nothing is left out
  at = Math.max(0, n);
  const reviewing = at === items.length;
  zoom(false);
  items.forEach((item, k) => item.classList.toggle("current", k === at));
  review.classList.toggle("current", reviewing);
  form.classList.toggle("reviewing", reviewing);
  if (reviewing) fillStrip();
  paint();
  for (const next of items.slice(at, at + 4)) for (const img of next.querySelectorAll("img")) img.loading = "eager";
  (reviewing ? review : items[at]).focus({ preventScroll: true });
  window.scrollTo(0, 0);
  say(reviewing ? words.review : place(at));
  keep();
}

function paint() {
  steps.forEach((step, n) => {
    step.classList.toggle("done", Boolean(chosen(n)));
    step.classList.toggle("current", n === at);
  });
  byId("count").textContent = at < items.length ? `${at + 1} ${words.of} ${items.length}` : `${items.length} ${words.of} ${items.length}`;
  byId("back").disabled = at === 0;
  byId("next").disabled = at === items.length || !chosen(at);
  byId("zoom").disabled = at === items.length;
}

function onward() {
  if (returning && complete()) {
    returning = false;
    show(items.length);
  } else show(at + 1);
}

function choose(input, advance) {
  clearTimeout(pending);
  input.checked = true;
  paint();
  say(`${place(at)}, ${nameOf(input)} ${words.chosen}`);
  keep();
  if (advance) pending = setTimeout(onward, ADVANCE_MS);
}

function undo() {
  if (pending) {
    clearTimeout(pending);
    pending = 0;
    chosen(at).checked = false;
    say(`${place(at)}, ${words.unanswered}`);
    paint();
    keep();
  } else if (at > 0) show(at - 1);
}

function fillStrip() {
  strip.replaceChildren(
    ...items.map((item, n) => {
      const button = document.createElement("button");
      button.type = "button";
      const img = document.createElement("img");
      img.src = item.querySelector("img").src;
      img.alt = place(n);
      const name = document.createElement("span");
      name.textContent = nameOf(chosen(n));
      button.append(img, name);
      button.addEventListener("click", () => {
        returning = true;
        show(n);
      });
      const entry = document.createElement("li");
      entry.append(button);
      return entry;
    }),
  );
}

// ---- looking closer

function zoom(on) {
  const stage = items[Math.min(Math.max(at, 0), items.length - 1)].querySelector(".stage");
  const img = stage.querySelector("img");
  const want = on === undefined ? !stage.classList.contains("zoomed") : on;
  stage.classList.toggle("zoomed", want);
  if (!want) img.style.transformOrigin = "";
}

function aim(event) {
  const stage = event.currentTarget;
  const box = stage.getBoundingClientRect();
  const x = (100 * (event.clientX - box.left)) / box.width;
  const y = (100 * (event.clientY - box.top)) / box.height;
  stage.querySelector("img").style.transformOrigin = `${x}% ${y}%`;
}

// ---- events

items.forEach((item, n) => {
  item.addEventListener("click", (event) => {
    const label = event.target.closest(".choice");
    if (!label) return;
    // A pointer chooses and goes on. Arrow keys inside the group also click, with detail 0: they only choose.
    if (event.detail > 0) choose(label.querySelector("input"), true);
  });
  item.addEventListener("change", (event) => {
    if (!pending) choose(event.target, false);
  });
  const stage = item.querySelector(".stage");
  const img = stage.querySelector("img");
  stage.addEventListener("click", (event) => {
    aim(event);
    zoom();
  });
  stage.addEventListener("pointermove", aim);
  const broken = () => item.classList.add("no-picture");
  img.addEventListener("error", broken);
  if (img.complete && img.naturalWidth === 0 && n === 0) broken();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.isComposing) return;
  const onControl = event.target.closest("button, a, textarea");
  const press = (action) => {
    event.preventDefault();
    action();
  };
  const key = event.key;
  if (key === "?") return press(() => help.showModal());
  if (key === "Backspace") return press(undo);
  if (key === "ArrowLeft") return press(() => at > 0 && show(at - 1));
  if (key === "ArrowRight") return press(() => at < items.length && chosen(at) && show(at + 1));
  if (onControl && (key === "Enter" || key === " ")) return undefined;
  if (key === "Enter") return press(() => (at === items.length ? send() : chosen(at) && onward()));
  if (at === items.length) return undefined;
  if (key === " ") return press(() => zoom());
  if ((key === "ArrowDown" || key === "ArrowUp") && event.target.type !== "radio") {
    return press(() => {
      const radios = [...items[at].querySelectorAll("input")];
      const input = chosen(at) || radios[key === "ArrowDown" ? 0 : radios.length - 1];
      input.focus();
      choose(input, false);
    });
  }
  if (event.repeat) return undefined; // a key held down answers one picture, not all of them
  const label = [...items[at].querySelectorAll(".choice")].find((l) => l.dataset.key && l.dataset.key === key.toLowerCase());
  return label ? press(() => !pending && choose(label.querySelector("input"), true)) : undefined;
});

byId("back").addEventListener("click", () => show(at - 1));
byId("next").addEventListener("click", onward);
byId("zoom").addEventListener("click", () => zoom());
byId("show-help").addEventListener("click", () => help.showModal());
document.addEventListener("visibilitychange", count);
window.addEventListener("pagehide", () => {
  count();
  keep();
});

// ---- sending

function send() {
  if (complete()) form.requestSubmit(byId("send"));
}

form.addEventListener("submit", (event) => {
  if (event.submitter && event.submitter.hasAttribute("formaction")) return forget();
  if (!complete()) {
    event.preventDefault();
    show(items.length);
    say(words.error_script);
    return undefined;
  }
  count();
  items.forEach((item, n) => {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = `seconds.${item.dataset.field}`;
    field.value = seconds[n].toFixed(2);
    form.append(field);
  });
  byId("send").disabled = true;
  window.addEventListener("pagehide", forget);
  return undefined;
});

function forget() {
  try {
    localStorage.removeItem(store);
  } catch {
    // nothing was kept
  }
}

// ---- time left

const time = document.querySelector(".time");
if (time) {
  const end = Date.now() + 1000 * Number(time.dataset.left);
  const tick = () => {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    time.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} ${words.time_left}`;
    time.classList.toggle("short", left < 120);
  };
  tick();
  setInterval(tick, 1000);
}

form.noValidate = true; // hidden pictures cannot be pointed at by the browser's own messages
document.documentElement.classList.add("js");
show(restore());
