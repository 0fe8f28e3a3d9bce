// A form of somebody's questions. The server checks every answer; here the page says at once how many may be chosen, lets a text of
// one's own mark its choice, shows the time left, and keeps what was answered in the browser until it is sent.
"use strict";

const form = document.getElementById("form");
const words = JSON.parse(document.getElementById("words").textContent);
const store = `consenso.${form.dataset.key}`;
const fields = () => [...form.elements].filter((field) => field.name && field.name !== "csrf");
const marked = (box) =>
  [...box.querySelectorAll("input:checked, option:checked")].filter((choice) => choice.value !== "").length;

function count(box) {
  const first = box.querySelector("input[type=checkbox], select[multiple]");
  if (!first) return;
  const [least, most, n] = [Number(box.dataset.least), Number(box.dataset.most), marked(box)];
  const needed = "required" in box.dataset || n > 0;
  const say = needed && n < least ? words.too_few.replace("{n}", least) : n > most ? words.too_many.replace("{n}", most) : "";
  first.setCustomValidity(say);
}

const markable = (field) => field.type === "radio" || field.type === "checkbox";

function state(field) {
  if (markable(field)) return field.checked;
  return field.options ? [...field.selectedOptions].map((option) => option.value) : field.value;
}

function keep() {
  const given = fields().map((field) => ({ name: field.name, mark: markable(field) ? field.value : null, state: state(field) }));
  try {
    localStorage.setItem(store, JSON.stringify(given));
  } catch {
    // private windows may refuse; then a reload starts again
  }
}

function restore() {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(store));
  } catch {
    return;
  }
  if (!kept || document.querySelector(".fault")) return; // what the server sent back is newer
  for (const field of fields()) {
    const mark = markable(field) ? field.value : null;
    const entry = kept.find((found) => found.name === field.name && found.mark === mark);
    if (!entry) continue;
    if (mark !== null) field.checked = entry.state;
    else if (field.options) for (const option of field.options) option.selected = entry.state.includes(option.value);
    else field.value = entry.state;
  }
}

function forget() {
  try {
    localStorage.removeItem(store);
  } catch {
    // nothing was kept
  }
}

form.addEventListener("input", (event) => {
  const own = event.target.closest(".own");
  const box = event.target.closest(".asked");
  if (own && own.value && box) {
    const mark = [...box.querySelectorAll("input, option")].find((choice) => choice.value === "\x1fother");
    if (mark && mark.type) mark.checked = true;
    else if (mark) mark.selected = true;
  }
  if (box) count(box);
  keep();
});
form.addEventListener("submit", () => window.addEventListener("pagehide", forget));

const time = document.querySelector(".time");
const end = Date.now() + 1000 * Number(time.dataset.left);
function tick() {
  const left = Math.max(0, Math.round((end - Date.now()) / 1000));
  time.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} ${words.time_left}`;
  time.classList.toggle("short", left < 120);
}
if (Number(time.dataset.left) > 0) {
  tick();
  setInterval(tick, 1000);
}

restore();
for (const box of form.querySelectorAll(".asked")) count(box);
const wrong = form.querySelector(".wrong");
if (wrong) {
  keep(); // it was forgotten when it was sent
  wrong.scrollIntoView({ block: "center" });
  wrong.querySelector("input:not([type=hidden]), select, textarea")?.focus({ preventScroll: true });
}
